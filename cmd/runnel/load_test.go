package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// load runs a load and returns its line.
func load(t *testing.T, args ...string) *figures {
	t.Helper()
	o := mustRun(t, "", append([]string{"load"}, args...)...)
	if lines := o.lines(); len(lines) != 1 {
		t.Fatalf("%d lines, want one: %q", len(lines), lines)
	}
	var f figures
	if err := json.Unmarshal(o.stdout.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	return &f
}

// checkFigures looks at what figures of any load must be.
func checkFigures(t *testing.T, f *figures, messages int64) {
	t.Helper()
	if f.Messages != messages {
		t.Errorf("messages = %d, want %d", f.Messages, messages)
	}
	if f.Seconds <= 0 || f.Rate <= 0 || f.CPU <= 0 || f.Rate < 0.99*float64(f.Messages)/f.Seconds || f.Rate > 1.01*float64(f.Messages)/f.Seconds {
		t.Errorf("%v s, %v messages/s, %v us: not the figures of a run", f.Seconds, f.Rate, f.CPU)
	}
	if f.Machine.Cores < 1 || f.Machine.CPU == "" || f.Machine.Kernel == "" || f.Commit == "" || f.Durability == "" || f.Time.IsZero() || f.PeakRSS <= 0 {
		t.Errorf("figures without their origin: %+v", f)
	}
	for name, p := range map[string]*phase{"send": f.Send, "receive": f.Receive, "delete": f.Delete, "cycle": f.Cycle} {
		if p == nil {
			continue
		}
		if p.Messages != messages {
			t.Errorf("%s: %d messages, want %d", name, p.Messages, messages)
		}
		if l := p.Latency; l != nil && (l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max) {
			t.Errorf("%s: latencies %+v do not grow", name, *l)
		}
	}
}

// has are the parts that figures have.
func has(f *figures) (parts []string) {
	for _, p := range []struct {
		name string
		set  bool
	}{{"send", f.Send != nil}, {"receive", f.Receive != nil}, {"delete", f.Delete != nil}, {"cycle", f.Cycle != nil}, {"wake", f.Wake != nil}} {
		if p.set {
			parts = append(parts, p.name)
		}
	}
	return parts
}

var modes = []struct {
	mode string
	args []string
	want []string
}{
	{"send", []string{"--messages", "300", "--batch", "7"}, []string{"send"}},
	{"cycle", []string{"--messages", "300", "--batch", "10"}, []string{"send", "receive", "delete", "wake"}},
	{"cycle", []string{"--messages", "300", "--rate", "5000"}, []string{"send", "receive", "delete", "wake"}},
	{"cycle", []string{"--messages", "300", "--keep"}, []string{"send", "receive", "wake"}},
	{"loop", []string{"--messages", "300", "--batch", "3", "--receive-batch", "2"}, []string{"send", "delete", "cycle", "wake"}},
	{"phases", []string{"--messages", "300", "--round", "70", "--receive-batch", "9"}, []string{"send", "receive", "delete", "cycle"}},
	{"receive", []string{"--preload", "300"}, []string{"receive", "delete"}},
	{"receive", []string{"--preload", "500", "--messages", "300", "--keep"}, []string{"receive"}},
}

func TestLoadEngine(t *testing.T) {
	for _, m := range modes {
		for _, leases := range []bool{false, true} {
			args := append([]string{"--in-process", "--dir", t.TempDir(), "--mode", m.mode}, m.args...)
			if leases {
				args = append(args, "--leases")
			}
			t.Run(strings.Join(args[4:], " "), func(t *testing.T) {
				f := load(t, args...)
				checkFigures(t, f, 300)
				if diff := cmp.Diff(m.want, has(f)); diff != "" {
					t.Errorf("parts of the figures (-want +got):\n%s", diff)
				}
				if !f.InProcess || f.Leases != leases || f.Allocs == nil || *f.Allocs <= 0 || f.OpenMS == nil || f.DiskBytes == 0 {
					t.Errorf("figures of the engine: %+v", f)
				}
			})
		}
	}
}

func TestLoadHTTP(t *testing.T) {
	c := dev(t)
	for _, m := range modes {
		args := append([]string{"--mode", m.mode}, m.args...)
		t.Run(strings.Join(args[1:], " "), func(t *testing.T) {
			f := load(t, append(args, "--queue", "loaded")...)
			checkFigures(t, f, 300)
			if diff := cmp.Diff(m.want, has(f)); diff != "" {
				t.Errorf("parts of the figures (-want +got):\n%s", diff)
			}
			if f.InProcess || f.URL != c.base || f.ServerCPU == nil || f.WrittenBytes == nil || f.ServerRSS <= 0 {
				t.Errorf("figures of the server: %+v", f)
			}
			_, err := c.queueURL(t.Context(), "loaded")
			kept := err == nil
			if want := strings.Contains(strings.Join(args, " "), "--keep"); kept != want {
				t.Errorf("the queue is there afterwards: %t (%v), want %t", kept, err, want)
			}
			if kept {
				if err := c.sqs(t.Context(), "DeleteQueue", map[string]string{"QueueUrl": c.base + "/000000000000/loaded"}, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestLoadBacklog works on a directory with a backlog, which stays as it is.
func TestLoadBacklog(t *testing.T) {
	engine := []string{"--in-process", "--dir", t.TempDir(), "--queue", "long"}
	with := func(args ...string) []string { return append(engine[:len(engine):len(engine)], args...) }
	f := load(t, with("--mode", "send", "--messages", "500", "--keep")...)
	checkFigures(t, f, 500)
	for _, leases := range []string{"--leases=false", "--leases=true"} {
		f = load(t, with("--mode", "phases", "--messages", "200", "--round", "50", leases)...)
		checkFigures(t, f, 200)
		if f.Backlog != 500 {
			t.Errorf("backlog = %d, want the 500 of before", f.Backlog)
		}
		if *f.ReadyMS < *f.OpenMS {
			t.Errorf("ready after %v ms, opened after %v ms", *f.ReadyMS, *f.OpenMS)
		}
	}
	// A queue that the load found is not its to delete.
	f = load(t, with("--mode", "receive", "--messages", "100")...)
	checkFigures(t, f, 100)
	f = load(t, with("--mode", "receive")...)
	checkFigures(t, f, 400)
}

// TestLoadFIFO sends to groups in turn, in process and over HTTP.
func TestLoadFIFO(t *testing.T) {
	dev(t)
	for _, target := range [][]string{{"--in-process"}, {"--queue", "ordered"}} {
		for _, args := range [][]string{
			{"--mode", "cycle", "--batch", "7", "--groups", "5"},
			{"--mode", "cycle", "--consumers", "2"},
			{"--mode", "loop", "--batch", "1", "--producers", "4"},
			{"--mode", "phases", "--groups", "300", "--round", "70"},
		} {
			t.Run(strings.Join(append(target, args...), " "), func(t *testing.T) {
				f := load(t, append(append([]string{"--fifo", "--messages", "300"}, target...), args...)...)
				checkFigures(t, f, 300)
			})
		}
	}
}

// TestLoadHold has messages in flight that no run gets.
func TestLoadHold(t *testing.T) {
	dev(t)
	for _, target := range []string{"--in-process=true", "--in-process=false"} {
		f := load(t, target, "--hold", "123", "--messages", "300", "--mode", "phases")
		checkFigures(t, f, 300)
		if f.Held != 123 || f.Backlog != 0 {
			t.Errorf("%d in flight and %d visible when the run began, want 123 and 0", f.Held, f.Backlog)
		}
	}
}

func TestLoadPoll(t *testing.T) {
	dev(t)
	f := load(t, "--mode", "poll", "--consumers", "20", "--duration", "200ms")
	if f.Messages != 0 || f.Polls != 0 || f.Seconds < 0.2 || f.ServerCores == nil {
		t.Errorf("figures of polls that none had an answer: %+v", f)
	}
}

// TestLoadEvery adds up the intervals of a run.
func TestLoadEvery(t *testing.T) {
	dev(t)
	for _, target := range []string{"--in-process=true", "--in-process=false"} {
		f := load(t, target, "--every", "100ms", "--rate", "500", "--messages", "300")
		checkFigures(t, f, 300)
		var sum interval
		for _, i := range f.Series {
			if i.Seconds <= sum.Seconds || i.RSS <= 0 || i.DiskBytes <= 0 {
				t.Errorf("interval %+v after %v s", i, sum.Seconds)
			}
			sum.Seconds, sum.Sent, sum.Received, sum.Deleted = i.Seconds, sum.Sent+i.Sent, sum.Received+i.Received, sum.Deleted+i.Deleted
		}
		if len(f.Series) < 5 || sum.Sent != 300 || sum.Received != 300 || sum.Deleted != 300 {
			t.Errorf("%d intervals with %+v in all, want at least 5 with 300 of each", len(f.Series), sum)
		}
	}
}

// TestLoadServerPID has the server's processor time of each phase, here of this
// very process.
func TestLoadServerPID(t *testing.T) {
	dev(t)
	f := load(t, "--mode", "phases", "--messages", "300", "--server-pid", strconv.Itoa(os.Getpid()))
	checkFigures(t, f, 300)
	if runtime.GOOS != "linux" {
		t.Skip("the processor time of a process is known on Linux only")
	}
	if f.ServerCPU == nil || f.Send.ServerCPU == nil || *f.Send.ServerCPU <= 0 || *f.Send.ServerCPU < *f.Send.CPU/2 || *f.Send.ServerCPU > *f.Send.CPU*2 {
		t.Errorf("server and client are one process, and have used %+v", f.Send)
	}
	if got := mustFail(t, "", "load", "--messages", "1", "--server-pid", "4194305"); !strings.Contains(got, "such a process") {
		t.Errorf("a process that is not there: %q", got)
	}
}

// TestLoadWakeIsOfThisRun leaves out what others have sent.
func TestLoadWakeIsOfThisRun(t *testing.T) {
	f := load(t, "--in-process", "--preload", "100", "--mode", "receive")
	if f.Wake != nil {
		t.Errorf("%+v was measured on messages of a preload", *f.Wake)
	}
	if f = load(t, "--in-process", "--size", "31", "--messages", "100"); f.Wake != nil {
		t.Errorf("%+v was measured on messages without room for a stamp", *f.Wake)
	}
	if f = load(t, "--in-process", "--size", "32", "--messages", "100"); f.Wake == nil {
		t.Error("nothing was measured")
	}
}

func TestLoadProfiles(t *testing.T) {
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu.prof"), filepath.Join(dir, "mem.prof")
	load(t, "--in-process", "--messages", "100", "--settle", "--cpuprofile", cpu, "--memprofile", mem)
	for _, file := range []string{cpu, mem} {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

func TestLoadRefusals(t *testing.T) {
	noEnvironment(t)
	for _, test := range []struct{ args, want string }{
		{"--mode fast", "want send, receive, cycle, loop, phases or poll"},
		{"--messages -1", "--messages -1"},
		{"--duration 0s", "how long"},
		{"--rate -1", "--rate -1"},
		{"--rate 5 --mode loop", "--rate is for"},
		{"--size 0", "--size 0"},
		{"--size 1048577", "--size 1048577"},
		{"--batch 11", "--batch 11"},
		{"--batch 10 --size 200000", "at most 1 MiB"},
		{"--receive-batch 0", "--receive-batch 0"},
		{"--producers 0", "--producers 0"},
		{"--consumers 0", "--consumers 0"},
		{"--dir x", "--dir needs --in-process"},
		{"--leases", "--leases needs --in-process"},
		{"--keep --mode loop", "--keep"},
		{"--hold -1", "--hold -1"},
		{"--every -1s", "--every -1s"},
		{"--fifo --groups 0", "--groups 0"},
		{"--groups 2", "--groups needs --fifo"},
		{"--mode poll --messages 5", "--mode poll needs --duration"},
		{"--in-process --server-pid 1", "--server-pid is not for"},
		{"--url http://127.0.0.1:1", "no server answers"},
	} {
		if got := mustFail(t, "", append([]string{"load"}, strings.Fields(test.args)...)...); !strings.Contains(got, test.want) {
			t.Errorf("load %s: %q, want %q", test.args, got, test.want)
		}
	}
	// Several faults are told at once.
	if _, err := try(t.Context(), nil, "load", "--size", "0", "--batch", "0"); err == nil || !strings.Contains(err.Error(), "--size") || !strings.Contains(err.Error(), "--batch") {
		t.Errorf("error %v, want both faults", err)
	}
}

// TestLoadDirInUse is a second load on a directory.
func TestLoadDirInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustFail(t, "", "load", "--in-process", "--dir", dir, "--messages", "1"); !strings.Contains(got, "not a runnel data directory") {
		t.Errorf("a directory of something else: %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Errorf("somebody's file: %v", err)
	}
}

func TestEachString(t *testing.T) {
	for _, test := range []struct {
		doc  string
		want []string
	}{
		{`{}`, nil},
		{`{"a":"b"}`, []string{"a=b"}},
		{`{ "a" : "b", "n": 1, "c":"" }`, []string{"a=b", "c="}},
		{`{"a":{"b":"c"},"d":["e","f"],"g":true,"h":"i"}`, []string{"b=c", "h=i"}},
		{`{"a":"x\"y\\","b":"\\"}`, []string{`a=x\"y\\`, `b=\\`}},
		{
			`{"Messages":[{"Body":"1","ReceiptHandle":"r"},{"ReceiptHandle":"s","Body":"{\"Body\":\"no\"}"}]}`,
			[]string{"Body=1", "ReceiptHandle=r", "ReceiptHandle=s", `Body={\"Body\":\"no\"}`},
		},
		{`["a","b"]`, nil},
	} {
		var got []string
		if err := eachString([]byte(test.doc), func(name, value []byte) { got = append(got, string(name)+"="+string(value)) }); err != nil {
			t.Errorf("%s: %v", test.doc, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.doc, diff)
		}
	}
	for _, doc := range []string{`{"a`, `{"a":"b`, `{"a":"b\"`} {
		if err := eachString([]byte(doc), func(_, _ []byte) {}); err == nil {
			t.Errorf("%s is no error", doc)
		}
	}
}
