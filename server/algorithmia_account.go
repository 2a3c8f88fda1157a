package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/collection"
)

// accountAPI is the accounts as users and organisations.
type accountAPI struct {
	*applier
	collections *collection.Set
}

var _ algorithmia.Accounts = accountAPI{}

// organization is what an organisation has besides the account.
type organization struct {
	Contact string `json:"contact,omitempty"`
	URL     string `json:"url,omitempty"`
	Type    string `json:"type,omitempty"`
}

// kindOrganization is the catalog's kind of these; names are those of accounts.
const kindOrganization = "organization"

// accountOf returns the account with this name or UUID. A server without keys has
// no accounts, and the default one all the same.
func accountOf(ctx context.Context, c *catalog.Catalog, user string) (catalog.Account, error) {
	account, err := c.Account(ctx, user)
	if runnel.CodeOf(err) != runnel.CodeNotFound {
		return account, err
	}
	if account, err := c.AccountByUUID(ctx, strings.ToLower(user)); runnel.CodeOf(err) != runnel.CodeNotFound {
		return account, err
	}
	all, err := c.Accounts(ctx)
	if err != nil {
		return account, err
	}
	if first := lone(); len(all) == 0 && (user == first.Name || strings.ToLower(user) == first.UUID) {
		return first, nil
	}
	return account, runnel.Errorf(runnel.CodeNotFound, "there is no account %.80q", user)
}

// lone is the account of a server without keys.
func lone() catalog.Account {
	return catalog.Account{
		Name: catalog.DefaultAccount, ID: catalog.DefaultAccountID,
		UUID: uuid.NewSHA1(listenerIDs, []byte(catalog.DefaultAccount)).String(),
	}
}

// List implements algorithmia.Accounts.
func (a accountAPI) List(ctx context.Context, organizations bool) ([]algorithmia.Account, error) {
	all, err := a.owners.catalog.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		all = append(all, lone())
	}
	var out []algorithmia.Account
	for _, account := range all {
		if account.Organization != organizations {
			continue
		}
		described, err := a.describe(ctx, account)
		if err != nil {
			return nil, err
		}
		out = append(out, described)
	}
	return out, nil
}

// Find implements algorithmia.Accounts.
func (a accountAPI) Find(ctx context.Context, user string, isOrganization bool) (algorithmia.Account, error) {
	account, err := accountOf(ctx, a.owners.catalog, user)
	if err != nil {
		return algorithmia.Account{}, err
	}
	if account.Organization != isOrganization {
		return algorithmia.Account{}, runnel.Errorf(runnel.CodeNotFound, "there is no %s %.80q", map[bool]string{true: "organisation", false: "user"}[isOrganization], user)
	}
	return a.describe(ctx, account)
}

func (a accountAPI) describe(ctx context.Context, account catalog.Account) (algorithmia.Account, error) {
	out := algorithmia.Account{
		ID: account.UUID, Name: account.Name, Organization: account.Organization, Created: account.Created,
		Email: account.Email, FullName: account.FullName, Company: account.Company, CompanyRole: account.CompanyRole,
	}
	if !account.Organization {
		return out, nil
	}
	d, err := a.owners.catalog.Get(ctx, kindOrganization, account.Name)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return out, nil
	}
	if err != nil {
		return out, err
	}
	var more organization
	if err := json.Unmarshal(d.Value, &more); err != nil {
		return out, fmt.Errorf("read organisation %s: %w", account.Name, err)
	}
	out.Contact, out.URL, out.Type = more.Contact, more.URL, more.Type
	return out, nil
}

// Create implements algorithmia.Accounts.
func (a accountAPI) Create(ctx context.Context, in algorithmia.Account) (algorithmia.Account, error) {
	if err := checkOrganization(in); err != nil {
		return in, err
	}
	account, err := a.owners.catalog.NewAccount(ctx, in.Name, in.Organization, catalog.AccountSettings{Profile: profileOf(in)})
	if err != nil {
		return in, fieldInvalid(err)
	}
	return a.keep(ctx, account, in)
}

// Change implements algorithmia.Accounts.
func (a accountAPI) Change(ctx context.Context, in algorithmia.Account) (algorithmia.Account, error) {
	if err := checkOrganization(in); err != nil {
		return in, err
	}
	account, err := a.owners.catalog.UpdateAccount(ctx, in.Name, func(s *catalog.AccountSettings) error {
		s.Profile = profileOf(in)
		return nil
	})
	if err != nil {
		return in, fieldInvalid(err)
	}
	return a.keep(ctx, account, in)
}

func profileOf(a algorithmia.Account) catalog.Profile {
	return catalog.Profile{Email: a.Email, FullName: a.FullName, Company: a.Company, CompanyRole: a.CompanyRole}
}

// fieldInvalid gives a fault of a field its code.
func fieldInvalid(err error) error {
	var coded *runnel.Error
	var field *runnel.FieldError
	if errors.As(err, &field) && !errors.As(err, &coded) {
		return runnel.Errorf(runnel.CodeInvalid, "%v", field)
	}
	return err
}

func checkOrganization(a algorithmia.Account) error {
	for _, f := range []struct{ name, value string }{{"org_contact_name", a.Contact}, {"org_url", a.URL}} {
		if len(f.value) > 255 || strings.ContainsFunc(f.value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return runnel.Errorf(runnel.CodeInvalid, "%s: want one line of at most 255 bytes", f.name)
		}
	}
	return nil
}

// keep stores what only organisations have.
func (a accountAPI) keep(ctx context.Context, account catalog.Account, in algorithmia.Account) (algorithmia.Account, error) {
	if account.Organization {
		value, err := json.Marshal(organization{in.Contact, in.URL, in.Type})
		if err != nil {
			return in, fmt.Errorf("encode organisation %s: %w", account.Name, err)
		}
		version, err := documentVersion(ctx, a.owners.catalog, kindOrganization, account.Name)
		if err != nil {
			return in, err
		}
		if _, err := a.owners.catalog.Put(ctx, kindOrganization, account.Name, value, version); err != nil {
			return in, err
		}
	}
	return a.describe(ctx, account)
}

// Delete implements algorithmia.Accounts.
func (a accountAPI) Delete(ctx context.Context, name string) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	var owned []string
	for _, q := range a.queues.List(name, "", "", 0) {
		owned = append(owned, "queue "+q.Name().Queue)
	}
	for _, f := range a.flows.all(name) {
		owned = append(owned, "flow "+f.record().Flow.Name)
	}
	for _, f := range a.functions.set.List() {
		if ownerOf(f.Name) == name {
			owned = append(owned, "function "+f.Name)
		}
	}
	algorithms, err := a.owners.catalog.List(ctx, kindAlgorithm)
	if err != nil {
		return err
	}
	for _, d := range algorithms { // those that were never built are no functions
		if named := "function " + d.Name; ownerOf(d.Name) == name && !slices.Contains(owned, named) {
			owned = append(owned, named)
		}
	}
	collections, _, err := a.collections.Collections(ctx, name, "", 3)
	if err != nil {
		return err
	}
	for _, c := range collections {
		owned = append(owned, "collection "+c.Name)
	}
	if len(owned) > 0 {
		return runnel.Errorf(runnel.CodeConflict, "the account %s owns %s: delete these first", name, few(owned))
	}
	if err := a.owners.catalog.DeleteAccount(ctx, name); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	// What its calls kept, so that a later account of the name does not have it.
	if err := a.collections.DeleteOwner(ctx, name); err != nil {
		return err
	}
	if version, err := documentVersion(ctx, a.owners.catalog, kindOrganization, name); err != nil || version == 0 {
		return err
	}
	return deleteDocument(ctx, a.owners.catalog, kindOrganization, name)
}

// Members implements algorithmia.Accounts.
func (a accountAPI) Members(ctx context.Context, organization string) ([]string, error) {
	members, err := a.owners.catalog.Members(ctx, organization)
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.User
	}
	return names, err
}

// AddMember implements algorithmia.Accounts.
func (a accountAPI) AddMember(ctx context.Context, organization, user string) (bool, error) {
	return a.owners.catalog.AddMember(ctx, organization, user)
}

// RemoveMember implements algorithmia.Accounts.
func (a accountAPI) RemoveMember(ctx context.Context, organization, user string) error {
	return a.owners.catalog.RemoveMember(ctx, organization, user)
}

// Keys implements algorithmia.Accounts.
func (a accountAPI) Keys(ctx context.Context, account string) ([]algorithmia.AccountKey, error) {
	keys, err := a.owners.catalog.Keys(ctx, account)
	if runnel.CodeOf(err) == runnel.CodeNotFound { // a server without keys
		return nil, nil
	}
	out := make([]algorithmia.AccountKey, len(keys))
	for i, k := range keys {
		out[i] = accountKeyOf(auth.Key(k))
	}
	return out, err
}

func accountKeyOf(k auth.Key) algorithmia.AccountKey {
	return algorithmia.AccountKey{ID: k.ID, Account: k.Account, Label: k.Label, Type: k.Type(), Created: k.Created, Permissions: k.Permissions}
}

// CreateKey implements algorithmia.Accounts.
func (a accountAPI) CreateKey(ctx context.Context, account string, in algorithmia.AccountKey) (algorithmia.AccountKey, string, error) {
	of, err := a.owners.catalog.Account(ctx, account)
	if err != nil {
		return in, "", err
	}
	k := auth.NewKey(of.Name, of.ID, in.Type == runnel.KeyAdmin, time.Now())
	k.Label, k.Permissions = in.Label, in.Permissions
	if err := a.owners.catalog.AddKey(ctx, catalog.Key(k)); err != nil {
		return in, "", fieldInvalid(err)
	}
	return accountKeyOf(k), k.Token(), nil
}
