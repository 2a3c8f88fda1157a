package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
)

// calls is a handler that notes what each call had, and fails those messages
// whose body begins with "bad".
type calls struct {
	mu  sync.Mutex // guards all below
	got [][]string
	at  []time.Time
}

func (c *calls) Handle(_ context.Context, in []runnel.Message) ([]runnel.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var bodies []string
	out := make([]runnel.Result, len(in))
	for i, m := range in {
		bodies = append(bodies, string(m.Body))
		if strings.HasPrefix(string(m.Body), "bad") {
			out[i].Err = errors.New("bad")
		} else {
			out[i].Out = []runnel.Message{{Body: m.Body}}
		}
	}
	c.got, c.at = append(c.got, bodies), append(c.at, time.Now())
	return out, nil
}

// all returns what the calls had until now, and when they were.
func (c *calls) all() ([][]string, []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), slices.Clone(c.at)
}

func (c *calls) want(t *testing.T, want ...[]string) {
	t.Helper()
	got, _ := c.all()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestBatchSizeAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		c := &calls{}
		cfg := h.config(c)
		cfg.Flow.Batch = runnel.Batch{Size: 3, Window: 10 * time.Second}
		start := time.Now()
		r := h.run(cfg)
		h.sendBodies("in", "a")
		sleep(4 * time.Second)
		h.sendBodies("in", "b")
		sleep(20 * time.Second) // the window is over at 10 s
		h.sendBodies("in", "c", "d", "e", "f")
		sleep(time.Second) // a full batch goes at once, the rest waits
		c.want(t, []string{"a", "b"}, []string{"c", "d", "e"})
		sleep(20 * time.Second)
		c.want(t, []string{"a", "b"}, []string{"c", "d", "e"}, []string{"f"})
		_, at := c.all()
		for i, want := range []time.Duration{10 * time.Second, 24 * time.Second, 34 * time.Second} {
			if got := at[i].Sub(start); got != want {
				t.Errorf("call %d after %v, want %v", i, got, want)
			}
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Calls != 3 || s.Handled != 6 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestBatchKeys: a call of `each` has one message of a key; a list has several,
// and what follows a failed one of its key is released, whatever was said of it.
func TestBatchKeys(t *testing.T) {
	ms := []runnel.Message{
		{Key: "a", Body: []byte("a1")},
		{Key: "a", Body: []byte("bad a2")},
		{Key: "a", Body: []byte("a3")},
		{Key: "b", Body: []byte("b1")},
		{Key: "b", Body: []byte("b2")},
		{Body: []byte("x")},
		{Body: []byte("y")},
	}
	tests := map[string]struct {
		as   string
		want [][]string
		out  string
	}{
		"each": {as: "each", want: [][]string{{"a1", "b1", "x", "y"}, {"bad a2", "b2"}}, out: "a1 b1 x y b2"},
		"list": {as: "list", want: [][]string{{"a1", "bad a2", "a3", "b1", "b2", "x", "y"}}, out: "a1 b1 b2 x y"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				c := &calls{}
				cfg := h.config(c)
				cfg.Flow.Order, cfg.Flow.Batch = runnel.OrderKey, runnel.Batch{Size: 10, As: tt.as}
				cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 2, Initial: time.Minute}
				h.send("in", ms...)
				r := h.run(cfg)
				sleep(time.Second)
				c.want(t, tt.want...)
				h.wantBodies("out", tt.out)
				h.wantDepth("in", 0, 2, 0) // the failed one in its back-off, the next one behind it
				sleep(2 * time.Minute)
				h.wantBodies("dead", "bad a2")
				h.wantBodies("out", tt.out+" a3")
				if d := h.all("dead")[0].DeadLetter; d.Attempts != 2 {
					t.Errorf("dead letter: %+v", d)
				}
				h.wantDepth("in", 0, 0, 0)
				r.stop()
				r.wantSum()
				if s := r.Stats(); s.Failed != 2 || s.Retried != 1 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
}

// TestWorkerDies: messages that were together when their worker died, or was
// killed at the deadline, are called again, each alone; only the guilty one has
// failed. Of a key each waits for the one before.
func TestWorkerDies(t *testing.T) {
	for _, kind := range []string{runnel.KindCrash, runnel.KindOutOfMemory, runnel.KindTimeout} {
		for _, as := range []string{"each", "list"} {
			t.Run(kind+" "+as, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHome(t)
					var mu sync.Mutex
					var sizes []int
					inside := map[string]bool{}
					p := &pool{version: "v7", timeout: time.Second, handler: handlerFunc(func(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
						mu.Lock()
						sizes = append(sizes, len(in))
						guilty := false
						for _, m := range in {
							guilty = guilty || strings.HasPrefix(string(m.Body), "killer")
							if len(in) == 1 && inside[m.Key] && m.Key != "" {
								t.Errorf("two calls of key %s at once", m.Key)
							}
							inside[m.Key] = true
						}
						mu.Unlock()
						defer func() {
							mu.Lock()
							defer mu.Unlock()
							for _, m := range in {
								inside[m.Key] = false
							}
						}()
						<-time.After(time.Millisecond)
						if guilty && kind == runnel.KindTimeout {
							<-ctx.Done()
							return nil, ctx.Err()
						}
						if guilty {
							return nil, &runnel.FunctionError{Kind: kind, Message: "the worker died"}
						}
						return (&calls{}).Handle(ctx, in)
					})}
					cfg := h.config(p)
					cfg.Flow.Order, cfg.Flow.Batch = runnel.OrderKey, runnel.Batch{Size: 8, As: as, Window: time.Second}
					cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 3, Initial: time.Minute}
					h.send("in", runnel.Message{Body: []byte("x")}, runnel.Message{Body: []byte("killer")}, runnel.Message{Body: []byte("y")},
						runnel.Message{Key: "k", Body: []byte("k1")}, runnel.Message{Key: "k", Body: []byte("k2")}, runnel.Message{Key: "k", Body: []byte("k3")})
					r := h.run(cfg)
					sleep(30 * time.Second)
					got := strings.Fields(h.bodies("out"))
					if i, j, k := slices.Index(got, "k1"), slices.Index(got, "k2"), slices.Index(got, "k3"); i < 0 || j < i || k < j {
						t.Errorf("out: %v; want the order k1 k2 k3", got)
					}
					slices.Sort(got)
					if diff := cmp.Diff([]string{"k1", "k2", "k3", "x", "y"}, got); diff != "" {
						t.Errorf("out (-want +got):\n%s", diff)
					}
					h.wantDepth("in", 0, 1, 0) // the guilty one, in its back-off
					mu.Lock()
					for i, n := range sizes {
						if first := i == 0; first == (n == 1) && as == "list" {
							t.Errorf("sizes of the calls: %v; want a first one with several, then each alone", sizes)
							break
						}
					}
					mu.Unlock()
					sleep(10 * time.Minute)
					h.wantBodies("dead", "killer")
					if d := h.all("dead")[0].DeadLetter; d.Type != kind || d.Attempts != 3 || d.Version != "v7" {
						t.Errorf("dead letter: %+v", d)
					}
					r.stop()
					r.wantSum()
					if s := r.Stats(); s.Failed != 3 || s.Retried != 2 || s.Released > 3 {
						t.Errorf("stats: %+v", s)
					}
				})
			})
		}
	}
}

// TestPartialTimeout: a Go handler that is called once per message fails with
// its context for the slow one and all behind it: only the slow one has failed.
func TestPartialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		cfg := h.config(&pool{timeout: time.Second, handler: runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if string(m.Body) == "slow" {
				<-ctx.Done()
			}
			if ctx.Err() != nil {
				return runnel.Result{}, fmt.Errorf("query: %w", ctx.Err())
			}
			return echo(ctx, m)
		})})
		cfg.Flow.Batch, cfg.Flow.Retry.MaxAttempts = runnel.Batch{Size: 3}, 1
		h.sendBodies("in", "a", "slow", "b")
		r := h.run(cfg)
		sleep(time.Minute)
		h.wantBodies("dead", "slow")
		if got := strings.Fields(h.bodies("out")); len(got) != 2 {
			t.Errorf("out: %v", got)
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Failed != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}
