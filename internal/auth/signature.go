package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	dateFormat = "20060102T150405Z"
)

// authorization is the Authorization header of a signed request, taken apart.
type authorization struct {
	id                    string
	scope                 string // date/region/service/aws4_request
	date, region, service string
	signed                string // names of the signed headers, as sent
	signature             [sha256.Size]byte

	at      string // when it was signed, as it was signed
	query   string // what is signed of the query
	payload string // the hash of the body that the client gives, empty if it gives none
	token   string // of a session; empty if there is none
}

// parseAuthorization reads what follows the name of the algorithm:
//
//	Credential=ID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=A;B, Signature=HEX
//
// in any order, the spaces being optional.
func parseAuthorization(s string) (authorization, error) {
	var credential, signed, signature string
	for part, rest, more := strings.Cut(s, ","); ; part, rest, more = strings.Cut(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var field *string
		switch name {
		case "Credential":
			field = &credential
		case "SignedHeaders":
			field = &signed
		case "Signature":
			field = &signature
		default:
			return authorization{}, fmt.Errorf("the Authorization header has a part that is not Credential, SignedHeaders or Signature: %w", ErrMalformed)
		}
		if *field != "" {
			return authorization{}, fmt.Errorf("the Authorization header has more than one %s: %w", name, ErrMalformed)
		}
		if value == "" {
			return authorization{}, fmt.Errorf("the Authorization header has an empty %s: %w", name, ErrMalformed)
		}
		*field = value
		if !more {
			break
		}
	}
	for _, f := range [...]struct{ name, value string }{{"Credential", credential}, {"SignedHeaders", signed}, {"Signature", signature}} {
		if f.value == "" {
			return authorization{}, fmt.Errorf("the Authorization header has no %s: %w", f.name, ErrMalformed)
		}
	}
	return newAuthorization(credential, signed, signature)
}

// newAuthorization takes the three parts of a signature apart.
func newAuthorization(credential, signed, signature string) (authorization, error) {
	a := authorization{signed: signed}
	var ok [4]bool
	var end string
	a.id, a.scope, ok[0] = strings.Cut(credential, "/")
	a.date, end, ok[1] = strings.Cut(a.scope, "/")
	a.region, end, ok[2] = strings.Cut(end, "/")
	a.service, end, ok[3] = strings.Cut(end, "/")
	if ok != [4]bool{true, true, true, true} || a.id == "" || a.date == "" || a.region == "" || a.service == "" || strings.Contains(end, "/") {
		return authorization{}, fmt.Errorf("the Credential is not of the form ID/DATE/REGION/SERVICE/%s: %w", terminator, ErrMalformed)
	}
	if end != terminator {
		return authorization{}, fmt.Errorf("the Credential does not end in %s: %w", terminator, ErrSignature)
	}
	if len(signature) != hex.EncodedLen(len(a.signature)) {
		return authorization{}, fmt.Errorf("the Signature has %d characters, want %d: %w", len(signature), hex.EncodedLen(len(a.signature)), ErrSignature)
	}
	if _, err := hex.Decode(a.signature[:], []byte(signature)); err != nil {
		return authorization{}, fmt.Errorf("the Signature is not hexadecimal: %w", ErrSignature)
	}
	for _, c := range []byte(signed) {
		if c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
			return authorization{}, fmt.Errorf("SignedHeaders are not names in lower case, separated by semicolons: %w", ErrMalformed)
		}
	}
	return a, nil
}

// signs says whether a header, given in lower case, is among the signed ones.
func (a *authorization) signs(name string) bool {
	for n, rest, more := cutName(a.signed); ; n, rest, more = cutName(rest) {
		if n == name {
			return true
		}
		if !more {
			return false
		}
	}
}

// verifySignature checks a signed request. header is the Authorization header
// without the name of the algorithm.
func (a *Authenticator) verifySignature(r *http.Request, body []byte, service, header string) (Key, error) {
	auth, err := parseAuthorization(header)
	if err != nil {
		return Key{}, err
	}
	auth.query = r.URL.RawQuery
	if t := r.Header["X-Amz-Security-Token"]; len(t) > 0 {
		auth.token = t[0]
	}
	if err := a.date(r, &auth); err != nil {
		return Key{}, err
	}
	return a.checkSigned(r, body, service, &auth)
}

// checkSigned checks a signature whose date is good.
func (a *Authenticator) checkSigned(r *http.Request, body []byte, service string, auth *authorization) (Key, error) {
	for _, name := range [...]string{"host", "x-amz-target"} {
		if !auth.signs(name) && (name == "host" || len(headerValues(r.Header, name)) > 0) {
			return Key{}, fmt.Errorf("the header %s is not among SignedHeaders: %w", name, ErrMalformed)
		}
	}
	if auth.service != service {
		return Key{}, fmt.Errorf("the Credential is scoped to the service %.40q, want %q: %w", auth.service, service, ErrSignature)
	}
	var payload [2 * sha256.Size]byte
	hashHex(&payload, body)
	if auth.signs("x-amz-content-sha256") {
		auth.payload = r.Header.Get("X-Amz-Content-Sha256")
	}
	if auth.payload != "" {
		if err := checkPayload(auth.payload, payload[:]); err != nil {
			return Key{}, err
		}
	}
	key, err := a.key(r, auth.id, auth.token)
	if err != nil {
		return Key{}, err
	}

	id := signingKeyID{id: auth.id, date: auth.date, region: auth.region, service: auth.service}
	signing, cached := a.signing.find(id, key.Secret)
	path := escapedPath(r)
	err = signing.check(r, path, auth, payload[:])
	if errors.Is(err, ErrSignature) {
		if normal := normalPath(path); normal != path {
			err = signing.check(r, normal, auth, payload[:])
		}
	}
	if err != nil {
		return Key{}, err
	}
	if !cached {
		// Only now: who has no key cannot fill the cache.
		a.signing.keep(id, signing)
	}
	return key, nil
}

// date finds the time of a signature in the headers and holds it against the
// clock and the scope.
func (a *Authenticator) date(r *http.Request, auth *authorization) error {
	name := "x-amz-date"
	var at time.Time
	var err error
	value := r.Header.Get("X-Amz-Date")
	switch {
	case value != "":
		// The length, since Parse also takes fractions of a second.
		if at, err = time.Parse(dateFormat, value); err != nil || len(value) != len(dateFormat) {
			return fmt.Errorf("the X-Amz-Date header %.40q is not of the form %s: %w", value, dateFormat, ErrMalformed)
		}
	case r.Header.Get("Date") != "":
		name = "date"
		value = r.Header.Get("Date")
		if at, err = http.ParseTime(value); err != nil {
			return fmt.Errorf("the Date header %.40q is not a date of HTTP: %w", value, ErrMalformed)
		}
		at = at.UTC()
		value = at.Format(dateFormat)
	default:
		return fmt.Errorf("a signed request needs an X-Amz-Date or a Date header: %w", ErrMalformed)
	}
	if !auth.signs(name) {
		return fmt.Errorf("the header %s is not among SignedHeaders: %w", name, ErrMalformed)
	}
	auth.at = value
	return a.checkDate(auth, at, maxSkew)
}

// checkDate holds the time of a signature, which is good for life, against the
// clock and the scope. The texts begin as those of AWS.
func (a *Authenticator) checkDate(auth *authorization, at time.Time, life time.Duration) error {
	if auth.date != auth.at[:len("20060102")] {
		return fmt.Errorf("the date %.40q of the Credential is not that of the request, %s: %w", auth.date, auth.at, ErrSignature)
	}
	now := a.now()
	text := func(t time.Time) string { return t.UTC().Format(dateFormat) }
	switch {
	case now.Sub(at) > life:
		return fmt.Errorf("signature expired: %s is now earlier than %s (%s - %s); compare the clocks: %w", auth.at, text(now.Add(-life)), text(now), inMinutes(life), ErrExpired)
	case at.Sub(now) > maxSkew:
		return fmt.Errorf("signature not yet current: %s is still later than %s (%s + %s); compare the clocks: %w", auth.at, text(now.Add(maxSkew)), text(now), inMinutes(maxSkew), ErrExpired)
	}
	return nil
}

// inMinutes writes a time as AWS does, "15 min.".
func inMinutes(d time.Duration) string {
	if d%time.Minute != 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d min.", d/time.Minute)
}

func checkPayload(header string, payload []byte) error {
	switch {
	case header == string(payload):
		return nil
	case header == "UNSIGNED-PAYLOAD":
		return fmt.Errorf("UNSIGNED-PAYLOAD is not accepted, sign the body: %w", ErrSignature)
	case strings.HasPrefix(header, "STREAMING-"):
		return fmt.Errorf("a body signed in chunks is not accepted, sign it as a whole: %w", ErrSignature)
	}
	return fmt.Errorf("the body is not the one that X-Amz-Content-Sha256 is the hash of: %w", ErrSignature)
}

// buffers hold canonical requests while they are hashed.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// maxBuffer is the largest buffer that is kept for the next request.
const maxBuffer = 64 << 10

func release(b *[]byte) {
	if cap(*b) <= maxBuffer {
		buffers.Put(b)
	}
}

// check compares the signature of a request with ours.
func (k *signingKey) check(r *http.Request, path string, auth *authorization, payload []byte) error {
	mac, missing := k.sign(r, path, auth, payload)
	if missing != "" {
		return fmt.Errorf("the header %.60q is among SignedHeaders and did not arrive; a proxy may have removed it: %w", missing, ErrSignature)
	}
	if !hmac.Equal(mac[:], auth.signature[:]) {
		return fmt.Errorf("the signature was not made for this request with the secret of key %s; compare the secret, and the Host if there is a proxy (it arrived as %.80q): %w",
			auth.id, r.Host, ErrSignature)
	}
	return nil
}

// sign returns the signature of a request, of which auth says the signed
// headers, the scope, the time and the query, or the name of a signed header
// that it does not have.
func (k *signingKey) sign(r *http.Request, path string, auth *authorization, payload []byte) (mac [sha256.Size]byte, missing string) {
	b := buffers.Get().(*[]byte)
	defer release(b)
	if *b, missing = appendCanonical((*b)[:0], r, path, auth.query, auth.signed, payload); missing != "" {
		return mac, missing
	}
	var hash [2 * sha256.Size]byte
	hashHex(&hash, *b)
	buf := append((*b)[:0], algorithm...)
	buf = append(buf, '\n')
	buf = append(buf, auth.at...)
	buf = append(buf, '\n')
	buf = append(buf, auth.scope...)
	buf = append(buf, '\n')
	*b = append(buf, hash[:]...)
	k.mac(&mac, *b)
	return mac, ""
}

func hashHex(dst *[2 * sha256.Size]byte, data []byte) {
	sum := sha256.Sum256(data)
	hex.Encode(dst[:], sum[:])
}
