package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/runnel-io/runnel"
)

// TestStandardKeys: what needs an admin is refused, and what is another
// account's is not there.
func TestStandardKeys(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	cfg.Dev = false
	r := start(t, cfg)
	admin, standard := r.Keys()[0], r.Keys()[1]
	r.key = admin
	code := archive(t, file("main.py", "def handler(event):\n    print('secret of the team')\n"))
	definition := map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": code}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/team/spy", definition); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	if status, text := r.call(t, "POST", "/api/v1/functions/team/spy/invoke", nil, "1"); status != 204 {
		t.Fatalf("invoke: %d %s", status, text)
	}
	if status, out := r.ask(t, "PUT", "/api/v1/queues/in", map[string]any{}); status != 200 {
		t.Fatalf("put a queue: %d %+v", status, out.Error)
	}
	flow := map[string]any{"from": "queue:in", "call": "team/spy"}
	spec := func(name, text string) map[string]any { return map[string]any{"name": name, "spec": text} }
	if status, out := r.apply(t, "admin.yaml", "functions: {good: {runtime: python, source: .}}", map[string]string{"default/good": echo}, false); status != 200 {
		t.Fatalf("apply: %d %+v", status, out.Error)
	}
	lines := func() string {
		_, text := r.call(t, "GET", "/api/v1/logs?tail=1000", nil, "")
		return text
	}
	if text := lines(); !strings.Contains(text, "secret of the team") {
		t.Errorf("an admin does not see it: %s", text)
	}

	r.key = standard
	if text := lines(); strings.Contains(text, "secret") || strings.Contains(text, "team/spy") {
		t.Errorf("another account sees lines: %s", text)
	}
	if _, text := r.call(t, "GET", "/api/v1/logs?function=team/spy", nil, ""); strings.Contains(text, "secret") {
		t.Errorf("by name it does: %s", text)
	}
	for _, test := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"PUT", "functions/default/mine", definition, 403},
		{"PUT", "functions/team/spy", definition, 403},
		{"DELETE", "functions/team/spy", nil, 403},
		{"POST", "apply", spec("a.yaml", "functions: {mine: {runtime: python, source: .}}"), 403},
		{"POST", "apply", spec("a.yaml", "account: team\nqueues: {theirs: {}}"), 403},
		{"POST", "apply", spec("a.yaml", "flows: {spy: {from: queue:in, call: team/spy}}"), 400},
		{"POST", "apply", spec("admin.yaml", "queues: {mine: {}}"), 403},
		{"POST", "apply", spec("admin.yaml", ""), 403},
		{"POST", "apply", spec("mine.yaml", "queues: {mine: {}}"), 200},
		{"POST", "apply", spec("mine.yaml", ""), 200},
		{"POST", "reload", nil, 403},
		{"GET", "functions/team/spy", nil, 404},
		{"POST", "functions/team/spy/invoke", 1, 404},
		{"PUT", "flows/spy", flow, 400},
	} {
		if status, out := r.ask(t, test.method, "/api/v1/"+test.path, test.body); status != test.status {
			t.Errorf("%s %s: got %d %+v, want %d", test.method, test.path, status, out.Error, test.status)
		}
	}
	r.key = admin
	if status, out := r.ask(t, "PUT", "/api/v1/flows/spy", flow); status != 200 {
		t.Errorf("an admin's flow: got %d %+v", status, out.Error)
	}
}

// TestPutFaults: what is wrong with a flow or a queue is said with its field,
// and nothing is made.
func TestPutFaults(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	r.createQueue(t, "in")
	for _, test := range []struct {
		path  string
		body  map[string]any
		paths string
	}{
		{"flows/f", map[string]any{"from": "queue:in", "call": "nothing", "filter": "1 +", "to": []string{"queue:nowhere"}}, "filter call to[0]"},
		{"flows/f", map[string]any{"from": "queue:nowhere", "call": "nothing"}, "call from"},
		{"flows/f", map[string]any{"from": "kafka:a/b", "call": "nothing", "dead_letter": "queue:nowhere"}, "call from dead_letter"},
		{"flows/f", map[string]any{"from": "queue:in", "call": "nothing", "dead_letter": "queue:in"}, "call dead_letter"},
		{"flows/f", map[string]any{"from": "queue:in", "call": "a/b/c"}, "call"},
		{"queues/q", map[string]any{"max_message": 10, "retention": "1s"}, "retention max_message"},
		{"queues/q", map[string]any{"dead_letter": map[string]any{"queue": "q"}}, "dead_letter.queue"},
		{"queues/q", map[string]any{"dead_letter": map[string]any{"queue": "nowhere", "max_receives": 1001}}, "dead_letter.queue dead_letter.max_receives"},
		{"queues/" + strings.Repeat("q", 81), map[string]any{}, "name"},
	} {
		status, out := r.ask(t, "PUT", "/api/v1/"+test.path, test.body)
		var paths []string
		for _, f := range out.Error.Faults {
			paths = append(paths, f.Path)
		}
		if got := strings.Join(paths, " "); status != 400 || got != test.paths {
			t.Errorf("%s %v: got %d, faults of %s (%s), want %s", test.path, test.body, status, got, out.Error.Message, test.paths)
		}
	}
	_, text := r.call(t, "GET", "/api/v1/queues", nil, "")
	if strings.Contains(text, `"q"`) || strings.Contains(text, "f-dead") {
		t.Errorf("something was made: %s", text)
	}
}

// TestInvokePanic: the panic of a Go handler is its failure.
func TestInvokePanic(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.SessionLimit = 1
	cfg.Handlers = map[string]runnel.Handler{"panics": handlerOf(func(string) string { panic("at the disco") })}
	r := start(t, cfg)
	for range 2 { // the place is given back
		if status, text := r.call(t, "POST", "/api/v1/functions/default/panics/invoke", nil, "1"); status != 422 || !strings.Contains(text, "at the disco") {
			t.Errorf("got %d %s, want 422", status, text)
		}
	}
}

// TestRedrive moves dead letters back, and says why one is not moved.
func TestRedrive(t *testing.T) {
	t.Parallel()
	a := newGoApp(t, "queues: {in: {}, out: {}}\nflows: {f: {from: queue:in, call: f, to: [queue:out], retry: {max_attempts: 1}}}\n", func(body string) string { panic(body) })
	a.sendTo("in", messages("1")...)
	a.until("it is a dead letter", func() bool { return a.depth("f-dead") == 1 })
	var list struct {
		Queues []struct {
			Queue   string
			Visible int
			Flows   []string
		}
	}
	_, text := a.call(t, "GET", "/api/v1/dead-letters", nil, "")
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Queues) != 1 || list.Queues[0].Queue != "f-dead" || list.Queues[0].Visible != 1 || list.Queues[0].Flows[0] != "f" {
		t.Errorf("got %s %v, want one queue of f with one", text, err)
	}
	position := a.peekAll("f-dead")[0].Position
	redrive := func(to string) string {
		status, text := a.call(t, "POST", "/api/v1/dead-letters/f-dead/redrive", map[string][]string{"Content-Type": {"application/json"}},
			fmt.Sprintf(`{"positions": [%d, 9999], "to": %q}`, position, to))
		return fmt.Sprint(status, " ", text)
	}
	if got := redrive("nowhere"); !strings.HasPrefix(got, "404 ") {
		t.Errorf("to a queue that is none: got %s", got)
	}
	a.sendTo("f-dead", messages("sent by hand")...)
	byHand := a.peekAll("f-dead")[1].Position
	if _, text := a.call(t, "POST", "/api/v1/dead-letters/f-dead/redrive", map[string][]string{"Content-Type": {"application/json"}},
		fmt.Sprintf(`{"positions": [%d]}`, byHand)); !strings.Contains(text, "is no dead letter: say where it should go") {
		t.Errorf("got %s", text)
	}
	if got := redrive("out"); !strings.Contains(got, fmt.Sprintf(`"moved":[%d]`, position)) || !strings.Contains(got, `"position":9999`) {
		t.Errorf("got %s, want one moved and one not", got)
	}
	if got := string(a.take("out", 1)[0].Body); got != "1" {
		t.Errorf("got %s", got)
	}
	if status, text := a.call(t, "GET", "/api/v1/dead-letters/f-dead?filter="+url.QueryEscape(`type == "x"`), nil, ""); status != 200 {
		t.Errorf("got %d %s", status, text)
	}
}
