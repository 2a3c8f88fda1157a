package journal_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/journal"
)

// segments are the files of a directory, by name.
func segments(t *testing.T, dir string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// one makes a directory with one segment of n lines of the function f and
// returns its path and where each record begins.
func one(t *testing.T, n int) (dir, path string, data []byte, starts []int) {
	t.Helper()
	dir = t.TempDir()
	j := journal.Open(dir, quiet(new(buffer)))
	for i := range n {
		j.Add(line("f", fmt.Sprint(i)))
	}
	j.Close()
	files := segments(t, dir)
	if len(files) != 1 {
		t.Fatalf("got %d files", len(files))
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		if data[i] == 0xf7 && data[i+1] == 0xfe {
			starts = append(starts, i)
		}
	}
	if len(starts) != n {
		t.Fatalf("got %d records, want %d", len(starts), n)
	}
	return dir, files[0], data, starts
}

// TestTorn cuts the last record at each of its bytes, as a crash may.
func TestTorn(t *testing.T) {
	dir, path, data, starts := one(t, 3)
	for cut := starts[2]; cut <= len(data); cut++ {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		log := new(buffer)
		j := journal.Open(dir, quiet(log))
		j.Add(line("f", "more"))
		j.Close()
		j = journal.Open(dir, quiet(log))
		want := []string{"0", "1", "more"}
		if cut == len(data) {
			want = []string{"0", "1", "2", "more"}
		}
		if diff := cmp.Diff(want, all(t, j, journal.Query{})); diff != "" || log.String() != "" {
			t.Errorf("cut at %d of %d (-want +got), it was logged %q:\n%s", cut, len(data), log, diff)
		}
		j.Close()
	}
}

// TestDamage changes each byte of a record in the middle: it is lost and the
// others are not, which is said once.
func TestDamage(t *testing.T) {
	dir, path, data, starts := one(t, 5)
	for at := starts[2]; at < starts[3]; at++ {
		broken := slices.Clone(data)
		broken[at] ^= 0x5a
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		log := new(buffer)
		j := journal.Open(dir, quiet(log))
		for range 2 {
			if diff := cmp.Diff([]string{"0", "1", "3", "4"}, all(t, j, journal.Query{})); diff != "" {
				t.Errorf("byte %d (-want +got):\n%s", at, diff)
			}
		}
		j.Close()
		if n := strings.Count(log.String(), "is damaged"); n != 1 {
			t.Errorf("byte %d: it was said %d times:\n%s", at, n, log)
		}
	}
}

// filled makes a directory of sealed segments and returns their texts.
func filled(t *testing.T, opt journal.Options) (dir string, want []string) {
	t.Helper()
	dir = t.TempDir()
	for part := range 4 {
		j := journal.Open(dir, opt)
		for i := range 1000 {
			l := line("f", fmt.Sprint(part, "/", i, strings.Repeat(".", 100)))
			l.Invocation = fmt.Sprint(part, "/", i)
			j.Add(l)
			want = append(want, l.Text)
		}
		j.Close()
	}
	if n := len(segments(t, dir)); n < 4 {
		t.Fatalf("got %d segments", n)
	}
	return dir, want
}

// TestDamageOfSealed hits sealed segments: their footer, and records while the
// journal is open.
func TestDamageOfSealed(t *testing.T) {
	dir, want := filled(t, quiet(new(buffer)))
	path := segments(t, dir)[1]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The footer: nothing is lost, and what is searched by it is found.
	for _, at := range []int{len(data) - 1, len(data) - 5, len(data) - 14, len(data) - 100} {
		broken := slices.Clone(data)
		broken[at] ^= 0x5a
		write(broken)
		log := new(buffer)
		j := journal.Open(dir, quiet(log))
		if got := paged(t, j, journal.Query{Limit: 1000}); !cmp.Equal(want, got) || log.String() != "" {
			t.Errorf("byte %d from the end: got %d lines, want %d; it was logged:\n%s", len(data)-at, len(got), len(want), log)
		}
		j.Close()
	}
	write(data)
	log := new(buffer)
	j := journal.Open(dir, quiet(log))
	defer j.Close()
	broken := slices.Clone(data)
	broken[len(data)/2] ^= 0x5a
	write(broken)
	for range 2 {
		if got := paged(t, j, journal.Query{Limit: 1000}); len(got) != len(want)-1 {
			t.Errorf("got %d lines, want %d", len(got), len(want)-1)
		}
	}
	if n := strings.Count(log.String(), "is damaged"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, log)
	}
	// A file that goes under a search is empty.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := paged(t, j, journal.Query{Limit: 1000}); len(got) == 0 || len(got) >= len(want) {
		t.Errorf("got %d lines", len(got))
	}
}

// TestFilterFinds: no invocation is missed for the filters of sealed segments.
func TestFilterFinds(t *testing.T) {
	dir, want := filled(t, quiet(new(buffer)))
	j := journal.Open(dir, quiet(new(buffer)))
	defer j.Close()
	for _, text := range want {
		id := strings.TrimRight(text, ".")
		if diff := cmp.Diff([]string{text}, all(t, j, journal.Query{Invocation: id})); diff != "" {
			t.Fatalf("invocation %s (-want +got):\n%s", id, diff)
		}
	}
	if got := all(t, j, journal.Query{Invocation: "0/1000"}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

// TestNoisyNeighbour: lines of one function do not push out those of others.
func TestNoisyNeighbour(t *testing.T) {
	opt := quiet(new(buffer))
	opt.Bytes = 2 << 20
	dir := t.TempDir()
	j := journal.Open(dir, opt)
	for i := range 500 {
		j.Add(line("quiet", fmt.Sprint(i)))
	}
	var noise []string
	for part := range 12 {
		for i := range 5000 {
			l := line("noisy", fmt.Sprint(part, "/", i, strings.Repeat("!", 100)))
			j.Add(l)
			noise = append(noise, l.Text)
		}
		untilWritten(t, j)
	}
	j.Close()
	j = journal.Open(dir, opt)
	defer j.Close()
	if stats := j.Stats(); stats.DiskBytes > opt.Bytes || stats.DiskBytes < opt.Bytes*3/4 || stats.Unwritten != 0 {
		t.Errorf("got %+v, want at most %d bytes", stats, opt.Bytes)
	}
	var disk int64
	for _, path := range segments(t, dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		disk += info.Size()
	}
	if got := j.Stats().DiskBytes; got != disk {
		t.Errorf("it says %d bytes, and takes %d", got, disk)
	}
	if diff := cmp.Diff(numbered(0, 500), all(t, j, journal.Query{Function: "a/quiet"})); diff != "" {
		t.Errorf("the quiet one's (-want +got):\n%s", diff)
	}
	got := paged(t, j, journal.Query{Function: "a/noisy", Limit: 1000})
	if len(got) < 5000 || !cmp.Equal(noise[len(noise)-len(got):], got) {
		t.Errorf("of the noisy one's %d lines the last %d are not those that are kept", len(noise), len(got))
	}
}

// TestAge: lines go when they are too old, also of who adds no more.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opt := quiet(new(buffer))
		opt.Age = 8 * time.Hour
		dir := t.TempDir()
		j := journal.Open(dir, opt)
		j.Add(line("silent", "0"))
		for i := range 12 {
			j.Add(line("f", fmt.Sprint(i)))
			time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
		}
		// The first of the last 8 h was added at 4 h; the time of a line that is
		// exactly so old is the last that is kept.
		if diff := cmp.Diff(numbered(4, 12), all(t, j, journal.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := len(segments(t, dir)); n < 8 || n > 9 {
			t.Errorf("got %d segments, want one for each hour: %v", n, segments(t, dir))
		}
		j.Close()
		time.Sleep(4 * time.Hour) //nolint:forbidigo // the bubble's clock
		j = journal.Open(dir, opt)
		if diff := cmp.Diff(numbered(8, 12), all(t, j, journal.Query{})); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		time.Sleep(9 * time.Hour) //nolint:forbidigo // the bubble's clock
		if files := segments(t, dir); len(files) != 0 || j.Stats().DiskBytes != 0 {
			t.Errorf("left are %v, %+v", files, j.Stats())
		}
		j.Close()
	})
}

// TestManyFunctions has more series than files may be open.
func TestManyFunctions(t *testing.T) {
	dir := t.TempDir()
	j := journal.Open(dir, quiet(new(buffer)))
	var want []string
	for round := range 3 {
		for i := range 100 {
			text := fmt.Sprint(round, "/", i)
			j.Add(line(fmt.Sprint("f", i), text))
			want = append(want, text)
		}
		untilWritten(t, j)
	}
	// A name that no file can have is in memory only.
	j.Add(line(strings.Repeat("n", 300), "long"))
	j.Close()
	j = journal.Open(dir, quiet(new(buffer)))
	defer j.Close()
	if diff := cmp.Diff(want, all(t, j, journal.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(segments(t, dir)); got != 100 {
		t.Errorf("got %d segments, want 100", got)
	}
}

// TestForeignFiles are left alone.
func TestForeignFiles(t *testing.T) {
	dir, log := t.TempDir(), new(buffer)
	for _, name := range []string{"README", "x.log", "0000000000000001.a.log", "000000000000000g.a.b.log", "0000000000000001.%zz.b.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := journal.Open(dir, quiet(log))
	defer j.Close()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 || len(all(t, j, journal.Query{})) != 0 || log.String() != "" {
		t.Errorf("got %v, %v; it was logged:\n%s", files, err, log)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "a", "a/b", "A-b_9", "a.b", "a+b", "%", "ü", "a/b/c", "..", "\x00"} {
		text := journal.Escape(name)
		if strings.ContainsAny(text, "./\x00") {
			t.Errorf("%q is %q", name, text)
		}
		if got, ok := journal.Unescape(text); got != name || !ok {
			t.Errorf("%q comes back as %q, %v", name, got, ok)
		}
	}
}

// inChild is set in the process of TestKill that is killed.
const inChild = "RUNNEL_TEST_JOURNAL_DIR"

// TestKill kills a process that adds lines, three times in one directory: what it
// saw on disk is there, in order.
func TestKill(t *testing.T) {
	if dir := os.Getenv(inChild); dir != "" {
		j := journal.Open(dir, quiet(new(buffer)))
		for i := 0; ; i++ {
			j.Add(line(fmt.Sprint("f", i%3), fmt.Sprint(i, strings.Repeat(".", i%300))))
			if i%500 == 499 {
				untilWritten(t, j)
				fmt.Println(i) // for the parent
			}
		}
	}
	dir := t.TempDir()
	var before []string
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), inChild+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		written := 0
		for scanner := bufio.NewScanner(out); written < 1500 && scanner.Scan(); {
			if _, err := fmt.Sscan(scanner.Text(), &written); err != nil {
				t.Fatalf("the process says %q", scanner.Text())
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		log := new(buffer)
		j := journal.Open(dir, quiet(log))
		got := paged(t, j, journal.Query{Limit: 1000})
		j.Close()
		if len(got) < len(before)+written+1 || !slices.Equal(before, got[:len(before)]) {
			t.Fatalf("round %d: got %d lines, want %d and %d more", round, len(got), len(before), written)
		}
		// Of what it did not wait for the end may be missing: of each function
		// alone, as they are written one after the other.
		for i, text := range got[len(before) : len(before)+written+1] {
			if want := fmt.Sprint(i, strings.Repeat(".", i%300)); text != want {
				t.Fatalf("round %d, line %d: got %.20q", round, i, text)
			}
		}
		if log.String() != "" {
			t.Errorf("round %d: it was logged:\n%s", round, log)
		}
		before = got
	}
}

// FuzzRead reads anything: what it takes for records is not longer than the
// data, and ends where it says.
func FuzzRead(f *testing.F) {
	l := line("f", "text")
	l.Time = time.Unix(1, 2)
	whole := journal.AppendRecord(nil, &l)
	f.Add(whole)
	f.Add(append(slices.Clone(whole), whole...))
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, end, _ := journal.Texts(data)
		if end > len(data) || len(texts) > 0 && end == 0 {
			t.Fatalf("%d records end at %d of %d", len(texts), end, len(data))
		}
		again, _, damaged := journal.Texts(append(slices.Clone(data[:end]), whole...))
		if len(again) != len(texts)+1 {
			t.Errorf("one more record makes %d of %d, damaged %v", len(again), len(texts), damaged)
		}
	})
}

// BenchmarkAdd is what a line costs whoever adds it, and CPU ns/line what it
// costs together with the writer.
func BenchmarkAdd(b *testing.B) {
	opt := journal.Options{LinesPerSecond: 1 << 30, BytesPerSecond: 1 << 40, Log: slog.New(slog.DiscardHandler)}
	for _, workers := range []string{"memory", "disk"} {
		b.Run(workers, func(b *testing.B) {
			dir := b.TempDir()
			if workers == "memory" {
				dir = filepath.Join(dir, "file")
				if err := os.WriteFile(dir, nil, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			j := journal.Open(dir, opt)
			l := bench(0)
			b.ReportAllocs()
			began := cpu()
			for b.Loop() {
				j.Add(l)
				if workers == "disk" && j.Pending() > 8000 { // beyond, lines are lost
					for j.Pending() > 1000 {
						time.Sleep(time.Millisecond) //nolint:forbidigo // for the writer
					}
				}
			}
			j.Close()
			b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/line")
			b.ReportMetric(float64(j.Stats().Unwritten)/float64(b.N), "lost/line")
		})
	}
}

// bench is a line as functions print them, of about 150 bytes.
func bench(i int) journal.Line {
	return journal.Line{
		Time: time.Now(), Account: "default", Function: fmt.Sprint("default/f", i%10), Version: "0123456789abcdef", Worker: "w1",
		Invocation: fmt.Sprintf("0b9a0e0e-7e6e-4b0a-9c56-%012x", i/4), Flow: "resize", Text: "thumbnail of cat.png is 1600 by 900 pixels large",
	}
}

// BenchmarkSearch searches a million lines.
func BenchmarkSearch(b *testing.B) {
	const n = 1_000_000
	opt := journal.Options{LinesPerSecond: 1 << 30, BytesPerSecond: 1 << 40, Log: slog.New(slog.DiscardHandler)}
	dir := b.TempDir()
	j := journal.Open(dir, opt)
	var half time.Time
	for i := range n {
		j.Add(bench(i))
		if i == n/2 {
			half = time.Now()
		}
		for i%5000 == 0 && j.Pending() > 1000 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // for the writer
		}
	}
	j.Close()
	began := time.Now()
	j = journal.Open(dir, opt)
	defer j.Close()
	b.Logf("%+v, opened in %v", j.Stats(), time.Since(began))
	for _, test := range []struct {
		name  string
		query journal.Query
		want  int
	}{
		{"invocation", journal.Query{Invocation: bench(n / 2).Invocation}, 4},
		{"no invocation", journal.Query{Invocation: bench(4 * n).Invocation}, 0},
		{"function and time", journal.Query{Function: "default/f3", Since: half.Add(-10 * time.Millisecond), Until: half.Add(10 * time.Millisecond)}, 100},
		{"newest", journal.Query{}, 100},
		{"text", journal.Query{Text: "dog.png"}, 0},
		{"one function, text", journal.Query{Function: "default/f3", Text: "dog.png"}, 0},
	} {
		b.Run(test.name, func(b *testing.B) {
			test.query.Limit = 100
			for b.Loop() {
				page, err := j.Search(b.Context(), test.query)
				if err != nil || len(page.Lines) != test.want {
					b.Fatalf("got %d lines, %v", len(page.Lines), err)
				}
			}
		})
	}
}
