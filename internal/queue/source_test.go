package queue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/connector/connectortest"
	"github.com/runnel-io/runnel/internal/queue"
)

func TestConnector(t *testing.T) {
	connectortest.Run(t, connectortest.Features{
		Leases: true, MinLease: 200 * time.Millisecond, Delays: true, RetryAfter: true, ReleaseAfter: true, Failures: true,
		GiveUp: true, Keys: true, Trace: true, Transactions: true, Backlog: true,
	}, func(t *testing.T) connectortest.Place {
		h := newHome(t)
		h.create("dead", nil)
		h.create("next", nil)
		h.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
		return placeOf(t, h, "q", "dead", "next")
	})
}

// placeOf is three queues as a place to test in.
func placeOf(t *testing.T, h *home, q, dead, next string) connectortest.Place {
	b := h.set.Broker("default")
	source := func(ref string) func() runnel.Source {
		return func() runnel.Source {
			s, err := b.Source(ref)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	sink := func(ref string) func() runnel.Sink {
		return func() runnel.Sink {
			s, err := b.Sink(ref)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	return connectortest.Place{
		Source: source(q), Sink: sink(q), Dead: source(dead),
		Next: sink(next), NextSource: source(next),
	}
}

// TestFlowRestart: what a flow held is visible at once after the process
// died, and was never received; what failed keeps its failures and its back-off.
func TestFlowRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "held", "failed", "acked", "waiting")
		s := q.Source()
		ds, err := s.Receive(ctx, runnel.Limits{Messages: 3, Lease: time.Hour})
		if err != nil || len(ds) != 3 {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		if err := s.Settle(ctx, []runnel.Settlement{
			{Delivery: &ds[1], Verdict: runnel.Retry, After: time.Minute},
			{Delivery: &ds[2], Verdict: runnel.Ack},
		}); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 1, 2, 0)
		h.crash()
		q = h.queue("q")
		wantDepth(t, q, 2, 1, 0)
		s = q.Source()
		ds, err = s.Receive(ctx, runnel.Limits{Messages: 10})
		if err != nil {
			t.Fatal(err)
		}
		wantBodies(t, ds, "held waiting")
		if ds[0].Receives != 1 || ds[0].Attempt != 1 {
			t.Errorf("held: receives %d, attempt %d; want 1 and 1", ds[0].Receives, ds[0].Attempt)
		}
		if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0]}, {Delivery: &ds[1]}}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ds, err = s.Receive(ctx, runnel.Limits{Messages: 10, Wait: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		wantBodies(t, ds, "failed")
		if got := time.Since(start); got != time.Minute || ds[0].Attempt != 2 {
			t.Errorf("failed: after %v, attempt %d; want 1m and 2", got, ds[0].Attempt)
		}
	})
}

// TestRefusedVerdicts: what cannot be done is said, and changes nothing.
func TestRefusedVerdicts(t *testing.T) {
	ctx := context.Background()
	h := newHome(t)
	q := h.create("q", nil)
	send(t, q, "x")
	s := q.Source()
	ds, err := s.Receive(ctx, runnel.Limits{Messages: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.GiveUp, Reason: &runnel.DeadLetter{Type: "error"}}})
	var failed *runnel.SettleError
	if !errors.As(err, &failed) || runnel.CodeOf(failed.Failed[0]) != runnel.CodeUnsupported {
		t.Errorf("give up without a dead-letter queue: %v", err)
	}
	if _, err := h.set.Broker("default").Source("nothing"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("unknown queue: %v", err)
	}
	if _, err := h.set.Broker("other").Sink("q"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("queue of another account: %v", err)
	}
	if s.(runnel.Transactor).Joins(nil) {
		t.Error("a source joins a foreign sink")
	}
	wantDepth(t, q, 0, 1, 0)
	if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0]}}); err != nil {
		t.Errorf("ack afterwards: %v", err)
	}
}

// TestReleaseAfter: a message that is released for later comes when its time
// has come, uncounted; of those that come together the first sent is first.
// A crash ends the wait.
func TestReleaseAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		q := h.create("q", nil)
		s := q.Source()
		const n = 1500 // more than become visible under one hold of the lock
		ms := make([]runnel.Message, n)
		for i := range ms {
			ms[i].Body = []byte{byte(i >> 8), byte(i)}
		}
		if _, err := q.Send(ms); err != nil {
			t.Fatal(err)
		}
		ds, err := s.Receive(ctx, runnel.Limits{Messages: n, Lease: time.Hour})
		if err != nil || len(ds) != n {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		releases := make([]runnel.Settlement, n)
		for i := range ds {
			releases[n-1-i] = runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Release, After: time.Minute}
		}
		if err := s.Settle(ctx, releases); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 0, n, 0)
		if err := s.Settle(ctx, releases[:1]); err == nil {
			t.Error("it was settled again")
		}
		start := time.Now()
		ds = nil
		for len(ds) < n {
			more, err := s.Receive(ctx, runnel.Limits{Messages: n, Wait: time.Hour, Lease: time.Hour})
			if err != nil || len(more) == 0 {
				t.Fatalf("received %d, %v", len(more), err)
			}
			ds = append(ds, more...)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("they came after %v, want 1m", got)
		}
		for i := range ds {
			if got := int(ds[i].Body[0])<<8 | int(ds[i].Body[1]); got != i || ds[i].Receives != 1 || ds[i].Attempt != 1 {
				t.Fatalf("place %d: message %d, receives %d, attempt %d; want 1 and 1", i, got, ds[i].Receives, ds[i].Attempt)
			}
		}
		for i := range releases {
			releases[i] = runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Release, After: time.Hour}
		}
		releases[0].Verdict, releases[0].After = runnel.Retry, 0 // it has a mark from now on
		if err := s.Settle(ctx, releases); err != nil {
			t.Fatal(err)
		}
		ds, err = s.Receive(ctx, runnel.Limits{Messages: n, Wait: time.Second})
		if err != nil || len(ds) != 1 || ds[0].Attempt != 2 {
			t.Fatalf("received %d, %v; want the one that failed", len(ds), err)
		}
		if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.Release, After: time.Hour}}); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 0, n, 0)
		h.crash()
		q = h.queue("q")
		wantDepth(t, q, n, 0, 0)
		ds, err = q.Source().Receive(ctx, runnel.Limits{Messages: 1})
		if err != nil || len(ds) != 1 || ds[0].Attempt != 2 {
			t.Fatalf("after the crash: %d messages, %v; want the one that failed once", len(ds), err)
		}
	})
}
