package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/store"
)

type whoKey struct{}

// audited is a catalog whose clock and caller the test sets.
func audited(t *testing.T, dir string, now *time.Time) (*catalog.Catalog, func()) {
	t.Helper()
	s, err := store.Open(dir, store.Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(s, catalog.Options{
		Now: func() time.Time { return *now },
		Who: func(ctx context.Context) catalog.Actor {
			a, _ := ctx.Value(whoKey{}).(catalog.Actor)
			return a
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func audit(t *testing.T, c *catalog.Catalog, q catalog.AuditQuery) (lines []string, more bool) {
	t.Helper()
	entries, more, err := c.Audit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("%s/%s@%s %s %s %s %s", e.Key, e.By, e.Address, e.Action, e.Kind, e.Name, e.Owner))
	}
	return lines, more
}

// TestAudit looks at what changes of each kind leave in the log, also after a
// restart, and that nothing secret does.
func TestAudit(t *testing.T) {
	t.Parallel()
	now := day
	dir := t.TempDir()
	c, done := audited(t, dir, &now)
	boss := context.WithValue(t.Context(), whoKey{}, catalog.Actor{Key: "RKBOSS", Account: "default", Address: "192.0.2.1"})
	a, err := c.CreateAccount(boss, "ann")
	if err != nil {
		t.Fatal(err)
	}
	k := newKey(a, false)
	if err := c.AddKey(boss, k); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	file := catalog.By(t.Context(), "spec file /etc/runnel.yaml")
	flow := `{"credentials":"hush","env":{"A":"hush","B":{"c":"hush"}},"deep":[{"secret":"hush","sealed_env":{"X":"aHVzaA"}}],"n":12345678901234567890}`
	version, err := c.Put(file, "flow", "ann/f", json.RawMessage(flow), 0)
	if err != nil {
		t.Fatal(err)
	}
	// What is only sealed anew is no change that can be told.
	again := strings.ReplaceAll(flow, "hush", "hushhush")
	if version, err = c.Put(file, "flow", "ann/f", json.RawMessage(again), version); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), "flow", "ann/f", version); err != nil {
		t.Fatal(err)
	}
	if err := c.Note(boss, "ann", "queue", "ann/q", "purge", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteAccount(boss, "ann"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"RKBOSS/@192.0.2.1 delete key " + k.ID + " ann",
		"RKBOSS/@192.0.2.1 delete account ann ann",
		"RKBOSS/@192.0.2.1 purge queue ann/q ann",
		"/server@ delete flow ann/f ann",
		"/spec file /etc/runnel.yaml@ create flow ann/f ann",
		"RKBOSS/@192.0.2.1 create key " + k.ID + " ann",
		"RKBOSS/@192.0.2.1 create account ann ann",
	}
	for _, when := range []string{"before a restart", "after it"} {
		got, more := audit(t, c, catalog.AuditQuery{})
		if strings.Join(got, "\n") != strings.Join(want, "\n") || more {
			t.Errorf("%s: got\n%s\nmore %t, want\n%s", when, strings.Join(got, "\n"), more, strings.Join(want, "\n"))
		}
		done()
		c, done = audited(t, dir, &now)
	}
	defer done()
	entries, _, err := c.Audit(t.Context(), catalog.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hush") || strings.Contains(string(text), k.Secret) || strings.Contains(string(text), "aHVzaA") {
		t.Errorf("a secret is in the log: %s", text)
	}
	if !strings.Contains(string(text), "12345678901234567890") || !strings.Contains(string(text), `"A":"***"`) {
		t.Errorf("what is not secret is not in the log: %s", text)
	}
	for _, test := range []struct {
		q    catalog.AuditQuery
		want []int
		more bool
	}{
		{catalog.AuditQuery{Kind: "flow"}, []int{3, 4}, false},
		{catalog.AuditQuery{Name: "ann/q"}, []int{2}, false},
		{catalog.AuditQuery{Who: "RKBOSS", Limit: 2}, []int{0, 1}, true},
		{catalog.AuditQuery{Who: "spec file /etc/runnel.yaml"}, []int{4}, false},
		{catalog.AuditQuery{Owner: "bob"}, nil, false},
		{catalog.AuditQuery{Until: day.Add(time.Minute)}, []int{5, 6}, false},
		{catalog.AuditQuery{Since: day.Add(time.Minute), Kind: "account"}, []int{1}, false},
		{catalog.AuditQuery{Before: entries[4].Number, Limit: 1}, []int{5}, true},
	} {
		got, more := audit(t, c, test.q)
		var lines []string
		for _, i := range test.want {
			lines = append(lines, want[i])
		}
		if strings.Join(got, "\n") != strings.Join(lines, "\n") || more != test.more {
			t.Errorf("%+v: got\n%s\nmore %t, want\n%s", test.q, strings.Join(got, "\n"), more, strings.Join(lines, "\n"))
		}
	}
}

// TestAuditBounds: long values are cut, and old entries go.
func TestAuditBounds(t *testing.T) {
	t.Parallel()
	now := day
	c, done := audited(t, t.TempDir(), &now)
	defer done()
	ctx := t.Context()
	long, err := json.Marshal(strings.Repeat("\u00e4", 20<<10))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Note(ctx, "ann", "note", "long", "change", nil, long); err != nil {
		t.Fatal(err)
	}
	entries, _, err := c.Audit(ctx, catalog.AuditQuery{})
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	var text string
	if err := json.Unmarshal(entries[0].After, &text); err != nil || !strings.HasSuffix(text, "... (the first of 40962 bytes)") || len(entries[0].After) > 17<<10 {
		t.Errorf("a long value: %v, %d bytes, ends with %q", err, len(entries[0].After), text[max(0, len(text)-60):])
	}
	// Two blocks and a bit; then the first is too old as the fourth begins.
	note := func(n int) {
		for range n {
			if err := c.Note(ctx, "ann", "note", "n", "change", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(want int, when string) {
		t.Helper()
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
		if n != want {
			t.Errorf("%s: %d entries, want %d", when, n, want)
		}
	}
	note(999)
	count(1000, "a block")
	now = now.Add(catalog.AuditAge - time.Hour)
	note(1000)
	count(2000, "two blocks")
	now = now.Add(2 * time.Hour)
	note(1)
	count(1001, "the first block is too old")
}
