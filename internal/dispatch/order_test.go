package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
)

// keyed returns messages n of each of so many keys, one round after the other.
// The body is "key n".
func keyed(keys, n int) []runnel.Message {
	var ms []runnel.Message
	for i := range n {
		for k := range keys {
			key := fmt.Sprintf("k%03d", k)
			ms = append(ms, runnel.Message{ID: runnel.MessageID(fmt.Sprintf("%s-%d", key, i)), Key: key, Body: fmt.Appendf(nil, "%s %d", key, i)})
		}
	}
	return ms
}

// order remembers what was answered, by key, and when.
type order struct {
	mu   sync.Mutex // guards all below
	next map[string]int
	done map[string]time.Time
	bad  []string
}

func newOrder() *order { return &order{next: map[string]int{}, done: map[string]time.Time{}} }

func (o *order) note(body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key, n, _ := strings.Cut(string(body), " ")
	if want := fmt.Sprint(o.next[key]); n != want {
		o.bad = append(o.bad, fmt.Sprintf("%s: answered %s, want %s", key, n, want))
	}
	o.next[key]++
	o.done[key] = time.Now()
}

func (o *order) check(t *testing.T, bodies []string, keys, n int) {
	t.Helper()
	o.mu.Lock()
	bad := o.bad
	o.mu.Unlock()
	out := newOrder()
	for _, b := range bodies {
		out.note([]byte(b))
	}
	for _, s := range append(bad, out.bad...) {
		t.Error(s)
	}
	if len(out.next) != keys {
		t.Errorf("%d keys came out, want %d", len(out.next), keys)
	}
	for key, got := range out.next {
		if got != n {
			t.Errorf("%s: %d came out, want %d", key, got, n)
		}
	}
}

// TestOrderWithFailures: 200 keys, 10 % of the calls fail. Per key the output
// order is the input order, and a key without failures waits for nobody's
// back-off. On a source that keeps order itself, and on a standard queue.
func TestOrderWithFailures(t *testing.T) {
	const keys, n = 200, 10
	for _, kind := range []string{"fifo", "lane", "queue", "list"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				rng := rand.New(rand.NewPCG(1, uint64(len(kind))))
				var mu sync.Mutex
				failed := map[string]bool{}
				inside := map[string]bool{}
				o := newOrder()
				one := func(_ context.Context, m runnel.Message) (runnel.Result, error) {
					mu.Lock()
					defer mu.Unlock()
					if rng.IntN(10) == 0 {
						failed[m.Key] = true
						if rng.IntN(3) == 0 {
							panic("boom")
						}
						return runnel.Result{}, errors.New("boom")
					}
					o.note(m.Body)
					return runnel.Result{Out: []runnel.Message{{Body: m.Body}}}, nil
				}
				handler := runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
					mu.Lock()
					if inside[m.Key] {
						t.Errorf("%s: two calls at once", m.Key)
					}
					inside[m.Key] = true
					mu.Unlock()
					<-time.After(time.Millisecond)
					mu.Lock()
					inside[m.Key] = false
					mu.Unlock()
					return one(ctx, m)
				})
				cfg := h.config(handler)
				cfg.Flow.Order, cfg.Flow.Retry.MaxAttempts, cfg.Flow.Retry.Initial = runnel.OrderKey, 1000, 5*time.Second
				cfg.Flow.Concurrency = 16
				out := &box{}
				switch kind {
				case "lane":
					cfg.Flow.Order = runnel.OrderLane
					fallthrough
				case "fifo":
					src := newFIFO()
					src.send(keyed(keys, n)...)
					cfg.Source, cfg.Sinks, cfg.DeadLetter = src, []runnel.Sink{out}, &box{}
				case "list":
					// Of a list, what follows a failure of its key is called again.
					cfg.Flow.Batch = runnel.Batch{Size: 7, As: "list"}
					cfg.Handler = handlerFunc(func(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
						out := make([]runnel.Result, len(in))
						bad := map[string]bool{}
						for i, m := range in {
							mu.Lock()
							fails := !bad[m.Key] && rng.IntN(10) == 0
							failed[m.Key] = failed[m.Key] || fails
							mu.Unlock()
							if fails {
								bad[m.Key] = true
								out[i].Err = errors.New("boom")
								continue
							}
							if !bad[m.Key] {
								o.note(m.Body)
							}
							out[i].Out = []runnel.Message{{Body: m.Body}}
						}
						return out, nil
					})
					fallthrough
				default:
					h.send("in", keyed(keys, n)...)
				}
				start := time.Now()
				r := h.run(cfg)
				sleep(20 * time.Minute)
				var bodies []string
				if cfg.Sinks != nil {
					for _, m := range out.all() {
						bodies = append(bodies, string(m.Body))
					}
				} else {
					for _, p := range h.all("out") {
						bodies = append(bodies, string(p.Body))
					}
					h.wantDepth("in", 0, 0, 0)
					h.wantDepth("dead", 0, 0, 0)
				}
				o.check(t, bodies, keys, n)
				lucky := 0
				for key, at := range o.done {
					if failed[key] {
						continue
					}
					lucky++
					if d := at.Sub(start); d > time.Second {
						t.Errorf("%s never failed and was done after %v", key, d)
					}
				}
				if lucky < 20 || lucky > 180 {
					t.Errorf("%d keys never failed: this shows nothing", lucky)
				}
				if s := r.Stats(); s.Away != 0 {
					t.Errorf("%d messages are away when all is done", s.Away)
				}
				r.stop()
				r.wantSum()
			})
		})
	}
}

// TestSlowKey: a key whose calls are slow and that has thousands of successors
// does not stop others, keeps its order, and does not stand idle for long.
func TestSlowKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow, keys, n = 3000, 50, 4
		h := newHome(t)
		var ms []runnel.Message
		for i := range slow {
			ms = append(ms, runnel.Message{Key: "slow", Body: fmt.Appendf(nil, "slow %d", i)})
		}
		h.send("in", append(ms, keyed(keys, n)...)...)
		o := newOrder()
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if m.Key == "slow" {
				<-time.After(100 * time.Millisecond)
			}
			o.note(m.Body)
			return echo(ctx, m)
		}))
		cfg.Flow.Order = runnel.OrderKey
		start := time.Now()
		r := h.run(cfg)
		sleep(10 * time.Second)
		if got := r.codes(); !strings.Contains(got, "order") {
			t.Errorf("explain: %q, want order", got)
		}
		sleep(2 * slow * 100 * time.Millisecond)
		for key, at := range o.done {
			if d := at.Sub(start); key != "slow" && d > 5*time.Second {
				t.Errorf("%s was done after %v", key, d)
			}
		}
		if d := o.done["slow"].Sub(start); d > slow*100*time.Millisecond*11/10 {
			t.Errorf("the slow key took %v for %v of work", d, slow*100*time.Millisecond)
		}
		if len(o.bad) > 0 || o.next["slow"] != slow {
			t.Errorf("slow: %d answered, %v", o.next["slow"], o.bad)
		}
		s := r.Stats()
		t.Logf("%d receives for %d messages", s.Received, s.Handled)
		if s.Received > 20*s.Handled {
			t.Errorf("%d receives for %d messages", s.Received, s.Handled)
		}
		r.stop()
		r.wantSum()
	})
}

// TestHeadIsGone: a message that was given back and was deleted meanwhile, or
// taken by others, holds its key up for a while only.
func TestHeadIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		src, out := newFIFO(), &box{}
		src.loose = true
		src.send(keyed(1, 3)...)
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if m.ID == "k000-0" {
				return runnel.Result{}, runnel.RetryAfter(time.Hour)
			}
			return echo(ctx, m)
		}))
		cfg.Source, cfg.Sinks, cfg.Flow.Order = src, []runnel.Sink{out}, runnel.OrderKey
		r := h.run(cfg)
		sleep(time.Minute)
		if got := r.codes(); got != "back_off order" || len(out.all()) != 0 {
			t.Errorf("explain: %q, want back_off order; %d came out", got, len(out.all()))
		}
		src.remove("k000-0")
		sleep(59 * time.Minute)
		if got := len(out.all()); got != 0 {
			t.Errorf("%d came out while the first was still expected", got)
		}
		sleep(2 * time.Minute)
		if got := out.all(); len(got) != 2 || string(got[0].Body)+string(got[1].Body) != "k000 1k000 2" {
			t.Errorf("came out: %+v", got)
		}
		r.stop()
		r.wantSum()
	})
}

// TestPause: what waits goes back, calls end, and order survives it.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, n = 5, 20
		h := newHome(t)
		h.send("in", keyed(keys, n)...)
		o := newOrder()
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			<-time.After(time.Second)
			o.note(m.Body)
			return echo(ctx, m)
		}))
		cfg.Flow.Order = runnel.OrderKey
		r := h.run(cfg)
		for range 7 {
			sleep(1500 * time.Millisecond)
			r.Pause()
			if got := r.codes(); !strings.Contains(got, "paused") {
				t.Errorf("explain: %q, want paused", got)
			}
			sleep(time.Second)
			if s := r.Stats(); s.Parked+s.Calling != 0 {
				t.Errorf("paused: %+v", s)
			}
			h.wantDepth("in", int64(keys*n-len(h.all("out"))), 0, 0)
			before := len(h.all("out"))
			sleep(time.Hour)
			if got := len(h.all("out")); got != before {
				t.Errorf("%d messages went out while it was paused", got-before)
			}
			r.Resume()
		}
		sleep(time.Hour)
		var bodies []string
		for _, p := range h.all("out") {
			bodies = append(bodies, string(p.Body))
		}
		o.check(t, bodies, keys, n)
		r.stop()
		r.wantSum()
	})
}

// TestOrderInRealTime: with a real clock nothing that was given back comes at
// exactly the time of its neighbours. Order must not depend on that.
func TestOrderInRealTime(t *testing.T) {
	const keys, n = 30, 60
	for _, as := range []string{"each", "list"} {
		t.Run(as, func(t *testing.T) {
			h := newHome(t)
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(7, 7))
			cfg := h.config(handlerFunc(func(_ context.Context, in []runnel.Message) ([]runnel.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				if rng.IntN(20) == 0 {
					return nil, runnel.ErrInterrupted // given back at once: the source delivers it before it has left
				}
				out := make([]runnel.Result, len(in))
				for i, m := range in {
					switch rng.IntN(20) {
					case 0:
						out[i].Err = errors.New("no")
					case 1:
						out[i].Err = runnel.RetryAfter(0)
					default:
						out[i].Out = []runnel.Message{{Body: m.Body}}
					}
				}
				return out, nil
			}))
			cfg.Flow.Order, cfg.Flow.Concurrency, cfg.Flow.Parked = runnel.OrderKey, 4, 16
			cfg.Flow.Batch = runnel.Batch{Size: 2, As: as}
			cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 1000, Initial: time.Millisecond, Max: 5 * time.Millisecond}
			h.send("in", keyed(keys, n)...)
			r := h.run(cfg)
			o, got := newOrder(), []string{}
			src := h.queue("out").Source()
			for len(got) < keys*n {
				ds, err := src.Receive(t.Context(), runnel.Limits{Messages: 1000, Wait: 20 * time.Second, Lease: time.Hour})
				if err != nil || len(ds) == 0 {
					t.Fatalf("%d came out, then %v; %+v, %+v", len(got), err, r.Stats(), r.Explain())
				}
				for _, d := range ds {
					got = append(got, string(d.Body))
				}
			}
			for _, b := range got {
				o.note([]byte(b))
			}
			if len(o.bad) > 0 {
				t.Error(o.bad)
			}
			r.stop()
			r.wantSum()
			if s := r.Stats(); s.Away != 0 || s.Retried == 0 || s.LeaseLost != 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}
