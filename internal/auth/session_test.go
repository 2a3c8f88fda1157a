package auth_test

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

func newSession(t *testing.T, parent auth.Key, life time.Duration) auth.Session {
	t.Helper()
	s, err := auth.NewSession(parent, life, exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSession(t *testing.T) {
	parent := auth.NewKey("acme", "123456789012", true, exampleTime)
	other := auth.NewKey("other", "210987654321", false, exampleTime)
	known := keys{parent.ID: parent, other.ID: other}
	s, again := newSession(t, parent, time.Hour), newSession(t, parent, time.Hour)
	foreign := newSession(t, other, time.Hour)
	if len(s.ID) != 20 || len(s.Secret) != 40 || s.Token == "" || !s.Expires.Equal(exampleTime.Add(time.Hour)) {
		t.Errorf("got %+v, secret of %d characters", s, len(s.Secret))
	}
	if s.ID == again.ID || s.Secret == again.Secret || s.Token == again.Token {
		t.Error("two sessions are the same")
	}
	if text := fmt.Sprintf("%v %s", s.Credentials, s.Credentials); strings.Contains(text, s.Secret) || strings.Contains(text, s.Token) {
		t.Errorf("printed with its secret: %s", text)
	}

	now := exampleTime
	a := &auth.Authenticator{Keys: known, Now: func() time.Time { return now }}
	verify := func(c auth.Credentials) (auth.Caller, error) {
		t.Helper()
		body := []byte("{}")
		r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: c.ID, SecretAccessKey: c.Secret, SessionToken: c.Token}, r, hash(body), "sqs", "us-east-1", now); err != nil {
			t.Fatal(err)
		}
		theirs, err := a.Verify(r, body, "sqs")
		r = httptest.NewRequest("POST", "http://localhost:7070/", nil)
		auth.Sign(r, body, c, "us-east-1", "sqs", now)
		ours, err2 := a.Verify(r, body, "sqs")
		if kind(err) != kind(err2) || !cmp.Equal(theirs, ours) {
			t.Errorf("signed by the SDK: %v, by ourselves: %v", err, err2)
		}
		return theirs, err
	}
	want := auth.Caller{KeyID: s.ID, Account: "acme", AccountID: "123456789012", Permissions: runnel.AllPermissions()} // the key is an admin's
	for range 2 {
		got, err := verify(s.Credentials)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := verify(foreign.Credentials); err != nil {
		t.Errorf("a session of another account: %v", err)
	}

	raw, err := base64.RawURLEncoding.DecodeString(s.Token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		c := s.Credentials
		c.Token = base64.RawURLEncoding.EncodeToString(raw)
		if _, err := verify(c); kind(err) != "unknown" {
			t.Errorf("byte %d changed: %v", i, err)
		}
		raw[i] ^= 1
	}
	for _, test := range []struct {
		name              string
		id, secret, token string
		want              string
	}{
		{"secret of the key", s.ID, parent.Secret, s.Token, "signature"},
		{"secret of another session", s.ID, again.Secret, s.Token, "signature"},
		{"token of another session", s.ID, s.Secret, again.Token, "unknown"},
		{"no token", s.ID, s.Secret, "", "unknown"},
		{"id of the key", parent.ID, parent.Secret, s.Token, "unknown"},
		{"id of another key", other.ID, other.Secret, s.Token, "unknown"},
		{"token that is none", s.ID, s.Secret, "token", "unknown"},
		{"token cut", s.ID, s.Secret, s.Token[:len(s.Token)-1], "unknown"},
		{"token and more", s.ID, s.Secret, s.Token + "AAAA", "unknown"},
		{"token in another base64", s.ID, s.Secret, base64.StdEncoding.EncodeToString(append(raw, 0)), "unknown"},
		{"long token", s.ID, s.Secret, strings.Repeat("A", 10_000), "unknown"},
	} {
		if _, err := verify(auth.Credentials{ID: test.id, Secret: test.secret, Token: test.token}); kind(err) != test.want {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		} else if strings.Contains(err.Error(), s.Secret) || strings.Contains(err.Error(), parent.Secret) {
			t.Errorf("%s: %q holds a secret", test.name, err)
		}
	}
	bearer := httptest.NewRequest("POST", "/", nil)
	bearer.Header.Set("Authorization", "Bearer "+s.ID+"."+s.Secret)
	if _, err := a.Verify(bearer, nil, "sqs"); kind(err) != "unknown" {
		t.Errorf("as a bearer: %v", err)
	}

	now = s.Expires.Add(-time.Second)
	if _, err := verify(s.Credentials); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	now = s.Expires
	if _, err := verify(s.Credentials); kind(err) != "session" {
		t.Errorf("at its end: %v", err)
	}
	now = exampleTime
	replaced := parent
	replaced.Secret = other.Secret
	known[parent.ID] = replaced
	if _, err := verify(s.Credentials); kind(err) != "unknown" {
		t.Errorf("the key has another secret: %v", err)
	}
	delete(known, parent.ID)
	if _, err := verify(s.Credentials); kind(err) != "unknown" {
		t.Errorf("the key is gone: %v", err)
	}
}

func TestSessionRefused(t *testing.T) {
	key := auth.NewKey("acme", "123456789012", false, exampleTime)
	for _, life := range []time.Duration{-time.Hour, 0, time.Millisecond, auth.MaxSession + 1} {
		if _, err := auth.NewSession(key, life, exampleTime); runnel.CodeOf(err) != runnel.CodeInvalid {
			t.Errorf("for %s: %v", life, err)
		}
	}
	for _, parent := range []auth.Key{{}, {ID: key.ID}, {Secret: key.Secret}} {
		if _, err := auth.NewSession(parent, time.Hour, exampleTime); runnel.CodeOf(err) != runnel.CodeInvalid {
			t.Errorf("of %s: %v", parent, err)
		}
	}
}
