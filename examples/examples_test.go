package examples_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/examples"
	"github.com/runnel-io/runnel/server"
)

// languages are the ones that each function of the examples is there in, with
// the program that runs them.
var languages = map[string]string{"python": "python3", "node": "node"}

// start runs a copy of an example with its functions in a language.
func start(t *testing.T, example, language string) runnel.Broker {
	t.Helper()
	if _, err := exec.LookPath(languages[language]); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", languages[language])
		}
		t.Skipf("%s is missing", languages[language])
	}
	files, err := fs.Sub(examples.Files, example)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "runnel.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "    runtime: ") })
	if at < 0 {
		t.Fatal("the spec file has no runtime")
	}
	lines[at] = "    runtime: " + language
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, path)
}

// serve runs a server with a spec file.
func serve(t *testing.T, path string) runnel.Broker {
	t.Helper()
	s, err := server.New(server.Config{
		Dir: t.TempDir(), Addr: "127.0.0.1:0", Dev: true, SpecFile: path,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := s.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	return s.Broker("default")
}

func send(t *testing.T, b runnel.Broker, queue string, bodies ...string) {
	t.Helper()
	sink, err := b.Sink(queue)
	if err != nil {
		t.Fatal(err)
	}
	var ms []runnel.Message
	for _, body := range bodies {
		ms = append(ms, runnel.Message{Body: []byte(body)})
	}
	if err := errors.Join(sink.Send(t.Context(), ms), sink.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// receive takes n messages from a queue.
func receive(t *testing.T, b runnel.Broker, queue string, n int) (out []runnel.Delivery) {
	t.Helper()
	source, err := b.Source(queue)
	if err != nil {
		t.Fatal(err)
	}
	for len(out) < n {
		ds, err := source.Receive(t.Context(), runnel.Limits{Messages: n - len(out), Wait: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			t.Fatalf("%d messages came on %s, want %d", len(out), queue, n)
		}
		for i := range ds {
			if err := source.Settle(t.Context(), []runnel.Settlement{{Delivery: &ds[i], Verdict: runnel.Ack}}); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, ds...)
	}
	if err := source.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

func bodies(ds []runnel.Delivery) (out []string) {
	for _, d := range ds {
		out = append(out, string(d.Body))
	}
	return out
}

func TestThumbnails(t *testing.T) {
	for _, test := range []struct{ language, failure string }{
		{"python", "KeyError: 'width'"},
		{"node", "RangeError: broken.png has no width"},
	} {
		t.Run(test.language, func(t *testing.T) {
			b := start(t, "thumbnails", test.language)
			send(t, b, "images", `{"name": "broken.png"}`, `{"name": "cat.png", "width": 1600, "height": 900}`)
			want := []string{`{"name":"cat.png","width":128,"height":72}`}
			if diff := cmp.Diff(want, bodies(receive(t, b, "thumbnails", 1))); diff != "" {
				t.Errorf("thumbnails (-want +got):\n%s", diff)
			}
			dead := receive(t, b, "images-dead", 1)[0]
			if got := string(dead.Body); got != `{"name": "broken.png"}` {
				t.Errorf("dead letter %s", got)
			}
			reason := dead.DeadLetter
			if reason == nil || !strings.Contains(reason.Message, test.failure) || reason.Attempts != 3 || reason.Stack == "" || reason.Source != "queue:images" {
				t.Errorf("reason %+v, want %q after 3 attempts, with a stack", reason, test.failure)
			}
		})
	}
}

func TestGreeting(t *testing.T) {
	for language := range languages {
		t.Run(language, func(t *testing.T) {
			b := start(t, "greeting", language)
			send(t, b, "greetings", `{"stock_no": "STK675849"}`)
			want := []string{
				`{"stock_no":"STK675849","greeting":"hello"}`,
				`{"stock_no":"STK675849","greeting":"hello","name":"world"}`,
			}
			if diff := cmp.Diff(want, bodies(receive(t, b, "states", 2))); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSpecFiles checks the spec files as they are.
func TestSpecFiles(t *testing.T) {
	handlers := map[string]runnel.Handler{"shout": runnel.HandlerFunc(nil)}
	for _, example := range []string{"thumbnails", "greeting", "go-handler", "queue-demo", "sdk-publish"} {
		if err := server.CheckSpec(filepath.Join(example, "runnel.yaml"), handlers); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(example, "README.md")); err != nil {
			t.Error(err)
		}
	}
}
