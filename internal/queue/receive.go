package queue

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// ErrOverLimit is returned to a client that would hold too many messages:
// MaxInFlight of the queue are in flight.
var ErrOverLimit = errors.New("too many messages of this queue are in flight")

// MaxReceivesType is the runnel.DeadLetter.Type of a message that the redrive
// policy moved; its Attempts are the receives until then.
const MaxReceivesType = "max_receives"

// redriveLease is how long a message stays invisible that could not be moved
// to the dead-letter queue.
const redriveLease = 30 * time.Second

// deadAtOnce is how many messages one look at the index moves to the
// dead-letter queue at most.
const deadAtOnce = 100

// Receive returns 1 to lim.Messages messages to a client of a door, or none
// after lim.Wait. That they were received, until when, and by which receipt
// handle is durable before it returns; the Handle of each is a Receipt. A
// message over the redrive policy's limit is moved to the dead-letter queue
// instead of being delivered.
func (q *Queue) Receive(ctx context.Context, lim runnel.Limits) ([]runnel.Delivery, error) {
	return q.receive(ctx, lim, nil)
}

// receive is Receive for a client (owner nil) or for a flow's source.
func (q *Queue) receive(ctx context.Context, lim runnel.Limits, owner *source) ([]runnel.Delivery, error) {
	var timeout <-chan time.Time // set when it first has to wait
	woken := false               // a message came, for whoever looks first
	for {
		q.mu.Lock()
		if err := q.endedFor(ctx, owner); err != nil {
			q.passOn(woken)
			q.mu.Unlock()
			return nil, err
		}
		if q.hungry() { // the backlog goes on, on disk
			q.mu.Unlock()
			if err := q.refill(); err != nil {
				q.mu.Lock()
				q.passOn(woken)
				q.mu.Unlock()
				return nil, unavailable("receive", err)
			}
			continue
		}
		p, err := q.pick(lim, owner)
		if err != nil {
			q.passOn(woken)
			q.mu.Unlock()
			return nil, err
		}
		if p.empty() && p.load.line != nil {
			q.mu.Unlock()
			if err := q.load1(p.load); err != nil {
				q.mu.Lock()
				q.passOn(woken)
				q.mu.Unlock()
				return nil, unavailable("receive", err)
			}
			continue
		}
		if p.empty() && q.hungry() {
			q.mu.Unlock()
			continue // all in the window had expired
		}
		var w *waiter
		if p.empty() && lim.Wait > 0 {
			w = &waiter{ready: make(chan struct{}, 1)}
			q.waiters = append(q.waiters, w)
		}
		q.mu.Unlock()

		if !p.empty() {
			ds, err := q.deliver(p)
			if err != nil || len(ds) > 0 {
				return ds, err
			}
			continue // all of them were dead or gone
		}
		if w == nil {
			return nil, nil
		}
		if timeout == nil {
			t := time.NewTimer(lim.Wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-w.ready:
			woken = true
		case <-timeout:
			q.giveUp(w)
			return nil, nil
		case <-ctx.Done():
			q.giveUp(w)
			return nil, context.Cause(ctx)
		case <-owner.closed():
			q.giveUp(w)
			return nil, runnel.ErrClosed
		}
	}
}

// passOn wakes the next in line for a receive that was woken and ends without
// a look at the messages. Caller holds mu.
func (q *Queue) passOn(woken bool) {
	if woken {
		q.wake(1)
	}
}

func (q *Queue) giveUp(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(w)
}

// endedFor says why a receive must end, if it must. Caller holds mu.
func (q *Queue) endedFor(ctx context.Context, owner *source) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if q.ended != nil {
		return q.ended
	}
	select {
	case <-owner.closed():
		return runnel.ErrClosed
	default:
		return nil
	}
}

// picked is what one look at the index found.
type picked struct {
	owner *source
	lent  []lent
	dead  []lease      // over the redrive limit, in flight with nobody
	batch *store.Batch // marks of what a client received, removals of what expired; or nil

	load unread // what must be read first

	// Of a FIFO queue:
	group              *group // that is taken from
	fromGroup, ofGroup int    // how many of lent, of dead, are of it
}

// lent is a message that was picked to be delivered. What is told of the
// lease is copied under mu: it may change at once.
type lent struct {
	l      lease
	until  time.Time
	record []byte // nil: in the store only
}

func (p *picked) empty() bool { return len(p.lent)+len(p.dead) == 0 }

// pick takes visible messages, lowest number first, makes them the caller's
// and enqueues what must become durable of that. Caller holds mu.
func (q *Queue) pick(lim runnel.Limits, owner *source) (picked, error) {
	p := picked{owner: owner}
	if q.settings.Paused {
		return p, nil
	}
	client := owner == nil
	if client && q.inFlight >= q.set.limits.inFlight {
		if q.groups != nil {
			return p, nil // no error on a FIFO queue (SQS)
		}
		return p, ErrOverLimit
	}
	wall := q.set.opt.Now()
	oldest := wall.Add(-q.settings.Retention).UnixMilli()
	leaseFor := q.leaseFor(lim)
	now := q.set.mono()
	until := wall.Add(leaseFor)
	limit := uint32(0)
	if d := q.settings.DeadLetter; client && d != nil {
		limit = uint32(d.MaxReceives)
	}
	if client && q.odd != nil {
		q.pickTwins(&p, lim, wall, leaseFor, limit)
	}
	var dead *Queue
	bytes := 0
	for len(p.lent) < lim.Messages && len(p.dead) < deadAtOnce {
		var l *lease
		var record []byte
		switch {
		case q.groups != nil:
			l, record = q.nextOfGroups(&p)
		case q.settings.Delivery == DeliveryShuffle:
			l, record = q.nextShuffled(&p)
		default:
			l, record = q.next(&p, now)
		}
		if l == nil {
			break
		}
		if l.sent < oldest {
			q.expire(p.expiring(), l)
			continue
		}
		if limit > 0 && l.receives >= limit {
			if dead == nil {
				dead = q.deadLetterQueue()
			}
			if dead != nil {
				if l.group != nil && p.fromGroup > 0 {
					p.leave() // what is before it in its group is not settled
					continue
				}
				p.ofGroup++
				q.unplace(l)
				l.nonce, l.due = newNonce(), now+int64(redriveLease)
				q.place(l, leased)
				p.dead = append(p.dead, *l)
				continue
			}
		}
		if l.group != nil && p.ofGroup > 0 {
			p.leave() // it waits until the dead before it are gone
			continue
		}
		bytes += int(l.size)
		if lim.Bytes > 0 && bytes > lim.Bytes && len(p.lent) > 0 {
			break // it stays, as returned: no less visible than before
		}
		q.unplace(l)
		l.nonce, l.owner, l.twin = newNonce(), owner, false
		l.due, l.leasedAt = now+int64(leaseFor), now
		l.receives++
		if l.first == 0 {
			l.first = wall.UnixMilli()
		}
		q.place(l, leased)
		p.fromGroup++
		if client {
			l.marked = true
			p.expiring().Mark(q.series, l.n, q.markOf(l))
			if q.settings.Duplicate > 0 {
				q.repeated(l)
			}
		}
		p.lent = append(p.lent, lent{l: *l, until: until, record: record})
	}
	q.stats.received += uint64(len(p.lent))
	if p.batch != nil {
		q.set.store.Enqueue(p.batch, nil)
	}
	return p, nil
}

// takeFirst takes the first message out of the window and makes it an
// exception. Caller holds mu.
func (q *Queue) takeFirst() *lease {
	it := q.window.pop(q.set)
	l := &lease{n: it.n, sent: recordSent(it.record), size: uint32(len(it.record))}
	q.leases[l.n] = l
	q.place(l, returned)
	return l
}

// expiring returns the batch of p, made when first needed.
func (p *picked) expiring() *store.Batch {
	if p.batch == nil {
		p.batch = new(store.Batch)
	}
	return p.batch
}

// deadLetterQueue returns where the redrive policy points, or nil if that
// queue does not exist: then messages stay. Caller holds mu.
func (q *Queue) deadLetterQueue() *Queue {
	if q.settings.DeadLetter == nil {
		return nil
	}
	d, err := q.set.Queue(Name{q.name.Account, q.settings.DeadLetter.Queue})
	if err != nil || d == q || (d.groups != nil) != (q.groups != nil) {
		return nil
	}
	return d
}

// deliver reads what is not in memory, moves the dead, and waits until a
// client's receive is durable.
func (q *Queue) deliver(p picked) ([]runnel.Delivery, error) {
	if err := q.redrive(p.dead); err != nil {
		return nil, err
	}
	ds := make([]runnel.Delivery, 0, len(p.lent))
	for i := range p.lent {
		t := &p.lent[i]
		if t.record == nil {
			var err error
			t.record, err = q.series.Record(t.l.n, nil)
			if errors.Is(err, store.ErrNotFound) {
				continue // purged meanwhile
			}
			if err != nil {
				return nil, unavailable("read the message", err)
			}
		}
		d := runnel.Delivery{
			Position:      int64(t.l.n),
			Receives:      int(t.l.receives),
			Attempt:       int(t.l.failures) + 1,
			FirstReceived: time.UnixMilli(t.l.first),
			LeaseUntil:    t.until,
			Handle:        Receipt{q.id, t.l.n, t.l.nonce},
		}
		if err := decodeRecord(t.record, &d.Message); err != nil {
			q.set.opt.Log.Error("message cannot be read: it stays in the queue", "queue", q.name.String(), "message", t.l.n, "err", err)
			continue
		}
		if q.groups != nil {
			d.Lane = runnel.Lane(d.Key)
		}
		ds = append(ds, d)
	}
	if p.owner == nil && p.batch != nil {
		if err := p.batch.Wait(); err != nil {
			return nil, unavailable("receive", err)
		}
	}
	return ds, nil
}

// redrive moves messages that clients received too often to the dead-letter
// queue, where they stay the same messages. pick has made them nobody's: what
// cannot be moved becomes visible when its lease ends, and is tried again.
func (q *Queue) redrive(dead []lease) error {
	if len(dead) == 0 {
		return nil
	}
	q.mu.Lock()
	to := q.deadLetterQueue()
	q.mu.Unlock()
	if to == nil {
		return nil // the policy went meanwhile
	}
	moves := make([]*store.Batch, 0, len(dead)) // enqueued together, to share commits
	for i := 0; i < len(dead); i++ {
		l := &dead[i]
		reason := &runnel.DeadLetter{
			Source:   "queue:" + q.name.Queue,
			Type:     MaxReceivesType,
			Message:  "it was received without being deleted more often than the queue's redrive policy allows",
			Attempts: int(l.receives),
			First:    time.UnixMilli(l.first),
			Last:     q.set.opt.Now(),
		}
		b, err := q.moveOut(l.n, to, reason, func() (*lease, error) {
			if now := q.leases[l.n]; now != nil && now.nonce == l.nonce {
				return now, nil
			}
			return nil, runnel.ErrLeaseLost
		})
		switch {
		case errors.Is(err, runnel.ErrLeaseLost): // purged
		case err != nil:
			q.set.opt.Log.Warn("not moved to the dead-letter queue, it will be tried again", "queue", q.name.String(), "to", to.name.String(), "message", l.n, "err", err)
			if q.groups != nil {
				dead = dead[:i+1] // none may overtake it
			}
		default:
			moves = append(moves, b)
		}
	}
	for _, b := range moves {
		if err := b.Wait(); err != nil {
			return unavailable("move to the dead-letter queue", err)
		}
	}
	q.set.opt.Log.Debug("dead-lettered", "queue", q.name.String(), "to", to.name.String(), "messages", len(moves))
	return nil
}

// moveOut enqueues that message n moves to another queue with a reason, in one
// commit, which the caller waits for. still returns the message's lease, under
// mu, or why it must not be moved any more. The other queue's own delay and size
// limit are for its senders, and do not hold here.
func (q *Queue) moveOut(n uint64, to *Queue, reason *runnel.DeadLetter, still func() (*lease, error)) (*store.Batch, error) {
	record, err := q.series.Record(n, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, runnel.ErrLeaseLost
	}
	if err != nil {
		return nil, unavailable("read the message", err)
	}
	var m runnel.Message
	if err := decodeRecord(record, &m); err != nil {
		return nil, err
	}
	if err := to.checkMove(&m); err != nil {
		return nil, err
	}
	m.DeadLetter = reason
	if to.groups != nil { // of two with one deduplication id neither is lost there (SQS)
		m.DedupID = string(m.ID)
	}
	if record, err = encodeRecord(&m, uuid.Nil); err != nil {
		return nil, err
	}
	b := new(store.Batch)
	s := &staged{q: to, b: b, sends: []stagedSend{{place: b.Append(to.series, record, nil), record: record, group: to.groupFor(&m)}}}
	q.set.drops.RLock()
	defer q.set.drops.RUnlock()
	if to.dropped.Load() {
		return nil, errDeleted(to.name)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l, err := still()
	if err != nil {
		return nil, err
	}
	q.remove(b, l)
	q.stats.deadLettered++
	q.set.store.Enqueue(b, s.Committed)
	return b, nil
}
