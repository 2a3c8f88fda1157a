package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/seal"
	"github.com/runnel-io/runnel/internal/store"
)

// ring is a catalog.Sealer.
type ring struct{ *seal.Ring }

func (r ring) Seal(value []byte, context ...string) ([]byte, error) {
	return r.Ring.Seal(value, context...), nil
}

func newRing(t *testing.T, keys ...string) ring {
	t.Helper()
	r, err := seal.Parse([]byte(strings.Join(keys, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return ring{r}
}

// TestSealKeys follows a key from a release that did not seal through changes of
// the key file to its loss.
func TestSealKeys(t *testing.T) {
	t.Parallel()
	const one, two = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
	dir := t.TempDir()
	ctx := t.Context()
	reopen := func(sealer catalog.Sealer) (*catalog.Catalog, func()) {
		s, err := store.Open(dir, store.Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		c, err := catalog.Open(s, catalog.Options{Sealer: sealer})
		if err != nil {
			t.Fatal(err)
		}
		return c, func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	c, done := reopen(nil)
	made, err := c.Bootstrap(ctx, newKey)
	if err != nil {
		t.Fatal(err)
	}
	done()
	key := made[0]
	for _, step := range []struct {
		what   string
		sealer catalog.Sealer
		sealed int
	}{
		{"from clear", newRing(t, one), 2},
		{"again", newRing(t, one), 0},
		{"another key first", newRing(t, two, one), 2},
		{"the first alone", newRing(t, two), 0},
	} {
		c, done := reopen(step.sealer)
		sealed, closed, err := c.SealKeys(ctx)
		if err != nil || sealed != step.sealed || len(closed) != 0 {
			t.Errorf("%s: sealed %d, closed %v, %v; want %d sealed", step.what, sealed, closed, err, step.sealed)
		}
		got, err := c.Key(ctx, key.ID)
		if diff := cmp.Diff(key, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", step.what, err, diff)
		}
		done()
	}

	// The key file is lost, and there is a new one.
	lost := newRing(t, one)
	c, done = reopen(lost)
	sealed, closed, err := c.SealKeys(ctx)
	if err != nil || sealed != 0 || len(closed) != 2 {
		t.Errorf("lost: sealed %d, closed %v, %v; want 2 closed", sealed, closed, err)
	}
	_, err = c.Key(ctx, key.ID)
	wantCode(t, "a key that does not open", err, runnel.CodeUnavailable)
	// Such a key can be changed and rotated, and opens when the file is back.
	if _, err := c.UpdateKey(ctx, key.ID, func(k *catalog.Key) error { k.Label = "lost"; return nil }); err != nil {
		t.Fatal(err)
	}
	a, err := c.Account(ctx, key.Account)
	if err != nil {
		t.Fatal(err)
	}
	next, err := c.RotateKey(ctx, key.ID, func(catalog.Key) catalog.Key { return newKey(a, false) }, 0)
	if err != nil || !next.Admin || next.Label != "lost" {
		t.Fatalf("rotate a key that does not open: %+v, %v", next, err)
	}
	_, err = c.Key(ctx, key.ID)
	wantCode(t, "the key that was rotated", err, runnel.CodeUnavailable)
	done()
	c, done = reopen(newRing(t, one, two))
	defer done()
	for _, want := range []catalog.Key{key, next} {
		if got, err := c.Key(ctx, want.ID); err != nil || got.Secret != want.Secret {
			t.Errorf("the file is back: got %v, %v, want the secret of %v", got, err, want)
		}
	}
	if err := c.DeleteKey(ctx, key.ID); err != nil {
		t.Error(err)
	}
}
