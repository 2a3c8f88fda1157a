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

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
)

// plan is what happens to a flow in one run of the model.
type plan struct {
	seed        uint64
	keys        int // 0: no order
	messages    int
	concurrency int
	parked      int
	batch       runnel.Batch
	failures    int // in a hundred calls of a message
	deaths      int // in a hundred calls, of the worker
	steps       []step
}

type step struct {
	after time.Duration
	what  string // pause, resume, restart, crash, send
}

// TestModel: whatever fails, stops and crashes meanwhile, no message is lost,
// none is doubled (it is one commit), and the messages of a key come out in
// their order.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{
			seed:        rapid.Uint64().Draw(rt, "seed"),
			keys:        rapid.IntRange(0, 6).Draw(rt, "keys"),
			messages:    rapid.IntRange(1, 120).Draw(rt, "messages"),
			concurrency: rapid.IntRange(1, 8).Draw(rt, "concurrency"),
			parked:      rapid.IntRange(1, 40).Draw(rt, "parked"),
			batch: runnel.Batch{
				Size:   rapid.IntRange(1, 6).Draw(rt, "size"),
				Window: time.Duration(rapid.IntRange(0, 3).Draw(rt, "window")) * 100 * time.Millisecond,
				As:     rapid.SampledFrom([]string{"each", "list"}).Draw(rt, "as"),
			},
			failures: rapid.SampledFrom([]int{0, 5, 30}).Draw(rt, "failures"),
			deaths:   rapid.SampledFrom([]int{0, 5, 20}).Draw(rt, "deaths"),
			steps: rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
				return step{
					after: time.Duration(rapid.IntRange(0, 4000).Draw(rt, "after")) * time.Millisecond,
					what:  rapid.SampledFrom([]string{"pause", "resume", "restart", "crash", "send"}).Draw(rt, "what"),
				}
			}), 0, 8).Draw(rt, "steps"),
		}
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = p.run(t) })
		if len(faults) > 0 {
			rt.Fatalf("%+v:\n%s", p, strings.Join(faults, "\n"))
		}
	})
}

// run returns what went wrong.
func (p plan) run(t *testing.T) (faults []string) {
	h := newHome(t)
	rng := rand.New(rand.NewPCG(p.seed, 1))
	var mu sync.Mutex // guards rng and faults
	fault := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, fmt.Sprintf(format, args...))
	}
	inside := map[string]bool{}
	handle := func(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
		mu.Lock()
		mine := map[string]bool{}
		for _, m := range in {
			if m.Key != "" && inside[m.Key] && !mine[m.Key] {
				faults = append(faults, "two calls of key "+m.Key+" at once")
			}
			if m.Key != "" && mine[m.Key] && p.batch.As == "each" {
				faults = append(faults, "two messages of key "+m.Key+" in one call")
			}
			inside[m.Key], mine[m.Key] = true, true
		}
		d := time.Duration(rng.IntN(300)) * time.Millisecond
		if rng.IntN(3) == 0 {
			d = 0
		}
		dies := rng.IntN(100) < p.deaths
		mu.Unlock()
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		for key := range mine {
			inside[key] = false
		}
		if dies && rng.IntN(2) == 0 {
			return nil, runnel.ErrInterrupted
		}
		if dies {
			return nil, &runnel.FunctionError{Kind: runnel.KindCrash, Message: "died"}
		}
		out := make([]runnel.Result, len(in))
		for i, m := range in {
			switch {
			case rng.IntN(100) >= p.failures:
				out[i].Out = []runnel.Message{{Body: m.Body, Key: m.Key}}
			case rng.IntN(4) == 0:
				out[i].Err = runnel.RetryAfter(time.Duration(rng.IntN(3)) * time.Second)
			case rng.IntN(8) == 0 && p.keys == 0:
				out[i].Err = runnel.Reject("no")
			default:
				out[i].Err = errors.New("no")
			}
		}
		return out, nil
	}
	cfg := h.config(handlerFunc(handle))
	cfg.DrainTimeout = time.Second
	cfg.Flow.Batch, cfg.Flow.Concurrency, cfg.Flow.Parked = p.batch, p.concurrency, p.parked
	cfg.Flow.Retry = runnel.RetryPolicy{MaxAttempts: 1000, Initial: 500 * time.Millisecond, Max: 5 * time.Second}
	if p.keys > 0 {
		cfg.Flow.Order = runnel.OrderKey
	}
	sent := 0
	send := func(n int) {
		for range n {
			m := runnel.Message{}
			if p.keys > 0 {
				mu.Lock()
				m.Key = fmt.Sprint("k", rng.IntN(p.keys+1)) // one of them is rare
				mu.Unlock()
			}
			m.Body = fmt.Appendf(nil, "%s %d", m.Key, sent)
			h.send("in", m)
			sent++
		}
	}
	send(p.messages)
	r := h.run(cfg)
	ordered := p.keys > 0
	for _, s := range p.steps {
		sleep(s.after)
		switch s.what {
		case "pause":
			r.Pause()
		case "resume":
			r.Resume()
		case "send":
			send(10)
		case "restart":
			r.stop()
			r = h.run(cfg)
			ordered = false // it holds within one run
		case "crash":
			crashed := h.fs.Crash()
			r.stop()
			h.close()
			h.fs = crashed
			h.open()
			r = h.run(cfg)
			ordered = false
		}
	}
	r.Resume()
	for range 100 {
		sleep(time.Minute)
		if d := h.queue("in").Depth(); d.Visible+d.InFlight+d.Delayed == 0 {
			break
		}
	}
	if s := r.Stats(); s.Away != 0 {
		fault("%d messages are away in the end", s.Away)
	}
	r.stop()
	r.wantSum()
	count := map[string]int{}
	last := map[string]int{}
	for _, q := range []string{"out", "dead", "in"} {
		for _, m := range h.all(q) {
			count[string(m.Body)]++
			if q == "in" {
				fault("%s is still in the source", m.Body)
			}
			if q != "out" || !ordered {
				continue
			}
			var n int
			if _, err := fmt.Sscanf(string(m.Body), m.Key+" %d", &n); err != nil {
				fault("%q: %v", m.Body, err)
			}
			if before, ok := last[m.Key]; ok && n < before {
				fault("key %s: %d came out after %d", m.Key, n, before)
			}
			last[m.Key] = n
		}
	}
	if len(count) != sent {
		fault("%d messages of %d are left", len(count), sent)
	}
	for body, n := range count {
		if n != 1 {
			fault("%s is there %d times", body, n)
		}
	}
	return faults
}
