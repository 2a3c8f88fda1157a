package conformance_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// goLambdaCalls are what a program on aws-lambda-go is asked, of a function
// whose name stands for NAME, and what is answered.
var goLambdaCalls = []struct{ payload, want string }{
	{`{"a":[1,"grüße"]}`, `{"a":[1,"grüße"]}`},
	{`[12345678901234567890]`, `[12345678901234567890]`},
	{`{"do":"refuse","text":"no"}`, `runnel: NAME failed (error): refusedError: refused: no`},
	// The process of a panic ends; that of the next call is another one.
	{`{"do":"panic","text":"oh"}`, `runnel: NAME failed (error): string: oh`},
	{`{"do":"deadline"}`, `{"ahead":true,"known":true}`},
	{`{"do":"context"}`, `[true,true,"NAME",true,256,"hello"]`},
	{`{"do":"stream","text":"two"}`, `one, two`},
	{`{"do":"break","text":"torn"}`, `runnel: NAME failed (error): errorString: torn`},
	{`{"do":"print","text":"this"}`, ``},
}

// TestGoLambda runs a program on AWS's own library that was built before.
func TestGoLambda(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	buildGo(t, filepath.Join(source, "bootstrap"), "./golambda", "CGO_ENABLED=0")
	e := startFunctions(t, fmt.Sprintf(`
functions:
  built: &built {runtime: exec, transport: runtime-api, source: %q, handler: ./bootstrap, memory: 256MiB, env: {GREETING: hello}}
  late: {<<: *built, timeout: 500ms}
  together: {<<: *built, concurrency: 4, workers: {max: 1}}
queues:
  records:
  records-dead:
flows:
  records:
    from: queue:records
    call: built
    batch: {size: 10, window: 50ms}
    payload: sqs-event
    report_batch_item_failures: true
    retry: {max_attempts: 2, initial: 100ms}
    dead_letter: queue:records-dead
`, source))
	t.Run("calls", func(t *testing.T) { e.goLambda(t, "built") })
	t.Run("deadline", func(t *testing.T) {
		for range 2 { // the second has a process of its own
			if got := e.call(t, "late", "json", `{"do":"hang"}`); !strings.HasPrefix(got, "runnel: late failed (timeout)") {
				t.Errorf("a call that does not end: got %q, want a timeout", got)
			}
		}
		if got := e.call(t, "late", "json", `1`); got != `1` {
			t.Errorf("after them: got %q, want 1", got)
		}
	})
	t.Run("several calls in flight", func(t *testing.T) {
		const party = 4
		var answers [party]string
		var wait sync.WaitGroup
		for i := range answers {
			wait.Go(func() { answers[i] = e.call(t, "together", "json", `{"do":"meet"}`) })
		}
		wait.Wait()
		if one := slices.Compact(answers[:]); len(one) != 1 || !strings.HasPrefix(one[0], `{"process":`) {
			t.Errorf("%d calls of one process at once: got %q, want the same process from each", party, one)
		}
	})
	t.Run("sqs event", func(t *testing.T) {
		e.command(t, "send", "records", "1", "2", "bad", "3", "4")
		if got := e.command(t, "receive", "--wait", "20s", "records-dead"); got != "bad" {
			t.Fatalf("the dead letter: got %q, want bad", got)
		}
		want := []string{"1 1 aws:sqs", "2 1 aws:sqs", "3 1 aws:sqs", "4 1 aws:sqs", "bad 1 aws:sqs", "bad 2 aws:sqs"}
		got := e.logged(t, "built", "record ", len(want))
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("records that the function got (-want +got):\n%s", diff)
		}
	})
}

// TestGoLambdaSource has Runnel build the program from its source, with what it
// imports.
func TestGoLambdaSource(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	text, err := os.ReadFile("golambda/main.go")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../go.sum") // more than are needed
	if err != nil {
		t.Fatal(err)
	}
	const library = "github.com/aws/aws-lambda-go"
	version, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}} // {{.GoVersion}}", library).Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"main.go": text, "go.sum": sums, "go.mod": fmt.Appendf(nil, "module golambda\n\ngo 1.24\n\nrequire %s %s", library, version),
	} {
		if err := os.WriteFile(filepath.Join(source, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The build starts with an empty cache.
	download := exec.CommandContext(t.Context(), "go", "mod", "download")
	download.Dir = source
	download.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw", "GOMODCACHE="+t.TempDir())
	if out, err := download.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("the Go module proxy is needed: %v\n%s", err, out)
		}
		t.Fatalf("reach the Go module proxy: %v\n%s", err, out)
	}
	e := startFunctions(t, fmt.Sprintf("functions:\n  source: {runtime: go, source: %q, memory: 256MiB, env: {GREETING: hello}}\n", source))
	e.goLambda(t, "source")
}

// goLambda makes the calls to a function, and looks at what it printed.
func (e endpoint) goLambda(t *testing.T, function string) {
	t.Helper()
	for _, c := range goLambdaCalls {
		want := strings.ReplaceAll(c.want, "NAME", function)
		if got := e.call(t, function, "json", c.payload); got != want {
			t.Errorf("%s %s: got %q, want %q", function, c.payload, got, want)
		}
	}
	for _, printed := range []string{"printed ", "warned of "} {
		if got := e.logged(t, function, printed, 1); !slices.Equal(got, []string{"this"}) {
			t.Errorf("lines with %q: got %q, want this", printed, got)
		}
	}
}

// logged waits until a function has so many log lines with a text, and returns
// what they have behind it.
func (e endpoint) logged(t *testing.T, function, text string, lines int) []string {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		var got []string
		for line := range strings.Lines(e.command(t, "logs", function, "--grep", text)) {
			_, rest, _ := strings.Cut(line, text)
			got = append(got, strings.TrimSpace(rest))
		}
		if len(got) >= lines || time.Now().After(deadline) {
			return got
		}
	}
}

// startFunctions starts a server on a spec file, and waits until its functions
// are deployed.
func startFunctions(t *testing.T, text string) endpoint {
	t.Helper()
	if program == "" {
		t.Skip("functions are ours")
	}
	spec := filepath.Join(t.TempDir(), "runnel.yaml")
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startServer(t, dev, "-f", spec)
	if got := e.command(t, "wait", "--timeout", "3m"); got != "" {
		t.Fatalf("runnel wait: %s", got)
	}
	return e
}

// buildGo builds a package of this repository.
func buildGo(t *testing.T, out, pkg string, env ...string) {
	t.Helper()
	args := []string{"build", "-trimpath", "-o", out, pkg}
	if slices.Contains(env, "GOOS=wasip1") && strings.HasSuffix(pkg, "/reactor") {
		args = slices.Insert(args, 1, "-buildmode=c-shared")
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, bytes.TrimSpace(text))
	}
}
