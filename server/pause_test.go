package server_test

import (
	"strings"
	"testing"
)

// TestPauseQueue: through the native API and in a spec file. A pause that a
// file says nothing about stays over an apply of it, and a file that says
// something has the last word.
func TestPauseQueue(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := start(t, cfg)
	pause := func(action string) {
		t.Helper()
		if status, body := r.call(t, "POST", "/api/v1/queues/images/"+action, nil, ""); status != 200 || !strings.Contains(body, `"paused":`+map[string]string{"pause": "true", "resume": "false"}[action]) {
			t.Fatalf("%s: got %d %s", action, status, body)
		}
	}
	wantPaused := func(what string, want bool) {
		t.Helper()
		_, body := r.call(t, "GET", "/api/v1/queues/images", nil, "")
		if got := strings.Contains(body, `"paused":true`); got != want {
			t.Errorf("%s: paused is %v, want %v", what, got, want)
		}
	}
	apply := func(spec string) {
		t.Helper()
		if status, out := r.apply(t, "app.yaml", spec, nil, false); status != 200 {
			t.Fatalf("apply: %d %+v", status, out.Error)
		}
	}
	url := r.createQueue(t, "images")
	apply("queues: {images: {}}")
	pause("pause")
	r.send(t, url, "a")
	if got := r.receive(t, url); len(got) != 0 {
		t.Errorf("received %v of a paused queue", got)
	}
	apply("queues: {images: {visibility_timeout: 10s}}")
	wantPaused("after an apply that says nothing", true)
	if status, body := r.call(t, "PUT", "/api/v1/queues/images", map[string][]string{"Content-Type": {"application/json"}}, `{"paused": false}`); status != 409 {
		t.Errorf("a PUT to a queue of a file: got %d %s", status, body)
	}
	pause("resume")
	apply("queues: {images: {visibility_timeout: 10s, paused: true}}")
	wantPaused("after an apply with paused: true", true)
	pause("resume")
	apply("queues: {images: {visibility_timeout: 10s, paused: true}}")
	wantPaused("after the same apply again", true)
	apply("queues: {images: {visibility_timeout: 10s}}")
	wantPaused("after an apply that says it no more", true)

	if _, text := r.call(t, "GET", "/metrics", nil, ""); !strings.Contains(text, `runnel_queue_paused{account="default",queue="images"} 1`) {
		t.Error("the pause is not in the metrics")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	wantPaused("after a restart", true)
	apply("queues: {images: {paused: false}}")
	wantPaused("after an apply with paused: false", false)
	if got := bodies(r.receive(t, url)); len(got) != 1 || got[0] != "a" {
		t.Errorf("after the pause: received %v", got)
	}
	free := r.createQueue(t, "free")
	if status, body := r.call(t, "POST", "/api/v1/queues/free/pause", nil, ""); status != 200 {
		t.Fatal(body)
	}
	r.sqs(t, "SetQueueAttributes", map[string]any{"QueueUrl": free, "Attributes": map[string]string{"DelaySeconds": "0"}}, nil)
	if _, body := r.call(t, "GET", "/api/v1/queues/free", nil, ""); !strings.Contains(body, `"paused":true`) {
		t.Errorf("SetQueueAttributes has ended the pause: %s", body)
	}
	if status, body := r.call(t, "POST", "/api/v1/queues/nothing/pause", nil, ""); status != 404 {
		t.Errorf("pause of no queue: got %d %s", status, body)
	}
}

// TestPauseSource: a flow whose queue is paused takes nothing, and says why.
func TestPauseSource(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	status, out := r.apply(t, "app.yaml", "functions: {echo: {runtime: python, source: .}}\nqueues: {in: {paused: true}, out: {}}\n"+
		"flows: {echo: {from: queue:in, call: echo, to: [queue:out]}}\n", map[string]string{"default/echo": echo}, false)
	if status != 200 {
		t.Fatalf("apply: %d %+v", status, out.Error)
	}
	a := &app{running: r, t: t}
	a.sendTo("in", messages("1")...)
	_, body := r.call(t, "GET", "/api/v1/flows/echo/explain", nil, "")
	contains(t, body, `"state":"paused"`, "the queue in is paused: runnel queue resume in")
	if n := a.stats("echo").Received; n != 0 {
		t.Errorf("the flow received %d messages of a paused queue", n)
	}
	if status, body := r.call(t, "POST", "/api/v1/queues/in/resume", nil, ""); status != 200 {
		t.Fatal(body)
	}
	a.take("out", 1)
}
