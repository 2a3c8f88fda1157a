package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
)

// TestDrain: what waits is released at once, calls may end, and after the
// timeout the rest is cut off: released, and no attempt.
func TestDrain(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		t.Run(fmt.Sprint("stubborn=", stubborn), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				var causes []error
				cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
					if m.Key == "short" {
						<-time.After(5 * time.Second)
						return echo(ctx, m)
					}
					<-ctx.Done()
					causes = append(causes, context.Cause(ctx))
					if stubborn {
						<-time.After(time.Minute)
					}
					return runnel.Result{}, fmt.Errorf("query: %w", ctx.Err())
				}))
				cfg.Flow.Order, cfg.Flow.Retry.MaxAttempts = runnel.OrderKey, 1
				h.send("in",
					runnel.Message{Key: "short", Body: []byte("s1")}, runnel.Message{Key: "short", Body: []byte("s2")},
					runnel.Message{Key: "long", Body: []byte("l1")}, runnel.Message{Key: "long", Body: []byte("l2")})
				r := h.run(cfg)
				sleep(time.Second)
				start := time.Now()
				r.end()
				synctest.Wait()
				h.wantDepth("in", 2, 2, 0) // s2 and l2 are back at once
				if got := r.codes(); !strings.Contains(got, "draining") {
					t.Errorf("explain: %q, want draining", got)
				}
				err := <-r.done
				took := time.Since(start)
				if stubborn {
					if err == nil || took != 15*time.Second {
						t.Errorf("run: %v after %v, want an error after 15s", err, took)
					}
					sleep(time.Minute)
				} else if err != nil || took != 10*time.Second {
					t.Errorf("run: %v after %v, want nil after 10s", err, took)
				}
				if len(causes) != 1 || !errors.Is(causes[0], dispatch.ErrStopping) {
					t.Errorf("causes %v, want that the flow is stopping", causes)
				}
				h.wantBodies("out", "s1")
				h.wantBodies("dead", "")
				if !stubborn {
					h.wantDepth("in", 3, 0, 0)
				}
				for _, p := range h.all("in") {
					if p.Failures != 0 {
						t.Errorf("%s has %d failures", p.Body, p.Failures)
					}
				}
				r.wantSum()
				if err := r.source.Close(t.Context()); err != nil {
					t.Error(err)
				}
				h.wantDepth("in", 3, 0, 0)
			})
		})
	}
}

// TestDrainOfWhatWaitsForAPlace: calls that have not begun end at once.
func TestDrainOfWhatWaitsForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		p := &pool{places: make(chan struct{}, 1), handler: runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			<-time.After(3 * time.Second)
			return echo(ctx, m)
		})}
		h.sendBodies("in", "a", "b", "c")
		r := h.run(h.config(p))
		sleep(time.Second)
		start := time.Now()
		r.end()
		synctest.Wait()
		h.wantDepth("in", 2, 1, 0)
		if err := <-r.done; err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("run: %v after %v", err, time.Since(start))
		}
		if len(p.places) != 0 {
			t.Error("a place was not given back")
		}
		r.wantSum()
	})
}

// TestSourceEnds: a flow whose source is gone says so, and drains.
func TestSourceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			<-time.After(time.Second)
			return echo(ctx, m)
		}))
		src, out := newFIFO(), &box{}
		cfg.Source, cfg.Sinks = src, []runnel.Sink{out}
		src.send(runnel.Message{ID: "1", Body: []byte("x")})
		r := h.run(cfg)
		synctest.Wait()
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-r.done; !errors.Is(err, runnel.ErrClosed) {
			t.Errorf("run: %v, want that it is closed", err)
		}
		if bodiesOf(out.all()) != "x" {
			t.Errorf("out: %q", bodiesOf(out.all()))
		}
		if err := r.Run(t.Context()); err == nil {
			t.Error("it runs twice")
		}
	})
}
