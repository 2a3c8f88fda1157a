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

// TestFIFOCrash runs senders, clients and a flow on FIFO queues, and opens what
// a power loss would leave, at every sync point:
//
//   - a send that was acknowledged is a duplicate when it is repeated, of the
//     same place, also after its message was removed;
//   - one that was not is either stored once or not at all;
//   - of each group what is there comes in order, here and in the next queue;
//   - what was removed is not back.
func TestFIFOCrash(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			c := &fifoCrash{t: t, sent: map[string]queue.Sent{}, asked: map[string]bool{}, removed: map[string]bool{}}
			c.run(seed)
		})
	}
}

type fifoCrash struct {
	t       *testing.T
	crashes int

	mu      sync.Mutex
	sent    map[string]queue.Sent // acknowledged
	asked   map[string]bool       // removals asked for
	removed map[string]bool       // removals acknowledged
}

func (c *fifoCrash) run(seed uint64) {
	t := c.t
	h := &home{t: t, fs: storetest.NewCrashFS(), small: seed%2 == 1}
	h.open()
	next := h.create("next.fifo", fifo)
	q := h.create("q.fifo", fifo)
	h.fs.AtSync = func() { c.look(h.fs) }
	var wg sync.WaitGroup
	for p := range uint64(2) {
		wg.Go(func() { c.send(q, p, rand.New(rand.NewPCG(seed, p))) })
		wg.Go(func() { c.client(q, rand.New(rand.NewPCG(seed, 10+p))) })
	}
	wg.Go(func() { c.flow(q, next, rand.New(rand.NewPCG(seed, 20))) })
	wg.Wait()
	h.fs.AtSync = func() {}
	h.close()
	c.look(h.fs)
	t.Logf("%d crashes looked at, %d messages sent", c.crashes, len(c.sent))
	if c.crashes < 40 || len(c.sent) < 40 {
		t.Errorf("only %d crashes were looked at, of %d messages", c.crashes, len(c.sent))
	}
}

// send sends to two groups of its own, and repeats some.
func (c *fifoCrash) send(q *queue.Queue, p uint64, rng *rand.Rand) {
	for i := range 30 {
		ms := make([]runnel.Message, 1+rng.IntN(3))
		for j := range ms {
			group := string(rune('a' + 2*p + rng.Uint64N(2)))
			body := fmt.Sprintf("%s-%05d", group, i*10+j)
			ms[j] = runnel.Message{Body: []byte(body), Key: group, DedupID: body}
		}
		for range 1 + rng.IntN(2) {
			sent, err := q.SendOrdered(ms)
			if err != nil {
				c.t.Errorf("send: %v", err)
				return
			}
			c.mu.Lock()
			for j := range ms {
				body := string(ms[j].Body)
				if was, ok := c.sent[body]; ok && (was.ID != sent[j].ID || was.Position != sent[j].Position || !sent[j].Duplicate) {
					c.t.Errorf("%s was told %+v, then %+v", body, was, sent[j])
				}
				c.sent[body] = sent[j]
			}
			c.mu.Unlock()
		}
	}
}

func (c *fifoCrash) client(q *queue.Queue, rng *rand.Rand) {
	for range 25 {
		ds, err := q.Receive(context.Background(), runnel.Limits{Messages: 1 + rng.IntN(3), Lease: time.Hour, Wait: 30 * time.Millisecond})
		if err != nil {
			c.t.Errorf("receive: %v", err)
			return
		}
		for i, d := range ds {
			r := d.Handle.(queue.Receipt)
			if rng.IntN(3) == 0 { // this one and those behind it go back
				for _, d := range ds[i:] {
					if err := q.ChangeVisibility([]queue.Visibility{{Receipt: d.Handle.(queue.Receipt)}})[0]; err != nil {
						c.t.Errorf("change visibility: %v", err)
					}
				}
				break
			}
			c.note(c.asked, string(d.Body))
			if err := q.Delete([]queue.Receipt{r})[0]; err != nil {
				c.t.Errorf("delete: %v", err)
				return
			}
			c.note(c.removed, string(d.Body))
		}
	}
}

func (c *fifoCrash) note(set map[string]bool, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set[body] = true
}

// flow moves messages to the next queue, one commit each receive; it fails some
// and then releases those behind.
func (c *fifoCrash) flow(q, next *queue.Queue, rng *rand.Rand) {
	ctx := context.Background()
	s := q.Source()
	for range 25 {
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
		failed := map[string]bool{}
		for i := range ds {
			d := &ds[i]
			ss[i] = runnel.Settlement{Delivery: d}
			switch {
			case failed[d.Key]:
				ss[i].Verdict = runnel.Release
			case rng.IntN(3) == 0:
				failed[d.Key] = true
				ss[i].Verdict = runnel.Retry
			default:
				out = append(out, runnel.Message{Body: d.Body, Key: d.Key, DedupID: string(d.Body)})
			}
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
func (c *fifoCrash) look(fs *storetest.CrashFS) {
	t := c.t
	c.crashes++
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
	q, err := set.Queue(queue.Name{Account: "default", Queue: "q.fifo"})
	if err != nil {
		return // before it was made
	}
	before := q.Depth()
	for body, was := range sent {
		again, err := q.SendOrdered([]runnel.Message{{Body: []byte(body), Key: body[:1], DedupID: body}})
		if err != nil || !again[0].Duplicate || again[0].ID != was.ID || again[0].Position != was.Position {
			t.Errorf("crash %d: %s repeated: %+v, %v; was %+v", c.crashes, body, again, err, was)
		}
	}
	if now := q.Depth(); now.Visible < before.Visible || now.Visible+now.InFlight != before.Visible+before.InFlight {
		t.Errorf("crash %d: depth %+v before duplicates, %+v after", c.crashes, before, now)
	}
	for _, q := range set.List("default", "", "", 0) {
		ps, err := q.Peek(0, 1<<20)
		if err != nil {
			t.Errorf("crash %d: peek: %v", c.crashes, err)
			return
		}
		last := map[string]string{}
		for _, p := range ps {
			found[string(p.Body)]++
			if last[p.Key] >= string(p.Body) {
				t.Errorf("crash %d: in %s %s is before %s", c.crashes, q.Name(), last[p.Key], p.Body)
			}
			last[p.Key] = string(p.Body)
		}
		if d := q.Depth(); d.Visible+d.InFlight+d.Delayed != int64(len(ps)) {
			t.Errorf("crash %d: queue %s counts %+v and holds %d", c.crashes, q.Name(), d, len(ps))
		}
		c.drain(q)
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

// drain receives and acks what can be, in order.
func (c *fifoCrash) drain(q *queue.Queue) {
	src := q.Source()
	last := map[string]string{}
	for {
		ds, err := src.Receive(context.Background(), runnel.Limits{Messages: 10, Lease: time.Hour})
		if err != nil {
			c.t.Errorf("crash %d: receive: %v", c.crashes, err)
			return
		}
		if len(ds) == 0 {
			return
		}
		ss := make([]runnel.Settlement, len(ds))
		for i := range ds {
			d := &ds[i]
			ss[i].Delivery = d
			if last[d.Key] >= string(d.Body) {
				c.t.Errorf("crash %d: of %s received %s after %s", c.crashes, q.Name(), d.Body, last[d.Key])
			}
			last[d.Key] = string(d.Body)
		}
		if err := src.Settle(context.Background(), ss); err != nil {
			c.t.Errorf("crash %d: settle: %v", c.crashes, err)
			return
		}
	}
}
