package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"runnel": main})
}

// noRaceSleep is an environment variable: under the race detector a process
// waits for a second before it ends, for reports to come.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// TestScripts runs testdata/*.txt, which read as a manual. Besides the usual
// commands they have
//
//	server NAME ARGS...   starts runnel ARGS in the background. When it
//	                      listens, sets $URL and $ADDR, and $ADMIN and
//	                      $STANDARD to the tokens that it printed. Its output
//	                      goes to the file NAME.out.
//	shows NAME TEXT       waits until it has written TEXT.
//	signal NAME           sends it SIGTERM, and fails if it does not end well.
//	client NAME ARGS...   starts runnel ARGS in the background, for shows and
//	                      for
//	interrupt NAME        which is signal with SIGINT.
//	until REGEXP ARGS...  runs runnel ARGS again and again until a line of its
//	                      output fits.
func TestScripts(t *testing.T) {
	servers := servers{byName: make(map[string]*process)}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// What the developer's own shell has set is not meant.
			for _, name := range []string{"RUNNEL_URL", "RUNNEL_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
				env.Setenv(name, "")
			}
			env.Vars = append(env.Vars, noRaceSleep)
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root": // who may write everywhere
				return os.Geteuid() == 0, nil
			case "python": // is there, as it must be where CI is true
				_, err := exec.LookPath("python3")
				if err != nil && os.Getenv("CI") == "true" {
					return false, err
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("there is no condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"server": servers.start,
			"shows":  servers.shows,
			"signal": servers.signal,

			"client":    servers.client,
			"interrupt": servers.interrupt,
			"until":     until,
		},
	})
}

// servers are the processes in the background of all scripts.
type servers struct {
	mu     sync.Mutex // guards byName
	byName map[string]*process
}

type process struct {
	cmd    *exec.Cmd
	out    *processOutput
	errOut bytes.Buffer  // read when it has ended
	ended  chan struct{} // closed when it has ended, with err
	err    error
}

// processOutput is what a process has written so far.
type processOutput struct {
	mu      sync.Mutex // guards text
	text    bytes.Buffer
	written chan struct{} // holds a token after a write; nobody closes it
}

func (o *processOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.written <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *processOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// shows waits until the process has written text, and says whether it has
// before it ended. One goroutine may wait.
func (p *process) shows(text string) bool {
	for !strings.Contains(p.out.String(), text) {
		select {
		case <-p.out.written:
		case <-p.ended:
			return false
		}
	}
	return true
}

var token = regexp.MustCompile(`(?m)^(admin|standard) key .* token (\S+)$`)

func (s *servers) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: server NAME ARGS...")
	}
	p := s.begin(ts, args[0], args[1:])
	if !p.shows("\n") {
		ts.Fatalf("the server has ended: %v\n%s", p.err, p.errOut.String())
	}
	text := p.out.String()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(text), 0o600))
	line, _, _ := strings.Cut(text, "\n")
	url, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		ts.Fatalf("the first line is %q", line)
	}
	ts.Setenv("URL", url)
	ts.Setenv("ADDR", url[strings.LastIndex(url, "/")+1:])
	for _, match := range token.FindAllStringSubmatch(text, -1) {
		ts.Setenv(strings.ToUpper(match[1]), match[2])
	}
}

// begin starts a process that ends with its script.
func (s *servers) begin(ts *testscript.TestScript, name string, args []string) *process {
	p := startProcess(ts.MkAbs("."), args...)
	ts.Defer(func() {
		if p.cmd.Process != nil {
			_ = p.cmd.Process.Kill()
		}
		<-p.ended
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[ts.Name()+"/"+name] = p
	return p
}

func (s *servers) client(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: client NAME ARGS...")
	}
	s.begin(ts, args[0], append(args[1:], "--url", ts.Getenv("RUNNEL_URL")))
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP ARGS...")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	end := time.Now().Add(deadline)
	for {
		cmd := exec.Command("runnel", append(args[1:], "--url", ts.Getenv("RUNNEL_URL"))...)
		out, err := cmd.Output()
		ts.Check(err)
		if want.Match(out) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("runnel %s never printed %s, but\n%s", strings.Join(args[1:], " "), args[0], out)
		}
	}
}

// startProcess starts runnel. That it could not be started is an error of the
// process.
func startProcess(dir string, args ...string) *process {
	p := &process{
		cmd:   exec.Command("runnel", args...),
		out:   &processOutput{written: make(chan struct{}, 1)},
		ended: make(chan struct{}),
	}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), noRaceSleep)
	p.cmd.Stdout, p.cmd.Stderr = p.out, &p.errOut
	if p.err = p.cmd.Start(); p.err != nil {
		close(p.ended)
		return p
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

func (s *servers) named(ts *testscript.TestScript, name string) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byName[ts.Name()+"/"+name]
	if p == nil {
		ts.Fatalf("there is no server %s", name)
	}
	return p
}

func (s *servers) shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shows NAME TEXT")
	}
	if p := s.named(ts, args[0]); !p.shows(args[1]) {
		ts.Fatalf("the server has ended: %v\n%s%s", p.err, p.out, p.errOut.String())
	}
}

func (s *servers) signal(ts *testscript.TestScript, neg bool, args []string) {
	s.end(ts, neg, args, syscall.SIGTERM)
}

func (s *servers) interrupt(ts *testscript.TestScript, neg bool, args []string) {
	s.end(ts, neg, args, syscall.SIGINT)
}

func (s *servers) end(ts *testscript.TestScript, neg bool, args []string, with os.Signal) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: signal NAME, or interrupt NAME")
	}
	p := s.named(ts, args[0])
	ts.Check(p.cmd.Process.Signal(with))
	<-p.ended
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), p.errOut.Bytes(), 0o600))
	if p.err != nil {
		ts.Fatalf("it ended with %v:\n%s", p.err, p.errOut.String())
	}
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		args string
		want int
	}{
		{"srve", 2},
		{"queue prge", 2},
		{"serve --adress x", 2},
		{"serve here", 2},
		{"dev --log-level loud", 2},
		{"dev --addr here", 1},
		{"queue ls --url http://127.0.0.1:1", 1},
	} {
		var stderr bytes.Buffer
		got := run(t.Context(), strings.Fields(test.args), &stderr)
		if got != test.want {
			t.Errorf("runnel %s: got status %d, want %d: %s", test.args, got, test.want, &stderr)
		}
		if lines := strings.Count(stderr.String(), "\n"); lines != 1 {
			t.Errorf("runnel %s: got %d lines on stderr: %s", test.args, lines, &stderr)
		}
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if got := run(interrupted, []string{"queue", "ls", "--url", "http://127.0.0.1:1"}, &stderr); got != 130 || stderr.String() != "runnel: interrupted\n" {
		t.Errorf("interrupted: got status %d, %q", got, &stderr)
	}
}

// TestSecondSignal has a drain that would take an hour.
func TestSecondSignal(t *testing.T) {
	p := startProcess(t.TempDir(), "dev", "--dir", "data", "--addr", "127.0.0.1:0", "--drain-timeout", "1h")
	if !p.shows("\n") {
		t.Fatalf("the server has ended: %v\n%s", p.err, p.errOut.String())
	}
	line, _, _ := strings.Cut(p.out.String(), "\n")
	conn, err := net.Dial("tcp", strings.TrimPrefix(line, "listening on http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	// The server says this when it waits for the body.
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue"))); err != nil {
		t.Fatal(err)
	}
	// The first one starts the drain; one that follows at once may be taken
	// for the same.
	for ended := false; !ended; {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		select {
		case <-p.ended:
			ended = true
		case <-t.Context().Done():
			t.Fatal("the server goes on")
		default:
			runtime.Gosched()
		}
	}
	if p.err == nil {
		t.Error("the server ended well, with a request under way")
	}
}
