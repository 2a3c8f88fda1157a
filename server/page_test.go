package server_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// page asks the handler, so that any Host can be tried.
func page(t *testing.T, s *server.Server, host, accept, token string) (contentType, body string) {
	t.Helper()
	req := httptest.NewRequest("GET", "http://localhost/", nil)
	req.Host = host
	req.Header.Set("Accept", accept)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, req)
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	return w.Header().Get("Content-Type"), w.Body.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("there is no %q in:\n%s", w, text)
		}
	}
}

func TestPageOfDev(t *testing.T) {
	r := start(t, config(t))
	r.createQueue(t, "images")
	kind, text := page(t, r.Server, "localhost:7070", "*/*", "")
	if !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("to curl: got %s", kind)
	}
	contains(t, text, "Runnel v0.0.0-test", "endpoint  http://localhost:7070\n", "queues    1\n", "any credentials",
		"export AWS_ENDPOINT_URL=http://localhost:7070 ", `endpoint_url="http://localhost:7070"`,
		"--queue-url http://localhost:7070/000000000000/hello ", "export RUNNEL_URL=http://localhost:7070\n",
		"greet: {from: queue:in, call: greet, to: [queue:out]}\n", "runnel dev -f runnel.yaml", "runnel flow ls ", "runnel dlq ls ")

	kind, text = page(t, r.Server, "localhost:7070", "text/html,application/xhtml+xml,*/*;q=0.8", "")
	if !strings.HasPrefix(kind, "text/html") {
		t.Errorf("to a browser: got %s", kind)
	}
	contains(t, text, "<!doctype html>", "<code>http://localhost:7070</code>", "<dd>1</dd>", "export AWS_ENDPOINT_URL=http://localhost:7070 ")
}

// TestPageFlow applies the spec file that the page shows.
func TestPageFlow(t *testing.T) {
	r := start(t, config(t))
	_, text := page(t, r.Server, "localhost:7070", "*/*", "")
	_, rest, _ := strings.Cut(text, "echo '")
	code, rest, _ := strings.Cut(rest, "' > greet/main.py\ncat > runnel.yaml <<'EOF'\n")
	spec, _, ok := strings.Cut(rest, "EOF\n")
	if !ok {
		t.Fatalf("there is no spec file in:\n%s", text)
	}
	needPython(t)
	if status, out := r.apply(t, "runnel.yaml", spec, map[string]string{"default/greet": code}, false); status != 200 {
		t.Fatalf("apply: %d %+v", status, out.Error)
	}
	a := &app{running: r, t: t}
	a.sendTo("in", messages(`{"name": "world"}`)...)
	if got, want := string(a.take("out", 1)[0].Body), `"hello, world"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPageOfServe(t *testing.T) {
	cfg := config(t)
	cfg.Dev = false
	r := start(t, cfg)
	key := r.Keys()[1]
	_, text := page(t, r.Server, "queues.example.com", "*/*", "")
	contains(t, text, "endpoint  http://queues.example.com\n", "demanded", "AWS_ACCESS_KEY_ID=ID ", "RUNNEL_KEY=ID.SECRET")
	if strings.Contains(text, "queues    ") {
		t.Error("the page tells a stranger how many queues there are")
	}
	_, text = page(t, r.Server, "queues.example.com", "*/*", key.Token)
	contains(t, text, "queues    0\n")
	if strings.Contains(text, key.Secret) {
		t.Error("the page tells the secret")
	}
	// What could run something when it is pasted is not repeated.
	for _, accept := range []string{"*/*", "text/html"} {
		_, text = page(t, r.Server, "x$(touch,y);z", accept, "")
		contains(t, text, r.URL())
		if strings.Contains(text, "touch") {
			t.Errorf("the page repeats the Host:\n%s", text)
		}
	}
}

func TestPageOfAPublicURL(t *testing.T) {
	cfg := config(t)
	cfg.Dev, cfg.PublicURL = false, "https://queues.example.com/"
	r := start(t, cfg)
	_, text := page(t, r.Server, "10.0.0.5:7070", "*/*", "")
	contains(t, text, "endpoint  https://queues.example.com\n", "--queue-url https://queues.example.com/000000000000/hello ")
}
