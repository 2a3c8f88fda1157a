package queue

import (
	"container/heap"
	"time"
)

// state of an exception; see the package comment. The values are stored.
type state uint8

const (
	leased   state = 0 // with somebody, or in a retry's back-off: in flight
	delayed  state = 1 // visible later
	returned state = 2 // visible again
)

// lease is the state of one message that is not simply visible. It is guarded
// by its queue's mu.
type lease struct {
	n     uint64
	nonce uint64  // of the last receipt given
	owner *source // the flow's source that holds it, or nil

	due      int64   // monotonic: leased, delayed: visible from then on
	leasedAt int64   // monotonic: when it was last received
	sent     int64   // Unix milliseconds
	group    *group  // nil on standard queues
	tenant   *tenant // on a standard queue, if the message has a group
	first    int64   // Unix milliseconds of the first receive, or 0
	receives uint32
	failures uint32
	size     uint32 // bytes of the record

	pos    int32 // in the heap of its state
	state  state
	marked bool // there is, or will be, a mark beside the record
	seen   bool // by the commit of a transaction; only set while mu is held
	twin   bool // it was delivered twice, see shuffle.go
	aside  bool // standard: returned, in its tenant's heap
	listed bool // FIFO: its turn comes by the line of its group
	ahead  bool // FIFO: returned, and the cursor has not come to it yet
}

// leaseHeap is a heap of leases: by when they become visible and then by their
// place in the queue, or byNumber, by their place alone.
type leaseHeap struct {
	leases   []*lease
	byNumber bool
}

func (h *leaseHeap) Len() int { return len(h.leases) }

func (h *leaseHeap) Less(i, j int) bool {
	a, b := h.leases[i], h.leases[j]
	if h.byNumber || a.due == b.due {
		return a.n < b.n
	}
	return a.due < b.due
}

func (h *leaseHeap) Swap(i, j int) {
	l := h.leases
	l[i], l[j] = l[j], l[i]
	l[i].pos, l[j].pos = int32(i), int32(j)
}

func (h *leaseHeap) Push(x any) {
	l := x.(*lease)
	l.pos = int32(len(h.leases))
	h.leases = append(h.leases, l)
}

func (h *leaseHeap) Pop() any {
	last := len(h.leases) - 1
	l := h.leases[last]
	h.leases[last] = nil
	h.leases = h.leases[:last]
	return l
}

// first returns the first lease, or nil.
func (h *leaseHeap) first() *lease {
	if len(h.leases) == 0 {
		return nil
	}
	return h.leases[0]
}

// place puts a lease into the heap and the counts of its state. Caller holds mu.
func (q *Queue) place(l *lease, s state) {
	l.state = s
	switch s {
	case leased:
		q.fly(l, 1)
		heap.Push(&q.due, l)
	case delayed:
		q.delayed++
		heap.Push(&q.due, l)
	case returned:
		l.owner = nil
		if l.group == nil {
			heap.Push(&q.returned, l)
		}
	}
	if s != returned {
		q.arm()
	}
	if l.group != nil {
		q.placeInGroup(l)
	}
}

// unplace takes a lease out of the heap and the counts of its state. Caller
// holds mu.
func (q *Queue) unplace(l *lease) {
	switch l.state {
	case leased:
		q.fly(l, -1)
		heap.Remove(&q.due, int(l.pos))
	case delayed:
		q.delayed--
		heap.Remove(&q.due, int(l.pos))
	case returned:
		switch {
		case l.aside:
			q.unplaceAside(l)
		case l.group == nil:
			heap.Remove(&q.returned, int(l.pos))
		}
	}
	if l.group != nil {
		q.unplaceInGroup(l)
	}
}

// move changes a lease's state. Caller holds mu.
func (q *Queue) move(l *lease, s state) {
	q.unplace(l)
	q.place(l, s)
}

// forget takes a message out of the index: it is about to be removed from the
// store. Caller holds mu, and enqueues the removal before it lets go of it.
func (q *Queue) forget(l *lease) {
	q.unplace(l)
	delete(q.leases, l.n)
	q.total--
	q.sinceLow++
	if l.n >= q.cursor {
		q.goneAhead = true
		if q.refilling != nil {
			q.refilling.gone[l.n] = struct{}{}
		}
	}
	switch {
	case l.group != nil:
		q.leaveGroup(l)
	case l.tenant != nil:
		q.leaveTenant(l)
	}
}

// arm sets the timer to the first due message. Caller holds mu.
func (q *Queue) arm() {
	first := q.due.first()
	if first == nil || q.ended != nil {
		return
	}
	due := first.due
	if q.timerDue != 0 && q.timerDue <= due {
		return // it will look earlier, and arm again
	}
	q.timerDue = due
	wait := time.Duration(due - q.set.mono())
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.onDue)
		return
	}
	q.timer.Reset(wait)
}

// dueAtOnce bounds how many messages become visible under one hold of mu. If
// more are due, the timer fires again at once.
const dueAtOnce = 1000

// onDue makes visible what is due. It runs when the timer of the queue fires:
// nothing else ends leases and delays, and nothing polls.
func (q *Queue) onDue() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended != nil {
		return
	}
	q.timerDue = 0
	now := q.set.mono()
	n := 0
	for l := q.due.first(); l != nil && l.due <= now && n < dueAtOnce; l = q.due.first() {
		q.move(l, returned)
		n++
	}
	q.wake(n)
	q.arm()
}

// waiter is a receive that waits for a message.
type waiter struct {
	ready chan struct{} // capacity 1; sent to once, by wake
	woken bool
}

// wake lets up to n waiting receives look again, those first that came first.
// On a paused queue they wait on: its end wakes all. Caller holds mu.
func (q *Queue) wake(n int) {
	if q.settings.Paused && q.ended == nil {
		return
	}
	for ; n > 0 && len(q.waiters) > 0; n-- {
		w := q.waiters[0]
		q.waiters[0] = nil
		q.waiters = q.waiters[1:]
		w.woken = true
		w.ready <- struct{}{}
	}
}

// leave takes a waiter that gives up out of the line. If it was woken
// meanwhile, the next one is. Caller holds mu.
func (q *Queue) leave(w *waiter) {
	if w.woken {
		q.wake(1)
		return
	}
	for i := range q.waiters {
		if q.waiters[i] == w {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			return
		}
	}
}
