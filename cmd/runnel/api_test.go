package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeAPI answers calls of the native API with what a test says.
type fakeAPI struct {
	url string

	mu     sync.Mutex // guards calls
	calls  []string   // METHOD URI
	bodies []string
}

// answers are what a fake API answers, by METHOD URI. A text that begins with
// three digits has that status; else it is 200.
type answers map[string]string

// startAPI starts a fake API and names it to the commands of this test.
func startAPI(t *testing.T, by answers) *fakeAPI {
	t.Helper()
	noEnvironment(t)
	f := new(fakeAPI)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		call := r.Method + " " + r.URL.RequestURI()
		f.mu.Lock()
		f.calls, f.bodies = append(f.calls, call), append(f.bodies, string(body))
		f.mu.Unlock()
		text, ok := by[call]
		if !ok {
			text = `404 {"error": {"code": "not_found", "message": "the API has no ` + call + `"}}`
		}
		status := map[string]int{"204": 204, "400": 400, "404": 404, "409": 409, "422": 422}[text[:min(3, len(text))]]
		if status != 0 {
			text = strings.TrimSpace(text[3:])
		} else {
			status = 200
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	f.url = s.URL
	t.Setenv("RUNNEL_URL", s.URL)
	return f
}

// count returns how often a call was made.
func (f *fakeAPI) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}

// sent returns the bodies of a call.
func (f *fakeAPI) sent(call string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for i, c := range f.calls {
		if c == call {
			out = append(out, f.bodies[i])
		}
	}
	return out
}

// status runs a command as main does, and returns its exit status and what it
// wrote to standard error, errors included.
func status(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var stderr bytes.Buffer
	got := run(t.Context(), args, &stderr)
	return got, stderr.String()
}

const (
	functionsAnswer = `{"functions": [
		{"name": "default/resize", "owner_file": "runnel.yaml", "definition": {"name": "default/resize", "runtime": "python", "source": "./resize", "timeout": "30s", "memory": 67108864, "workers": {"max": 4}, "env": {"TOKEN": "***"}},
		 "live": "3f9c0d1e2a3b4c5d", "versions": [{"version": "3f9c0d1e2a3b4c5d", "created": "2026-01-02T03:04:05Z", "runtime": "python", "semantic_version": "0.2.0", "live": true, "aliases": ["canary"],
				"stats": {"calls": 12, "errors": 10, "peak_memory": 26214400, "run": {"count": 11, "p50_ms": 25, "p99_ms": 60000}}},
			{"version": "81aa", "created": "2026-01-01T00:00:00Z", "runtime": "python", "semantic_version": "0.1.0", "public": true}],
		 "previous": "81aa", "aliases": {"canary": "3f9c0d1e2a3b4c5d"},
		 "history": [{"version": "3f9c0d1e2a3b4c5d", "time": "2026-01-02T03:04:05Z", "by": "RK1", "how": "rollback"}, {"version": "81aa", "time": "2026-01-01T00:00:00Z", "how": "deploy"}],
		 "state": "no workers", "last_error": "SyntaxError: invalid syntax\n  line 2", "workers": {"min": 0, "max": 4, "idle": 1, "busy": 2, "starting": 0},
		 "stats": {"calls": 12, "errors":10, "timeouts": 2, "crashes": 3, "out_of_memory": 4, "interrupted": 6, "starts": 5, "waiting": 7, "peak_memory": 26214400,
			"wait": {"count": 12, "mean_ms": 0.0314, "p50_ms": 0.5, "p95_ms": 1, "p99_ms": 2500}, "start": {}, "run": {"count": 11, "mean_ms": 1234.5, "p50_ms": 25, "p95_ms": 30000, "p99_ms": 60000}}, "limits": [{"name": "memory", "wanted": "64MiB", "in_force": true, "how": "RLIMIT_DATA"}]},
		{"name": "team/shrink", "owner_file": "", "definition": {"runtime": "exec"}, "live": "", "state": "starting", "workers": {"max": 2}, "stats": {}}]}`
	flowAnswer = `{"name": "resize-images", "from": "queue:images", "call": "default/resize", "to": ["queue:thumbs"], "concurrency": 8, "batch": {"size": 10, "window": "20ms"}, "dead_letter": "queue:images-dead",
		"owner_file": "runnel.yaml", "state": "running", "error": "", "version": "3f9c", "backlog": {"visible": 7, "in_flight": 3, "delayed": 1}, "features": ["leases", "one commit"],
		"stats": {"received": 100, "calls": 90, "handled": 80, "published": 70, "filtered": 1, "retried": 2, "released": 3, "dead_lettered": 4, "lease_lost": 5, "in_flight": 6, "parked": 7, "waiting": 8}}`
	queuesAnswer = `{"queues": [{"account": "default", "name": "images", "visible": 7, "in_flight": 3, "delayed": 1, "settings": {"visibility_timeout": "30s", "dead_letter": {"queue": "images-dead", "max_receives": 10}}, "stats": {"sent": 100, "received": 90, "deleted": 80}},
		{"account": "default", "name": "images-dead", "settings": {}, "stats": {}}, {"account": "default", "name": "old", "settings": {}, "stats": {}}]}`
	deadLettersAnswer = `{"queues": [{"queue": "images-dead", "visible": 4, "in_flight": 0, "flows": ["resize-images"]}, {"queue": "other-dead", "visible": 0, "in_flight": 0, "flows": []}]}`
)

// resources are the answers of a server with something on it.
func resources() answers {
	return answers{
		"GET /api/v1/functions":           functionsAnswer,
		"GET /api/v1/flows":               `{"flows": [` + flowAnswer + `]}`,
		"GET /api/v1/flows/resize-images": flowAnswer,
		"GET /api/v1/queues":              queuesAnswer,
		"GET /api/v1/dead-letters":        deadLettersAnswer,
	}
}

func TestGet(t *testing.T) {
	startAPI(t, resources())
	for _, test := range []struct {
		args string
		want []string
	}{
		{"get functions", []string{
			"function        state       runtime  live          number  deployed  busy  idle  max  calls  failed  file",
			"default/resize  no-workers  python   3f9c0d1e2a3b  0.2.0   -         2     1     4    12     10      runnel.yaml",
			"team/shrink     starting    exec     -             -       -         0     0     2    0      0       -",
		}},
		{"flow ls", []string{
			"flow           state    from          call            to            backlog  running  handled  retried  dead  file",
			"resize-images  running  queue:images  default/resize  queue:thumbs  7        6        80       2        4     runnel.yaml",
		}},
		{"get queues", []string{
			"  visible  in flight  delayed  sent  received  deleted  queue",
			"        7          3        1   100        90       80  images",
			"        0          0        0     0         0        0  images-dead",
			"        0          0        0     0         0        0  old",
		}},
		{"dlq ls", []string{
			"queue        visible  in-flight  oldest  flows",
			"images-dead  4        0          -       resize-images",
			"other-dead   0        0          -       -",
		}},
	} {
		if diff := cmp.Diff(test.want, mustRun(t, "", strings.Fields(test.args)...).lines()); diff != "" {
			t.Errorf("runnel %s (-want +got):\n%s", test.args, diff)
		}
	}
	lines := mustRun(t, "", "get", "dead-letters", "-o", "json").lines()
	if len(lines) != 2 || !json.Valid([]byte(lines[0])) {
		t.Errorf("as JSON: %q, want a line for each", lines)
	}
	for args, want := range map[string]string{
		"get function -o yaml": `-o is table or json, not "yaml"`,
		"get flwos":            `there is no kind "flwos", did you mean flow?`,
		"get pods":             `there is no kind "pods": want function, flow, queue, dead-letter`,
	} {
		if got, text := status(t, strings.Fields(args)...); got != exitUsage || text != "runnel: "+want+"\n" {
			t.Errorf("runnel %s: status %d, %q; want %q", args, got, text, want)
		}
	}
}

func TestGetOfNothing(t *testing.T) {
	f := startAPI(t, answers{"GET /api/v1/flows": `{"flows": []}`})
	out := mustRun(t, "", "flow", "ls")
	if want := "no flows at " + f.url + ": runnel apply -f runnel.yaml makes them\n"; out.stdout.Len() > 0 || out.stderr.String() != want {
		t.Errorf("got %q, %q; want %q on standard error", &out.stdout, &out.stderr, want)
	}
}

func TestDescribe(t *testing.T) {
	by := resources()
	var all struct{ Functions []json.RawMessage }
	if err := json.Unmarshal([]byte(functionsAnswer), &all); err != nil {
		t.Fatal(err)
	}
	by["GET /api/v1/functions/default/resize"] = string(all.Functions[0])
	by["GET /api/v1/queues/images"] = `{"account": "default", "name": "images", "owner_file": "runnel.yaml", "visible": 7, "in_flight": 3, "delayed": 1,
		"settings": {"visibility_timeout": "30s", "max_message_bytes": 1048576, "dead_letter": {"queue": "images-dead", "max_receives": 10}}, "stats": {"sent": 100, "expired": 2, "receivers": 1}}`
	startAPI(t, by)
	for _, test := range []struct {
		args string
		want []string
	}{
		{"describe function resize", []string{ // by the only name that ends so
			"function      default/resize",
			"state         no workers",
			"last error    SyntaxError: invalid syntax",
			"                line 2",
			"live          3f9c0d1e2a3b4c5d 0.2.0",
			"file          runnel.yaml",
			"workers       2 busy, 1 idle, 0 starting; 0 to 4; 5 started so far",
			"calls         12 ended, 6 interrupted, 7 wait for a worker",
			"failures      10: 2 by timeout, 3 by a crash, 4 out of memory",
			"peak memory   25.0MiB",
			"durations:",
			"         count  mean      p50      p95    p99",
			"  wait   12     0.0314ms  <=0.5ms  <=1ms  <=2.5s",
			"  start  0      -         -        -      -",
			"  run    11     1.23s     <=25ms   <=30s  >30s",
			"by version:",
			"  version           calls  failed  run p50  p99   memory   live",
			"  3f9c0d1e2a3b4c5d  12     10      <=25ms   >30s  25.0MiB  live",
			"settings:",
			"  env.TOKEN    ***",
			"  memory       64MiB",
			"  runtime      python",
			"  source       ./resize",
			"  timeout      30s",
			"  workers.max  4",
			"limits:",
			"  memory  64MiB  in force  RLIMIT_DATA",
			"versions:",
			"  3f9c0d1e2a3b4c5d  " + localTime(t, "2026-01-02T03:04:05Z") + "  python  0.2.0  private  live,canary",
			"  81aa              " + localTime(t, "2026-01-01T00:00:00Z") + "  python  0.1.0  public   -",
			"was live:",
			"  " + localTime(t, "2026-01-02T03:04:05Z") + "  3f9c0d1e2a3b4c5d  0.2.0  rollback  RK1",
			"  " + localTime(t, "2026-01-01T00:00:00Z") + "  81aa              0.1.0  deploy    -",
		}},
		{"describe flow/resize-images", []string{
			"flow          resize-images",
			"state         running",
			"from          queue:images",
			"call          default/resize",
			"version       3f9c",
			"to            queue:thumbs",
			"dead letters  queue:images-dead",
			"file          runnel.yaml",
			"features      leases, one commit",
			"backlog       7 visible, 3 in flight, 1 delayed",
			"now           6 in calls, 7 parked, 8 calls wait for a worker",
			"so far        100 received, 90 calls, 80 handled, 70 published, 1 filtered",
			"failures      2 retried, 3 released, 4 dead-lettered, 5 leases lost",
			"settings:",
			"  batch.size    10",
			"  batch.window  20ms",
			"  concurrency   8",
		}},
		{"describe queue images", []string{
			"queue         images",
			"account       default",
			"file          runnel.yaml",
			"messages      7 visible, 3 in flight, 1 delayed",
			"so far        100 sent, 0 received, 0 deleted, 2 expired, 0 dead-lettered, 0 moved, 0 deduplicated",
			"receivers     1 wait for a message",
			"settings:",
			"  dead_letter.max_receives  10",
			"  dead_letter.queue         images-dead",
			"  max_message_bytes         1048576",
			"  visibility_timeout        30s",
		}},
	} {
		if diff := cmp.Diff(test.want, mustRun(t, "", strings.Fields(test.args)...).lines()); diff != "" {
			t.Errorf("runnel %s (-want +got):\n%s", test.args, diff)
		}
	}
	if text := mustRun(t, "", "describe", "flow", "resize-images", "-o", "json").stdout.Bytes(); !json.Valid(text) {
		t.Errorf("as JSON: %s", text)
	}
}

func TestUnknownNames(t *testing.T) {
	f := startAPI(t, resources())
	for args, want := range map[string]string{
		"describe flow resize-image":      "there is no flow resize-image at URL, did you mean resize-images?",
		"describe function rezise":        "there is no function rezise at URL, did you mean default/resize?",
		"invoke default/resise":           "there is no function default/resise at URL, did you mean default/resize?",
		"invoke nothing":                  "there is no function nothing at URL: runnel get functions lists them",
		"flow pause x":                    "there is no flow x at URL: runnel get flows lists them",
		"delete queue imags":              "there is no queue imags at URL, did you mean images?",
		"dlq ls images-daed":              "there is no dead-letter queue or flow images-daed at URL, did you mean images-dead?",
		"logs --function nothing":         "there is no function nothing at URL: runnel get functions lists them",
		"dlq redrive nothing --all":       "there is no dead-letter queue or flow nothing at URL: runnel dlq ls lists them",
		"flow explain resize-imagesss":    "there is no flow resize-imagesss at URL, did you mean resize-images?",
		"describe queue/images-dead-dead": "there is no queue images-dead-dead at URL, did you mean images-dead?",
	} {
		got, text := status(t, strings.Fields(args)...)
		if want = "runnel: " + strings.Replace(want, "URL", f.url, 1) + "\n"; got != exitFailed || text != want {
			t.Errorf("runnel %s: status %d, %q\nwant %q", args, got, text, want)
		}
	}
}

func TestDelete(t *testing.T) {
	by := resources()
	by["DELETE /api/v1/flows/resize-images"] = "204"
	by["DELETE /api/v1/functions/default/resize"] = `409 {"error": {"code": "conflict", "message": "the flow resize-images calls it"}}`
	by["DELETE /api/v1/queues/images?force=true"] = "204"
	f := startAPI(t, by)
	if got := mustRun(t, "", "delete", "flow", "resize-images").stdout.String(); got != "deleted flow resize-images\n" {
		t.Errorf("got %q", got)
	}
	if got := mustFail(t, "", "delete", "function/default/resize"); got != "the flow resize-images calls it" {
		t.Errorf("got %q", got)
	}
	mustRun(t, "", "delete", "queue", "images", "--force")
	if n := f.count("DELETE /api/v1/queues/images?force=true"); n != 1 {
		t.Errorf("the queue was deleted %d times", n)
	}
	for _, args := range []string{"delete flow resize-images --force", "delete flow", "delete dead-letter images"} {
		if got, text := status(t, strings.Fields(args)...); got != exitUsage {
			t.Errorf("runnel %s: status %d, %s", args, got, text)
		}
	}
}

func TestFlow(t *testing.T) {
	by := resources()
	by["POST /api/v1/flows/resize-images/pause"] = flowAnswer
	by["POST /api/v1/flows/resize-images/resume"] = flowAnswer
	by["GET /api/v1/flows/resize-images/explain"] = `{"state": "stuck", "summary": "stuck: all 8 slots are taken.", "reasons": [{"code": "no_slot", "count": 8, "text": "all 8 slots are taken: more concurrency, or a faster function"}, {"code": "order", "count": 3, "text": "3 messages wait\nfor an earlier one"}]}`
	startAPI(t, by)
	for args, want := range map[string][]string{
		"flow pause resize-images":   {"paused flow resize-images"},
		"flow resume resize-images":  {"resumed flow resize-images"},
		"flow explain resize-images": {"stuck: all 8 slots are taken.", "  no_slot    all 8 slots are taken: more concurrency, or a faster function", "  order      3 messages wait for an earlier one"},
	} {
		if diff := cmp.Diff(want, mustRun(t, "", strings.Fields(args)...).lines()); diff != "" {
			t.Errorf("runnel %s (-want +got):\n%s", args, diff)
		}
	}
	var explained struct {
		State   string
		Reasons []struct{ Count int }
	}
	text := mustRun(t, "", "flow", "explain", "resize-images", "-o", "json").stdout.Bytes()
	if err := json.Unmarshal(text, &explained); err != nil || explained.State != "stuck" || len(explained.Reasons) != 2 || explained.Reasons[1].Count != 3 {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestFunctionVersions(t *testing.T) {
	by := resources()
	var all struct{ Functions []json.RawMessage }
	if err := json.Unmarshal([]byte(functionsAnswer), &all); err != nil {
		t.Fatal(err)
	}
	resize := string(all.Functions[0])
	var f struct{ Versions []json.RawMessage }
	if err := json.Unmarshal(all.Functions[0], &f); err != nil {
		t.Fatal(err)
	}
	versions, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	const path = " /api/v1/functions/default/resize"
	by["GET"+path] = resize
	by["GET"+path+"/versions"] = strings.Replace(string(versions), "Versions", "versions", 1)
	by["GET"+path+"/versions/0.2"] = `{"version": "3f9c0d1e2a3b4c5d", "created": "2026-01-02T03:04:05Z", "runtime": "python", "semantic_version": "0.2.0", "public": true, "published": "2026-01-02T03:04:05Z",
		"published_by": "RK1", "live": true, "aliases": ["canary"], "release_notes": "keeps\nthe colours", "sample_input": "{}", "sample_output": "1"}`
	by["POST"+path+"/versions"] = `{"version": "3f9c0d1e2a3b4c5d", "semantic_version": "0.2.0", "public": true}`
	by["PUT"+path+"/aliases/canary"] = resize
	by["DELETE"+path+"/aliases/canary"] = "204"
	by["DELETE"+path+"/aliases/used"] = `409 {"error": {"code": "conflict", "message": "default/resize@used is called by the flows a"}}`
	by["DELETE"+path+"/versions/81aa"] = "204"
	by["POST"+path+"/rollback"] = `{"live": "81aa", "previous": "3f9c", "changed": true, "warning": "the next apply of runnel.yaml undoes it", "function": ` + resize + `}`
	by["POST /api/v1/functions/team/shrink/rollback"] = `{"live": "81aa", "previous": "81aa", "changed": false, "function": {"name": "team/shrink"}}`
	api := startAPI(t, by)
	sample := t.TempDir() + "/in.json"
	if err := os.WriteFile(sample, []byte(`{"n": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		want []string
	}{
		{"function versions resize", []string{
			"version           built                runtime  number  for      names",
			"3f9c0d1e2a3b4c5d  " + strings.ReplaceAll(localTime(t, "2026-01-02T03:04:05Z"), " ", "T") + "  python   0.2.0   private  live,canary",
			"81aa              " + strings.ReplaceAll(localTime(t, "2026-01-01T00:00:00Z"), " ", "T") + "  python   0.1.0   public   -",
		}},
		{"function versions resize 0.2", []string{
			"version       3f9c0d1e2a3b4c5d", "built         " + localTime(t, "2026-01-02T03:04:05Z"), "runtime       python", "number        0.2.0", "for           public",
			"published     " + localTime(t, "2026-01-02T03:04:05Z"), "by            RK1", "names         live, canary",
			"notes:", "  keeps", "  the colours", "sample input:", "  {}", "sample output:", "  1",
		}},
		{"function publish resize --minor --notes n --sample-input " + sample + " --sample-output -", []string{"published 3f9c0d1e2a3b4c5d of resize as 0.2.0, public"}},
		{"function publish resize 3f9c --private", []string{"published 3f9c0d1e2a3b4c5d of resize as 0.2.0, public"}},
		{"function alias set resize canary live", []string{"default/resize@canary is 3f9c0d1e2a3b4c5d"}},
		{"function alias ls resize", []string{
			"alias   version           number", "live    3f9c0d1e2a3b4c5d  0.2.0", "canary  3f9c0d1e2a3b4c5d  0.2.0",
		}},
		{"function alias rm resize canary", []string{"removed alias canary of resize"}},
		{"function remove resize 81aa", []string{"removed version 81aa of resize"}},
		{"rollback resize", []string{"rolled back default/resize: 3f9c -> 81aa"}},
		{"function rollback resize --to 81aa", []string{"rolled back default/resize: 3f9c -> 81aa"}},
		{"rollback shrink", []string{"team/shrink is live already: 81aa"}},
	} {
		if diff := cmp.Diff(test.want, mustRun(t, "out", strings.Fields(test.args)...).lines()); diff != "" {
			t.Errorf("runnel %s (-want +got):\n%s", test.args, diff)
		}
	}
	if diff := cmp.Diff([]string{
		`{"version_type":"minor","release_notes":"n","sample_input":"{\"n\": 1}","sample_output":"out"}`, `{"version":"3f9c","private":true}`,
	}, api.sent("POST"+path+"/versions")); diff != "" {
		t.Errorf("what was published (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`{"to":""}`, `{"to":"81aa"}`}, api.sent("POST"+path+"/rollback")); diff != "" {
		t.Errorf("rollbacks (-want +got):\n%s", diff)
	}
	if got := mustRun(t, "", "rollback", "resize").stderr.String(); got != "runnel: the next apply of runnel.yaml undoes it\n" {
		t.Errorf("the warning: %q", got)
	}
	if text := mustRun(t, "", "function", "versions", "resize", "-o", "json").lines(); len(text) != 2 || !json.Valid([]byte(text[0])) {
		t.Errorf("as JSON: %q", text)
	}
	for args, want := range map[string]string{
		"function alias rm resize used":               "default/resize@used is called by the flows a",
		"function versions nothing":                   "there is no function nothing at " + api.url + ": runnel get functions lists them",
		"rollback rezise":                             "there is no function rezise at " + api.url + ", did you mean default/resize?",
		"function publish resize --sample-input none": "read the sample: open none: no such file or directory",
	} {
		if got := mustFail(t, "", strings.Fields(args)...); got != want {
			t.Errorf("runnel %s: got %q, want %q", args, got, want)
		}
	}
	for _, args := range []string{"function publish resize --major --minor", "function publish", "function alias set resize x", "rollback", "function versions resize -o yaml"} {
		if got, text := status(t, strings.Fields(args)...); got != exitUsage {
			t.Errorf("runnel %s: status %d, %s", args, got, text)
		}
	}
}

func TestInvoke(t *testing.T) {
	by := resources()
	const call = "POST /api/v1/functions/default/resize/invoke"
	by[call] = `{"ok": true}`
	by[call+"?version=3f9c"] = "204"
	by["POST /api/v1/functions/team/shrink/invoke"] = `422 {"error": {"code": "function_failed", "message": "ValueError: no image", "function_error":
		{"kind": "error", "name": "ValueError", "message": "no image", "stack": "Traceback (most recent call last):\n  File \"main.py\", line 2\u001b[31m\n"}}}`
	f := startAPI(t, by)
	if got := mustRun(t, "", "invoke", "resize", `{"n": 1}`).stdout.String(); got != "{\"ok\": true}\n" {
		t.Errorf("got %q", got)
	}
	mustRun(t, `[2]`, "invoke", "default/resize", "-")
	mustRun(t, "", "invoke", "default/resize")
	mustRun(t, "", "invoke", "default/resize", "--content-type", "text/plain", "not JSON")
	if diff := cmp.Diff([]string{`{"n": 1}`, `[2]`, `null`, `not JSON`}, f.sent(call)); diff != "" {
		t.Errorf("payloads (-want +got):\n%s", diff)
	}
	if got := mustRun(t, "", "invoke", "resize@3f9c", "1").stdout.String(); got != "" {
		t.Errorf("of a function that returns nothing: %q", got)
	}
	out, err := try(t.Context(), nil, "invoke", "shrink", "1")
	var failed *functionFailure
	if !errors.As(err, &failed) || err.Error() != "shrink failed (error): ValueError: no image" || out.stdout.Len() > 0 {
		t.Errorf("a failure: %v, %q", err, &out.stdout)
	}
	if got, want := out.stderr.String(), "Traceback (most recent call last):\n  File \"main.py\", line 2\uFFFD[31m\n"; got != want {
		t.Errorf("the stack: got %q, want %q", got, want)
	}
	if got, text := status(t, "invoke", "resize", "{n: 1}"); got != exitUsage || !strings.Contains(text, "is not JSON") || strings.Count(text, "\n") != 1 {
		t.Errorf("a payload that is not JSON: status %d, %s", got, text)
	}
	if got, _ := status(t, "invoke", "resize", "1", "--content-type", "xml"); got != exitUsage {
		t.Errorf("an unknown type: status %d", got)
	}
}
