package store_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func open(t testing.TB, dir string, opt store.Options) *store.Store {
	t.Helper()
	if opt.Log == nil {
		opt.Log = quiet
	}
	s, err := store.Open(dir, opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func series(t testing.TB, s *store.Store, id uint64) *store.Series {
	t.Helper()
	r, err := s.Series(id)
	if err != nil {
		t.Fatalf("series %d: %v", id, err)
	}
	return r
}

func commit(t testing.TB, s *store.Store, fill func(*store.Batch)) *store.Batch {
	t.Helper()
	var b store.Batch
	fill(&b)
	if err := s.Commit(&b); err != nil {
		t.Fatalf("commit: %v", err)
	}
	return &b
}

// contents are the records of a series and the marks beside them.
func contents(t testing.TB, r *store.Series) (records, marks map[uint64]string) {
	t.Helper()
	records, marks = map[uint64]string{}, map[uint64]string{}
	if err := r.Records(0, 1<<62, func(n uint64, v []byte) bool { records[n] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	if err := r.Marks(func(n uint64, v []byte) bool { marks[n] = string(v); return true }); err != nil {
		t.Fatal(err)
	}
	return records, marks
}

func TestSeries(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	r := series(t, s, 7)
	b := commit(t, s, func(b *store.Batch) {
		for i := range 6 {
			var mark []byte
			if i == 1 {
				mark = []byte("delayed")
			}
			if place := b.Append(r, fmt.Appendf(nil, "record %d", i), mark); place != i {
				t.Errorf("place of append %d: got %d", i, place)
			}
		}
	})
	for i := range 6 {
		if got := b.Number(i); got != uint64(i) {
			t.Errorf("number of append %d: got %d", i, got)
		}
	}
	commit(t, s, func(b *store.Batch) {
		b.Mark(r, 2, []byte("received"))
		b.Mark(r, 3, []byte("received"))
		b.Set('q', []byte("settings"), []byte("{}"))
	})
	commit(t, s, func(b *store.Batch) {
		b.Mark(r, 2, []byte("received twice"))
		b.Remove(r, 3, true)
		b.Remove(r, 0, false)
		b.Low(r, 4)
	})
	check := func(s *store.Store) {
		t.Helper()
		records, marks := contents(t, series(t, s, 7))
		if diff := cmp.Diff(map[uint64]string{1: "record 1", 2: "record 2", 4: "record 4", 5: "record 5"}, records); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[uint64]string{1: "delayed", 2: "received twice"}, marks); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
		if v, err := s.Get('q', []byte("settings")); string(v) != "{}" || err != nil {
			t.Errorf("settings: got %q, %v", v, err)
		}
	}
	check(s)
	if _, err := r.Record(3, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("removed record: got %v, want ErrNotFound", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir, store.Options{})
	check(s)
	r = series(t, s, 7)
	if r.Next() != 6 || r.Count() != 4 || r.Low() != 4 {
		t.Errorf("after reopening: next %d, count %d, low %d; want 6, 4, 4", r.Next(), r.Count(), r.Low())
	}
}

func TestTrimAndDrop(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, store.Options{})
	r, other := series(t, s, 1), series(t, s, 2)
	for range 10 {
		commit(t, s, func(b *store.Batch) { b.Append(r, []byte("x"), []byte("m")); b.Append(other, []byte("y"), nil) })
	}
	commit(t, s, func(b *store.Batch) { b.Remove(r, 4, true) })
	b := commit(t, s, func(b *store.Batch) { b.Trim(r) })
	if got := b.Number(0); got != 10 {
		t.Errorf("first record that stays: got %d, want 10", got)
	}
	// What was decided before the trim and comes after it must not disturb.
	commit(t, s, func(b *store.Batch) { b.Remove(r, 5, true); b.Mark(r, 6, []byte("late")) })
	commit(t, s, func(b *store.Batch) { b.Append(r, []byte("after"), nil) })
	commit(t, s, func(b *store.Batch) { b.Drop(other) })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, store.Options{})
	r = series(t, s, 1)
	records, marks := contents(t, r)
	if diff := cmp.Diff(map[uint64]string{10: "after"}, records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if len(marks) != 0 || r.Count() != 1 || r.Next() != 11 {
		t.Errorf("got marks %v, count %d, next %d; want none, 1, 11", marks, r.Count(), r.Next())
	}
	if records, _ := contents(t, series(t, s, 2)); len(records) != 0 {
		t.Errorf("dropped series still holds %v", records)
	}
}

// TestOrder: numbers are dense and follow the order of commits, and callers
// are told in that order.
func TestOrder(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	r := series(t, s, 1)
	var mu sync.Mutex
	var told []uint64
	var wg, callbacks sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				b := new(store.Batch)
				b.Append(r, []byte("x"), nil)
				callbacks.Add(1)
				s.Go(b, func(err error) {
					defer callbacks.Done()
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Errorf("commit: %v", err)
					}
					told = append(told, b.Number(0))
				})
			}
		})
	}
	wg.Wait()
	callbacks.Wait()
	for i, n := range told {
		if n != uint64(i) {
			t.Fatalf("callback %d is for number %d", i, n)
		}
	}
	if len(told) != 800 {
		t.Errorf("got %d callbacks, want 800", len(told))
	}
}

// TestDeletesDoNotStarveSends: a send that comes behind a long line of deletes
// does not wait for all of them.
func TestDeletesDoNotStarveSends(t *testing.T) {
	fs := storetest.NewCrashFS()
	gate := make(chan struct{})
	var shut atomic.Bool
	fs.AtSync = func() {
		if shut.Load() {
			<-gate
		}
	}
	s := open(t, "data", store.Options{FS: fs, CommitDeletes: 10})
	r := series(t, s, 1)
	commit(t, s, func(b *store.Batch) {
		for range 1000 {
			b.Append(r, []byte("x"), nil)
		}
	})
	shut.Store(true) // nothing is confirmed until all have queued up
	var deleted, deletedAtSend atomic.Int64
	var wg sync.WaitGroup
	for n := range uint64(1000) {
		b := new(store.Batch)
		b.Remove(r, n, false)
		wg.Add(1)
		s.Go(b, func(error) { deleted.Add(1); wg.Done() })
	}
	b := new(store.Batch)
	b.Append(r, []byte("send"), nil)
	wg.Add(1)
	s.Go(b, func(error) { deletedAtSend.Store(deleted.Load()); wg.Done() })
	shut.Store(false)
	close(gate)
	wg.Wait()
	// Two groups may have been taken before the send came.
	if got := deletedAtSend.Load(); got > 100 {
		t.Errorf("%d deletes were confirmed before the send, want a few groups of 10", got)
	}
}

// TestLargeCommit: Pebble writes a batch of over half a memtable by another
// way; it is as durable.
func TestLargeCommit(t *testing.T) {
	fs := storetest.NewCrashFS()
	s := open(t, "data", store.Options{FS: fs})
	commit(t, s, func(b *store.Batch) {
		for i := range 12 {
			b.Append(series(t, s, 1), append(make([]byte, 1<<20), byte(i)), nil)
		}
	})
	crashed := fs.Crash()
	commit(t, s, func(b *store.Batch) { b.Append(series(t, s, 1), []byte("after"), nil) })
	s = open(t, "data", store.Options{FS: crashed})
	if records, _ := contents(t, series(t, s, 1)); len(records) != 12 {
		t.Errorf("%d records survived the crash, want 12", len(records))
	}
}

// TestLowKeepsItsPlace: a low-water mark is not durable before the marks that
// make it true.
func TestLowKeepsItsPlace(t *testing.T) {
	fs := storetest.NewCrashFS()
	s := open(t, "data", store.Options{FS: fs, CommitDeletes: 1})
	r := series(t, s, 1)
	commit(t, s, func(b *store.Batch) {
		for range 50 {
			b.Append(r, []byte("x"), nil)
		}
	})
	var crashed *storetest.CrashFS
	var wg sync.WaitGroup
	for n := range uint64(50) {
		b := new(store.Batch)
		b.Mark(r, n, []byte("m"))
		s.Go(b, nil)
	}
	wg.Add(1)
	b := new(store.Batch)
	b.Low(r, 50)
	s.Go(b, func(error) { crashed = fs.Crash(); wg.Done() })
	wg.Wait()
	s = open(t, "data", store.Options{FS: crashed})
	r = series(t, s, 1)
	if _, marks := contents(t, r); uint64(len(marks)) < r.Low() {
		t.Errorf("low is %d, and %d records have marks", r.Low(), len(marks))
	}
}

func TestFailedCommit(t *testing.T) {
	fs := storetest.NewCrashFS()
	var failures atomic.Int64
	s := open(t, "data", store.Options{FS: fs, Fail: func(error) { failures.Add(1) }})
	r := series(t, s, 1)
	commit(t, s, func(b *store.Batch) { b.Append(r, []byte("kept"), nil) })
	fs.FailSyncs()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var b store.Batch
			b.Append(r, []byte("lost"), nil)
			if err := s.Commit(&b); !errors.Is(err, store.ErrFailed) {
				t.Errorf("commit on a dead disk: got %v, want ErrFailed", err)
			}
		})
	}
	wg.Wait()
	if got := failures.Load(); got != 1 {
		t.Errorf("Fail was called %d times, want once", got)
	}
	if err := s.Close(); !errors.Is(err, store.ErrFailed) {
		t.Errorf("close: got %v, want ErrFailed", err)
	}
	s = open(t, "data", store.Options{FS: fs.Crash()})
	if records, _ := contents(t, series(t, s, 1)); records[0] != "kept" {
		t.Errorf("after the crash: got %v, want the record that was confirmed", records)
	}
}

func TestRoom(t *testing.T) {
	fs := storetest.NewCrashFS()
	now := time.Unix(1e9, 0)
	s := open(t, "data", store.Options{FS: fs, FreeReserve: 100, Now: func() time.Time { return now }})
	r := series(t, s, 1)
	write := func() { // the writer looks after a commit: the second one has seen the first's
		t.Helper()
		now = now.Add(time.Second)
		commit(t, s, func(b *store.Batch) { b.Append(r, []byte("x"), nil) })
		commit(t, s, func(b *store.Batch) { b.Append(r, []byte("x"), nil) })
	}
	write()
	if err := s.Room(); err != nil {
		t.Errorf("with a gigabyte free: %v", err)
	}
	fs.SetFree(99)
	write()
	if err := s.Room(); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("below the reserve: got %v, want ErrNoSpace", err)
	}
	commit(t, s, func(b *store.Batch) { b.Remove(r, 0, false) })
	fs.SetFree(101)
	now = now.Add(time.Second)
	if err := s.Room(); err != nil {
		t.Errorf("above it again: %v", err)
	}
}

func TestOpenRefusals(t *testing.T) {
	newer := t.TempDir()
	write(t, filepath.Join(newer, "FORMAT"), "runnel data directory, format 99\n")
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "thesis.doc"), "x")
	garbled := t.TempDir()
	write(t, filepath.Join(garbled, "FORMAT"), "")
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for _, test := range []struct {
		name, dir string
		want      error
		says      string
	}{
		{"newer format", newer, store.ErrNewerFormat, "format 99"},
		{"foreign directory", foreign, store.ErrNotStore, "thesis.doc"},
		{"garbled format file", garbled, store.ErrNotStore, "FORMAT"},
		{"a file", file, nil, "not a directory"},
	} {
		s, err := store.Open(test.dir, store.Options{Log: quiet})
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: opened", test.name)
			continue
		}
		if test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
		if !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want one line with %q", test.name, err, test.says)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLocked opens a directory twice, from this process and from another.
func TestLocked(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_OPEN"); dir != "" {
		_, err := store.Open(dir, store.Options{Log: quiet})
		fmt.Printf("child: locked %v\n", errors.Is(err, store.ErrLocked))
		return
	}
	dir := t.TempDir()
	open(t, dir, store.Options{})
	if _, err := store.Open(dir, store.Options{Log: quiet}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("same process: got %v, want ErrLocked", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLocked$")
	cmd.Env = append(os.Environ(), "STORE_TEST_OPEN="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "child: locked true") {
		t.Errorf("other process: %v, %s", err, out)
	}
}

func TestBackup(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{})
	r := series(t, s, 1)
	commit(t, s, func(b *store.Batch) { b.Append(r, []byte("before"), nil) })
	dest := filepath.Join(t.TempDir(), "copy")
	if err := s.Backup(dest); err != nil {
		t.Fatal(err)
	}
	commit(t, s, func(b *store.Batch) { b.Append(r, []byte("after"), nil) })
	if err := s.Backup(dest); err == nil {
		t.Error("a second backup to the same place was made")
	}
	c := open(t, dest, store.Options{})
	records, _ := contents(t, series(t, c, 1))
	if diff := cmp.Diff(map[uint64]string{0: "before"}, records); diff != "" {
		t.Errorf("copy (-want +got):\n%s", diff)
	}
}

// TestCrash runs a random workload on a filesystem that forgets what was not
// synced, and looks at what a crash would leave at every sync point.
func TestCrash(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { testCrash(t, seed) })
	}
}

func testCrash(t *testing.T, seed uint64) {
	type state struct { // what was acknowledged
		appended map[string]bool
		removed  map[string]bool
	}
	var mu sync.Mutex
	acked := state{map[string]bool{}, map[string]bool{}}
	asked := map[string]bool{} // removals under way: they may have happened

	fs := storetest.NewCrashFS()
	crashes := 0
	fs.AtSync = func() {
		// Copy what was promised before taking the crash: promises made
		// meanwhile are of later syncs.
		mu.Lock()
		promised := state{map[string]bool{}, map[string]bool{}}
		for k := range acked.appended {
			promised.appended[k] = true
		}
		for k := range acked.removed {
			promised.removed[k] = true
		}
		mu.Unlock()
		crashed := fs.Crash()
		crashes++
		s, err := store.Open("data", store.Options{FS: crashed, Log: quiet})
		if err != nil {
			t.Errorf("crash %d: open: %v", crashes, err)
			return
		}
		defer func() { _ = s.Close() }()
		r, err := s.Series(1)
		if err != nil {
			t.Errorf("crash %d: %v", crashes, err)
			return
		}
		found := map[string]bool{}
		records, marks := contents(t, r)
		for _, v := range records {
			found[v] = true
		}
		mu.Lock()
		for k := range promised.appended {
			if !found[k] && !asked[k] {
				t.Errorf("crash %d: %s was acknowledged and is lost", crashes, k)
			}
		}
		mu.Unlock()
		for k := range promised.removed {
			if found[k] {
				t.Errorf("crash %d: %s was removed and is back", crashes, k)
			}
		}
		if int(r.Count()) != len(records) {
			t.Errorf("crash %d: header counts %d records, there are %d", crashes, r.Count(), len(records))
		}
		for n := range marks {
			if _, ok := records[n]; !ok {
				t.Errorf("crash %d: mark of %d is left over", crashes, n)
			}
		}
	}

	s := open(t, "data", store.Options{FS: fs})
	r := series(t, s, 1)
	var wg sync.WaitGroup
	for p := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, p))
			type mine struct {
				n      uint64
				name   string
				marked bool
			}
			var live []mine
			for i := range 60 {
				b := new(store.Batch)
				switch {
				case len(live) == 0 || rng.IntN(2) == 0:
					name := fmt.Sprintf("p%d-%d-%x", p, i, rng.Uint64())
					var mark []byte
					if rng.IntN(3) == 0 {
						mark = binary.BigEndian.AppendUint64(nil, 1)
					}
					b.Append(r, []byte(name), mark)
					if err := s.Commit(b); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					acked.appended[name] = true
					mu.Unlock()
					live = append(live, mine{b.Number(0), name, mark != nil})
				case rng.IntN(3) == 0:
					m := &live[rng.IntN(len(live))]
					m.marked = true
					b.Mark(r, m.n, []byte("again"))
					if err := s.Commit(b); err != nil {
						t.Error(err)
						return
					}
				default:
					at := rng.IntN(len(live))
					m := live[at]
					live = append(live[:at], live[at+1:]...)
					mu.Lock()
					asked[m.name] = true
					mu.Unlock()
					b.Remove(r, m.n, m.marked)
					if err := s.Commit(b); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					acked.removed[m.name] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	fs.AtSync = func() {}
	if crashes < 50 {
		t.Errorf("only %d crashes were looked at", crashes)
	}
	t.Logf("%d crashes", crashes)
}
