package queue

import (
	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// copyBytes is after how many bytes of copies they are waited for.
const copyBytes = 1 << 20

// MoveAll is Move for several messages: each in a commit of its own, and all
// waited for together. It returns an error or nil for each. group is the key of
// those that have none, which a FIFO queue demands; empty: they are refused
// there.
func (s *Set) MoveAll(from Name, positions []int64, to Name, group string) ([]error, error) {
	q, dst, err := s.pair(from, to)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(positions))
	moves := make([]*store.Batch, len(positions))
	for i, n := range positions {
		moves[i], errs[i] = q.enqueueMove(uint64(n), dst, moving{group: group})
	}
	for i, b := range moves {
		if b == nil {
			continue
		}
		if err := b.Wait(); err != nil {
			errs[i] = unavailable("move the message", err)
		}
	}
	return errs, nil
}

// CheckMove says whether a message can be moved or copied to the queue.
func (q *Queue) CheckMove(m *runnel.Message) error { return q.checkMove(m) }

func (s *Set) pair(from, to Name) (q, dst *Queue, err error) {
	if q, err = s.Queue(from); err != nil {
		return nil, nil, err
	}
	dst, err = s.Queue(to)
	return q, dst, err
}

// CopyAll sends copies of messages in any state to another queue, or to the end
// of their own, and leaves the messages as they are: nobody's receive is
// disturbed. A copy is as a message that was moved, but for its id, which is new.
// It returns an error or nil for each; a message that is removed at the same time
// may be copied. For group see MoveAll.
func (s *Set) CopyAll(from Name, positions []int64, to Name, group string) ([]error, error) {
	q, dst, err := s.pair(from, to)
	if err != nil {
		return nil, err
	}
	if err := s.store.Room(); err != nil {
		return nil, errRoom(err)
	}
	var barrier store.Batch // every removal that was answered is stored behind it
	barrier.InOrder()
	if err := s.store.Commit(&barrier); err != nil {
		return nil, unavailable("copy the messages", err)
	}
	errs := make([]error, len(positions))
	copies := make([]*store.Batch, len(positions))
	waited, size := 0, 0
	wait := func(upto int) {
		for ; waited < upto; waited++ {
			if b := copies[waited]; b != nil {
				if err := b.Wait(); err != nil {
					errs[waited] = unavailable("copy the message", err)
				}
				copies[waited] = nil
			}
		}
		size = 0
	}
	for i, n := range positions {
		var bytes int
		copies[i], bytes, errs[i] = q.enqueueCopy(uint64(n), dst, group)
		if size += bytes; size >= copyBytes {
			wait(i + 1)
		}
	}
	wait(len(positions))
	return errs, nil
}

// enqueueCopy is CopyAll for one message up to the wait, and returns its size.
func (q *Queue) enqueueCopy(n uint64, to *Queue, group string) (*store.Batch, int, error) {
	q.mu.Lock()
	gone := n < q.trimmed || n >= q.tail
	q.mu.Unlock()
	if gone {
		return nil, 0, q.errGone(n)
	}
	m, err := q.renewed(n, to, group)
	if err != nil {
		return nil, 0, err
	}
	m.ID = runnel.MessageID(newID().String())
	s, err := to.stageMoved(m)
	if err != nil {
		return nil, 0, err
	}
	q.set.drops.RLock()
	defer q.set.drops.RUnlock()
	if to.dropped.Load() {
		s.abandon()
		return nil, 0, errDeleted(to.name)
	}
	q.set.store.Enqueue(s.b, s.Committed)
	return s.b, len(s.sends[0].record), nil
}
