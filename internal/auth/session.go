package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"time"

	"github.com/runnel-io/runnel"
)

// MaxSession is the longest time for which a session is good. It is that of
// AWS' GetSessionToken.
const MaxSession = 36 * time.Hour

// Session is temporary credentials of an account: those of a key that are good
// for a while, to be handed to what should not hold the key. To clients they
// are what AWS STS gives out.
//
// Nothing is stored. The token names the key, the id of the session and when it
// ends, under a MAC that the secret of the key makes, and the secret of the
// session is another MAC of the same. So a session ends with its time or with
// its key, whichever is first, on every server that knows the key.
type Session struct {
	Credentials
	// Expires is when it ends, in whole seconds.
	Expires time.Time
}

// A token is, in base64:
//
//	version, 1 byte | end, 8 bytes, seconds since 1970 | id of the session | id of the key | MAC
const (
	sessionVersion = 1
	sessionPrefix  = "RS" // of ids; those of keys begin with another
	sessionHead    = 1 + 8 + idLength
)

// NewSession makes a session of a key, which ends after life, at most
// MaxSession. It acts for the account of the key and never for the whole
// server, whatever the key may do.
func NewSession(parent Key, life time.Duration, now time.Time) (Session, error) {
	if life < time.Second || life > MaxSession {
		return Session{}, runnel.Errorf(runnel.CodeInvalid, "a session lasts from 1 s to %s, not %s", MaxSession, life)
	}
	if parent.ID == "" || parent.Secret == "" {
		return Session{}, runnel.Errorf(runnel.CodeInvalid, "a session needs a key with an id and a secret")
	}
	s := Session{Expires: now.Add(life).UTC().Truncate(time.Second)}
	s.ID = sessionPrefix + random(idLength-len(sessionPrefix), idLetters)
	claims := make([]byte, 0, sessionHead+len(parent.ID)+sha256.Size)
	claims = append(claims, sessionVersion)
	claims = binary.BigEndian.AppendUint64(claims, uint64(s.Expires.Unix())) //nolint:gosec // no time before 1970
	claims = append(claims, s.ID...)
	claims = append(claims, parent.ID...)
	s.Secret = sessionSecret(parent, claims)
	s.Token = base64.RawURLEncoding.EncodeToString(append(claims, sessionMAC(parent, "token", claims)...))
	return s, nil
}

// sessionMAC is a MAC of claims. what keeps the one that is told apart from
// the one that is secret.
func sessionMAC(parent Key, what string, claims []byte) []byte {
	h := hmac.New(sha256.New, []byte(parent.Secret))
	h.Write([]byte("runnel session " + what + "\x00"))
	h.Write(claims)
	return h.Sum(nil)
}

// sessionSecret is as long as the secrets of keys.
func sessionSecret(parent Key, claims []byte) string {
	return base64.RawURLEncoding.EncodeToString(sessionMAC(parent, "secret", claims)[:secretLength*6/8])
}

// key returns the key of an id, which is that of a session if there is a token.
func (a *Authenticator) key(r *http.Request, id, token string) (Key, error) {
	if token != "" {
		return a.session(r, id, token)
	}
	return a.lookup(r, id)
}

// session returns the key that the credentials of a session are: with its id,
// its secret, and the account of the key that it was made of.
func (a *Authenticator) session(r *http.Request, id, token string) (Key, error) {
	wrong := func() (Key, error) {
		return Key{}, fmt.Errorf("the session token in the request is not one that this server made for %s; with a key of its own, send none (AWS_SESSION_TOKEN): %w", describe(id), ErrUnknownKey)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) <= sessionHead+sha256.Size || raw[0] != sessionVersion {
		return wrong()
	}
	claims, mac := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if string(claims[sessionHead-idLength:sessionHead]) != id {
		return wrong()
	}
	parent, err := a.lookup(r, string(claims[sessionHead:]))
	if err != nil {
		return Key{}, err
	}
	if !hmac.Equal(mac, sessionMAC(parent, "token", claims)) {
		return wrong()
	}
	end := time.Unix(int64(binary.BigEndian.Uint64(claims[1:])), 0) //nolint:gosec // ours: the MAC is
	if now := a.now(); !now.Before(end) {
		return Key{}, fmt.Errorf("the session %s ended at %s and the server's clock says %s: %w", id, end.UTC().Format(dateFormat), now.UTC().Format(dateFormat), ErrSessionExpired)
	}
	return Key{
		ID: id, Secret: sessionSecret(parent, claims), Account: parent.Account, AccountID: parent.AccountID, Created: parent.Created,
		Permissions: parent.Permissions, Organizations: parent.Organizations,
	}, nil
}
