package worker

import (
	"sync"
	"time"
)

// waiter is one Acquire that waits for room on a process.
type waiter struct {
	// place gets one slot, or nil when the pool drains; it is never closed.
	place      chan *slot
	since      time.Time
	prev, next *waiter
	queued     bool
}

// waiters is a queue, first come, first served. Pool.mu guards it.
type waiters struct {
	first, last *waiter
	count       int
}

// spareWaiters saves the channel of each wait: a busy pool has one per call.
var spareWaiters = sync.Pool{New: func() any { return &waiter{place: make(chan *slot, 1)} }}

func (q *waiters) join(now time.Time) *waiter {
	w := spareWaiters.Get().(*waiter)
	w.prev, w.next, w.queued, w.since = q.last, nil, true, now
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.count++
	return w
}

// leave removes w, and says false if it had been taken out already.
func (q *waiters) leave(w *waiter) bool {
	if !w.queued {
		return false
	}
	w.queued = false
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next = nil, nil
	q.count--
	return true
}

// next takes out who waits longest; nil if nobody does.
func (q *waiters) next() *waiter {
	w := q.first
	if w != nil {
		q.leave(w)
	}
	return w
}

// forget gives w back; its place is empty.
func (w *waiter) forget() { spareWaiters.Put(w) }
