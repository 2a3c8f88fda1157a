package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
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
