package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// exampleKey and exampleTime are those of the vectors that AWS published.
var (
	exampleKey = auth.Key{
		ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		Account: "acme", AccountID: "123456789012",
	}
	exampleTime   = time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	exampleCaller = auth.Caller{KeyID: "AKIDEXAMPLE", Account: "acme", AccountID: "123456789012"}
)

// keys is an auth.Keys in memory.
type keys map[string]auth.Key

func (k keys) Key(_ context.Context, id string) (auth.Key, error) {
	key, ok := k[id]
	if !ok {
		return auth.Key{}, runnel.Errorf(runnel.CodeNotFound, "no key %s", id)
	}
	return key, nil
}

// example returns an authenticator that knows exampleKey and stands at
// exampleTime.
func example() *auth.Authenticator {
	return &auth.Authenticator{
		Keys: keys{exampleKey.ID: exampleKey},
		Now:  func() time.Time { return exampleTime },
	}
}

var sentinels = map[string]error{
	"missing":   auth.ErrMissing,
	"malformed": auth.ErrMalformed,
	"unknown":   auth.ErrUnknownKey,
	"signature": auth.ErrSignature,
	"expired":   auth.ErrExpired,
	"session":   auth.ErrSessionExpired,
	"ended":     auth.ErrKeyExpired,
}

// kind names the sentinels that err wraps.
func kind(err error) string {
	var names []string
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			names = append(names, name)
		}
	}
	if err != nil && len(names) == 0 {
		return err.Error()
	}
	return strings.Join(names, " and ")
}

func TestVerifyToken(t *testing.T) {
	key := auth.NewKey("acme", "123456789012", true, exampleTime)
	other := auth.NewKey("other", "210987654321", false, exampleTime)
	a := &auth.Authenticator{Keys: keys{key.ID: key, other.ID: other, "EMPTY": {ID: "EMPTY"}}}
	for _, test := range []struct {
		name   string
		header []string
		want   string // "" is accepted, or the sentinel
		text   string // in the error
	}{
		{name: "bearer", header: []string{"Bearer " + key.Token()}},
		{name: "bearer in lower case", header: []string{"bearer " + key.Token()}},
		{name: "simple", header: []string{"Simple " + key.Token()}},
		{name: "bare", header: []string{key.Token()}},
		{name: "more spaces", header: []string{"Bearer   " + key.Token() + " "}},
		{name: "no header", want: "missing", text: "Bearer ID.SECRET"},
		{name: "empty header", header: []string{""}, want: "missing"},
		{name: "two headers", header: []string{"Bearer " + key.Token(), "Bearer " + key.Token()}, want: "malformed"},
		{name: "basic", header: []string{"Basic " + key.Token()}, want: "malformed"},
		{name: "another algorithm", header: []string{"AWS4-ECDSA-P256-SHA256 Credential=x"}, want: "malformed", text: "AWS4-HMAC-SHA256"},
		{name: "no dot", header: []string{"Bearer " + key.Secret}, want: "malformed"},
		{name: "no secret", header: []string{"Bearer " + key.ID + "."}, want: "malformed"},
		{name: "no id", header: []string{"Bearer ." + key.Secret}, want: "malformed"},
		{name: "key without secret", header: []string{"Bearer EMPTY.x"}, want: "unknown"},
		{name: "unknown id", header: []string{"Bearer RKUNKNOWNUNKNOWNUNKN.x"}, want: "unknown", text: "RKUNKNOWNUNKNOWNUNKN"},
		{name: "id and secret exchanged", header: []string{"Bearer " + key.Secret + "." + key.ID}, want: "unknown"},
		{name: "secret of another key", header: []string{"Bearer " + key.ID + "." + other.Secret}, want: "signature"},
		{name: "secret too short", header: []string{"Bearer " + key.ID + "." + key.Secret[:39]}, want: "signature"},
		{name: "secret too long", header: []string{"Bearer " + key.Token() + "x"}, want: "signature"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Authorization"] = test.header
			got, err := a.Verify(r, nil, "sqs")
			if kind(err) != test.want {
				t.Fatalf("error: got %v, want %q", err, test.want)
			}
			if err != nil {
				if got := runnel.CodeOf(err); got != runnel.CodeDenied {
					t.Errorf("code: got %s, want %s", got, runnel.CodeDenied)
				}
				if !strings.Contains(err.Error(), test.text) {
					t.Errorf("error: got %q, want %q in it", err, test.text)
				}
				for _, secret := range []string{key.Secret, other.Secret, key.Secret[:39]} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("error %q holds a secret", err)
					}
				}
				return
			}
			want := auth.Caller{KeyID: key.ID, Account: "acme", AccountID: "123456789012", Admin: true, Permissions: runnel.AllPermissions()}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("caller (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyAny(t *testing.T) {
	a := &auth.Authenticator{Any: true}
	want := auth.Caller{Account: "default", AccountID: "000000000000", Admin: true}
	for _, header := range []string{"", "Bearer x.y", "AWS4-HMAC-SHA256 nonsense", "?"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		got, err := a.Verify(r, nil, "sqs")
		if err != nil {
			t.Fatalf("%q: %v", header, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: caller (-want +got):\n%s", header, diff)
		}
	}
}

type brokenKeys struct{}

func (brokenKeys) Key(context.Context, string) (auth.Key, error) {
	return auth.Key{}, runnel.Errorf(runnel.CodeUnavailable, "closed")
}

func TestVerifyLookupFails(t *testing.T) {
	a := &auth.Authenticator{Keys: brokenKeys{}}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer a.b")
	_, err := a.Verify(r, nil, "sqs")
	for name, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			t.Errorf("a key that could not be looked up is reported as %s", name)
		}
	}
	if got := runnel.CodeOf(err); got != runnel.CodeUnavailable {
		t.Errorf("code: got %s, want %s", got, runnel.CodeUnavailable)
	}
}

func TestNewKey(t *testing.T) {
	id, secret := regexp.MustCompile(`^RK[A-Z2-7]{18}$`), regexp.MustCompile(`^[A-Za-z0-9]{40}$`)
	ids, letters := map[string]bool{}, map[rune]bool{}
	for range 500 {
		k := auth.NewKey("acme", "123456789012", true, exampleTime)
		if !id.MatchString(k.ID) || !secret.MatchString(k.Secret) {
			t.Fatalf("shape: id %q, secret %q", k.ID, k.Secret)
		}
		if ids[k.ID] || ids[k.Secret] {
			t.Fatalf("made twice: %q, %q", k.ID, k.Secret)
		}
		ids[k.ID], ids[k.Secret] = true, true
		for _, c := range k.Secret {
			letters[c] = true
		}
		want := auth.Key{ID: k.ID, Secret: k.Secret, Account: "acme", AccountID: "123456789012", Admin: true, Created: exampleTime, Permissions: runnel.AllPermissions()}
		if diff := cmp.Diff(want, k); diff != "" {
			t.Fatalf("key (-want +got):\n%s", diff)
		}
		for _, printed := range []string{fmt.Sprintf("%v %+v", k, k), fmt.Sprintf("%+v", auth.Credentials{ID: k.ID, Secret: k.Secret})} {
			if strings.Contains(printed, k.Secret) || !strings.Contains(printed, k.ID) {
				t.Fatalf("printed as %s", printed)
			}
		}
	}
	// 20,000 characters of 62: that one never comes has a chance of 1e-141.
	if len(letters) != 62 {
		t.Errorf("secrets use %d different characters, want 62", len(letters))
	}
}
