package auth

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// maxSkew is how far the date of a signature may be from our clock, either
// way. It is AWS' limit.
const maxSkew = 15 * time.Minute

// Authenticator checks the credentials of requests. Its fields are set before
// the first use; its methods may be called by several goroutines at once.
type Authenticator struct {
	// Keys are the keys that are accepted. Needed unless Any is set.
	Keys Keys
	// Passes are keys that are accepted besides. nil: none.
	Passes *Passes
	// Any accepts every request, signed or not, as an admin of the default
	// account. It belongs behind LocalOnly. Only who comes with a pass is who
	// it says, so that a function can do here what it could elsewhere.
	Any bool
	// Failures counts and logs requests with wrong credentials. nil: nobody does.
	Failures *Failures
	// Now is the clock that signatures are held against. Default time.Now.
	Now func() time.Time

	signing signingKeys
}

// Verify returns who sent r, whose body is body. service is the name that a
// signature must be scoped to: the door's name at AWS, "sqs". A refusal wraps
// one of the errors of this package; any other error means that the key could
// not be looked up, or CodeLimit that Failures has had too many from the address.
// Who was recognised is noted for OriginOf.
func (a *Authenticator) Verify(r *http.Request, body []byte, service string) (caller Caller, err error) {
	defer func() {
		if err != nil {
			err = a.Failures.count(r, err)
			return
		}
		noteCaller(r.Context(), &caller)
	}()
	if a.Any && !a.Passes.used(r) {
		return Caller{Account: DefaultAccount, AccountID: DefaultAccountID, Admin: true}, nil
	}
	key, err := a.verify(r, body, service)
	if err != nil {
		return Caller{}, err
	}
	if of, ok := a.Passes.find(key.ID); ok {
		return of.caller(), nil
	}
	return Caller{
		KeyID: key.ID, Account: key.Account, AccountID: key.AccountID, Admin: key.Admin,
		Permissions: key.Permissions, Organizations: key.Organizations,
	}, nil
}

func (a *Authenticator) verify(r *http.Request, body []byte, service string) (Key, error) {
	headers := r.Header["Authorization"]
	if len(headers) > 1 {
		return Key{}, fmt.Errorf("the request has %d Authorization headers, want one: %w", len(headers), ErrMalformed)
	}
	if len(headers) == 0 || headers[0] == "" {
		if isPresigned(r) {
			return a.verifyPresigned(r, body, service)
		}
		return Key{}, fmt.Errorf("sign the request with AWS Signature Version 4, or send Authorization: Bearer ID.SECRET: %w", ErrMissing)
	}
	if isPresigned(r) {
		return Key{}, fmt.Errorf("the request has a signature in the Authorization header and one in the query string, want one: %w", ErrMalformed)
	}
	scheme, rest, spaced := strings.Cut(headers[0], " ")
	switch {
	case scheme == algorithm:
		return a.verifySignature(r, body, service, rest)
	case !spaced:
		return a.verifyToken(r, scheme)
	case strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Simple"):
		return a.verifyToken(r, strings.TrimSpace(rest))
	case strings.HasPrefix(scheme, "AWS4-"):
		return Key{}, fmt.Errorf("sign with %s, other algorithms are not supported: %w", algorithm, ErrMalformed)
	}
	return Key{}, fmt.Errorf("the Authorization header has none of the schemes %s, Bearer, Simple: %w", algorithm, ErrMalformed)
}

func (a *Authenticator) verifyToken(r *http.Request, token string) (Key, error) {
	id, secret, ok := strings.Cut(token, ".")
	if !ok || id == "" || secret == "" {
		return Key{}, fmt.Errorf("the token is not of the form ID.SECRET: %w", ErrMalformed)
	}
	key, err := a.lookup(r, id)
	if err != nil {
		return Key{}, err
	}
	if subtle.ConstantTimeCompare([]byte(secret), []byte(key.Secret)) != 1 {
		return Key{}, fmt.Errorf("the secret in the token is not that of key %s: %w", key.ID, ErrSignature)
	}
	return key, nil
}

func (a *Authenticator) lookup(r *http.Request, id string) (Key, error) {
	if of, ok := a.Passes.find(id); ok {
		return of.now(), nil
	}
	if strings.HasPrefix(id, passPrefix) && len(id) == idLength {
		return Key{}, fmt.Errorf("the key %s is of workers that have ended, or of an earlier process: %w", describe(id), ErrUnknownKey)
	}
	key, err := a.Keys.Key(r.Context(), id)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return Key{}, fmt.Errorf("the server has no key with this id (%s): %w", describe(id), ErrUnknownKey)
	}
	if err != nil {
		return Key{}, fmt.Errorf("look up key: %w", err)
	}
	if key.Secret == "" {
		// An empty secret would let anybody sign.
		return Key{}, fmt.Errorf("key %s has no secret: %w", describe(id), ErrUnknownKey)
	}
	if now := a.now(); !key.Expires.IsZero() && !now.Before(key.Expires) {
		return Key{}, fmt.Errorf("the key %s ended at %s and the server's clock says %s; use the one that took its place, or make a new one: %w",
			describe(id), key.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), ErrKeyExpired)
	}
	return key, nil
}

func (a *Authenticator) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}
