package catalog_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/store"
)

func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	long := strings.Repeat("x", 64)
	for _, test := range []struct {
		name string
		want runnel.Code
	}{
		{"default", ""},
		{"acme", ""},
		{"0-_", ""},
		{"a", ""},
		{long, ""},
		{"12345678901", ""},
		{"v2", ""},
		{"acme", runnel.CodeConflict},
		{"default", runnel.CodeConflict},
		{"", runnel.CodeInvalid},
		{long + "x", runnel.CodeInvalid},
		{"Acme", runnel.CodeInvalid},
		{"-a", runnel.CodeInvalid},
		{"_a", runnel.CodeInvalid},
		{"a.b", runnel.CodeInvalid},
		{"a/b", runnel.CodeInvalid},
		{"a b", runnel.CodeInvalid},
		{"\u00e4", runnel.CodeInvalid},
		{"123456789012", runnel.CodeInvalid},
		{"v1", runnel.CodeInvalid},
		{"api", runnel.CodeInvalid},
		{"ui", runnel.CodeInvalid},
		{"metrics", runnel.CodeInvalid},
		{"healthz", runnel.CodeInvalid},
		{"readyz", runnel.CodeInvalid},
		{"2015-03-31", runnel.CodeInvalid},
	} {
		_, err := c.CreateAccount(ctx, test.name)
		wantCode(t, fmt.Sprintf("create %q", test.name), err, test.want)
	}

	before, err := c.Accounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ids := map[string]string{}
	for _, a := range before {
		names = append(names, a.Name)
		if other, taken := ids[a.ID]; taken {
			t.Errorf("%s and %s have one id, %s", a.Name, other, a.ID)
		}
		ids[a.ID] = a.Name
		if !regexp.MustCompile(`^\d{12}$`).MatchString(a.ID) || (a.ID == "000000000000") != (a.Name == "default") {
			t.Errorf("%s has the id %q", a.Name, a.ID)
		}
		if !a.Created.Equal(day) {
			t.Errorf("%s was made at %s, want %s", a.Name, a.Created, day)
		}
	}
	if diff := cmp.Diff([]string{"0-_", "12345678901", "a", "acme", "default", "v2", long}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}

	closeStore()
	c, _ = open(t, dir, store.Options{})
	after, err := c.Accounts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	for _, want := range before {
		byName, err := c.Account(ctx, want.Name)
		if err != nil {
			t.Fatal(err)
		}
		byID, err := c.AccountByID(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]catalog.Account{want, want}, []catalog.Account{byName, byID}); diff != "" {
			t.Errorf("by name and by id (-want +got):\n%s", diff)
		}
	}
	_, err = c.Account(ctx, "nobody")
	wantCode(t, "account that is not there", err, runnel.CodeNotFound)
	_, err = c.AccountByID(ctx, "acme")
	wantCode(t, "account by a name as id", err, runnel.CodeNotFound)
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	acme, err := c.CreateAccount(ctx, "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateAccount(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	newer := catalog.Key{ID: "RKA", Secret: "s1", Account: "acme", AccountID: acme.ID, Admin: true, Created: day.Add(time.Hour)}
	older := catalog.Key{ID: "RKB", Secret: "s2", Account: "acme", AccountID: acme.ID, Created: day}
	for _, k := range []catalog.Key{newer, older} {
		if err := c.AddKey(ctx, k); err != nil {
			t.Fatal(err)
		}
	}

	for _, test := range []struct {
		what   string
		change func(k *catalog.Key)
		want   runnel.Code
	}{
		{"id that exists", func(k *catalog.Key) { k.ID = "RKA" }, runnel.CodeConflict},
		{"no id", func(k *catalog.Key) { k.ID = "" }, runnel.CodeInvalid},
		{"no secret", func(k *catalog.Key) { k.Secret = "" }, runnel.CodeInvalid},
		{"no time", func(k *catalog.Key) { k.Created = time.Time{} }, runnel.CodeInvalid},
		{"unknown account", func(k *catalog.Key) { k.Account = "nobody" }, runnel.CodeNotFound},
		{"id of another account", func(k *catalog.Key) { k.Account = "other" }, runnel.CodeInvalid},
		{"no id of the account", func(k *catalog.Key) { k.AccountID = "" }, runnel.CodeInvalid},
	} {
		k := older
		k.ID = "RKC"
		test.change(&k)
		err := c.AddKey(ctx, k)
		wantCode(t, test.what, err, test.want)
		if err != nil && strings.Contains(err.Error(), older.Secret) {
			t.Errorf("%s: the error %q holds the secret", test.what, err)
		}
	}

	for _, when := range []string{"before a restart", "after it"} {
		got, err := c.Keys(ctx, "acme")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]catalog.Key{older, newer}, got); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", when, diff)
		}
		k, err := c.Key(ctx, "RKA")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(newer, k); diff != "" {
			t.Errorf("%s: key (-want +got):\n%s", when, diff)
		}
		closeStore()
		c, closeStore = open(t, dir, store.Options{})
	}
	if got, err := c.Keys(ctx, "other"); err != nil || len(got) != 0 {
		t.Errorf("keys of another account: got %v, %v, want none", got, err)
	}
	_, err = c.Keys(ctx, "nobody")
	wantCode(t, "keys of nobody", err, runnel.CodeNotFound)

	if err := c.DeleteKey(ctx, "RKA"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "second delete", c.DeleteKey(ctx, "RKA"), runnel.CodeNotFound)
	for range 2 {
		_, err = c.Key(ctx, "RKA")
		wantCode(t, "deleted key", err, runnel.CodeNotFound)
		if _, err := c.Key(ctx, "RKB"); err != nil {
			t.Errorf("the other key: %v", err)
		}
		closeStore()
		c, closeStore = open(t, dir, store.Options{})
	}
}

// newKey is what the server gives to Bootstrap. It also shows that the keys of
// both packages convert to each other.
func newKey(a catalog.Account, admin bool) catalog.Key {
	return catalog.Key(auth.NewKey(a.Name, a.ID, admin, day))
}

func TestBootstrap(t *testing.T) {
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()

	// Once, however many call it.
	var mu sync.Mutex
	var made []catalog.Key
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			keys, err := c.Bootstrap(ctx, newKey)
			mu.Lock()
			defer mu.Unlock()
			made = append(made, keys...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(made) != 2 {
		t.Fatalf("made %v, want two keys", made)
	}
	for i, admin := range []bool{true, false} {
		want := catalog.Key{ID: made[i].ID, Secret: made[i].Secret, Account: "default", AccountID: "000000000000", Admin: admin, Created: day, Permissions: runnel.AllPermissions()}
		if diff := cmp.Diff(want, made[i]); diff != "" {
			t.Errorf("key %d (-want +got):\n%s", i, diff)
		}
	}
	for range 2 {
		for _, want := range made {
			got, err := c.Key(ctx, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
		}
		if keys, err := c.Bootstrap(ctx, newKey); err != nil || len(keys) != 0 {
			t.Errorf("a second bootstrap: got %v, %v, want none", keys, err)
		}
		closeStore()
		c, closeStore = open(t, dir, store.Options{})
	}

	// Also when all the keys are gone: who deleted them meant it.
	for _, k := range made {
		if err := c.DeleteKey(ctx, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	closeStore()
	c, _ = open(t, dir, store.Options{})
	if keys, err := c.Bootstrap(ctx, newKey); err != nil || len(keys) != 0 {
		t.Errorf("a bootstrap after the keys were deleted: got %v, %v, want none", keys, err)
	}
}

func TestBootstrapFails(t *testing.T) {
	c, _ := open(t, t.TempDir(), store.Options{})
	_, err := c.Bootstrap(t.Context(), func(catalog.Account, bool) catalog.Key { return catalog.Key{} })
	wantCode(t, "bootstrap with bad keys", err, runnel.CodeInvalid)
	if got, err := c.Accounts(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("accounts: got %v, %v, want none", got, err)
	}
	if keys, err := c.Bootstrap(t.Context(), newKey); err != nil || len(keys) != 2 {
		t.Errorf("bootstrap after that: got %v, %v, want two keys", keys, err)
	}
}

func TestKeyHidesSecret(t *testing.T) {
	k := catalog.Key{ID: "RKA", Secret: "hush", Account: "acme"}
	encoded, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprintf("%v %+v", k, k), string(encoded)} {
		if strings.Contains(got, "hush") || !strings.Contains(got, "RKA") {
			t.Errorf("written as %s", got)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	c, _ := open(b, b.TempDir(), store.Options{})
	keys, err := c.Bootstrap(b.Context(), newKey)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Key(b.Context(), keys[1].ID); err != nil {
			b.Fatal(err)
		}
	}
}
