package queue

import (
	"errors"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// enqueueMoveOrdered is enqueueMove on a FIFO queue. A message that the cursor
// has not come to is passed first: after that, the list of its group says
// whether it is there. Caller holds q.moves.
func (q *Queue) enqueueMoveOrdered(n uint64, to *Queue, how moving) (*store.Batch, error) {
	if err := q.passTo(n); err != nil {
		return nil, err
	}
	// What it is like when it is removed its record here says; the one that is
	// staged is another.
	record, err := q.series.Record(n, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil, q.errGone(n)
	}
	if err != nil {
		return nil, unavailable("read the message", err)
	}
	k := groupOf(recordKey(record))
	staged, err := q.copyTo(n, to, "") // it has a group
	if err != nil {
		return nil, err
	}
	return q.enqueueMoved(staged, func() (*lease, error) {
		l := q.leases[n]
		switch {
		case q.ended != nil:
			return nil, q.ended
		case l != nil && l.state == leased:
			return nil, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is in flight", n, q.name)
		case l != nil && l.state == delayed:
			return nil, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is delayed", n, q.name)
		case how.inTurn && q.busy(n, k):
			return nil, runnel.Errorf(runnel.CodeConflict, "another message of the group of message %d of the queue %s is in flight", n, q.name)
		case l != nil:
			return l, nil
		}
		g := q.groups.byKey[k]
		if g == nil || !q.unlist(&g.line, n) {
			return nil, q.errGone(n)
		}
		l = &lease{n: n, sent: recordSent(record), size: uint32(len(record)), group: g}
		g.refs++
		q.leases[n] = l
		q.place(l, returned)
		return l, nil
	})
}

// passTo lets the cursor of a FIFO queue pass message n, unless that has a
// lease.
func (q *Queue) passTo(n uint64) error {
	for {
		q.mu.Lock()
		beyond := n >= q.cursor && n < q.tail && q.leases[n] == nil
		full := q.lines.runs >= q.set.limits.parked
		err := q.ended
		q.mu.Unlock()
		switch {
		case err != nil:
			return err
		case !beyond:
			return nil
		case full:
			return runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is behind too many others: move or receive those first", n, q.name)
		}
		if err := q.readOn(true); err != nil {
			return unavailable("move the message", err)
		}
	}
}
