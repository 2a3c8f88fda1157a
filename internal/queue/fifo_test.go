package queue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/connector/connectortest"
	"github.com/runnel-io/runnel/internal/queue"
)

// fifo makes the settings those of a FIFO queue.
func fifo(s *queue.Settings) { s.FIFO = &queue.FIFO{} }

// grouped is messages from bodies: "a1" is in group a, with its body as the
// deduplication id.
func grouped(bodies ...string) []runnel.Message {
	ms := make([]runnel.Message, len(bodies))
	for i, b := range bodies {
		ms[i] = runnel.Message{Body: []byte(b), Key: b[:1], DedupID: b}
	}
	return ms
}

func sendGrouped(t testing.TB, q *queue.Queue, bodies ...string) []queue.Sent {
	t.Helper()
	sent, err := q.SendOrdered(grouped(bodies...))
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	return sent
}

// pause is time that passes; timers that are due have run after it.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantDrained receives and deletes all that can be.
func wantDrained(t testing.TB, q *queue.Queue, want string) {
	t.Helper()
	var got []runnel.Delivery
	for {
		ds := receive(t, q, runnel.Limits{Lease: time.Hour})
		if len(ds) == 0 {
			break
		}
		got = append(got, ds...)
		remove(t, q, ds)
	}
	wantBodies(t, got, want)
}

// TestFIFOGroups: a receive returns several of a group in order; the group is
// then locked until all of them are settled; others go on.
func TestFIFOGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		sendGrouped(t, q, "a1", "b1", "a2", "a3", "b2", "c1", "a4")
		first := receive(t, q, runnel.Limits{Messages: 2, Lease: time.Minute})
		wantBodies(t, first, "a1 a2")
		for _, d := range first {
			if d.Lane != "a" || d.Key != "a" {
				t.Errorf("%s: lane %q and key %q", d.Body, d.Lane, d.Key)
			}
		}
		second := receive(t, q, runnel.Limits{Messages: 1, Lease: time.Minute})
		wantBodies(t, second, "b1")
		wantBodies(t, receive(t, q, runnel.Limits{Lease: time.Minute}), "c1")
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
		remove(t, q, first[:1])
		wantBodies(t, receive(t, q, runnel.Limits{}), "") // a2 is in flight
		if err := q.ChangeVisibility([]queue.Visibility{{Receipt: receipts(second)[0]}})[0]; err != nil {
			t.Fatal(err)
		}
		third := receive(t, q, runnel.Limits{Lease: time.Minute})
		wantBodies(t, third, "b1 b2") // in order
		remove(t, q, first[1:])
		wantBodies(t, receive(t, q, runnel.Limits{Lease: time.Hour}), "a3 a4")
		wantDepth(t, q, 0, 5, 0)
		pause(time.Minute)
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 1, Lease: time.Hour}), "b1")
		wantBodies(t, receive(t, q, runnel.Limits{}), "c1")
	})
}

// TestFIFOWaits: who waits is woken when a group is free again, not when a
// message comes to a locked one.
func TestFIFOWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		sendGrouped(t, q, "a1")
		first := receive(t, q, runnel.Limits{Lease: time.Hour})
		got := make(chan string, 1)
		go func() {
			ds, err := q.Receive(context.Background(), runnel.Limits{Messages: 10, Wait: time.Minute})
			if err != nil {
				t.Error(err)
			}
			got <- bodies(ds)
		}()
		synctest.Wait()
		sendGrouped(t, q, "a2", "a3")
		synctest.Wait()
		select {
		case b := <-got:
			t.Fatalf("received %q of a locked group", b)
		default:
		}
		remove(t, q, first)
		if b := <-got; b != "a2 a3" {
			t.Errorf("received %q, want a2 a3", b)
		}
	})
}

// TestFIFOFlow: a retry keeps its group locked through the back-off, a release
// gives it back in order, and both across a crash.
func TestFIFOFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		sendGrouped(t, q, "a1", "a2", "a3", "b1")
		s := q.Source()
		if got := s.(runnel.Ordered).Order(); got != runnel.OrderKey {
			t.Errorf("order %q", got)
		}
		take := func(most int) []runnel.Delivery {
			t.Helper()
			ds, err := s.Receive(ctx, runnel.Limits{Messages: most, Lease: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			return ds
		}
		ds := take(2)
		wantBodies(t, ds, "a1 a2")
		if err := s.Settle(ctx, []runnel.Settlement{
			{Delivery: &ds[0], Verdict: runnel.Retry, After: time.Minute},
			{Delivery: &ds[1], Verdict: runnel.Release},
		}); err != nil {
			t.Fatal(err)
		}
		b := take(10)
		wantBodies(t, b, "b1")
		if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &b[0], Verdict: runnel.Release}}); err != nil {
			t.Fatal(err)
		}
		h.crash()
		q = h.queue("q.fifo")
		s = q.Source()
		wantBodies(t, take(10), "b1")
		pause(time.Minute)
		ds = take(10)
		wantBodies(t, ds, "a1 a2 a3")
		if ds[0].Attempt != 2 || ds[1].Attempt != 1 || ds[1].Receives != 1 {
			t.Errorf("attempts %d and %d, receives %d", ds[0].Attempt, ds[1].Attempt, ds[1].Receives)
		}
	})
}

// TestFIFODedup: by id and by content, in the queue or the group, across deletes
// and crashes, for five minutes; in a batch, too.
func TestFIFODedup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		h.create("group.fifo", func(s *queue.Settings) { s.FIFO = &queue.FIFO{ContentDedup: true, DedupByGroup: true} })
		sent := sendGrouped(t, q, "a1", "a2", "a1")
		want := []queue.Sent{{ID: sent[0].ID, Position: 0}, {ID: sent[1].ID, Position: 1}, {ID: sent[0].ID, Position: 0, Duplicate: true}}
		if diff := cmp.Diff(want, sent); diff != "" || sent[0].ID == sent[1].ID {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		remove(t, q, receive(t, q, runnel.Limits{}))
		pause(4*time.Minute + 59*time.Second)
		h.crash()
		q = h.queue("q.fifo")
		byGroup := h.queue("group.fifo")
		again := runnel.Message{Body: []byte("other"), Key: "z", DedupID: "a1"}
		dup, err := q.SendOrdered([]runnel.Message{again})
		if err != nil || dup[0] != want[2] {
			t.Errorf("got %+v, %v; want %+v", dup, err, want[2])
		}
		wantDepth(t, q, 0, 0, 0)
		pause(time.Second)
		if dup, err = q.SendOrdered([]runnel.Message{again}); err != nil || dup[0].Duplicate {
			t.Errorf("after five minutes: %+v, %v", dup, err)
		}
		x := runnel.Message{Body: []byte("x"), Key: "a"}
		y := runnel.Message{Body: []byte("x"), Key: "b"}
		two, err := byGroup.SendOrdered([]runnel.Message{x, y, x})
		if err != nil || two[0].Duplicate || two[1].Duplicate || !two[2].Duplicate {
			t.Errorf("by group: %+v, %v", two, err)
		}
		ds := receive(t, byGroup, runnel.Limits{Messages: 1})
		if got := ds[0].DedupID; got != "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" {
			t.Errorf("deduplication id %q, want the SHA-256 of the body", got)
		}
		if got := queue.SequenceNumber(two[1].Position); len(got) != 20 || got <= queue.SequenceNumber(two[0].Position) {
			t.Errorf("sequence number %s", got)
		}
	})
}

// TestFIFODedupConcurrent: of many concurrent sends of one id one is stored, and
// all are told of that one; batches that cross each other do not wait in a circle.
func TestFIFODedupConcurrent(t *testing.T) {
	h := newHome(t)
	q := h.create("q.fifo", fifo)
	const n = 32
	got := make(chan []queue.Sent, n)
	for i := range n {
		go func() {
			ms := grouped("a1", "b1")
			if i%2 == 1 {
				ms = grouped("b1", "a1")
			}
			sent, err := q.SendOrdered(ms)
			if err != nil {
				t.Error(err)
			}
			if i%2 == 1 && len(sent) == 2 {
				sent[0], sent[1] = sent[1], sent[0]
			}
			got <- sent
		}()
	}
	first := <-got
	news := 0
	for i := 0; ; i++ {
		for j := range first {
			if first[j].ID == "" {
				t.Fatal("a send was not told of an id")
			}
			if !first[j].Duplicate {
				news++
			}
		}
		if i == n-1 {
			break
		}
		next := <-got
		if next[0].ID != first[0].ID || next[1].ID != first[1].ID || next[0].Position != first[0].Position {
			t.Errorf("got %+v and %+v", first, next)
		}
		first = next
	}
	if news != 2 {
		t.Errorf("%d sends were told that theirs is new, want 2", news)
	}
	wantDepth(t, q, 2, 0, 0)
}

// TestFIFORefused: what a FIFO queue does not take.
func TestFIFORefused(t *testing.T) {
	h := newHome(t)
	q := h.create("q.fifo", fifo)
	std := h.create("q", nil)
	good := grouped("a1")[0]
	delayed, noKey, noID := good, good, good
	delayed.Delay, noKey.Key, noID.DedupID = time.Second, "", ""
	delayed.DedupID, noKey.DedupID = "d", "k"
	_, err := q.Send([]runnel.Message{good, delayed, noKey, noID})
	var partial *runnel.SendError
	if !errors.As(err, &partial) || len(partial.Failed) != 3 || partial.Failed[0] != nil {
		t.Errorf("send: %v", err)
	}
	wantDepth(t, q, 1, 0, 0)
	if _, err := std.SendOrdered(grouped("a1")); runnel.CodeOf(err) != runnel.CodeUnsupported {
		t.Errorf("ordered send to a standard queue: %v", err)
	}
	s := queue.Defaults()
	name := queue.Name{Account: "default", Queue: "x.fifo"}
	if _, _, err := h.set.Create(name, s); runnel.CodeOf(err) != runnel.CodeInvalid {
		t.Errorf("standard queue of a FIFO name: %v", err)
	}
	fifo(&s)
	if _, _, err := h.set.Create(queue.Name{Account: "default", Queue: "x"}, s); runnel.CodeOf(err) != runnel.CodeInvalid {
		t.Errorf("FIFO queue of another name: %v", err)
	}
	s.FIFO.LimitByGroup = true
	if _, _, err := h.set.Create(name, s); err == nil {
		t.Error("a limit by group without deduplication by group")
	}
	if err := q.Configure(func(s *queue.Settings) error { s.FIFO = nil; return nil }); err == nil {
		t.Error("a FIFO queue became a standard queue")
	}
}

// TestFIFODelay: the queue's delay holds back a group, also behind messages
// that were sent without one.
func TestFIFODelay(t *testing.T) {
	for _, small := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t)
			h.small = small
			h.restart()
			q := h.create("q.fifo", fifo)
			sendGrouped(t, q, "a1", "a2", "b1", "c1", "d1")
			setDelay := func(d time.Duration) {
				if err := q.Configure(func(s *queue.Settings) error { s.Delay = d; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			setDelay(time.Minute)
			sendGrouped(t, q, "a3", "e1")
			setDelay(0)
			sendGrouped(t, q, "a4", "e2")
			wantDepth(t, q, 7, 0, 2)
			wantDrained(t, q, "a1 a2 b1 c1 d1")
			if small {
				h.crash()
				q = h.queue("q.fifo")
			}
			pause(time.Minute)
			wantDrained(t, q, "a3 a4 e1 e2")
		})
	}
}

// TestFIFOAttempt: a receive that is repeated by its id returns the same, and
// makes it invisible for longer; not if something was done with it meanwhile.
func TestFIFOAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		sendGrouped(t, q, "a1", "a2", "b1")
		attempt := func(id string, most int) []runnel.Delivery {
			t.Helper()
			ds, err := q.ReceiveAttempt(ctx, runnel.Limits{Messages: most, Lease: time.Minute}, id)
			if err != nil {
				t.Fatal(err)
			}
			return ds
		}
		first := attempt("x", 2)
		wantBodies(t, first, "a1 a2")
		pause(50 * time.Second)
		again := attempt("x", 2)
		wantBodies(t, again, "a1 a2")
		if again[0].Handle != first[0].Handle || again[0].Receives != 1 {
			t.Errorf("repeated: receipt %v for %v, receives %d", again[0].Handle, first[0].Handle, again[0].Receives)
		}
		pause(50 * time.Second)
		wantDepth(t, q, 1, 2, 0)
		remove(t, q, again[:1])
		wantBodies(t, attempt("x", 2), "b1")
		pause(6 * time.Minute)
		wantBodies(t, attempt("x", 1), "a2")
		remove(t, q, attempt("x", 1))
	})
}

// TestFIFOExpiredReceipt: a late delete is refused, since the message may be
// with somebody else; one of what is gone is not.
func TestFIFOExpiredReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q.fifo", fifo)
		sendGrouped(t, q, "a1")
		old := receive(t, q, runnel.Limits{Lease: time.Second})
		pause(time.Second)
		if err := q.Delete(receipts(old))[0]; !errors.Is(err, queue.ErrReceiptExpired) {
			t.Errorf("delete when the timeout has ended: %v", err)
		}
		now := receive(t, q, runnel.Limits{Lease: time.Second})
		if err := q.Delete(receipts(old))[0]; !errors.Is(err, queue.ErrReceiptExpired) {
			t.Errorf("delete of what somebody else has: %v", err)
		}
		remove(t, q, now)
		remove(t, q, now) // again: it is gone
		wantDepth(t, q, 0, 0, 0)
	})
}

// TestFIFORedrive: dead letters go to the dead-letter queue in their order, and
// what is behind them comes after they have gone.
func TestFIFORedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := h.create("dead.fifo", fifo)
		h.create("std", nil)
		q := h.create("q.fifo", func(s *queue.Settings) {
			fifo(s)
			s.DeadLetter = &queue.Redrive{Queue: "std", MaxReceives: 1}
		})
		sendGrouped(t, q, "a1", "a2", "b1", "a3")
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 2, Lease: time.Second}), "a1 a2")
		pause(time.Second)
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 2, Lease: time.Second}), "a1 a2") // a standard queue is no dead-letter queue for it
		pause(time.Second)
		if err := q.Configure(func(s *queue.Settings) error {
			s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: 1}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 10, Lease: time.Second}), "b1")
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 10, Lease: time.Second}), "a3")
		ds := receive(t, dead, runnel.Limits{Messages: 10})
		wantBodies(t, ds, "a1 a2")
		if ds[0].Key != "a" || ds[0].DedupID != string(ds[0].ID) || ds[0].DeadLetter == nil {
			t.Errorf("dead letter %+v", ds[0].Message)
		}
		if err := h.set.Move(dead.Name(), ds[0].Position, q.Name()); runnel.CodeOf(err) != runnel.CodeConflict {
			t.Errorf("move of what is in flight: %v", err)
		}
		pause(time.Minute)
		for _, d := range ds {
			if err := h.set.Move(dead.Name(), d.Position, q.Name()); err != nil {
				t.Fatal(err)
			}
		}
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 10, Lease: time.Hour}), "a1 a2")
	})
}

// TestFIFORedriveWaits: a dead letter does not overtake one of its group that
// is still with somebody.
func TestFIFORedriveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		dead := h.create("dead.fifo", fifo)
		q := h.create("q.fifo", func(s *queue.Settings) {
			fifo(s)
			s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: 1}
		})
		sendGrouped(t, q, "a1", "a2")
		s := q.Source()
		ds, err := s.Receive(ctx, runnel.Limits{Messages: 2})
		if err != nil || len(ds) != 2 {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		if err := s.Settle(ctx, []runnel.Settlement{
			{Delivery: &ds[0], Verdict: runnel.Release},
			{Delivery: &ds[1], Verdict: runnel.Retry},
		}); err != nil {
			t.Fatal(err)
		}
		pause(time.Second)
		wantBodies(t, receive(t, q, runnel.Limits{Lease: time.Minute}), "a1")
		wantDepth(t, dead, 0, 0, 0)
		pause(time.Minute)
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
		wantBodies(t, receive(t, dead, runnel.Limits{}), "a1 a2")
	})
}

// TestFIFOParked: beyond the bound of numbers in memory receives look no
// further, until something was removed.
func TestFIFOParked(t *testing.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	h.set.LimitParked(2)
	q := h.create("q.fifo", fifo)
	sendGrouped(t, q, "a1")
	held := receive(t, q, runnel.Limits{})
	sendGrouped(t, q, "a2", "b1", "a3", "b2", "a4", "b3", "a5", "b4", "a6", "b5", "a7", "b6", "c1")
	var got []runnel.Delivery
	for range 20 {
		ds := receive(t, q, runnel.Limits{Messages: 1})
		if len(ds) == 1 && ds[0].Key == "b" {
			got = append(got, ds...)
			remove(t, q, ds)
		}
	}
	if n := len(got); n == 0 || n == 6 {
		t.Errorf("received %d of group b, want some of six", n)
	}
	waiting := make(chan string, 1)
	go func() {
		ds, err := q.Receive(context.Background(), runnel.Limits{Messages: 1, Wait: 20 * time.Second})
		if err != nil {
			t.Error(err)
		}
		remove(t, q, ds)
		waiting <- bodies(ds)
	}()
	remove(t, q, held)
	if b := <-waiting; b == "" {
		t.Error("nobody was woken")
	}
	for q.Depth().Visible > 0 {
		ds := receive(t, q, runnel.Limits{})
		if len(ds) == 0 {
			t.Fatalf("nothing more comes, depth %+v", q.Depth())
		}
		remove(t, q, ds)
	}
}

// TestFIFODelayedAgain: the wall clock is put back while nothing runs, so that a
// message is delayed again that was delivered already. It is before those behind
// it all the same.
func TestFIFODelayedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.small = true
		h.restart()
		q := h.create("q.fifo", func(s *queue.Settings) { fifo(s); s.Delay = 20 * time.Second })
		sendGrouped(t, q, "a1", "a2")
		pause(20 * time.Second)
		if err := q.Configure(func(s *queue.Settings) error { s.Delay = 0; return nil }); err != nil {
			t.Fatal(err)
		}
		flow, err := q.Source().Receive(t.Context(), runnel.Limits{Messages: 2, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		wantBodies(t, flow, "a1 a2")
		sendGrouped(t, q, "b1", "c1", "a3")
		h.now = func() time.Time { return time.Now().Add(-time.Hour) }
		h.restart() // the low-water mark is behind a2 now
		q = h.queue("q.fifo")
		wantDepth(t, q, 3, 0, 2)
		wantDrained(t, q, "b1 c1")
		pause(queue.MaxDelay)
		wantDrained(t, q, "a1 a2 a3")
	})
}

// TestFIFORetention: what expires, also behind a message in flight, leaves the
// order of the rest.
func TestFIFORetention(t *testing.T) {
	for _, small := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t)
			h.small = small
			h.restart()
			q := h.create("q.fifo", func(s *queue.Settings) { fifo(s); s.Retention = 2 * time.Minute })
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() { _ = h.set.Run(ctx) }()
			sendGrouped(t, q, "a1", "a2", "b1", "b2", "a3")
			held := receive(t, q, runnel.Limits{Messages: 1, Lease: time.Hour})
			pause(90 * time.Second)
			sendGrouped(t, q, "a4", "b3", "a5", "b4")
			pause(92 * time.Second)
			synctest.Wait()
			wantDepth(t, q, 4, 1, 0)
			wantDrained(t, q, "b3 b4")
			remove(t, q, held)
			wantDrained(t, q, "a4 a5")
			cancel()
		})
	}
}

// TestFIFOTransaction: sends to FIFO queues are part of the one commit, and a
// duplicate of an earlier one is left out of it.
func TestFIFOTransaction(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	in := h.create("in.fifo", fifo)
	outs := []*queue.Queue{h.create("x.fifo", fifo), h.create("y.fifo", fifo)}
	sendGrouped(t, in, "a1", "a2", "b1", "b2")
	s := in.Source()
	move := func(reverse bool, out ...string) {
		ds, err := s.Receive(ctx, runnel.Limits{Messages: 2})
		if err != nil || len(ds) != 2 {
			t.Errorf("received %d, %v", len(ds), err)
			return
		}
		tx, err := s.(runnel.Transactor).Begin(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		if err := tx.Settle([]runnel.Settlement{{Delivery: &ds[0]}, {Delivery: &ds[1]}}); err != nil {
			t.Error(err)
		}
		for i := range outs {
			to := outs[i]
			if reverse {
				to = outs[len(outs)-1-i]
			}
			if err := tx.Send(to.Sink(), grouped(out...)); err != nil {
				t.Error(err)
			}
		}
		if err := tx.Send(outs[0].Sink(), []runnel.Message{{Body: []byte("no key")}}); err == nil {
			t.Error("a message without a key was taken")
		}
		if err := tx.Commit(ctx); err != nil {
			t.Error(err)
		}
	}
	done := make(chan struct{})
	go func() { move(true, "z1", "z2"); close(done) }()
	move(false, "z2", "z1")
	<-done
	wantDepth(t, in, 0, 0, 0)
	for _, q := range outs {
		wantDepth(t, q, 2, 0, 0)
	}
	h.crash()
	for _, name := range []string{"x.fifo", "y.fifo"} {
		q := h.queue(name)
		if sent := sendGrouped(t, q, "z1"); !sent[0].Duplicate {
			t.Errorf("%s: z1 was sent again", name)
		}
		wantDepth(t, q, 2, 0, 0)
	}
}

// TestFIFOPurge: a purge takes what is listed, parked and in flight; the
// deduplication stays.
func TestFIFOPurge(t *testing.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	q := h.create("q.fifo", fifo)
	sendGrouped(t, q, "a1", "b1", "a2", "a3", "b2", "c1", "a4", "a5", "a6")
	receive(t, q, runnel.Limits{Messages: 1})
	if err := q.Purge(); err != nil {
		t.Fatal(err)
	}
	wantDepth(t, q, 0, 0, 0)
	if sent := sendGrouped(t, q, "a1", "a7"); !sent[0].Duplicate || sent[1].Duplicate {
		t.Errorf("sent after the purge: %+v", sent)
	}
	wantBodies(t, receive(t, q, runnel.Limits{}), "a7")
}

func TestFIFOConnector(t *testing.T) {
	connectortest.Run(t, connectortest.Features{
		Leases: true, MinLease: 200 * time.Millisecond, RetryAfter: true, ReleaseAfter: true, Failures: true,
		GiveUp: true, Keys: true, Trace: true, Transactions: true, Backlog: true, Ordered: true, Dedup: true,
	}, func(t *testing.T) connectortest.Place {
		h := newHome(t)
		h.create("dead.fifo", fifo)
		h.create("next.fifo", fifo)
		h.create("q.fifo", func(s *queue.Settings) {
			fifo(s)
			s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: 1}
		})
		return placeOf(t, h, "q.fifo", "dead.fifo", "next.fifo")
	})
}

// TestFilter: it never denies what is there, and seldom affirms what is not.
func TestFilter(t *testing.T) {
	const n = 100_000
	if denied, affirmed := queue.FilterErrors(n); denied != 0 || affirmed > n/20 {
		t.Errorf("%d of %d keys are denied, and %d of as many others affirmed", denied, n, affirmed)
	}
}
