package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestKillFlow sends messages through a flow, queue -> Python -> queue, and
// kills the server with SIGKILL 20 times meanwhile, and its workers all the
// while. At the end every message whose send was acknowledged has its result
// in the last queue, once for each time that its client sent it, and none is a
// dead letter: the ack of a message and its result are one commit.
func TestKillFlow(t *testing.T) { killFlow(t, "done", 20, 20_000) }

// TestKillFlowAccepted does the same where the ack of a message and its place in
// the flow's own queue are one commit.
func TestKillFlowAccepted(t *testing.T) { killFlow(t, "accepted", 6, 5_000) }

func killFlow(t *testing.T, ack string, kills, messages int) {
	t.Helper()
	needPython(t)
	share := messages / (kills + 1)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "double", "main.py"), "def handler(event):\n    return {'n': event['n'], 'twice': 2 * event['n']}\n")
	write(t, filepath.Join(dir, "runnel.yaml"), `
functions:
  double: {runtime: python, source: ./double}
queues:
  in: {}
  out: {}
flows:
  double:
    from: queue:in
    call: double
    to: [queue:out]
    batch: {size: 10}
    retry: {initial: 50ms, max: 1s}
    ack: `+ack+"\n")
	k := &flowKill{t: t, dir: dir, sends: make([]int, messages), acked: make([]bool, messages)}
	var slowest time.Duration
	for round := range kills {
		s := k.start()
		if round > 0 { // the first one deploys
			slowest = max(slowest, s.ready)
		}
		k.send(s, round*share, (round+1)*share, time.Duration(200+rand.IntN(600))*time.Millisecond)
	}
	s := k.start()
	slowest = max(slowest, s.ready)
	k.send(s, 0, messages, 0)
	k.drained(s, "in")
	if ack == "accepted" {
		k.drained(s, "double-accepted")
	}
	results := k.results(s)
	again, doubled, lost := 0, 0, 0
	for n := range messages {
		again += k.sends[n] - 1
		switch got := results[n]; {
		case got == 0:
			lost++
		case got > k.sends[n]:
			doubled++
		}
	}
	t.Logf("%d messages, %d sent again by their client, %d kills of the server, %d of workers, slowest start %v",
		messages, again, kills, k.workers.Load(), slowest)
	if lost > 0 {
		t.Errorf("%d messages have no result", lost)
	}
	if doubled > 0 {
		t.Errorf("%d messages have more results than they were sent", doubled)
	}
	if dead := k.depth(s, "double-dead"); dead > 0 {
		t.Errorf("%d dead letters", dead)
	}
	if k.workers.Load() < 5 {
		t.Errorf("only %d workers were killed: the test did not do what it is for", k.workers.Load())
	}
	if slowest > readyWithin {
		t.Errorf("a server took %v to be ready, want at most %v", slowest, readyWithin)
	}
}

func needPython(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is missing: install Python 3.8 or newer")
		}
		t.Skip("python3 is missing")
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flowKill is the account of what clients sent.
type flowKill struct {
	t       *testing.T
	dir     string
	sends   []int  // by message: how often it was sent
	acked   []bool // by message: one of the sends was acknowledged
	workers atomic.Int64
}

func (k *flowKill) start() *killed {
	return startKilled(k.t, "--dir", filepath.Join(k.dir, "data"), "-f", filepath.Join(k.dir, "runnel.yaml"))
}

// send sends the messages from first on until all up to last are acknowledged.
// If after is not 0, the server is killed so much later, at whatever moment of
// the sends; its workers are killed at random times until then, or until the
// sends are done.
func (k *flowKill) send(s *killed, first, last int, after time.Duration) {
	ctx, cancel := context.WithCancel(k.t.Context())
	killing := make(chan struct{})
	go func() {
		defer close(killing)
		k.killWorkers(ctx, s, 100*time.Millisecond)
	}()
	if after > 0 {
		time.AfterFunc(after, s.kill)
	}
	for from := first; from < last; {
		var entries []sendEntry
		for ; from < last && len(entries) < maxBatchEntries; from++ {
			if !k.acked[from] {
				entries = append(entries, sendEntry{Id: strconv.Itoa(from), MessageBody: fmt.Sprintf(`{"n":%d}`, from)})
				k.sends[from]++
			}
		}
		if len(entries) == 0 {
			continue
		}
		var answer batchAnswer
		in := map[string]any{"QueueUrl": "/000000000000/in", "Entries": entries}
		if err := s.client.sqs(ctx, "SendMessageBatch", in, &answer); err != nil {
			break // killed; what is not acknowledged is sent again at the end
		}
		for _, e := range answer.Successful {
			if n, err := strconv.Atoi(e.Id); err == nil {
				k.acked[n] = true
			}
		}
	}
	if after > 0 {
		<-s.dead
	}
	cancel()
	<-killing
}

// killWorkers kills a worker of the server every now and then: 10 ms to most
// after the last one.
//
// None is killed while one of them loads the code: a pool whose workers die
// again and again before they are ready backs off, as it should.
func (k *flowKill) killWorkers(ctx context.Context, s *killed, most time.Duration) {
	var seen []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(10+rand.IntN(80)) * time.Millisecond):
		}
		all := workersOf(s.pid)
		pids := slices.DeleteFunc(slices.Clone(all), func(pid string) bool { return !slices.Contains(seen, pid) })
		seen = all
		var f struct {
			State   string // starting, too, until the first one has loaded
			Workers struct{ Starting int }
		}
		err := s.client.do(ctx, http.MethodGet, "/api/v1/functions/default/double", nil, &f)
		if err != nil || f.State != "ready" || f.Workers.Starting > 0 || len(pids) == 0 {
			continue
		}
		pid, err := strconv.Atoi(pids[rand.IntN(len(pids))])
		if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			k.workers.Add(1)
		}
	}
}

// workersOf returns the workers among the processes whose parent is pid: each
// thread of the parent has a list of its own.
func workersOf(pid int) (pids []string) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, list := range lists {
		children, _ := os.ReadFile(list) // gone with its thread
		for _, child := range strings.Fields(string(children)) {
			line, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if strings.Contains(string(line), "worker.py") {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// drained waits until nothing is in the first queue. Workers are killed
// meanwhile, but not so often that none gets to work.
func (k *flowKill) drained(s *killed, queue string) {
	ctx, cancel := context.WithCancel(k.t.Context())
	killing := make(chan struct{})
	go func() {
		defer close(killing)
		k.killWorkers(ctx, s, 500*time.Millisecond)
	}()
	defer func() {
		cancel()
		<-killing
	}()
	deadline := time.Now().Add(time.Minute)
	for k.depth(s, queue) > 0 {
		if time.Now().After(deadline) {
			var why, flow json.RawMessage
			_ = s.client.do(k.t.Context(), http.MethodGet, "/api/v1/flows/double/explain", nil, &why)
			_ = s.client.do(k.t.Context(), http.MethodGet, "/api/v1/flows/double", nil, &flow)
			k.t.Fatalf("%d messages do not move: %s\n%s", k.depth(s, queue), why, flow)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (k *flowKill) depth(s *killed, queue string) int {
	var q struct {
		Visible  int
		InFlight int `json:"in_flight"`
		Delayed  int
	}
	if err := s.client.do(k.t.Context(), http.MethodGet, "/api/v1/queues/"+queue, nil, &q); err != nil {
		k.t.Fatalf("look at queue %s: %v", queue, err)
	}
	return q.Visible + q.InFlight + q.Delayed
}

// results counts the results of each message.
func (k *flowKill) results(s *killed) map[int]int {
	counts := make(map[int]int)
	after := int64(-1)
	for {
		path := "/api/v1/queues/out/messages?limit=100"
		if after >= 0 {
			path += fmt.Sprintf("&after=%d", after)
		}
		var page struct {
			Messages []struct{ Body string }
			Next     *int64
		}
		if err := s.client.do(k.t.Context(), http.MethodGet, path, nil, &page); err != nil {
			k.t.Fatalf("look into the last queue: %v", err)
		}
		for _, m := range page.Messages {
			var result struct{ N, Twice int }
			if err := json.Unmarshal([]byte(m.Body), &result); err != nil || result.Twice != 2*result.N {
				k.t.Fatalf("result %q: %v", m.Body, err)
			}
			counts[result.N]++
		}
		if page.Next == nil {
			return counts
		}
		after = *page.Next
	}
}
