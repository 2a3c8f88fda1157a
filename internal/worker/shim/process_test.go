package shim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// patience is how long a test waits for anything. Nothing that works takes it.
const patience = 20 * time.Second

// process is a worker and the test's ends of its pipes.
type process struct {
	t          testing.TB
	cmd        *exec.Cmd
	in, out    *os.File
	frames     *bufio.Reader
	exited     chan struct{} // closed when it was reaped
	code       int           // good after exited
	out1, err2 *printed
	nextCall   int
}

// printed is what a worker printed. Waiting for its end means that nobody holds
// the pipe any more.
type printed struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // of capacity 1
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text.Write(b)
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// interpreter returns the path of a program that tests need.
func interpreter(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: want it where CI is true", name)
		}
		t.Skipf("%s is missing", name)
	}
	return path
}

// writeShims writes the shims out as the server does.
func writeShims(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, shim.Files()); err != nil {
		t.Fatalf("writing the shims: %v", err)
	}
	return dir
}

func startPython(t testing.TB, handler string, env ...string) *process {
	t.Helper()
	args := shim.Command(runnel.RuntimePython, interpreter(t, "python3"), writeShims(t))
	return start(t, args, "testdata/python", append(env, "RUNNEL_HANDLER="+handler, "PYTHONDONTWRITEBYTECODE=1"))
}

func startNode(t testing.TB, handler string, env ...string) *process {
	t.Helper()
	args := shim.Command(runnel.RuntimeNode, interpreter(t, "node"), writeShims(t))
	return start(t, args, "testdata/node", append(env, "RUNNEL_HANDLER="+handler))
}

// start starts a program in dir with frames on its descriptors 3 and 4, and
// sends it the frame start. More files are its descriptors 5 and up.
func start(t testing.TB, args []string, dir string, env []string, more ...*os.File) *process {
	t.Helper()
	p := spawn(t, args, dir, env, more...)
	p.send("start\n")
	return p
}

// spawn is start without the frame.
func spawn(t testing.TB, args []string, dir string, env []string, more ...*os.File) *process {
	t.Helper()
	in, toIn := pipe(t)
	fromOut, out := pipe(t)
	p := &process{
		t:      t,
		cmd:    exec.Command(args[0], args[1:]...),
		in:     toIn,
		out:    fromOut,
		frames: bufio.NewReaderSize(fromOut, 64<<10),
		exited: make(chan struct{}),
		out1:   &printed{changed: make(chan struct{}, 1)},
		err2:   &printed{changed: make(chan struct{}, 1)},
	}
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.cmd.ExtraFiles = append([]*os.File{in, out}, more...)
	p.cmd.Stdout, p.cmd.Stderr = p.out1, p.err2
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", args, err)
	}
	in.Close()
	out.Close()
	go func() {
		_ = p.cmd.Wait() // its error is the exit code
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended in most tests
		<-p.exited
		if t.Failed() {
			t.Logf("stdout: %s\nstderr: %s", p.out1, p.err2)
		}
	})
	if err := p.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return p
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatalf("making a pipe: %v", err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func (p *process) send(frame string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, frame); err != nil {
		p.t.Fatalf("sending %.60q: %v", frame, err)
	}
}

// frame is a frame from a worker. The values of a result are beside their
// kinds.
type frame struct {
	words  []string // without those of the values
	kinds  []string
	values []string
}

func (p *process) receive() frame {
	p.t.Helper()
	line, err := p.frames.ReadString('\n')
	if err != nil {
		p.t.Fatalf("reading a frame: %v after %q; stderr: %s", err, line, p.err2)
	}
	f := frame{words: strings.Split(strings.TrimSuffix(line, "\n"), " ")}
	lengths := f.words[len(f.words)-1:]
	switch f.words[0] {
	case "ready":
		return f
	case "result":
		lengths = f.words[3:]
		f.words = f.words[:3]
		if f.words[2] != strconv.Itoa(len(lengths)) {
			p.t.Fatalf("%q announces another number of values than it has", line)
		}
	}
	for _, word := range lengths {
		kind, digits, ok := strings.Cut(word, ":")
		if !ok {
			kind, digits = "", word
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		value := make([]byte, n)
		if _, err := io.ReadFull(p.frames, value); err != nil {
			p.t.Fatalf("reading the values of %q: %v", line, err)
		}
		f.kinds = append(f.kinds, kind)
		f.values = append(f.values, string(value))
	}
	return f
}

// ready waits for the frame of that name.
func (p *process) ready() *process {
	p.t.Helper()
	if f := p.receive(); f.words[0] != "ready" {
		p.t.Fatalf("got frame %q, want ready", f)
	}
	return p
}

// failure is the JSON of an error.
type failure struct {
	Kind, Name, Message, Stack string
	After                      float64
}

func parseFailure(t testing.TB, text string) failure {
	t.Helper()
	var f failure
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("error %q: %v", text, err)
	}
	return f
}

// failed waits for the frame of that name, and for the end of the process.
func (p *process) failed() failure {
	p.t.Helper()
	f := p.receive()
	if f.words[0] != "failed" {
		p.t.Fatalf("got frame %q, want failed", f)
	}
	if code := p.wait(); code == 0 {
		p.t.Errorf("exit code after failed: got 0")
	}
	return parseFailure(p.t, f.values[0])
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.code
	case <-time.After(patience):
		p.t.Fatalf("the worker did not end")
		return 0
	}
}

const testMeta = `{"flow":"orders","items":[` +
	`{"message":"m-1","attempt":2,"key":"k","trace":"00-1-2-01","attributes":{"color":"grün"}},` +
	`{"message":"m-2","attempt":1},{"message":"m-3","attempt":1}]}`

var testDeadline = time.Date(2090, 1, 2, 3, 4, 5, 0, time.UTC)

// invoke sends a call with a fresh id and returns that.
func (p *process) invoke(mode, format, meta string, payloads ...string) string {
	p.t.Helper()
	p.nextCall++
	id := fmt.Sprintf("call-%d", p.nextCall)
	p.send(invokeFrame(id, mode, format, meta, payloads...))
	return id
}

func invokeFrame(id, mode, format, meta string, payloads ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "invoke %s %d %s %s %d %d", id, testDeadline.UnixMilli(), mode, format, len(meta), len(payloads))
	for _, payload := range payloads {
		fmt.Fprintf(&b, " %d", len(payload))
	}
	b.WriteString("\n" + meta)
	for _, payload := range payloads {
		b.WriteString(payload)
	}
	return b.String()
}

// call makes a call and returns one word per answer: KIND:VALUE, or for errors
// KIND NAME: MESSAGE. The failure of a call as a whole begins with "call ".
func (p *process) call(mode, format string, payloads ...string) []string {
	p.t.Helper()
	id := p.invoke(mode, format, testMeta, payloads...)
	return p.answers(id)
}

func (p *process) answers(id string) []string {
	p.t.Helper()
	f := p.receive()
	if len(f.words) < 2 || f.words[1] != id {
		p.t.Fatalf("got frame %q, want the answer to %s", f, id)
	}
	return p.answersOf(f)
}

func (p *process) answersOf(f frame) []string {
	p.t.Helper()
	if f.words[0] == "error" {
		e := parseFailure(p.t, f.values[0])
		return []string{"call " + e.Kind + " " + e.Name + ": " + e.Message}
	}
	out := make([]string, len(f.values))
	for i, value := range f.values {
		out[i] = f.kinds[i] + ":" + value
		if f.kinds[i] == "error" {
			e := parseFailure(p.t, value)
			out[i] = e.Kind + " " + e.Name + ": " + e.Message
			if e.After != 0 {
				out[i] += fmt.Sprintf(" (after %g)", e.After)
			}
		}
	}
	return out
}

// fail makes a call with one payload and returns its error.
func (p *process) fail(payload string) failure {
	p.t.Helper()
	id := p.invoke("each", "json", testMeta, payload)
	f := p.receive()
	if f.words[0] != "result" || f.words[1] != id || f.kinds[0] != "error" {
		p.t.Fatalf("got frame %q, want an error as the result of %s", f, id)
	}
	return parseFailure(p.t, f.values[0])
}

// waitFor waits until the worker has printed text.
func (p *process) waitFor(stream *printed, text string) {
	p.t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(stream.String(), text) {
		select {
		case <-stream.changed:
		case <-deadline:
			p.t.Fatalf("got %q, want it to contain %q", stream, text)
		}
	}
}

// drained tells the worker to end, and wants it to do so well.
func (p *process) drained() {
	p.t.Helper()
	p.send("drain\n")
	if code := p.wait(); code != 0 {
		p.t.Errorf("exit code after drain: got %d, want 0", code)
	}
}

// noFrames wants nothing more on the pipe than its end.
func (p *process) noFrames() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.frames); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || len(rest) > 0 {
		p.t.Errorf("frames after the last answer: %q, %v", rest, err)
	}
}

func gate(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "gate")
}

func perlHasJSON(perl string) bool {
	return exec.Command(perl, "-MJSON::PP", "-e", "1").Run() == nil
}
