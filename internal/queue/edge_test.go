package queue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestDeletedSink: a message does not leave its queue for one that was
// deleted, before or after it was sent there in a transaction.
func TestDeletedSink(t *testing.T) {
	for _, staged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			h := newHome(t)
			q, next := h.create("q", nil), h.create("next", nil)
			send(t, q, "precious")
			src, sink := q.Source(), next.Sink()
			ds, err := src.Receive(ctx, runnel.Limits{Messages: 1})
			if err != nil {
				t.Fatal(err)
			}
			tx, err := src.(runnel.Transactor).Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Settle([]runnel.Settlement{{Delivery: &ds[0]}}); err != nil {
				t.Fatal(err)
			}
			out := []runnel.Message{{Body: []byte("result")}}
			if staged {
				if err := tx.Send(sink, out); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.set.Delete(next.Name()); err != nil {
				t.Fatal(err)
			}
			if staged {
				err = tx.Commit(ctx)
			} else {
				err = tx.Send(sink, out)
			}
			if runnel.CodeOf(err) != runnel.CodeNotFound {
				t.Errorf("staged %v: got %v, want CodeNotFound", staged, err)
			}
			wantDepth(t, q, 0, 1, 0)
			h.crash()
			wantDepth(t, h.queue("q"), 1, 0, 0)
		})
	}
}

func TestSettledTwiceInTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a", "b")
		src := q.Source()
		ds, err := src.Receive(ctx, runnel.Limits{Messages: 2})
		if err != nil {
			t.Fatal(err)
		}
		tx, err := src.(runnel.Transactor).Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Settle([]runnel.Settlement{{Delivery: &ds[0]}, {Delivery: &ds[0]}}); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(ctx); err == nil {
			t.Error("a message was settled twice in one transaction")
		}
		wantDepth(t, q, 0, 2, 0)
		h.crash()
		wantDepth(t, h.queue("q"), 2, 0, 0)
	})
}

// TestWakeIsPassedOn: a receive that ends just when a message came for it
// leaves the message to the next in line. Which of the two things such a
// receive sees first is chance, so it is tried often.
func TestWakeIsPassedOn(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, t *testing.T, q *queue.Queue){
		"the source is closed": func(ctx context.Context, t *testing.T, q *queue.Queue) {
			send(t, q, "m")
			ending := q.Source()
			if ds, err := ending.Receive(ctx, runnel.Limits{Messages: 1, Lease: 3 * time.Hour}); err != nil || len(ds) != 1 {
				t.Fatalf("received %d, %v", len(ds), err)
			}
			waitFor(ctx, ending.Receive)
			waitFor(ctx, q.Source().Receive)
			if err := ending.Close(ctx); err != nil { // gives m back
				t.Error(err)
			}
		},
		"the context ends": func(ctx context.Context, t *testing.T, q *queue.Queue) {
			ending, end := context.WithCancel(ctx)
			waitFor(ending, q.Receive)
			waitFor(ctx, q.Receive)
			go end()
			send(t, q, "m")
		},
	} {
		const tries = 40
		late := 0
		for range tries {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				q := h.create("q", nil)
				ctx, cancel := context.WithCancel(t.Context())
				run(ctx, t, q)
				synctest.Wait()
				if q.Depth().Visible > 0 {
					late++
				}
				cancel()
				synctest.Wait()
			})
		}
		if late > 0 {
			t.Errorf("%s: in %d of %d tries a visible message stayed beside a waiting receive", name, late, tries)
		}
	}
}

// waitFor starts a receive and returns when it waits.
func waitFor(ctx context.Context, receive func(context.Context, runnel.Limits) ([]runnel.Delivery, error)) {
	go func() { _, _ = receive(ctx, runnel.Limits{Messages: 1, Wait: time.Hour, Lease: time.Hour}) }()
	synctest.Wait()
}

// TestOverLimit: a client that may hold no more is told so, and a message that
// it was woken for goes to the next in line.
func TestOverLimit(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t)
			h.set.LimitInFlight(1)
			q := h.create("q", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			receives := []func(context.Context, runnel.Limits) ([]runnel.Delivery, error){q.Source().Receive, q.Receive, q.Source().Receive}
			for _, receive := range receives {
				waitFor(ctx, receive)
			}
			send(t, q, "a", "b")
			synctest.Wait()
			wantDepth(t, q, 0, 2, 0)
			send(t, q, "c")
			if _, err := q.Receive(t.Context(), runnel.Limits{Messages: 1}); !errors.Is(err, queue.ErrOverLimit) && q.Depth().Visible > 0 {
				t.Errorf("over the limit: got %v", err)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// TestExpiredWindow: when all that is in memory has expired, what is behind it
// on disk is still received.
func TestExpiredWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.small = true
		h.restart()
		q := h.create("q", func(s *queue.Settings) { s.Retention = time.Minute })
		send(t, q, "1", "2", "3", "4", "5")
		time.Sleep(50 * time.Second)
		send(t, q, "young")
		time.Sleep(11 * time.Second)
		start := time.Now()
		wantBodies(t, receive(t, q, runnel.Limits{Messages: 1, Wait: 20 * time.Second}), "young")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("it was received after %v", waited)
		}
	})
}

// TestRedriveSharesCommits: one receive meets many messages over the limit, and
// moves them by few commits.
func TestRedriveSharesCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := h.create("dead", nil)
		q := h.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
		for range 30 {
			send(t, q, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		}
		receive(t, q, runnel.Limits{Messages: 300, Lease: -1})
		time.Sleep(time.Second)
		before := h.store.Stats().Commits
		if ds := receive(t, q, runnel.Limits{Messages: 1}); len(ds) != 0 {
			t.Errorf("received %q", bodies(ds))
		}
		if n := h.store.Stats().Commits - before; n > 150 {
			t.Errorf("300 moves took %d commits", n)
		}
		wantDepth(t, q, 0, 0, 0)
		wantDepth(t, dead, 300, 0, 0)
	})
}
