package catalog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

const kindAccount = "account"

// The account that bare names belong to, and its id.
const (
	DefaultAccount   = "default"
	DefaultAccountID = "000000000000"
)

// reserved are the first segments of paths that belong to other doors than
// the queues of an account.
var reserved = []string{"v1", "api", "ui", "metrics", "healthz", "readyz", "2015-03-31"}

// Account is a user or an organisation.
type Account struct {
	// Name is 1 to 64 characters: letters a to z, digits, "_" and "-", the
	// first a letter or digit.
	Name string
	// ID is 12 digits. It stands in ARNs and queue URLs and never changes.
	ID string
	// Created is when the account was made.
	Created time.Time
	// UUID is the id that Algorithmia's clients know it by. It never changes.
	UUID string
	// Organization is whether it is one: it has members, and keys of its own.
	Organization bool
	Profile
	// SessionLimit is how many calls may be under way at once, WorkerLimit how
	// many workers all functions together may have. 0: the server's default.
	SessionLimit, WorkerLimit int
}

// Profile is what an account says of itself.
type Profile struct {
	Email       string `json:"email,omitempty"`
	FullName    string `json:"full_name,omitempty"`
	Company     string `json:"company,omitempty"`
	CompanyRole string `json:"company_role,omitempty"`
}

// accountDocument is how an account is stored, under its name.
type accountDocument struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// CreateAccount makes an account with a new id. CodeInvalid for a name that no
// account may have, CodeConflict for one that exists.
func (c *Catalog) CreateAccount(ctx context.Context, name string) (Account, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	a, d, err := c.newAccount(name)
	if err != nil {
		return Account{}, err
	}
	if _, err := c.commit(ctx, d); err != nil {
		return Account{}, err
	}
	return a, nil
}

// newAccount returns an account that does not exist yet, and its document. The
// caller holds c.changing.
func (c *Catalog) newAccount(name string) (Account, Document, error) {
	if err := checkAccountName(name); err != nil {
		return Account{}, Document{}, err
	}
	if err := c.expect(kindAccount, name, 0); err != nil {
		return Account{}, Document{}, err
	}
	a := Account{Name: name, ID: c.newID(name), Created: c.now()}
	value, err := json.Marshal(accountDocument{ID: a.ID, Created: a.Created})
	if err != nil {
		return Account{}, Document{}, fmt.Errorf("write account %q: %w", name, err)
	}
	return a, Document{Kind: kindAccount, Name: name, Value: value}, nil
}

func checkAccountName(name string) error {
	switch {
	case slices.Contains(reserved, name):
		return runnel.Errorf(runnel.CodeInvalid, "the account name %q is reserved; choose another", name)
	case len(name) < 1 || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || name[0] == '_' || name[0] == '-':
		return runnel.Errorf(runnel.CodeInvalid, "the account name %.80q is not of 1 to 64 of the characters a-z, 0-9, _ and -, the first a letter or digit", name)
	case len(name) == len(DefaultAccountID) && strings.Trim(name, "0123456789") == "":
		return runnel.Errorf(runnel.CodeInvalid, "the account name %q has the form of an account id; choose another", name)
	}
	return nil
}

// newID returns an id that no account has: the fixed one of the default
// account, for others a random one that is not zero.
func (c *Catalog) newID(name string) string {
	if name == DefaultAccount {
		return DefaultAccountID
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails: see its documentation
		// 2^64 is so much more than 10^12 that no id is favoured.
		id := fmt.Sprintf("%012d", 1+binary.BigEndian.Uint64(b[:])%(1e12-1))
		if _, taken := c.names[id]; !taken {
			return id
		}
	}
}

// Account returns an account by its name, or CodeNotFound.
func (c *Catalog) Account(ctx context.Context, name string) (Account, error) {
	if err := ctx.Err(); err != nil {
		return Account{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.accounts[name]
	if !ok {
		return Account{}, runnel.Errorf(runnel.CodeNotFound, "there is no account %.80q", name)
	}
	return a, nil
}

// AccountByID returns an account by its 12 digits, or CodeNotFound.
func (c *Catalog) AccountByID(ctx context.Context, id string) (Account, error) {
	if err := ctx.Err(); err != nil {
		return Account{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	name, ok := c.names[id]
	if !ok {
		return Account{}, runnel.Errorf(runnel.CodeNotFound, "there is no account with the id %.80q", id)
	}
	return c.accounts[name], nil
}

// Accounts returns all accounts, in the order of their names.
func (c *Catalog) Accounts(ctx context.Context) ([]Account, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.accounts), func(a, b Account) int {
		return strings.Compare(a.Name, b.Name)
	}), nil
}

func (c *Catalog) showAccount(d Document) error {
	var v accountDocument
	if err := json.Unmarshal(d.Value, &v); err != nil {
		return fmt.Errorf("read account %q: %w", d.Name, err)
	}
	if other, taken := c.names[v.ID]; taken && other != d.Name {
		return fmt.Errorf("read account %q: account %q has the same id %s", d.Name, other, v.ID)
	}
	c.accounts[d.Name] = Account{Name: d.Name, ID: v.ID, Created: v.Created}
	c.names[v.ID] = d.Name
	return nil
}

// now is the clock without what a document does not keep.
func (c *Catalog) now() time.Time { return c.opt.Now().UTC().Round(0) }
