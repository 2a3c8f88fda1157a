package dispatch

import (
	"time"

	"github.com/runnel-io/runnel"
)

// item is one message inside the flow, from its receive to its settlement.
// Its fields belong to whoever has the item at that station, but for those
// that others change too. The keeper of leases reads d at any time: d is not
// changed once the item is in.
type item struct {
	d        runnel.Delivery
	key      string // of its line; "" if it has none
	attempt  int    // this one
	received time.Time
	trace    string // context of the call, which its results carry on
	version  string // that was called with it

	// Guarded by Flow.mu.
	next    *item         // in an itemList
	mate    *item         // another one that shares the turn of its line
	place   uint64        // in its line
	turn    bool          // it has the turn of its line: it is ready or in a call
	alone   bool          // a worker died on a call with this message and others
	lease   time.Duration // how long a lease is; 0: there is none
	renewAt time.Time
	pos     int   // in the heap of leases; -1 outside
	lost    bool  // the lease was lost: it is neither published nor acked
	storing bool  // its settlement is under way, and hears itself whether the lease was lost
	again   bool  // it was lost, and has been delivered again already
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

// insert puts an item behind the last one whose place is not behind its own.
func (l *itemList) insert(it *item) {
	switch {
	case l.last == nil || l.last.place <= it.place:
		l.push(it)
		return
	case l.first.place > it.place:
		l.pushFront(it)
		return
	}
	at := l.first
	for at.next.place <= it.place {
		at = at.next
	}
	it.next, at.next = at.next, it
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
