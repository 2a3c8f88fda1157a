package queue

import (
	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// enqueueMoveOrdered is enqueueMove on a FIFO queue. A message that the cursor
// has not come to is passed first: after that, the list of its group says
// whether it is there. Caller holds q.moves.
func (q *Queue) enqueueMoveOrdered(n uint64, to *Queue) (*store.Batch, error) {
	for {
		q.mu.Lock()
		beyond := n >= q.cursor && n < q.tail && q.leases[n] == nil
		full := q.lines.runs >= q.set.limits.parked
		err := q.ended
		q.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case beyond && full:
			return nil, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is behind too many others: move or receive those first", n, q.name)
		case beyond:
			if err := q.readOn(true); err != nil {
				return nil, unavailable("move the message", err)
			}
			continue
		}
		break
	}
	b := new(store.Batch)
	staged, err := q.copyTo(b, n, to)
	if err != nil {
		return nil, err
	}
	record, err := q.series.Record(n, nil)
	if err != nil {
		return nil, q.errGone(n) // removed since copyTo
	}
	q.set.drops.RLock()
	defer q.set.drops.RUnlock()
	if to.dropped.Load() {
		return nil, errDeleted(to.name)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended != nil {
		return nil, q.ended
	}
	l := q.leases[n]
	switch {
	case l == nil:
		g := q.groups.byKey[groupOf(recordKey(record))]
		if g == nil || !q.unlist(&g.line, n) {
			return nil, q.errGone(n)
		}
		l = &lease{n: n, sent: recordSent(record), size: uint32(len(record)), group: g}
		g.refs++
		q.leases[n] = l
		q.place(l, returned)
	case l.state == leased:
		return nil, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is in flight", n, q.name)
	case l.state == delayed:
		return nil, runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is delayed", n, q.name)
	}
	q.remove(b, l)
	q.stats.deleted++
	q.set.store.Enqueue(b, staged.Committed)
	return b, nil
}
