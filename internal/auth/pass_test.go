package auth_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// TestPass uses a pass in every way in which a key is used, on a server with
// keys and on one without, until it is revoked.
func TestPass(t *testing.T) {
	for _, anybody := range []bool{false, true} {
		var passes auth.Passes
		now := exampleTime
		a := &auth.Authenticator{Keys: keys{}, Passes: &passes, Any: anybody, Now: func() time.Time { return now }}
		key, revoke := passes.New("acme", "123456789012", "acme/f@v1", now)
		other, _ := passes.New("other", "210987654321", "other/f@v1", now)
		if len(key.ID) != 20 || len(key.Secret) != 40 || key.ID == other.ID || key.Secret == other.Secret || key.Admin {
			t.Errorf("got %+v and %+v", key, other)
		}
		session, err := auth.NewSession(key, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		verify := map[string]func() (auth.Caller, error){
			"bearer": func() (auth.Caller, error) {
				r := httptest.NewRequest("GET", "http://localhost:7070/api/v1/queues", nil)
				r.Header.Set("Authorization", "Bearer "+key.Token())
				return a.Verify(r, nil, "runnel")
			},
			"bare": func() (auth.Caller, error) {
				r := httptest.NewRequest("GET", "http://localhost:7070/", nil)
				r.Header.Set("Authorization", key.Token())
				return a.Verify(r, nil, "runnel")
			},
			"signature": func() (auth.Caller, error) {
				r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
				auth.Sign(r, []byte("{}"), auth.Credentials{ID: key.ID, Secret: key.Secret}, "eu-west-3", "sqs", now)
				return a.Verify(r, []byte("{}"), "sqs")
			},
			"session of it": func() (auth.Caller, error) {
				r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
				auth.Sign(r, []byte("{}"), session.Credentials, "eu-west-3", "sqs", now)
				return a.Verify(r, []byte("{}"), "sqs")
			},
		}
		for name, f := range verify {
			want := auth.Caller{KeyID: key.ID, Account: "acme", AccountID: "123456789012", Permissions: runnel.AllPermissions(), Function: "acme/f@v1"}
			if name == "session of it" {
				if anybody {
					continue // it is not known as one
				}
				want.KeyID, want.Function = session.ID, ""
			}
			got, err := f()
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s, any %t: %v (-want +got):\n%s", name, anybody, err, diff)
			}
		}
		wrong := httptest.NewRequest("GET", "http://localhost:7070/", nil)
		wrong.Header.Set("Authorization", "Bearer "+key.ID+"."+other.Secret)
		if _, err := a.Verify(wrong, nil, "runnel"); !errors.Is(err, auth.ErrSignature) {
			t.Errorf("with the secret of another, any %t: got %v", anybody, err)
		}
		revoke()
		revoke()
		for name, f := range verify {
			got, err := f()
			if anybody {
				if !got.Admin || got.Account != auth.DefaultAccount || err != nil {
					t.Errorf("%s, revoked: got %+v, %v; want what anybody gets", name, got, err)
				}
			} else if !errors.Is(err, auth.ErrUnknownKey) {
				t.Errorf("%s, revoked: got %+v, %v; want ErrUnknownKey", name, got, err)
			}
		}
	}
}
