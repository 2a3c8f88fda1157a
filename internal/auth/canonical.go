package auth

import (
	"cmp"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// The canonical request, byte for byte, as Verify and Sign both build it:
//
//	method \n path \n query \n (header ":" value \n)* \n signed headers \n SHA-256 of the body
//
// See "Create a signed AWS API request" in the IAM User Guide.

// appendCanonical appends the canonical request of r. path is the escaped path,
// query what is signed of the raw query, signed the names of the signed headers, separated by semicolons, and payload
// the SHA-256 of the body in hex. missing is the name of a signed header that
// the request does not have.
func appendCanonical(buf []byte, r *http.Request, path, query, signed string, payload []byte) (out []byte, missing string) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	buf = append(buf, method...)
	buf = append(buf, '\n')
	// The path is escaped twice: once on the wire, and again here. S3 alone
	// does it once.
	for i := range len(path) {
		if c := path[i]; c == '/' {
			buf = append(buf, c)
		} else {
			buf = appendEscaped(buf, c)
		}
	}
	buf = append(buf, '\n')
	buf = appendQuery(buf, query)
	buf = append(buf, '\n')
	for name, rest, more := cutName(signed); ; name, rest, more = cutName(rest) {
		var ok bool
		if buf, ok = appendHeader(buf, r, name); !ok {
			return buf, name
		}
		if !more {
			break
		}
	}
	buf = append(buf, '\n')
	buf = append(buf, signed...)
	buf = append(buf, '\n')
	return append(buf, payload...), ""
}

func cutName(names string) (name, rest string, more bool) { return strings.Cut(names, ";") }

// escapedPath is the path as it is on the wire.
func escapedPath(r *http.Request) string {
	if path := r.URL.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// normalPath is path without empty, "." and ".." segments. The documentation
// asks for it; boto3 and the Java SDK do it, the Go SDK does not.
func normalPath(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	segments := strings.Split(path, "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
		}
	}
	out := "/" + strings.Join(kept, "/")
	if strings.HasSuffix(path, "/") && len(kept) > 0 {
		out += "/"
	}
	return out
}

// appendQuery appends the parameters of a raw query, each name and value
// escaped by the rule of SigV4, in the order of the escaped names and then of
// the escaped values. A plus is a space, as it is to everybody who reads the
// query later: what is signed is what is read.
func appendQuery(buf []byte, raw string) []byte {
	if raw == "" {
		return buf
	}
	type parameter struct{ name, value string }
	var list []parameter
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		list = append(list, parameter{escapeQuery(name), escapeQuery(value)})
	}
	slices.SortFunc(list, func(a, b parameter) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	for i, p := range list {
		if i > 0 {
			buf = append(buf, '&')
		}
		buf = append(buf, p.name...)
		buf = append(buf, '=')
		buf = append(buf, p.value...)
	}
	return buf
}

// escapeQuery unescapes a name or value of a raw query and escapes it by the
// rule of SigV4. A percent sign that begins no escape is one that was not
// escaped.
func escapeQuery(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && unreserved[s[i]]
	}
	if plain {
		return s
	}
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(b)
				i += 2
			}
		}
		out = appendEscaped(out, c)
	}
	return string(out)
}

// unreserved are the bytes that SigV4 does not escape: RFC 3986, section 2.3.
var unreserved = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") {
		t[c] = true
	}
	return t
}()

func appendEscaped(buf []byte, c byte) []byte {
	if unreserved[c] {
		return append(buf, c)
	}
	const digits = "0123456789ABCDEF"
	return append(buf, '%', digits[c>>4], digits[c&15])
}

// appendHeader appends the line of one signed header, whose name is in lower
// case, and says whether the request has it.
func appendHeader(buf []byte, r *http.Request, name string) ([]byte, bool) {
	buf = append(buf, name...)
	buf = append(buf, ':')
	if name == "host" {
		// Of a request that was not yet sent, Host may be empty.
		return append(appendValue(buf, cmp.Or(r.Host, r.URL.Host)), '\n'), true
	}
	values := headerValues(r.Header, name)
	for i, v := range values {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendValue(buf, v)
	}
	return append(buf, '\n'), len(values) > 0
}

// headerValues is h.Values(name) for a name in lower case, without the
// allocation of its canonical form.
func headerValues(h http.Header, name string) []string {
	var key [64]byte
	if len(name) > len(key) {
		return h[textproto.CanonicalMIMEHeaderKey(name)]
	}
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper = c == '-'
		key[i] = c
	}
	return h[string(key[:len(name)])]
}

// appendValue appends a header's value without spaces around it and with runs
// of spaces in it as one.
func appendValue(buf []byte, v string) []byte {
	v = strings.TrimSpace(v)
	if !strings.Contains(v, "  ") {
		return append(buf, v...)
	}
	for i := range len(v) {
		if v[i] != ' ' || v[i-1] != ' ' {
			buf = append(buf, v[i])
		}
	}
	return buf
}
