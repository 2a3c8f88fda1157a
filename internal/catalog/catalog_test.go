package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

var (
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
	day   = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
)

// open returns the catalog of the store in dir, and a function that closes the
// store.
func open(t testing.TB, dir string, opt store.Options) (*catalog.Catalog, func()) {
	t.Helper()
	opt.Log = quiet
	s, err := store.Open(dir, opt)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	closed := false
	closeStore := func() {
		if closed {
			return
		}
		closed = true
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrFailed) {
			t.Errorf("close store: %v", err)
		}
	}
	t.Cleanup(closeStore)
	c, err := catalog.Open(s, catalog.Options{Now: func() time.Time { return day }})
	if err != nil {
		t.Fatalf("open catalog: %v", err)
	}
	return c, closeStore
}

func put(t testing.TB, c *catalog.Catalog, kind, name, value string, expected uint64) uint64 {
	t.Helper()
	version, err := c.Put(t.Context(), kind, name, json.RawMessage(value), expected)
	if err != nil {
		t.Fatalf("put %s %q: %v", kind, name, err)
	}
	return version
}

func list(t testing.TB, c *catalog.Catalog, kind string) []catalog.Document {
	t.Helper()
	documents, err := c.List(t.Context(), kind)
	if err != nil {
		t.Fatalf("list %s: %v", kind, err)
	}
	return documents
}

func wantCode(t testing.TB, what string, err error, want runnel.Code) {
	t.Helper()
	if got := runnel.CodeOf(err); got != want {
		t.Errorf("%s: got %q (%v), want %q", what, got, err, want)
	}
}

func TestDocuments(t *testing.T) {
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()

	if got := list(t, c, "flow"); len(got) != 0 {
		t.Errorf("a new catalog lists %v", got)
	}
	first := put(t, c, "flow", "b", `{"to": ["<x>"]}`, 0)
	second := put(t, c, "flow", "a", `1`, 0)
	put(t, c, "broker", "a", `null`, 0)
	put(t, c, "flow-x", "a", `[]`, 0)
	third := put(t, c, "flow", "b", `{"to": []}`, first)
	if first == 0 || second <= first || third <= second {
		t.Errorf("versions do not grow: %d, %d, %d", first, second, third)
	}

	_, err := c.Put(ctx, "flow", "b", json.RawMessage(`0`), first)
	wantCode(t, "put with a former version", err, runnel.CodeConflict)
	_, err = c.Put(ctx, "flow", "b", json.RawMessage(`0`), 0)
	wantCode(t, "put of what exists", err, runnel.CodeConflict)
	_, err = c.Put(ctx, "flow", "new", json.RawMessage(`0`), 1)
	wantCode(t, "put of what is gone", err, runnel.CodeConflict)
	wantCode(t, "delete with a former version", c.Delete(ctx, "flow", "b", first), runnel.CodeConflict)
	wantCode(t, "delete with version 0", c.Delete(ctx, "flow", "b", 0), runnel.CodeConflict)
	wantCode(t, "delete of what is not there", c.Delete(ctx, "flow", "new", 0), runnel.CodeNotFound)
	_, err = c.Get(ctx, "flow", "new")
	wantCode(t, "get of what is not there", err, runnel.CodeNotFound)

	want := []catalog.Document{
		{Kind: "flow", Name: "a", Version: second, Value: json.RawMessage(`1`)},
		{Kind: "flow", Name: "b", Version: third, Value: json.RawMessage(`{"to":[]}`)},
	}
	for _, when := range []string{"before a restart", "after it"} {
		if diff := cmp.Diff(want, list(t, c, "flow")); diff != "" {
			t.Errorf("%s: list (-want +got):\n%s", when, diff)
		}
		got, err := c.Get(ctx, "flow", "b")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if diff := cmp.Diff(want[1], got); diff != "" {
			t.Errorf("%s: get (-want +got):\n%s", when, diff)
		}
		closeStore()
		c, closeStore = open(t, dir, store.Options{})
	}

	// A name that comes back has no version that it had before.
	if err := c.Delete(ctx, "flow", "b", third); err != nil {
		t.Fatal(err)
	}
	closeStore()
	c, _ = open(t, dir, store.Options{})
	if diff := cmp.Diff(want[:1], list(t, c, "flow")); diff != "" {
		t.Errorf("after a delete: list (-want +got):\n%s", diff)
	}
	if again := put(t, c, "flow", "b", `{}`, 0); again <= third {
		t.Errorf("the document that came back has version %d, the former one had %d", again, third)
	}
}

func TestDocumentLimits(t *testing.T) {
	c, _ := open(t, t.TempDir(), store.Options{})
	long := strings.Repeat("n", catalog.MaxName)
	big := `"` + strings.Repeat("v", catalog.MaxValue-2) + `"`
	for _, test := range []struct {
		what, kind, name, value string
		want                    runnel.Code
	}{
		{"longest name", "flow", long, `1`, ""},
		{"name too long", "flow", long + "n", `1`, runnel.CodeInvalid},
		{"no name", "flow", "", `1`, runnel.CodeInvalid},
		{"name with a zero byte", "flow", "a\x00b", `1`, runnel.CodeInvalid},
		{"name that is not UTF-8", "flow", "\xff", `1`, runnel.CodeInvalid},
		{"name with a slash", "flow", "owner/n\u00e4me", `1`, ""},
		{"no kind", "", "a", `1`, runnel.CodeInvalid},
		{"kind with a zero byte", "a\x00", "a", `1`, runnel.CodeInvalid},
		{"kind too long", strings.Repeat("k", 33), "a", `1`, runnel.CodeInvalid},
		{"largest value", "flow", "big", big, ""},
		{"value too large", "flow", "bigger", big + " ", runnel.CodeTooLarge},
		{"no value", "flow", "a", ``, runnel.CodeInvalid},
		{"value that is not JSON", "flow", "a", `{`, runnel.CodeInvalid},
		{"account", "account", "a", `{}`, runnel.CodeInvalid},
		{"key", "key", "a", `{}`, runnel.CodeInvalid},
	} {
		_, err := c.Put(t.Context(), test.kind, test.name, json.RawMessage(test.value), 0)
		wantCode(t, test.what, err, test.want)
	}
	// Secrets do not come out as documents.
	_, err := c.List(t.Context(), "key")
	wantCode(t, "list of keys", err, runnel.CodeInvalid)
	_, err = c.Get(t.Context(), "key", "a")
	wantCode(t, "get of a key", err, runnel.CodeInvalid)
	wantCode(t, "delete of a key", c.Delete(t.Context(), "key", "a", 1), runnel.CodeInvalid)

	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := c.Put(ended, "flow", "z", json.RawMessage(`1`), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("put with an ended context: got %v, want %v", err, context.Canceled)
	}
	_, err = c.Get(t.Context(), "flow", "z")
	wantCode(t, "get of what was not put", err, runnel.CodeNotFound)
}

// Of several that create one document, one does. Of changes that were made on
// one version, one is kept.
func TestPutConcurrent(t *testing.T) {
	dir := t.TempDir()
	c, closeStore := open(t, dir, store.Options{})
	ctx := t.Context()
	const workers, rounds = 8, 20

	var created atomic.Int32
	var group errgroup.Group
	for range workers {
		group.Go(func() error {
			_, err := c.Put(ctx, "flow", "count", json.RawMessage(`0`), 0)
			switch runnel.CodeOf(err) {
			case "":
				created.Add(1)
			case runnel.CodeConflict:
			default:
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := created.Load(); got != 1 {
		t.Errorf("%d of %d made the document, want 1", got, workers)
	}

	var conflicts atomic.Int32
	for range workers {
		group.Go(func() error {
			for done := 0; done < rounds; {
				d, err := c.Get(ctx, "flow", "count")
				if err != nil {
					return err
				}
				var n int
				if err := json.Unmarshal(d.Value, &n); err != nil {
					return err
				}
				version, err := c.Put(ctx, "flow", "count", json.RawMessage(fmt.Sprint(n+1)), d.Version)
				switch runnel.CodeOf(err) {
				case "":
					done++
					if version <= d.Version {
						return fmt.Errorf("version %d after %d", version, d.Version)
					}
				case runnel.CodeConflict:
					conflicts.Add(1)
				default:
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if conflicts.Load() == 0 {
		t.Error("no change was refused: the test shows nothing")
	}
	closeStore()
	c, _ = open(t, dir, store.Options{})
	d, err := c.Get(ctx, "flow", "count")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(d.Value), fmt.Sprint(workers*rounds); got != want {
		t.Errorf("count: got %s, want %s", got, want)
	}
}

// What was not stored is not seen.
func TestCommitFails(t *testing.T) {
	fs := storetest.NewCrashFS()
	c, _ := open(t, "data", store.Options{FS: fs, Fail: func(error) {}})
	version := put(t, c, "flow", "a", `1`, 0)
	fs.FailSyncs()
	_, err := c.Put(t.Context(), "flow", "a", json.RawMessage(`2`), version)
	wantCode(t, "put", err, runnel.CodeUnavailable)
	wantCode(t, "delete", c.Delete(t.Context(), "flow", "a", version), runnel.CodeUnavailable)
	_, err = c.CreateAccount(t.Context(), "acme")
	wantCode(t, "create account", err, runnel.CodeUnavailable)
	want := []catalog.Document{{Kind: "flow", Name: "a", Version: version, Value: json.RawMessage(`1`)}}
	if diff := cmp.Diff(want, list(t, c, "flow")); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got, err := c.Accounts(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("accounts: got %v, %v, want none", got, err)
	}
}

// On a full disk nothing is added, and things can still be removed.
func TestDiskFull(t *testing.T) {
	fs := storetest.NewCrashFS()
	var clock atomic.Int64
	c, _ := open(t, "data", store.Options{FS: fs, Now: func() time.Time { return day.Add(time.Duration(clock.Add(1)) * time.Second) }})
	version := put(t, c, "flow", "a", `1`, 0)
	fs.SetFree(1)
	// The store looks after each commit.
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		var next uint64
		if next, err = c.Put(t.Context(), "flow", "a", json.RawMessage(`2`), version); err == nil {
			version = next
		}
	}
	wantCode(t, "put", err, runnel.CodeUnavailable)
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("put: got %v, want the cause %v", err, store.ErrNoSpace)
	}
	if err := c.Delete(t.Context(), "flow", "a", version); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// A store that holds what no release wrote is refused, with the document named.
func TestOpenDamaged(t *testing.T) {
	for _, test := range []struct{ key, value, want string }{
		{"flow\x00a", `{`, `read flow "a"`},
		{"flow", `{}`, `the key "flow"`},
		{"\x00", `"x"`, "counter"},
		{"account\x00a", `{"version":1,"value":[]}`, `read account "a"`},
		{"key\x00RK", `{"version":1,"value":{"account":"gone"}}`, `there is no account "gone"`},
		{"key\x00RK", `{"version":1,"value":7}`, `read key "RK"`},
	} {
		s, err := store.Open(t.TempDir(), store.Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		var b store.Batch
		b.Set('c', []byte(test.key), []byte(test.value))
		if err := s.Commit(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := catalog.Open(s, catalog.Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q in it", test.key, err, test.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
