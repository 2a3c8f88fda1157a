package worker_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

// The test binary is also the worker process, and the server that is killed:
// ROLE in its environment says which.
func TestMain(m *testing.M) {
	switch os.Getenv("ROLE") {
	case "worker":
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "concurrent":
		concurrent()
	case "runtime":
		runtimeClient()
	case "host":
		host()
	case "group":
		fmt.Println(ownGroup())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ownGroup is where a server makes control groups, where there are any.
var ownGroup = func() string { return "" }

// serve is a worker written by hand, as docs/adr/0008-worker-frames.md says.
// The text of a payload tells it what to do.
func serve() error {
	in, out := bufio.NewReader(os.NewFile(3, "in")), os.NewFile(4, "out")
	if line, err := in.ReadString('\n'); line != "start\n" {
		return fmt.Errorf("got %q, want start: %w", line, err)
	}
	switch start, path, _ := strings.Cut(os.Getenv("START"), ":"); start {
	case "fail":
		failure := `{"kind":"error","name":"SyntaxError","message":"line 3 is wrong","stack":"at line 3"}`
		fmt.Fprintf(out, "failed %d\n%s", len(failure), failure)
		return errors.New("exits after failed")
	case "hang":
		fmt.Fprintln(os.Stderr, "still loading")
		<-time.After(time.Hour) // an empty select is a deadlock to the runtime
	case "exit":
		return errors.New("no such module")
	case "garbage":
		fmt.Fprintln(out, "hello")
		<-time.After(time.Hour) // an empty select is a deadlock to the runtime
	case "once": // loads while the file is there
		if _, err := os.Stat(path); err != nil {
			return err
		}
	case "die": // is ready and ends by itself
		fmt.Fprintln(out, "ready")
		return nil
	}
	fmt.Println("loaded")
	fmt.Fprintln(out, "ready")
serving:
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == "drain\n" {
			return nil
		}
		words := strings.Fields(line)
		if words[0] == "cancel" {
			continue
		}
		id, list := words[1], words[3] == "list"
		lengths := make([]int, 0, len(words))
		for _, w := range append(words[5:6:6], words[7:]...) {
			n, err := strconv.Atoi(w)
			if err != nil {
				return err
			}
			lengths = append(lengths, n)
		}
		parts := make([][]byte, len(lengths))
		for i, n := range lengths {
			parts[i] = make([]byte, n)
			if _, err := io.ReadFull(in, parts[i]); err != nil {
				return err
			}
		}
		kinds, bodies := "", []byte(nil)
		for _, p := range parts[1:] {
			kind, body := handle(id, words, parts[0], p, in, out)
			if kind == "" {
				continue serving // it was answered
			}
			kinds += fmt.Sprintf(" %s:%d", kind, len(body))
			bodies = append(bodies, body...)
		}
		if list {
			failure := `{"kind":"error","name":"ListError","message":"all of it"}`
			_, err = fmt.Fprintf(out, "error %s %d\n%s", id, len(failure), failure)
		} else {
			_, err = out.Write(append(fmt.Appendf(nil, "result %s %d%s\n", id, len(parts)-1, kinds), bodies...))
		}
		if err != nil {
			return err
		}
	}
}

func handle(id string, words []string, meta, payload []byte, in *bufio.Reader, out *os.File) (kind string, body []byte) {
	do, arg, _ := strings.Cut(string(payload), " ")
	answer := func(format string, args ...any) (string, []byte) {
		raw, err := json.Marshal(fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		return "json", raw
	}
	switch do {
	case "sleep":
		<-time.After(time.Hour) // an empty select is a deadlock to the runtime
	case "wait": // for cancel
		line, err := in.ReadString('\n')
		if err != nil || line != "cancel "+id+"\n" {
			return answer("got %q %v", line, err)
		}
	case "hold": // until a file is there
		for {
			if _, err := os.Stat(arg); err == nil {
				return answer("held")
			}
			time.Sleep(time.Millisecond)
		}
	case "exit":
		fmt.Fprintln(os.Stderr, "my last words")
		code, _ := strconv.Atoi(arg)
		os.Exit(code)
	case "last":
		fmt.Fprintln(os.Stderr, arg)
		os.Exit(2)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "abort":
		fmt.Fprintln(os.Stderr, arg+"\n 1: 0xb0 node::Abort()")
		// Go would catch the signal.
		_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "kill -ABRT $$"}, nil)
	case "panic":
		panic(arg + strings.Repeat("\nmore", 4000))
	case "print":
		fmt.Print(arg)
	case "stderr":
		fmt.Fprint(os.Stderr, arg)
	case "flood":
		n, _ := strconv.Atoi(arg)
		w := bufio.NewWriter(os.Stdout)
		for i := range n {
			fmt.Fprintln(w, "line", i)
		}
		_ = w.Flush()
	case "raw": // onto descriptor 4
		fmt.Fprint(out, strings.ReplaceAll(arg, "ID", id))
		<-time.After(time.Hour) // an empty select is a deadlock to the runtime
	case "half":
		fmt.Fprint(out, arg)
		os.Exit(0)
	case "close":
		_ = out.Close()
		_ = syscall.Close(4)
		<-time.After(time.Hour) // an empty select is a deadlock to the runtime
	case "log":
		fmt.Fprintf(out, "log %s warn %d\n%s", id, len(arg), arg)
	case "http":
		client := http.Client{Timeout: 5 * time.Second}
		r, err := client.Get(arg)
		if err != nil {
			return answer("%v", err)
		}
		raw, err := io.ReadAll(r.Body)
		return answer("%s %v", raw, err)
	case "dial":
		conn, err := net.Dial("unix", arg)
		if err == nil {
			_ = conn.Close()
		}
		return answer("%v", err)
	case "sh": // and what it printed
		raw, err := exec.Command("/bin/sh", "-c", arg).CombinedOutput()
		return answer("%s%v", raw, err)
	case "become":
		_ = syscall.Exec("/bin/sh", []string{"sh", "-c", arg}, os.Environ())
	case "spin":
		for {
		}
	case "killall": // whom it may, and itself
		errs := []error{syscall.Kill(os.Getppid(), syscall.SIGKILL)}
		group, err := syscall.Getpgid(os.Getppid())
		errs = append(errs, err, syscall.Kill(-group, syscall.SIGKILL), syscall.Kill(-1, syscall.SIGKILL))
		fmt.Fprintln(os.Stderr, errors.Join(errs...))
		_ = syscall.Kill(0, syscall.SIGKILL)
	case "giant": // a gigabyte
		fmt.Fprintf(out, "result %s 1 bytes:%d\n", id, 1<<30)
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := out.Write(chunk); err != nil {
				os.Exit(1)
			}
		}
		return "", nil
	case "big":
		n, _ := strconv.Atoi(arg)
		return "bytes", make([]byte, n)
	case "none":
		return "none", nil
	case "kind":
		kind, arg, _ = strings.Cut(arg, " ")
		return kind, []byte(arg)
	case "meta":
		return "json", meta
	case "words":
		return answer("%s", strings.Join(words[2:5], " "))
	case "env":
		return answer("%s", strings.Join(os.Environ(), "\n"))
	case "pid":
		return answer("%d", os.Getpid())
	case "child", "orphan": // a process that stays behind, and its id
		cmd := exec.Command("sleep", "600")
		cmd.ExtraFiles = []*os.File{nil, out} // it holds the pipes open
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if do == "orphan" {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		if err := cmd.Start(); err != nil {
			return answer("%v", err)
		}
		return answer("%d", cmd.Process.Pid)
	case "read":
		raw, err := os.ReadFile(arg)
		return answer("%v %d", err, min(len(raw), 1))
	case "list":
		list, err := os.ReadDir(arg)
		return answer("%v %v", err, len(list) > 0)
	case "write":
		return answer("%v", os.WriteFile(arg, []byte("x"), 0o600))
	case "rename":
		from, to, _ := strings.Cut(arg, " ")
		return answer("%v", os.Rename(from, to))
	case "signal":
		pid, _ := strconv.Atoi(arg)
		return answer("%v", syscall.Kill(pid, 0))
	case "limit":
		which, _ := strconv.Atoi(arg)
		var l syscall.Rlimit
		err := syscall.Getrlimit(which, &l)
		return answer("%v %d", err, l.Cur)
	case "cwd":
		dir, err := os.Getwd()
		return answer("%v %s", err, dir)
	case "stdin":
		raw, err := io.ReadAll(os.Stdin)
		return answer("%v %d", err, len(raw))
	default:
		return "bytes", payload
	}
	return answer("done")
}

// host is a server that is killed: it says the ids of a worker and of itself.
func host() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p, err := worker.Start(context.Background(), worker.Program{
		Function: "default/host", Version: "v1", Dir: "/", Args: []string{exe}, Env: []string{"ROLE=worker"},
	}, worker.Options{TempDir: os.Getenv("TEMP"), Max: 1})
	if err != nil {
		panic(err)
	}
	w, _, err := p.Acquire(context.Background())
	if err != nil {
		panic(err)
	}
	answers, err := w.Invoke(context.Background(), &runnel.Invocation{ID: "i1", Items: []runnel.Item{{Payload: []byte(cmp.Or(os.Getenv("THEN"), "pid"))}}})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(bytes.Trim(answers[0].Payload, `"`)))
	_, _ = w.Invoke(context.Background(), &runnel.Invocation{ID: "i2", Items: []runnel.Item{{Payload: []byte("sleep")}}})
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	all []worker.Line
}

func (l *lines) add(line worker.Line) {
	l.mu.Lock()
	l.all = append(l.all, line)
	l.mu.Unlock()
}

// of returns "level flow: text" of the lines of one call.
func (l *lines) of(invocation string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, line := range l.all {
		if line.Invocation == invocation {
			out = append(out, line.Level+" "+line.Flow+": "+line.Text)
		}
	}
	return out
}

// program is the test binary as a worker.
func program(t testing.TB, env ...string) worker.Program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return worker.Program{
		Function: "default/test", Version: "v1", Dir: t.TempDir(), Args: []string{exe},
		// A process that detects races sleeps before it ends, unless told not to.
		Env: append([]string{"ROLE=worker", "GORACE=atexit_sleep_ms=0"}, env...),
	}
}

// start starts a pool and ends it with the test; then nothing may be left.
func start(t testing.TB, prog worker.Program, opt worker.Options) *worker.Pool {
	t.Helper()
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	p, err := worker.Start(t.Context(), prog, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Drain(ctx); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(opt.TempDir, "worker-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("directories left behind: %q, %v", left, err)
		}
	})
	return p
}

var ids struct {
	sync.Mutex
	n int
}

func newID() string {
	ids.Lock()
	defer ids.Unlock()
	ids.n++
	return "call-" + strconv.Itoa(ids.n)
}

func invocation(payloads ...string) *runnel.Invocation {
	in := &runnel.Invocation{ID: newID(), Flow: "f", Format: runnel.FormatText}
	for _, p := range payloads {
		in.Items = append(in.Items, runnel.Item{Payload: []byte(p), Message: "m", Attempt: 1})
	}
	return in
}

// invoke acquires a worker for one call.
func invoke(ctx context.Context, p *worker.Pool, in *runnel.Invocation) ([]runnel.Answer, error) {
	w, release, err := p.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("acquire: %w", err)
	}
	defer release()
	return w.Invoke(ctx, in)
}

// ask makes a call with one item that succeeds, and returns its value as text.
func ask(t testing.TB, p *worker.Pool, payload string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answers, err := invoke(ctx, p, invocation(payload))
	if err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	if answers[0].Err != nil {
		t.Fatalf("%s: %v", payload, answers[0].Err)
	}
	var text string
	if json.Unmarshal(answers[0].Payload, &text) != nil {
		text = string(answers[0].Payload)
	}
	return text
}

// failure makes a call with one item and returns its error.
func failure(t testing.TB, p *worker.Pool, payload string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answers, err := invoke(ctx, p, invocation(payload))
	if err == nil {
		err = answers[0].Err
	}
	if err == nil {
		t.Fatalf("%s: no error", payload)
	}
	return err
}

func wantKind(t testing.TB, err error, kind, words string) {
	t.Helper()
	var e *runnel.FunctionError
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, words) {
		t.Errorf("got %#v (%v), want kind %s with %q", e, err, kind, words)
	}
}

// eventually waits until a pool is as wanted.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never %s", what)
		}
	}
}
