package auth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/internal/auth"
)

func TestLocalOnly(t *testing.T) {
	type values = map[string][]string
	origin := func(o ...string) values { return values{"Origin": o} }
	for _, test := range []struct {
		host    string
		headers values
		refused string // what the sentence names, or "" for let in
	}{
		{host: "localhost"},
		{host: "localhost:7070"},
		{host: "LOCALHOST:7070"},
		{host: "localhost.:7070"},
		{host: "sqs.localhost:7070"},
		{host: "sqs.eu-west-1.localhost:7070"},
		{host: "127.0.0.1"},
		{host: "127.0.0.1:7070"},
		{host: "127.1.2.3:80"},
		{host: "[::1]"},
		{host: "[::1]:7070"},
		{host: "[::ffff:127.0.0.1]:7070"},

		{host: "", refused: `""`},
		{host: ":7070", refused: ":7070"},
		{host: "example.com", refused: "example.com"},
		{host: "example.com:7070", refused: "example.com"},
		{host: "localhost.example.com", refused: "example.com"},
		{host: "127.0.0.1.example.com", refused: "example.com"},
		{host: "127.0.0.1.nip.io:7070", refused: "nip.io"},
		{host: "notlocalhost", refused: "notlocalhost"},
		{host: "192.168.1.2:7070", refused: "192.168.1.2"},
		{host: "0.0.0.0:7070", refused: "0.0.0.0"},
		{host: "[::]:7070", refused: "[::]"},
		{host: "[fe80::1%25lo]:7070", refused: "fe80"},
		{host: "[::1%lo]:7070", refused: "::1"},
		{host: "127.1", refused: "127.1"},
		{host: "2130706433", refused: "2130706433"},
		{host: "localhost:7070:1", refused: "localhost:7070:1"},
		{host: "localhost:7070@example.com", refused: "example.com"},
		{host: "localhost:x", refused: "localhost:x"},

		{host: "localhost:7070", headers: origin("http://localhost:7070")},
		{host: "localhost:7070", headers: origin("http://localhost:3000")},
		{host: "localhost:7070", headers: origin("https://app.localhost")},
		{host: "localhost:7070", headers: origin("http://127.0.0.1:7070")},
		{host: "localhost:7070", headers: origin("http://[::1]:7070")},
		{host: "localhost:7070", headers: origin("null"), refused: "null"},
		{host: "localhost:7070", headers: origin(""), refused: "origin"},
		{host: "localhost:7070", headers: origin("https://example.com"), refused: "example.com"},
		{host: "localhost:7070", headers: origin("http://localhost.example.com"), refused: "example.com"},
		{host: "localhost:7070", headers: origin("http://localhost@example.com"), refused: "example.com"},
		{host: "localhost:7070", headers: origin("file://localhost"), refused: "file:"},
		{host: "localhost:7070", headers: origin("chrome-extension://localhost"), refused: "chrome-extension"},
		{host: "localhost:7070", headers: origin("localhost:7070"), refused: "localhost:7070"},
		{host: "localhost:7070", headers: origin("http://localhost:7070", "https://example.com"), refused: "example.com"},
		{host: "localhost:7070", headers: origin("http://%zz"), refused: "zz"},
		{host: "example.com", headers: origin("http://localhost:7070"), refused: "example.com"},

		{host: "localhost:7070", headers: values{"Sec-Fetch-Site": {"none"}}},
		{host: "localhost:7070", headers: values{"Sec-Fetch-Site": {"same-origin"}}},
		{host: "localhost:7070", headers: values{"Sec-Fetch-Site": {"same-site"}}},
		{host: "localhost:7070", headers: values{"Sec-Fetch-Site": {"cross-site"}}, refused: "links"},
		{host: "127.0.0.1:7070", headers: values{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://localhost:3000"}}},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Host = test.host
		for name, v := range test.headers {
			r.Header[name] = v
		}
		called := false
		w := httptest.NewRecorder()
		auth.LocalOnly(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true })).ServeHTTP(w, r)
		if called != (test.refused == "") {
			t.Errorf("host %q, headers %q: let in is %t", test.host, test.headers, called)
		}
		if test.refused == "" {
			continue
		}
		if w.Code != http.StatusForbidden {
			t.Errorf("host %q, headers %q: status %d, want 403", test.host, test.headers, w.Code)
		}
		for _, want := range []string{test.refused, "runnel serve"} {
			if got := w.Body.String(); !strings.Contains(got, want) {
				t.Errorf("host %q, headers %q: got %q, want %q in it", test.host, test.headers, got, want)
			}
		}
	}
}
