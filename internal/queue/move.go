package queue

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Move moves one visible message to another queue, or to the end of its own,
// in one commit: the redrive of a dead letter. It keeps its id, body and
// attributes and is otherwise as if sent now: no dead letter any more, never
// received, never failed, with no hops and steps behind it, and visible at
// once. As with dead letters, the other queue's delay and size limit do not hold
// here.
//
// On a FIFO queue it keeps its group and its deduplication id, for which what
// was sent before does not count: it is no duplicate of itself, nor is it lost.
// What is sent later with the same id is a duplicate of it. A message without
// an id gets that of the message for one.
//
// The message is named by its position, as Peek and Delivery give it. It is
// CodeNotFound if the message is gone, and CodeConflict if it is in flight or
// delayed.
func (s *Set) Move(from Name, position int64, to Name) error {
	q, err := s.Queue(from)
	if err != nil {
		return err
	}
	dst, err := s.Queue(to)
	if err != nil {
		return err
	}
	b, err := q.enqueueMove(uint64(position), dst, moving{})
	if err != nil {
		return err
	}
	if err := b.Wait(); err != nil {
		return unavailable("move the message", err)
	}
	return nil
}

// found says where a visible message is.
type found uint8

const (
	amongReturned found = iota // it has a lease
	inWindow                   // or set aside
	inBacklog                  // on disk only, if it was not removed while it was delayed
)

// busy says whether a message is in flight or delayed, or another one of its
// group is in flight. Caller holds mu.
func (q *Queue) busy(n uint64, k groupKey) bool {
	if l := q.leases[n]; l != nil && l.state != returned {
		return true
	}
	if q.groups == nil {
		return false
	}
	g := q.groups.byKey[k]
	return g != nil && g.flying > 0
}

// find looks for a visible message. Caller holds mu.
func (q *Queue) find(n uint64) (found, error) {
	if q.ended != nil {
		return 0, q.ended
	}
	if l := q.leases[n]; l != nil {
		switch l.state {
		case leased:
			return 0, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is in flight", n, q.name)
		case delayed:
			return 0, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is delayed", n, q.name)
		case returned:
			return amongReturned, nil
		}
	}
	if q.atHand(n) {
		return inWindow, nil
	}
	if n >= max(q.cursor, q.trimmed) && n < q.tail {
		return inBacklog, nil
	}
	return 0, q.errGone(n)
}

func (q *Queue) errGone(n uint64) error {
	return runnel.Errorf(runnel.CodeNotFound, "there is no message %d in the queue %s", n, q.name)
}

// moving is how a message is moved.
type moving struct {
	// inTurn: on a FIFO queue it is CodeConflict also while the message's
	// group is locked.
	inTurn bool
	// group is the key of a message that has none.
	group string
}

// enqueueMove is Move up to the wait.
//
// That a message of the backlog exists only its record can say, and only after
// every removal before it is stored: such were delayed, came out ahead of the
// cursor, and have left no trace in the index. From that moment on, only a
// purge, a reading into the window or another Move can touch it. The first two
// leave a trace, and moves of one queue are made one at a time.
func (q *Queue) enqueueMove(n uint64, to *Queue, how moving) (*store.Batch, error) {
	q.moves.Lock()
	defer q.moves.Unlock()
	if q.groups != nil {
		return q.enqueueMoveOrdered(n, to, how)
	}
	q.mu.Lock()
	ahead := q.window.len() == 0 && n >= q.cursor && n < q.tail
	q.mu.Unlock()
	if ahead { // whoever moves all messages meets each in the window
		if err := q.refill(); err != nil {
			return nil, unavailable("move the message", err)
		}
	}
	q.mu.Lock()
	before, err := q.find(n)
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if before == inBacklog {
		var barrier store.Batch
		barrier.InOrder()
		if err := q.set.store.Commit(&barrier); err != nil {
			return nil, unavailable("move the message", err)
		}
	}
	staged, err := q.copyTo(n, to, how.group)
	if err != nil {
		return nil, err
	}
	return q.enqueueMoved(staged, func() (*lease, error) {
		now, err := q.find(n)
		if err == nil && now == inBacklog && before != inBacklog {
			err = q.errGone(n)
		}
		if err != nil {
			return nil, err
		}
		return q.except(n, staged.sends[0].record), nil
	})
}

// enqueueMoved enqueues that a message, which is staged for another queue, is
// no more here. still returns its lease, under mu, or why it must not be moved.
func (q *Queue) enqueueMoved(s *staged, still func() (*lease, error)) (*store.Batch, error) {
	q.set.drops.RLock()
	defer q.set.drops.RUnlock()
	if s.q.dropped.Load() {
		s.abandon()
		return nil, errDeleted(s.q.name)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l, err := still()
	if err != nil {
		s.abandon()
		return nil, err
	}
	q.remove(s.b, l)
	q.stats.moved++
	q.set.store.Enqueue(s.b, s.Committed)
	return s.b, nil
}

// copyTo stages message n as a new message of another queue, in a batch of its
// own. What it returns must be committed or abandoned.
func (q *Queue) copyTo(n uint64, to *Queue, group string) (*staged, error) {
	m, err := q.renewed(n, to, group)
	if err != nil {
		return nil, err
	}
	return to.stageMoved(m)
}

// stageMoved stages one message that comes from another queue, in a batch of
// its own. What it returns must be committed or abandoned.
func (q *Queue) stageMoved(m *runnel.Message) (*staged, error) {
	if q.groups != nil && m.DedupID == "" {
		m.DedupID = string(m.ID)
	}
	record, err := encodeRecord(m, uuid.Nil)
	if err != nil {
		return nil, err
	}
	s := &staged{q: q, b: new(store.Batch)}
	s.sends = append(s.one[:0], stagedSend{place: s.b.Append(q.series, record, nil), record: record, group: q.groupFor(m)})
	if q.groups != nil {
		s.noteMoved(m)
	}
	return s, nil
}

// renewed reads message n as a new message of another queue.
func (q *Queue) renewed(n uint64, to *Queue, group string) (*runnel.Message, error) {
	record, err := q.series.Record(n, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, q.errGone(n)
	}
	if err != nil {
		return nil, unavailable("read the message", err)
	}
	var m runnel.Message
	if err := decodeRecord(record, &m); err != nil {
		return nil, fmt.Errorf("read message %d of the queue %s: %w", n, q.name, err)
	}
	if m.Key == "" {
		m.Key = group
	}
	if err := to.checkMove(&m); err != nil {
		return nil, err
	}
	m.DeadLetter, m.Hops, m.Steps = nil, 0, 0
	m.Sent = q.set.opt.Now()
	return &m, nil
}

// except returns the lease of a visible message, which is made an exception
// if it was none: it is about to be removed. Caller holds mu.
func (q *Queue) except(n uint64, record []byte) *lease {
	if l := q.leases[n]; l != nil {
		return l
	}
	q.window.drop(q.set, n)
	if t := q.asideHas(n); t != nil {
		q.unlist(&t.line, n)
		q.endAside(t)
	}
	l := &lease{n: n, sent: recordSent(record), size: uint32(len(record))}
	q.leases[n] = l
	q.place(l, returned)
	return l
}

// DeleteEmpty is Delete for a queue that holds no message in any state, and
// CodeConflict with their number for any other. No message is lost by it: a Send
// that has begun is either counted or refused.
func (s *Set) DeleteEmpty(name Name) error {
	return s.drop(name, func(q *Queue) error {
		holds := func() error {
			if d := q.Depth(); d != (Depth{}) {
				return runnel.Errorf(runnel.CodeConflict, "the queue %s holds %d messages", name, d.Visible+d.InFlight+d.Delayed)
			}
			return nil
		}
		if err := holds(); err != nil {
			return err
		}
		// What was sent but not told of yet is not counted. No more can be
		// sent: drops is held, for the time of one commit. Sends and all
		// others are ordered among themselves only, so each is waited for.
		var sends, others store.Batch
		others.InOrder()
		s.store.Enqueue(&sends, nil)
		s.store.Enqueue(&others, nil)
		if err := errors.Join(sends.Wait(), others.Wait()); err != nil {
			return unavailable("delete the queue", err)
		}
		return holds()
	})
}
