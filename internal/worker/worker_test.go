package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

func TestAnswers(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	in := invocation("hello", "none", `kind error {"kind":"error","name":"E","message":"bad","stack":"at 1"}`,
		`kind error {"kind":"rejected","message":"never"}`, `kind error {"kind":"retry","after":1.5}`, `kind json {"a": 1}`,
		"kind json {", "kind text \xff", "")
	answers, err := invoke(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	want := []runnel.Answer{
		{Format: runnel.FormatBytes, Payload: []byte("hello")},
		{Format: runnel.FormatNone},
		{Err: &runnel.FunctionError{Kind: "error", Name: "E", Message: "bad", Stack: "at 1"}},
		{Err: runnel.Reject("never")},
		{Err: runnel.RetryAfter(1500 * time.Millisecond)},
		{Format: runnel.FormatJSON, Payload: []byte(`{"a": 1}`)},
		{Err: &runnel.FunctionError{Kind: "output", Message: `the value that the worker calls JSON is not: "{"`}},
		{Err: &runnel.FunctionError{Kind: "output", Message: `the value that the worker calls text is not UTF-8`}},
		{Format: runnel.FormatBytes, Payload: []byte{}},
	}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}
	in = invocation("a", "b")
	in.List = true
	if _, err := invoke(t.Context(), p, in); err == nil || err.Error() != "ListError: all of it" {
		t.Errorf("a list that fails: got %v", err)
	}
	got := p.Stats()
	if got.Wait.Count() != 2 || got.Start.Count() != 1 || got.Run.Count() != 2 || got.Start.Sum == 0 || got.Run.Sum == 0 || got.PeakMemory < 1<<20 {
		t.Errorf("got %+v, want how long two calls and a start took, and the memory of a process", got)
	}
	got.Wait, got.Start, got.Run, got.PeakMemory = runnel.Histogram{}, runnel.Histogram{}, runnel.Histogram{}, 0
	want2 := worker.Stats{State: worker.StateReady, Max: 1, Idle: 1, Starts: 1, Calls: 2, Errors: 2}
	if diff := cmp.Diff(want2, got); diff != "" {
		t.Error(diff)
	}
}

func TestLargePayloads(t *testing.T) {
	prog := program(t)
	prog.MaxOutput = 4 << 20
	p := start(t, prog, worker.Options{Max: 1})
	big := strings.Repeat("x", 3<<20)
	for range 3 {
		if got := ask(t, p, big); got != big {
			t.Fatalf("got %d bytes, want %d", len(got), len(big))
		}
	}
	if got := p.Stats().Starts; got != 1 {
		t.Errorf("%d starts, want 1", got)
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct{ name, do, kind, words string }{
		{"exit", "exit 3", runnel.KindCrash, "exit status 3: my last words"},
		{"clean exit", "exit 0", runnel.KindCrash, "exit status 0"},
		{"killed", "kill", runnel.KindCrash, "signal killed; it was not the server"},
		{"node out of memory", "abort FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", runnel.KindOutOfMemory, "heap out of memory"},
		{"go out of memory", "last fatal error: out of memory allocating heap arena map", runnel.KindOutOfMemory, "out of memory allocating heap arena map"},
		{"abort", "abort assertion failed", runnel.KindCrash, "signal aborted"},
		{"panic", "panic of this", runnel.KindCrash, "exit status 2: panic: of this"},
		{"told out of memory", `kind error {"kind":"out_of_memory","message":"MemoryError"}`, runnel.KindOutOfMemory, "MemoryError"},
		{"garbage", "raw hello\n", runnel.KindCrash, `"hello" is not a frame`},
		{"wrong id", "raw result other 1 none:0\n", runnel.KindCrash, `an answer to "other"`},
		{"wrong count", "raw result ID 2 none:0 none:0\n", runnel.KindCrash, "2 values for a call with 1 items"},
		{"wrong words", "raw result ID 1 json\n", runnel.KindCrash, "is not KIND:LENGTH"},
		{"error that is not JSON", "raw error ID 3\nabc", runnel.KindCrash, "not the JSON that it should be"},
		{"ready twice", "raw ready\n", runnel.KindCrash, "ready was said before"},
		{"endless line", "raw " + strings.Repeat("x", 70<<10), runnel.KindCrash, "longer than 65536 bytes"},
		{"half a line", "half result", runnel.KindCrash, "in the middle of a frame"},
		{"half a value", "half log - info 100\nabc", runnel.KindCrash, "in the middle of a frame"},
		{"closed descriptor", "close", runnel.KindCrash, "closed descriptor 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, program(t), worker.Options{Max: 1})
			wantKind(t, failure(t, p, tt.do), tt.kind, tt.words)
			if got := ask(t, p, "pid"); got == "" {
				t.Error("no answer from the next worker")
			}
			if got := p.Stats(); got.Starts != 2 || got.Errors != 1 || got.Crashes+got.OutOfMemory != 1 {
				t.Errorf("got %+v, want 2 starts and 1 error", got)
			}
		})
	}
}

func TestOutputLimit(t *testing.T) {
	prog := program(t)
	prog.MaxOutput = 1000
	p := start(t, prog, worker.Options{Max: 1})
	answers, err := invoke(t.Context(), p, invocation("big 1000", "big 1001", "big 50000000", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if len(answers[0].Payload) != 1000 || string(answers[3].Payload) != "a" {
		t.Errorf("values within the limit: got %d bytes and %q", len(answers[0].Payload), answers[3].Payload)
	}
	wantKind(t, answers[1].Err, runnel.KindOutput, "returned 1001 bytes, and max_output is 1000")
	wantKind(t, answers[2].Err, runnel.KindOutput, "returned 50000000 bytes")
	if got := p.Stats().Starts; got != 1 {
		t.Errorf("%d starts, want 1: the worker should survive", got)
	}
}

func TestTimeoutKillsOnlyTheGuilty(t *testing.T) {
	p := start(t, program(t), worker.Options{Min: 3, Max: 3})
	eventually(t, "three workers", func() bool { return p.Stats().Idle == 3 })

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	guilty, release, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var neighbours sync.WaitGroup
	stop := make(chan struct{})
	calls := make([]int, 2)
	for i := range calls {
		neighbours.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := invoke(ctx, p, invocation("hello")); err != nil {
					t.Errorf("neighbour: %v", err)
					return
				}
				calls[i]++
			}
		})
	}
	child, err := guilty.Invoke(ctx, invocation("child"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancelShort()
	begun := time.Now()
	_, err = guilty.Invoke(short, invocation("sleep"))
	took := time.Since(begun)
	release()
	wantKind(t, err, runnel.KindTimeout, "no answer within ")
	if took < 100*time.Millisecond || took > 3*time.Second {
		t.Errorf("the call ended after %s, want 200ms", took)
	}
	pid, err := strconv.Atoi(strings.Trim(string(child[0].Payload), `"`))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "without the worker's child", func() bool { return !running(pid) })
	eventually(t, "three workers again", func() bool { s := p.Stats(); return s.Idle+s.Busy == 3 })
	close(stop)
	neighbours.Wait()
	if calls[0] == 0 || calls[1] == 0 {
		t.Errorf("neighbours made %v calls", calls)
	}
	if got := p.Stats(); got.Starts != 4 || got.Timeouts != 1 || got.Crashes != 0 {
		t.Errorf("got %+v, want 4 starts and 1 timeout", got)
	}
}

// running says whether a process exists and is not a zombie.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !exists("/proc/self/stat")
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestInterrupted(t *testing.T) {
	cause := errors.New("lease lost")
	for _, tt := range []struct {
		do     string
		starts int64
	}{{"sleep", 2}, {"wait", 1}} {
		p := start(t, program(t), worker.Options{Max: 1, Grace: 300 * time.Millisecond})
		ctx, cancel := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		defer timer.Stop()
		_, err := invoke(ctx, p, invocation(tt.do))
		if !errors.Is(err, runnel.ErrInterrupted) || !errors.Is(err, cause) {
			t.Errorf("%s: got %v, want interrupted by the lost lease", tt.do, err)
		}
		ask(t, p, "pid")
		if got := p.Stats(); got.Starts != tt.starts || got.Interrupted != 1 || got.Errors != 0 {
			t.Errorf("%s: got %+v, want %d starts, 1 interrupted", tt.do, got, tt.starts)
		}
		// A call that cannot begin in time is nobody's failure.
		w, release, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Invoke(ctx, invocation("pid")); !errors.Is(err, runnel.ErrInterrupted) {
			t.Errorf("a call after the end of its context: got %v", err)
		}
		release()
	}
}

func TestLines(t *testing.T) {
	var log lines
	p := start(t, program(t), worker.Options{Max: 1, Log: log.add})
	long := strings.Repeat("y", 70<<10)
	for _, tt := range []struct {
		do   string
		want []string
	}{
		{"print one\ntwo\r\n\nhalf", []string{"info f: one", "info f: two", "info f: ", "info f: half"}},
		{"stderr oops\n", []string{"warn f: oops"}},
		{"log by frame\nof two", []string{"warn f: by frame\nof two"}},
		{"print " + long, []string{"info f: " + long[:64<<10], "info f: " + long[64<<10:]}},
		{"print a\xffb\n", []string{"info f: a\uFFFDb"}},
	} {
		for range 20 { // each time the lines are there when the call ends
			in := invocation(tt.do)
			if _, err := invoke(t.Context(), p, in); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, log.of(in.ID)); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	if diff := cmp.Diff([]string{"info : loaded"}, log.of("")); diff != "" {
		t.Error(diff)
	}
	in := invocation("exit 1")
	if _, err := invoke(t.Context(), p, in); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]string{"warn f: my last words"}, log.of(in.ID)); diff != "" {
		t.Error(diff)
	}
	first := log.all[0]
	if first.Function != "default/test" || first.Version != "v1" || first.Worker == "" || first.Time.IsZero() {
		t.Errorf("stamp: got %+v", first)
	}
}

func TestLinesAreBounded(t *testing.T) {
	var log lines
	p := start(t, program(t), worker.Options{Max: 1, Log: log.add})
	in := invocation("flood 20000")
	if _, err := invoke(t.Context(), p, in); err != nil {
		t.Fatal(err)
	}
	got := log.of(in.ID)
	if len(got) < 1500 || len(got) > 6000 {
		t.Errorf("%d lines of 20,000 were passed on, want about 2,000", len(got))
	}
	if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "lines were dropped") }) {
		t.Error("no line says that lines were dropped")
	}
}

func TestContextOfTheHandler(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	in := invocation("meta")
	in.Flow = "fl\"ow"
	in.Items[0].Message, in.Items[0].Attempt, in.Items[0].Key, in.Items[0].Trace = "m-1", 3, "k\n\u00e9", "00-ab-cd-01"
	in.Items[0].Attributes = []runnel.Attribute{
		{Name: "a", Value: []byte("1\xff")}, {Name: "a", Value: []byte("2")}, {Name: "b", Type: "Binary.x", Value: []byte{0, 1}},
	}
	answers, err := invoke(t.Context(), p, in)
	if err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	want := `{"flow":"fl\"ow","items":[{"message":"m-1","attempt":3,"key":"k\u000aé","trace":"00-ab-cd-01","attributes":{"a":"1` + "\uFFFD" + `","b":"AAE="}}]}`
	if got := string(answers[0].Payload); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := ask(t, p, "words"), "each text"; !strings.HasSuffix(strings.Join(strings.Fields(got)[1:], " "), want) {
		t.Errorf("got %q, want %q at its end", got, want)
	}
	for _, id := range []string{"", "a b", "a\n"} {
		in.ID = id
		if _, err := invoke(t.Context(), p, in); err == nil {
			t.Errorf("id %q: no error", id)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	prog := program(t, "MINE=1", "LANG=de", "RUNNEL_VERSION=forged", "RUNNEL_HANDLER=main.handler")
	temp := t.TempDir()
	p := start(t, prog, worker.Options{Max: 1, TempDir: temp})
	env := strings.Split(ask(t, p, "env"), "\n")
	slices.Sort(env)
	var own string
	for i, e := range env {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			own = dir
		}
		if strings.HasPrefix(e, "RUNNEL_WORKER=w") {
			env[i] = "RUNNEL_WORKER=w"
		}
	}
	want := []string{
		"GORACE=atexit_sleep_ms=0", "HOME=" + own, "LANG=de", "LOGNAME=runnel", "MINE=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ROLE=worker", "RUNNEL_FUNCTION=default/test", "RUNNEL_HANDLER=main.handler", "RUNNEL_VERSION=v1", "RUNNEL_WORKER=w", "TMPDIR=" + own, "USER=runnel",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
	real, err := filepath.EvalSymlinks(temp)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(own) != real {
		t.Errorf("temporary directory %s is not below %s", own, real)
	}
	if got := ask(t, p, "write "+own+"/x"); got != "<nil>" {
		t.Errorf("writing there: %s", got)
	}
	if got, want := ask(t, p, "stdin"), "<nil> 0"; got != want {
		t.Errorf("standard input: got %q, want %q", got, want)
	}
	if got := ask(t, p, "cwd"); !strings.HasSuffix(got, filepath.Base(prog.Dir)) {
		t.Errorf("working directory: got %q, want %q", got, prog.Dir)
	}
}

// TestMasked has a secret in every place where what a process says comes out:
// in its lines, in its errors, and in what is told of its death.
func TestMasked(t *testing.T) {
	const secret = "s3cr3t-of-the-function"
	var got lines
	prog := program(t, "TOKEN="+secret, "START=")
	prog.Mask = []string{secret, "short"}
	p := start(t, prog, worker.Options{Max: 1, Log: got.add})
	call := func(payload string) (string, error) {
		in := invocation(payload)
		answers, err := invoke(t.Context(), p, in)
		if err == nil {
			err = answers[0].Err
		}
		return in.ID, err
	}
	for _, test := range []struct{ payload, want string }{
		{"print a " + secret + " b short\n", "info f: a *** b short"},
		{"print " + secret, "info f: ***"},
		{"stderr a " + secret + "\n", "warn f: a ***"},
		{"log a " + secret, "warn f: a ***"},
	} {
		id, err := call(test.payload)
		if lines := got.of(id); err != nil || len(lines) != 1 || lines[0] != test.want {
			t.Errorf("%q: got %q, %v; want %q", test.payload, lines, err, test.want)
		}
	}
	for _, test := range []struct {
		payload string
		want    error
	}{
		{`kind error {"name":"Bad` + secret + `","message":"at ` + secret + `","stack":"in ` + secret + `\nin x"}`,
			&runnel.FunctionError{Kind: runnel.KindError, Name: "Bad***", Message: "at ***", Stack: "in ***\nin x"}},
		{`kind error {"kind":"rejected","message":"` + secret + `"}`, &runnel.RejectError{Reason: "***"}},
		{`kind error {"kind":"retry","after":1,"message":"` + secret + `"}`, &runnel.RetryError{After: time.Second, Reason: "***"}},
	} {
		_, err := call(test.payload)
		if diff := cmp.Diff(test.want, err); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.payload, diff)
		}
	}
	for payload, want := range map[string]string{
		"panic " + secret:        "panic: ***",
		"raw " + secret + "\n\n": "***",
	} {
		_, err := call(payload)
		var e *runnel.FunctionError
		if !errors.As(err, &e) || e.Kind != runnel.KindCrash {
			t.Fatalf("%q: got %v, want a crash", payload, err)
		}
		if text := e.Message + e.Stack; !strings.Contains(text, want) || strings.Contains(text, secret) {
			t.Errorf("%q: got %q, want %q in it and not the secret", payload, text, want)
		}
	}
	// What a function returns is not touched.
	if got := ask(t, p, "env"); !strings.Contains(got, secret) {
		t.Errorf("the secret is not in what was returned: %s", got)
	}
}

// TestMaskedStart has the secret in what a process says that does not load.
func TestMaskedStart(t *testing.T) {
	for start, secret := range map[string]string{"exit": "no such module", "fail": "line 3 is wrong"} {
		prog := program(t, "START="+start)
		prog.Mask = []string{secret}
		_, err := worker.Start(t.Context(), prog, worker.Options{Max: 1, TempDir: t.TempDir()})
		var e *runnel.FunctionError
		if !errors.As(err, &e) {
			t.Fatalf("%s: got %v", start, err)
		}
		if text := e.Message + e.Stack; !strings.Contains(text, "***") || strings.Contains(text, secret) {
			t.Errorf("%s: got %q", start, text)
		}
	}
}

// TestPeakMemory: what the server occupies is not its workers', also of those
// that have ended, of which the system says so.
func TestPeakMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing is known of a process that runs")
	}
	const size = 256 << 20
	ballast := make([]byte, size)
	for i := 0; i < size; i += 1 << 10 {
		ballast[i] = 1
	}
	p := start(t, program(t), worker.Options{Max: 1})
	if got := ask(t, p, "hello"); got != "hello" {
		t.Fatalf("got %q", got)
	}
	runs := p.Stats().PeakMemory
	if err := p.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(ballast)
	ended := p.Stats().PeakMemory
	if runs < 1<<20 || ended < runs || ended >= size {
		t.Errorf("got %d bytes while it runs, and %d after its end, want less than the %d of this process", runs, ended, size)
	}
}
