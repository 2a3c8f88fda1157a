package queue_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// TestCrash runs clients and a flow on a filesystem that forgets what was not
// synced, and opens what a power loss would leave, at every sync point:
//
//   - a message whose send was acknowledged is there, in its queue, in the next
//     or in the dead letters, unless its removal was asked for;
//   - a message whose removal was acknowledged is not;
//   - what the depth counts is what is there.
func TestCrash(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			c := &crashTest{t: t, sent: map[string]bool{}, asked: map[string]bool{}, removed: map[string]bool{}}
			c.run(seed)
		})
	}
}

type crashTest struct {
	t       *testing.T
	crashes int

	mu      sync.Mutex
	sent    map[string]bool // acknowledged sends
	asked   map[string]bool // removals asked for: they may have happened
	removed map[string]bool // acknowledged removals
}

func (c *crashTest) note(set map[string]bool, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set[body] = true
}

func (c *crashTest) run(seed uint64) {
	t := c.t
	h := &home{t: t, fs: storetest.NewCrashFS(), small: seed%2 == 1}
	h.open()
	h.create("dead", nil)
	next := h.create("next", nil)
	q := h.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 2} })

	h.fs.AtSync = func() { c.look(h.fs) }
	var wg sync.WaitGroup
	for p := range uint64(2) {
		wg.Go(func() { c.sendSome(q, fmt.Sprint("p", p), rand.New(rand.NewPCG(seed, p)), 40) })
		wg.Go(func() { c.client(q, rand.New(rand.NewPCG(seed, 10+p)), 30) })
	}
	wg.Go(func() { c.flow(q, next, rand.New(rand.NewPCG(seed, 20)), 25) })
	wg.Wait()
	h.fs.AtSync = func() {}
	h.close()
	c.look(h.fs)
	t.Logf("%d crashes looked at", c.crashes)
	if c.crashes < 60 {
		t.Errorf("only %d crashes were looked at", c.crashes)
	}
}

func (c *crashTest) sendSome(q *queue.Queue, name string, rng *rand.Rand, times int) {
	for i := range times {
		ms := make([]runnel.Message, 1+rng.IntN(3))
		for j := range ms {
			ms[j].Body = fmt.Appendf(nil, "%s-%d-%d", name, i, j)
			if rng.IntN(4) == 0 {
				ms[j].Delay = time.Duration(1+rng.IntN(50)) * time.Millisecond
			}
		}
		if _, err := q.Send(ms); err != nil {
			c.t.Errorf("send: %v", err)
			return
		}
		for j := range ms {
			c.note(c.sent, string(ms[j].Body))
		}
	}
}

// client receives as clients of a door do. What it holds for long it deletes
// or lets go, and knows that it did; what it holds for a moment it forgets.
func (c *crashTest) client(q *queue.Queue, rng *rand.Rand, times int) {
	for range times {
		lim := runnel.Limits{Messages: 1 + rng.IntN(4), Lease: time.Hour, Wait: 30 * time.Millisecond}
		forget := rng.IntN(2) == 0
		if forget {
			lim.Lease = 20 * time.Millisecond
		}
		ds, err := q.Receive(context.Background(), lim)
		if err != nil {
			c.t.Errorf("receive: %v", err)
			return
		}
		for _, d := range ds {
			r := d.Handle.(queue.Receipt)
			switch {
			case forget:
			case rng.IntN(3) > 0:
				c.note(c.asked, string(d.Body))
				if err := q.Delete([]queue.Receipt{r})[0]; err != nil {
					c.t.Errorf("delete: %v", err)
					return
				}
				c.note(c.removed, string(d.Body))
			default:
				if err := q.ChangeVisibility([]queue.Visibility{{Receipt: r}})[0]; err != nil {
					c.t.Errorf("change visibility: %v", err)
					return
				}
			}
		}
	}
}

// flow moves messages to the next queue, one commit each, and fails some.
func (c *crashTest) flow(q, next *queue.Queue, rng *rand.Rand, times int) {
	ctx := context.Background()
	s := q.Source()
	for range times {
		ds, err := s.Receive(ctx, runnel.Limits{Messages: 3, Wait: 20 * time.Millisecond})
		if err != nil {
			c.t.Errorf("flow receive: %v", err)
			return
		}
		if len(ds) == 0 {
			continue
		}
		tx, err := s.(runnel.Transactor).Begin(ctx)
		if err != nil {
			c.t.Errorf("begin: %v", err)
			return
		}
		ss := make([]runnel.Settlement, len(ds))
		var out []runnel.Message
		for i := range ds {
			ss[i] = runnel.Settlement{Delivery: &ds[i]}
			if rng.IntN(3) == 0 {
				ss[i].Verdict = runnel.Retry
				continue
			}
			out = append(out, runnel.Message{Body: ds[i].Body})
		}
		if err := tx.Settle(ss); err != nil {
			c.t.Errorf("settle: %v", err)
			return
		}
		if err := tx.Send(next.Sink(), out); err != nil {
			c.t.Errorf("flow send: %v", err)
			return
		}
		if err := tx.Commit(ctx); err != nil {
			c.t.Errorf("commit: %v", err)
			return
		}
	}
	if err := s.Close(ctx); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

// look opens what a crash would leave now.
func (c *crashTest) look(fs *storetest.CrashFS) {
	t := c.t
	c.crashes++
	// Promises first, the crash after them: a promise made meanwhile belongs
	// to a later sync.
	c.mu.Lock()
	sent, removed := maps.Clone(c.sent), maps.Clone(c.removed)
	c.mu.Unlock()
	crashed := fs.Crash()
	s, err := store.Open("data", store.Options{FS: crashed, Log: quiet})
	if err != nil {
		t.Errorf("crash %d: %v", c.crashes, err)
		return
	}
	defer func() { _ = s.Close() }()
	set, err := queue.Open(s, queue.Options{Log: quiet})
	if err != nil {
		t.Errorf("crash %d: %v", c.crashes, err)
		return
	}
	defer func() { _ = set.Close(context.Background()) }()
	set.Shrink()
	found := map[string]int{}
	for _, q := range set.List("default", "", "", 0) {
		ps, err := q.Peek(0, 1<<20)
		if err != nil {
			t.Errorf("crash %d: peek: %v", c.crashes, err)
			return
		}
		for _, p := range ps {
			found[string(p.Body)]++
		}
		if d := q.Depth(); d.Visible+d.InFlight+d.Delayed != int64(len(ps)) {
			t.Errorf("crash %d: queue %s counts %+v and holds %d", c.crashes, q.Name(), d, len(ps))
		}
		// All of it can be received, and no more than that.
		got := map[string]bool{}
		src := q.Source()
		for {
			ds, err := src.Receive(context.Background(), runnel.Limits{Messages: 100, Lease: time.Hour})
			if err != nil {
				t.Errorf("crash %d: receive: %v", c.crashes, err)
				return
			}
			if len(ds) == 0 {
				if q.Depth().Visible == 0 {
					break // otherwise a delay has just ended
				}
				continue
			}
			for _, d := range ds {
				got[string(d.ID)] = true
			}
		}
		if d := q.Depth(); d.Visible != 0 || len(got)+int(d.Delayed) > len(ps) {
			t.Errorf("crash %d: queue %s: %d of %d received, depth then %+v", c.crashes, q.Name(), len(got), len(ps), d)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for body := range sent {
		if found[body] == 0 && !c.asked[body] {
			t.Errorf("crash %d: %s was acknowledged and is lost", c.crashes, body)
		}
	}
	for body := range removed {
		if found[body] != 0 {
			t.Errorf("crash %d: %s was removed and is back", c.crashes, body)
		}
	}
	for body, n := range found {
		if n > 1 {
			t.Errorf("crash %d: %s is there %d times", c.crashes, body, n)
		}
	}
}
