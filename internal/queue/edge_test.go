package queue_test

import (
	"context"
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
// leaves the message to the next in line, at once. Which of the two things
// such a receive sees first is chance, so it is tried often.
func TestWakeIsPassedOn(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, h *home) (other func() ([]runnel.Delivery, error)){
		"the source is closed": func(t *testing.T, h *home) func() ([]runnel.Delivery, error) {
			q := h.queue("q")
			send(t, q, "m")
			ending := q.Source()
			if ds, err := ending.Receive(t.Context(), runnel.Limits{Messages: 1, Lease: 3 * time.Hour}); err != nil || len(ds) != 1 {
				t.Fatalf("received %d, %v", len(ds), err)
			}
			go func() { _, _ = ending.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Hour}) }()
			synctest.Wait()
			return func() ([]runnel.Delivery, error) {
				go func() { synctest.Wait(); _ = ending.Close(t.Context()) }()
				return q.Source().Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Hour})
			}
		},
		"the context ends": func(t *testing.T, h *home) func() ([]runnel.Delivery, error) {
			q := h.queue("q")
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _, _ = q.Receive(ctx, runnel.Limits{Messages: 1, Wait: time.Hour}) }()
			synctest.Wait()
			return func() ([]runnel.Delivery, error) {
				go func() {
					synctest.Wait()
					go cancel()
					_, _ = q.Send([]runnel.Message{{Body: []byte("m")}})
				}()
				return q.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Hour})
			}
		},
	} {
		late := 0
		const tries = 40
		for range tries {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				h.create("q", nil)
				other := run(t, h)
				start := time.Now()
				ds, err := other()
				if err != nil {
					t.Fatal(err)
				}
				if len(ds) != 1 || time.Since(start) > 0 {
					late++
				}
			})
		}
		if late > 0 {
			t.Errorf("%s: in %d of %d tries a visible message waited beside a waiting receive", name, late, tries)
		}
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
