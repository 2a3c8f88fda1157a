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
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestBusy: a function that is full for long costs no message an attempt.
func TestBusy(t *testing.T) {
	for _, when := range []runnel.WhenBusy{runnel.BusyWait, runnel.BusyRequeue} {
		t.Run(string(when), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				if err := h.queue("in").Configure(func(s *queue.Settings) error {
					s.VisibilityTimeout = 5 * time.Second
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				p := &pool{places: make(chan struct{}, 1), handler: runnel.HandlerFunc(echo)}
				p.places <- struct{}{} // somebody else's call
				cfg := h.config(p)
				cfg.Flow.WhenBusy, cfg.Flow.RequeueDelay, cfg.Flow.Retry.MaxAttempts = when, 7*time.Minute, 1
				h.sendBodies("in", "a", "b", "c")
				start := time.Now()
				r := h.run(cfg)
				sleep(30 * time.Second)
				if when == runnel.BusyWait {
					if got := r.codes(); got != "busy" || r.Stats().Waiting != 3 {
						t.Errorf("explain: %q, want busy; %+v", got, r.Stats())
					}
				} else if s := r.Stats(); s.Busy != 3 || s.Calling != 0 {
					t.Errorf("stats: %+v", s)
				}
				sleep(5*time.Minute - 30*time.Second)
				<-p.places
				var last time.Time
				for len(h.all("out")) < 3 && time.Since(start) < time.Hour {
					sleep(100 * time.Millisecond)
					last = time.Now()
				}
				took := last.Sub(start)
				if when == runnel.BusyWait && took > 5*time.Minute+time.Second || when == runnel.BusyRequeue && (took < 7*time.Minute || took > 8*time.Minute) {
					t.Errorf("done after %v", took)
				}
				h.wantDepth("dead", 0, 0, 0)
				r.stop()
				r.wantSum()
				if s := r.Stats(); s.Failed != 0 || s.Retried != 0 || s.Handled != 3 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
}

// TestNoFunction: messages of a function that cannot be called stay in the
// source, with one line in the log, and the flow says why.
func TestNoFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		p := &pool{handler: runnel.HandlerFunc(echo), broken: errors.New("fn@live: there is no such version")}
		cfg := h.config(p)
		cfg.Flow.Retry.MaxAttempts = 1
		var bodies []string
		for i := range 500 {
			bodies = append(bodies, fmt.Sprint(i))
		}
		h.sendBodies("in", bodies...)
		r := h.run(cfg)
		sleep(50 * time.Second)
		if n := h.log.count("cannot be called"); n != 1 {
			t.Errorf("%d lines in the log, want 1", n)
		}
		if s := r.Stats(); s.Received > 200 {
			t.Errorf("%d receives in vain", s.Received)
		}
		found := false
		for _, reason := range r.Explain() {
			found = found || reason.Code == "function" && strings.Contains(reason.Text, "no such version")
		}
		if !found {
			t.Errorf("explain: %+v", r.Explain())
		}
		p.mu.Lock()
		p.broken = nil
		p.mu.Unlock()
		sleep(time.Minute)
		if got := len(h.all("out")); got != 500 {
			t.Errorf("%d came out, want 500", got)
		}
		if got := r.codes(); got != "empty" {
			t.Errorf("explain: %q", got)
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Failed != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestSlots: flows share few slots: never more are taken, all flows end, each
// gets its share, and flows that end while in line harm nobody.
func TestSlots(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const flows, each, slots = 12, 40, 3
				rng := rand.New(rand.NewPCG(seed, 1))
				names := make([]string, flows)
				for i := range names {
					names[i] = fmt.Sprint("q", i)
				}
				h := newHome(t, names...)
				shared := dispatch.NewSlots(slots)
				var mu sync.Mutex
				running, most := 0, 0
				half := map[string]time.Duration{}
				count := map[string]int{}
				start := time.Now()
				var rs []*named
				for i, name := range names {
					cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
						mu.Lock()
						running++
						most = max(most, running)
						d := time.Duration(rng.IntN(100)) * time.Millisecond
						count[name]++
						if count[name] == each/2 {
							half[name] = time.Since(start)
						}
						mu.Unlock()
						<-time.After(d)
						mu.Lock()
						running--
						mu.Unlock()
						return echo(ctx, m)
					}))
					cfg.Flow.Name, cfg.Flow.From, cfg.Slots = name, runnel.Ref("queue:"+name), shared
					cfg.Flow.Concurrency = 1 + (i+int(seed))%8
					for range each {
						h.sendBodies(name, "x")
					}
					rs = append(rs, &named{h.run(cfg), name})
				}
				sleep(300 * time.Millisecond)
				limited := false
				for _, r := range rs {
					limited = limited || strings.Contains(r.codes(), "session_limit")
				}
				if !limited {
					t.Error("no flow explains the session limit")
				}
				for i := range 3 { // they end while others, and they, are in line
					rs[i].stop()
				}
				sleep(10 * time.Minute)
				left := 0
				for i, r := range rs {
					if i >= 3 {
						h.wantDepth(r.name, 0, 0, 0)
						r.stop()
						if half[r.name] > 40*time.Second {
							t.Errorf("%s had half of its calls after %v", r.name, half[r.name])
						}
					} else {
						left += len(h.all(r.name))
					}
					r.wantSum()
				}
				if got := len(h.all("out")); got != flows*each-left || most != slots || shared.Taken() != 0 {
					t.Errorf("%d came out, want %d; at most %d at once, %d taken now", got, flows*each-left, most, shared.Taken())
				}
			})
		})
	}
}

// TestSlotsLimit: a limit that is raised lets waiting flows start at once, one
// that is lowered ends no call.
func TestSlotsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "a", "b")
		shared := dispatch.NewSlots(1)
		release := make(chan struct{})
		for _, name := range []string{"a", "b"} {
			cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
				<-release
				return echo(ctx, m)
			}))
			cfg.Flow.Name, cfg.Flow.From, cfg.Slots, cfg.Flow.Concurrency = name, runnel.Ref("queue:"+name), shared, 8
			for range 5 {
				h.sendBodies(name, "x")
			}
			defer h.run(cfg).stop()
		}
		want := func(taken int, when string) {
			t.Helper()
			sleep(time.Minute)
			if got := shared.Taken(); got != taken {
				t.Errorf("%s: %d calls are under way, want %d", when, got, taken)
			}
		}
		want(1, "a limit of 1")
		shared.SetLimit(6)
		want(6, "raised to 6")
		shared.SetLimit(2)
		want(6, "lowered to 2")
		for range 3 {
			release <- struct{}{}
		}
		want(3, "lowered to 2, 3 ended")
		release <- struct{}{}
		release <- struct{}{}
		want(2, "lowered to 2, 5 ended")
		close(release)
		want(0, "all ended")
		if got := len(h.all("out")); got != 10 {
			t.Errorf("%d came out, want 10", got)
		}
	})
}

// named is a flow with the name of its queue.
type named struct {
	*running
	name string
}

func TestFilter(t *testing.T) {
	tests := map[string]struct {
		filter string
		out    string
		dead   string
	}{
		"body":       {filter: `body.kind == "image" && body.size > 10`, out: `{"kind":"image","size":11}`, dead: "plain"},
		"text":       {filter: `body == "plain"`, out: "plain"},
		"attributes": {filter: `attributes["team"] == "red"`, out: "plain"},
		"key":        {filter: `key startsWith "k"`, out: `{"kind":"video"}`},
		"attempt":    {filter: `attempt > 1 or steps > 0`},
		"in":         {filter: `attributes.team in ["red", "blue"] or key == "z"`, out: "plain"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				cfg := h.config(runnel.HandlerFunc(echo))
				cfg.Flow.Filter, cfg.Flow.Concurrency = tt.filter, 1
				h.send("in",
					runnel.Message{Body: []byte("plain"), Attributes: []runnel.Attribute{{Name: "team", Value: []byte("red")}}},
					runnel.Message{Body: []byte(`{"kind":"image","size":11}`)},
					runnel.Message{Body: []byte(`{"kind":"image","size":9}`)},
					runnel.Message{Key: "k", Body: []byte(`{"kind":"video"}`)},
				)
				r := h.run(cfg)
				synctest.Wait()
				h.wantBodies("out", tt.out)
				h.wantBodies("dead", tt.dead)
				for _, p := range h.all("dead") {
					if d := p.DeadLetter; d.Type != "undecodable" || d.Attempts != 0 || !strings.Contains(d.Message, "the filter fails on it") {
						t.Errorf("dead letter: %+v", d)
					}
				}
				h.wantDepth("in", 0, 0, 0)
				r.stop()
				r.wantSum()
				if s := r.Stats(); s.Failed != 0 || s.Filtered+s.Handled+s.DeadLettered != 4 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
	for _, bad := range []string{"body.kind ==", "nothing == 1", "attempt + 1", "body.kind", `key == 7`} {
		err := dispatch.CheckFilter(bad)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "body, attributes") {
			t.Errorf("filter %q: %v", bad, err)
		}
		var field *runnel.FieldError
		if _, err := dispatch.New(dispatch.Config{Flow: runnel.Flow{Filter: bad}}); !errors.As(err, &field) || field.Path != "filter" {
			t.Errorf("a flow with filter %q: %v", bad, err)
		}
	}
	if err := dispatch.CheckFilter("  "); err != nil {
		t.Errorf("no filter: %v", err)
	}
}
