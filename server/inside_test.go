package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// environmentOf is what a function's worker has in its environment.
func (r *running) environmentOf(t *testing.T, function string) map[string]string {
	t.Helper()
	status, text := r.called(t, function, `"env"`)
	var env map[string]string
	if err := json.Unmarshal([]byte(text), &env); status != 200 || err != nil {
		t.Fatalf("invoke: %d %s", status, text)
	}
	return env
}

// as is the server as another caller sees it.
func (r *running) as(id, secret string) *running {
	out := *r
	out.key = server.Key{ID: id, Secret: secret, Token: id + "." + secret}
	return &out
}

// TestWorkersKey uses the key of a worker as the worker could.
func TestWorkersKey(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	cfg.Region = "eu-west-3"
	var key server.Key
	r := serving(t, cfg, &key)
	other, err := r.AddAccount(t.Context(), "team")
	if err != nil {
		t.Fatal(err)
	}
	theirs := r.as(other.ID, other.Secret)
	theirQueue := theirs.createQueue(t, "theirs")
	r.mustDeploy(t, "default/f", nil, map[string]any{"sqs_endpoint": true})
	r.mustDeploy(t, "team/f", nil)
	env := r.environmentOf(t, "default/f")
	id, secret, _ := strings.Cut(env["RUNNEL_KEY"], ".")
	for name, want := range map[string]string{
		"RUNNEL_URL": r.URL(), "ALGORITHMIA_API": r.URL(), "ALGORITHMIA_API_KEY": env["RUNNEL_KEY"],
		"AWS_ENDPOINT_URL_SQS": r.URL(), "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-west-3", "AWS_SESSION_TOKEN": "",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	team := r.environmentOf(t, "team/f")
	for name := range team {
		if strings.HasPrefix(name, "AWS_ENDPOINT") || strings.HasPrefix(name, "AWS_ACCESS") || name == "AWS_REGION" {
			t.Errorf("without sqs_endpoint there is %s", name)
		}
	}
	if team["RUNNEL_KEY"] == env["RUNNEL_KEY"] || team["RUNNEL_KEY"] == "" {
		t.Errorf("the key of the other function is %q", team["RUNNEL_KEY"])
	}

	// By signature at the SQS door, and as a token at the native API.
	worker := r.as(id, secret)
	mine := worker.createQueue(t, "mine")
	worker.send(t, mine, "hello")
	if got := bodies(r.receive(t, mine)); len(got) != 1 || got[0] != "hello" {
		t.Errorf("its account received %q", got)
	}
	for action, in := range map[string]map[string]string{
		"SendMessage": {"QueueUrl": theirQueue, "MessageBody": "x"}, "ReceiveMessage": {"QueueUrl": theirQueue}, "PurgeQueue": {"QueueUrl": theirQueue},
	} {
		if status, text := worker.trySQS(t, action, in); status == 200 || !strings.Contains(text, "AccessDenied") {
			t.Errorf("%s of another account's queue: %d %s", action, status, text)
		}
	}
	teamID, teamSecret, _ := strings.Cut(team["RUNNEL_KEY"], ".")
	if status, text := r.as(teamID, teamSecret).trySQS(t, "SendMessage", map[string]string{"QueueUrl": theirQueue, "MessageBody": "x"}); status != 200 {
		t.Errorf("the other function cannot send to its own queue: %d %s", status, text)
	}
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/api/v1/queues", 200},
		{"GET", "/api/v1/queues/mine", 200},
		{"GET", "/api/v1/queues/theirs", 404},
		{"GET", "/api/v1/functions/team/f", 404},
		{"GET", "/api/v1/functions/default/f/secrets", 200},
		{"PUT", "/api/v1/functions/default/f/secrets/A", 403},
		{"PUT", "/api/v1/functions/default/f", 403},
		{"DELETE", "/api/v1/functions/default/f", 403},
		{"GET", "/api/v1/backup", 403},
		{"POST", "/api/v1/reload", 403},
		{"GET", "/metrics", 403},
	} {
		status, text := worker.call(t, test.method, test.path, nil, "")
		if status != test.status {
			t.Errorf("%s %s: got %d %s, want %d", test.method, test.path, status, text, test.status)
		}
	}

	// It ends with its workers.
	gone := func(what string, r *running) {
		t.Helper()
		a := &app{running: r, t: t}
		worker := r.as(id, secret)
		a.until(what, func() bool {
			status, text := worker.call(t, "GET", "/api/v1/queues", nil, "")
			return status == http.StatusUnauthorized && strings.Contains(text, "of workers that have ended")
		})
		if status, text := worker.trySQS(t, "ListQueues", map[string]string{}); status == 200 || !strings.Contains(text, "UnrecognizedClientException") {
			t.Errorf("%s, by signature: %d %s", what, status, text)
		}
	}
	r.mustDeploy(t, "default/f", map[string]string{"NEW": "1"})
	gone("the old key is refused after a deploy", r)
	id, secret, _ = strings.Cut(r.environmentOf(t, "default/f")["RUNNEL_KEY"], ".")
	if status, text := r.as(id, secret).call(t, "GET", "/api/v1/queues", nil, ""); status != 200 {
		t.Errorf("the new key: %d %s", status, text)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	gone("the key is refused after a restart", serving(t, cfg, &key))
}

// TestWorkersKeyOfDev is the same account and no admin's where anybody is one.
func TestWorkersKeyOfDev(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	r.mustDeploy(t, "default/f", nil)
	id, secret, _ := strings.Cut(r.environmentOf(t, "default/f")["RUNNEL_KEY"], ".")
	worker := r.as(id, secret)
	worker.send(t, worker.createQueue(t, "mine"), "hello")
	if got := bodies(r.receive(t, r.URL()+"/000000000000/mine")); len(got) != 1 {
		t.Errorf("received %q", got)
	}
	if status, text := worker.call(t, "DELETE", "/api/v1/functions/default/f", nil, ""); status != 403 {
		t.Errorf("as an admin: %d %s", status, text)
	}
}

// TestWorkerCallsWhileItLoads: a worker that is kept warm starts before the
// server answers, and may call it when it loads its code.
func TestWorkerCallsWhileItLoads(t *testing.T) {
	t.Parallel()
	needPython(t)
	const code = `
import json, os, urllib.request
request = urllib.request.Request(os.environ["RUNNEL_URL"] + "/api/v1/queues", headers={"Authorization": "Bearer " + os.environ["RUNNEL_KEY"]})
found = [q["name"] for q in json.load(urllib.request.urlopen(request))["queues"]]
def handler(event):
    return found
`
	cfg := config(t)
	var key server.Key
	r := serving(t, cfg, &key)
	r.createQueue(t, "mine")
	definition := map[string]any{"runtime": "python", "workers": map[string]any{"min": 1, "max": 1}}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": definition, "archive": archive(t, file("main.py", code))}); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = serving(t, cfg, &key)
	if status, text := r.called(t, "default/f", "1"); status != 200 || text != `["mine"]` {
		t.Errorf("got %d %s", status, text)
	}
}

// TestOwnVariablesStay: what a function sets itself is not replaced, and key
// pairs are not mixed.
func TestOwnVariablesStay(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	r.setSecret(t, "default/f", "AWS_SECRET_ACCESS_KEY", "of-another-cloud")
	r.mustDeploy(t, "default/f", map[string]string{"RUNNEL_URL": "https://queues.example.com", "AWS_REGION": "mars"}, map[string]any{"sqs_endpoint": true})
	env := r.environmentOf(t, "default/f")
	if env["RUNNEL_URL"] != "https://queues.example.com" || env["AWS_REGION"] != "mars" || env["AWS_SECRET_ACCESS_KEY"] != "of-another-cloud" {
		t.Errorf("got %q", env)
	}
	if id, ok := env["AWS_ACCESS_KEY_ID"]; ok {
		t.Errorf("the id of our key, %s, is beside the secret of another", id)
	}
	if !strings.HasPrefix(env["RUNNEL_KEY"], "RF") || env["AWS_ENDPOINT_URL_SQS"] != r.URL() {
		t.Errorf("got %q", env)
	}
}

func TestWorkerURL(t *testing.T) {
	for _, test := range []struct {
		addr string
		tls  bool
		want string
	}{
		{"127.0.0.1:7070", false, "http://127.0.0.1:7070"},
		{"[::1]:7070", false, "http://[::1]:7070"},
		{"[::]:7070", true, "https://127.0.0.1:7070"},
		{"0.0.0.0:7070", false, "http://127.0.0.1:7070"},
		{"10.0.0.5:7070", true, "https://10.0.0.5:7070"},
		{"[fe80::1%eth0]:7070", false, "http://[fe80::1%25eth0]:7070"},
	} {
		if got := server.WorkerURL(test.addr, test.tls); got != test.want {
			t.Errorf("%s: got %s, want %s", test.addr, got, test.want)
		}
	}
}
