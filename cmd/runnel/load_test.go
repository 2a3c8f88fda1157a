package main

import (
	"encoding/json"
	"os"
	"path/filepath"
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
		{"--mode fast", "want send, receive, cycle, loop or phases"},
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
