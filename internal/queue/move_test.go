package queue_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestMove: a dead letter goes back to its queue as a normal message; what
// cannot be moved is said and stays.
func TestMove(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	q := h.create("q", func(s *queue.Settings) { s.Delay = time.Minute })
	dead := h.create("dead", nil)
	m := runnel.Message{
		ID: someID, Body: []byte("x"), Key: "k", Sender: "s", Trace: "00-1-2-01", Hops: 101, Steps: 7, Delay: -1,
		Attributes: []runnel.Attribute{{Name: "n", Type: "Number", Value: []byte("7")}},
		DeadLetter: &runnel.DeadLetter{Type: "loop"},
	}
	late := runnel.Message{Body: []byte("late"), Delay: time.Minute}
	if _, err := dead.Send([]runnel.Message{m, late, {Body: []byte("held")}}); err != nil {
		t.Fatal(err)
	}
	s := dead.Source()
	ds, err := s.Receive(ctx, runnel.Limits{Messages: 2, Lease: time.Hour})
	if err != nil || len(ds) != 2 {
		t.Fatalf("received %d, %v", len(ds), err)
	}
	if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.Retry}}); err != nil {
		t.Fatal(err)
	}
	ds, err = s.Receive(ctx, runnel.Limits{Messages: 1, Wait: time.Minute})
	if err != nil || len(ds) != 1 || ds[0].Attempt != 2 {
		t.Fatalf("received %d, %v", len(ds), err)
	}
	if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.Release}}); err != nil {
		t.Fatal(err)
	}
	ps, err := dead.Peek(0, 10)
	if err != nil || len(ps) != 3 {
		t.Fatalf("peeked %d, %v", len(ps), err)
	}
	missing := queue.Name{Account: "default", Queue: "missing"}
	for _, test := range []struct {
		name     string
		from, to queue.Name
		position int64
		want     runnel.Code
	}{
		{"dead letter", dead.Name(), q.Name(), ps[0].Position, ""},
		{"the same again", dead.Name(), q.Name(), ps[0].Position, runnel.CodeNotFound},
		{"delayed", dead.Name(), q.Name(), ps[1].Position, runnel.CodeConflict},
		{"in flight", dead.Name(), q.Name(), ps[2].Position, runnel.CodeConflict},
		{"beyond the end", dead.Name(), q.Name(), ps[2].Position + 1, runnel.CodeNotFound},
		{"negative", dead.Name(), q.Name(), -1, runnel.CodeNotFound},
		{"from a missing queue", missing, q.Name(), 0, runnel.CodeNotFound},
		{"to a missing queue", dead.Name(), missing, 0, runnel.CodeNotFound},
	} {
		if err := h.set.Move(test.from, test.position, test.to); runnel.CodeOf(err) != test.want {
			t.Errorf("%s: got %v, want code %q", test.name, err, test.want)
		}
	}
	wantDepth(t, dead, 0, 1, 1)
	h.crash()
	q = h.queue("q")
	wantDepth(t, q, 1, 0, 0)
	ds, err = q.Source().Receive(ctx, runnel.Limits{Messages: 1})
	if err != nil || len(ds) != 1 {
		t.Fatalf("received %d, %v", len(ds), err)
	}
	m.DeadLetter, m.Hops, m.Steps, m.Delay, m.Sent = nil, 0, 0, 0, ds[0].Sent
	if diff := cmp.Diff(m, ds[0].Message); diff != "" || ds[0].Receives != 1 || ds[0].Attempt != 1 {
		t.Errorf("receives %d, attempt %d, message (-want +got):\n%s", ds[0].Receives, ds[0].Attempt, diff)
	}
}

// TestMoveWhileReceived: messages that are moved and received at the same time
// are all there in the end, once, wherever they were: in the window or on disk.
func TestMoveWhileReceived(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	h.set.Shrink()
	q, next := h.create("q", nil), h.create("next", nil)
	const n = 200
	for i := range n {
		send(t, q, fmt.Sprint(i))
	}
	ps, err := q.Peek(0, n)
	if err != nil || len(ps) != n {
		t.Fatalf("peeked %d, %v", len(ps), err)
	}
	var mu sync.Mutex
	got := map[string]int{}
	count := func(body []byte) {
		mu.Lock()
		defer mu.Unlock()
		got[string(body)]++
	}
	var wg sync.WaitGroup
	for part := range 3 {
		wg.Go(func() {
			for i := range ps {
				p := &ps[(i*7+part*50)%n] // each tries all, in an order of its own
				switch code := runnel.CodeOf(h.set.Move(q.Name(), p.Position, next.Name())); code {
				case "", runnel.CodeNotFound, runnel.CodeConflict:
				default:
					t.Errorf("move: %s", code)
				}
			}
		})
	}
	wg.Go(func() {
		s := q.Source()
		for {
			ds, err := s.Receive(ctx, runnel.Limits{Messages: 2, Lease: time.Hour})
			if err != nil {
				t.Errorf("receive: %v", err)
			}
			if len(ds) == 0 {
				return
			}
			for i := range ds {
				count(ds[i].Body)
				if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[i]}}); err != nil {
					t.Errorf("ack: %v", err)
				}
			}
		}
	})
	wg.Wait()
	wantDepth(t, q, 0, 0, 0)
	received := len(got)
	moved, err := next.Peek(0, n+1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range moved {
		count(moved[i].Body)
	}
	t.Logf("%d received, %d moved", received, len(moved))
	if len(got) != n || received+len(moved) != n {
		t.Errorf("%d received and %d moved are %d messages, want %d", received, len(moved), len(got), n)
	}
	wantDepth(t, next, int64(len(moved)), 0, 0)
	h.restart()
	wantDepth(t, h.queue("q"), 0, 0, 0)
	wantDepth(t, h.queue("next"), int64(len(moved)), 0, 0)
}

// TestDeleteEmpty: a queue with messages in any state stays.
func TestDeleteEmpty(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	send(t, q, "visible", "held")
	receive(t, q, runnel.Limits{Messages: 1, Lease: time.Hour})
	err := h.set.DeleteEmpty(q.Name())
	if runnel.CodeOf(err) != runnel.CodeConflict || err.Error() != "the queue default/q holds 2 messages" {
		t.Errorf("delete of a queue with messages: %v", err)
	}
	wantDepth(t, q, 1, 1, 0)
	if err := q.Purge(); err != nil {
		t.Fatal(err)
	}
	if err := h.set.DeleteEmpty(q.Name()); err != nil {
		t.Errorf("delete of an empty queue: %v", err)
	}
	if err := h.set.DeleteEmpty(q.Name()); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("delete of no queue: %v", err)
	}
}

// TestDeleteEmptyWhileSent: either the send is refused, or the delete.
func TestDeleteEmptyWhileSent(t *testing.T) {
	h := newHome(t)
	in := h.create("in", nil)
	s := in.Source()
	var kept, deleted int
	for i := range 60 {
		q := h.create("q", nil)
		var sent error
		send(t, in, "x")
		ds, err := s.Receive(context.Background(), runnel.Limits{Messages: 1, Wait: time.Minute})
		if err != nil || len(ds) != 1 {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if i%2 == 0 {
				_, sent = q.Send([]runnel.Message{{Body: []byte("x")}})
				return
			}
			sent = moveOne(context.Background(), s, q.Sink(), &ds[0], []runnel.Message{{Body: []byte("x")}})
		})
		for range i % 8 {
			runtime.Gosched() // let the send be under way
		}
		err = h.set.DeleteEmpty(q.Name())
		wg.Wait()
		switch {
		case err == nil && runnel.CodeOf(sent) == runnel.CodeNotFound:
			deleted++
		case runnel.CodeOf(err) == runnel.CodeConflict && sent == nil:
			kept++
			wantDepth(t, q, 1, 0, 0)
			if err := h.set.Delete(q.Name()); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("round %d: delete %v, send %v", i, err, sent)
		}
		if err := s.Settle(context.Background(), []runnel.Settlement{{Delivery: &ds[0]}}); (err == nil) != (i%2 == 0 || sent != nil) {
			t.Errorf("round %d: ack of the input: %v", i, err)
		}
	}
	t.Logf("%d deleted, %d kept", deleted, kept)
}
