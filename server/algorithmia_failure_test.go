package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// gated is code that loads while its gate is open.
const gated = `
import os, urllib.request
urllib.request.urlopen(os.environ["GATE"]).read()
def handler(event):
    if event == "exit":
        os._exit(3)
    if event == "fill":
        return len(bytearray(1 << 30))
    return event
`

// TestAlgoOfBrokenCode: what a worker cannot do is said as Algorithmia's errors
// of the platform, and a process that ended takes no other call along.
func TestAlgoOfBrokenCode(t *testing.T) {
	t.Parallel()
	r, one, _ := callers(t, nil, nil)
	var closed atomic.Bool
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if closed.Load() {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer gate.Close()
	r.puts(t, "default/gated", gated, map[string]any{"env": map[string]string{"GATE": gate.URL}, "memory": 256 << 20, "workers": map[string]any{"max": 1}})
	r.publish(t, "default/gated", `{"version_type":"minor"}`)
	expect := func(path, input string, status int, within ...string) {
		t.Helper()
		got, text := one.algo(t, path, input)
		if got != status {
			t.Errorf("%s %q: got %d %s, want %d", path, input, got, text, status)
		}
		for _, want := range within {
			if !strings.Contains(text, want) {
				t.Errorf("%s %q: got %s, want %s in it", path, input, text, want)
			}
		}
	}
	expect("default/gated", "fill", 200, `"error_type":"OutOfMemoryError"`)
	expect("default/gated", "exit", 200, `"error_type":"SystemExit"`)
	expect("default/gated", "Neo", 200, `{"result":"Neo"`)
	closed.Store(true)
	expect("default/gated", "exit", 200, `"error_type":"SystemExit"`)
	expect("default/gated?timeout=1", "Neo", 200, `"error_type":"LoadingError"`, "418")
	closed.Store(false)
	expect("default/gated", "Neo", 200, `{"result":"Neo"`)
}

// TestAlgoVoidHoldsItsPlace: a call that nobody waits for has its place among
// those of the account until it has ended.
func TestAlgoVoidHoldsItsPlace(t *testing.T) {
	t.Parallel()
	_, one, _ := callers(t, func(cfg *server.Config) { cfg.SessionLimit = 1 }, map[string]any{"timeout": "60s"})
	arrived, release := make(chan struct{}), make(chan struct{})
	gate := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		close(arrived) // a second call would panic
		select {
		case <-release:
		case <-req.Context().Done():
		}
	}))
	defer gate.Close()
	input := fmt.Sprintf(`{"count": %q}`, gate.URL)
	if status, got := one.algo(t, "default/manners?output=void", input, http.Header{"Content-Type": {"application/json"}}); status != 200 {
		t.Fatalf("got %d %s", status, got)
	}
	<-arrived
	for _, output := range []string{"", "?output=raw", "?output=void"} {
		if status, got := one.algo(t, "default/manners"+output, "Neo"); status != 429 {
			t.Errorf("%q beside it: got %d %s, want 429", output, status, got)
		}
	}
	close(release)
	a := &app{running: one, t: t}
	a.until("its place is free again", func() bool {
		status, _ := one.algo(t, "default/manners", "Neo")
		return status == 200
	})
}
