package auth_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

func TestWeb(t *testing.T) {
	t.Parallel()
	all, some, none := runnel.Permissions{Web: true}, runnel.Permissions{Web: true, Referers: []string{"example.com", "*.example.org", "localhost:8080"}}, runnel.Permissions{}
	for _, test := range []struct {
		what            string
		may             runnel.Permissions
		origin, referer string
		want            bool
	}{
		{"a program", none, "", "", true},
		{"a page, no web calls", none, "https://example.com", "", false},
		{"a page by its referer, no web calls", none, "", "https://example.com/a", false},
		{"any page", all, "https://example.net", "", true},
		{"a page without a name", all, "null", "", true},
		{"the host", some, "https://example.com", "", true},
		{"the host, with a port", some, "https://EXAMPLE.com:8443", "", true},
		{"the host by its referer", some, "", "https://example.com/a/b?c", true},
		{"below the host", some, "https://www.example.com", "", false},
		{"below the domain", some, "https://a.b.example.org", "", true},
		{"the domain itself", some, "https://example.org", "", false},
		{"ends as the domain", some, "https://badexample.org", "", false},
		{"the port", some, "http://localhost:8080", "", true},
		{"another port", some, "http://localhost:8081", "", false},
		{"another host", some, "https://example.net", "", false},
		{"the origin counts before the referer", some, "https://example.net", "https://example.com/", false},
		{"a page without a name of some", some, "null", "", false},
		{"no URL", some, "", "example.com", false},
		{"a user that looks as the host", some, "https://example.com@example.net", "", false},
		{"broken", some, "https://%zz", "", false},
	} {
		r := httptest.NewRequest("POST", "/v1/algo/acme/f", nil)
		for name, value := range map[string]string{"Origin": test.origin, "Referer": test.referer} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		err := auth.Caller{Permissions: test.may}.Web(r)
		if (err == nil) != test.want || err != nil && runnel.CodeOf(err) != runnel.CodeDenied {
			t.Errorf("%s: got %v, want let in %t", test.what, err, test.want)
		}
		if err := (auth.Caller{Admin: true}).Web(r); err != nil {
			t.Errorf("%s, an admin: %v", test.what, err)
		}
	}
}

// TestKeyExpires uses a key and a session of it until the key ends.
func TestKeyExpires(t *testing.T) {
	t.Parallel()
	now := exampleTime
	key := auth.NewKey("acme", "123456789012", false, now)
	key.Expires = now.Add(time.Minute)
	a := &auth.Authenticator{Keys: keys{key.ID: key}, Now: func() time.Time { return now }}
	session, err := auth.NewSession(key, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(how string) error {
		r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
		switch how {
		case "token":
			r.Header.Set("Authorization", key.Token())
		case "signature":
			auth.Sign(r, []byte("{}"), auth.Credentials{ID: key.ID, Secret: key.Secret}, "eu-west-3", "sqs", now)
		case "session":
			auth.Sign(r, []byte("{}"), session.Credentials, "eu-west-3", "sqs", now)
		}
		_, err := a.Verify(r, []byte("{}"), "sqs")
		return err
	}
	for _, how := range []string{"token", "signature", "session"} {
		now = key.Expires.Add(-time.Nanosecond)
		if err := verify(how); err != nil {
			t.Errorf("%s, before the end: %v", how, err)
		}
		now = key.Expires
		if err := verify(how); !errors.Is(err, auth.ErrKeyExpired) {
			t.Errorf("%s, at the end: got %v, want ErrKeyExpired", how, err)
		}
	}
}
