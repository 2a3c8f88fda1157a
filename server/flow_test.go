package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is missing: install Python 3.8 or newer")
		}
		t.Skip("python3 is missing")
	}
}

// app is a server with a spec file, and the files of its functions.
type app struct {
	*running
	t   *testing.T
	dir string
}

// newApp writes the files, the spec among them, and runs a server on them.
func newApp(t *testing.T, files map[string]string, change ...func(*server.Config)) *app {
	t.Helper()
	needPython(t)
	a := &app{t: t, dir: t.TempDir()}
	for name, text := range files {
		a.write(name, text)
	}
	cfg := config(t)
	cfg.SpecFile = filepath.Join(a.dir, "runnel.yaml")
	for _, f := range change {
		f(&cfg)
	}
	a.running = start(t, cfg)
	a.until("the spec is applied", func() bool {
		status, _ := a.call(t, "GET", "/readyz", nil, "")
		return status == 200
	})
	return a
}

func (a *app) write(name, text string) {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// until waits for something to be so.
func (a *app) until(what string, so func() bool) {
	a.t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(deadline) {
			a.t.Fatalf("after a minute it is not so that %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// send sends bodies to a queue.
func (a *app) sendTo(queue string, ms ...runnel.Message) {
	a.t.Helper()
	sink, err := a.Broker("default").Sink(queue)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := sink.Send(a.t.Context(), ms); err != nil {
		a.t.Fatal(err)
	}
}

func messages(bodies ...string) []runnel.Message {
	ms := make([]runnel.Message, len(bodies))
	for i, body := range bodies {
		ms[i].Body = []byte(body)
	}
	return ms
}

// take receives and acks n messages of a queue, or fails after a minute.
func (a *app) take(queue string, n int) []runnel.Delivery {
	a.t.Helper()
	source, err := a.Broker("default").Source(queue)
	if err != nil {
		a.t.Fatal(err)
	}
	defer source.Close(a.t.Context())
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	var out []runnel.Delivery
	for len(out) < n {
		ds, err := source.Receive(ctx, runnel.Limits{Messages: n - len(out), Wait: 20 * time.Second})
		if err != nil {
			a.t.Fatalf("receive from %s: %v, after %d of %d messages", queue, err, len(out), n)
		}
		ss := make([]runnel.Settlement, len(ds))
		for i := range ds {
			ss[i] = runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Ack}
		}
		if err := source.Settle(ctx, ss); err != nil {
			a.t.Fatal(err)
		}
		out = append(out, ds...)
	}
	return out
}

// depth is how many messages a queue holds, in any state.
func (a *app) depth(queue string) int {
	a.t.Helper()
	source, err := a.Broker("default").Source(queue)
	if err != nil {
		a.t.Fatal(err)
	}
	b, err := source.(runnel.Backlogger).Backlog(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return int(b.Visible + b.InFlight + b.Delayed)
}

// flowStats are the figures of a flow, as the API gives them.
type flowStats struct {
	Received     int
	Handled      int
	Published    int
	Retried      int
	Released     int
	DeadLettered int `json:"dead_lettered"`
	LeaseLost    int `json:"lease_lost"`
}

func (a *app) stats(flow string) flowStats {
	a.t.Helper()
	_, text := a.call(a.t, "GET", "/api/v1/flows/"+flow, nil, "")
	var out struct{ Stats flowStats }
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		a.t.Fatalf("%v in %s", err, text)
	}
	return out.Stats
}

const doubleSpec = `
functions:
  double: {runtime: python, source: ./double, workers: {max: 2}}
queues:
  in: {visibility_timeout: 5s, dead_letter: {queue: dead, max_receives: 3}}
  out: {}
  dead: {}
flows:
  double:
    from: queue:in
    call: double
    to: [queue:out]
    retry: {max_attempts: 3, initial: 10ms, max: 20ms}
`

// TestFlowOverload gives a flow more than its workers can take, for longer
// than several visibility timeouts: being busy must not cost a message
// anything. RUNNEL_SOAK=1 makes it a minute.
func TestFlowOverload(t *testing.T) {
	t.Parallel()
	lasts := 13 * time.Second
	if os.Getenv("RUNNEL_SOAK") != "" {
		lasts = time.Minute
	}
	a := newApp(t, map[string]string{
		"double/main.py": "import time\ndef handler(event):\n    time.sleep(0.02)\n    return event\n",
		"runnel.yaml":    doubleSpec,
	})
	// Two workers take 100 messages a second; ten times as many come.
	const tick = 50 * time.Millisecond
	sent := 0
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for start := time.Now(); time.Since(start) < lasts; {
		<-ticker.C
		batch := make([]string, 50)
		for i := range batch {
			batch[i] = strconv.Itoa(sent)
			sent++
		}
		a.sendTo("in", messages(batch...)...)
	}
	s := a.stats("double")
	left, done, dead := a.depth("in"), a.depth("out"), a.depth("dead")
	t.Logf("%d sent in %v, %d done, %d left, %+v", sent, lasts, done, left, s)
	if dead != 0 || s.DeadLettered != 0 || s.Retried != 0 || s.LeaseLost != 0 {
		t.Errorf("got %d dead letters, %d attempts spent, %d leases lost; want none", dead, s.Retried, s.LeaseLost)
	}
	if done < 50*int(lasts.Seconds()) || left < done {
		t.Errorf("%d done and %d left: that is no overload of 10 to 1", done, left)
	}
	// The workers' results and what waits are all there is.
	status, _ := a.call(t, "POST", "/api/v1/flows/double/pause", nil, "")
	if status != 200 {
		t.Fatalf("pause: %d", status)
	}
	a.until("the calls under way have ended", func() bool {
		_, text := a.call(t, "GET", "/api/v1/queues/in", nil, "")
		return strings.Contains(text, `"in_flight":0`)
	})
	// What is one commit is counted in one queue after the other.
	a.until("every message waits or is done", func() bool { return a.depth("in")+a.depth("out") == sent })
	for _, d := range a.peekAll("in") {
		if d.Failures != 0 || d.Receives != 0 {
			t.Fatalf("message %d: got %d failures and %d receives, want none", d.Position, d.Failures, d.Receives)
		}
	}
}

// peeked is a message as the API shows it.
type peeked struct {
	Position           int64
	ID                 string
	Receives, Failures int
	Body               string
	DeadLetter         *runnel.DeadLetter `json:"dead_letter"`
}

func (a *app) peekAll(queue string) (out []peeked) {
	a.t.Helper()
	after := ""
	for {
		status, text := a.call(a.t, "GET", "/api/v1/queues/"+queue+"/messages?limit=100"+after, nil, "")
		var page struct {
			Messages []peeked
			Next     *int64
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != 200 {
			a.t.Fatalf("got %d %s, %v", status, text, err)
		}
		out = append(out, page.Messages...)
		if page.Next == nil {
			return out
		}
		after = fmt.Sprintf("&after=%d", *page.Next)
	}
}

// TestFlowCrash sends a message that kills its worker every time, among
// others, in batches: it ends as a dead letter, and they lose nothing.
func TestFlowCrash(t *testing.T) {
	a := newApp(t, map[string]string{
		"double/main.py": "import os\ndef handler(event):\n    if event == 13:\n        os.abort()\n    return event\n",
		"runnel.yaml":    doubleSpec + "    batch: {size: 10}\n",
	})
	var bodies []string
	for i := range 100 {
		bodies = append(bodies, strconv.Itoa(i))
	}
	a.sendTo("in", messages(bodies...)...)
	got := make(map[string]int)
	for _, d := range a.take("out", 99) {
		got[string(d.Body)]++
	}
	for _, body := range bodies {
		if want := 1; body != "13" && got[body] != want {
			t.Errorf("message %s has %d results, want %d", body, got[body], want)
		}
	}
	a.until("the killer is a dead letter", func() bool { return a.depth("dead") == 1 && a.depth("in") == 0 })
	dead := a.peekAll("dead")[0]
	if dead.Body != "13" || dead.DeadLetter.Type != runnel.KindCrash || dead.DeadLetter.Attempts != 3 {
		t.Errorf("got %q %+v, want 13 as a crash after 3 attempts", dead.Body, dead.DeadLetter)
	}
	if s := a.stats("double"); s.DeadLettered != 1 || s.Retried != 2 {
		t.Errorf("got %+v, want 1 dead letter and 2 retries", s)
	}
}

// TestFlowFailures has a handler fail in each way, and looks at what the dead
// letters say.
func TestFlowFailures(t *testing.T) {
	t.Parallel()
	a := newApp(t, map[string]string{
		"double/main.py": `
import time
from runnel import Reject, RetryAfter

def handler(event, context):
    what = event["do"]
    if what == "raise":
        raise KeyError("size")
    if what == "reject":
        raise Reject("no such product")
    if what == "sleep":
        time.sleep(60)
    if what == "retry":
        if context.attempt < 3:
            raise RetryAfter(0.01)
        return {"attempt": context.attempt}
    if what == "object":
        return object()
    if what == "large":
        return "x" * 100000
    if what == "print":
        print({"printed": True})
    if what == "null":
        return None
`,
		"runnel.yaml": strings.Replace(doubleSpec, "source: ./double", "source: ./double, timeout: 1s, max_output: 64KiB", 1),
	})
	for _, test := range []struct {
		body, kind string
		attempts   int
		says       string
		stack      string
	}{
		{`{"do": "raise"}`, runnel.KindError, 3, "KeyError: 'size'", "main.py\", line 8"},
		{`{"do": "reject"}`, runnel.KindRejected, 1, "no such product", ""},
		{`{"do": "sleep"}`, runnel.KindTimeout, 3, "1s", ""},
		{`{"do": "object"}`, runnel.KindOutput, 1, "object", ""},
		{`{"do": "large"}`, runnel.KindOutput, 1, "65536", ""},
		{`not json`, runnel.KindUndecodable, 1, "JSON", ""},
	} {
		t.Run(test.kind+" "+test.body, func(t *testing.T) {
			a.sendTo("in", messages(test.body)...)
			d := a.take("dead", 1)[0]
			dead := d.DeadLetter
			if dead == nil {
				t.Fatal("the dead letter has no reason")
			}
			if string(d.Body) != test.body || dead.Type != test.kind || dead.Attempts != test.attempts ||
				!strings.Contains(dead.Message, test.says) || !strings.Contains(dead.Stack, test.stack) {
				t.Errorf("got %q %+v", d.Body, dead)
			}
			if dead.Flow != "double" || dead.Function != "default/double" || dead.Source != "queue:in" || dead.First.IsZero() || dead.Last.Before(dead.First) {
				t.Errorf("got %+v", dead)
			}
		})
	}
	// These succeed, and the worker has survived all of the above.
	a.sendTo("in", messages(`{"do": "retry"}`)...)
	if got := string(a.take("out", 1)[0].Body); got != `{"attempt":3}` {
		t.Errorf("after two wishes to come again: got %s", got)
	}
	a.sendTo("in", messages(`{"do": "print"}`, `{"do": "null"}`)...)
	a.until("both have been handled", func() bool { return a.depth("in") == 0 })
	if out, dead := a.depth("out"), a.depth("dead"); out != 0 || dead != 0 {
		t.Errorf("null published %d messages and %d dead letters", out, dead)
	}
	if _, text := a.call(t, "GET", "/api/v1/logs?tail=50", nil, ""); !strings.Contains(text, "printed") {
		t.Errorf("what was printed is not in the log: %s", text)
	}
}

// TestReload changes the code 200 times while messages flow: no message is
// handled by a version that was not live when its call began, none is lost.
func TestReload(t *testing.T) {
	t.Parallel()
	code := func(n int) string {
		return fmt.Sprintf("import time\nVERSION = %d\ndef handler(event):\n    began = time.time_ns()\n    return [event, VERSION, began]\n", n)
	}
	a := newApp(t, map[string]string{"double/main.py": code(0), "runnel.yaml": doubleSpec})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending sync.WaitGroup
	sent := 0
	sending.Go(func() {
		for ctx.Err() == nil {
			var bodies []string
			for range 20 {
				bodies = append(bodies, strconv.Itoa(sent))
				sent++
			}
			a.sendTo("in", messages(bodies...)...)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	// When each version became live at the earliest, and ceased to be at the
	// latest, by the wall clock, which the handlers read too.
	const reloads = 200
	from, to := make([]time.Time, reloads+1), make([]time.Time, reloads+1)
	from[0] = time.Now()
	for n := 1; n <= reloads; n++ {
		a.write("double/main.py", code(n))
		from[n] = time.Now() // not before
		if err := a.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		to[n-1] = time.Now() // the old one not after
	}
	stop()
	sending.Wait()
	to[reloads] = time.Now().Add(time.Hour)
	seen := make(map[string]int)
	versions := make(map[int]bool)
	for _, d := range a.take("out", sent) {
		var result [3]json.Number
		if err := json.Unmarshal(d.Body, &result); err != nil {
			t.Fatalf("%s: %v", d.Body, err)
		}
		version, err1 := strconv.Atoi(result[1].String())
		began, err2 := result[2].Int64()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		seen[result[0].String()]++
		versions[version] = true
		// The handler begins after its call, on a busy machine by much: that no
		// call at all begins late is tested, without a clock, in
		// internal/function.
		if at := time.Unix(0, began); at.Before(from[version].Round(0)) || at.After(to[version].Round(0).Add(2*time.Second)) {
			t.Errorf("version %d handled a message at %v, and was live from %v to %v", version, at, from[version], to[version])
		}
	}
	for n := range sent {
		if seen[strconv.Itoa(n)] != 1 {
			t.Errorf("message %d has %d results", n, seen[strconv.Itoa(n)])
		}
	}
	if in, dead := a.depth("in"), a.depth("dead"); in != 0 || dead != 0 {
		t.Errorf("%d messages are stuck, %d dead", in, dead)
	}
	t.Logf("%d messages, handled by %d of %d versions", sent, len(versions), reloads+1)
	if len(versions) < reloads/4 {
		t.Errorf("only %d versions handled anything: the test did not do what it is for", len(versions))
	}
}

// TestReloadFaults: what is wrong with the new spec or the new code leaves
// what runs as it was.
func TestReloadFaults(t *testing.T) {
	a := newApp(t, map[string]string{"double/main.py": "def handler(event):\n    return 2 * event\n", "runnel.yaml": doubleSpec})
	works := func() {
		t.Helper()
		a.sendTo("in", messages("21")...)
		if got := string(a.take("out", 1)[0].Body); got != "42" {
			t.Errorf("got %s, want 42", got)
		}
	}
	works()
	for _, test := range []struct {
		name, file, text string
		want             []string
	}{
		{"code", "double/main.py", "def handler(event:\n", []string{"runnel.yaml:3: functions.double: ", "SyntaxError", "main.py"}},
		{"import", "double/main.py", "import nothing_like_that\n", []string{"ModuleNotFoundError", "nothing_like_that"}},
		{"no handler", "double/main.py", "x = 1\n", []string{"handler"}},
		{"spec", "runnel.yaml", doubleSpec + "    batchh: {size: 3}\n    concurrency: many\n", []string{"runnel.yaml:14: ", "batchh", "runnel.yaml:15: ", "concurrency"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, err := os.ReadFile(filepath.Join(a.dir, test.file))
			if err != nil {
				t.Fatal(err)
			}
			a.write(test.file, test.text)
			err = a.Reload(t.Context())
			a.write(test.file, string(old))
			if err == nil {
				t.Fatal("the reload succeeded")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to have %q", err, want)
				}
			}
			works()
		})
	}
}

// TestReloadRemoves: what a file declares no more goes, but for a queue that
// holds messages; the API may not touch what a file owns.
func TestReloadRemoves(t *testing.T) {
	a := newApp(t, map[string]string{"double/main.py": "def handler(event):\n    return event\n", "runnel.yaml": doubleSpec})
	for _, path := range []string{"/api/v1/flows/double", "/api/v1/queues/in", "/api/v1/functions/default/double"} {
		if status, text := a.call(t, "DELETE", path, nil, ""); status != 409 || !strings.Contains(text, "runnel.yaml") {
			t.Errorf("delete %s: got %d %s, want 409 that names the file", path, status, text)
		}
	}
	a.sendTo("in", messages("1")...)
	a.until("there is a result", func() bool { return a.depth("out") == 1 })
	a.write("runnel.yaml", "queues: {other: {}}\n")
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, text := a.call(t, "GET", "/api/v1/stats", nil, "")
	var now struct {
		Flows, Functions []struct{ Name string }
		Queues           []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(text), &now); err != nil {
		t.Fatal(err)
	}
	var queues []string
	for _, q := range now.Queues {
		queues = append(queues, q.Name)
	}
	if len(now.Flows) != 0 || len(now.Functions) != 0 || strings.Join(queues, " ") != "other out" {
		t.Errorf("got %s, want the queues other and out only", text)
	}
}

// TestFlowGo runs a flow with a Go handler, and one that is given up by it.
func TestFlowGo(t *testing.T) {
	a := newApp(t, map[string]string{"runnel.yaml": `
queues: {in: {}, out: {}}
flows:
  shout: {from: queue:in, call: shout, to: [queue:out]}
`}, func(cfg *server.Config) {
		cfg.Handlers = map[string]runnel.Handler{"shout": runnel.HandlerFunc(func(_ context.Context, m runnel.Message) (runnel.Result, error) {
			if string(m.Body) == "quiet" {
				return runnel.Result{}, runnel.Reject("not loud")
			}
			return runnel.Result{Out: []runnel.Message{{Body: []byte(strings.ToUpper(string(m.Body)))}}}, nil
		})}
	})
	a.sendTo("in", messages("hey", "quiet")...)
	if got := string(a.take("out", 1)[0].Body); got != "HEY" {
		t.Errorf("got %s", got)
	}
	_, text := a.call(t, "GET", "/metrics", nil, "")
	for _, want := range []string{
		`runnel_flow_received_total{account="default",flow="shout"} 2`,
		`runnel_flow_handled_total{account="default",flow="shout"} 1`,
		`runnel_flow_stage_seconds_count{account="default",flow="shout",stage="run"} 2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	if d := a.take("shout-dead", 1)[0]; string(d.Body) != "quiet" || d.DeadLetter.Type != runnel.KindRejected || d.DeadLetter.Message != "not loud" {
		t.Errorf("got %q %+v", d.Body, d.DeadLetter)
	}
}

// TestOwnedQueueAtSQS: the SQS door refuses what the native one refuses.
func TestOwnedQueueAtSQS(t *testing.T) {
	a := newApp(t, map[string]string{"double/main.py": "def handler(event):\n    return event\n", "runnel.yaml": doubleSpec})
	for action, in := range map[string]map[string]any{
		"DeleteQueue":        {"QueueUrl": a.URL() + "/000000000000/in"},
		"SetQueueAttributes": {"QueueUrl": a.URL() + "/000000000000/in", "Attributes": map[string]string{"VisibilityTimeout": "77"}},
	} {
		if status, text := a.trySQS(t, action, in); status != 403 || !strings.Contains(text, "AccessDenied") || !strings.Contains(text, "runnel.yaml") {
			t.Errorf("%s: got %d %s, want AccessDenied that names the file", action, status, text)
		}
	}
	// The flow makes no queue its own that it only uses.
	status, text := a.call(t, "PUT", "/api/v1/queues/mine", nil, "{}")
	if status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	if status, text = a.call(t, "PUT", "/api/v1/flows/other", nil, `{"from":"queue:mine","call":"double"}`); status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	url := map[string]any{"QueueUrl": a.URL() + "/000000000000/mine"}
	if status, text := a.trySQS(t, "DeleteQueue", url); status != 403 || !strings.Contains(text, "other") {
		t.Errorf("delete of a queue in use: got %d %s", status, text)
	}
	if status, text = a.call(t, "DELETE", "/api/v1/flows/other", nil, ""); status/100 != 2 {
		t.Fatalf("got %d %s", status, text)
	}
	a.sqs(t, "DeleteQueue", url, nil)
}

// TestExplainLater: what comes again later is explained, with the reason.
func TestExplainLater(t *testing.T) {
	a := newApp(t, map[string]string{
		"double/main.py": "import time\ndef handler(event):\n    if event == 'slow':\n        time.sleep(3600)\n    raise ValueError('not today')\n",
		"runnel.yaml": `
functions:
  double: {runtime: python, source: ./double, workers: {max: 1}, timeout: 1h}
queues: {in: {}, slow: {}}
flows:
  later: {from: "queue:in", call: double, retry: {initial: 1h, max: 1h}}
  busy: {from: "queue:slow", call: double, when_busy: requeue, requeue_delay: 2h}
`,
	}, func(cfg *server.Config) { cfg.DrainTimeout = time.Second })
	explain := func(flow string) string {
		_, text := a.call(t, "GET", "/api/v1/flows/"+flow+"/explain", nil, "")
		return text
	}
	a.sendTo("in", messages(`1`)...)
	a.until("the failure is explained", func() bool {
		text := explain("later")
		return strings.Contains(text, `"code":"back_off"`) && strings.Contains(text, "not today") && strings.Contains(text, `"state":"idle"`) && !strings.Contains(text, `"empty"`)
	})
	a.sendTo("slow", messages(`"slow"`, `"slow"`)...)
	a.until("the missing worker is explained", func() bool {
		text := explain("busy")
		return strings.Contains(text, `"code":"busy"`) && strings.Contains(text, "no free worker") && strings.Contains(text, "1h59m")
	})
}

// TestStartWithBrokenCode: a server that is started again with code that was
// broken meanwhile runs the version that it has.
func TestStartWithBrokenCode(t *testing.T) {
	dir := t.TempDir()
	inDir := func(cfg *server.Config) { cfg.Dir = dir }
	a := newApp(t, map[string]string{"double/main.py": "def handler(event):\n    return 2 * event\n", "runnel.yaml": doubleSpec}, inDir)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b := newApp(t, map[string]string{"double/main.py": "def handler(event) return\n", "runnel.yaml": doubleSpec}, inDir)
	b.sendTo("in", messages("21")...)
	if got := string(b.take("out", 1)[0].Body); got != "42" {
		t.Errorf("got %s, want 42", got)
	}
	if err := b.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "SyntaxError") {
		t.Errorf("got %v, want the syntax error", err)
	}
}
