package queue

import (
	"cmp"
	"slices"

	"github.com/runnel-io/runnel"
)

// orderedSends are the messages of a transaction for one FIFO queue. They are
// staged by Commit: their deduplication ids are reserved, and a transaction that
// held some while its function still runs could wait for itself. The queues are
// taken in the order of their ids, so that no two transactions wait for each
// other.
type orderedSends struct {
	q      *Queue
	ms     []runnel.Message
	staged *staged
}

// sendOrdered refuses what the queue would, and keeps the rest for Commit.
func (t *txn) sendOrdered(q *Queue, ms []runnel.Message) error {
	if err := q.set.store.Room(); err != nil {
		return errRoom(err)
	}
	q.mu.Lock()
	settings, ended := q.settings, q.ended
	q.mu.Unlock()
	if ended != nil {
		return ended
	}
	i, ok := slices.BinarySearchFunc(t.ordered, q.id, func(o orderedSends, id uint64) int { return cmp.Compare(o.q.id, id) })
	if !ok {
		t.ordered = slices.Insert(t.ordered, i, orderedSends{q: q})
		t.queues = append(t.queues, q)
	}
	o := &t.ordered[i]
	failed := make(map[int]error)
	for i := range ms {
		if err := checkOrdered(&ms[i], &settings); err != nil {
			failed[i] = err
			continue
		}
		o.ms = append(o.ms, ms[i])
	}
	if len(failed) > 0 {
		return &runnel.SendError{Failed: failed}
	}
	return nil
}

// stageOrdered adds what goes to FIFO queues to the batch, but for duplicates.
func (t *txn) stageOrdered() error {
	for i := range t.ordered {
		o := &t.ordered[i]
		var err error
		o.staged, err = o.q.stageOrdered(&t.batch, o.ms, make([]Sent, len(o.ms)))
		if o.staged != nil {
			t.staged = append(t.staged, o.staged)
		}
		if err != nil { // also where settings changed since Send: all or nothing
			t.abandon()
			return err
		}
	}
	return nil
}

// abandon gives up the reservations of a transaction that has no commit.
func (t *txn) abandon() {
	for i := range t.ordered {
		if s := t.ordered[i].staged; s != nil {
			s.abandon()
		}
	}
}
