package conformance_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestEndpoint kills a service in the middle of the messages that a flow posts
// to it, and starts it again. What it had before it is one attempt at most; that
// it cannot be reached is none.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("the service needs python3")
		}
		t.Fatal(err)
	}
	const messages, most = 200, 8 // at once
	addr := freeAddr(t)
	e := startFunctions(t, fmt.Sprintf(`
functions:
  score: {runtime: http, url: "http://%s/score", timeout: 10s, workers: {max: %d}}
queues:
  in:
  out:
  score-dead:
flows:
  score:
    from: queue:in
    call: score
    to: [queue:out]
    concurrency: %[2]d
    retry: {max_attempts: 2, initial: 100ms}
    dead_letter: queue:score-dead
`, addr, most))
	var bodies strings.Builder
	for n := range messages {
		fmt.Fprintf(&bodies, "{\"n\":%d}\n", n)
	}
	service := startService(t, python, addr)
	if got := e.commandFrom(t, strings.NewReader(bodies.String()), "send", "in", "-"); strings.HasPrefix(got, "runnel: ") {
		t.Fatal(got)
	}
	service.answered(t, messages/4)
	service.kill(t)
	e.until(t, "score", "failing")
	// It stays away for much longer than a message's attempts would last.
	<-time.After(2 * time.Second)
	startService(t, python, addr)

	attempts := map[int]int{}
	for _, line := range e.receive(t, "out", messages) {
		var got struct{ N, Attempt int }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		attempts[got.N] = max(attempts[got.N], got.Attempt)
	}
	second := 0
	for n := range messages {
		switch attempts[n] {
		case 1:
		case 2:
			second++
		default:
			t.Errorf("message %d: got attempt %d, want 1 or 2; 0 is none", n, attempts[n])
		}
	}
	if second > most {
		t.Errorf("%d messages lost an attempt, and %d at most were with the service when it was killed", second, most)
	}
	t.Logf("%d of %d messages lost an attempt", second, messages)
	if got := e.command(t, "receive", "score-dead"); got != "" {
		t.Errorf("dead letters: got %s, want none", got)
	}
}

// until waits until a function has a state.
func (e endpoint) until(t *testing.T, function, want string) {
	t.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		text := e.command(t, "describe", "function", function, "-o", "json")
		var got struct{ State string }
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("describe function %s: %v: %s", function, err, text)
		}
		if got.State == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the function %s is %s for %v, want %s", function, got.State, startTimeout, want)
		}
	}
}

// service is a program of the folder endpoint.
type service struct {
	cmd   *exec.Cmd
	lines chan string // what it prints; closed when it has ended
}

// startService starts it, and stops it when the test is over.
func startService(t *testing.T, python, addr string) *service {
	t.Helper()
	s := &service{cmd: exec.Command(python, "-B", "endpoint/score.py", addr), lines: make(chan string, 1000)}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() { s.kill(t) })
	return s
}

// answered waits until it has answered so many requests.
func (s *service) answered(t *testing.T, requests int) {
	t.Helper()
	deadline := time.After(startTimeout)
	for n := range requests {
		select {
		case _, ok := <-s.lines:
			if !ok {
				t.Fatalf("the service ended after %d requests", n)
			}
		case <-deadline:
			t.Fatalf("the service had %d requests in %v, want %d", n, startTimeout, requests)
		}
	}
}

func (s *service) kill(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Errorf("kill the service: %v", err)
	}
	for range s.lines {
	}
	_ = s.cmd.Wait() // it says that it was killed
}
