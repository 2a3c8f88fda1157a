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
		Leases: true, MinLease: 200 * time.Millisecond, Delays: true, RetryAfter: true, Failures: true,
		GiveUp: true, Keys: true, Transactions: true, Backlog: true,
	}, func(t *testing.T) connectortest.Place {
		h := newHome(t)
		h.create("dead", nil)
		h.create("next", nil)
		h.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
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
			Source: source("q"), Sink: sink("q"), Dead: source("dead"),
			Next: sink("next"), NextSource: source("next"),
		}
	})
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
