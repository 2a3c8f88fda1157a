package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

func needPerl(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("perl is missing")
		}
		t.Skip("perl is missing")
	}
}

// answering is a worker that starts in milliseconds, and answers with a text.
func answering(text string) string {
	return `use strict; use warnings;
open my $in, '<&=:raw', 3 or die; open my $out, '>&=:raw', 4 or die;
sub frame { syswrite $out, join '', @_ }
while (defined(my $line = <$in>)) {
	my ($verb, $id, $deadline, $mode, $format, $meta, $n, @lengths) = split ' ', $line;
	frame("ready\n") if $verb eq 'start';
	last if $verb eq 'drain';
	next if $verb ne 'invoke';
	for ($meta, @lengths) { read $in, my $data, $_ if $_ }
	my $text = '` + text + `';
	frame("result $id $n", (' text:' . length $text) x $n, "\n", $text x $n);
}
`
}

const perlDefinition = `{"runtime": "exec", "handler": "perl worker.pl", "workers": {"max": 4}}`

// versioned is what the tests read of a function.
type versioned struct {
	Live, Previous string
	Aliases        map[string]string
	Versions       []struct {
		Version  string
		Semantic string `json:"semantic_version"`
		By       string `json:"published_by"`
	}
	History []struct{ Version, By, How string }
	Error   struct{ Code, Message string }
	// Of a rollback.
	Warning  string
	Function *versioned
}

// do makes a call of the API with a body of JSON.
func (r *running) do(t *testing.T, method, path, body string) (status int, out versioned) {
	t.Helper()
	status, text := r.call(t, method, "/api/v1/functions/default/"+path, http.Header{"Content-Type": {"application/json"}}, body)
	if text != "" {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return status, out
}

// must is do for calls that succeed.
func (r *running) must(t *testing.T, method, path, body string) versioned {
	t.Helper()
	status, out := r.do(t, method, path, body)
	if status/100 != 2 {
		t.Fatalf("%s %s: got %d %+v", method, path, status, out.Error)
	}
	return out
}

// put deploys, or with ?live=false in query builds, a worker that answers with
// text.
func (r *running) put(t *testing.T, query, text string) versioned {
	t.Helper()
	code := base64.StdEncoding.EncodeToString(archive(t, file("worker.pl", answering(text))))
	return r.must(t, "PUT", "echo"+query, `{"definition": `+perlDefinition+`, "archive": "`+code+`"}`)
}

// invoke returns what a function answers.
func (r *running) invoke(ref string) (string, error) {
	query := ""
	if ref != "" {
		query = "?version=" + ref
	}
	resp, err := r.http.Post(r.URL()+"/api/v1/functions/default/echo/invoke"+query, "application/json", strings.NewReader("1"))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// TestVersionsUnderLoad changes what live and an alias mean, by deploys,
// rollbacks and moves in a row, while calls are made at a steady rate: none
// fails, and none is answered by a version that its reference did not stand for
// when it began. With RUNNEL_SOAK=1 it is 100 deploys under 1,000 calls/s.
func TestVersionsUnderLoad(t *testing.T) {
	needPerl(t)
	deploys, rate := 15, 200
	if os.Getenv("RUNNEL_SOAK") == "1" {
		deploys, rate = 100, 1000
	} else {
		t.Parallel()
	}
	cfg := config(t)
	cfg.SessionLimit = 1000
	r := start(t, cfg)
	r.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 64

	// What a reference stood for, by change: those up to begun may have been
	// made, those up to ended have been.
	type meaning struct {
		mu           sync.Mutex
		texts        []string
		begun, ended int
	}
	meanings := map[string]*meaning{"": {texts: []string{"v0"}}, "stable": {texts: []string{"v0"}}}
	texts := map[string]string{r.put(t, "", "v0").Live: "v0"}
	r.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`)

	var calls, failed, wrong atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	one := func(ref string) {
		m := meanings[ref]
		m.mu.Lock()
		least := m.ended
		m.mu.Unlock()
		began := time.Now()
		got, err := r.invoke(ref)
		length := time.Since(began)
		m.mu.Lock()
		may := slices.Clone(m.texts[least : m.begun+1])
		m.mu.Unlock()
		switch {
		case err != nil:
			failed.Add(1)
			t.Errorf("@%s: %v", ref, err)
		case !slices.Contains(may, got):
			wrong.Add(1)
			t.Errorf("@%s: got version %s, want one of %v", ref, got, may)
		}
		calls.Add(1)
		mu.Lock()
		took = append(took, length)
		mu.Unlock()
	}
	due, stop := make(chan string, rate), make(chan struct{})
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for ref := range due {
				one(ref)
			}
		})
	}
	began := time.Now()
	var late int
	group.Go(func() {
		defer close(due)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for made := 0; ; {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for ; made < int(time.Since(began).Seconds()*float64(rate)); made++ {
				ref := ""
				if made%4 == 3 {
					ref = "stable"
				}
				select {
				case due <- ref:
				default:
					late++ // the machine is too slow for the rate
				}
			}
		}
	})

	change := func(ref, text string, do func()) {
		m := meanings[ref]
		m.mu.Lock()
		m.texts = append(m.texts, text)
		m.begun++
		m.mu.Unlock()
		do()
		m.mu.Lock()
		m.ended++
		m.mu.Unlock()
	}
	// Calls see each change.
	after := func() {
		t.Helper()
		want := calls.Load() + 20
		for deadline := time.Now().Add(time.Minute); calls.Load() < want; {
			if time.Now().After(deadline) {
				t.Fatal("the calls do not go on")
			}
			<-time.After(time.Millisecond)
		}
	}
	previous, live := "", "v0"
	for i := range deploys {
		text := fmt.Sprintf("v%d", i+1)
		change("", text, func() { texts[r.put(t, "", text).Live] = text })
		previous, live = live, text
		after()
		switch i % 3 {
		case 1:
			change("", previous, func() { r.must(t, "POST", "echo/rollback", "") })
			previous, live = live, previous
			after()
		case 2:
			change("stable", live, func() { r.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`) })
			after()
		}
	}
	close(stop)
	group.Wait()
	r.http.CloseIdleConnections() // the server waits for those that were never used
	slices.Sort(took)
	t.Logf("%d calls in %.1f s (%.0f/s, %d not made in time), %d failed, %d of another version; median %s, 99 %% %s, longest %s",
		calls.Load(), time.Since(began).Seconds(), float64(calls.Load())/time.Since(began).Seconds(), late, failed.Load(), wrong.Load(),
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if f := r.must(t, "GET", "echo", ""); texts[f.Live] != live || len(f.History) > 50 {
		t.Errorf("got %s live and %d in the history, want %s", texts[f.Live], len(f.History), live)
	}
}

// TestVersions goes through the calls for versions on real workers, and once
// more over a restart.
func TestVersions(t *testing.T) {
	t.Parallel()
	needPerl(t)
	cfg := config(t)
	cfg.Dev = false
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys := s.Keys()
	r := run(t, s)
	r.key = keys[0]
	answers := func(want map[string]string) {
		t.Helper()
		for ref, text := range want {
			if status, got := r.call(t, "POST", "/api/v1/functions/default/echo/invoke?version="+ref, nil, "1"); status != 200 || got != text {
				t.Errorf("@%s: got %d %q, want %q", ref, status, got, text)
			}
		}
	}
	refused := func(method, path, body string, want int, texts ...string) {
		t.Helper()
		status, out := r.do(t, method, path, body)
		for _, text := range texts {
			if !strings.Contains(out.Error.Message, text) {
				t.Errorf("%s %s: got %q, want %q in it", method, path, out.Error.Message, text)
			}
		}
		if status != want {
			t.Errorf("%s %s: got %d %+v, want %d", method, path, status, out.Error, want)
		}
	}

	refused("POST", "echo/rollback", "", 404, "there is no function default/echo")
	one := r.put(t, "", "one").Live
	refused("POST", "echo/rollback", "", 409, "no version that was live before "+one)
	refused("GET", "echo/versions/latest", "", 404, "default/echo@live")
	built := r.put(t, "?live=false", "two")
	two := built.Versions[0].Version
	if built.Live != one || two == one {
		t.Errorf("got %+v, want a build that is not live", built)
	}
	answers(map[string]string{"live": "one", two: "two", two[:6]: "two"})
	if v := r.must(t, "POST", "echo/versions", `{"version_type": "minor", "release_notes": "second", "sample_input": "1", "sample_output": "two"}`); v.Error.Code != "" {
		t.Errorf("got %+v", v)
	}
	if _, text := r.call(t, "GET", "/api/v1/functions/default/echo/versions/0.1", nil, ""); !strings.Contains(text, `"semantic_version":"0.1.0","public":true`) ||
		!strings.Contains(text, `"release_notes":"second","sample_input":"1","sample_output":"two"`) || !strings.Contains(text, `"published_by":"`+keys[0].ID) {
		t.Errorf("got %s", text)
	}
	refused("POST", "echo/versions", `{"version_type": "minor"}`, 409, two, "as 0.1.0")
	refused("POST", "echo/versions", `{"version": "live", "version_type": "patch"}`, 400, "version_type")
	r.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`)
	refused("PUT", "echo/aliases/latest", `{"version": "live"}`, 400, "publishing")
	refused("PUT", "echo/aliases/x", `{"version": "9"}`, 404, `"9"`)

	// A flow on an alias, and one on a build, hold them.
	ask := func(method, path string, in any, want int, texts ...string) {
		t.Helper()
		status, out := r.ask(t, method, "/api/v1/"+path, in)
		for _, text := range texts {
			if !strings.Contains(out.Error.Message, text) {
				t.Errorf("%s %s: got %q, want %q in it", method, path, out.Error.Message, text)
			}
		}
		if status != want {
			t.Errorf("%s %s: got %d %+v, want %d", method, path, status, out.Error, want)
		}
	}
	ask("PUT", "queues/in", map[string]string{}, 200)
	for flow, ref := range map[string]string{"a": "stable", "b": two} {
		ask("PUT", "flows/"+flow, map[string]string{"from": "queue:in", "call": "echo@" + ref}, 200)
	}
	refused("DELETE", "echo/aliases/stable", "", 409, "default/echo@stable is called by the flows a")
	refused("DELETE", "echo/versions/"+two, "", 409, "default/echo@"+two)
	ask("PUT", "flows/c", map[string]string{"from": "queue:in", "call": "echo@prod"}, 400, `"prod"`)

	if back := r.must(t, "POST", "echo/rollback", `{"to": "0.1"}`); back.Live != two || back.Previous != one || back.Function.Previous != one || back.Warning != "" {
		t.Errorf("got %+v, want %s to be live", back, two)
	}
	for range 2 {
		answers(map[string]string{"live": "two", "stable": "one", "latest": "two", "0.1.0": "two", "0.*": "two", one: "one"})
		f := r.must(t, "GET", "echo", "")
		want := []struct{ Version, By, How string }{{two, keys[0].ID, "rollback"}, {one, keys[0].ID, "deploy"}}
		if diff := cmp.Diff(want, f.History); diff != "" {
			t.Errorf("the history (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"stable": one}, f.Aliases); diff != "" {
			t.Errorf("the aliases (-want +got):\n%s", diff)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, cfg)
		r.key = keys[0]
	}
	ask("DELETE", "flows/a", nil, 204)
	ask("DELETE", "flows/b", nil, 204)
	r.must(t, "DELETE", "echo/aliases/stable", "")
	r.must(t, "DELETE", "echo/versions/"+one, "")
	refused("POST", "echo/rollback", "", 409)
	r.key = keys[1]
	refused("POST", "echo/rollback", "", 403)
	refused("PUT", "echo/aliases/stable", `{"version": "live"}`, 403)
}

// TestVersionsOfAFile: what a file declares is rolled back all the same, and the
// answer says what undoes it.
func TestVersionsOfAFile(t *testing.T) {
	t.Parallel()
	needPerl(t)
	a := newApp(t, map[string]string{
		"runnel.yaml": "functions:\n  echo: {runtime: exec, handler: perl worker.pl, source: ./w, workers: {max: 4}}\n",
		"w/worker.pl": answering("one"),
	})
	a.write("w/worker.pl", answering("two"))
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := a.must(t, "GET", "echo", "")
	if want := filepath.Join(a.dir, "runnel.yaml"); len(f.History) != 2 || f.History[0].By != want {
		t.Fatalf("got %+v, want two deploys by %s", f.History, want)
	}
	back := a.must(t, "POST", "echo/rollback", "")
	if back.Live != f.Previous || !strings.Contains(back.Warning, "runnel.yaml: the next apply") {
		t.Errorf("got %+v, want a warning", back)
	}
	if got, err := a.invoke(""); err != nil || got != "one" {
		t.Errorf("got %q, %v, want one", got, err)
	}
	a.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`)
	a.must(t, "POST", "echo/versions", `{"version_type": "major"}`)
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{"": "two", "stable": "one", "1": "two"} {
		if got, err := a.invoke(ref); err != nil || got != want {
			t.Errorf("@%s: got %q, %v, want %q", ref, got, err, want)
		}
	}
	// A build changes nothing that is declared; a deploy does.
	built := a.put(t, "?live=false", "three")
	if got, err := a.invoke(built.Versions[0].Version); err != nil || got != "three" || built.Live != f.Live {
		t.Errorf("got %q, %v, want three of a build", got, err)
	}
	status, out := a.do(t, "PUT", "echo", `{"definition": `+perlDefinition+`, "archive": ""}`)
	if status != 409 || !strings.Contains(out.Error.Message, "declared in") {
		t.Errorf("a deploy of it: got %d %+v, want a conflict", status, out.Error)
	}
}

// TestApplyOfAFlowOnAVersion: of functions that are there, the file is checked;
// a flow of one that is not yet there waits for its version.
func TestApplyOfAFlowOnAVersion(t *testing.T) {
	t.Parallel()
	needPerl(t)
	r := start(t, config(t))
	r.put(t, "", "one")
	status, out := r.apply(t, "app.yaml", "queues: {in: {}}\nflows:\n  f:\n    from: queue:in\n    call: echo@stable\n", nil, false)
	if status != 400 || len(out.Error.Faults) != 1 || out.Error.Faults[0].Line != 5 || !strings.Contains(out.Error.Faults[0].Message, `"stable"`) {
		t.Fatalf("got %d %+v, want a fault at line 5", status, out.Error)
	}
	r.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`)
	if status, out := r.apply(t, "app.yaml", "queues: {in: {}}\nflows:\n  f:\n    from: queue:in\n    call: echo@stable\n", nil, false); status != 200 {
		t.Fatalf("got %d %+v", status, out.Error)
	}

	dir := t.TempDir()
	a := &app{t: t, dir: dir}
	a.write("runnel.yaml", "functions:\n  echo: {runtime: exec, handler: perl worker.pl, source: ./w}\nqueues: {in: {}, out: {}}\n"+
		"flows:\n  f: {from: queue:in, call: echo@stable, to: [queue:out]}\n")
	a.write("w/worker.pl", answering("one"))
	cfg := config(t)
	cfg.SpecFile = filepath.Join(dir, "runnel.yaml")
	for range 2 { // also when the function is there by then
		a.running = start(t, cfg)
		a.until("the flow waits", func() bool {
			_, text := a.call(t, "GET", "/api/v1/flows/f", nil, "")
			return strings.Contains(text, `has no version \"stable\"`)
		})
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	}
	a.running = start(t, cfg)
	a.until("the function is there", func() bool {
		status, _ := a.do(t, "GET", "echo", "")
		return status == 200
	})
	a.must(t, "PUT", "echo/aliases/stable", `{"version": "live"}`)
	a.sendTo("in", messages("1")...)
	if got := a.take("out", 1); string(got[0].Body) != "one" {
		t.Errorf("got %q, want one", got[0].Body)
	}
}

// TestVersionsOfAGoHandler: there are none.
func TestVersionsOfAGoHandler(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Handlers = map[string]runnel.Handler{"echo": runnel.HandlerFunc(nil)}
	r := start(t, cfg)
	for _, call := range [][2]string{
		{"POST", "echo/rollback"}, {"POST", "echo/versions"}, {"GET", "echo/versions/live"}, {"DELETE", "echo/versions/live"}, {"DELETE", "echo/aliases/x"},
	} {
		if status, out := r.do(t, call[0], call[1], "{}"); status != 409 || !strings.Contains(out.Error.Message, "default/echo is a Go handler") {
			t.Errorf("%s %s: got %d %+v", call[0], call[1], status, out.Error)
		}
	}
	if status, out := r.do(t, "PUT", "echo/aliases/x", `{"version": "live"}`); status != 409 || !strings.Contains(out.Error.Message, "Go handler") {
		t.Errorf("set an alias: got %d %+v", status, out.Error)
	}
}
