package catalog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/store"
)

// TestMembers makes and ends memberships, and looks at what a key of the user
// says of them, also after a restart.
func TestMembers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	for _, name := range []string{"default", "ann", "bob"} {
		if _, err := c.CreateAccount(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"team", "crew"} {
		if _, err := c.NewAccount(ctx, name, true, catalog.AccountSettings{}); err != nil {
			t.Fatal(err)
		}
	}
	ann, err := c.Account(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddKey(ctx, catalog.Key{ID: "RKA", Secret: "s", Account: "ann", AccountID: ann.ID, Created: day}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		organization, user string
		added              bool
		want               runnel.Code
	}{
		{"team", "ann", true, ""},
		{"team", "ann", false, ""},
		{"crew", "ann", true, ""},
		{"team", "bob", true, ""},
		{"ann", "bob", false, runnel.CodeInvalid},
		{"team", "crew", false, runnel.CodeInvalid},
		{"team", "nobody", false, runnel.CodeNotFound},
		{"nobody", "ann", false, runnel.CodeNotFound},
	} {
		added, err := c.AddMember(ctx, test.organization, test.user)
		wantCode(t, "add "+test.user+" to "+test.organization, err, test.want)
		if added != test.added {
			t.Errorf("add %s to %s: added %t, want %t", test.user, test.organization, added, test.added)
		}
	}
	wantOrganizations := func(when string, want ...string) {
		t.Helper()
		k, err := c.Key(ctx, "RKA")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, k.Organizations); diff != "" {
			t.Errorf("%s: organisations of the key (-want +got):\n%s", when, diff)
		}
	}
	wantOrganizations("added", "crew", "team")
	closeStore()
	c, _ = open(t, dir, store.Options{})
	wantOrganizations("after a restart", "crew", "team")
	got, err := c.Members(ctx, "team")
	if err != nil {
		t.Fatal(err)
	}
	want := []catalog.Member{{"team", "ann", day}, {"team", "bob", day}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	_, err = c.Members(ctx, "nobody")
	wantCode(t, "members of nobody", err, runnel.CodeNotFound)
	wantCode(t, "remove who is no member", c.RemoveMember(ctx, "crew", "bob"), runnel.CodeNotFound)
	if err := c.RemoveMember(ctx, "crew", "ann"); err != nil {
		t.Fatal(err)
	}
	wantOrganizations("removed", "team")

	// An account takes its keys and memberships along.
	if err := c.DeleteAccount(ctx, "team"); err != nil {
		t.Fatal(err)
	}
	wantOrganizations("the organisation is gone")
	if err := c.DeleteAccount(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Key(ctx, "RKA")
	wantCode(t, "a key of an account that is gone", err, runnel.CodeNotFound)
	wantCode(t, "delete it again", c.DeleteAccount(ctx, "ann"), runnel.CodeNotFound)
	wantCode(t, "delete the default account", c.DeleteAccount(ctx, "default"), runnel.CodeConflict)
	// One of the same name is another one.
	again, err := c.CreateAccount(ctx, "ann")
	if err != nil || again.ID == ann.ID || again.UUID == ann.UUID {
		t.Errorf("made again: got %+v, %v, was %+v", again, err, ann)
	}
}

// wantField wants an error about a field.
func wantField(t *testing.T, err error) {
	t.Helper()
	var field *runnel.FieldError
	if !errors.As(err, &field) {
		t.Errorf("got %v, want a fault of a field", err)
	}
}

func TestAccountSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	settings := catalog.AccountSettings{Profile: catalog.Profile{Email: "ann@example.com"}, SessionLimit: 5}
	made, err := c.NewAccount(ctx, "ann", false, settings)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	c.Watch(func(account string) { changed = append(changed, account) })
	for _, wrong := range []func(*catalog.AccountSettings) error{
		func(s *catalog.AccountSettings) error { s.SessionLimit = -1; return nil },
		func(s *catalog.AccountSettings) error { s.SessionLimit = catalog.MaxSessionLimit + 1; return nil },
		func(s *catalog.AccountSettings) error { s.FullName = "a\nb"; return nil },
	} {
		_, err := c.UpdateAccount(ctx, "ann", wrong)
		wantField(t, err)
	}
	if _, err := c.UpdateAccount(ctx, "ann", func(*catalog.AccountSettings) error { return nil }); err != nil || len(changed) > 0 {
		t.Errorf("no change: got %v, told of %v", err, changed)
	}
	got, err := c.UpdateAccount(ctx, "ann", func(s *catalog.AccountSettings) error { s.SessionLimit = 7; return nil })
	made.SessionLimit = 7
	if diff := cmp.Diff(made, got); err != nil || diff != "" {
		t.Errorf("changed: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"ann"}, changed); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
	closeStore()
	c, _ = open(t, dir, store.Options{})
	byUUID, err := c.AccountByUUID(ctx, made.UUID)
	if diff := cmp.Diff(made, byUUID); err != nil || diff != "" {
		t.Errorf("after a restart: %v (-want +got):\n%s", err, diff)
	}
	_, err = c.UpdateAccount(ctx, "bob", func(*catalog.AccountSettings) error { return nil })
	wantCode(t, "an account that is not there", err, runnel.CodeNotFound)
}

// TestKeyChanges changes a key, and rotates it.
func TestKeyChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	a, err := c.CreateAccount(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	old := newKey(a, false)
	if err := c.AddKey(ctx, old); err != nil {
		t.Fatal(err)
	}
	may := runnel.Permissions{Algorithms: []string{"algo://ann/*"}, Data: true}
	old.Label, old.Permissions = "phone", may
	changed, err := c.UpdateKey(ctx, old.ID, func(k *catalog.Key) error {
		if k.Secret != "" {
			t.Error("the secret is shown to who changes the key")
		}
		k.Label, k.Permissions, k.Admin, k.Account = "phone", may, true, "other"
		return nil
	})
	if diff := cmp.Diff(old, changed); err != nil || diff != "" {
		t.Errorf("changed: %v (-want +got):\n%s", err, diff)
	}
	for _, wrong := range []func(*catalog.Key) error{
		func(k *catalog.Key) error { k.Label = "a\x00b"; return nil },
		func(k *catalog.Key) error { k.Permissions.Algorithms = []string{"ann/*"}; return nil },
		func(k *catalog.Key) error { k.Permissions.Referers = []string{"https://example.com"}; return nil },
	} {
		_, err := c.UpdateKey(ctx, old.ID, wrong)
		wantField(t, err)
	}
	next, err := c.RotateKey(ctx, old.ID, func(old catalog.Key) catalog.Key { return newKey(a, true) }, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if next.ID == old.ID || next.Secret == old.Secret || next.Admin || next.Label != "phone" || !cmp.Equal(next.Permissions, may) || !next.Expires.IsZero() {
		t.Errorf("rotated: got %+v", next)
	}
	old.Expires = day.Add(time.Hour)
	for range 2 {
		for _, want := range []catalog.Key{old, next} {
			got, err := c.Key(ctx, want.ID)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("after the rotation: %v (-want +got):\n%s", err, diff)
			}
		}
		closeStore()
		c, closeStore = open(t, dir, store.Options{})
	}
	// A key that ends keeps its end, unless the new one is sooner; one that has
	// ended is not rotated.
	rotate := func(overlap time.Duration) error {
		_, err := c.RotateKey(ctx, old.ID, func(catalog.Key) catalog.Key { return newKey(a, false) }, overlap)
		return err
	}
	if err := rotate(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if k, _ := c.Key(ctx, old.ID); !k.Expires.Equal(old.Expires) {
		t.Errorf("rotated again: ends at %s, want %s", k.Expires, old.Expires)
	}
	if err := rotate(0); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "rotate a key that has ended", rotate(0), runnel.CodeConflict)
	wantCode(t, "change a key that is not there", func() error {
		_, err := c.UpdateKey(ctx, "RKX", func(*catalog.Key) error { return nil })
		return err
	}(), runnel.CodeNotFound)
}
