package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// manners is an algorithm that does what its input says.
const manners = `
import os, time, urllib.request, Algorithmia
client = Algorithmia.client()

class AlgorithmError(Exception):
    def __init__(self, message, error_type):
        super().__init__(message)
        self.error_type = error_type

def tried(ref):
    try:
        return client.algo(ref).pipe(None).result
    except Exception as e:
        return str(e)

def apply(event):
    if event == "raise":
        raise ValueError("no")
    if event == "input":
        raise AlgorithmError("bad input", "InputError")
    if event == "odd":
        raise AlgorithmError("odd", "OddError")
    if event == "none":
        return None
    if event == "bytes":
        return b"\x00\x01"
    if event == "json":
        return {"a": 1, "b": "<&>"}
    if event == "exit":
        os._exit(3)
    if event == "print":
        print("one")
        print("two")
        return "done"
    if event == "sleep":
        time.sleep(30)
    if event == "who":
        return [a for a in ("one", "two") if tried(a + "/private/latestPrivate") == "here"]
    if event == "down":
        return client.algo("default/manners").pipe("down").result
    if isinstance(event, dict) and "ref" in event:
        return tried(event["ref"])
    if isinstance(event, dict) and "meet" in event:
        # Both callers are inside before either of them looks, and while it does.
        urllib.request.urlopen(event["meet"]).read()
        found = [a for a in ("one", "two") if tried(a + "/private/latestPrivate") == "here"]
        urllib.request.urlopen(event["meet"]).read()
        return found
    if isinstance(event, dict) and "count" in event:
        urllib.request.urlopen(event["count"]).read()
        time.sleep(0.02)
        return "ran"
    if isinstance(event, bytes):
        return len(event)
    return "Hello " + str(event)

from Algorithmia import ADK
ADK(apply).init("")
`

// put makes a function of one file.
func (r *running) puts(t *testing.T, name, code string, more map[string]any) {
	t.Helper()
	def := map[string]any{"runtime": "python", "workers": map[string]any{"max": 2}}
	for k, v := range more {
		def[k] = v
	}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/"+name, map[string]any{"definition": def, "archive": archive(t, file("main.py", code))}); status != 200 {
		t.Fatalf("deploy %s: %d %+v", name, status, out.Error)
	}
}

func (r *running) publish(t *testing.T, name, body string) {
	t.Helper()
	if status, text := r.call(t, "POST", "/api/v1/functions/"+name+"/versions", http.Header{"Content-Type": {"application/json"}}, body); status != 200 {
		t.Fatalf("publish %s: %d %s", name, status, text)
	}
}

// algo calls an algorithm with a text, unless the header says another type, and
// returns the answer with its duration as 0.
func (r *running) algo(t *testing.T, path, body string, header ...http.Header) (int, string) {
	t.Helper()
	h := http.Header{"Content-Type": {"text/plain"}}
	for _, more := range header {
		for k, v := range more {
			h[k] = v
		}
	}
	status, text := r.call(t, "POST", "/v1/algo/"+path, h, body)
	before, after, found := strings.Cut(text, `"duration":`)
	if found {
		end := strings.IndexAny(after, ",}")
		if n, err := strconv.ParseFloat(after[:end], 64); err != nil || n <= 0 || n > 60 {
			t.Errorf("duration %s: want seconds", after[:end])
		}
		text = before + `"duration":0` + after[end:]
	}
	return status, text
}

// callers is a server with the algorithm default/manners, published, and the
// accounts one and two, each with an algorithm of its own.
func callers(t *testing.T, change func(*server.Config), more map[string]any) (r, one, two *running) {
	t.Helper()
	needPython(t)
	cfg := config(t)
	if change != nil {
		change(&cfg)
	}
	var key server.Key
	r = serving(t, cfg, &key)
	account := func(name string) *running {
		k, err := r.AddAccount(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		r.puts(t, name+"/private", "def handler(event): return 'here'", nil)
		r.publish(t, name+"/private", `{"version_type":"minor","private":true}`)
		return r.as(k.ID, k.Secret)
	}
	one, two = account("one"), account("two")
	def := map[string]any{"timeout": "2s"}
	for k, v := range more {
		def[k] = v
	}
	r.puts(t, "default/manners", manners, def)
	r.publish(t, "default/manners", `{"version_type":"minor"}`)
	return r, one, two
}

const (
	ofText = `,"metadata":{"content_type":"text","duration":0}}`
	ofJSON = `,"metadata":{"content_type":"json","duration":0}}`
)

func TestAlgo(t *testing.T) {
	t.Parallel()
	r, one, _ := callers(t, nil, nil)
	r.puts(t, "default/manners", "def handler(event): return 'secret'", map[string]any{"timeout": "2s"})
	r.publish(t, "default/manners", `{"version_type":"minor","private":true}`)
	json := http.Header{"Content-Type": {"application/json"}}
	bytes := http.Header{"Content-Type": {"application/octet-stream"}}
	for _, test := range []struct {
		path, body string
		header     http.Header
		status     int
		want       string
	}{
		{"default/manners", "Neo", nil, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners/", "Neo", nil, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners/0.1.0/?timeout=300&stdout=false", "Neo", nil, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners/0.1?timeout=300&stdout=False", `"Neo"`, json, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners/0.*", "Neo", http.Header{"Content-Type": {"application/text"}}, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners/latest", "Neo", http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, 200, `{"result":"Hello Neo"` + ofText},
		{"default/manners", "json", nil, 200, `{"result":{"a":1,"b":"<&>"}` + ofJSON},
		{"default/manners", "bytes", nil, 200, `{"result":"AAE=","metadata":{"content_type":"binary","duration":0}}`},
		{"default/manners", "\x00\x01\x02", bytes, 200, `{"result":3` + ofJSON},
		{"default/manners", "AAEC", http.Header{"Content-Type": {"application/octet-stream"}, "Content-Encoding": {"base64"}}, 200, `{"result":3` + ofJSON},
		{"default/manners?output=raw", "Neo", nil, 200, `Hello Neo`},
		{"default/manners/?timeout=300&stdout=false&output=raw", "json", nil, 200, `{"a":1,"b":"<&>"}`},
		{"default/manners?output=raw", "bytes", nil, 200, "\x00\x01"},
		// What owners see is not for others.
		{"default/manners?stdout=true", "print", nil, 200, `{"result":"done"` + ofText},
	} {
		if status, got := one.algo(t, test.path, test.body, test.header); status != test.status || got != test.want {
			t.Errorf("%s %q: got %d %s, want %d %s", test.path, test.body, status, got, test.status, test.want)
		}
	}
	for _, stdout := range []string{"true", "True"} {
		if status, got := r.algo(t, "default/manners?stdout="+stdout, "print"); status != 200 ||
			got != `{"result":"done","metadata":{"content_type":"text","duration":0,"stdout":"one\ntwo\n"}}` {
			t.Errorf("stdout=%s: got %d %s", stdout, status, got)
		}
	}
	if status, got := r.algo(t, "default/manners", "none"); status != 200 || !strings.HasPrefix(got, `{"result":null,"metadata":{"content_type":"`) {
		t.Errorf("none: got %d %s", status, got)
	}
	for _, test := range []struct {
		who          *running
		path, body   string
		header       http.Header
		status       int
		kind, within string
	}{
		{one, "default/manners", "raise", nil, 200, "AlgorithmError", `"message":"no"`},
		{one, "default/manners", "raise", nil, 200, "AlgorithmError", `"stack_trace":"Traceback`},
		{one, "default/manners", "raise", nil, 200, "AlgorithmError", `"stacktrace":"Traceback`},
		{one, "default/manners", "input", nil, 200, "InputError", `"message":"bad input"`},
		{one, "default/manners", "odd", nil, 200, "AlgorithmError", `"message":"odd"`},
		{one, "default/manners", "exit", nil, 200, "SystemExit", `exit status 3`},
		{one, "default/manners?timeout=1", "sleep", nil, 200, "TimeoutError", `within 1s`},
		{one, "default/manners", "sleep", nil, 200, "TimeoutError", `within 2s`},
		{one, "default/manners?output=raw", "raise", nil, 422, "AlgorithmError", `"message":"no"`},
		{one, "default/manners?timeout=0", "", nil, 400, "", "1 to 3000"},
		{one, "default/manners?timeout=3001", "", nil, 400, "", "1 to 3000"},
		{one, "default/manners?timeout=soon", "", nil, 400, "", "1 to 3000"},
		{one, "default/manners?output=xml", "", nil, 400, "", "raw or void"},
		{one, "default/manners", "{", json, 400, "", `"code":2013`},
		{one, "default/manners", "x", http.Header{"Content-Type": nil}, 400, "", "Content-Type"},
		{one, "default/manners", "x", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 400, "", "Content-Type"},
		{one, "default/manners", "x", http.Header{"Content-Encoding": {"gzip"}}, 400, "", "Content-Encoding"},
		{one, "default/manners", "!", http.Header{"Content-Type": {"application/octet-stream"}, "Content-Encoding": {"base64"}}, 400, "", "base64"},
		{one, "default/manners", "\xff", nil, 400, "", "UTF-8"},
		{one, "default/manners", strings.Repeat("x", 10<<20+1), nil, 413, "", "10485760"},
		{one, "default/nobody", "", nil, 404, "", `"code":1000,"message":"algorithm algo://default/nobody not found"`},
		{one, "default/manners/7.0.0", "", nil, 404, "", "algo://default/manners/7.0.0 not found"},
		// What is published privately is not there for others.
		{one, "default/manners/latestPrivate", "", nil, 404, "", "not found"},
		{one, "two/private", "", nil, 404, "", "algo://two/private not found"},
		{one, "two/private/0.1.0", "", nil, 404, "", "not found"},
		{one, "default/manners@live", "", nil, 404, "", "not found"},
		{one, "default", "", nil, 400, "", "OWNER/NAME"},
		{one, "4a2f1dc8-6c86-4b0e-9b6a-1e64e6d2a5c1", "", nil, 404, "", "4a2f1dc8"},
		// For the owner it has to be named.
		{one, "one/private", "", nil, 404, "", "latestPrivate"},
		{r.as(r.key.ID, "x"), "default/manners", "", nil, 401, "", "authorization required"},
	} {
		status, got := test.who.algo(t, test.path, test.body, test.header)
		if status != test.status || !strings.Contains(got, test.within) || !strings.HasPrefix(got, `{"error":{"`) ||
			strings.Contains(got, `"error_type"`) != (test.kind != "") || !strings.Contains(got, test.kind) {
			t.Errorf("%s %.20q: got %d %.300s, want %d %s %s", test.path, test.body, status, got, test.status, test.kind, test.within)
		}
	}
	for _, version := range []string{"latestPrivate", "0.1.0"} {
		if status, got := one.algo(t, "one/private/"+version, ""); status != 200 || got != `{"result":"here"`+ofText {
			t.Errorf("its owner, %s: got %d %s", version, status, got)
		}
	}
}

// TestAlgoVoid: the call goes on after its request, also when the server stops.
func TestAlgoVoid(t *testing.T) {
	t.Parallel()
	_, one, _ := callers(t, nil, nil)
	var runs atomic.Int64
	count := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs.Add(1) }))
	defer count.Close()
	input := fmt.Sprintf(`{"count": %q}`, count.URL)
	status, got := one.algo(t, "default/manners?output=void", input, http.Header{"Content-Type": {"application/json"}})
	if status != 200 || !strings.HasPrefix(got, `{"async":"void","async_protocol":"void","request_id":"req-`) {
		t.Fatalf("got %d %s", status, got)
	}
	if err := one.stop(); err != nil {
		t.Fatal(err)
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("the call was made %d times", n)
	}
}

// TestPassOfCaller: the key of a worker acts for who called, on several
// processes at once, and for the owner where a process has calls of several.
func TestPassOfCaller(t *testing.T) {
	t.Parallel()
	for _, at := range []struct {
		name string
		more map[string]any
		want [2]string
	}{
		{"processes", map[string]any{"timeout": "60s"}, [2]string{`["one"]`, `["two"]`}},
		{"one process", map[string]any{"timeout": "60s", "concurrency": 2, "workers": map[string]any{"max": 1}}, [2]string{`[]`, `[]`}},
	} {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			r, one, two := callers(t, nil, at.more)
			for who, want := range map[*running]string{one: `["one"]`, two: `["two"]`, r: `["one","two"]`} {
				if who == r {
					want = `[]` // the pass of an admin's call acts for its account
				}
				if status, got := who.algo(t, "default/manners", "who"); status != 200 || got != `{"result":`+want+ofJSON {
					t.Errorf("got %d %s, want %s", status, got, want)
				}
			}
			arrived := make(chan struct{})
			meet := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				select { // one gives, the other takes
				case arrived <- struct{}{}:
				case <-arrived:
				case <-req.Context().Done():
				}
			}))
			defer meet.Close()
			var both sync.WaitGroup
			for i, who := range []*running{one, two} {
				both.Go(func() {
					input := fmt.Sprintf(`{"meet": %q}`, meet.URL)
					status, got := who.algo(t, "default/manners", input, http.Header{"Content-Type": {"application/json"}})
					if want := `{"result":` + at.want[i] + ofJSON; status != 200 || got != want {
						t.Errorf("at once: got %d %s, want %s", status, got, want)
					}
				})
			}
			both.Wait()
		})
	}
}

// TestAlgoOfItself: a chain of calls ends.
func TestAlgoOfItself(t *testing.T) {
	t.Parallel()
	_, one, _ := callers(t, nil, map[string]any{"timeout": "60s", "concurrency": 40, "workers": map[string]any{"max": 1}})
	status, got := one.algo(t, "default/manners", "down")
	if status != 200 || !strings.Contains(got, "there are 32 calls before this one") {
		t.Errorf("got %d %.500s", status, got)
	}
}

// TestAlgoStorm: over the limit of an account's calls each is refused or made
// once, and never both.
func TestAlgoStorm(t *testing.T) {
	t.Parallel()
	_, one, _ := callers(t, func(cfg *server.Config) { cfg.SessionLimit = 4 }, nil)
	var runs atomic.Int64
	count := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs.Add(1) }))
	defer count.Close()
	input := fmt.Sprintf(`{"count": %q}`, count.URL)
	var storm sync.WaitGroup
	var mu sync.Mutex
	ran, refused := 0, 0
	for range 40 {
		storm.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), "POST", one.URL()+"/v1/algo/default/manners", strings.NewReader(input))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Simple "+one.key.Token)
			req.Header.Set("Content-Type", "application/json")
			resp, err := one.http.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case resp.StatusCode == 200 && strings.HasPrefix(string(text), `{"result":"ran"`):
				ran++
			case resp.StatusCode == 429 && resp.Header.Get("Retry-After") != "" && strings.Contains(string(text), "session-limit"):
				refused++
			default:
				t.Errorf("got %d %s", resp.StatusCode, text)
			}
		})
	}
	storm.Wait()
	if n := int(runs.Load()); n != ran || ran+refused != 40 || ran < 4 || refused == 0 {
		t.Errorf("%d ran, %d were refused, and the function was called %d times", ran, refused, n)
	}
}

// TestAlgoOfANarrowKey: a key calls what it names, from the pages that it names,
// and so does what it calls.
func TestAlgoOfANarrowKey(t *testing.T) {
	t.Parallel()
	r, _, _ := callers(t, nil, map[string]any{"timeout": "30s"})
	key := func(may runnel.Permissions) *running {
		k, err := r.AddKeyOf(t.Context(), "one", may)
		if err != nil {
			t.Fatal(err)
		}
		return r.as(k.ID, k.Secret)
	}
	manners := key(runnel.Permissions{Algorithms: []string{"algo://default/manners"}})
	both := key(runnel.Permissions{Algorithms: []string{"algo://default/*", "algo://one/private"}, Web: true})
	pages := key(runnel.Permissions{Algorithms: []string{"algo://*"}, Web: true, Referers: []string{"a.example.com", "*.example.org"}})
	origin := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, test := range []struct {
		who        *running
		path, body string
		header     http.Header
		status     int
		within     string
	}{
		{key(runnel.Permissions{}), "default/manners", "Neo", nil, 403, "algo_acl"},
		{key(runnel.Permissions{Algorithms: []string{"algo://one/*"}}), "default/manners", "Neo", nil, 403, "algo_acl"},
		{key(runnel.Permissions{}), "two/private", "", nil, 404, "not found"},
		{manners, "default/manners", "Neo", nil, 200, "Hello Neo"},
		{manners, "one/private/latestPrivate", "", nil, 403, "algo_acl"},
		{both, "one/private/latestPrivate", "", nil, 200, "here"},
		// As a child of a call: with the rights of its key.
		{manners, "default/manners", "who", nil, 200, `"result":[]`},
		{both, "default/manners", "who", nil, 200, `"result":["one"]`},
		{manners, "default/manners", "Neo", origin("Referer", "https://a.example.com/x"), 403, "allow_web_algo"},
		{both, "default/manners", "Neo", origin("Origin", "https://anywhere.example.net"), 200, "Hello Neo"},
		{pages, "default/manners", "Neo", origin("Origin", "https://A.example.com:8443"), 200, "Hello Neo"},
		{pages, "default/manners", "Neo", origin("Referer", "https://x.y.example.org/page"), 200, "Hello Neo"},
		{pages, "default/manners", "Neo", origin("Referer", "https://example.org/page"), 403, "referer_host"},
		{pages, "default/manners", "Neo", origin("Referer", "https://a.example.com.evil.net/"), 403, "referer_host"},
		{pages, "default/manners", "Neo", origin("Origin", "null"), 403, "referer_host"},
		{pages, "default/manners", "Neo", nil, 200, "Hello Neo"},
	} {
		if status, got := test.who.algo(t, test.path, test.body, test.header); status != test.status || !strings.Contains(got, test.within) {
			t.Errorf("%s %q %v: got %d %s, want %d %s", test.path, test.body, test.header, status, got, test.status, test.within)
		}
	}
}

// TestKeyEndsWithItsProcess: also where that ends by itself, and the pool has
// others.
func TestKeyEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	var key server.Key
	r := serving(t, cfg, &key)
	r.mustDeploy(t, "default/f", map[string]string{"TOKEN": "none"}, map[string]any{"workers": map[string]any{"max": 1}})
	id, secret, _ := strings.Cut(r.environmentOf(t, "default/f")["RUNNEL_KEY"], ".")
	old := r.as(id, secret)
	if status, text := old.call(t, "GET", "/api/v1/queues", nil, ""); status != 200 {
		t.Fatalf("while it runs: %d %s", status, text)
	}
	if status, text := r.called(t, "default/f", `"die"`); status == 200 || !strings.Contains(text, "crash") {
		t.Fatalf("die: %d %s", status, text)
	}
	if status, text := old.call(t, "GET", "/api/v1/queues", nil, ""); status != 401 {
		t.Errorf("when it has ended: %d %s", status, text)
	}
	next, _, _ := strings.Cut(r.environmentOf(t, "default/f")["RUNNEL_KEY"], ".")
	if next == id || next == "" {
		t.Errorf("the next process has the key %q, the first had %q", next, id)
	}
}
