package dispatch

import (
	"time"

	"github.com/runnel-io/runnel"
)

// item is one message inside the flow, from its receive to its settlement.
// Its fields belong to whoever has the item at that station, but for those
// that the lease keeper changes too. The keeper reads d at any time: d is not
// changed once the item is in.
type item struct {
	d        runnel.Delivery
	key      string // of its line; "" if it has none
	attempt  int    // this one
	alone    bool   // a worker died on a batch with this message
	received time.Time
	trace    string // context of the call, which its results carry on
	next     *item  // in an itemList

	// Guarded by Flow.mu.
	lease   time.Duration // how long a lease is; 0: there is none
	renewAt time.Time
	pos     int   // in the heap of leases; -1 outside
	lost    bool  // the lease was lost: it is neither published nor acked
	call    *call // that it is in
}

// itemList is a first-in, first-out list.
type itemList struct {
	first, last *item
	n           int
}

func (l *itemList) push(it *item) {
	it.next = nil
	if l.last == nil {
		l.first = it
	} else {
		l.last.next = it
	}
	l.last = it
	l.n++
}

// pushFront puts an item before all others.
func (l *itemList) pushFront(it *item) {
	it.next = l.first
	l.first = it
	if l.last == nil {
		l.last = it
	}
	l.n++
}

func (l *itemList) pop() *item {
	it := l.first
	if it == nil {
		return nil
	}
	l.first = it.next
	if l.first == nil {
		l.last = nil
	}
	it.next = nil
	l.n--
	return it
}
