package dispatch_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestLeaseIsKept: in a call, in the line of a key, and while a sink is down.
func TestLeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		if err := h.queue("in").Configure(func(s *queue.Settings) error {
			s.VisibilityTimeout = time.Second
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		calls := 0
		out := &box{down: errors.New("down")}
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			calls++
			<-time.After(time.Minute)
			return echo(ctx, m)
		}))
		cfg.Flow.Order, cfg.Sinks = runnel.OrderKey, []runnel.Sink{out}
		h.send("in", runnel.Message{Key: "k", Body: []byte("a")}, runnel.Message{Key: "k", Body: []byte("b")})
		r := h.run(cfg)
		sleep(2 * time.Minute)
		out.setDown(nil)
		sleep(3 * time.Minute)
		if got := bodiesOf(out.all()); got != "a b" || calls != 2 {
			t.Errorf("%q after %d calls, want a b after 2", got, calls)
		}
		h.wantDepth("in", 0, 0, 0)
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.LeaseLost != 0 || s.Received != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestLeaseLost: the call is cancelled with the cause, nothing of it is
// published or acked, and it is no attempt.
func TestLeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		src, out := newFIFO(), &box{}
		src.lease = 10 * time.Second
		src.send(runnel.Message{ID: "1", Body: []byte("x")})
		var causes []error
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if len(causes) > 0 {
				return echo(ctx, m)
			}
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return echo(ctx, m) // it does not care
		}))
		cfg.Source, cfg.Sinks, cfg.Flow.To = leasing{src}, []runnel.Sink{out}, []runnel.Ref{"box:out"}
		r := h.run(cfg)
		sleep(time.Hour)
		if len(causes) != 0 {
			t.Fatalf("cancelled: %v", causes)
		}
		src.lose("1", time.Now().Add(time.Hour))
		sleep(time.Minute)
		if len(causes) != 1 || !errors.Is(causes[0], runnel.ErrLeaseLost) {
			t.Errorf("causes %v, want a lost lease", causes)
		}
		if len(out.all()) != 0 || src.len() != 1 {
			t.Errorf("published %v, %d in the source", out.all(), src.len())
		}
		sleep(time.Hour)
		if got := out.all(); len(got) != 1 || src.len() != 0 {
			t.Errorf("published %v, %d in the source", got, src.len())
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.LeaseLost != 1 || s.Failed != 0 || s.Handled != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestLeaseLostInLine: a message whose lease is lost while it waits is not
// called, and its successors do not overtake it.
func TestLeaseLostInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		src, out := newFIFO(), &box{}
		src.lease, src.loose = 10*time.Second, true
		src.send(keyed(1, 5)...)
		calls := 0
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			calls++
			<-time.After(time.Minute)
			return echo(ctx, m)
		}))
		cfg.Source, cfg.Sinks, cfg.Flow.Order = leasing{src}, []runnel.Sink{out}, runnel.OrderKey
		r := h.run(cfg)
		sleep(40 * time.Second)
		src.lose("k000-1", time.Now().Add(25*time.Second)) // whoever has it gives it back then
		sleep(24 * time.Second)
		if got := bodiesOf(out.all()); got != "k000 0" {
			t.Errorf("published %q, want the first only", got)
		}
		sleep(time.Hour)
		if got := bodiesOf(out.all()); got != "k000 0 k000 1 k000 2 k000 3 k000 4" || calls != 5 {
			t.Errorf("published %q after %d calls", got, calls)
		}
		r.stop()
		r.wantSum()
	})
}

// TestPurgedInCall: messages that are gone when they are settled are dropped,
// and the others of the batch are not held up.
func TestPurgedInCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if string(m.Body) == "b" {
				if err := h.queue("in").Purge(); err != nil {
					t.Error(err)
				}
			}
			return echo(ctx, m)
		}))
		cfg.Flow.Batch.Size = 2
		h.sendBodies("in", "a", "b")
		r := h.run(cfg)
		synctest.Wait()
		h.wantBodies("out", "")
		h.sendBodies("in", "c")
		synctest.Wait()
		h.wantBodies("out", "c")
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.LeaseLost != 2 || s.Handled != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}
