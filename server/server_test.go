package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/server"
)

// running is a server that runs.
type running struct {
	*server.Server
	http *http.Client
	key  server.Key // zero: requests carry none
	stop func() error
}

// config is a server without keys in a new directory, on a free port.
func config(t *testing.T) server.Config {
	return server.Config{
		Dir: filepath.Join(t.TempDir(), "data"), Addr: "127.0.0.1:0", Dev: true,
		Version: "v0.0.0-test", Log: slog.New(slog.DiscardHandler),
	}
}

// start runs a server until the test ends, or until stop.
func start(t *testing.T, cfg server.Config) *running {
	t.Helper()
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

func run(t *testing.T, s *server.Server) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	r := &running{Server: s, http: &http.Client{Transport: transport}}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		defer transport.CloseIdleConnections()
		return <-ended
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

// call makes a request and returns status and body.
func (r *running) call(t *testing.T, method, path string, header http.Header, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	if r.key.ID != "" {
		req.Header.Set("Authorization", "Bearer "+r.key.Token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// sqs makes a call of the SQS API, signed if there is a key.
func (r *running) sqs(t *testing.T, action string, in, out any) {
	t.Helper()
	status, body := r.trySQS(t, action, in)
	if status != http.StatusOK {
		t.Fatalf("%s: got %d %s", action, status, body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(body), out); err != nil {
			t.Fatalf("%s: %v in %s", action, err, body)
		}
	}
}

func (r *running) trySQS(t *testing.T, action string, in any) (status int, body string) {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.URL()+"/", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	if r.key.ID != "" {
		auth.Sign(req, text, auth.Credentials{ID: r.key.ID, Secret: r.key.Secret}, "us-east-1", "sqs", time.Now())
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Error(err) // not Fatal: some call it from a goroutine
		return 0, ""
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(answer)
}

type message struct{ MessageId, Body, ReceiptHandle string }

// createQueue returns the URL of a new queue.
func (r *running) createQueue(t *testing.T, name string) string {
	t.Helper()
	var out struct{ QueueUrl string }
	r.sqs(t, "CreateQueue", map[string]string{"QueueName": name}, &out)
	return out.QueueUrl
}

func (r *running) send(t *testing.T, url string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		r.sqs(t, "SendMessage", map[string]string{"QueueUrl": url, "MessageBody": body}, nil)
	}
}

func (r *running) receive(t *testing.T, url string) []message {
	t.Helper()
	var out struct{ Messages []message }
	r.sqs(t, "ReceiveMessage", map[string]any{"QueueUrl": url, "MaxNumberOfMessages": 10}, &out)
	return out.Messages
}

func bodies(ms []message) (out []string) {
	for _, m := range ms {
		out = append(out, m.Body)
	}
	return out
}

func TestMessagesSurviveARestart(t *testing.T) {
	cfg := config(t)
	first := start(t, cfg)
	url := first.createQueue(t, "images")
	first.send(t, url, "one", "two")
	var sent struct{ MessageId string }
	first.sqs(t, "SendMessage", map[string]string{"QueueUrl": url, "MessageBody": "three"}, &sent)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}

	second := start(t, cfg)
	got := second.receive(t, second.URL()+"/000000000000/images")
	if diff := cmp.Diff([]string{"one", "two", "three"}, bodies(got)); diff != "" {
		t.Fatalf("messages after the restart (-want +got):\n%s", diff)
	}
	if got[2].MessageId != sent.MessageId {
		t.Errorf("got message id %s, want %s", got[2].MessageId, sent.MessageId)
	}
}

func TestServeDemandsKeys(t *testing.T) {
	cfg := config(t)
	cfg.Dev = false
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys := s.Keys()
	if len(keys) != 2 || !keys[0].Admin || keys[1].Admin || keys[0].Token != keys[0].ID+"."+keys[0].Secret {
		t.Fatalf("got first keys %+v, want an admin's and a standard one", keys)
	}
	r := run(t, s)
	forged := keys[0]
	forged.Secret = strings.Repeat("x", len(forged.Secret))
	forged.Token = forged.ID + "." + forged.Secret
	for _, test := range []struct {
		path                            string
		none, forged, standard, anAdmin int
	}{
		{"/api/v1/queues", 401, 401, 200, 200},
		{"/api/v1/backup", 401, 401, 403, 200},
		{"/metrics", 401, 401, 403, 200},
		{"/healthz", 200, 200, 200, 200},
		{"/readyz", 200, 200, 200, 200},
		{"/", 200, 200, 200, 200},
	} {
		for _, with := range []struct {
			name string
			key  server.Key
			want int
		}{{"no key", server.Key{}, test.none}, {"a forged key", forged, test.forged}, {"a standard key", keys[1], test.standard}, {"an admin key", keys[0], test.anAdmin}} {
			r.key = with.key
			if got, body := r.call(t, "GET", test.path, nil, ""); got != with.want {
				t.Errorf("GET %s with %s: got %d, want %d: %.200s", test.path, with.name, got, with.want, body)
			}
		}
	}
	for name, key := range map[string]server.Key{"no key": {}, "a forged key": forged} {
		r.key = key
		if status, body := r.trySQS(t, "ListQueues", struct{}{}); status != 403 {
			t.Errorf("ListQueues with %s: got %d %s, want 403", name, status, body)
		}
	}
	r.key = keys[1]
	url := r.createQueue(t, "images")
	r.send(t, url, "hello")
	if got := bodies(r.receive(t, url)); !cmp.Equal(got, []string{"hello"}) {
		t.Errorf("got %q", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	again := start(t, cfg)
	if len(again.Keys()) != 0 {
		t.Error("the keys are told a second time")
	}
	again.key = keys[1]
	if status, body := again.trySQS(t, "ListQueues", struct{}{}); status != 200 || !strings.Contains(body, "/images") {
		t.Errorf("with the key after a restart: got %d %s", status, body)
	}
}

// TestDevLeavesKeysToServe checks that a directory that began with dev gets
// its keys when serve opens it.
func TestDevLeavesKeysToServe(t *testing.T) {
	cfg := config(t)
	first := start(t, cfg)
	if len(first.Keys()) != 0 {
		t.Errorf("dev has made keys: %v", first.Keys())
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Dev = false
	if second := start(t, cfg); len(second.Keys()) != 2 {
		t.Errorf("got %d keys, want 2", len(second.Keys()))
	}
}

func TestDevRefusesForeignPages(t *testing.T) {
	r := start(t, config(t))
	for _, test := range []struct {
		name   string
		header http.Header
		want   int
	}{
		{"plain", nil, 200},
		{"local page", http.Header{"Origin": {"http://localhost:3000"}}, 200},
		{"foreign Host", http.Header{"Host": {"evil.example"}}, 403},
		{"foreign Origin", http.Header{"Origin": {"http://evil.example"}}, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{"/", "/api/v1/queues", "/metrics", "/healthz"} {
				if got, body := r.call(t, "GET", path, test.header, ""); got != test.want {
					t.Errorf("GET %s: got %d %.100s, want %d", path, got, body, test.want)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := config(t)
	start(t, used)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "text")

	for _, test := range []struct {
		name   string
		change func(t *testing.T, c *server.Config)
		want   string // part of the error
	}{
		{"no directory", func(_ *testing.T, c *server.Config) { c.Dir = "" }, "dir: a data directory is needed"},
		{"address without a port", func(_ *testing.T, c *server.Config) { c.Addr = "localhost" }, `addr: "localhost" is not an address: want HOST:PORT`},
		{"port in use", func(_ *testing.T, c *server.Config) { c.Addr = taken.Addr().String() }, "is in use by another program"},
		{"dev for other machines", func(_ *testing.T, c *server.Config) { c.Addr = ":0" }, "addr: :0 is not a loopback address"},
		{"dev with TLS", func(_ *testing.T, c *server.Config) { c.TLSCert, c.TLSKey = file, file }, "dev: a server without keys"},
		{"serve for other machines without TLS", func(_ *testing.T, c *server.Config) { c.Dev, c.Addr = false, "0.0.0.0:0" }, "can be read on the way"},
		{"certificate without key", func(_ *testing.T, c *server.Config) { c.Dev, c.TLSCert = false, file }, "tls_cert: certificate and key come together"},
		{"certificate that is none", func(_ *testing.T, c *server.Config) { c.Dev, c.TLSCert, c.TLSKey = false, file, file }, "read the TLS certificate: "},
		{"public URL with a path", func(_ *testing.T, c *server.Config) { c.PublicURL = "https://example.com/queues" }, "public_url: "},
		{"directory is a file", func(_ *testing.T, c *server.Config) { c.Dir = file }, "not a directory"},
		{"directory of something else", func(_ *testing.T, c *server.Config) { c.Dir = filepath.Dir(file) }, "not a runnel data directory"},
		{"directory of a newer format", func(t *testing.T, c *server.Config) {
			c.Dir = t.TempDir()
			write(t, filepath.Join(c.Dir, "FORMAT"), "runnel data directory, format 99\n")
		}, "has format 99, this release knows up to "},
		{"directory in use", func(_ *testing.T, c *server.Config) { c.Dir = used.Dir }, "in use by another runnel process"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t)
			test.change(t, &cfg)
			_, err := server.New(cfg)
			if err == nil {
				t.Fatal("got a server")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("got more than one line: %q", err)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	err := server.Config{Addr: "x", PublicURL: "y"}.Validate()
	if got := strings.Count(err.Error(), "\n") + 1; got != 3 {
		t.Errorf("got %d faults, want 3 (dir, addr, public_url): %v", got, err)
	}
}

// TestPortInUseWritesNothing: the first keys of a directory are told once, so
// they must not be made by a server that cannot start.
func TestPortInUseWritesNothing(t *testing.T) {
	other := start(t, config(t))
	cfg := config(t)
	cfg.Dev, cfg.Addr = false, other.Addr()
	if _, err := server.New(cfg); err == nil {
		t.Fatal("got a server")
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
}

func TestReadiness(t *testing.T) {
	cfg := config(t)
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) int {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+path, nil))
		return w.Code
	}
	if got := ask("/readyz"); got != 503 {
		t.Errorf("before Run: got %d", got)
	}
	r := run(t, s)
	r.createQueue(t, "images") // it is answered, so it runs
	if got := ask("/readyz"); got != 200 {
		t.Errorf("during Run: got %d", got)
	}
	if got := ask("/healthz"); got != 200 {
		t.Errorf("health: got %d", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := ask("/readyz"); got != 503 {
		t.Errorf("after Run: got %d", got)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestQueryProtocolByGET: the root is a page for people, and a door for
// clients that send a query in the URL.
func TestQueryProtocolByGET(t *testing.T) {
	r := start(t, config(t))
	r.createQueue(t, "images")
	status, text := r.call(t, "GET", "/?Action=ListQueues&Version=2012-11-05", nil, "")
	if status != 200 || !strings.Contains(text, "<QueueUrl>"+r.URL()+"/000000000000/images</QueueUrl>") {
		t.Errorf("got %d %s", status, text)
	}
}
