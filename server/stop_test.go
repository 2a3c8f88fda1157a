package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// TestStopLeavesCallsTheAPI: a function that uses the API in a call that is
// under way when the server is told to stop still reaches it. Its message is
// handled, and no attempt is spent.
func TestStopLeavesCallsTheAPI(t *testing.T) {
	t.Parallel()
	var cfg server.Config
	a := newApp(t, map[string]string{
		"main.py": `
import json, os, time, urllib.request, urllib.error
def ask(path):
    request = urllib.request.Request(os.environ["RUNNEL_URL"] + path, headers={"Authorization": "Bearer " + os.environ["RUNNEL_KEY"]})
    return urllib.request.urlopen(request, timeout=10).read().decode()
def handler(event):
    print("begun")
    while True:
        try:
            ask("/readyz")
        except urllib.error.HTTPError:
            break # the server is being stopped
        time.sleep(0.01)
    return sorted(q["name"] for q in json.loads(ask("/api/v1/queues"))["queues"])
`,
		"runnel.yaml": `
functions: {f: {runtime: python, source: main.py}}
queues: {in: {}, out: {}, dead: {}}
flows: {flow: {from: "queue:in", call: f, to: ["queue:out"], retry: {max_attempts: 1}, dead_letter: "queue:dead"}}
`,
	}, func(c *server.Config) { cfg = *c })
	a.sendTo("in", messages(`1`)...)
	a.until("the call is under way", func() bool {
		_, text := a.call(t, "GET", "/api/v1/logs?function=f", nil, "")
		return strings.Contains(text, "begun")
	})
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	got := bodies(again.receive(t, again.URL()+"/000000000000/out"))
	if len(got) != 1 || got[0] != `["dead","in","out"]` {
		t.Errorf("got %q in out, want the answer", got)
	}
	if dead := again.receive(t, again.URL()+"/000000000000/dead"); len(dead) != 0 {
		t.Errorf("got the dead letter %s", dead[0].Body)
	}
}

// TestBuildsDoNotSeeTheKey: no step of a build reads the key of secrets, nor
// anything else in the data directory.
func TestBuildsDoNotSeeTheKey(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("npm"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("npm is missing: %v", err)
		}
		t.Skip("npm is missing")
	}
	cfg := config(t)
	cfg.SecretKeyFile = filepath.Join(t.TempDir(), "the.key")
	const text = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	if err := os.WriteFile(cfg.SecretKeyFile, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var key server.Key
	r := serving(t, cfg, &key)
	script := "cat " + cfg.SecretKeyFile + " " + filepath.Join(cfg.Dir, "FORMAT") + " || echo not to be read"
	code := archive(t,
		file("index.js", "exports.handler = async (e) => e;"),
		file("package.json", `{"name": "x", "version": "1.0.0", "dependencies": {"tiny": "file:./pkg"}, "scripts": {"preinstall": "`+script+`"}}`),
		file("pkg/package.json", `{"name": "tiny", "version": "1.0.0"}`))
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": map[string]any{"runtime": "node"}, "archive": code}); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	_, log := r.call(t, "GET", "/api/v1/logs?function=default/f&limit=1000", nil, "")
	if strings.Contains(log, text) || strings.Contains(log, "runnel data") {
		t.Errorf("a build read what is secret:\n%s", log)
	}
}

// TestSecretOfVersionsThatAliasesName: a secret with which a version that an
// alias names does not load changes nothing.
func TestSecretOfVersionsThatAliasesName(t *testing.T) {
	t.Parallel()
	needPython(t)
	var key server.Key
	r := serving(t, config(t), &key)
	deploy := func(code string) {
		t.Helper()
		if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": archive(t, file("main.py", code))}); status != 200 {
			t.Fatalf("deploy: %d %+v", status, out.Error)
		}
	}
	r.setSecret(t, "default/f", "TOKEN", "a-good-value")
	deploy("import os\nassert os.environ['TOKEN'].startswith('a-good'), 'a bad token'\ndef handler(event): return 'one'\n")
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f/aliases/stable", map[string]any{"version": "live"}); status != 200 {
		t.Fatalf("alias: %d %+v", status, out.Error)
	}
	deploy("def handler(event): return 'two'\n")
	stable := func() string {
		_, text := r.call(t, "POST", "/api/v1/functions/default/f/invoke?version=stable", nil, "1")
		return strings.TrimSpace(text)
	}
	if got := stable(); got != `"one"` {
		t.Fatalf("got %s", got)
	}
	if status, text := r.trySecret(t, "default/f", "TOKEN", map[string]string{"value": "another-value"}); status == 200 || !strings.Contains(text, "a bad token") {
		t.Errorf("got %d %s, want that it does not load with it", status, text)
	}
	if got := stable(); got != `"one"` {
		t.Errorf("after it: got %s, want the workers that there were", got)
	}
}
