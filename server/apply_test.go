package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answered is what an apply answers, or any error.
type answered struct {
	Changes []struct{ Kind, Name, Action, Detail string }
	Error   struct {
		Code, Message string
		Faults        []struct {
			Path, File, Message string
			Line                int
		}
	}
}

// short is the changes in words.
func (a answered) short() []string {
	out := []string{}
	for _, c := range a.Changes {
		out = append(out, strings.TrimSpace(c.Kind+" "+c.Name+" "+c.Action))
	}
	return out
}

// ask makes a call of the native API with a body of JSON.
func (r *running) ask(t *testing.T, method, path string, in any) (status int, out answered) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	status, text := r.call(t, method, path, map[string][]string{"Content-Type": {"application/json"}}, string(body))
	if text == "" || status == 200 && !strings.HasPrefix(text, `{"changes"`) {
		return status, out // the error of a flow is another one
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return status, out
}

// apply applies a spec file, with the code of its functions in Python.
func (r *running) apply(t *testing.T, name, spec string, code map[string]string, dry bool) (int, answered) {
	t.Helper()
	archives := make(map[string][]byte)
	for _, function := range slices.Sorted(maps.Keys(code)) {
		archives[function] = archive(t, file("main.py", code[function]))
	}
	return r.ask(t, "POST", "/api/v1/apply", map[string]any{"name": name, "spec": spec, "archives": archives, "dry_run": dry})
}

const echo = "def handler(event):\n    return event\n"

// TestApplyFaults: where a fault stands arrives in the parts of the answer.
func TestApplyFaults(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	status, out := r.apply(t, "app.yaml", "queues: {in: {}}\nflows:\n  double:\n    from: queue:inn\n    call: nothing\n", nil, false)
	if status != 400 || out.Error.Code != "invalid" || len(out.Error.Faults) != 2 {
		t.Fatalf("got %d %+v, want 400 with two faults", status, out.Error)
	}
	for i, want := range []struct {
		line          int
		path, message string
	}{{4, "flows.double.from", "there is no queue inn"}, {5, "flows.double.call", "there is no function default/nothing"}} {
		got := out.Error.Faults[i]
		if got.File != "app.yaml" || got.Line != want.line || got.Path != want.path || !strings.HasPrefix(got.Message, want.message) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got := strings.Count(out.Error.Message, "app.yaml:4"); got != 1 {
		t.Errorf("got %q, want the place once", out.Error.Message)
	}
	for _, name := range []string{"/etc/app.yaml", "/" + strings.Repeat("x", 300)} {
		if status, out := r.apply(t, name, "queues: {in: {}}", nil, false); status != 400 {
			t.Errorf("the name %.20s: got %d %+v, want 400", name, status, out)
		}
	}
	if status, out := r.apply(t, "app.yaml", "account: nobody\nqueues: {in: {}}", nil, false); status != 400 || out.Error.Faults[0].Line != 1 {
		t.Errorf("an account that is none: got %d %+v", status, out.Error)
	}
}

// TestApplyDeployFault: a function that does not load says so at its line, and
// the answer says what was deployed all the same.
func TestApplyDeployFault(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	spec := "functions:\n  good: {runtime: python, source: .}\n  bad: {runtime: python, source: .}\nqueues: {in: {}}\n"
	status, out := r.apply(t, "app.yaml", spec, map[string]string{"default/good": echo, "default/bad": "1 +\n"}, false)
	if status != 400 || len(out.Error.Faults) != 1 || out.Error.Faults[0].Line != 3 || !strings.Contains(out.Error.Faults[0].Message, "SyntaxError") {
		t.Fatalf("got %d %+v, want a fault at line 3", status, out.Error)
	}
	if !strings.Contains(out.Error.Message, "1 of 2 functions were not deployed") || !strings.Contains(out.Error.Message, "deployed: default/good") {
		t.Errorf("got %q, want it to say what was deployed", out.Error.Message)
	}
	if status, _ := r.call(t, "GET", "/api/v1/queues/in", nil, ""); status != 404 {
		t.Errorf("the queue was made: got %d", status)
	}
}

// TestApplyDryRun: it says what the apply then does.
func TestApplyDryRun(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	code := map[string]string{"default/a": echo, "default/b": echo}
	first := "functions: {a: {runtime: python, source: .}, b: {runtime: python, source: .}}\nqueues: {in: {}, out: {}, full: {}, used: {}}\n" +
		"flows:\n  one: {from: queue:in, call: a, to: [queue:out]}\n  two: {from: queue:in, call: b}\n"
	both := func(spec string, code map[string]string) []string {
		t.Helper()
		status, dry := r.apply(t, "app.yaml", spec, code, true)
		if status != 200 {
			t.Fatalf("dry run: %d %+v", status, dry.Error)
		}
		status, wet := r.apply(t, "app.yaml", spec, code, false)
		if status != 200 {
			t.Fatalf("apply: %d %+v", status, wet.Error)
		}
		if diff := cmp.Diff(dry.short(), wet.short()); diff != "" {
			t.Errorf("a dry run and the apply differ (-dry +wet):\n%s", diff)
		}
		return wet.short()
	}
	both(first, code)
	app := &app{running: r, t: t}
	app.sendTo("full", messages("1")...)
	if status, out := r.ask(t, "PUT", "/api/v1/flows/mine", map[string]any{"from": "queue:used", "call": "b"}); status != 200 {
		t.Fatalf("put a flow: %d %+v", status, out.Error)
	}
	// b is called by mine, used is read by it, full is not empty.
	got := both("queues: {in: {delay: 1s}}\n", nil)
	want := []string{
		"queue in changed", "flow one removed", "flow two removed",
		"function default/a removed", "function default/b unchanged", "queue full unchanged", "queue out removed", "queue used unchanged",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What was kept for mine is nobody's now; full is looked at again.
	app.take("full", 1)
	if status, out := r.ask(t, "DELETE", "/api/v1/flows/mine", nil); status != 204 {
		t.Fatalf("delete: %d %+v", status, out.Error)
	}
	if status, out := r.ask(t, "DELETE", "/api/v1/functions/default/b", nil); status != 204 {
		t.Errorf("delete the function: %d %+v", status, out.Error)
	}
	if diff := cmp.Diff([]string{"queue in unchanged", "queue full removed"}, both("queues: {in: {delay: 1s}}\n", nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestApplyOfAnotherFile: two files of one name do not remove each other's
// things unawares; two of different names do not change each other's.
func TestApplyOfAnotherFile(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	do := func(name, spec string, want int) answered {
		t.Helper()
		status, out := r.apply(t, name, spec, nil, false)
		if status != want {
			t.Errorf("apply %s %s: got %d %+v, want %d", name, spec, status, out.Error, want)
		}
		return out
	}
	do("runnel.yaml", "queues: {a: {}, b: {}}", 200)
	if out := do("runnel.yaml", "queues: {x: {}}", 409); !strings.Contains(out.Error.Message, "queue default/a, queue default/b") {
		t.Errorf("got %q, want what would be removed", out.Error.Message)
	}
	if out := do("other.yaml", "queues: {a: {}}", 400); !strings.Contains(out.Error.Message, "declared in runnel.yaml") {
		t.Errorf("got %q, want the owner", out.Error.Message)
	}
	do("other.yaml", "queues: {x: {}}", 200)
	do("runnel.yaml", "queues: {b: {}, c: {}}", 200)
	do("runnel.yaml", "", 200)
	do("runnel.yaml", "queues: {d: {}}", 200)
	var left []string
	_, text := r.call(t, "GET", "/api/v1/queues", nil, "")
	var out struct{ Queues []struct{ Name string } }
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	for _, q := range out.Queues {
		left = append(left, q.Name)
	}
	if want := []string{"d", "x"}; !cmp.Equal(left, want) {
		t.Errorf("got %v, want %v", left, want)
	}
}

// TestSpecFileMoves: the file of a server may be called otherwise, or lie
// elsewhere, when it starts again; the API may still not touch what it owns.
func TestSpecFileMoves(t *testing.T) {
	t.Parallel()
	files := map[string]string{"runnel.yaml": "queues: {in: {}, gone: {}}\n"}
	cfg := config(t)
	a := &app{t: t, dir: t.TempDir()}
	a.write("runnel.yaml", files["runnel.yaml"])
	a.write("sub/other.yaml", "queues: {in: {delay: 1s}}\n")
	for _, path := range []string{"runnel.yaml", "sub/other.yaml"} {
		cfg.SpecFile = filepath.Join(a.dir, path)
		a.running = start(t, cfg)
		a.until("the spec is applied", func() bool {
			status, _ := a.call(t, "GET", "/readyz", nil, "")
			return status == 200
		})
		if status, out := a.apply(t, "x.yaml", "queues: {in: {}}", nil, false); status != 400 || !strings.Contains(out.Error.Message, path) {
			t.Errorf("got %d %+v, want 400 that names %s", status, out.Error, path)
		}
		if path != "runnel.yaml" {
			break
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := a.call(t, "GET", "/api/v1/queues/gone", nil, ""); status != 404 {
		t.Errorf("what the file does not declare any more: got %d, want 404", status)
	}
}

// TestApplyAtOnce has files applied, queues changed and the file of the server
// reloaded all at once: each change is whole.
func TestApplyAtOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t, map[string]string{"main/main.py": echo, "runnel.yaml": `
functions: {echo: {runtime: python, source: ./main}}
queues: {in: {}, out: {}}
flows: {echo: {from: queue:in, call: echo, to: [queue:out]}}
`})
	text, err := os.ReadFile(filepath.Join(a.dir, "runnel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		for i := range 10 {
			a.write("runnel.yaml", strings.Replace(string(text), "call: echo", fmt.Sprintf("call: echo, concurrency: %d", i+1), 1))
			if err := a.Reload(t.Context()); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	for n := 0; ; n++ {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			a.sendTo("in", messages("1")...)
			a.take("out", 1)
			if status, text := a.call(t, "GET", "/api/v1/flows/echo", nil, ""); status != 200 || !strings.Contains(text, `"concurrency":10`) {
				t.Errorf("got %d %s, want the last reload", status, text)
			}
			return
		default:
		}
		if status, out := a.apply(t, "other.yaml", fmt.Sprintf("queues: {q%d: {}, stays: {}}\nflows: {f: {from: queue:stays, call: echo}}", n%3), nil, false); status != 200 {
			t.Fatalf("apply: %d %+v", status, out.Error)
		}
		for _, what := range []string{"pause", "resume"} {
			if status, text := a.call(t, "POST", "/api/v1/flows/echo/"+what, nil, ""); status != 200 {
				t.Fatalf("%s: %d %s", what, status, text)
			}
		}
		if _, text := a.call(t, "GET", "/api/v1/flows", nil, ""); strings.Contains(text, `"state":"failed"`) {
			t.Errorf("a flow has failed: %s", text)
		}
	}
}
