package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		ids := h.send("in", runnel.Message{Body: []byte("a"), Key: "k", Trace: trace, Hops: 3, Steps: 7})
		var call runnel.Call
		var seen runnel.Message
		r := h.run(h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			call, _ = runnel.CallFrom(ctx)
			seen = m
			return runnel.Result{Out: []runnel.Message{m, {Body: []byte("b")}}}, nil
		})))
		synctest.Wait()
		h.wantBodies("out", "a b")
		h.wantDepth("in", 0, 0, 0)
		want := runnel.Call{Flow: "f", Message: ids[0], Attempt: 1, Attempts: []int{1}, Invocation: call.Invocation, FirstReceived: call.FirstReceived}
		if len(call.FirstReceived) != 1 || call.FirstReceived[0].IsZero() {
			t.Errorf("first received: got %v", call.FirstReceived)
		}
		if diff := cmp.Diff(want, call); diff != "" || call.Invocation == "" {
			t.Errorf("call (-want +got):\n%s", diff)
		}
		if seen.Trace[:36] != trace[:36] || seen.Trace[52:] != trace[52:] || seen.Trace[36:52] == trace[36:52] {
			t.Errorf("trace of the call: %q, want a child of %q", seen.Trace, trace)
		}
		for i, p := range h.all("out") {
			m := p.Message
			if want := fmt.Sprintf("%s/0/%d", ids[0], i); m.DedupID != want || m.Hops != 4 || m.Steps != 0 || m.Trace != seen.Trace {
				t.Errorf("result %d: dedup id %q, hops %d, steps %d, trace %q; want %q, 4, 0, %q", i, m.DedupID, m.Hops, m.Steps, m.Trace, want, seen.Trace)
			}
			if m.ID == ids[0] {
				t.Error("a result has the id of its message")
			}
		}
		if got := r.codes(); got != "empty" {
			t.Errorf("explain: %q, want empty", got)
		}
		if got, want := strings.Join(r.Features(), ", "), "leases are kept, depth, one commit"; got != want {
			t.Errorf("features %q, want %q", got, want)
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Handled != 1 || s.Published != 2 || s.Calls != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestVerdicts: what a handler says of a message, and what becomes of it.
func TestVerdicts(t *testing.T) {
	boom := func(err error) runnel.HandlerFunc {
		return func(context.Context, runnel.Message) (runnel.Result, error) { return runnel.Result{}, err }
	}
	tests := map[string]struct {
		handler  runnel.Handler
		calls    int
		kind     string // of the dead letter
		message  string
		attempts int
		took     time.Duration // until it is dead; back-offs are spread by 20 %
	}{
		"error": {
			handler: boom(errors.New("no such user")), calls: 3, kind: "error", message: "no such user", attempts: 3,
			took: 30 * time.Second, // 10 s and 20 s
		},
		"failure": {
			handler: boom(&runnel.FunctionError{Kind: runnel.KindError, Name: "ValueError", Message: "bad", Stack: "line 7"}), calls: 3,
			kind: "error", message: "ValueError: bad", attempts: 3, took: 30 * time.Second,
		},
		"panic": {
			handler: runnel.HandlerFunc(func(context.Context, runnel.Message) (runnel.Result, error) { panic("oh") }), calls: 3,
			kind: "error", message: "panic: oh", attempts: 3, took: 30 * time.Second,
		},
		"answers": {
			handler: handlerFunc(func(context.Context, []runnel.Message) ([]runnel.Result, error) { return nil, nil }), calls: 1,
			kind: "output", message: "0 answers for 1 messages", attempts: 1,
		},
		"reject":      {handler: boom(runnel.Reject("not ours")), calls: 1, kind: "rejected", message: "not ours", attempts: 1},
		"undecodable": {handler: boom(&runnel.FunctionError{Kind: runnel.KindUndecodable, Message: "not JSON"}), calls: 1, kind: "undecodable", message: "not JSON", attempts: 1},
		"output":      {handler: boom(&runnel.FunctionError{Kind: runnel.KindOutput, Message: "NaN"}), calls: 1, kind: "output", message: "NaN", attempts: 1},
		"retry after": {handler: boom(runnel.RetryAfter(time.Hour)), calls: 3, kind: "error", message: "retry after 1h0m0s", attempts: 3, took: 2 * time.Hour},
		"timeout": {
			handler: &pool{version: "v1", timeout: 5 * time.Second, handler: runnel.HandlerFunc(func(ctx context.Context, _ runnel.Message) (runnel.Result, error) {
				<-ctx.Done()
				return runnel.Result{}, ctx.Err()
			})}, calls: 3, kind: "timeout", message: "no answer within 5s", attempts: 3, took: 45 * time.Second,
		},
		"crash": {
			handler: &pool{version: "v1", handler: boom(&runnel.FunctionError{Kind: runnel.KindCrash, Message: "signal: killed"})}, calls: 3,
			kind: "crash", message: "signal: killed", attempts: 3, took: 30 * time.Second,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				cfg := h.config(tt.handler)
				cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 3, Initial: 10 * time.Second}
				start := time.Now()
				ids := h.sendBodies("in", "x")
				r := h.run(cfg)
				ds, err := h.queue("dead").Receive(t.Context(), runnel.Limits{Messages: 1, Wait: 3 * time.Hour})
				if err != nil || len(ds) != 1 {
					t.Fatalf("%d dead letters, %v", len(ds), err)
				}
				took := time.Since(start)
				if took < tt.took*8/10 || took > tt.took*12/10 {
					t.Errorf("dead after %v, want about %v", took, tt.took)
				}
				version := ""
				if p, ok := tt.handler.(*pool); ok {
					version = p.version
				}
				dead := ds[0].DeadLetter
				want := &runnel.DeadLetter{
					Source: "queue:in", Flow: "f", Function: "fn", Type: tt.kind, Message: tt.message, Version: version,
					Attempts: tt.attempts, Stack: dead.Stack, First: dead.First, Last: dead.Last,
				}
				if diff := cmp.Diff(want, dead); diff != "" {
					t.Errorf("dead letter (-want +got):\n%s", diff)
				}
				switch name {
				case "failure":
					if dead.Stack != "line 7" {
						t.Errorf("stack %q", dead.Stack)
					}
				case "panic":
					if !strings.Contains(dead.Stack, "flow_test.go") {
						t.Errorf("stack %q", dead.Stack)
					}
				}
				if !dead.Last.Equal(time.Now()) || dead.First.Before(start) || dead.First.After(start.Add(5*time.Second)) {
					t.Errorf("first %v, last %v; started %v, now %v", dead.First, dead.Last, start, time.Now())
				}
				if ds[0].ID != ids[0] || string(ds[0].Body) != "x" {
					t.Errorf("dead letter is %s %q, want %s x", ds[0].ID, ds[0].Body, ids[0])
				}
				h.wantDepth("in", 0, 0, 0)
				h.wantDepth("out", 0, 0, 0)
				r.stop()
				r.wantSum()
				if s := r.Stats(); s.Calls != uint64(tt.calls) || s.Failed != uint64(tt.attempts) || s.DeadLettered != 1 || s.Handled != 0 {
					t.Errorf("stats: %+v; want %d calls, %d failed", s, tt.calls, tt.attempts)
				}
				if h.log.count("dead-lettered") != 1 || h.log.count("attempt failed, retry") != tt.calls-1 {
					t.Errorf("log:\n%s", h.log.buf.String())
				}
			})
		})
	}
}

// TestAttemptsAreDurable: a restart between two failures forgets none.
func TestAttemptsAreDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		var attempts []int
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, _ runnel.Message) (runnel.Result, error) {
			call, _ := runnel.CallFrom(ctx)
			attempts = append(attempts, call.Attempt)
			return runnel.Result{}, errors.New("no")
		}))
		cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 3, Initial: time.Minute}
		h.sendBodies("in", "x")
		for range 3 {
			r := h.run(cfg)
			sleep(3 * time.Minute)
			if got := len(attempts); got > 2 {
				r.stop()
				break
			}
			crashed := h.fs.Crash()
			r.stop()
			h.close()
			h.fs = crashed
			h.open()
		}
		if diff := cmp.Diff([]int{1, 2, 3}, attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		h.wantBodies("dead", "x")
	})
}

// TestUncountedAttempts: where the source does not count failures, the flow
// does, and a release is none.
func TestUncountedAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFIFO()
		src.uncounted = true
		src.send(runnel.Message{ID: "1", Body: []byte("x")})
		dead := &box{}
		var attempts []int
		h := newHome(t)
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, _ runnel.Message) (runnel.Result, error) {
			call, _ := runnel.CallFrom(ctx)
			attempts = append(attempts, call.Attempt)
			if len(attempts) == 2 {
				return runnel.Result{}, runnel.ErrInterrupted
			}
			return runnel.Result{}, errors.New("no")
		}))
		cfg.Source, cfg.Flow.To, cfg.DeadLetter = src, nil, dead
		cfg.Flow.Retry.MaxAttempts = 3
		start := time.Now()
		r := h.run(cfg)
		sleep(time.Minute)
		if diff := cmp.Diff([]int{1, 2, 2, 3}, attempts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		got := dead.all()
		if len(got) != 1 || got[0].DeadLetter.Attempts != 3 || !got[0].DeadLetter.First.Equal(start) || src.len() != 0 {
			t.Errorf("dead letters %+v, %d messages left", got, src.len())
		}
		r.stop()
		r.wantSum()
	})
}

// TestInterrupted: a call that ended for a reason that is not its messages'
// gives them back at once, uncounted.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.sendBodies("in", "a", "b")
		var calls atomic.Int32
		cfg := h.config(handlerFunc(func(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
			if call, _ := runnel.CallFrom(ctx); call.Attempt != 1 {
				t.Errorf("attempt %d", call.Attempt)
			}
			if calls.Add(1) <= 10 {
				return nil, fmt.Errorf("worker 7: %w", runnel.ErrInterrupted)
			}
			return runnel.HandlerFunc(echo).Handle(ctx, in)
		}))
		cfg.Flow.Retry.MaxAttempts = 1
		start := time.Now()
		r := h.run(cfg)
		synctest.Wait()
		if got := h.bodies("out"); len(got) != 3 || time.Since(start) != 0 {
			t.Errorf("out: %q after %v", got, time.Since(start))
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Failed != 0 || s.Released != 10 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestGoHandlerTimeout: a handler that does not heed its context keeps its
// slot until it returns.
func TestGoHandlerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.sendBodies("in", "a", "b")
		p := &pool{timeout: time.Second, places: make(chan struct{}, 1), handler: runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			<-ctx.Done()
			<-time.After(10 * time.Minute) // longer than the message would be leased
			if string(m.Body) == "a" {
				return runnel.Result{}, fmt.Errorf("ask the database: %w", ctx.Err())
			}
			return echo(ctx, m)
		})}
		cfg := h.config(p)
		cfg.Flow.Concurrency, cfg.Flow.Retry.MaxAttempts = 1, 1
		r := h.run(cfg)
		sleep(10 * time.Minute)
		if s := r.Stats(); s.Calling != 1 || s.Calls != 1 || !strings.Contains(r.codes(), "no_slot") {
			t.Errorf("stats %+v, explain %s; want the slot held", s, r.codes())
		}
		sleep(11 * time.Minute)
		h.wantBodies("dead", "a")
		h.wantBodies("out", "b") // late, but an answer
		if got := h.all("dead")[0].DeadLetter.Type; got != runnel.KindTimeout {
			t.Errorf("dead letter of type %q", got)
		}
		r.stop()
		r.wantSum()
	})
}

// TestSourceGivesUp: without a dead-letter sink the source's own place is used.
func TestSourceGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.create("from", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1000} })
		h.sendBodies("from", "good", "bad", "good")
		cfg := h.config(handlerFunc(func(_ context.Context, in []runnel.Message) ([]runnel.Result, error) {
			out := make([]runnel.Result, len(in))
			for i := range in {
				if string(in[i].Body) == "bad" {
					out[i].Err = runnel.Reject("bad it is")
				} else {
					out[i].Out = []runnel.Message{{Body: in[i].Body}}
				}
			}
			return out, nil
		}))
		cfg.Flow.From, cfg.Flow.DeadLetter, cfg.Flow.Batch.Size = "queue:from", "", 10
		r := h.run(cfg)
		synctest.Wait()
		h.wantBodies("out", "good good")
		h.wantBodies("dead", "bad")
		if d := h.all("dead")[0].DeadLetter; d == nil || d.Type != "rejected" || d.Message != "bad it is" {
			t.Errorf("dead letter: %+v", d)
		}
		h.wantDepth("from", 0, 0, 0)
		r.stop()
		r.wantSum()
	})
}

// TestLoops: what goes round too often stops as a dead letter, and the counts
// begin anew where they should.
func TestLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.send("in", runnel.Message{Body: []byte("hops"), Hops: 101}, runnel.Message{Body: []byte("last hop"), Hops: 100})
		r := h.run(h.config(runnel.HandlerFunc(echo)))
		synctest.Wait()
		h.wantBodies("dead", "hops")
		h.wantBodies("out", "last hop")
		if d := h.all("dead")[0].DeadLetter; d.Type != "loop" || d.Attempts != 0 {
			t.Errorf("dead letter: %+v", d)
		}
		r.stop()
		r.wantSum()
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.send("in", runnel.Message{Body: []byte("round"), Hops: 5})
		var calls int
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			calls++
			if m.Hops != 5 {
				t.Errorf("hops %d, want 5: it stays at home", m.Hops)
			}
			return echo(ctx, m)
		}))
		cfg.Flow.To, cfg.Flow.MaxSteps = []runnel.Ref{"queue:in"}, 20
		r := h.run(cfg)
		synctest.Wait()
		h.wantBodies("dead", "round")
		if d := h.all("dead")[0]; d.DeadLetter.Type != "loop" || d.Steps != 21 || calls != 21 {
			t.Errorf("after %d calls, %d steps: %+v; want 21 and 21", calls, d.Steps, d.DeadLetter)
		}
		r.stop()
		r.wantSum()
	})
}
