package shim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/worker/shim"
)

// languages are tested alike: the names of handlers in effects and contexts
// differ by their languages' habits only.
var languages = []struct {
	name  string
	start func(testing.TB, string, ...string) *process
}{
	{"python", startPython},
	{"node", startNode},
}

func TestPrints(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "effects.prints").ready()
			if diff := cmp.Diff([]string{"json:1", "json:2", "json:3"}, p.call("each", "json", "1", "2", "3")); diff != "" {
				t.Error(diff)
			}
			p.waitFor(p.out1, "out 1 ü\nout 2 ü\nout 3 ü\n")
			p.waitFor(p.err2, "err 1\nerr 2\nerr 3\n")
			p.drained()
			p.waitFor(p.out1, "bye\n") // what the user registered for the end runs
		})
	}
}

// TestPrintedBeforeResult is that the output of a call can be read, all of it,
// without waiting once its result is there. It reads the output only then.
func TestPrintedBeforeResult(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			handler := map[string]string{"python": "effects.no_newline", "node": "effects.prints"}[l.name]
			want := map[string]string{"python": "partial", "node": "out 1 ü\n"}[l.name]
			r, w := pipe(t)
			p := startWith(t, l.name, handler, w)
			if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				p.call("each", "json", "1")
				got := make([]byte, 1000)
				n, err := r.Read(got) // the writer is open: this would wait
				if err != nil || string(got[:n]) != want {
					t.Fatalf("got %q, %v, want %q", got[:n], err, want)
				}
			}
		})
	}
}

// TestNodeFloods is that a result waits for output that the pipe does not hold:
// what was not read when the result is there can only be in the pipe.
func TestNodeFloods(t *testing.T) {
	t.Parallel()
	const size = 2_000_001
	r, w := pipe(t)
	p := startWith(t, "node", "effects.floods", w)
	var got atomic.Int64
	read := make(chan error)
	go func() {
		_, err := io.CopyN(counter{&got}, r, size)
		read <- err
	}()
	p.call("each", "json", fmt.Sprint(size-1))
	if n := got.Load(); n < size-(64<<10) {
		t.Errorf("%d bytes of %d were read when the result was there; a pipe holds 64 KiB", n, size)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}

// startWith starts a worker that prints to out, which is closed here.
func startWith(t *testing.T, language, handler string, out *os.File) *process {
	t.Helper()
	script := `exec "$@" >&5`
	program := map[string][]string{"python": {"python3", "-X", "utf8", "python/worker.py"}, "node": {"node", "node/worker.cjs"}}[language]
	args := []string{"/bin/sh", "-c", script, "sh", interpreter(t, program[0])}
	args = append(args, program[1:len(program)-1]...)
	args = append(args, filepath.Join(writeShims(t), program[len(program)-1]))
	p := start(t, args, "testdata/"+language, []string{"RUNNEL_HANDLER=" + handler, "PYTHONDONTWRITEBYTECODE=1"}, out)
	out.Close()
	return p.ready()
}

// TestForeignWrites is that what is written to descriptor 1 by hand, or after
// standard output was closed, does no harm.
func TestForeignWrites(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		for _, handler := range []string{"effects.writes", "effects.closes"} {
			t.Run(l.name+" "+handler, func(t *testing.T) {
				t.Parallel()
				p := l.start(t, handler).ready()
				want := []string{"json:1", "json:2"}
				if handler == "effects.closes" && l.name == "python" {
					// The second close of descriptor 1 is an error of the user's.
					want[1] = "error OSError: [Errno 9] Bad file descriptor"
				}
				if handler == "effects.closes" && l.name == "node" {
					want[1] = "error Error: EBADF: bad file descriptor, close"
				}
				if diff := cmp.Diff(want, p.call("each", "json", "1", "2")); diff != "" {
					t.Error(diff)
				}
				if handler == "effects.writes" {
					p.waitFor(p.out1, "result x 1 json:2\n{}\n")
				}
				p.drained()
				p.noFrames()
			})
		}
	}
}

func TestPythonLogging(t *testing.T) {
	t.Parallel()
	p := startPython(t, "effects.logs").ready()
	p.call("each", "json", "1")
	p.waitFor(p.err2, "INFO:root:info 1\nWARNING:mine:warn\n")
}

func TestContextLog(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			gate := gate(t)
			handler := map[string]string{"python": "effects.context_logs", "node": "effects.contextLogs"}[l.name]
			p := l.start(t, handler, "GATE="+gate).ready()
			id := p.invoke("each", "json", testMeta, "1")
			var got []string
			for range 2 {
				f := p.receive()
				got = append(got, strings.Join(f.words, " ")+" "+f.values[0])
			}
			p.answers(id)
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			f := p.receive() // from a thread or a timer, after the call
			got = append(got, strings.Join(f.words, " ")+" "+f.values[0])
			want := []string{"log call-1 info 11 plain\nlines", "log call-1 warn 2 ü", "log - error 4 late"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDescriptors is that subprocesses do not inherit the frames' descriptors.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("there is no /proc here")
	}
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "effects.descriptors").ready()
			answer := p.call("each", "json", "1")
			var inherited []string
			if err := json.Unmarshal([]byte(strings.TrimPrefix(answer[0], "json:")), &inherited); err != nil {
				t.Fatalf("%q: %v", answer, err)
			}
			if len(inherited) < 3 {
				t.Errorf("got %q, want at least the three standard ones", inherited)
			}
			for _, file := range []*os.File{p.in, p.out} {
				name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
				if err != nil {
					t.Fatal(err)
				}
				if slices.Contains(inherited, name) {
					t.Errorf("a subprocess inherits %s of the frames: %q", name, inherited)
				}
			}
		})
	}
	t.Run("python forked", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff([]string{"json:10"}, startPython(t, "effects.forks").ready().call("each", "json", "1")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "effects.terminates").ready()
			want := map[string]string{"python": "json:-15", "node": `json:"SIGTERM"`}[l.name]
			for range 2 {
				if diff := cmp.Diff([]string{want}, p.call("each", "json", "1")); diff != "" {
					t.Error(diff)
				}
			}
			p.drained()
		})
	}
}

func TestPythonPath(t *testing.T) {
	t.Parallel()
	got := startPython(t, "effects.path").ready().call("each", "json", "1")
	if diff := cmp.Diff([]string{`json:[true,["effects.path"]]`}, got); diff != "" {
		t.Error(diff)
	}
}

// TestPythonOwnRunnel is that a file runnel.py of the user's wins.
func TestPythonOwnRunnel(t *testing.T) {
	t.Parallel()
	args := shim.Command("python", interpreter(t, "python3"), writeShims(t))
	// The handler's name is the default one.
	p := start(t, args, "testdata/python/shadow", []string{"PYTHONDONTWRITEBYTECODE=1"}).ready()
	if diff := cmp.Diff([]string{"json:true"}, p.call("each", "json", "1")); diff != "" {
		t.Error(diff)
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			env := []string{"RUNNEL_FUNCTION=demo/greet", "RUNNEL_VERSION=abc", "RUNNEL_MEMORY=67108864", "RUNNEL_WORKER=w-1"}
			p := l.start(t, "contexts.everything", env...).ready()
			answers := p.call("each", "json", "1")
			var got map[string]any
			if err := json.Unmarshal([]byte(strings.TrimPrefix(answers[0], "json:")), &got); err != nil {
				t.Fatalf("%q: %v", answers, err)
			}
			want := map[string]any{
				"message_id": "m-1", "attempt": 2.0, "invocation_id": "call-1", "function_name": "demo/greet",
				"function_version": "abc", "flow": "orders", "key": "k", "attributes": map[string]any{"color": "grün"},
				"trace": "00-1-2-01", "deadline": float64(testDeadline.Unix()), "remaining": true, "millis": true,
				"aws_request_id": "call-1", "memory": "64", "arn": "arn:aws:lambda:local:000000000000:function:greet",
				"log_group_name": "/runnel/demo/greet", "log_stream_name": "abc/w-1", "messages": 1.0,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
		t.Run(l.name+" without meta", func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "contexts.empty").ready()
			for _, meta := range []string{"", "{}", `{"flow":"","items":[{}]}`} {
				got := p.answers(p.invoke("each", "json", meta, "1"))
				if diff := cmp.Diff([]string{`json:["",1,"",{},"",""]`}, got); diff != "" {
					t.Errorf("meta %q: %s", meta, diff)
				}
			}
		})
	}
}

// TestEnd is that the end of the pipe ends the worker as drain does, also
// before start.
func TestEnd(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "effects.prints").ready()
			p.call("each", "json", "1")
			p.in.Close()
			if code := p.wait(); code != 0 {
				t.Errorf("exit code: got %d, want 0", code)
			}
			p.waitFor(p.out1, "bye\n")
		})
		t.Run(l.name+" during a call", func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "values.later").ready()
			id := p.invoke("each", "json", testMeta, "1")
			p.send("cancel " + id + "\ndrain\n")
			if diff := cmp.Diff([]string{"json:1"}, p.answers(id)); diff != "" {
				t.Error(diff)
			}
			if code := p.wait(); code != 0 {
				t.Errorf("exit code: got %d, want 0", code)
			}
		})
	}
}

// TestPieces is that frames may arrive in any pieces, and several at once.
func TestPieces(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "values.echo").ready()
			long := `"` + strings.Repeat("ü", 100_000) + `"`
			one := invokeFrame("a", "each", "json", testMeta, `"x"`, long)
			for _, cut := range []int{1, 10, strings.Index(one, "\n"), strings.Index(one, "\n") + 1, 200, 70_000, len(one) - 1} {
				p.send(one[:cut])
				p.send(one[cut:])
				if diff := cmp.Diff([]string{`json:"x"`, "json:" + long}, p.answers("a")); diff != "" {
					t.Errorf("cut at %d: %s", cut, diff)
				}
			}
			p.send("cancel a\ncancel b\n" + invokeFrame("c", "each", "json", "", "1"))
			if diff := cmp.Diff([]string{"json:1"}, p.answers("c")); diff != "" {
				t.Error(diff)
			}
			p.drained()
		})
	}
}

// TestNodeFramesDuringCall is that what arrives during a call leaves its
// payloads alone.
func TestNodeFramesDuringCall(t *testing.T) {
	t.Parallel()
	gate := gate(t)
	p := startNode(t, "effects.gated", "GATE="+gate).ready()
	id := p.invoke("each", "bytes", "", "first payload", "second payload")
	p.receive() // the handler runs
	p.send(strings.Repeat("cancel "+id+"\n", 100))
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var got []frame
	for len(got) < 2 {
		got = append(got, p.receive()) // the second item's line, and the result
	}
	if diff := cmp.Diff([]string{"first payload", "second payload"}, got[1].values); diff != "" {
		t.Error(diff)
	}
}

// TestUnknownFrame is that a worker does not go on after a frame that it does
// not know.
func TestUnknownFrame(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := l.start(t, "values.echo").ready()
			p.send("hello\n")
			if code := p.wait(); code == 0 {
				t.Error("exit code: got 0")
			}
			p.waitFor(p.err2, "unknown frame")
		})
	}
}

// TestNodeCrashes is what ends a Node worker: it must not look like an answer.
func TestNodeCrashes(t *testing.T) {
	t.Parallel()
	t.Run("exit", func(t *testing.T) {
		t.Parallel()
		p := startNode(t, "failures.exit").ready()
		p.invoke("each", "json", testMeta, "1")
		if code := p.wait(); code != 5 {
			t.Errorf("exit code: got %d, want 5", code)
		}
		p.noFrames()
	})
	t.Run("rejection between calls", func(t *testing.T) {
		t.Parallel()
		p := startNode(t, "failures.after").ready()
		if diff := cmp.Diff([]string{"json:1"}, p.call("each", "json", "1")); diff != "" {
			t.Error(diff)
		}
		if code := p.wait(); code == 0 {
			t.Error("exit code: got 0")
		}
		p.waitFor(p.err2, "RangeError: between calls")
		p.waitFor(p.err2, "failures.js")
	})
}

// TestPythonSyntax is that the shim has no syntax younger than Python 3.8's.
func TestPythonSyntax(t *testing.T) {
	t.Parallel()
	python := interpreter(t, "python3")
	err := fs.WalkDir(shim.Files(), "python", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		source, err := fs.ReadFile(shim.Files(), path)
		if err != nil {
			return err
		}
		cmd := exec.Command(python, "-c", "import ast, sys; ast.parse(sys.stdin.buffer.read(), feature_version=(3, 8))")
		cmd.Stdin = bytes.NewReader(source)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
