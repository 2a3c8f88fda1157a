package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// asks tells which of the private algorithms its worker's key may call, with a
// client that was made when the code was loaded.
const asks = `
import Algorithmia
client = Algorithmia.client()
def handler(event):
    found = []
    for ref in event:
        try:
            found.append(client.algo(ref + "/latestPrivate").pipe(None).result)
        except Exception as e:
            found.append(str(e))
    return found
`

// bootstrap is the same as a program that asks the Runtime API for its calls.
const bootstrap = `#!/usr/bin/env python3
import json, os
from http.client import HTTPConnection
from urllib.parse import urlsplit

api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
path = "/2018-06-01/runtime/invocation/"
headers = {"Authorization": "Bearer " + os.environ["RUNNEL_KEY"], "Content-Type": "application/json"}
while True:
    api.request("GET", path + "next")
    event = api.getresponse()
    refs = json.loads(event.read())
    found = []
    for ref in refs:
        server = HTTPConnection(urlsplit(os.environ["RUNNEL_URL"]).netloc)
        server.request("POST", "/v1/algo/" + ref + "/latestPrivate", "null", headers)
        answer = json.loads(server.getresponse().read())
        found.append(answer["result"] if "result" in answer else answer["error"]["message"])
    api.request("POST", path + event.getheader("Lambda-Runtime-Aws-Request-Id") + "/response", json.dumps(found))
    api.getresponse().read()
`

// hidden makes algorithms that only their owners may call, and that answer with
// their name.
func (r *running) hidden(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		r.puts(t, name, "def handler(event): return '"+name+"'", nil)
		r.publish(t, name, `{"version_type":"minor","private":true}`)
	}
}

// TestPassOfFlow: in a call of a flow the key of a worker acts for the flow's
// account, and not for the owner of the function.
func TestPassOfFlow(t *testing.T) {
	t.Parallel()
	r, _, _ := callers(t, nil, nil)
	r.hidden(t, "default/hidden")
	r.puts(t, "one/asks", asks, map[string]any{"timeout": "60s"})
	in, out := r.createQueue(t, "in"), r.createQueue(t, "out")
	if status, got := r.ask(t, "PUT", "/api/v1/flows/f", map[string]any{"from": "queue:in", "call": "one/asks", "to": []string{"queue:out"}}); status != 200 {
		t.Fatalf("put the flow: %d %+v", status, got.Error)
	}
	r.send(t, in, `["default/hidden", "two/private"]`)
	var got []string
	a := &app{running: r, t: t}
	a.until("the flow has answered", func() bool {
		got = bodies(r.receive(t, out))
		return len(got) > 0
	})
	var found []string
	if err := json.Unmarshal([]byte(got[0]), &found); err != nil || len(found) != 2 || found[0] != "default/hidden" || !strings.Contains(found[1], "not found") {
		t.Errorf("got %s, want that of the flow's account, and none of another's", got[0])
	}
}

// TestPassByTransport: it is so by the Runtime API as well.
func TestPassByTransport(t *testing.T) {
	t.Parallel()
	r, one, two := callers(t, nil, nil)
	r.hidden(t, "default/hidden")
	boot := file("bootstrap", bootstrap)
	boot.Mode = 0o755
	definition := map[string]any{"runtime": "exec", "transport": "runtime-api", "handler": "./bootstrap", "timeout": "60s"}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/asks", map[string]any{"definition": definition, "archive": archive(t, boot)}); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	r.publish(t, "default/asks", `{"version_type":"minor"}`)
	for want, who := range map[string]*running{"one/private": one, "two/private": two} {
		const refs = `["one/private", "two/private"]`
		status, text := who.algo(t, "default/asks", refs, http.Header{"Content-Type": {"application/json"}})
		var got struct{ Result []string }
		if err := json.Unmarshal([]byte(text), &got); status != 200 || err != nil || len(got.Result) != 2 {
			t.Fatalf("got %d %s", status, text)
		}
		i := slices.Index(got.Result, "here")
		if i < 0 || want != []string{"one/private", "two/private"}[i] || !strings.Contains(got.Result[1-i], "not found") {
			t.Errorf("got %q, want an answer of %s alone", got.Result, want)
		}
	}
}
