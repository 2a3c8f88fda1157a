package server

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
)

// identityAPI is accounts, keys and the audit log for the native API.
type identityAPI struct{ catalog *catalog.Catalog }

var (
	_ admin.Accounts = identityAPI{}
	_ admin.APIKeys  = identityAPI{}
	_ admin.Audits   = identityAPI{}
)

// Accounts implements admin.Accounts.
func (a identityAPI) Accounts(ctx context.Context) ([]admin.Account, error) {
	all, err := a.catalog.Accounts(ctx)
	out := make([]admin.Account, 0, len(all))
	for _, account := range all {
		described, failed := a.describe(ctx, account)
		out, err = append(out, described), errors.Join(err, failed)
	}
	return out, err
}

// Account implements admin.Accounts.
func (a identityAPI) Account(ctx context.Context, name string) (admin.Account, error) {
	account, err := a.catalog.Account(ctx, name)
	if err != nil {
		return admin.Account{}, err
	}
	return a.describe(ctx, account)
}

func (a identityAPI) describe(ctx context.Context, account catalog.Account) (admin.Account, error) {
	members, err := a.catalog.Members(ctx, account.Name)
	out := admin.Account{
		Name: account.Name, ID: account.ID, UUID: account.UUID, Organization: account.Organization, Members: []string{},
		Created: account.Created, Email: account.Email, FullName: account.FullName, SessionLimit: account.SessionLimit,
	}
	for _, m := range members {
		out.Members = append(out.Members, m.User)
	}
	return out, err
}

// PutAccount implements admin.Accounts.
func (a identityAPI) PutAccount(ctx context.Context, name string, in admin.PutAccount) (admin.Account, error) {
	change := func(s *catalog.AccountSettings) error {
		set(&s.Email, in.Email)
		set(&s.FullName, in.FullName)
		set(&s.SessionLimit, in.SessionLimit)
		return nil
	}
	account, err := a.catalog.Account(ctx, name)
	switch {
	case runnel.CodeOf(err) == runnel.CodeNotFound:
		var settings catalog.AccountSettings
		_ = change(&settings)
		account, err = a.catalog.NewAccount(ctx, name, in.Organization != nil && *in.Organization, settings)
	case err == nil && in.Organization != nil && *in.Organization != account.Organization:
		err = runnel.Errorf(runnel.CodeConflict, "whether the account %s is an organisation cannot change", name)
	case err == nil:
		account, err = a.catalog.UpdateAccount(ctx, name, change)
	}
	if err != nil {
		return admin.Account{}, err
	}
	return a.describe(ctx, account)
}

// set gives a field the value that was sent, if one was.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// AddMember implements admin.Accounts.
func (a identityAPI) AddMember(ctx context.Context, organization, user string) error {
	_, err := a.catalog.AddMember(ctx, organization, user)
	return err
}

// RemoveMember implements admin.Accounts.
func (a identityAPI) RemoveMember(ctx context.Context, organization, user string) error {
	return a.catalog.RemoveMember(ctx, organization, user)
}

// keyOf describes a key.
func keyOf(k catalog.Key, token bool) admin.APIKey {
	of := auth.Key(k)
	out := admin.APIKey{
		ID: k.ID, Account: k.Account, Type: of.Type(), Label: k.Label, Permissions: k.Permissions,
		Created: k.Created, Expires: k.Expires, Mask: k.ID + ".***",
	}
	if token {
		out.Token = of.Token()
	}
	return out
}

// Keys implements admin.APIKeys.
func (a identityAPI) Keys(ctx context.Context, account string) ([]admin.APIKey, error) {
	keys, err := a.catalog.Keys(ctx, account)
	out := make([]admin.APIKey, len(keys))
	for i, k := range keys {
		out[i] = keyOf(k, false)
	}
	return out, err
}

// Find implements admin.APIKeys.
func (a identityAPI) Find(ctx context.Context, id string) (admin.APIKey, error) {
	k, err := a.catalog.FindKey(ctx, id)
	return keyOf(k, false), err
}

// Make implements admin.APIKeys.
func (a identityAPI) Make(ctx context.Context, account string, in admin.PutKey) (admin.APIKey, error) {
	of, err := a.catalog.Account(ctx, account)
	if err != nil {
		return admin.APIKey{}, err
	}
	k := auth.NewKey(of.Name, of.ID, in.Admin != nil && *in.Admin, time.Now())
	k.Permissions = runnel.Permissions{}
	if err := changeKey((*catalog.Key)(&k), in); err != nil {
		return admin.APIKey{}, err
	}
	return keyOf(catalog.Key(k), true), a.catalog.AddKey(ctx, catalog.Key(k))
}

func changeKey(k *catalog.Key, in admin.PutKey) error {
	set(&k.Label, in.Label)
	set(&k.Permissions, in.Permissions)
	set(&k.Expires, in.Expires)
	if in.Expires != nil && !in.Expires.IsZero() && !in.Expires.After(time.Now()) {
		return &runnel.FieldError{Path: "expires", Err: errors.New("is in the past: remove the key instead")}
	}
	return nil
}

// Change implements admin.APIKeys.
func (a identityAPI) Change(ctx context.Context, id string, in admin.PutKey) (admin.APIKey, error) {
	k, err := a.catalog.UpdateKey(ctx, id, func(k *catalog.Key) error { return changeKey(k, in) })
	return keyOf(k, false), err
}

// Rotate implements admin.APIKeys.
func (a identityAPI) Rotate(ctx context.Context, id string, overlap time.Duration) (admin.APIKey, error) {
	k, err := a.catalog.RotateKey(ctx, id, func(old catalog.Key) catalog.Key {
		return catalog.Key(auth.NewKey(old.Account, old.AccountID, old.Admin, time.Now()))
	}, overlap)
	if err != nil {
		return admin.APIKey{}, err
	}
	return keyOf(k, true), nil
}

// Remove implements admin.APIKeys.
func (a identityAPI) Remove(ctx context.Context, id string) error {
	return a.catalog.DeleteKey(ctx, id)
}

// Audit implements admin.Audits.
func (a identityAPI) Audit(ctx context.Context, q admin.AuditQuery) ([]admin.AuditEntry, bool, error) {
	entries, more, err := a.catalog.Audit(ctx, catalog.AuditQuery{
		Owner: q.Account, Kind: q.Kind, Name: q.Name, Who: q.Who, Since: q.Since, Until: q.Until, Before: q.Before, Limit: q.Limit,
	})
	out := make([]admin.AuditEntry, len(entries))
	for i, e := range entries {
		out[i] = admin.AuditEntry{
			Number: e.Number, Time: e.Time, Key: e.Key, Account: e.Account, Address: e.Address, By: e.By,
			Owner: e.Owner, Kind: e.Kind, Name: e.Name, Action: e.Action, Before: e.Before, After: e.After,
		}
	}
	return out, more, err
}
