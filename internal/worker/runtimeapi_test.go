package worker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

// runtimeClient is a program that speaks the Runtime API. The text of an event
// tells it what to do.
func runtimeClient() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	post := func(path, contentType string, body io.Reader, header, trailer http.Header) int {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+path, body)
		if err != nil {
			panic(err)
		}
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("Content-Type", contentType)
		req.Trailer = trailer
		if trailer != nil {
			req.ContentLength = -1
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if os.Getenv("START") == "fail" {
		post("init/error", "application/json", strings.NewReader(`{"errorMessage":"no model","errorType":"Runtime.Init","stackTrace":["at 1"]}`), nil, nil)
		os.Exit(1)
	}
	for {
		resp, err := http.Get(base + "invocation/next")
		if err != nil {
			return
		}
		event, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		do, arg, _ := strings.Cut(strings.Trim(string(event), `"`), " ")
		answer := func(contentType, body string) {
			post("invocation/"+id+"/response", contentType, strings.NewReader(body), nil, nil)
		}
		switch do {
		case "print":
			fmt.Println(arg)
			answer("application/json", `"printed"`)
		case "type":
			contentType, body, _ := strings.Cut(arg, " ")
			answer(contentType, strings.ReplaceAll(body, `\`, ""))
		case "headers":
			answer("text/plain", strings.Join([]string{
				resp.Header.Get("Lambda-Runtime-Deadline-Ms"), resp.Header.Get("Lambda-Runtime-Invoked-Function-Arn"),
				resp.Header.Get("Lambda-Runtime-Trace-Id"), resp.Header.Get("Content-Type"),
			}, " "))
		case "error":
			post("invocation/"+id+"/error", "application/json", strings.NewReader(`{"errorMessage":"bad","errorType":"E","stackTrace":[{"path":"main.go","line":7,"label":"main"}]}`), nil, nil)
		case "bare": // an error without a body
			post("invocation/"+id+"/error", "application/json", http.NoBody, http.Header{"Lambda-Runtime-Function-Error-Type": {"Runtime.Unknown"}}, nil)
		case "panic": // as aws-lambda-go does it
			post("invocation/"+id+"/error", "application/json", strings.NewReader(`{"errorMessage":"boom","errorType":"panic"}`), nil, nil)
			os.Exit(1)
		case "stream":
			post("invocation/"+id+"/response", "application/octet-stream", io.MultiReader(strings.NewReader("half "), strings.NewReader("and half")), nil, http.Header{})
		case "broken":
			post("invocation/"+id+"/response", "application/octet-stream", strings.NewReader("half"), nil, http.Header{
				"Lambda-Runtime-Function-Error-Type": {"Midway"},
				"Lambda-Runtime-Function-Error-Body": {base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"the rest is lost","errorType":"Midway"}`))},
			})
		case "big":
			if got := post("invocation/"+id+"/response", "application/octet-stream", bytes.NewReader(make([]byte, 2<<20)), nil, nil); got != http.StatusRequestEntityTooLarge && got != 0 {
				fmt.Fprintln(os.Stderr, "got", got)
			}
		case "twice":
			answer("application/json", "1")
			if got := post("invocation/"+id+"/response", "application/json", strings.NewReader("2"), nil, nil); got != http.StatusBadRequest {
				fmt.Fprintln(os.Stderr, "got", got)
				os.Exit(4)
			}
		case "exit":
			os.Exit(3)
		case "sleep":
			<-time.After(time.Hour)
		case "address":
			answer("text/plain", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
		case "lazy": // answers, and asks for no more until a file is there
			answer("application/json", "1")
			for {
				if _, err := os.Stat(arg); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		case "drip": // an answer that never ends
			r, w := io.Pipe()
			go func() { _, _ = w.Write([]byte("some")) }()
			post("invocation/"+id+"/response", "application/octet-stream", r, nil, http.Header{})
		default:
			answer("application/json", string(event))
		}
	}
}

func runtimeProgram(t testing.TB, env ...string) worker.Program {
	prog := program(t, append(env, "ROLE=runtime")...)
	prog.Transport = runnel.TransportRuntimeAPI
	return prog
}

func TestRuntimeAPI(t *testing.T) {
	prog := runtimeProgram(t)
	prog.MaxOutput = 1 << 20
	var got lines
	p := start(t, prog, worker.Options{Max: 1, Log: got.add})
	in := invocation("hello", "type application/octet-stream x", "type application/json {\\\"a\\\":1}", "type application/json null",
		"type application/x-www-form-urlencoded plain", "type application/json nonsense", "error", "bare", "stream", "broken", "big", "twice", "print of it")
	answers, err := invoke(t.Context(), p, in)
	if err != nil {
		t.Fatal(err)
	}
	failed := func(kind, name, message, stack string) runnel.Answer {
		return runnel.Answer{Err: &runnel.FunctionError{Kind: kind, Name: name, Message: message, Stack: stack}}
	}
	want := []runnel.Answer{
		{Format: runnel.FormatJSON, Payload: []byte(`"hello"`)},
		{Format: runnel.FormatBytes, Payload: []byte("x")},
		{Format: runnel.FormatJSON, Payload: []byte(`{"a":1}`)},
		{Format: runnel.FormatNone},
		{Format: runnel.FormatText, Payload: []byte("plain")},
		failed("output", "", `the function's answer is not the JSON that it says it is: "nonsense"`, ""),
		failed("error", "E", "bad", "main\n\tmain.go:7"),
		failed("error", "Runtime.Unknown", "", ""),
		{Format: runnel.FormatBytes, Payload: []byte("half and half")},
		failed("error", "Midway", "the rest is lost", ""),
		failed("output", "", "the function returned more than 1048576 bytes (max_output)", ""),
		{Format: runnel.FormatJSON, Payload: []byte("1")},
		{Format: runnel.FormatJSON, Payload: []byte(`"printed"`)},
	}
	if diff := cmp.Diff(want, answers); diff != "" {
		t.Error(diff)
	}
	if said := got.of(in.ID); len(said) != 1 || said[0] != "info f: of it" {
		t.Errorf("got %q, want the line of the call", said)
	}
	in = invocation(`1`, `{"a":2}`)
	in.Format, in.List = runnel.FormatJSON, true
	answers, err = invoke(t.Context(), p, in)
	if err != nil || len(answers) != 2 || string(answers[1].Payload) != `{"a":2}` {
		t.Errorf("a list: got %v, %v", answers, err)
	}
	in = invocation("type application/json 7")
	in.List = true // of one; the program sees a list, and sends it back
	if answers, err = invoke(t.Context(), p, in); err != nil || string(answers[0].Payload) != `"type application/json 7"` {
		t.Errorf("a list of one: got %v, %v", answers, err)
	}
}

func TestRuntimeAPIHeaders(t *testing.T) {
	p := start(t, runtimeProgram(t), worker.Options{Max: 1})
	ctx, cancel := context.WithDeadline(t.Context(), time.UnixMilli(time.Now().Add(time.Minute).UnixMilli()))
	defer cancel()
	until, _ := ctx.Deadline()
	in := invocation("headers")
	in.Items[0].Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	answers, err := invoke(ctx, p, in)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d arn:aws:lambda:us-east-1:000000000000:function:test:v1 Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1 application/json", until.UnixMilli())
	if got := string(answers[0].Payload); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestRuntimeAPIFailures(t *testing.T) {
	_, err := worker.Start(t.Context(), runtimeProgram(t, "START=fail"), worker.Options{TempDir: t.TempDir()})
	var e *runnel.FunctionError
	if !errors.As(err, &e) || e.Name != "Runtime.Init" || e.Message != "no model" || e.Stack != "at 1" {
		t.Errorf("a failed start: got %#v (%v)", e, err)
	}
	p := start(t, runtimeProgram(t), worker.Options{Max: 1})
	wantKind(t, failure(t, p, "exit"), runnel.KindCrash, "exit status 3")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = invoke(ctx, p, invocation("sleep"))
	wantKind(t, err, runnel.KindTimeout, "no answer within")
	// A panic is told before the process ends; the next call, which it may be
	// given meanwhile, is none of its victims.
	for range 5 {
		wantKind(t, failure(t, p, "panic"), runnel.KindError, "boom")
		for {
			answers, err := invoke(t.Context(), p, invocation("hello"))
			if errors.Is(err, runnel.ErrInterrupted) {
				continue
			}
			if err != nil || string(answers[0].Payload) != `"hello"` {
				t.Errorf("after a panic: got %v, %v", answers, err)
			}
			break
		}
	}
	eventually(t, "idle", func() bool { return p.Stats().Busy == 0 })
}

// A bootstrap in shell is a worker, if there is a curl.
func TestBootstrap(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("curl is missing: %v", err)
		}
		t.Skip("curl is missing")
	}
	prog := runtimeProgram(t)
	script := `#!/bin/sh
set -eu
while true; do
  head="$TMPDIR/head"
  event=$(curl -sS -D "$head" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next")
  id=$(grep -i lambda-runtime-aws-request-id "$head" | tr -d '[:space:]' | cut -d: -f2)
  echo "event $event"
  curl -sS -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "got $event"
done
`
	file := prog.Dir + "/bootstrap"
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	prog.Args = []string{file}
	p := start(t, prog, worker.Options{Max: 1})
	if got := ask(t, p, "some text"); got != `got "some text"` {
		t.Errorf("got %q", got)
	}
}

// Nobody but the worker, which has a user of its own under a root server, gets
// its events.
func TestRuntimeAPIIsTheWorkersOnly(t *testing.T) {
	p := start(t, runtimeProgram(t), worker.Options{Max: 1})
	i := slices.IndexFunc(p.Limits(), func(l worker.Limit) bool { return l.Name == "runtime API" })
	if i < 0 {
		t.Fatal("it is not said whether others can connect")
	}
	if l := p.Limits()[i]; !l.InForce {
		if os.Geteuid() == 0 && runtime.GOOS == "linux" {
			t.Fatalf("not in force: %+v", l)
		}
		t.Skipf("not possible here: %s", l.How)
	}
	address := strings.Trim(ask(t, p, "address"), `"`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/2018-06-01/runtime/invocation/next", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("a stranger was answered: %s", resp.Status)
	} else if ctx.Err() != nil {
		t.Errorf("a stranger may wait for an event: %v", err)
	}
	if got := ask(t, p, "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
}

// Events that nobody waits for any more are in nobody's way.
func TestRuntimeAPIForgetsWhatWasGivenUp(t *testing.T) {
	p := start(t, runtimeProgram(t), worker.Options{Max: 1})
	file := filepath.Join(t.TempDir(), "go")
	if _, err := invoke(t.Context(), p, invocation("lazy "+file)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		in := invocation("given up")
		w, release, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		cancel(errors.New("nobody waits"))
		begun := time.Now()
		if _, err := w.Invoke(ctx, in); !errors.Is(err, runnel.ErrInterrupted) {
			t.Errorf("got %v, want %v", err, runnel.ErrInterrupted)
		}
		release()
		// Now in flight when it is given up.
		ctx, cancel = context.WithCancelCause(t.Context())
		w, release, err = p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
			cancel(errors.New("nobody waits"))
		}()
		if _, err := w.Invoke(ctx, invocation("given up")); !errors.Is(err, runnel.ErrInterrupted) {
			t.Errorf("got %v, want %v", err, runnel.ErrInterrupted)
		}
		release()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, p, "hello"); got != "hello" {
		t.Errorf("got %q", got)
	}
	if got := p.Stats(); got.Starts != 1 {
		t.Errorf("got %+v, want the one process to live on", got)
	}
}

// A process that is killed in the middle of its answer is not blamed for that
// answer.
func TestRuntimeAPIKilledInTheMiddle(t *testing.T) {
	p, err := worker.Start(t.Context(), runtimeProgram(t), worker.Options{Max: 1, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = invoke(ctx, p, invocation("drip"))
	wantKind(t, err, runnel.KindTimeout, "no answer within")
	done := make(chan error, 1)
	go func() {
		answers, err := invoke(t.Context(), p, invocation("drip"))
		if err == nil {
			err = answers[0].Err
		}
		done <- err
	}()
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the drain: %v", err)
	}
	if err := <-done; !errors.Is(err, runnel.ErrInterrupted) {
		t.Errorf("drained in the middle: got %v, want %v", err, runnel.ErrInterrupted)
	}
}
