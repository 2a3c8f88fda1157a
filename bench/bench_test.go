package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain is also the program that the scenarios start as a child.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if is, err := child(ctx, os.Args[1:]); is {
		exit(err)
	}
	os.Exit(m.Run())
}

// TestScenarios runs the scenarios that nothing else runs, as short as they
// can be.
func TestScenarios(t *testing.T) {
	t.Chdir("..")
	b := &bench{pairs: 1, quick: true, scale: 50, scratch: t.TempDir()}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, want string }{
		{"fifo", "| FIFO, one group of a million | 1 |"},
		{"bare", "| tens | 64 | all three |"},
		{"around", "in flight: "},
		{"idle", "Goal, 500 polls under 1 %"},
		{"restart", "| after kill -9 in the middle of sends |"},
		{"soak", "| send, ms, p50"},
	} {
		t.Run(test.name, func(t *testing.T) {
			chosen, err := choose(test.name)
			if err != nil {
				t.Fatal(err)
			}
			b.begin(chosen[0])
			if err := chosen[0].run(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if got := b.text.String(); !strings.Contains(got, test.want) {
				t.Errorf("the report lacks %q:\n%s", test.want, got)
			}
			left, err := filepath.Glob(filepath.Join(b.scratch, "data-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestDraw(t *testing.T) {
	c := curve{name: "a < b", colour: "#123456", x: []float64{0.5, 1, 1.5}, y: []float64{3, 0, 250}}
	got := draw("minutes", []chart{
		{title: "times", log: true, curves: []curve{c}},
		{title: "bytes", curves: []curve{c, {x: []float64{1}, y: []float64{0.3}}}},
		{title: "nothing", curves: []curve{{}}},
		{title: "nothing", log: true},
	})
	var text []string
	var lines []string
	for d := xml.NewDecoder(bytes.NewReader(got)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v:\n%s", err, got)
		}
		switch token := token.(type) {
		case xml.CharData:
			text = append(text, string(token))
		case xml.StartElement:
			if token.Name.Local == "polyline" {
				for _, a := range token.Attr {
					if a.Name.Local == "points" {
						lines = append(lines, a.Value)
					}
				}
			}
		}
	}
	for _, want := range []string{"times", "a < b", "minutes", "1000", "250"} {
		if !slices.Contains(text, want) {
			t.Errorf("the drawing lacks the text %q: %q", want, text)
		}
	}
	// The axis of times goes from 1 to 1000, that of bytes from 0 to 250, and
	// those of x to 1.5. What is 0 has no place on the first.
	want := []string{"290.0,165.2 730.0,65.3 ", "290.0,188.1 510.0,190.0 730.0,34.0 ", "510.0,189.8 ", "", ""}
	if diff := cmp.Diff(want[:3], lines[:3]); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		most, end float64
		n         int
	}{{1, 1, 6}, {7, 8, 5}, {20, 20, 5}, {0.3, 0.3, 7}, {1234, 1500, 4}, {9.99, 10, 6}} {
		all, end := ticks(test.most)
		if math.Abs(end-test.end) > 1e-9 || len(all) != test.n {
			t.Errorf("ticks(%v) = %v, %v", test.most, all, end)
		}
	}
}

// readLog is the inverse of what an appendLog writes.
func readLog(t *testing.T, path string) (records []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		if len(data) < 8 {
			t.Fatalf("%d bytes are left over", len(data))
		}
		n, sum := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		data = data[8:]
		if int(n) > len(data) {
			t.Fatalf("a record of %d bytes, and %d are left", n, len(data))
		}
		if got := crc32.Checksum(data[:n], crc32.MakeTable(crc32.Castagnoli)); got != sum {
			t.Fatalf("record %q: checksum %x, want %x", data[:n], got, sum)
		}
		records = append(records, string(data[:n]))
		data = data[n:]
	}
	return records
}

func TestAppendLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openAppendLog(path)
	if err != nil {
		t.Fatal(err)
	}
	// Of each append, the record is in the file when it returns.
	const producers, each = 20, 50
	var want []string
	for p := range producers {
		for i := range each {
			want = append(want, fmt.Sprintf("%d of %d", i, p))
		}
	}
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			r := &record{done: make(chan error, 1)}
			for i := range each {
				r.data = fmt.Appendf(r.data[:0], "%d of %d", i, p)
				if err := l.append(r); err != nil {
					t.Error(err)
				}
				if data, err := os.ReadFile(path); err != nil || !bytes.Contains(data, r.data) {
					t.Errorf("%q was acknowledged and is not in the log (%v)", r.data, err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	got := readLog(t, path)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestAppendLogFails(t *testing.T) {
	l, err := openAppendLog(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	// A log that cannot be written to acknowledges nothing.
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.append(&record{data: []byte("x"), done: make(chan error, 1)}); err == nil {
		t.Error("an append to a closed file was acknowledged")
	}
	if err := l.close(); err == nil {
		t.Error("close does not report that the file was closed")
	}
}

func TestAppendLogCommand(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	if err := appendLogCommand([]string{"-dir", dir, "-duration", "50ms", "-producers", "4", "-size", "100"}, &out); err != nil {
		t.Fatal(err)
	}
	var f figures
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	if f.Messages < 1 || f.Seconds < 0.05 || math.Abs(f.Rate-float64(f.Messages)/f.Seconds) > 1 {
		t.Errorf("%d messages in %v s at %v/s", f.Messages, f.Seconds, f.Rate)
	}
	if l := f.Send.Latency; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("latencies %+v do not grow", *l)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSeries(t *testing.T) {
	for _, test := range []struct {
		in   series
		want float64
	}{
		{nil, 0},
		{series{7}, 7},
		{series{9, 1, 5}, 5},
		{series{4, 1, 3, 2}, 2.5},
	} {
		in := slices.Clone(test.in)
		if got := test.in.median(); got != test.want {
			t.Errorf("median of %v = %v, want %v", test.in, got, test.want)
		}
		if !slices.Equal(in, test.in) {
			t.Errorf("median changed %v to %v", in, test.in)
		}
	}
	// The median of the ratios of pairs is not the ratio of the medians.
	got := series{10, 40, 90}.over(series{10, 20, 30})
	if diff := cmp.Diff(series{1, 2, 3}, got); diff != "" {
		t.Errorf("ratios (-want +got):\n%s", diff)
	}
	if got, want := (series{1, 2.25}).list("%.1f"), "1.0, 2.2"; got != want {
		t.Errorf("list = %q, want %q", got, want)
	}
}

func TestParseTraces(t *testing.T) {
	const text = `File: runnel
Type: cpu
-----------+-------------------------------------------------------
      20ms   syscall.Syscall
             github.com/cockroachdb/pebble/v2/vfs.(*linuxFile).SyncData
             github.com/cockroachdb/pebble/v2/record.(*LogWriter).syncWithLatency
-----------+-------------------------------------------------------
     key:    value
     pebble:    flush
      10ms   runtime.memmove
             github.com/cockroachdb/pebble/v2/sstable.(*layoutWriter).write
-----------+-------------------------------------------------------
      1.96s  runtime.memmove
             github.com/runnel-io/runnel/internal/queue.encodeRecord
             main.(*engineWorker).send
-----------+-------------------------------------------------------
      10ms   runtime.nanotime (inline)
             main.(*loadRun).produceAll.func2
-----------+-------------------------------------------------------
`
	got, err := parseTraces(engineParts, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []share{
		{"queue: record, id, index, wait", 0.98},
		{"log of the engine: fsync", 0.01},
		{"background: flush and compaction", 0.005},
		{"load generator", 0.005},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(share{}), cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if _, err := parseTraces(engineParts, []byte("File: runnel\n")); err == nil {
		t.Error("a profile without samples is no error")
	}
	const counts = `Type: alloc_objects
-----------+-------------------------------------------------------
     bytes:  1kB
       300   runtime.mallocgc
             github.com/runnel-io/runnel/internal/queue.(*Queue).Send
             main.(*flowLoad).produce.func2
-----------+-------------------------------------------------------
     bytes:  16B
       600   github.com/runnel-io/runnel/internal/queue.(*source).Receive
             github.com/runnel-io/runnel/internal/dispatch.(*Flow).intake
-----------+-------------------------------------------------------
       100   github.com/runnel-io/runnel.WithCall (inline)
             github.com/runnel-io/runnel/internal/dispatch.(*Flow).call
-----------+-------------------------------------------------------
`
	if got, err = parseTraces(flowParts, []byte(counts)); err != nil {
		t.Fatal(err)
	}
	want = []share{{"flow: queues, receive and commit", 0.6}, {"load: queues, sends and results", 0.3}, {"flow: dispatch", 0.1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(share{})); diff != "" {
		t.Errorf("shares of a count (-want +got):\n%s", diff)
	}
	if got, err := parseValue("1.50mins"); err != nil || got != 90*time.Second {
		t.Errorf("parseValue(1.50mins) = %v, %v", got, err)
	}
}

func TestChoose(t *testing.T) {
	got, err := choose("http,engine")
	if err != nil || len(got) != 2 || got[0].name != "http" || got[1].name != "engine" {
		t.Errorf("choose(http,engine) = %v, %v", got, err)
	}
	got, err = choose("")
	if err != nil || len(got) == 0 || slices.ContainsFunc(got, func(s scenario) bool { return s.long }) {
		t.Errorf("choose() = %v, %v; want all but the long ones", got, err)
	}
	if got, err := choose("soak"); err != nil || len(got) != 1 {
		t.Errorf("choose(soak) = %v, %v", got, err)
	}
	if _, err := choose("engine,nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("choose(engine,nothing): %v", err)
	}
}

// TestFinish writes the results of a scenario, which must not name places of
// this machine.
func TestFinish(t *testing.T) {
	b := &bench{pairs: 5, results: filepath.Join(t.TempDir(), "results"), scratch: "/private/scratch", self: "/private/bench", runnel: "/private/runnel"}
	b.begin(scenario{name: "engine", about: "a test"})
	command := b.display(b.runnel, []string{"load", "--dir", "/private/scratch/data-1", "--url", "http://127.0.0.1:1234", "--cpuprofile", "/private/scratch/x.prof"})
	if want := "runnel load --dir DIR --url URL --cpuprofile FILE"; command != want {
		t.Errorf("command = %q, want %q", command, want)
	}
	b.lines = []line{
		{Label: "log", Run: 1, Command: "bench appendlog", Figures: json.RawMessage(`{"mode":"append"}`)},
		{Label: "queue", Run: 1, Command: command, Figures: json.RawMessage(`{"commit":"abc","durability":"fsync","machine":{"cpu":"Z80","cores":1}}`)},
	}
	b.table([]string{"a", "b"}, []string{"1", "2"})
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.results, "engine.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# engine: a test\n", "commit: abc\n", "Z80, 1 cores", "`go run ./bench -only engine`; 5 runs", "durability: fsync\n", "| a | b |\n| --- | --- |\n| 1 | 2 |\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	raw, err := os.ReadFile(filepath.Join(b.results, "engine.json"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines != 2 {
		t.Errorf("%d lines of figures, want 2", lines)
	}
	if bytes.Contains(append(raw, text...), []byte("private")) {
		t.Errorf("the results name places of this machine:\n%s%s", text, raw)
	}
}
