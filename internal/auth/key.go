package auth

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/runnel-io/runnel"
)

// Account and id of the caller on a server without keys.
const (
	DefaultAccount   = "default"
	DefaultAccountID = "000000000000"
)

// Key is an API key of an account.
type Key struct {
	// ID is public; it is the access key id of an AWS client.
	ID string
	// Secret is kept as it is, since a signature can only be checked with it.
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

// Token returns the key as one string, "ID.SECRET": what a client sends after
// "Bearer" or "Simple", and what Algorithmia clients call the API key.
func (k Key) Token() string { return k.ID + "." + k.Secret }

// Type is what the key is for.
func (k Key) Type() runnel.KeyType {
	switch {
	case k.Admin:
		return runnel.KeyAdmin
	case k.Permissions.Management:
		return runnel.KeyManagement
	}
	return runnel.KeyStandard
}

// String returns the key without its secret.
func (k Key) String() string { return "key " + k.ID + " of " + k.Account }

// Keys is where Verify looks keys up. It is asked on every request.
type Keys interface {
	// Key returns the key with this id, or an error with
	// runnel.CodeNotFound if there is none.
	Key(ctx context.Context, id string) (Key, error)
}

// Caller is who sent a request.
type Caller struct {
	// KeyID is the id of the key that was used; empty on a server without
	// keys.
	KeyID string
	// Account is the name of the caller's account, AccountID its 12 digits.
	Account, AccountID string
	// Admin is whether the key may act for the whole server.
	Admin bool
	// Permissions are what the key may do. Those of an admin are not looked at.
	Permissions runnel.Permissions
	// Organizations are those that the account is a member of.
	Organizations []string
	// Function is OWNER/NAME@VERSION where the key is a pass of its workers.
	// The account is then that of who called the function.
	Function string
	// Invocation is the call that the worker is in, Session the first of those
	// that it came of, and Depth how many these are, itself included. Empty
	// and 0 without a pass.
	Invocation, Session string
	Depth               int
}

// Type is what the caller's key is for.
func (c Caller) Type() runnel.KeyType { return Key{Admin: c.Admin, Permissions: c.Permissions}.Type() }

// Principal is whom a call is made for that the caller makes: with what its key
// may do, but for management, and after the call that its worker is in.
func (c Caller) Principal() *runnel.Principal {
	may := c.Permissions
	if c.Admin {
		may = runnel.AllPermissions()
	}
	may.Management = false
	return &runnel.Principal{
		Account: c.Account, ID: c.AccountID, Session: c.Session, Parent: c.Invocation, Depth: c.Depth,
		Permissions: may, Organizations: c.Organizations,
	}
}

// Owns says whether what belongs to an account is the caller's own: the account
// itself, or an organisation that it is a member of. All is an admin's.
func (c Caller) Owns(account string) bool {
	return c.Admin || account == c.Account || slices.Contains(c.Organizations, account)
}

// Calls says whether the caller's key may call the function OWNER/NAME.
func (c Caller) Calls(function string) bool { return c.Admin || c.Permissions.Calls(function) }

// Reads and Writes say whether the caller's key may read and change files.
func (c Caller) Reads() bool  { return c.Admin || c.Permissions.Data }
func (c Caller) Writes() bool { return c.Admin || c.Permissions.DataWrite }

// Queues says whether the caller's key may use queues and flows.
func (c Caller) Queues() bool { return c.Admin || c.Permissions.Queues }

// Manages says whether the caller's key may change the functions of an account.
func (c Caller) Manages(account string) bool {
	return c.Admin || c.Permissions.Management && c.Owns(account)
}

// Shape of the keys that we make: an id has the length and the letters of an
// AWS access key id, since some clients check them; a secret has 40 characters
// that need no quoting anywhere (238 bits). The letters of an id are those of
// base32: 90 bits, so that ids do not collide.
const (
	idPrefix     = "RK"
	idLength     = 20
	idLetters    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	secretLength = 40
	secretChars  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// NewKey makes a key with a new id and secret, which may do all that concerns
// its account but manage functions. It is stored nowhere yet.
func NewKey(account, accountID string, admin bool, now time.Time) Key {
	return Key{
		ID:        idPrefix + random(idLength-len(idPrefix), idLetters),
		Secret:    random(secretLength, secretChars),
		Account:   account,
		AccountID: accountID,
		Admin:     admin,
		Created:   now.UTC().Round(0),

		Permissions: runnel.AllPermissions(),
	}
}

// random returns n characters, each equally likely.
func random(n int, chars string) string {
	out := make([]byte, 0, n)
	// Bytes at or over the greatest multiple of len(chars) are drawn again:
	// the remainder would favour the first characters.
	limit := 256 - 256%len(chars)
	for buf := make([]byte, n); len(out) < n; {
		_, _ = rand.Read(buf) // never fails: see its documentation
		for _, b := range buf {
			if int(b) < limit && len(out) < n {
				out = append(out, chars[int(b)%len(chars)])
			}
		}
	}
	return string(out)
}

// describe returns an id for an error message. What does not look like an id
// may be a secret in the wrong place and is not repeated.
func describe(id string) string {
	if len(id) < 16 || len(id) > 24 {
		return "an id of another shape than ours"
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return "an id of another shape than ours"
		}
	}
	return id
}
