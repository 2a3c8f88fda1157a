package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/server"
)

// startServer runs a server for the time of a test; dev takes any
// credentials.
func startServer(t *testing.T, dev bool) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Dev: dev, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return s
}

// noEnvironment forgets what the environment of the test says of servers.
func noEnvironment(t *testing.T) {
	for _, name := range []string{"RUNNEL_URL", "RUNNEL_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
}

// output is what a command printed.
type output struct {
	stdout, stderr bytes.Buffer
}

// lines are those of standard output.
func (o *output) lines() []string {
	if o.stdout.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(o.stdout.String(), "\n"), "\n")
}

// try runs a command of the client.
func try(ctx context.Context, in io.Reader, args ...string) (*output, error) {
	var o output
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(&o.stdout)
	root.SetErr(&o.stderr)
	return &o, root.ExecuteContext(ctx)
}

// must runs a command that succeeds.
func mustRun(t *testing.T, in string, args ...string) *output {
	t.Helper()
	o, err := try(t.Context(), strings.NewReader(in), args...)
	if err != nil {
		t.Fatalf("runnel %s: %v", strings.Join(args, " "), err)
	}
	return o
}

// mustFail runs a command that fails, and returns its one line.
func mustFail(t *testing.T, in string, args ...string) string {
	t.Helper()
	_, err := try(t.Context(), strings.NewReader(in), args...)
	if err == nil {
		t.Fatalf("runnel %s does not fail", strings.Join(args, " "))
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("runnel %s: the error is not one line: %q", strings.Join(args, " "), err)
	}
	return err.Error()
}

func TestNewClient(t *testing.T) {
	type environment map[string]string
	for _, test := range []struct {
		name  string
		env   environment
		flags []string
		url   string
		key   auth.Credentials
		fault string
	}{
		{name: "nothing said", url: "http://127.0.0.1:7070"},
		{name: "environment", env: environment{"RUNNEL_URL": "https://q.example/", "RUNNEL_KEY": "RKID.secret"}, url: "https://q.example", key: auth.Credentials{ID: "RKID", Secret: "secret"}},
		{name: "AWS", env: environment{"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}, url: defaultURL, key: auth.Credentials{ID: "A", Secret: "S"}},
		{name: "half of AWS", env: environment{"AWS_ACCESS_KEY_ID": "A"}, url: defaultURL},
		{name: "own key before AWS'", env: environment{"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "RUNNEL_KEY": "B.T"}, url: defaultURL, key: auth.Credentials{ID: "B", Secret: "T"}},
		{name: "flags before all", env: environment{"RUNNEL_URL": "http://a", "RUNNEL_KEY": "A.S"}, flags: []string{"--url", "http://b:1", "--key", "B.T"}, url: "http://b:1", key: auth.Credentials{ID: "B", Secret: "T"}},
		{name: "secret with a dot", flags: []string{"--key", "B.T.U"}, url: defaultURL, key: auth.Credentials{ID: "B", Secret: "T.U"}},
		{name: "not a URL", flags: []string{"--url", "localhost:7070"}, fault: `"localhost:7070"`},
		{name: "not HTTP", flags: []string{"--url", "ftp://localhost"}, fault: `"ftp://localhost"`},
		{name: "not a key", flags: []string{"--key", "hunter2"}, fault: "ID.SECRET"},
	} {
		t.Run(test.name, func(t *testing.T) {
			noEnvironment(t)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			cmd := &cobra.Command{}
			addClientFlags(cmd)
			if err := cmd.ParseFlags(test.flags); err != nil {
				t.Fatal(err)
			}
			c, err := newClient(cmd)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v, want one about %s, without the secret", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{test.url, test.key}, []any{c.base, c.key}); diff != "" {
				t.Errorf("URL and key (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNewClientWithoutFlags is for commands that do not have them.
func TestNewClientWithoutFlags(t *testing.T) {
	noEnvironment(t)
	if c, err := newClient(&cobra.Command{}); err != nil || c.base != defaultURL {
		t.Errorf("newClient = %+v, %v", c, err)
	}
}

func clientOf(url string) *client {
	return &client{base: url, key: auth.Credentials{ID: "RKID", Secret: "secret"}, http: http.DefaultClient}
}

func TestNativeCall(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.Method + " " + r.URL.RequestURI() {
		case "POST /api/v1/echo?x=1":
			if r.Header.Get("Authorization") != "Bearer RKID.secret" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("headers %v", r.Header)
			}
			_, _ = w.Write(body)
		case "GET /api/v1/raw":
			_, _ = io.WriteString(w, "raw bytes")
		case "GET /api/v1/conflict":
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"error":{"code":"conflict","message":"it is there already"}}`)
		default:
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>\nsomebody else")
		}
	}))
	defer s.Close()
	c := clientOf(s.URL)
	ctx := t.Context()

	in, out := map[string]int{"n": 7}, map[string]int(nil)
	if err := c.do(ctx, "POST", "/api/v1/echo?x=1", in, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("echo = %v, %v; want %v", out, err, in)
	}
	body, err := c.stream(ctx, "GET", "/api/v1/raw")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if text, err := io.ReadAll(body); string(text) != "raw bytes" || err != nil {
		t.Errorf("stream = %q, %v", text, err)
	}
	var e *runnel.Error
	if err := c.do(ctx, "GET", "/api/v1/conflict", nil, nil); !errors.As(err, &e) || e.Code != runnel.CodeConflict || e.Message != "it is there already" {
		t.Errorf("conflict = %v", err)
	}
	if _, err := c.stream(ctx, "GET", "/api/v1/conflict"); runnel.CodeOf(err) != runnel.CodeConflict {
		t.Errorf("stream of a conflict = %v", err)
	}
	if err := c.do(ctx, "GET", "/elsewhere", nil, nil); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway: <html>") {
		t.Errorf("an answer of somebody else = %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	c := clientOf(s.URL)
	for _, err := range []error{c.do(t.Context(), "GET", "/", nil, nil), c.sqs(t.Context(), "ListQueues", struct{}{}, nil)} {
		if err == nil || !strings.Contains(err.Error(), "no server answers at "+s.URL) || !strings.Contains(err.Error(), "runnel dev") {
			t.Errorf("error %v, want one that says what to do", err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the user went home")
	cancel(cause)
	if err := c.do(ctx, "GET", "/", nil, nil); !errors.Is(err, cause) {
		t.Errorf("after the end of the context: %v, want its cause", err)
	}
}

// TestSignature talks to a server that demands keys.
func TestSignature(t *testing.T) {
	noEnvironment(t)
	s := startServer(t, false)
	keys := s.Keys()
	if len(keys) == 0 {
		t.Fatal("the server has no keys")
	}
	mustRun(t, "", "send", "--url", s.URL(), "--key", keys[0].Token, "--create", "jobs", "one")
	t.Setenv("AWS_ACCESS_KEY_ID", keys[0].ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", keys[0].Secret)
	t.Setenv("RUNNEL_URL", s.URL())
	if got := mustRun(t, "", "receive", "jobs").lines(); !cmp.Equal(got, []string{"one"}) {
		t.Errorf("received %q, want one", got)
	}
	if line := mustFail(t, "", "send", "--key", keys[0].ID+".wrong", "jobs", "two"); !strings.Contains(line, "InvalidSignatureException") {
		t.Errorf("a wrong secret: %s", line)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if line := mustFail(t, "", "receive", "jobs"); line == "" {
		t.Error("a server that demands keys takes a call without")
	}
	if got := mustRun(t, "", "load", "--key", keys[0].Token, "--messages", "20", "--mode", "loop").lines(); len(got) != 1 {
		t.Errorf("load printed %q, want one line", got)
	}
}

// deadline is when a test gives up waiting for an event.
const deadline = 20 * time.Second
