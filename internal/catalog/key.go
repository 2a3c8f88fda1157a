package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	// Secret is stored sealed: see the package comment.
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
	// Secret is in documents of earlier releases, and without a Sealer; else it
	// is Sealed.
	Secret  string    `json:"secret,omitempty"`
	Sealed  []byte    `json:"sealed,omitempty"`
	Account string    `json:"account"`
	Admin   bool      `json:"admin,omitempty"`
	Created time.Time `json:"created"`
	Label   string    `json:"label,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	// Permissions are nil in documents of earlier releases, whose keys may do
	// all that concerns their account.
	Permissions *runnel.Permissions `json:"permissions,omitempty"`
}

// storedKey is a key as it was read.
type storedKey struct {
	Key
	sealed []byte // the secret; nil: it is stored as it is
	closed error  // why the secret did not open; the key has none then
}

// Key returns the key with this id, or CodeNotFound. It is called on every
// request. CodeUnavailable is a key whose secret does not open.
func (c *Catalog) Key(_ context.Context, id string) (Key, error) {
	k, err := c.key(id)
	if err == nil && k.closed != nil {
		return Key{}, runnel.Errorf(runnel.CodeUnavailable, "the key %s does not open: %v", id, k.closed)
	}
	return k.Key, err
}

// FindKey returns a key without its secret, also one whose secret does not open;
// or CodeNotFound.
func (c *Catalog) FindKey(_ context.Context, id string) (Key, error) {
	k, err := c.key(id)
	k.Secret = ""
	return k.Key, err
}

// key returns a key, also one whose secret does not open.
func (c *Catalog) key(id string) (storedKey, error) {
	c.mu.RLock()
	k, ok := c.keys[id]
	k.Organizations = c.memberOf[k.Account]
	c.mu.RUnlock()
	if !ok {
		return k, runnel.Errorf(runnel.CodeNotFound, "there is no such key")
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
			list = append(list, k.Key)
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
	return c.keyDocument(storedKey{Key: k})
}

// keyDocument returns a key as it is stored. A secret that is sealed stays as it
// is.
func (c *Catalog) keyDocument(k storedKey) (Document, error) {
	if err := plainText("label", k.Label, maxLabel); err != nil {
		return Document{}, err
	}
	if err := k.Permissions.Validate(); err != nil {
		return Document{}, err
	}
	v := keyDocument{
		Sealed: k.sealed, Account: k.Account, Admin: k.Admin, Created: k.Created.UTC(),
		Label: k.Label, Expires: k.Expires, Permissions: &k.Permissions,
	}
	var err error
	if v.Sealed == nil && c.opt.Sealer != nil {
		v.Sealed, err = c.opt.Sealer.Seal([]byte(k.Secret), kindKey, k.ID)
	} else if v.Sealed == nil {
		v.Secret = k.Secret
	}
	if err != nil {
		return Document{}, fmt.Errorf("seal the secret of key %q: %w", k.ID, err)
	}
	value, err := json.Marshal(v)
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
	k, err := c.key(id)
	if err != nil {
		return Key{}, err
	}
	wanted := k.Key
	wanted.Secret = ""
	if err := change(&wanted); err != nil {
		return Key{}, err
	}
	k.Label, k.Permissions, k.Expires = wanted.Label, wanted.Permissions, wanted.Expires
	d, err := c.keyDocument(k)
	if err != nil {
		return Key{}, err
	}
	if _, err := c.commit(ctx, d); err != nil {
		return Key{}, err
	}
	return k.Key, nil
}

// RotateKey stores a new key in the place of an old one, with its account, type,
// label and permissions, and has the old one end after a while, in one commit;
// if it ends before, it ends then. A key that has ended is CodeConflict.
func (c *Catalog) RotateKey(ctx context.Context, id string, newKey func(old Key) Key, overlap time.Duration) (Key, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	old, err := c.key(id)
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
	next := newKey(old.Key)
	next.Admin, next.Label, next.Permissions, next.Expires = old.Admin, old.Label, old.Permissions, time.Time{}
	made, err := c.newKey(next, a)
	if err != nil {
		return Key{}, err
	}
	if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
		old.Expires = end
	}
	ending, err := c.keyDocument(old)
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
	if _, err := c.key(id); err != nil {
		return err
	}
	return c.remove(ctx, Document{Kind: kindKey, Name: id})
}

// openSecret opens the secret of a key. One that is empty would let anybody in.
func (c *Catalog) openSecret(id string, sealed []byte) (string, error) {
	if c.opt.Sealer == nil {
		return "", errors.New("it is sealed, and there is nothing to open it with")
	}
	secret, err := c.opt.Sealer.Open(sealed, kindKey, id)
	if err == nil && len(secret) == 0 {
		err = errors.New("its secret is empty")
	}
	return string(secret), err
}

// SealKeys seals the secrets that are stored as they are, as earlier releases
// did, or were sealed with a key that is not the first of its file any more, in
// one commit. It returns how many these are, and the errors of those that do
// not open, which stay as they are, by id.
func (c *Catalog) SealKeys(ctx context.Context) (sealed int, closed map[string]error, err error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.RLock()
	keys := maps.Clone(c.keys)
	c.mu.RUnlock()
	closed = make(map[string]error)
	var documents []Document
	for id, k := range keys {
		if k.closed != nil {
			closed[id] = k.closed
			continue
		}
		if c.opt.Sealer == nil || k.sealed != nil && c.opt.Sealer.Current(k.sealed) {
			continue
		}
		k.sealed = nil
		d, err := c.keyDocument(k)
		if err != nil {
			return 0, closed, err
		}
		documents = append(documents, d)
	}
	if len(documents) == 0 {
		return 0, closed, nil
	}
	_, err = c.commit(ctx, documents...)
	return len(documents), closed, err
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
	k := storedKey{sealed: v.Sealed, Key: Key{
		ID: d.Name, Secret: v.Secret, Account: a.Name, AccountID: a.ID, Admin: v.Admin, Created: v.Created,
		Label: v.Label, Expires: v.Expires, Permissions: runnel.AllPermissions(),
	}}
	if before, ok := c.keys[d.Name]; ok && v.Sealed != nil && bytes.Equal(before.sealed, v.Sealed) {
		k.Secret, k.closed = before.Secret, before.closed
	} else if v.Sealed != nil {
		k.Secret, k.closed = c.openSecret(d.Name, v.Sealed)
	}
	if v.Permissions != nil {
		k.Permissions = *v.Permissions
	}
	c.keys[d.Name] = k
	return nil
}
