package auth

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Credentials are what a client signs with: the id and the secret of a key, or
// those of a session and its token.
type Credentials struct {
	ID     string
	Secret string `json:"-"`
	// Token is that of a session, which goes with each request; empty for a
	// key.
	Token string `json:"-"`
}

// String returns the credentials without the secret.
func (c Credentials) String() string { return "key " + c.ID }

// signerKeys are the signing keys that Sign made. What it remembers is a pure
// function of its arguments, so that all clients of a process can share it.
var signerKeys signingKeys

// Sign signs r, whose body is body, with AWS Signature Version 4: it sets the
// headers X-Amz-Date and Authorization, and X-Amz-Security-Token if the credentials are a
// session's. The signature covers Host, Content-Type
// and every X-Amz- header; r must not change after it. r.Body is not read, and
// a body that was signed can be sent in any encoding of the transfer.
func Sign(r *http.Request, body []byte, c Credentials, region, service string, now time.Time) {
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	date := now.UTC().Format(dateFormat)
	r.Header.Set("X-Amz-Date", date)
	if c.Token != "" {
		r.Header.Set("X-Amz-Security-Token", c.Token)
	}
	signed := signedNames(r.Header)
	id := signingKeyID{id: c.ID, date: date[:len("20060102")], region: region, service: service}
	key, cached := signerKeys.find(id, c.Secret)
	if !cached {
		signerKeys.keep(id, key)
	}

	var line [512]byte
	out := append(line[:0], algorithm+" Credential="...)
	out = append(out, c.ID...)
	out = append(out, '/')
	scopeAt := len(out)
	for _, part := range [...]string{id.date, region, service} {
		out = append(out, part...)
		out = append(out, '/')
	}
	out = append(out, terminator...)
	scope := string(out[scopeAt:])
	out = append(out, ", SignedHeaders="...)
	out = append(out, signed...)
	out = append(out, ", Signature="...)

	var payload [64]byte
	hashHex(&payload, body)
	// No signed header is missing: the names are those of the request.
	mac, _ := key.sign(r, escapedPath(r), &authorization{scope: scope, signed: signed, at: date, query: r.URL.RawQuery}, payload[:])
	r.Header.Set("Authorization", string(hex.AppendEncode(out, mac[:])))
}

// signedNames returns the names of the headers that Sign signs, in their
// order. Names that are not in canonical form are left out.
func signedNames(h http.Header) string {
	var room [8]string
	names := append(room[:0], "host")
	for name, values := range h {
		if len(values) == 0 || http.CanonicalHeaderKey(name) != name {
			continue
		}
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") {
			names = append(names, lower(name))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ";")
}

// lower is strings.ToLower, without an allocation for the headers of the day.
func lower(name string) string {
	switch name {
	case "Content-Type":
		return "content-type"
	case "X-Amz-Date":
		return "x-amz-date"
	case "X-Amz-Target":
		return "x-amz-target"
	}
	return strings.ToLower(name)
}
