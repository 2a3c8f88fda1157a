package auth_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
		pass := passes.New("acme", "123456789012", "acme/f@v1", now)
		key, other := pass.Key(), passes.New("other", "210987654321", "other/f@v1", now).Key()
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
		pass.Revoke()
		pass.Revoke()
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

// TestPassActs holds a pass against the calls that its worker is in.
func TestPassActs(t *testing.T) {
	var passes auth.Passes
	a := &auth.Authenticator{Keys: keys{}, Passes: &passes}
	pass := passes.New("acme", "123456789012", "acme/f@v1", exampleTime)
	who := func() auth.Caller {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", pass.Key().Token())
		got, err := a.Verify(r, nil, "runnel")
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	owner := auth.Caller{KeyID: pass.Key().ID, Account: "acme", AccountID: "123456789012", Permissions: runnel.AllPermissions(), Function: "acme/f@v1"}
	stranger := &runnel.Principal{Account: "other", ID: "210987654321", Permissions: runnel.Permissions{Algorithms: []string{"algo://other/*"}, Data: true, Queues: true}}
	member := &runnel.Principal{
		Account: "one", ID: "310987654321", Permissions: runnel.Permissions{Queues: true, Management: true}, Organizations: []string{"acme"},
		Session: "first", Parent: "second", Depth: 2,
	}
	want := func(change func(c *auth.Caller)) auth.Caller {
		c := owner
		change(&c)
		return c
	}
	for _, test := range []struct {
		name string
		in   *runnel.Invocation
		want auth.Caller
	}{
		{"none", nil, owner},
		{"the owner's", &runnel.Invocation{ID: "1"}, want(func(c *auth.Caller) { c.Invocation, c.Session, c.Depth = "1", "1", 1 })},
		{"a stranger's", &runnel.Invocation{ID: "2", Caller: stranger}, want(func(c *auth.Caller) {
			c.Account, c.AccountID, c.Invocation, c.Session, c.Depth = "other", "210987654321", "2", "2", 1
			c.Permissions = runnel.Permissions{Algorithms: []string{"algo://other/*"}, Data: true}
		})},
		{"a member's", &runnel.Invocation{ID: "3", Caller: member}, want(func(c *auth.Caller) {
			c.Account, c.AccountID, c.Invocation, c.Session, c.Depth = "one", "310987654321", "3", "first", 3
			c.Permissions, c.Organizations = runnel.Permissions{Queues: true}, []string{"acme"}
		})},
		{"several accounts'", &runnel.Invocation{Caller: &runnel.Principal{Depth: 4}}, want(func(c *auth.Caller) { c.Depth = 5 })},
		{"none again", nil, owner},
	} {
		pass.Act(test.in)
		if diff := cmp.Diff(test.want, who(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}

	// A session that is made of it is no way around that.
	session, err := auth.NewSession(pass.Key(), time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pass.Act(&runnel.Invocation{ID: "2", Caller: stranger})
	r := httptest.NewRequest("POST", "http://localhost:7070/", nil)
	auth.Sign(r, []byte("{}"), session.Credentials, "eu-west-3", "sqs", time.Now())
	if got, err := a.Verify(r, []byte("{}"), "sqs"); err != nil || got.Account != "other" || got.Permissions.Queues {
		t.Errorf("a session of it: got %+v, %v", got, err)
	}
}
