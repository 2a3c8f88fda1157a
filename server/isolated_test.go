package server_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// reaching is a function that says what it reaches: the API, and an address.
const reaching = `
import json, os, socket, urllib.request
def handler(event):
    out = {}
    try:
        request = urllib.request.Request(os.environ["RUNNEL_URL"] + "/api/v1/queues", headers={"Authorization": "Bearer " + os.environ["RUNNEL_KEY"]})
        out["api"] = [q["name"] for q in json.load(urllib.request.urlopen(request, timeout=10))["queues"]]
    except Exception as e:
        out["api"] = repr(e)
    try:
        host, port = event.rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=5).close()
        out["other"] = "reached"
    except OSError as e:
        out["other"] = type(e).__name__
    return out
`

// TestIsolated: a function with an isolated network reaches Runnel's API, as
// its account, and nothing else. One with a full network reaches both.
func TestIsolated(t *testing.T) {
	t.Parallel()
	needPython(t)
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("networks of their own are for root servers on Linux")
	}
	var key server.Key
	r := serving(t, config(t), &key)
	r.createQueue(t, "mine")
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, tt := range []struct{ network, want string }{
		{"isolated", `{"api":["mine"],"other":"ConnectionRefusedError"}`},
		{"full", `{"api":["mine"],"other":"reached"}`},
	} {
		definition := map[string]any{"runtime": "python", "network": tt.network}
		if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": definition, "archive": archive(t, file("main.py", reaching))}); status != 200 {
			t.Fatalf("deploy: %d %+v", status, out.Error)
		}
		if status, text := r.called(t, "default/f", `"`+other.Addr().String()+`"`); status != 200 || strings.TrimSpace(text) != tt.want {
			t.Errorf("%s: got %d %s, want %s", tt.network, status, text, tt.want)
		}
	}
}

// TestBreakerIsAState: a flow whose function ceases to start says so in its
// state, and goes on by itself when the cause has gone.
func TestBreakerIsAState(t *testing.T) {
	t.Parallel()
	switched := filepath.Join(t.TempDir(), "off")
	a := newApp(t, map[string]string{
		"main.py": "import os\nif os.path.exists('" + switched + "'): raise RuntimeError('switched off')\n" +
			"def handler(event):\n    if event == 'die': os._exit(1)\n    return event\n",
		"runnel.yaml": `
functions: {f: {runtime: python, source: main.py, workers: {max: 1}}}
queues: {in: {}, out: {}}
flows: {flow: {from: "queue:in", call: f, to: ["queue:out"]}}
`,
	})
	if err := os.WriteFile(switched, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a.called(t, "default/f", `"die"`) // its worker is to be replaced
	a.sendTo("in", messages(`"hello"`)...)
	state := func() string {
		_, text := a.call(t, "GET", "/api/v1/flows/flow", nil, "")
		return text
	}
	a.until("the flow has the state breaker", func() bool {
		text := state()
		return strings.Contains(text, `"state":"breaker"`) && strings.Contains(text, "switched off")
	})
	if err := os.Remove(switched); err != nil {
		t.Fatal(err)
	}
	a.until("the message is answered", func() bool { return len(a.receive(t, a.URL()+"/000000000000/out")) == 1 })
	if text := state(); !strings.Contains(text, `"state":"running"`) {
		t.Errorf("got %s, want running", text)
	}
}
