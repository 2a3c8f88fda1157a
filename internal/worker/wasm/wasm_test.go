package wasm_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
	"github.com/runnel-io/runnel/internal/worker/wasm"
)

// The test binary is also the worker process.
func TestMain(m *testing.M) {
	if os.Getenv("ROLE") == "worker" {
		os.Exit(wasm.Main(context.Background(), os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "runnel-wasm-")
	if err != nil {
		panic(err)
	}
	shared = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// shared holds the modules and what was compiled of them, for all tests: it
// takes seconds.
var shared string

// guest builds a module of testdata once.
var guest = func() func(t testing.TB, name string) string {
	var mu sync.Mutex
	built := make(map[string]string)
	return func(t testing.TB, name string) string {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if built[name] != "" {
			return built[name]
		}
		file := filepath.Join(shared, name+".wasm")
		args := []string{"build", "-trimpath", "-o", file}
		if name == "reactor" {
			args = append(args, "-buildmode=c-shared")
		}
		cmd := exec.Command("go", append(args, "./testdata/"+name)...)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
		built[name] = file
		return file
	}
}()

func program(t testing.TB, file string, env ...string) worker.Program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data.txt"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	return worker.Program{
		Function: "default/wasm", Version: "v1", Dir: dir, Args: []string{exe, file}, StartTimeout: time.Minute,
		Env: append([]string{"ROLE=worker", "GORACE=atexit_sleep_ms=0", "RUNNEL_WASM_CACHE=" + filepath.Join(shared, "cache")}, env...),
	}
}

func start(t testing.TB, prog worker.Program) *worker.Pool {
	t.Helper()
	p, err := worker.Start(t.Context(), prog, worker.Options{Max: 1, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func invoke(t testing.TB, p *worker.Pool, list bool, payloads ...string) ([]runnel.Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call, release, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	in := &runnel.Invocation{ID: "call", Format: runnel.FormatText, List: list}
	for _, text := range payloads {
		in.Items = append(in.Items, runnel.Item{Payload: []byte(text)})
	}
	return call.Invoke(ctx, in)
}

func failed(kind, name, message string) runnel.Answer {
	return runnel.Answer{Err: &runnel.FunctionError{Kind: kind, Name: name, Message: message}}
}

// noStack removes stacks, which have the guest's own words.
func noStack(answers []runnel.Answer) []runnel.Answer {
	for i := range answers {
		var e *runnel.FunctionError
		if errors.As(answers[i].Err, &e) {
			e.Stack = ""
		}
	}
	return answers
}

func TestCommand(t *testing.T) {
	p := start(t, program(t, guest(t, "command"), "GREETING=hello", "RUNNEL_MEMORY="+strconv.Itoa(64<<20)))
	answers, err := invoke(t, p, false, "some text", `{"a":1}`, "env GREETING", "read /data.txt", "write /data.txt", "write /tmp/x", "fail it is wrong", "")
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) runnel.Answer { return runnel.Answer{Format: runnel.FormatText, Payload: []byte(s)} }
	want := []runnel.Answer{
		text("some text"), {Payload: []byte(`{"a":1}`)}, text("hello"), text("data<nil>"),
		text("open /data.txt: Function not implemented"), text("<nil>"), failed("error", "exit status 3", "it is wrong"), {Format: runnel.FormatNone},
	}
	if strings.Contains(string(answers[4].Payload), "nil") {
		t.Errorf("writing to the code: got %q", answers[4].Payload)
	}
	answers[4] = want[4] // in words of the system
	if diff := cmp.Diff(want, noStack(answers)); diff != "" {
		t.Error(diff)
	}
	answers, err = invoke(t, p, false, "grow", "still there")
	var e *runnel.FunctionError
	if err != nil || !errors.As(answers[0].Err, &e) || e.Kind != runnel.KindOutOfMemory || string(answers[1].Payload) != "still there" {
		t.Errorf("over its memory: got %v, %v, want out_of_memory, and the next call unharmed", answers, err)
	}
}

func TestReactor(t *testing.T) {
	p := start(t, program(t, guest(t, "reactor")))
	answers, err := invoke(t, p, false, "count", "count", "fail no such thing", "print a line", "trap it", "count", "echo")
	if err != nil {
		t.Fatal(err)
	}
	var e *runnel.FunctionError
	if !errors.As(answers[4].Err, &e) || e.Name != "trap" || !strings.Contains(e.Stack, "it") {
		t.Errorf("a trap: got %#v", answers[4].Err)
	}
	answers[4] = runnel.Answer{}
	want := []runnel.Answer{
		{Payload: []byte("1")}, {Payload: []byte("2")}, failed("error", "", "no such thing"), {Format: runnel.FormatNone},
		{}, {Payload: []byte("1")}, {Format: runnel.FormatText, Payload: []byte("echo")},
	}
	if diff := cmp.Diff(want, noStack(answers)); diff != "" {
		t.Error(diff)
	}
	answers, err = invoke(t, p, true, "a", "b")
	if err != nil || len(answers) != 2 || string(answers[1].Payload) != `"b"` {
		t.Errorf("a list: got %v, %v", answers, err)
	}
}

func TestDeadlineOfAGuest(t *testing.T) {
	p := start(t, program(t, guest(t, "command")))
	call, release, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = call.Invoke(ctx, &runnel.Invocation{ID: "spin", Format: runnel.FormatText, Items: []runnel.Item{{Payload: []byte("spin")}}})
	release()
	var e *runnel.FunctionError
	if !errors.As(err, &e) || e.Kind != runnel.KindTimeout {
		t.Errorf("got %v, want a timeout", err)
	}
	if answers, err := invoke(t, p, false, "next"); err != nil || string(answers[0].Payload) != "next" {
		t.Errorf("after it: got %v, %v", answers, err)
	}
}

func TestModulesThatCannotRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, code []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, code, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	header := "\x00asm\x01\x00\x00\x00"
	for name, tt := range map[string]struct{ code, words string }{
		"nothing":    {"", "invalid magic number"},
		"text":       {"hello", "invalid magic number"},
		"no exports": {header, "exports neither _start"},
		// (import "env" "f" (func))
		"import": {header + "\x01\x04\x01\x60\x00\x00" + "\x02\x09\x01\x03env\x01f\x00\x00", "imports env.f"},
	} {
		_, err := worker.Start(t.Context(), program(t, write(name, []byte(tt.code))), worker.Options{TempDir: t.TempDir()})
		var e *runnel.FunctionError
		if !errors.As(err, &e) || e.Name != "LinkError" || !strings.Contains(e.Message, tt.words) {
			t.Errorf("%s: got %v, want %q", name, err, tt.words)
		}
	}
}
