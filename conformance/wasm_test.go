package conformance_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestWASI runs modules that Go compiled for WASI.
func TestWASI(t *testing.T) {
	t.Parallel()
	command, reactor := t.TempDir(), t.TempDir()
	buildGo(t, filepath.Join(command, "main.wasm"), "../internal/worker/wasm/testdata/command", "GOOS=wasip1", "GOARCH=wasm")
	buildGo(t, filepath.Join(reactor, "main.wasm"), "../internal/worker/wasm/testdata/reactor", "GOOS=wasip1", "GOARCH=wasm")
	e := startFunctions(t, fmt.Sprintf(`
functions:
  command: {runtime: wasm, source: %q, memory: 64MiB, timeout: 3s, workers: {max: 1}, env: {GREETING: hello}}
  reactor: {runtime: wasm, source: %q, workers: {max: 1}}
queues:
  in:
  out:
flows:
  command: {from: "queue:in", call: command, to: ["queue:out"], payload: text, batch: {size: 10, window: 10ms}}
`, command, reactor))
	for _, test := range []struct{ function, payload, want string }{
		{"command", "grüße", "grüße"},
		{"command", "env GREETING", "hello"},
		{"command", "read /etc/passwd", "open /etc/passwd: No such file or directory"}, // it sees its own code only
		{"command", "fail boom", "runnel: command failed (error): exit status 3: boom"},
		{"command", "grow", "runnel: command failed (out_of_memory)"},
		{"command", "spin", "runnel: command failed (timeout)"}, // the process is killed
		{"command", "again", "again"},
		{"reactor", "count", "1"},
		{"reactor", "fail no", "runnel: reactor failed (error): no"},
		{"reactor", "count", "3"},
		{"reactor", "print printed by it", ""},
		{"reactor", "trap", "runnel: reactor failed (error): trap: "},
		{"reactor", "count", "1"}, // of a new instance
	} {
		got := e.call(t, test.function, "text", test.payload)
		if got != test.want && (!strings.HasPrefix(test.want, "runnel: ") || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%s %s: got %q, want %q", test.function, test.payload, got, test.want)
		}
	}
	// Once on standard output, once on standard error.
	if got := e.logged(t, "reactor", "printed by it", 2); len(got) != 2 {
		t.Errorf("got %d lines that were printed, want 2", len(got))
	}
	e.command(t, "send", "in", "a", "b", "c", "d")
	if got := strings.Join(e.receive(t, "out", 4), " "); got != "a b c d" {
		t.Errorf("through a flow: got %q, want a b c d", got)
	}
}
