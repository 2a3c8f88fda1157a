package queue

import (
	"container/heap"
	"math"
	"time"

	"github.com/runnel-io/runnel/internal/store"
)

// A standard queue is fair to its tenants: messages of one group (the key) are
// one tenant, a message without a group is a tenant of its own. A tenant is noisy
// while it has at least 30 messages in flight and more than a tenth of
// all that are, or while it had more than a tenth of the time that messages spent
// in flight lately, and at least noisyBusy of it. Messages of noisy tenants
// are received when no other is visible. (SQS, "fair queues"; the floor of
// noisyBusy is ours: a queue that is nearly idle keeps about the order of sends.)
// See docs/adr/0013-fair-queues.md.
const (
	noisyShare = 10 // one in so many
	noisyBusy  = 10 * time.Second
	// lately is how fast the past is forgotten: after this time a stretch in
	// flight counts 1/e of itself.
	lately = time.Minute
)

// tenants are what a standard queue that has messages with a group knows of
// their tenants. Guarded by Queue.mu.
type tenants struct {
	byKey map[groupKey]*tenant
	aside []*tenant // that have messages set aside
	busy  busy      // of all messages, with and without a group
}

// tenant is one message group on a standard queue.
type tenant struct {
	key    groupKey
	refs   int   // leases of the tenant
	flying int64 // of these, in flight
	busy   busy

	// Messages that were passed over while it was noisy:
	line            // never received
	back  leaseHeap // returned
	place int       // in tenants.aside, or -1
}

// busy is the time that messages spent in flight lately, in seconds.
type busy struct {
	seconds float64
	at      int64 // monotonic: up to when it was counted
}

// upTo counts the time until now, during which flying messages were in flight.
func (b *busy) upTo(now, flying int64) {
	if now > b.at {
		kept := math.Exp(-float64(now-b.at) / float64(lately))
		b.seconds = b.seconds*kept + float64(flying)*lately.Seconds()*(1-kept)
		b.at = now
	}
}

// setAside returns the tenants that have messages set aside. ts may be nil.
func (ts *tenants) setAside() []*tenant {
	if ts == nil {
		return nil
	}
	return ts.aside
}

// tenant returns the tenant of a group. Caller holds mu.
func (q *Queue) tenant(k groupKey) *tenant {
	ts := q.tenants
	if ts == nil {
		ts = &tenants{byKey: make(map[groupKey]*tenant), busy: busy{at: q.set.mono()}}
		q.tenants = ts
	}
	t := ts.byKey[k]
	if t == nil {
		t = &tenant{key: k, place: -1, busy: busy{at: q.set.mono()}}
		t.back.byNumber = true
		ts.byKey[k] = t
	}
	return t
}

// tenantOf returns whose message a record is, nil if it has no group. Caller
// holds mu.
func (q *Queue) tenantOf(record []byte) *tenant {
	k := recordKey(record)
	if k == nil {
		return nil
	}
	return q.tenant(groupOf(k))
}

// joinTenant makes a new lease, which is not in flight yet, one of a tenant.
func (l *lease) joinTenant(t *tenant) {
	if t != nil {
		l.tenant = t
		t.refs++
	}
}

// leaveTenant is forget for the tenant of a message. Caller holds mu.
func (q *Queue) leaveTenant(l *lease) {
	l.tenant.refs--
	q.tenants.release(l.tenant, q.set.mono(), q.inFlight)
}

// release lets go of a tenant that nothing waits for and that was not busy
// enough lately to matter.
func (ts *tenants) release(t *tenant, now, inFlight int64) {
	if t.refs > 0 || t.place >= 0 || ts.byKey[t.key] != t {
		return
	}
	t.busy.upTo(now, 0)
	ts.busy.upTo(now, inFlight)
	if t.busy.seconds < 1 || t.busy.seconds*noisyShare*10 < ts.busy.seconds {
		delete(ts.byKey, t.key)
	}
}

// sweepTenants lets go of tenants that were busy, and are not any more.
func (q *Queue) sweepTenants() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tenants == nil {
		return
	}
	now := q.set.mono()
	for _, t := range q.tenants.byKey {
		q.tenants.release(t, now, q.inFlight)
	}
	if len(q.tenants.byKey) == 0 {
		q.tenants = nil
	}
}

// fly counts that a message went into flight (d is 1) or ended it (-1). Caller
// holds mu.
func (q *Queue) fly(l *lease, d int64) {
	if ts := q.tenants; ts != nil {
		now := q.set.mono()
		ts.busy.upTo(now, q.inFlight)
		if t := l.tenant; t != nil {
			t.busy.upTo(now, t.flying)
			t.flying += d
		}
	}
	q.inFlight += d
}

// noisy says whether a tenant's messages let others pass. Caller holds mu.
func (q *Queue) noisy(t *tenant, now int64) bool {
	if t.flying >= q.set.limits.noisy && t.flying*noisyShare > q.inFlight {
		return true
	}
	t.busy.upTo(now, t.flying)
	if t.busy.seconds < noisyBusy.Seconds() {
		return false
	}
	q.tenants.busy.upTo(now, q.inFlight)
	return t.busy.seconds*noisyShare > q.tenants.busy.seconds
}

// next returns the next message for a receive from a standard queue: the lowest
// number of a quiet tenant, or if there is none the lowest of a noisy one. It
// stays visible until pick has placed it. Noisy tenants' messages that are in the
// way are set aside. nil: there is none, or p.load must be read first. Caller
// holds mu.
func (q *Queue) next(p *picked, now int64) (*lease, []byte) {
	for {
		fresh, back := q.window.first(), q.returned.first()
		n, t := uint64(math.MaxUint64), (*tenant)(nil)
		switch {
		case back != nil && (fresh == nil || back.n < fresh.n):
			n, t = back.n, back.tenant
		case fresh != nil:
			n, t, back = fresh.n, q.tenantOf(fresh.record), nil
		}
		if quiet := q.firstAside(n, now, true); quiet != nil {
			return q.takeAside(p, quiet)
		}
		if n == math.MaxUint64 || t != nil && q.noisy(t, now) {
			if n < math.MaxUint64 && q.passOver(t, back) {
				continue
			}
			if waits := q.firstAside(n, now, false); waits != nil {
				return q.takeAside(p, waits)
			}
		}
		switch {
		case back != nil:
			return back, nil
		case fresh == nil:
			return nil, nil
		}
		record := fresh.record
		l := q.takeFirst()
		l.joinTenant(t)
		return l, record
	}
}

// firstAside returns the tenant that has the lowest number below n aside; of
// those that are quiet now, if asked. Caller holds mu.
func (q *Queue) firstAside(n uint64, now int64, quiet bool) (found *tenant) {
	for _, t := range q.tenants.setAside() {
		first, _, ok := t.first()
		if b := t.back.first(); b != nil && (!ok || b.n < first) {
			first = b.n
		}
		if first < n && (!quiet || !q.noisy(t, now)) {
			n, found = first, t
		}
	}
	return found
}

// passOver sets the first visible message of all aside: back, which is
// returned, or if that is nil the first of the window. It is t's. It says whether
// there was room to do so. Caller holds mu.
func (q *Queue) passOver(t *tenant, back *lease) bool {
	ts := q.tenants
	if t.place < 0 && len(ts.aside) >= q.set.limits.aside || back == nil && q.lines.runs >= q.set.limits.parked {
		return false
	}
	if back != nil {
		heap.Remove(&q.returned, int(back.pos))
		back.aside = true
		heap.Push(&t.back, back)
	} else {
		it := q.window.pop(q.set)
		q.lineUp(&t.line, it, recordSent(it.record), false)
	}
	if t.place < 0 {
		t.place = len(ts.aside)
		ts.aside = append(ts.aside, t)
	}
	return true
}

// takeAside returns the first message that a tenant has aside, as next does.
// Caller holds mu.
func (q *Queue) takeAside(p *picked, t *tenant) (*lease, []byte) {
	n, record, ok := t.first()
	if b := t.back.first(); b != nil && (!ok || b.n < n) {
		return b, nil
	}
	if record == nil {
		if p.empty() {
			p.load = unread{line: &t.line}
		}
		return nil, nil
	}
	return q.takeParked(t, n, record), record
}

// takeParked takes the first message out of a tenant's line and makes it an
// exception. Caller holds mu.
func (q *Queue) takeParked(t *tenant, n uint64, record []byte) *lease {
	q.advance(&t.line)
	l := &lease{n: n, sent: recordSent(record), size: uint32(len(record))}
	l.joinTenant(t)
	q.leases[n] = l
	q.place(l, returned)
	q.endAside(t)
	return l
}

// endAside takes a tenant off the list of those that have messages aside, if it
// has none any more. Caller holds mu.
func (q *Queue) endAside(t *tenant) {
	if t.place < 0 || !t.empty() || t.back.Len() > 0 {
		return
	}
	ts := q.tenants
	last := len(ts.aside) - 1
	ts.aside[t.place] = ts.aside[last]
	ts.aside[t.place].place = t.place
	ts.aside[last] = nil
	ts.aside = ts.aside[:last]
	t.place = -1
	ts.release(t, q.set.mono(), q.inFlight)
}

// unplaceAside is unplace for a returned message that was set aside. Caller
// holds mu.
func (q *Queue) unplaceAside(l *lease) {
	l.aside = false
	heap.Remove(&l.tenant.back, int(l.pos))
	q.endAside(l.tenant)
}

// asideHas returns the tenant in whose line message n is, or nil. Caller holds mu.
func (q *Queue) asideHas(n uint64) *tenant {
	for _, t := range q.tenants.setAside() {
		if t.has(n) {
			return t
		}
	}
	return nil
}

// atHand says whether message n of a standard queue waits in the window or is
// set aside, and has no lease. Caller holds mu.
func (q *Queue) atHand(n uint64) bool {
	_, ok := q.window.find(n)
	return ok || q.asideHas(n) != nil
}

// expireAside is the part of expireAll for what tenants have aside. It returns
// what must be read to know whether its first message has expired. Caller holds
// mu.
func (q *Queue) expireAside(b *store.Batch, oldest int64) (load []unread) {
	aside := q.tenants.setAside()
	for i := len(aside) - 1; i >= 0; i-- { // who leaves is replaced by the last
		t := aside[i]
		for b.Len() < expireBatch {
			n, record, ok := t.first()
			if !ok {
				break
			}
			if record == nil {
				if t.mayHaveExpired(oldest) && len(load) < loadAtOnce {
					load = append(load, unread{line: &t.line})
				}
				break
			}
			if recordSent(record) >= oldest {
				break
			}
			q.expire(b, q.takeParked(t, n, record))
		}
	}
	return load
}
