package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/server"
)

// environment is a function that returns its environment, or does what its
// event says with the variable TOKEN.
const environment = `
import os
def handler(event):
    if event == "env":
        return dict(os.environ)
    if event == "print":
        return print("the token is", os.environ["TOKEN"])
    if event == "raise":
        raise ValueError("refused: " + os.environ["TOKEN"])
    if event == "die":
        os.write(2, ("bye " + os.environ["TOKEN"] + "\n").encode())
        os._exit(3)
    if event == "pid":
        return os.getpid()
    if event.startswith("/"):
        try:
            return open(event).read()
        except OSError as e:
            return type(e).__name__
    return os.environ.get("TOKEN")
`

// serving is a server with keys, called by its admin.
func serving(t *testing.T, cfg server.Config, key *server.Key) *running {
	t.Helper()
	cfg.Dev = false
	r := start(t, cfg)
	if len(r.Keys()) > 0 {
		*key = r.Keys()[0]
	}
	r.key = *key
	return r
}

func (r *running) deploy(t *testing.T, name string, env map[string]string, more ...map[string]any) (int, answered) {
	t.Helper()
	def := map[string]any{"runtime": "python", "env": env, "workers": map[string]any{"max": 2}}
	for _, m := range more {
		for k, v := range m {
			def[k] = v
		}
	}
	return r.ask(t, "PUT", "/api/v1/functions/"+name, map[string]any{"definition": def, "archive": archive(t, file("main.py", environment))})
}

func (r *running) mustDeploy(t *testing.T, name string, env map[string]string, more ...map[string]any) {
	t.Helper()
	if status, out := r.deploy(t, name, env, more...); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
}

func (r *running) setSecret(t *testing.T, function, name, value string) {
	t.Helper()
	if status, text := r.trySecret(t, function, name, map[string]string{"value": value}); status != 200 {
		t.Fatalf("set a secret: %d %s", status, text)
	}
}

func (r *running) trySecret(t *testing.T, function, name string, body map[string]string) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return r.call(t, "PUT", "/api/v1/functions/"+function+"/secrets/"+name, map[string][]string{"Content-Type": {"application/json"}}, string(text))
}

func (r *running) called(t *testing.T, function, payload string) (int, string) {
	t.Helper()
	status, text := r.call(t, "POST", "/api/v1/functions/"+function+"/invoke", nil, payload)
	return status, strings.TrimSpace(text)
}

// holding returns which files below a directory hold a text.
func holding(t *testing.T, dir, text string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSecretsAreNowhere looks for a secret, and for a value of env, in all that
// a server writes and says.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	needPython(t)
	const token, variable, described = "s3cr3t-of-the-function", "value-of-the-variable", "a-description-in-clear"
	cfg := config(t)
	var log lockedBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var key server.Key
	r := serving(t, cfg, &key)
	var said strings.Builder
	say := func(method, path, body string) {
		_, text := r.call(t, method, path, map[string][]string{"Content-Type": {"application/json"}}, body)
		said.WriteString(text + "\n")
	}
	say("PUT", "/api/v1/functions/default/f/secrets/TOKEN", `{"value":"`+token+`","description":"`+described+`"}`)
	r.mustDeploy(t, "default/f", map[string]string{"VARIABLE": variable, "TOKEN": "goes under"})
	say("PUT", "/api/v1/functions/default/f/secrets/TOKEN", `{"value":"`+token+`","description":"`+described+`","more":1}`)
	say("PUT", "/api/v1/functions/default/f/secrets/TOKEN", `{"value":["`+token+`"]}`)
	say("PUT", "/api/v1/functions/default/f/secrets/bad-name", `{"value":"`+token+`"}`)
	if _, got := r.called(t, "default/f", `"token"`); got != `"`+token+`"` {
		t.Fatalf("the function has %s", got)
	}
	if status, out := r.ask(t, "PUT", "/api/v1/queues/in", map[string]any{}); status != 200 {
		t.Fatalf("put a queue: %d %+v", status, out.Error)
	}
	if status, out := r.ask(t, "PUT", "/api/v1/flows/fails", map[string]any{"from": "queue:in", "call": "f", "retry": map[string]any{"max_attempts": 1}}); status != 200 {
		t.Fatalf("put a flow: %d %+v", status, out.Error)
	}
	for _, what := range []string{"print", "raise", "die"} {
		say("POST", "/api/v1/functions/default/f/invoke", `"`+what+`"`)
	}
	r.send(t, r.URL()+"/"+accountOf(t, r)+"/in", `"raise"`, `"die"`)
	a := &app{running: r, t: t}
	a.until("the dead letters are there", func() bool {
		_, text := r.call(t, "GET", "/api/v1/dead-letters/fails-dead", nil, "")
		return strings.Count(text, `"attempts":`) == 2
	})
	for _, path := range []string{
		"functions", "functions/default/f", "functions/default/f/secrets", "flows", "flows/fails", "flows/fails/explain", "stats",
		"logs?tail=1000", "dead-letters", "dead-letters/fails-dead", "queues/fails-dead/messages",
	} {
		say("GET", "/api/v1/"+path, "")
	}
	say("GET", "/metrics", "")
	if !strings.Contains(said.String(), "refused: ***") || !strings.Contains(said.String(), "the token is ***") || !strings.Contains(said.String(), "bye ***") {
		t.Errorf("no masked value in what was said:\n%s", said.String())
	}
	_, backup := r.call(t, "GET", "/api/v1/backup", nil, "")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	keyFile, err := os.ReadFile(filepath.Join(cfg.Dir, "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(keyFile)), "\n")
	keyText := lines[len(lines)-1]
	for _, value := range []string{token, variable, key.Secret} {
		for where, text := range map[string]string{"answers": said.String(), "log": log.String(), "backup": backup} {
			for _, spelled := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
				if i := strings.Index(text, spelled); i >= 0 {
					t.Errorf("%s: holds %s: ...%s", where, spelled, text[max(0, i-200):i])
				}
			}
		}
		if found := holding(t, cfg.Dir, value); len(found) > 0 {
			t.Errorf("%s is in %q", value, found)
		}
	}
	if strings.Contains(backup, keyText) || strings.Contains(backup, "secret.key") {
		t.Error("the backup has the key")
	}
	// What is in clear is found by the same search.
	if len(holding(t, cfg.Dir, described)) == 0 || !strings.Contains(backup, described) {
		t.Error("the description is not found either: the search finds nothing")
	}
	if info, err := os.Stat(filepath.Join(cfg.Dir, "secret.key")); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}

	// A server from the backup refuses keys, and says what it lacks, until it has
	// the key file. So does a function whose secrets do not open.
	restored := cfg
	restored.Dir = t.TempDir()
	extract(t, backup, restored.Dir)
	again := serving(t, restored, &key)
	status, out := again.deploy(t, "default/f", nil)
	if status != 503 || !strings.Contains(out.Error.Message, "secret.key, is missing: put it back and start the server again") {
		t.Errorf("a request without the key file: %d %+v", status, out.Error)
	}
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(restored.Dir, "secret.key"), string(keyFile))
	again = serving(t, restored, &key)
	if err := os.Remove(filepath.Join(restored.Dir, "secret.key")); err != nil {
		t.Fatal(err)
	}
	again.mustDeploy(t, "default/plain", nil)
	status, out = again.deploy(t, "default/f", nil)
	if status != 503 || !strings.Contains(out.Error.Message, "secret.key, is missing") {
		t.Errorf("deploy without the key file: %d %+v", status, out.Error)
	}
	write(t, filepath.Join(restored.Dir, "secret.key"), string(keyFile))
	again.mustDeploy(t, "default/f", nil)
	if _, got := again.called(t, "default/f", `"token"`); got != `"`+token+`"` {
		t.Errorf("with the key the restored function has %s", got)
	}
}

// accountOf is the number of the account that a server's key is of.
func accountOf(t *testing.T, r *running) string {
	t.Helper()
	url := r.createQueue(t, "which-account")
	parts := strings.Split(url, "/")
	return parts[len(parts)-2]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestSecretChangesUnderLoad: no call fails, and one that begins after the
// change has the new value.
func TestSecretChangesUnderLoad(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	r.setSecret(t, "default/f", "TOKEN", "value-0")
	r.mustDeploy(t, "default/f", nil)
	var least, calls atomic.Int64
	var stop atomic.Bool
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			for !stop.Load() {
				from := least.Load()
				status, text := r.called(t, "default/f", `"token"`)
				var n int64
				if _, err := fmt.Sscanf(text, `"value-%d"`, &n); status != 200 || err != nil || n < from {
					t.Errorf("after the value %d: %d %s", from, status, text)
					return
				}
				calls.Add(1)
			}
		})
	}
	a := &app{running: r, t: t}
	for i := int64(1); i <= 5; i++ {
		before := calls.Load()
		a.until("calls are made", func() bool { return calls.Load() > before+20 || t.Failed() })
		r.setSecret(t, "default/f", "TOKEN", fmt.Sprintf("value-%d", i))
		least.Store(i)
	}
	stop.Store(true)
	callers.Wait()
	// Removed, it is gone from the workers.
	if status, text := r.call(t, "DELETE", "/api/v1/functions/default/f/secrets/TOKEN", nil, ""); status != 204 {
		t.Errorf("delete: %d %s", status, text)
	}
	if status, text := r.called(t, "default/f", `"token"`); status != 204 {
		t.Errorf("after its removal: %d %s", status, text)
	}
}

// TestSecretRules: what is refused, who may do what, and what goes with the
// function.
func TestSecretRules(t *testing.T) {
	t.Parallel()
	needPython(t)
	var key server.Key
	cfg := config(t)
	cfg.Dev = false
	r := start(t, cfg)
	key, standard := r.Keys()[0], r.Keys()[1]
	r.key = key
	long := strings.Repeat("v", 64<<10)
	for _, test := range []struct {
		function, name string
		body           map[string]string
		status         int
		want           string
	}{
		{"default/f", "A", map[string]string{"value": long}, 200, `{"name":"A","description":"","updated":"`},
		{"default/f", "_b2", map[string]string{"value": "x", "description": "of the store"}, 200, `{"name":"_b2","description":"of the store","updated":"`},
		{"default/f", "A", map[string]string{"value": long + "v"}, 400, "at most 64 KiB"},
		{"default/f", "A", map[string]string{"value": ""}, 400, "is empty"},
		{"default/f", "A", map[string]string{"value": "a\x00b"}, 400, "is not text"},
		{"default/f", "A", map[string]string{"value": "***"}, 400, "send the value"},
		{"default/f", "A", map[string]string{"value": "x", "description": strings.Repeat("d", 257)}, 400, "at most 256"},
		{"default/f", "2A", map[string]string{"value": "x"}, 400, "is not the name of an environment variable"},
		{"default/f", "A=B", map[string]string{"value": "x"}, 400, "is not the name of an environment variable"},
		{"default/f", strings.Repeat("A", 101), map[string]string{"value": "x"}, 400, "is not the name of an environment variable"},
		{"default/f.g", "A", map[string]string{"value": "x"}, 400, "name"},
	} {
		if status, text := r.trySecret(t, test.function, test.name, test.body); status != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s of %s: got %d %.200s, want %d with %q", test.name, test.function, status, text, test.status, test.want)
		}
	}
	for i := range 98 {
		r.setSecret(t, "default/f", fmt.Sprintf("S%d", i), "x")
	}
	if status, text := r.trySecret(t, "default/f", "ONE_MORE", map[string]string{"value": "x"}); status != 429 {
		t.Errorf("the 101st secret: %d %s", status, text)
	}
	r.setSecret(t, "default/f", "A", "short now")
	list := func() (int, string) { return r.call(t, "GET", "/api/v1/functions/default/f/secrets", nil, "") }
	if status, text := list(); status != 200 || strings.Count(text, `"name"`) != 100 || !strings.HasPrefix(text, `{"secrets":[{"name":"A",`) {
		t.Errorf("list: %d %.300s", status, text)
	}

	// A standard key sees the names of its account and changes nothing.
	r.key = standard
	if status, _ := list(); status != 200 {
		t.Errorf("list with a standard key: %d", status)
	}
	if status, text := r.trySecret(t, "default/f", "A", map[string]string{"value": "x"}); status != 403 {
		t.Errorf("set with a standard key: %d %s", status, text)
	}
	if status, text := r.call(t, "DELETE", "/api/v1/functions/default/f/secrets/A", nil, ""); status != 403 {
		t.Errorf("delete with a standard key: %d %s", status, text)
	}
	if status, _ := r.call(t, "GET", "/api/v1/functions/team/f/secrets", nil, ""); status != 404 {
		t.Errorf("list of another account: %d", status)
	}

	// They go with the function.
	r.key = key
	r.mustDeploy(t, "default/f", nil)
	if status, text := r.call(t, "DELETE", "/api/v1/functions/default/f", nil, ""); status != 204 {
		t.Fatalf("delete the function: %d %s", status, text)
	}
	if status, text := list(); status != 404 {
		t.Errorf("list after the function: %d %s", status, text)
	}
	if status, text := r.call(t, "DELETE", "/api/v1/functions/default/f/secrets/A", nil, ""); status != 404 {
		t.Errorf("delete what is gone: %d %s", status, text)
	}
}

// TestSecretThatCodeDoesNotLoadWith is stored, and the old workers go on.
func TestSecretThatCodeDoesNotLoadWith(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	r.setSecret(t, "default/f", "TOKEN", "good-value")
	code := archive(t, file("main.py", "import os\nif 'bad' in os.environ['TOKEN']:\n    raise ValueError('what is ' + os.environ['TOKEN'])\ndef handler(event):\n    return os.environ['TOKEN']\n"))
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": code}); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	status, text := r.trySecret(t, "default/f", "TOKEN", map[string]string{"value": "bad-value"})
	if status != 400 || !strings.Contains(text, "the secret is stored, but new workers do not start") || !strings.Contains(text, "what is ***") || strings.Contains(text, "bad-value") {
		t.Errorf("got %d %s", status, text)
	}
	if _, got := r.called(t, "default/f", "1"); got != `"good-value"` {
		t.Errorf("the old workers answer %s", got)
	}
	r.setSecret(t, "default/f", "TOKEN", "better-value")
	if _, got := r.called(t, "default/f", "1"); got != `"better-value"` {
		t.Errorf("the new workers answer %s", got)
	}
}

// TestSecretKeys takes the key away, changes it, and brings it back.
func TestSecretKeys(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	cfg.SecretKeyFile = filepath.Join(t.TempDir(), "keys")
	line := func(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n" }
	write(t, cfg.SecretKeyFile, line(1))
	r := start(t, cfg)
	r.setSecret(t, "default/f", "TOKEN", "the-token")
	r.mustDeploy(t, "default/f", map[string]string{"VARIABLE": "the-variable"})
	r.mustDeploy(t, "default/env", map[string]string{"TOKEN": "of-env"})
	r.mustDeploy(t, "default/plain", nil)
	// Workers cannot read the file, where the kernel can keep them from it.
	if _, text := r.call(t, "GET", "/api/v1/functions/default/f", nil, ""); strings.Contains(text, `"in_force":true,"how":"landlock`) {
		if _, got := r.called(t, "default/f", `"`+cfg.SecretKeyFile+`"`); got != `"PermissionError"` {
			t.Errorf("a worker reads the key file: %s", got)
		}
		// Nor what the kernel shows of the environment of another function.
		_, pid := r.called(t, "default/f", `"pid"`)
		if _, got := r.called(t, "default/plain", `"/proc/`+pid+`/environ"`); got != `"PermissionError"` {
			t.Errorf("a worker reads the environment of another: %s", got)
		}
	} else {
		t.Logf("this kernel hides no files: %s", text)
	}
	restart := func(keys string) {
		t.Helper()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(cfg.SecretKeyFile); err != nil && keys == "" {
			t.Fatal(err)
		}
		if keys != "" {
			write(t, cfg.SecretKeyFile, keys)
		}
		r = start(t, cfg)
	}
	answers := func(what string, want map[string]string) {
		t.Helper()
		for name, part := range want {
			if _, text := r.called(t, name, `"token"`); !strings.Contains(text, part) {
				t.Errorf("%s: %s answers %s, want %s", what, name, text, part)
			}
		}
	}
	all := map[string]string{"default/f": `"the-token"`, "default/env": `"of-env"`}
	answers("at first", all)
	restart(line(2))
	answers("another key", map[string]string{"default/f": "sealed with a key that is not in the key file", "default/env": "env.TOKEN: the value does not open"})
	if status, text := r.called(t, "default/plain", `"token"`); status != 204 {
		t.Errorf("a function without secrets: %d %s", status, text)
	}
	status, out := r.deploy(t, "default/f", nil)
	if status != 503 || !strings.Contains(out.Error.Message, "the secret TOKEN of default/f does not open") {
		t.Errorf("deploy with another key: %d %+v", status, out.Error)
	}
	restart("")
	answers("no key", map[string]string{"default/f": "is missing", "default/env": "is missing"})
	if status, _ := r.trySecret(t, "default/plain", "TOKEN", map[string]string{"value": "x"}); status != 503 {
		t.Errorf("a file that was given is made: %d", status)
	}
	// The old key as the second: all opens, and is sealed with the first.
	restart(line(2) + line(1))
	answers("both keys", all)
	restart(line(2))
	answers("the new key alone", all)
	// A function that does not open is mended by a deploy of new values.
	restart(line(3))
	r.setSecret(t, "default/f", "TOKEN", "set-again")
	r.mustDeploy(t, "default/env", map[string]string{"TOKEN": "deployed-again"})
	answers("mended", map[string]string{"default/env": `"deployed-again"`})
	r.mustDeploy(t, "default/f", map[string]string{"VARIABLE": "again"})
	answers("mended", map[string]string{"default/f": `"set-again"`})
}

// TestEnvironmentsOfThePresentRelease are read in clear, and sealed.
func TestEnvironmentsOfThePresentRelease(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	r := start(t, cfg)
	r.mustDeploy(t, "default/f", map[string]string{"TOKEN": "in-clear-before"})
	text, err := r.Document(t.Context(), "function", "default/f")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "in-clear-before") || doc["sealed_env"] == nil {
		t.Errorf("the record is not sealed: %s", text)
	}
	delete(doc, "sealed_env")
	doc["definition"].(map[string]any)["env"] = map[string]string{"TOKEN": "in-clear-before"}
	old, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.PutDocument(t.Context(), "function", "default/f", string(old)); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	if _, got := r.called(t, "default/f", `"token"`); got != `"in-clear-before"` {
		t.Errorf("got %s", got)
	}
	now, err := r.Document(t.Context(), "function", "default/f")
	if err != nil || strings.Contains(now, "in-clear-before") || !strings.Contains(now, "sealed_env") {
		t.Errorf("after the start the record is %s, %v", now, err)
	}
	// The same again is no change.
	before, err := r.Document(t.Context(), "function", "default/f")
	if err != nil {
		t.Fatal(err)
	}
	r.mustDeploy(t, "default/f", map[string]string{"TOKEN": "in-clear-before"})
	if after, err := r.Document(t.Context(), "function", "default/f"); err != nil || !cmp.Equal(before, after) {
		t.Errorf("a deploy of the same changed the record: %v", err)
	}
}
