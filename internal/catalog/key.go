package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

const kindKey = "key"

// maxLabel is the most bytes of a label.
const maxLabel = 64

// Key is an API key of an account. It has the fields of auth.Key, in the same
// order, so that one converts to the other.
type Key struct {
	// ID is public.
	ID string
	// Secret is stored as it is: see the package comment.
	Secret string `json:"-"`
	// Account is the name of the account, AccountID its 12 digits.
	Account, AccountID string
	// Admin is whether the key may act for the whole server.
	Admin bool
	// Created is when the key was made.
	Created time.Time
	// Label is for people, to 64 characters.
	Label string
	// Permissions are what the key may do. Those of an admin key are not
	// looked at.
	Permissions runnel.Permissions
	// Expires is when the key is refused from; zero means never.
	Expires time.Time
	// Organizations are the names of the organisations that the account is a
	// member of, and whose things the key may use as its own.
	Organizations []string
}

// String returns the key without its secret.
func (k Key) String() string { return "key " + k.ID + " of " + k.Account }

// keyDocument is how a key is stored, under its id. The id of the account is
// that of the account's document.
type keyDocument struct {
	Secret  string    `json:"secret"`
	Account string    `json:"account"`
	Admin   bool      `json:"admin,omitempty"`
	Created time.Time `json:"created"`
	Label   string    `json:"label,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// Permissions are nil in documents of earlier releases, whose keys may do
	// all that concerns their account.
	Permissions *runnel.Permissions `json:"permissions,omitempty"`
}

// Key returns the key with this id, or CodeNotFound. It is called on every
// request.
func (c *Catalog) Key(_ context.Context, id string) (Key, error) {
	c.mu.RLock()
	k, ok := c.keys[id]
	k.Organizations = c.memberOf[k.Account]
	c.mu.RUnlock()
	if !ok {
		return Key{}, runnel.Errorf(runnel.CodeNotFound, "there is no such key")
	}
	return k, nil
}

// Keys returns the keys of an account, the oldest first.
func (c *Catalog) Keys(ctx context.Context, account string) ([]Key, error) {
	if _, err := c.Account(ctx, account); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	var list []Key
	for _, k := range c.keys {
		if k.Account == account {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b Key) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// AddKey stores a new key. CodeConflict if there is one with its id,
// CodeNotFound if there is no such account, CodeInvalid if a field is missing
// or AccountID is not the account's.
func (c *Catalog) AddKey(ctx context.Context, k Key) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	a, err := c.Account(ctx, k.Account)
	if err != nil {
		return err
	}
	d, err := c.newKey(k, a)
	if err != nil {
		return err
	}
	_, err = c.commit(ctx, d)
	return err
}

// newKey returns the document of a key that does not exist yet. The caller
// holds c.changing.
func (c *Catalog) newKey(k Key, a Account) (Document, error) {
	if k.ID == "" || k.Secret == "" || k.Created.IsZero() {
		return Document{}, runnel.Errorf(runnel.CodeInvalid, "a key needs an id, a secret and the time when it was made")
	}
	if k.Account != a.Name || k.AccountID != a.ID {
		return Document{}, runnel.Errorf(runnel.CodeInvalid, "the %s names account id %.80q, want %s, which is %s", k, k.AccountID, a.ID, a.Name)
	}
	if err := c.expect(kindKey, k.ID, 0); err != nil {
		return Document{}, err
	}
	return k.document()
}

// document returns a key as it is stored.
func (k *Key) document() (Document, error) {
	if err := plainText("label", k.Label, maxLabel); err != nil {
		return Document{}, err
	}
	if err := k.Permissions.Validate(); err != nil {
		return Document{}, err
	}
	value, err := json.Marshal(keyDocument{
		Secret: k.Secret, Account: k.Account, Admin: k.Admin, Created: k.Created.UTC(),
		Label: k.Label, Expires: k.Expires, Permissions: &k.Permissions,
	})
	if err != nil {
		return Document{}, fmt.Errorf("write key %q: %w", k.ID, err)
	}
	return Document{Kind: kindKey, Name: k.ID, Value: value}, nil
}

// UpdateKey changes the label, the permissions and the end of a key: change gets
// the key as it is, without its secret. CodeNotFound if there is none; the errors
// of change are its own. What else it changes is not looked at.
func (c *Catalog) UpdateKey(ctx context.Context, id string, change func(*Key) error) (Key, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	k, err := c.Key(ctx, id)
	if err != nil {
		return Key{}, err
	}
	wanted := k
	wanted.Secret = ""
	if err := change(&wanted); err != nil {
		return Key{}, err
	}
	k.Label, k.Permissions, k.Expires = wanted.Label, wanted.Permissions, wanted.Expires
	d, err := k.document()
	if err != nil {
		return Key{}, err
	}
	if _, err := c.commit(ctx, d); err != nil {
		return Key{}, err
	}
	return k, nil
}

// RotateKey stores a new key in the place of an old one, with its account, type,
// label and permissions, and has the old one end after a while, in one commit;
// if it ends before, it ends then. A key that has ended is CodeConflict.
func (c *Catalog) RotateKey(ctx context.Context, id string, newKey func(old Key) Key, overlap time.Duration) (Key, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	old, err := c.Key(ctx, id)
	if err != nil {
		return Key{}, err
	}
	now := c.now()
	if !old.Expires.IsZero() && !now.Before(old.Expires) {
		return Key{}, runnel.Errorf(runnel.CodeConflict, "the key %s has ended: make a new one", id)
	}
	a, err := c.Account(ctx, old.Account)
	if err != nil {
		return Key{}, err
	}
	next := newKey(old)
	next.Admin, next.Label, next.Permissions, next.Expires = old.Admin, old.Label, old.Permissions, time.Time{}
	made, err := c.newKey(next, a)
	if err != nil {
		return Key{}, err
	}
	if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
		old.Expires = end
	}
	ending, err := old.document()
	if err != nil {
		return Key{}, err
	}
	if _, err := c.commit(ctx, made, ending); err != nil {
		return Key{}, err
	}
	return next, nil
}

// DeleteKey removes a key, which is refused from then on. CodeNotFound if there
// is none with this id.
func (c *Catalog) DeleteKey(ctx context.Context, id string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if _, err := c.Key(ctx, id); err != nil {
		return err
	}
	return c.remove(ctx, Document{Kind: kindKey, Name: id})
}

// Bootstrap makes the first account, default, and two keys of it, an admin's
// and a standard one, if the catalog is new: it holds no account and no key.
// It returns the keys that it made, the admin's first, and never again: whoever
// calls it prints them, and nobody can ask for them later. Otherwise it returns
// none. newKey makes a key with a new id and secret.
func (c *Catalog) Bootstrap(ctx context.Context, newKey func(a Account, admin bool) Key) ([]Key, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.RLock()
	fresh := len(c.accounts) == 0 && len(c.keys) == 0
	c.mu.RUnlock()
	if !fresh {
		return nil, nil
	}
	a, err := c.newAccount(DefaultAccount)
	if err != nil {
		return nil, fmt.Errorf("make the first account: %w", err)
	}
	d, err := a.document()
	if err != nil {
		return nil, fmt.Errorf("make the first account: %w", err)
	}
	documents := []Document{d}
	keys := []Key{newKey(a, true), newKey(a, false)}
	for _, k := range keys {
		d, err := c.newKey(k, a)
		if err != nil {
			return nil, fmt.Errorf("make the first keys: %w", err)
		}
		documents = append(documents, d)
	}
	if _, err := c.commit(ctx, documents...); err != nil {
		return nil, fmt.Errorf("make the first account and keys: %w", err)
	}
	return keys, nil
}

// showKey needs the account to be shown before: it comes first in the store,
// and first in a change.
func (c *Catalog) showKey(d Document) error {
	var v keyDocument
	if err := json.Unmarshal(d.Value, &v); err != nil {
		return fmt.Errorf("read key %q: %w", d.Name, err)
	}
	a, ok := c.accounts[v.Account]
	if !ok {
		return fmt.Errorf("read key %q: there is no account %q", d.Name, v.Account)
	}
	k := Key{
		ID: d.Name, Secret: v.Secret, Account: a.Name, AccountID: a.ID, Admin: v.Admin, Created: v.Created,
		Label: v.Label, Expires: v.Expires, Permissions: runnel.AllPermissions(),
	}
	if v.Permissions != nil {
		k.Permissions = *v.Permissions
	}
	c.keys[d.Name] = k
	return nil
}
