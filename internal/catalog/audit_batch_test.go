package catalog_test

import (
	"testing"
	"time"

	"github.com/runnel-io/runnel/internal/catalog"
)

// TestAuditLargeCommit: a commit of several blocks keeps all its entries, also
// where every entry before it is too old.
func TestAuditLargeCommit(t *testing.T) {
	t.Parallel()
	const keys = 2500
	now := day
	c, done := audited(t, t.TempDir(), &now)
	defer done()
	ctx := t.Context()
	a, err := c.CreateAccount(ctx, "ann")
	if err != nil {
		t.Fatal(err)
	}
	for range keys {
		if err := c.AddKey(ctx, newKey(a, false)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(catalog.AuditAge + time.Hour)
	if err := c.DeleteAccount(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	n, before := 0, uint64(0)
	for {
		entries, more, err := c.Audit(ctx, catalog.AuditQuery{Before: before})
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
		if !more {
			break
		}
		before = entries[len(entries)-1].Number
	}
	if n != keys+1 {
		t.Errorf("got %d entries, want %d", n, keys+1)
	}
}
