package auth

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Presigned URLs: Signature Version 4 with what is else in headers in the query
// string, X-Amz-Algorithm, -Credential, -Date, -Expires, -SignedHeaders,
// -Signature and -Security-Token. They are good from their date for as long as
// they say, and whoever has one can send it again and again.

// maxExpires is the longest time that a presigned URL is good for. It is AWS'
// limit.
const maxExpires = 7 * 24 * time.Hour

// presigned is a presigned query string, taken apart.
type presigned struct {
	credential, date, expires, signed, signature, token, payload string

	rest string // the query without the signature: what was signed
}

// isPresigned says whether a request is signed in its query string.
func isPresigned(r *http.Request) bool {
	return strings.Contains(r.URL.RawQuery, "X-Amz-Signature=") || strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=")
}

// parsePresigned reads a query string.
func parsePresigned(raw string) (p presigned, err error) {
	var algorithmName string
	fields := map[string]*string{
		"X-Amz-Algorithm": &algorithmName, "X-Amz-Credential": &p.credential, "X-Amz-Date": &p.date, "X-Amz-Expires": &p.expires,
		"X-Amz-SignedHeaders": &p.signed, "X-Amz-Signature": &p.signature, "X-Amz-Security-Token": &p.token, "X-Amz-Content-Sha256": &p.payload,
	}
	var rest strings.Builder
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "X-Amz-Signature" {
			rest.WriteString(pair)
			rest.WriteByte('&')
		}
		field := fields[name]
		if field == nil {
			continue
		}
		if *field != "" {
			return p, fmt.Errorf("the query string has more than one %s: %w", name, ErrMalformed)
		}
		if *field, err = url.QueryUnescape(value); err != nil {
			return p, fmt.Errorf("the query string has a %s that is not well-formed: %w", name, ErrMalformed)
		}
	}
	p.rest = strings.TrimSuffix(rest.String(), "&")
	for _, f := range [...]struct{ name, value string }{
		{"X-Amz-Algorithm", algorithmName}, {"X-Amz-Credential", p.credential}, {"X-Amz-Date", p.date}, {"X-Amz-SignedHeaders", p.signed}, {"X-Amz-Signature", p.signature},
	} {
		if f.value == "" {
			return p, fmt.Errorf("the query string has no %s: %w", f.name, ErrMalformed)
		}
	}
	if algorithmName != algorithm {
		return p, fmt.Errorf("sign with %s, other algorithms are not supported: %w", algorithm, ErrMalformed)
	}
	return p, nil
}

// verifyPresigned checks a request that is signed in its query string.
func (a *Authenticator) verifyPresigned(r *http.Request, body []byte, service string) (Key, error) {
	p, err := parsePresigned(r.URL.RawQuery)
	if err != nil {
		return Key{}, err
	}
	auth, err := newAuthorization(p.credential, p.signed, p.signature)
	if err != nil {
		return Key{}, err
	}
	auth.query, auth.token, auth.payload = p.rest, p.token, p.payload
	// Without X-Amz-Expires it is as with a header: 15 minutes.
	life := maxSkew
	if p.expires != "" {
		n, err := strconv.ParseUint(p.expires, 10, 32)
		if life = time.Duration(n) * time.Second; err != nil || n == 0 || life > maxExpires { //nolint:gosec // 32 bits
			return Key{}, fmt.Errorf("the X-Amz-Expires %.40q is not from 1 to %d seconds: %w", p.expires, int(maxExpires/time.Second), ErrMalformed)
		}
	}
	at, err := time.Parse(dateFormat, p.date)
	if err != nil || len(p.date) != len(dateFormat) {
		return Key{}, fmt.Errorf("the X-Amz-Date %.40q is not of the form %s: %w", p.date, dateFormat, ErrMalformed)
	}
	auth.at = p.date
	if err := a.checkDate(&auth, at, life); err != nil {
		return Key{}, err
	}
	return a.checkSigned(r, body, service, &auth)
}
