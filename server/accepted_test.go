package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
)

// acceptedFlow is what the API says of a flow with ack: accepted.
type acceptedFlow struct {
	State, Ack, Error string
	Backlog           struct{ Visible int }
	Accepted          *struct {
		Queue          string
		Total, Visible int
	}
	Stats flowStats
}

func (a *app) acceptedFlow(name string) (out acceptedFlow) {
	a.t.Helper()
	_, text := a.call(a.t, "GET", "/api/v1/flows/"+name, nil, "")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		a.t.Fatalf("%v in %s", err, text)
	}
	return out
}

func (a *app) putFlow(name string, flow map[string]any) {
	a.t.Helper()
	if status, out := a.ask(a.t, "PUT", "/api/v1/flows/"+name, flow); status != 200 {
		a.t.Fatalf("put %s: %d %+v", name, status, out.Error)
	}
}

// gate is a handler whose calls wait until it is open, and which fails for what
// begins with "bad".
type gate struct {
	open chan struct{} // closed when calls may end
}

func (g gate) handler() runnel.Handler {
	return runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
		select {
		case <-g.open:
		case <-ctx.Done():
			return runnel.Result{}, context.Cause(ctx)
		}
		if strings.HasPrefix(string(m.Body), "bad") {
			return runnel.Result{}, fmt.Errorf("%s is bad", m.Body)
		}
		return runnel.Result{Out: []runnel.Message{{Body: m.Body, Key: m.Key}}}, nil
	})
}

// TestAckAccepted: messages are settled before the function has seen them, and
// what was accepted is done after a restart, once, with the source for the place
// that dead letters came from.
func TestAckAccepted(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("queues"+suffix, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			cfg.DrainTimeout = 200 * time.Millisecond
			cfg.Handlers = map[string]runnel.Handler{"f": gate{make(chan struct{})}.handler()}
			a := &app{t: t, running: start(t, cfg)}
			for _, name := range []string{"in", "out"} {
				if status, out := a.ask(t, "PUT", "/api/v1/queues/"+name+suffix, map[string]any{}); status != 200 {
					t.Fatalf("%d %+v", status, out.Error)
				}
			}
			a.putFlow("f", map[string]any{"from": "queue:in" + suffix, "call": "f", "to": []string{"queue:out" + suffix}, "ack": "accepted", "concurrency": 1, "retry": map[string]any{"max_attempts": 1}})
			const n = 30
			var ms []runnel.Message
			for i := range n {
				body := fmt.Sprint(i)
				if i%10 == 9 {
					body = "bad" + body
				}
				ms = append(ms, runnel.Message{Body: []byte(body), Key: "k", DedupID: fmt.Sprint(i)})
			}
			a.sendTo("in"+suffix, ms...)
			held := "f-accepted" + suffix
			a.until("all is accepted", func() bool { return a.depth("in"+suffix) == 0 && a.depth(held) == n })
			a.until("the figures say so", func() bool {
				f := a.acceptedFlow("f")
				return f.Ack == "accepted" && f.Accepted != nil && f.Accepted.Queue == held && f.Accepted.Total == n && f.Accepted.Visible >= n-10 && f.Backlog.Visible == f.Accepted.Visible
			})

			// The queue goes with its flow.
			_, text := a.call(t, "GET", "/api/v1/queues/"+held, nil, "")
			if !strings.Contains(text, `"owner_file":"flow:f"`) || !strings.Contains(text, `"runnel:accepted-by":"f"`) {
				t.Errorf("the queue: %s", text)
			}
			if status, text := a.call(t, "DELETE", "/api/v1/queues/"+held+"?force=true", nil, ""); status != 409 || !strings.Contains(text, "what the flow f has accepted") {
				t.Errorf("delete: %d %s", status, text)
			}
			url := a.URL() + "/000000000000/" + held
			if status, text := a.trySQS(t, "DeleteQueue", map[string]string{"QueueUrl": url}); status != 400 && status != 403 {
				t.Errorf("DeleteQueue: %d %s", status, text)
			}
			if status, text := a.trySQS(t, "SetQueueAttributes", map[string]any{"QueueUrl": url, "Attributes": map[string]string{"MessageRetentionPeriod": "60"}}); status == 200 {
				t.Errorf("SetQueueAttributes: %s", text)
			}

			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			open := make(chan struct{})
			close(open)
			cfg.Handlers["f"] = gate{open}.handler()
			a.running = start(t, cfg)
			got := a.take("out"+suffix, n-n/10)
			for i, d := range got {
				if want := fmt.Sprint(i + i/9); suffix != "" && string(d.Body) != want {
					t.Errorf("result %d is %s, want %s", i, d.Body, want)
				}
			}
			a.until("the others are dead letters", func() bool { return a.depth("f-dead"+suffix) == n/10 && a.depth(held) == 0 })
			_, text = a.call(t, "GET", "/api/v1/queues/f-dead"+suffix+"/messages", nil, "")
			if got := strings.Count(text, `"source":"queue:in`+suffix+`"`); got != n/10 || !strings.Contains(text, "bad9 is bad") {
				t.Errorf("%d dead letters of the source: %s", got, text)
			}
			if f := a.acceptedFlow("f"); f.Stats.Handled != n-n/10 || f.Stats.DeadLettered != n/10 || f.Accepted.Total != 0 {
				t.Errorf("figures: %+v, accepted %+v", f.Stats, f.Accepted)
			}

			// Without messages it is deleted with the flow.
			if status, text := a.call(t, "DELETE", "/api/v1/flows/f", nil, ""); status != 204 {
				t.Fatalf("delete: %d %s", status, text)
			}
			if status, text := a.call(t, "GET", "/api/v1/queues/"+held, nil, ""); status != 404 {
				t.Errorf("the queue is there: %d %s", status, text)
			}
		})
	}
}

// TestAcceptedStays: what a flow has accepted is never deleted. It is nobody's
// when the flow is no more, and a flow of the same name takes it up.
func TestAcceptedStays(t *testing.T) {
	t.Parallel()
	g := gate{make(chan struct{})}
	a := &app{t: t, dir: t.TempDir()}
	cfg := config(t)
	cfg.DrainTimeout = 200 * time.Millisecond
	cfg.Handlers = map[string]runnel.Handler{"f": g.handler()}
	a.running = start(t, cfg)
	for _, name := range []string{"in", "out", "taken-accepted"} {
		a.createQueue(t, name)
	}
	flow := func(ack string) map[string]any {
		return map[string]any{"from": "queue:in", "call": "f", "to": []string{"queue:out"}, "ack": ack, "concurrency": 1}
	}
	for _, ack := range []string{"done", "accepted"} {
		want := map[string]int{"done": 200, "accepted": 409}[ack]
		if status, text := a.call(t, "PUT", "/api/v1/flows/taken", map[string][]string{"Content-Type": {"application/json"}},
			`{"from": "queue:in", "call": "f", "ack": "`+ack+`"}`); status != want && !(want == 409 && status == 400 && strings.Contains(text, "not this flow's own")) {
			t.Errorf("ack %s: %d %s", ack, status, text)
		}
	}
	if status, text := a.call(t, "DELETE", "/api/v1/flows/taken", nil, ""); status != 204 {
		t.Fatalf("delete: %d %s", status, text)
	}
	owner := func() string {
		_, text := a.call(t, "GET", "/api/v1/queues/f-accepted", nil, "")
		var q struct {
			OwnerFile string `json:"owner_file"`
		}
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return q.OwnerFile
	}
	accept := func(want int, bodies ...string) {
		t.Helper()
		a.putFlow("f", flow("accepted"))
		a.sendTo("in", messages(bodies...)...)
		a.until("they are accepted", func() bool { return a.depth("in") == 0 && a.depth("f-accepted") == want })
		if got := owner(); got != "flow:f" {
			t.Errorf("the queue is of %q", got)
		}
	}
	accept(3, "a", "b", "c")
	a.putFlow("f", flow("done"))
	if a.depth("f-accepted") != 3 || owner() != "" {
		t.Errorf("after the change to done: %d messages, of %q", a.depth("f-accepted"), owner())
	}
	accept(5, "d", "e")
	if status, text := a.call(t, "DELETE", "/api/v1/flows/f", nil, ""); status != 204 {
		t.Fatalf("delete: %d %s", status, text)
	}
	if a.depth("f-accepted") != 5 || owner() != "" {
		t.Errorf("after the removal: %d messages, of %q", a.depth("f-accepted"), owner())
	}

	// A server that was killed in between has left an owner that is no more.
	if err := a.PutDocument(t.Context(), "owner", "queue/default/f-accepted", `{"file":"flow:f"}`); err != nil {
		t.Fatal(err)
	}
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	a.running = start(t, cfg)
	a.until("the queue is nobody's", func() bool { return owner() == "" })

	// Paused, nothing is accepted; explain says so.
	accept(6, "f")
	if status, text := a.call(t, "POST", "/api/v1/flows/f/pause", nil, ""); status != 200 {
		t.Fatalf("pause: %d %s", status, text)
	}
	a.sendTo("in", messages("g")...)
	if _, text := a.call(t, "GET", "/api/v1/flows/f/explain", nil, ""); !strings.Contains(text, `"state":"paused"`) {
		t.Errorf("explain: %s", text)
	}
	if a.depth("in") != 1 || a.depth("f-accepted") != 6 {
		t.Errorf("while paused: %d in the source, %d accepted", a.depth("in"), a.depth("f-accepted"))
	}
	close(g.open)
	if status, text := a.call(t, "POST", "/api/v1/flows/f/resume", nil, ""); status != 200 {
		t.Fatalf("resume: %d %s", status, text)
	}
	got := ""
	for _, d := range a.take("out", 7) {
		got += string(d.Body)
	}
	for _, c := range "abcdefg" {
		if strings.Count(got, string(c)) != 1 {
			t.Errorf("results %q: %c is there %d times", got, c, strings.Count(got, string(c)))
		}
	}
}

// TestAckAcceptedInASpec: a spec file has the fields, and is refused where a
// queue is in the way.
func TestAckAcceptedInASpec(t *testing.T) {
	t.Parallel()
	const spec = "queues: {in: {}, out: {}}\nflows: {f: {from: queue:in, call: f, to: [queue:out], ack: accepted, timeout: 7s}}\n"
	a := newGoApp(t, spec, strings.ToUpper)
	a.sendTo("in", messages("hey")...)
	if got := string(a.take("out", 1)[0].Body); got != "HEY" {
		t.Errorf("got %s", got)
	}
	_, text := a.call(t, "GET", "/api/v1/flows/f", nil, "")
	for _, want := range []string{`"ack":"accepted"`, `"timeout":"7s"`, `"total":1`} {
		if !strings.Contains(text, want) {
			t.Errorf("the flow has no %s: %s", want, text)
		}
	}
	a.createQueue(t, "g-accepted")
	status, out := a.apply(t, "other", "flows: {g: {from: queue:in, call: f, ack: accepted}}\n", nil, false)
	if status == 200 || len(out.Error.Faults) != 1 || !strings.Contains(out.Error.Faults[0].Path, "flows.g") || !strings.Contains(out.Error.Faults[0].Message, "not this flow's own") {
		t.Errorf("got %d %+v", status, out.Error)
	}
	for _, wrong := range []string{"ack: soon", "timeout: 13h", "payload: algorithmia, batch: {size: 2}", "payload: algorithmia, batch: {as: list}"} {
		if status, out := a.apply(t, "other", "flows: {g: {from: queue:in, call: f, "+wrong+"}}\n", nil, true); status != 400 || len(out.Error.Faults) != 1 {
			t.Errorf("%s: %d %+v", wrong, status, out.Error)
		}
	}
}
