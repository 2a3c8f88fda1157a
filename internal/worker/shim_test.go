package worker_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// python and node return a program that runs a handler in that language.
func python(t testing.TB, code string) worker.Program {
	t.Helper()
	return script(t, runnel.RuntimePython, "main.py", "main.handler", code, "python3", "-c", "import sys; print(sys.executable)")
}

func node(t testing.TB, code string) worker.Program {
	t.Helper()
	return script(t, runnel.RuntimeNode, "index.js", "index.handler", code, "node", "-p", "process.execPath")
}

// script asks the interpreter where it is, since the one in PATH may be a
// wrapper.
func script(t testing.TB, rt runnel.Runtime, file, handler, code string, ask ...string) worker.Program {
	t.Helper()
	found, err := exec.Command(ask[0], ask[1:]...).Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: %v", ask[0], err)
		}
		t.Skipf("%s is missing: %v", ask[0], err)
	}
	shims, dir := t.TempDir(), t.TempDir()
	if err := os.CopyFS(shims, shim.Files()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return worker.Program{
		Function: "default/script", Version: "v1", Dir: dir, Env: []string{"RUNNEL_HANDLER=" + handler},
		Args: shim.Command(rt, strings.TrimSpace(string(found)), shims),
	}
}

func call(ctx context.Context, p *worker.Pool, payload string) ([]byte, error) {
	in := invocation(payload)
	in.Format = runnel.FormatJSON
	answers, err := invoke(ctx, p, in)
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return nil, err
	}
	return answers[0].Payload, nil
}

func TestPython(t *testing.T) {
	prog := python(t, `
import os, sys, time
def handler(event):
    do = event["do"]
    if do == "memory":
        return len(bytearray(1 << 30))
    if do == "hard":
        os.abort()
    if do == "sleep":
        print("going to sleep")
        time.sleep(600)
    if do == "raise":
        raise ValueError("no " + do)
    if do == "print":
        print("out", event["n"]); print("err", event["n"], file=sys.stderr)
    return event
`)
	prog.Memory = 256 << 20
	var log lines
	p := start(t, prog, worker.Options{Max: 1, Log: log.add})
	for i, want := range []string{`{"do":"print","n":1}`, `{"do":"print","n":2}`} {
		in := invocation(want)
		in.Format = runnel.FormatJSON
		answers, err := invoke(t.Context(), p, in)
		if err != nil || string(answers[0].Payload) != want {
			t.Errorf("got %v, %v, want %s", answers, err, want)
		}
		n := string(rune('1' + i))
		got := log.of(in.ID)
		slices.Sort(got) // two pipes have no order
		if diff := cmp.Diff([]string{"info f: out " + n, "warn f: err " + n}, got); diff != "" {
			t.Error(diff)
		}
	}
	_, err := call(t.Context(), p, `{"do":"raise"}`)
	wantKind(t, err, runnel.KindError, "no raise")
	if got := p.Stats().Starts; got != 1 {
		t.Errorf("%d starts, want 1: an exception is no reason to end", got)
	}
	if limits := p.Limits(); limits[0].InForce {
		_, err = call(t.Context(), p, `{"do":"memory"}`)
		wantKind(t, err, runnel.KindOutOfMemory, "")
		if _, err := call(t.Context(), p, `{"do":""}`); err != nil || p.Stats().Starts != 2 {
			t.Errorf("after the end of memory: %v, %+v, want another process", err, p.Stats())
		}
	}
	_, err = call(t.Context(), p, `{"do":"hard"}`)
	wantKind(t, err, runnel.KindCrash, "signal aborted")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = call(ctx, p, `{"do":"sleep"}`)
	wantKind(t, err, runnel.KindTimeout, "no answer within ")
}

func TestPythonThatDoesNotLoad(t *testing.T) {
	for code, want := range map[string]string{
		"def handler(event)\n    pass\n": "SyntaxError",
		"import no_such_module\n":        "ModuleNotFoundError",
	} {
		_, err := worker.Start(t.Context(), python(t, code), worker.Options{TempDir: t.TempDir()})
		var e *runnel.FunctionError
		if !errors.As(err, &e) || e.Name != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestNodeOutOfMemory(t *testing.T) {
	prog := node(t, `
exports.handler = async (event) => {
  if (event.do === "memory") { const all = []; for (;;) all.push(new Array(1000).fill({}).map(String)); }
  return event;
};
`)
	prog.Args = append([]string{prog.Args[0], "--max-old-space-size=32"}, prog.Args[1:]...)
	p := start(t, prog, worker.Options{Max: 1})
	if got, err := call(t.Context(), p, `{"a":1}`); err != nil || string(got) != `{"a":1}` {
		t.Errorf("got %s, %v", got, err)
	}
	_, err := call(t.Context(), p, `{"do":"memory"}`)
	wantKind(t, err, runnel.KindOutOfMemory, "heap out of memory")
}
