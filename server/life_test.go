package server_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// handlerOf is a handler of one text.
func handlerOf(fn func(string) string) runnel.Handler {
	return runnel.HandlerFunc(func(_ context.Context, m runnel.Message) (runnel.Result, error) {
		return runnel.Result{Out: []runnel.Message{{Body: []byte(fn(string(m.Body)))}}}, nil
	})
}

// newGoApp runs a server with a spec file and one handler, f.
func newGoApp(t *testing.T, spec string, fn func(string) string) *app {
	t.Helper()
	a := &app{t: t, dir: t.TempDir()}
	a.write("runnel.yaml", spec)
	cfg := config(t)
	cfg.SpecFile = filepath.Join(a.dir, "runnel.yaml")
	cfg.DrainTimeout = time.Second
	cfg.Handlers = map[string]runnel.Handler{"f": handlerOf(fn)}
	a.running = start(t, cfg)
	a.until("the spec is applied", func() bool {
		status, _ := a.call(t, "GET", "/readyz", nil, "")
		return status == 200
	})
	return a
}

func (a *app) flow(name string) (out struct{ State, Error string }) {
	a.t.Helper()
	_, text := a.call(a.t, "GET", "/api/v1/flows/"+name, nil, "")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		a.t.Fatalf("%v in %s", err, text)
	}
	return out
}

const shoutSpec = "queues: {in: {}, out: {}, dead: {}}\nflows: {f: {from: queue:in, call: f, to: [queue:out], dead_letter: queue:dead}}\n"

// TestQueueMadeAnew: if a queue of a flow is deleted all the same, and made
// again, the flow has the new one.
func TestQueueMadeAnew(t *testing.T) {
	t.Parallel()
	a := newGoApp(t, shoutSpec, strings.ToUpper)
	for _, name := range []string{"in", "out", "dead"} {
		if err := a.DropQueue("default", name); err != nil {
			t.Fatal(err)
		}
		a.createQueue(t, name)
		a.sendTo("in", messages("hey "+name)...)
		if got, want := string(a.take("out", 1)[0].Body), strings.ToUpper("hey "+name); got != want {
			t.Errorf("after %s was made anew: got %s, want %s", name, got, want)
		}
	}
	a.until("it runs", func() bool { return a.flow("f").State == "running" })
}

// TestFlowsAfterARestart: a stored flow whose queue or function is gone says so,
// lets others run, and runs as soon as what it wants is there; one that was
// paused is paused.
func TestFlowsAfterARestart(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Handlers = map[string]runnel.Handler{"f": handlerOf(strings.ToUpper), "g": handlerOf(strings.ToLower)}
	a := &app{t: t, running: start(t, cfg)}
	for _, name := range []string{"in", "out", "in2"} {
		a.createQueue(t, name)
	}
	put := func(name string, flow map[string]any) {
		t.Helper()
		if status, out := a.ask(t, "PUT", "/api/v1/flows/"+name, flow); status != 200 {
			t.Fatalf("put %s: %d %+v", name, status, out.Error)
		}
	}
	put("f", map[string]any{"from": "queue:in", "call": "f", "to": []string{"queue:out"}})
	put("g", map[string]any{"from": "queue:in2", "call": "g"})
	put("p", map[string]any{"from": "queue:in", "call": "f"})
	if status, text := a.call(t, "POST", "/api/v1/flows/p/pause", nil, ""); status != 200 {
		t.Fatalf("pause: %d %s", status, text)
	}
	if err := a.DropQueue("default", "in"); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	delete(cfg.Handlers, "g")
	a.running = start(t, cfg)
	a.until("f has failed", func() bool { return strings.Contains(a.flow("f").Error, "no queue") })
	a.until("g has failed", func() bool { return strings.Contains(a.flow("g").Error, "no function") })
	_, text := a.call(t, "GET", "/api/v1/flows/g/explain", nil, "")
	if !strings.Contains(text, `"state":"failed"`) || !strings.Contains(text, `"code":"function"`) {
		t.Errorf("got %s", text)
	}
	if status, out := a.ask(t, "PUT", "/api/v1/queues/in", map[string]any{}); status != 200 {
		t.Fatalf("put the queue: %d %+v", status, out.Error)
	}
	a.sendTo("in", messages("hey")...)
	if got := string(a.take("out", 1)[0].Body); got != "HEY" {
		t.Errorf("got %s", got)
	}
	if got := a.flow("p").State; got != "paused" {
		t.Errorf("p is %s, want paused", got)
	}
}

// TestDrainIsBounded: a call that takes its time ends, one that does not is cut
// off, and the whole stop takes no longer than it may.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	needPython(t)
	a := &app{t: t, dir: t.TempDir()}
	a.write("main/main.py", "import time\ndef handler(event):\n    print('began', flush=True)\n    time.sleep(event)\n    return event\n")
	a.write("runnel.yaml", "functions: {f: {runtime: python, source: ./main, workers: {max: 2}}}\n"+
		"queues: {in: {}, out: {}}\nflows: {f: {from: queue:in, call: f, to: [queue:out]}}\n")
	cfg := config(t)
	cfg.SpecFile, cfg.DrainTimeout = filepath.Join(a.dir, "runnel.yaml"), 2*time.Second
	a.running = start(t, cfg)
	a.until("the spec is applied", func() bool {
		status, _ := a.call(t, "GET", "/readyz", nil, "")
		return status == 200
	})
	a.sendTo("in", messages("0.5", "600")...)
	a.until("both calls are under way", func() bool {
		_, text := a.call(t, "GET", "/api/v1/logs", nil, "")
		return strings.Count(text, "began") == 2
	})
	begun := time.Now()
	if err := a.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("the stop took %v, want about %v", took, cfg.DrainTimeout)
	}
	a.running = start(t, server.Config{Dir: cfg.Dir, Addr: cfg.Addr, Dev: true, Log: cfg.Log})
	if got := string(a.take("out", 1)[0].Body); got != "0.5" {
		t.Errorf("got %s, want the result of the short call", got)
	}
}

// TestRunEndsDuringADeploy: the server stops while code loads that takes long.
func TestRunEndsDuringADeploy(t *testing.T) {
	t.Parallel()
	needPython(t)
	a := &app{t: t, dir: t.TempDir()}
	sign := filepath.Join(t.TempDir(), "loading")
	// A worker of a server that is root has a user of its own.
	if err := os.Chmod(filepath.Dir(sign), 0o777); err != nil {
		t.Fatal(err)
	}
	a.write("main/main.py", "import time\nopen("+"'"+sign+"', 'w').close()\ntime.sleep(600)\n")
	a.write("runnel.yaml", "functions: {f: {runtime: python, source: ./main}}\n")
	cfg := config(t)
	cfg.SpecFile = filepath.Join(a.dir, "runnel.yaml")
	r := start(t, cfg)
	a.until("it loads", func() bool { _, err := os.Stat(sign); return err == nil })
	if status, _ := r.call(t, "GET", "/readyz", nil, ""); status != 503 {
		t.Errorf("readyz: got %d, want 503 before the file is applied", status)
	}
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
