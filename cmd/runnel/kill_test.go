package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// killRounds is how often TestKill kills the server, and readyWithin how long
// the next one may take from its start until it is ready.
const (
	killRounds  = 30
	readyWithin = 2 * time.Second
)

// TestKill kills a server with SIGKILL at random moments while clients send,
// receive and delete, and starts it again on the same directory. Whatever a
// client was told must hold:
//
//   - a message whose send was acknowledged is there until its delete is
//     asked for;
//   - a message whose delete was acknowledged does not come back;
//   - a message that was received stays invisible: its visibility timeout is
//     longer than the test, so nobody gets it a second time.
func TestKill(t *testing.T) {
	k := &killTest{
		t: t, dir: t.TempDir(),
		sent: map[string]bool{}, asked: map[string]bool{}, deleted: map[string]bool{}, received: map[string]bool{},
	}
	var slowest time.Duration
	for round := range killRounds {
		c, ready, kill := k.start()
		slowest = max(slowest, ready)
		if round == 0 {
			in := map[string]any{"QueueName": "q", "Attributes": map[string]string{"VisibilityTimeout": "43200"}}
			if err := c.sqs(t.Context(), "CreateQueue", in, nil); err != nil {
				t.Fatal(err)
			}
		}
		k.check(c)
		k.run(c, round, time.Duration(20+rand.IntN(300))*time.Millisecond, kill)
	}
	c, ready, kill := k.start()
	slowest = max(slowest, ready)
	k.check(c)
	kill()
	t.Logf("%d kills, %d sends and %d deletes acknowledged, slowest start %v", killRounds, len(k.sent), len(k.deleted), slowest)
	if len(k.deleted) < killRounds {
		t.Errorf("only %d deletes were acknowledged: the test did not do what it is for", len(k.deleted))
	}
	if slowest > readyWithin {
		t.Errorf("a server took %v to be ready, want at most %v", slowest, readyWithin)
	}
}

type killTest struct {
	t   *testing.T
	dir string

	mu       sync.Mutex      // guards the sets
	sent     map[string]bool // acknowledged
	asked    map[string]bool // a delete was asked for
	deleted  map[string]bool // acknowledged
	received map[string]bool // told to a client
}

// start starts a server and returns a client, how long it took until it was
// ready, and what kills it.
func (k *killTest) start() (*client, time.Duration, func()) {
	s := startKilled(k.t, "--dir", k.dir)
	return s.client, s.ready, s.kill
}

// killed is a server in a process of its own that will be killed.
type killed struct {
	client *client
	pid    int
	ready  time.Duration // from its start until it was ready
	kill   func()
	dead   chan struct{} // closed when it was killed, and has ended
}

// startKilled starts a server and returns when it is ready.
func startKilled(t *testing.T, args ...string) *killed {
	t.Helper()
	begin := time.Now()
	cmd := exec.Command("runnel", append([]string{"dev", "--addr", "127.0.0.1:0", "--log-level", "error"}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the server: %v", err)
	}
	s := &killed{pid: cmd.Process.Pid, dead: make(chan struct{})}
	var once sync.Once
	s.kill = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			close(s.dead)
		})
	}
	t.Cleanup(s.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("the server's first line is %q, %v", line, err)
	}
	s.client = &client{base: addr, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}
	for {
		resp, err := s.client.http.Get(addr + "/readyz")
		if err != nil {
			t.Fatalf("ready: %v", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("ready: %s after a minute", resp.Status)
		}
		<-time.After(time.Millisecond)
	}
	s.ready = time.Since(begin)
	return s
}

// run has clients work until the server is killed, after d.
func (k *killTest) run(c *client, round int, d time.Duration, kill func()) {
	ctx, stop := context.WithCancel(k.t.Context())
	defer stop()
	var wg sync.WaitGroup
	for p := range 3 {
		wg.Go(func() { k.send(ctx, c, fmt.Sprintf("r%d-p%d", round, p)) })
		wg.Go(func() { k.receive(ctx, c) })
	}
	<-time.After(d)
	kill()
	stop()
	wg.Wait()
}

// call makes a call and says whether it was answered. A call that was cut off
// was not; every other failure is a fault.
func (k *killTest) call(ctx context.Context, c *client, action string, in, out any) bool {
	err := c.sqs(ctx, action, in, out)
	var refused *sqsError
	if errors.As(err, &refused) {
		k.t.Errorf("%s: %v", action, err)
	}
	return err == nil
}

func (k *killTest) send(ctx context.Context, c *client, name string) {
	for i := 0; ; i++ {
		body := fmt.Sprintf("%s-%d", name, i)
		if !k.call(ctx, c, "SendMessage", map[string]any{"QueueUrl": "/000000000000/q", "MessageBody": body}, nil) {
			return
		}
		k.mu.Lock()
		k.sent[body] = true
		k.mu.Unlock()
	}
}

func (k *killTest) receive(ctx context.Context, c *client) {
	for i := 0; ; i++ {
		var got struct {
			Messages []struct{ Body, ReceiptHandle string }
		}
		if !k.call(ctx, c, "ReceiveMessage", map[string]any{"QueueUrl": "/000000000000/q", "MaxNumberOfMessages": 4, "WaitTimeSeconds": 1}, &got) {
			return
		}
		for j, m := range got.Messages {
			k.mu.Lock()
			if k.received[m.Body] {
				k.t.Errorf("%s was received twice, within its visibility timeout", m.Body)
			}
			k.received[m.Body] = true
			remove := (i+j)%5 > 0
			if remove {
				k.asked[m.Body] = true
			}
			k.mu.Unlock()
			if !remove {
				continue
			}
			if !k.call(ctx, c, "DeleteMessage", map[string]any{"QueueUrl": "/000000000000/q", "ReceiptHandle": m.ReceiptHandle}, nil) {
				return
			}
			k.mu.Lock()
			k.deleted[m.Body] = true
			k.mu.Unlock()
		}
	}
}

// check compares what the queue holds with what clients were told.
func (k *killTest) check(c *client) {
	t := k.t
	t.Helper()
	held := map[string]int{}
	path := "/api/v1/queues/q/messages?limit=100"
	for next := path; next != ""; {
		var page struct {
			Messages []struct{ Body string }
			Next     *int64
		}
		if err := c.do(t.Context(), http.MethodGet, next, nil, &page); err != nil {
			t.Fatalf("look into the queue: %v", err)
		}
		for _, m := range page.Messages {
			held[m.Body]++
		}
		next = ""
		if page.Next != nil {
			next = fmt.Sprintf("%s&after=%d", path, *page.Next)
		}
	}
	var list struct {
		Queues []struct {
			Name     string
			Visible  int
			InFlight int `json:"in_flight"`
		}
	}
	if err := c.do(t.Context(), http.MethodGet, "/api/v1/queues", nil, &list); err != nil {
		t.Fatalf("list the queues: %v", err)
	}
	if len(list.Queues) != 1 || list.Queues[0].Visible+list.Queues[0].InFlight != len(held) {
		t.Errorf("the queue holds %d messages and counts %+v", len(held), list.Queues)
	}
	for body := range k.sent {
		if held[body] == 0 && !k.asked[body] {
			t.Errorf("%s was acknowledged and is lost", body)
		}
	}
	for body := range k.deleted {
		if held[body] != 0 {
			t.Errorf("%s was deleted and is back", body)
		}
	}
	for body, n := range held {
		if n > 1 {
			t.Errorf("%s is there %d times", body, n)
		}
	}
}
