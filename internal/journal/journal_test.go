package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/journal"
)

// quiet are options of a journal that limits nobody's rate and logs to log.
func quiet(log *buffer) journal.Options {
	return journal.Options{
		LinesPerSecond: 1 << 30, BytesPerSecond: 1 << 40,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func texts(lines []journal.Line) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l.Text
	}
	return out
}

// all are the texts of the newest lines of a query, at most 1000.
func all(t *testing.T, j *journal.Journal, q journal.Query) []string {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	page, err := j.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return texts(page.Lines)
}

// paged are the texts of all lines of a query, page by page.
func paged(t *testing.T, j *journal.Journal, q journal.Query) (out []string) {
	t.Helper()
	for pages := 0; ; pages++ {
		page, err := j.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(texts(page.Lines), out...)
		if page.Next == 0 {
			return out
		}
		if q.Before != 0 && page.Next >= q.Before {
			t.Fatalf("page %d: next is %d after %d", pages, page.Next, q.Before)
		}
		q.Before = page.Next
	}
}

// line is one of a function of the account a.
func line(function, text string) journal.Line {
	return journal.Line{Account: "a", Function: "a/" + function, Worker: "w1", Text: text}
}

// untilWritten waits until all lines are on disk.
func untilWritten(t *testing.T, j *journal.Journal) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for j.Pending() > 0 {
		select {
		case <-deadline:
			t.Fatal("lines are not written within 10 s")
		case <-time.After(journal.Gather / 10):
		}
	}
}

func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestRestart(t *testing.T) {
	dir, log := filepath.Join(t.TempDir(), "logs"), new(buffer)
	want := []journal.Line{
		{
			Account: "a", Function: "a/f", Version: "v", Worker: "w1", Invocation: "i", Flow: "x", Message: "m",
			Time: time.Now().Add(-time.Second), Level: slog.LevelError, Text: "one\ntwo",
		},
		{Account: "b", Level: slog.LevelDebug, Time: time.Now(), Text: "\xff\x00"},
	}
	j := journal.Open(dir, quiet(log))
	for _, l := range want {
		j.Add(l)
	}
	search := func() []journal.Line {
		page, err := j.Search(t.Context(), journal.Query{Level: slog.LevelDebug, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return page.Lines
	}
	before := search()
	j.Close()
	for range 2 { // the second does not write
		j = journal.Open(dir, quiet(log))
		if diff := cmp.Diff(before, search()); diff != "" {
			t.Errorf("a restart changes lines (-before +after):\n%s", diff)
		}
		j.Close()
	}
	want[0].ID, want[1].ID = before[0].ID, before[1].ID
	want[1].Text = "\uFFFD\x00"
	for i := range want {
		want[i].Time = want[i].Time.UTC().Round(0)
	}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	j = journal.Open(dir, quiet(log))
	defer j.Close()
	j.Add(line("f", "three"))
	if got := search(); len(got) != 3 || got[2].ID <= got[1].ID {
		t.Errorf("after a restart got %+v", got)
	}
	if log.String() != "" {
		t.Errorf("it was logged:\n%s", log)
	}
}

// TestMemory fills the memory by lines, and by bytes: what is beyond is on
// disk.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := quiet(new(buffer))
		opt.MemoryLines, opt.MemoryBytes = 100, 1<<20
		j := journal.Open(t.TempDir(), opt)
		defer j.Close()
		for i := range 250 {
			j.Add(line("f", fmt.Sprint(i)))
			if i%50 == 0 {
				time.Sleep(2 * journal.Gather) //nolint:forbidigo // the bubble's clock
			}
		}
		if lines, _ := j.Held(); lines != 100 {
			t.Errorf("got %d lines, want 100", lines)
		}
		if diff := cmp.Diff(numbered(0, 250), all(t, j, journal.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for range 40 {
			j.Add(line("f", strings.Repeat("é", journal.MaxText)))
		}
		if lines, held := j.Held(); held > 1<<20 || lines < 10 {
			t.Errorf("got %d lines of %d bytes, want at most 1 MiB", lines, held)
		}
		got := all(t, j, journal.Query{Limit: 1})[0]
		if len(got) > journal.MaxText+10 || !strings.HasSuffix(got, "é [cut]") {
			t.Errorf("got a line of %d bytes, want it cut", len(got))
		}
	})
}

// TestLost adds more lines at once than fit into memory: what the writer did not
// come to is told of.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := quiet(new(buffer))
		opt.MemoryLines = 100
		dir := t.TempDir()
		j := journal.Open(dir, opt)
		for i := range 250 {
			j.Add(line("f", fmt.Sprint(i)))
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		got := all(t, j, journal.Query{})
		if len(got) != 101 || got[0] != "150" || !strings.HasPrefix(got[100], "150 lines are not on disk") {
			t.Errorf("got %d lines, the last %q", len(got), got[len(got)-1])
		}
		if stats := j.Stats(); stats.Unwritten != 150 {
			t.Errorf("got %+v", stats)
		}
		j.Close()
	})
}

// TestFields searches for each field, in memory and on disk.
func TestFields(t *testing.T) {
	opt := quiet(new(buffer))
	noon := time.Now().Add(-time.Hour).UTC()
	opt.Age = 90 * time.Minute
	dir := t.TempDir()
	j := journal.Open(dir, opt)
	for i, l := range []journal.Line{
		{Account: "a", Function: "a/f", Version: "abc", Worker: "w1", Invocation: "i1", Text: "Zero"},
		{Account: "a", Function: "a/f", Version: "abd", Worker: "w2", Invocation: "i1", Flow: "x", Level: slog.LevelWarn, Text: "one"},
		{Account: "a", Function: "b/f", Version: "abc", Flow: "x", Message: "m1", Level: slog.LevelError, Text: "two"},
		{Account: "b", Function: "b/f", Version: "abc", Worker: "w1", Invocation: "i2", Flow: "xx", Text: "three"},
		{Account: "b", Level: slog.LevelDebug, Text: "four"},
		{Account: "b", Function: "b/f", Text: "old", Time: noon.Add(-31 * time.Minute)},
	} {
		if l.Time.IsZero() {
			l.Time = noon.Add(time.Duration(i) * time.Minute)
		}
		j.Add(l)
	}
	at := func(minute int) time.Time { return noon.Add(time.Duration(minute) * time.Minute) }
	tests := []struct {
		query journal.Query
		want  []string
	}{
		{journal.Query{}, []string{"Zero", "one", "two", "three"}},
		{journal.Query{Level: slog.LevelDebug}, []string{"Zero", "one", "two", "three", "four"}},
		{journal.Query{Level: slog.LevelWarn}, []string{"one", "two"}},
		{journal.Query{Level: slog.LevelError}, []string{"two"}},
		{journal.Query{Account: "a"}, []string{"Zero", "one", "two"}},
		{journal.Query{Account: "a", Function: "b/f"}, []string{"two"}},
		{journal.Query{Function: "b/f"}, []string{"two", "three"}},
		{journal.Query{Account: "c"}, nil},
		{journal.Query{Version: "abc"}, []string{"Zero", "two", "three"}},
		{journal.Query{Version: "ab"}, []string{"Zero", "one", "two", "three"}},
		{journal.Query{Version: "abcd"}, nil},
		{journal.Query{Worker: "w1"}, []string{"Zero", "three"}},
		{journal.Query{Invocation: "i1"}, []string{"Zero", "one"}},
		{journal.Query{Invocation: "i"}, nil},
		{journal.Query{Flow: "x"}, []string{"one", "two"}},
		{journal.Query{Message: "m1"}, []string{"two"}},
		{journal.Query{Text: "o"}, []string{"Zero", "one", "two"}},
		{journal.Query{Text: "zero"}, nil},
		{journal.Query{Since: at(1)}, []string{"one", "two", "three"}},
		{journal.Query{Since: at(1).Add(1)}, []string{"two", "three"}},
		{journal.Query{Until: at(1)}, []string{"Zero"}},
		{journal.Query{Until: at(1).Add(1)}, []string{"Zero", "one"}},
		{journal.Query{Since: at(1), Until: at(3)}, []string{"one", "two"}},
		{journal.Query{Since: at(-60)}, []string{"Zero", "one", "two", "three"}}, // no older than the age
		{journal.Query{Limit: 1}, []string{"three"}},
		{journal.Query{Function: "a/f", Invocation: "i1", Text: "ero", Level: slog.LevelInfo, Limit: 1}, []string{"Zero"}},
	}
	for _, where := range []string{"memory", "disk"} {
		for _, test := range tests {
			if diff := cmp.Diff(test.want, append([]string(nil), all(t, j, test.query)...)); diff != "" {
				t.Errorf("in %s, %+v (-want +got):\n%s", where, test.query, diff)
			}
		}
		j.Close()
		j = journal.Open(dir, opt)
	}
	j.Close()
}

// TestPages goes through lines of several functions, over memory and disk and
// segments of all sizes, page by page.
func TestPages(t *testing.T) {
	opt := quiet(new(buffer))
	opt.MemoryLines = 5000
	dir := t.TempDir()
	var want, ofF2 []string
	j := journal.Open(dir, opt)
	for part := range 6 {
		for i := range 4000 {
			l := line(fmt.Sprint("f", i%3), fmt.Sprint(part, "/", i, strings.Repeat(".", 100)))
			l.Invocation = fmt.Sprint(part, "/", i/2)
			j.Add(l)
			want = append(want, l.Text)
			if i%3 == 2 {
				ofF2 = append(ofF2, l.Text)
			}
		}
		if part < 5 { // the last is in memory too
			j.Close()
			j = journal.Open(dir, opt)
		}
	}
	defer j.Close()
	if stats := j.Stats(); stats.Segments < 9 {
		t.Fatalf("all is in %d segments, which shows nothing", stats.Segments)
	}
	for _, limit := range []int{1000, 777} {
		if diff := cmp.Diff(want, paged(t, j, journal.Query{Limit: limit})); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff(ofF2, paged(t, j, journal.Query{Function: "a/f2", Limit: 1000})); diff != "" {
		t.Errorf("one function (-want +got):\n%s", diff)
	}
	for _, id := range []string{"0/0", "2/1999", "5/7"} {
		if got := all(t, j, journal.Query{Invocation: id}); len(got) != 2 {
			t.Errorf("invocation %s has %d lines, want 2", id, len(got))
		}
	}
}

// TestPageBytes: a page ends early where its lines are long, and goes on.
func TestPageBytes(t *testing.T) {
	opt := quiet(new(buffer))
	dir := t.TempDir()
	j := journal.Open(dir, opt)
	var want []string
	for i := range 150 {
		l := line("f", fmt.Sprint(i, strings.Repeat("x", 60<<10)))
		j.Add(l)
		want = append(want, l.Text)
	}
	for range 2 {
		page, err := j.Search(t.Context(), journal.Query{Limit: 1000})
		if err != nil || len(page.Lines) > journal.MaxPageBytes/(60<<10) || page.Next == 0 {
			t.Fatalf("a page has %d lines, next %d, %v", len(page.Lines), page.Next, err)
		}
		if got := paged(t, j, journal.Query{Limit: 1000}); !cmp.Equal(want, got) {
			t.Errorf("got %d lines, want %d", len(got), len(want))
		}
		j.Close()
		j = journal.Open(dir, opt)
	}
	j.Close()
}

// TestSearchEnds with its context.
func TestSearchEnds(t *testing.T) {
	dir := t.TempDir()
	j := journal.Open(dir, quiet(new(buffer)))
	j.Add(line("f", "one"))
	j.Close()
	j = journal.Open(dir, quiet(new(buffer)))
	defer j.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Search(ctx, journal.Query{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestSearchPauses: with a clock on which every look takes a second, pages have
// few lines and a next, and all of them have all.
func TestSearchPauses(t *testing.T) {
	opt := quiet(new(buffer))
	dir := t.TempDir()
	var want []string
	for i := range 8 {
		j := journal.Open(dir, opt)
		l := line(fmt.Sprint("f", i), fmt.Sprint(i))
		j.Add(l)
		want = append(want, l.Text)
		j.Close()
	}
	now := time.Now()
	opt.Now = func() time.Time { now = now.Add(time.Second); return now }
	j := journal.Open(dir, opt)
	defer j.Close()
	page, err := j.Search(t.Context(), journal.Query{Limit: 1000})
	if err != nil || len(page.Lines) == len(want) || page.Next == 0 {
		t.Fatalf("got %v, %d, %v", texts(page.Lines), page.Next, err)
	}
	if diff := cmp.Diff(want, paged(t, j, journal.Query{Limit: 1000})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUnwritable: what is in the way is told of once, lines are in memory, and
// on disk when it is away.
func TestUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := filepath.Join(t.TempDir(), "logs"), new(buffer)
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		j := journal.Open(dir, quiet(log))
		for i := range 5 {
			j.Add(line("f", fmt.Sprint(i)))
			time.Sleep(2 * journal.RetryEvery) //nolint:forbidigo // the bubble's clock
		}
		if diff := cmp.Diff(numbered(0, 5), all(t, j, journal.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !j.Stats().Failing || strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("it was logged:\n%s", log)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * journal.RetryEvery) //nolint:forbidigo // the bubble's clock
		if j.Stats().Failing || j.Stats().DiskBytes == 0 || strings.Count(log.String(), "again") != 1 {
			t.Errorf("got %+v, and it was logged:\n%s", j.Stats(), log)
		}
		j.Close()
		j = journal.Open(dir, quiet(log))
		defer j.Close()
		if diff := cmp.Diff(numbered(0, 5), all(t, j, journal.Query{})); diff != "" {
			t.Errorf("on disk (-want +got):\n%s", diff)
		}
	})
}

// TestNoRoom: while the disk is for others lines are in memory only.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		log := new(buffer)
		opt := quiet(log)
		opt.Room = func() error {
			if full.Load() {
				return errors.New("no room")
			}
			return nil
		}
		j := journal.Open(t.TempDir(), opt)
		defer j.Close()
		j.Add(line("f", "0"))
		time.Sleep(2 * journal.RetryEvery) //nolint:forbidigo // the bubble's clock
		if st := j.Stats(); st.DiskBytes != 0 || !st.Failing || strings.Count(log.String(), "no room") != 1 {
			t.Errorf("got %+v, and it was logged:\n%s", st, log)
		}
		full.Store(false)
		time.Sleep(2 * journal.RetryEvery) //nolint:forbidigo // the bubble's clock
		if st := j.Stats(); st.DiskBytes == 0 || st.Failing {
			t.Errorf("with room: %+v", st)
		}
	})
}

// TestRate has one function add too much: it alone is held back, and told.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := journal.Options{LinesPerSecond: 10, BytesPerSecond: 1000, Log: slog.New(slog.DiscardHandler)}
		j := journal.Open(t.TempDir(), opt)
		defer j.Close()
		add := func(n int, l journal.Line) {
			for range n {
				j.Add(l)
			}
		}
		add(25, line("f", "x")) // 20 at once
		add(20, line("g", "y"))
		said := line("f", "said")
		said.Worker = ""
		add(20, said)
		time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		got := all(t, j, journal.Query{Function: "a/f", Level: slog.LevelWarn})
		if diff := cmp.Diff([]string{"5 lines were dropped: all workers of a function together may log 10 lines and 1000 bytes per second"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		add(15, line("f", "z"))                        // 11 are allowed again
		add(3, line("g", strings.Repeat("long", 200))) // 2 fit into its bytes
		time.Sleep(1100 * time.Millisecond)            //nolint:forbidigo // the bubble's clock
		want := []journal.FunctionStats{{Function: "a/f", Lines: 51, Dropped: 9}, {Function: "a/g", Lines: 22, Dropped: 1}}
		if diff := cmp.Diff(want, j.Stats().Functions); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := all(t, j, journal.Query{Level: slog.LevelWarn}); len(got) != 3 {
			t.Errorf("notices: %q", got)
		}
	})
}
