package queue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func setPaused(t testing.TB, q *queue.Queue, paused bool) {
	t.Helper()
	if err := q.Pause(paused); err != nil {
		t.Fatal(err)
	}
}

// TestPause: on both kinds of queue a pause holds up receives of clients and of
// flows and nothing else, across a crash too, and its end wakes all at once.
func TestPause(t *testing.T) {
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				q := h.create(name, func(s *queue.Settings) {
					if name == "q.fifo" {
						fifo(s)
					}
				})
				if _, err := q.Send(grouped("a1", "b1", "c1")); err != nil {
					t.Fatal(err)
				}
				held := receive(t, q, runnel.Limits{Messages: 2, Lease: time.Minute})
				if len(held) != 2 {
					t.Fatalf("received %q", bodies(held))
				}
				setPaused(t, q, true)
				wantBodies(t, receive(t, q, runnel.Limits{}), "")
				if _, err := q.Send(grouped("d1")); err != nil {
					t.Fatal(err)
				}
				remove(t, q, held[:1])
				if err := change(t, q, held[1], 0); err != nil {
					t.Fatal(err)
				}
				wantDepth(t, q, 3, 0, 0)
				h.crash()
				q = h.queue(name)
				if s, _ := q.Settings(); !s.Paused {
					t.Fatal("the pause did not outlive a crash")
				}

				start := time.Now()
				wantBodies(t, receive(t, q, runnel.Limits{Wait: 20 * time.Second}), "")
				if waited := time.Since(start); waited != 20*time.Second {
					t.Errorf("a long poll of 20s ended after %v", waited)
				}
				source := q.Source()
				type result struct {
					ds   []runnel.Delivery
					err  error
					took time.Duration
				}
				got := make(chan result, 3)
				for i := range 3 {
					go func() {
						from := q.Receive
						if i == 0 {
							from = source.Receive
						}
						begin := time.Now()
						ds, err := from(t.Context(), runnel.Limits{Messages: 1, Wait: 20 * time.Second})
						got <- result{ds, err, time.Since(begin)}
					}()
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				wantDepth(t, q, 3, 0, 0)
				setPaused(t, q, false)
				for range 3 {
					if r := <-got; r.err != nil || len(r.ds) != 1 || r.took != 3*time.Second {
						t.Errorf("after the pause: got %q and %v after %v, want one message after 3s", bodies(r.ds), r.err, r.took)
					}
				}
			})
		})
	}
}

// TestPauseEnds: a paused queue that is deleted, or whose set is closed, ends
// the receives that wait, and its messages expire and move as ever.
func TestPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", func(s *queue.Settings) { s.Retention = time.Minute })
		to := h.create("to", nil)
		send(t, q, "a", "b")
		setPaused(t, q, true)
		if err := h.set.Move(q.Name(), 0, to.Name()); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, to, 1, 0, 0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = h.set.Run(ctx) }() // nil always
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		wantDepth(t, q, 0, 0, 0)

		ended := make(chan error, 1)
		go func() {
			_, err := q.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: 20 * time.Second})
			ended <- err
		}()
		synctest.Wait()
		if err := h.set.Delete(q.Name()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("a receive on a paused queue that was deleted: got %v, want CodeNotFound", err)
		}
		cancel()
	})
}

// TestPauseConcurrent pauses and resumes a queue while many send and receive:
// nothing is delivered between the end of a pause call and the begin of the
// resume, and every message arrives once.
func TestPauseConcurrent(t *testing.T) {
	h := newHome(t)
	for _, name := range []string{"q", "q.fifo"} {
		q := h.create(name, func(s *queue.Settings) {
			if name == "q.fifo" {
				fifo(s)
			}
		})
		const count, receivers = 600, 4
		var got sync.Map
		var total atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var all sync.WaitGroup
		for range receivers {
			all.Go(func() {
				for total.Load() < count {
					ds, err := q.Receive(ctx, runnel.Limits{Messages: 3, Wait: 20 * time.Millisecond})
					if err != nil {
						if !errors.Is(err, context.Canceled) {
							t.Errorf("receive: %v", err)
						}
						return
					}
					for _, d := range ds {
						if _, twice := got.LoadOrStore(string(d.Body), true); twice {
							t.Errorf("%s was received twice", d.Body)
						}
						total.Add(1)
					}
					for _, err := range q.Delete(receipts(ds)) {
						if err != nil {
							t.Errorf("delete: %v", err)
						}
					}
				}
			})
		}
		all.Go(func() {
			for i := range count {
				body := fmt.Sprintf("%c%d", 'a'+i%7, i)
				if _, err := q.Send(grouped(body)); err != nil {
					t.Errorf("send: %v", err)
				}
			}
		})
		pauses := 0
		for ; total.Load() < count && ctx.Err() == nil; pauses++ {
			setPaused(t, q, true)
			before := q.Stats().Received
			_, _ = q.Receive(ctx, runnel.Limits{Messages: 10, Wait: time.Millisecond})
			if after := q.Stats().Received; after != before {
				t.Errorf("%d messages were picked during a pause", after-before)
			}
			setPaused(t, q, false)
		}
		all.Wait()
		cancel()
		if n := total.Load(); n != count {
			t.Errorf("%s: %d messages arrived, want %d", name, n, count)
		}
		if pauses < 5 {
			t.Errorf("%s: only %d pauses", name, pauses)
		}
	}
}
