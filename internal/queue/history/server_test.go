package history_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/queue/history"
	"github.com/runnel-io/runnel/internal/store"
)

// serveDir is the environment variable that makes the test binary a server of
// queues, on this data directory.
const serveDir = "RUNNEL_HISTORY_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		fmt.Fprintln(os.Stderr, serve(dir))
		os.Exit(1) // it is killed: it never ends well
	}
	m.Run()
}

// serve is the path of a call in a server: HTTP, the SQS door, queues and their
// store. Each line of standard input is what the wall clock is ahead from now
// on, in nanoseconds; the first comes before anything is opened.
func serve(dir string) error {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	in := bufio.NewScanner(os.Stdin)
	read := func() error {
		if !in.Scan() {
			return errors.Join(in.Err(), io.EOF)
		}
		n, err := strconv.ParseInt(in.Text(), 10, 64)
		ahead.Store(n)
		return err
	}
	if err := read(); err != nil {
		return err
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	set, err := queue.Open(s, queue.Options{Now: now})
	if err != nil {
		return err
	}
	go func() { _ = set.Run(context.Background()) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	door := sqs.New(sqs.Config{Queues: set, Auth: &auth.Authenticator{Any: true, Now: now}})
	server := &http.Server{Handler: auth.LocalOnly(door)}
	go func() { _ = server.Serve(listener) }()
	fmt.Printf("http://%s\n", listener.Addr())
	for {
		if err := read(); err != nil {
			return err
		}
		fmt.Println("ahead")
	}
}

// servers are the processes that clients call, one after the other.
type servers struct {
	t     *testing.T
	dir   string
	begun time.Time
	past  []history.Process

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader

	mu      sync.Mutex    // guards all below
	url     string        // empty: there is none
	changed chan struct{} // closed when url is set, and replaced
}

func newServers(t *testing.T) *servers {
	s := &servers{t: t, dir: t.TempDir(), begun: time.Now(), changed: make(chan struct{})}
	t.Cleanup(s.kill)
	return s
}

// at is the time of the history.
func (s *servers) at() time.Duration { return time.Since(s.begun) }

// start starts a process, and returns when it listens.
func (s *servers) start(ahead time.Duration) {
	s.t.Helper()
	from := s.at()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), serveDir+"="+s.dir)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	url := s.tell(ahead)
	if !strings.HasPrefix(url, "http://") {
		s.t.Fatalf("the server's first line is %q", url)
	}
	s.past = append(s.past, history.Process{From: from, Clock: []history.Jump{{From: from, To: s.at(), Ahead: ahead}}})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url = url
	close(s.changed)
	s.changed = make(chan struct{})
}

// tell sets the wall clock of the process, and returns its answer.
func (s *servers) tell(ahead time.Duration) string {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, int64(ahead)); err != nil {
		s.t.Fatalf("set the clock of the server: %v", err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("the server does not answer: %v", err)
	}
	return strings.TrimSpace(line)
}

// jump sets the wall clock of the process that runs.
func (s *servers) jump(ahead time.Duration) {
	from := s.at()
	s.tell(ahead)
	p := &s.past[len(s.past)-1]
	p.Clock = append(p.Clock, history.Jump{From: from, To: s.at(), Ahead: ahead})
}

// kill kills the process, if there is one, with SIGKILL.
func (s *servers) kill() {
	s.mu.Lock()
	s.url = ""
	s.mu.Unlock()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
	if n := len(s.past); n > 0 {
		s.past[n-1].To = s.at()
	}
}

// current returns where a server listens, once there is one, or "" when ctx has
// ended.
func (s *servers) current(ctx context.Context) string {
	for {
		s.mu.Lock()
		url, changed := s.url, s.changed
		s.mu.Unlock()
		if url != "" {
			return url
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ""
		}
	}
}
