package queue

import (
	"context"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// AttemptWindow is for how long a receive can be repeated by its attempt id.
const AttemptWindow = 5 * time.Minute

// attempt is what a receive with an attempt id returned. It is in memory only:
// a client whose answer was lost with the process receives when the visibility
// timeouts have ended.
type attempt struct {
	ends int64 // monotonic
	held []heldMessage
}

type heldMessage struct {
	n, nonce uint64
	due      int64 // changes with the visibility timeout
}

// attempts are those of a queue, and their ids in the order in which they end.
type attempts struct {
	byID  map[string]*attempt
	order list[ending]
}

type ending struct {
	id string
	of *attempt
}

// ReceiveAttempt is Receive by a client on a FIFO queue that gives its attempt an
// id, so that it can ask again when the answer was lost: within AttemptWindow the
// same messages with the same receipts, visible from now on later, as long as
// none of them was deleted, changed or became visible. After that, and on a
// standard queue, it is Receive.
func (q *Queue) ReceiveAttempt(ctx context.Context, lim runnel.Limits, id string) ([]runnel.Delivery, error) {
	if q.groups == nil || id == "" {
		return q.Receive(ctx, lim)
	}
	q.mu.Lock()
	if err := q.endedFor(ctx, nil); err != nil {
		q.mu.Unlock()
		return nil, err
	}
	p, again := q.repeat(lim, id)
	q.mu.Unlock()
	if again {
		return q.deliver(p)
	}
	ds, err := q.Receive(ctx, lim)
	if err != nil || len(ds) == 0 {
		return ds, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.set.mono()
	a := &attempt{ends: now + int64(AttemptWindow)}
	for i := range ds {
		r := ds[i].Handle.(Receipt)
		h := heldMessage{n: r.n, nonce: r.nonce}
		if l := q.leases[r.n]; l != nil {
			h.due = l.due
		}
		a.held = append(a.held, h)
	}
	if q.attempts == nil {
		q.attempts = &attempts{byID: make(map[string]*attempt)}
	}
	q.attempts.byID[id] = a
	q.attempts.order.push(ending{id, a})
	return ds, nil
}

// repeat gives the messages of an attempt new visibility timeouts, if they are
// all still its own. Caller holds mu.
func (q *Queue) repeat(lim runnel.Limits, id string) (p picked, again bool) {
	if q.attempts == nil {
		return p, false
	}
	now := q.set.mono()
	for e := q.attempts.order.first(); e != nil && e.of.ends <= now; e = q.attempts.order.first() {
		if q.attempts.byID[e.id] == e.of {
			delete(q.attempts.byID, e.id)
		}
		q.attempts.order.pop()
	}
	a := q.attempts.byID[id]
	if a == nil {
		return p, false
	}
	for _, h := range a.held {
		if l := q.leases[h.n]; l == nil || l.nonce != h.nonce || l.state != leased || l.due != h.due || l.due <= now {
			delete(q.attempts.byID, id)
			return p, false
		}
	}
	leaseFor := q.leaseFor(lim)
	p.batch = new(store.Batch)
	until := q.set.opt.Now().Add(leaseFor)
	for i := range a.held {
		h := &a.held[i]
		l := q.leases[h.n]
		q.unplace(l)
		l.due, l.leasedAt = now+int64(leaseFor), now
		q.place(l, leased)
		h.due = l.due
		p.batch.Mark(q.series, l.n, q.markOf(l))
		p.lent = append(p.lent, lent{l: *l, until: until})
	}
	q.set.store.Enqueue(p.batch, nil)
	return p, true
}

// leaseFor is for how long a receive makes messages its own. Caller holds mu.
func (q *Queue) leaseFor(lim runnel.Limits) time.Duration {
	if lim.Lease == 0 {
		return q.settings.VisibilityTimeout
	}
	return max(lim.Lease, 0) // negative: a client asked for 0
}
