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

	"github.com/google/uuid"

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
	AccountSettings
}

// AccountSettings are what can change of an account.
type AccountSettings struct {
	Profile
	// SessionLimit is how many calls may be under way at once. 0: the server's
	// default.
	SessionLimit int `json:"session_limit,omitempty"`
}

// Profile is what an account says of itself, each to 255 bytes.
type Profile struct {
	Email       string `json:"email,omitempty"`
	FullName    string `json:"full_name,omitempty"`
	Company     string `json:"company,omitempty"`
	CompanyRole string `json:"company_role,omitempty"`
}

// Limits of an account.
const (
	// MaxSessionLimit is the most that a session limit can be.
	MaxSessionLimit = 100_000
	maxProfile      = 255
)

// accountDocument is how an account is stored, under its name. Documents of
// earlier releases have neither a UUID nor settings.
type accountDocument struct {
	ID           string    `json:"id"`
	Created      time.Time `json:"created"`
	UUID         string    `json:"uuid,omitempty"`
	Organization bool      `json:"organization,omitempty"`
	AccountSettings
}

// accounts are the namespace of UUIDs of accounts that were made before they
// had one.
var accounts = uuid.MustParse("0a1f4a1c-0b0e-5d4e-9a34-4b6f3f1d2f5e")

// CreateAccount makes an account with a new id. CodeInvalid for a name that no
// account may have, CodeConflict for one that exists.
func (c *Catalog) CreateAccount(ctx context.Context, name string) (Account, error) {
	return c.NewAccount(ctx, name, false, AccountSettings{})
}

// NewAccount makes an account, or an organisation, with settings. Its errors
// are those of CreateAccount; a setting that is wrong is a *runnel.FieldError.
func (c *Catalog) NewAccount(ctx context.Context, name string, organization bool, settings AccountSettings) (Account, error) {
	if err := settings.validate(); err != nil {
		return Account{}, err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	a, err := c.newAccount(name)
	if err != nil {
		return Account{}, err
	}
	a.Organization, a.AccountSettings = organization, settings
	d, err := a.document()
	if err != nil {
		return Account{}, err
	}
	if _, err := c.commit(ctx, d); err != nil {
		return Account{}, err
	}
	return a, nil
}

// newAccount returns an account that does not exist yet. The caller holds
// c.changing.
func (c *Catalog) newAccount(name string) (Account, error) {
	if err := checkAccountName(name); err != nil {
		return Account{}, err
	}
	if err := c.expect(kindAccount, name, 0); err != nil {
		return Account{}, err
	}
	return Account{Name: name, ID: c.newID(name), Created: c.now(), UUID: uuid.NewString()}, nil
}

func (a *Account) document() (Document, error) {
	value, err := json.Marshal(accountDocument{ID: a.ID, Created: a.Created, UUID: a.UUID, Organization: a.Organization, AccountSettings: a.AccountSettings})
	if err != nil {
		return Document{}, fmt.Errorf("write account %q: %w", a.Name, err)
	}
	return Document{Kind: kindAccount, Name: a.Name, Value: value}, nil
}

// UpdateAccount changes the settings of an account: change gets those that it
// has. CodeNotFound if there is none; the errors of change are its own.
func (c *Catalog) UpdateAccount(ctx context.Context, name string, change func(*AccountSettings) error) (Account, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	a, err := c.Account(ctx, name)
	if err != nil {
		return Account{}, err
	}
	before := a.AccountSettings
	if err := change(&a.AccountSettings); err != nil {
		return Account{}, err
	}
	if err := a.AccountSettings.validate(); err != nil {
		return Account{}, err
	}
	if a.AccountSettings == before {
		return a, nil
	}
	d, err := a.document()
	if err != nil {
		return Account{}, err
	}
	if _, err := c.commit(ctx, d); err != nil {
		return Account{}, err
	}
	return a, nil
}

// DeleteAccount forgets an account with its keys and memberships. What else it
// owns the caller has looked for before. The account default stays.
func (c *Catalog) DeleteAccount(ctx context.Context, name string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if _, err := c.Account(ctx, name); err != nil {
		return err
	}
	if name == DefaultAccount {
		return runnel.Errorf(runnel.CodeConflict, "the account %s stays: bare names belong to it", name)
	}
	gone := []Document{{Kind: kindAccount, Name: name}}
	c.mu.RLock()
	for id, k := range c.keys {
		if k.Account == name {
			gone = append(gone, Document{Kind: kindKey, Name: id})
		}
	}
	for member := range c.documents[kindMember] {
		if organization, user, _ := strings.Cut(member, "/"); organization == name || user == name {
			gone = append(gone, Document{Kind: kindMember, Name: member})
		}
	}
	c.mu.RUnlock()
	return c.remove(ctx, gone...)
}

func (s *AccountSettings) validate() error {
	for _, field := range []struct{ path, value string }{
		{"email", s.Email}, {"full_name", s.FullName}, {"company", s.Company}, {"company_role", s.CompanyRole},
	} {
		if err := plainText(field.path, field.value, maxProfile); err != nil {
			return err
		}
	}
	if s.SessionLimit < 0 || s.SessionLimit > MaxSessionLimit {
		return &runnel.FieldError{Path: "session_limit", Err: fmt.Errorf("%d is not between 0, which is the server's default, and %d", s.SessionLimit, MaxSessionLimit)}
	}
	return nil
}

// plainText refuses what is not one line of text.
func plainText(path, value string, most int) error {
	if len(value) > most || !isPlain(value) {
		return &runnel.FieldError{Path: path, Err: fmt.Errorf("want one line of text of at most %d bytes", most)}
	}
	return nil
}

func checkAccountName(name string) error {
	switch {
	case slices.Contains(reserved, name):
		return runnel.Errorf(runnel.CodeInvalid, "the account name %q is reserved; choose another", name)
	case len(name) < 1 || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || name[0] == '_' || name[0] == '-':
		return runnel.Errorf(runnel.CodeInvalid, "the account name %.80q is not of 1 to 64 of the characters a-z, 0-9, _ and -, the first a letter or digit", name)
	case len(name) == len(DefaultAccountID) && strings.Trim(name, "0123456789") == "":
		return runnel.Errorf(runnel.CodeInvalid, "the account name %q has the form of an account id; choose another", name)
	case len(name) == len(uuid.Nil.String()) && uuid.Validate(name) == nil:
		return runnel.Errorf(runnel.CodeInvalid, "the account name %q has the form of a UUID; choose another", name)
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
	return c.accountBy(ctx, c.names, id)
}

// AccountByUUID returns an account by its UUID, or CodeNotFound.
func (c *Catalog) AccountByUUID(ctx context.Context, id string) (Account, error) {
	return c.accountBy(ctx, c.uuids, id)
}

func (c *Catalog) accountBy(ctx context.Context, names map[string]string, id string) (Account, error) {
	if err := ctx.Err(); err != nil {
		return Account{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	name, ok := names[id]
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
	if v.UUID == "" {
		v.UUID = uuid.NewSHA1(accounts, []byte(v.ID)).String()
	}
	c.accounts[d.Name] = Account{
		Name: d.Name, ID: v.ID, Created: v.Created, UUID: v.UUID, Organization: v.Organization, AccountSettings: v.AccountSettings,
	}
	c.names[v.ID], c.uuids[v.UUID] = d.Name, d.Name
	return nil
}

func (c *Catalog) hideAccount(name string) {
	a := c.accounts[name]
	delete(c.names, a.ID)
	delete(c.uuids, a.UUID)
	delete(c.accounts, name)
}

// now is the clock without what a document does not keep.
func (c *Catalog) now() time.Time { return c.opt.Now().UTC().Round(0) }
