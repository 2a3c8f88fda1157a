package worker_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/internal/worker"
)

// An isolated worker reaches the API, and nothing else.
func TestIsolated(t *testing.T) {
	ours := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "not for it")
	}))
	t.Cleanup(ours.Close)
	name := "@runnel-test-" + strconv.Itoa(os.Getpid())
	abstract, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = abstract.Close() })
	served := make(chan error, 3)
	opt := worker.Options{Max: 1, API: func(l net.Listener) {
		served <- http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "api "+r.URL.Path)
		}))
	}}
	prog := program(t, "RUNNEL_URL=http://127.0.0.1:1")
	prog.Isolated = true
	p := start(t, prog, opt)
	if l := limit(t, p, "network"); !l.InForce {
		if os.Geteuid() == 0 {
			t.Fatalf("not in force: %+v", l)
		}
		if l.How == "" || l.Wanted == "" {
			t.Errorf("got %+v, want why not", l)
		}
		t.Skipf("not possible here: %s", l.How)
	}
	for range 2 {
		if got, want := ask(t, p, "http http://127.0.0.1:7070/v1"), "api /v1 <nil>"; got != want {
			t.Errorf("the API: got %q, want %q", got, want)
		}
		if got := ask(t, p, "env"); !strings.Contains(got, "RUNNEL_URL=http://127.0.0.1:7070\n") {
			t.Errorf("no RUNNEL_URL in %q", got)
		}
		if got := ask(t, p, "http "+ours.URL); !strings.Contains(got, "refused") {
			t.Errorf("another server of this machine: got %q", got)
		}
		if got := ask(t, p, "http http://192.0.2.1"); !strings.Contains(got, "unreachable") {
			t.Errorf("another machine: got %q", got)
		}
		if got := ask(t, p, "dial "+name); got == "<nil>" {
			t.Error("it reaches an abstract socket")
		}
		wantKind(t, failure(t, p, "exit 1"), "crash", "exit status 1")
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the API of a worker that has ended: got %v, want it closed", err)
		}
	}
	// The others have all of it.
	full := start(t, program(t), worker.Options{Max: 1})
	if got := ask(t, full, "http "+ours.URL); got != "not for it <nil>" {
		t.Errorf("a worker that is not isolated: got %q", got)
	}
	if l := limit(t, full, "network"); l.InForce || l.Wanted != "" {
		t.Errorf("got %+v, want that none was asked for", l)
	}
}
