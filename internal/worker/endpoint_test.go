package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

func endpoint(t *testing.T, url string, most int) *worker.Endpoint {
	t.Helper()
	e, err := worker.NewEndpoint(t.Context(), url, worker.Program{
		Function: "default/score", Version: "v1", MaxOutput: 1 << 10, MaxInput: 1 << 10,
		Env: []string{"AUTHORIZATION=Bearer x", "RUNNEL_URL=http://here"},
	}, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := e.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func post(ctx context.Context, e *worker.Endpoint, in *runnel.Invocation) ([]runnel.Answer, error) {
	call, release, err := e.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return call.Invoke(ctx, in)
}

func TestEndpoint(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch text := string(body); text {
		case "headers":
			fmt.Fprint(w, r.Method, " ", r.Header.Get("Authorization"), r.Header.Get("Runnel-Url"), " ", r.Header.Get("Runnel-Attempt"), " ",
				r.Header.Get("Idempotency-Key"), " ", r.Header.Get("Content-Type"), " ", r.Header.Get("Runnel-Deadline") != "")
		case "none":
			w.WriteHeader(http.StatusNoContent)
		case "bytes":
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = w.Write([]byte{0xff})
		case "big":
			_, _ = w.Write(make([]byte, 4<<10))
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "rejected":
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"error":"no such customer"}`)
		case "broken":
			http.Error(w, "out of order", http.StatusInternalServerError)
		case "abort":
			panic(http.ErrAbortHandler)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}
	}))
	defer server.Close()
	e := endpoint(t, server.URL, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in := invocation("headers", "none", "bytes", "big", "redirect", "rejected", "broken", "[1]", strings.Repeat("x", 2<<10))
	answers, err := post(ctx, e, in)
	if err != nil {
		t.Fatal(err)
	}
	failed := func(kind, name, message string) runnel.Answer {
		return runnel.Answer{Err: &runnel.FunctionError{Kind: kind, Name: name, Message: message}}
	}
	want := []runnel.Answer{
		{Format: runnel.FormatText, Payload: []byte("POST Bearer x 1 m text/plain; charset=utf-8 true")},
		{Format: runnel.FormatNone},
		{Format: runnel.FormatBytes, Payload: []byte{0xff}},
		failed("output", "", "the function returned more than 1024 bytes (max_output)"),
		failed("error", "HTTP 302", "Found"),
		{Err: runnel.Reject("422 Unprocessable Entity: no such customer")},
		failed("error", "HTTP 500", "Internal Server Error: out of order"),
		{Format: runnel.FormatJSON, Payload: []byte("[1]")},
		failed("undecodable", "", "the payload has 2048 bytes, and max_input is 1024"),
	}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}
	in = invocation("a", "b")
	in.List = true
	if answers, err = post(ctx, e, in); err != nil || len(answers) != 2 || string(answers[1].Payload) != `"b"` {
		t.Errorf("a list: got %v, %v", answers, err)
	}
	_, err = post(ctx, e, invocation("abort"))
	wantKind(t, err, runnel.KindError, "the endpoint broke off")
	if got := e.Stats(); got.Calls != 3 || got.Errors != 2 || got.State != worker.StateReady {
		t.Errorf("got %+v, want three calls, two with failures", got)
	}
}

// No more calls than places; deadlines and drains end calls.
func TestEndpointPlaces(t *testing.T) {
	var now, top atomic.Int64
	held := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		top.Store(max(top.Load(), now.Add(1)))
		defer now.Add(-1)
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	e := endpoint(t, server.URL, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	_, err := post(ctx, e, invocation("slow"))
	cancel()
	wantKind(t, err, runnel.KindTimeout, "no answer before the deadline")
	var calls sync.WaitGroup
	for range 6 {
		calls.Go(func() {
			if _, err := post(t.Context(), e, invocation("held")); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "two busy, four waiting", func() bool { s := e.Stats(); return s.Busy == 2 && s.Waiting == 4 })
	close(held)
	calls.Wait()
	if top.Load() > 2 {
		t.Errorf("%d calls at once, want 2", top.Load())
	}
}

// An endpoint that is busy, or away, costs no attempt, and is asked again.
func TestEndpointComesBack(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	e := endpoint(t, "http://"+address+"/", 4)
	if _, err := post(t.Context(), e, invocation("x")); !errors.Is(err, runnel.ErrInterrupted) {
		t.Errorf("an endpoint that is away: got %v, want %v", err, runnel.ErrInterrupted)
	}
	if got := e.Stats(); got.State != worker.StateFailing || !strings.Contains(got.LastError, "cannot be reached") {
		t.Errorf("got %+v, want failing, and why", got)
	}
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skipf("the port is taken by now: %v", err)
	}
	var asked atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "1")
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	var busy error
	eventually(t, "back", func() bool { _, busy = post(t.Context(), e, invocation("x")); return asked.Load() > 0 })
	if !errors.Is(busy, runnel.ErrInterrupted) {
		t.Errorf("busy: got %v, want %v", busy, runnel.ErrInterrupted)
	}
	begun := time.Now()
	if _, err := post(t.Context(), e, invocation("x")); err != nil || time.Since(begun) < 500*time.Millisecond {
		t.Errorf("after Retry-After: got %v after %s, want an answer after a second", err, time.Since(begun))
	}
	if got := e.Stats(); got.State != worker.StateReady {
		t.Errorf("got %+v, want ready", got)
	}
}

// Many calls that fail at the same time are one failure: the first back-off is
// short.
func TestEndpointFailsOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	const most = 16
	e := endpoint(t, "http://"+address, most)
	var admitted, ended sync.WaitGroup
	admitted.Add(most)
	for range most {
		ended.Go(func() {
			call, release, err := e.Acquire(t.Context())
			admitted.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			admitted.Wait()
			if _, err := call.Invoke(t.Context(), invocation("x")); !errors.Is(err, runnel.ErrInterrupted) {
				t.Errorf("a call to nobody: got %v, want %v", err, runnel.ErrInterrupted)
			}
		})
	}
	ended.Wait()
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skipf("the port is taken by now: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := post(ctx, e, invocation("x")); err != nil {
		t.Errorf("the first call after %d failures at the same time: %v", most, err)
	}
}

func TestEndpointRefusesLinkLocal(t *testing.T) {
	for _, url := range []string{
		"http://169.254.169.254/latest/meta-data/", "http://[fe80::1%25lo]/", "http://[::ffff:169.254.169.254]/", "http://[fd00:ec2::254]/",
	} {
		e := endpoint(t, url, 1)
		if _, err := post(t.Context(), e, invocation("x")); err == nil || !strings.Contains(err.Error(), "link-local") {
			t.Errorf("%s: got %v, want that it is refused", url, err)
		}
	}
}

func TestEndpointRefusesHeaders(t *testing.T) {
	for _, env := range []string{"TOKEN=two\nlines", "NAME WITH BLANKS=x"} {
		_, err := worker.NewEndpoint(t.Context(), "http://127.0.0.1/", worker.Program{Env: []string{env}}, 1)
		if runnel.CodeOf(err) != runnel.CodeInvalid {
			t.Errorf("%q: got %v, want that it is refused", env, err)
		}
	}
}
