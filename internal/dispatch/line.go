package dispatch

import (
	"container/heap"
	"time"

	"github.com/runnel-io/runnel"
)

// line is the messages of one key: those that are inside, and those that were
// given back to the source and have not come again. It exists while there are
// such. All of it is guarded by Flow.mu.
//
// Each message gets a place when it first comes, and keeps it while it is away.
// A message may go on only if none with an earlier place is away.
type line struct {
	turns   *item    // those that have the turn: they are ready, or in one call
	waiting itemList // for their turn, by place
	next    uint64   // the place of the next new message
	away    map[ident]*absent
	byPlace absentHeap // what is away, and some that are no more

	turnAt time.Time     // when the turn began
	takes  time.Duration // how long the turn of a message took, of late
}

// ident tells messages of a line apart. The id alone does not: a dead letter
// that was stored twice and redriven is two messages with one id.
type ident struct {
	id       runnel.MessageID
	position int64
}

func identOf(it *item) ident { return ident{it.d.ID, it.d.Position} }

// absent is a message that was given back.
type absent struct {
	id    ident
	place uint64
	due   time.Time // when it comes again
	back  bool      // it came, or is not waited for any more
}

// absentHeap is a heap by place.
type absentHeap []*absent

func (h absentHeap) Len() int           { return len(h) }
func (h absentHeap) Less(i, j int) bool { return h[i].place < h[j].place }
func (h absentHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *absentHeap) Push(x any) { *h = append(*h, x.(*absent)) }

// Pop implements heap.Interface.
func (h *absentHeap) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return a
}

// begin gives a message the turn, or a part in it.
func (l *line) begin(it *item, now time.Time) {
	if l.turns == nil {
		l.turnAt = now
	}
	it.turn, it.mate = true, l.turns
	l.turns = it
}

// end takes the turn from a message, and says whether it has ended with it.
func (l *line) end(it *item) bool {
	it.turn = false
	for at := &l.turns; *at != nil; at = &(*at).mate {
		if *at == it {
			*at, it.mate = it.mate, nil
			break
		}
	}
	return l.turns == nil
}

// inside returns the message that is inside, or nil.
func (l *line) inside(id ident) *item {
	for it := l.turns; it != nil; it = it.mate {
		if identOf(it) == id {
			return it
		}
	}
	for it := l.waiting.first; it != nil; it = it.next {
		if identOf(it) == id {
			return it
		}
	}
	return nil
}

// leaves notes that a message was given back until due.
func (l *line) leaves(id ident, place uint64, due time.Time) {
	if a := l.away[id]; a != nil {
		a.due = due
		return
	}
	if l.away == nil {
		l.away = make(map[ident]*absent)
	}
	a := &absent{id: id, place: place, due: due}
	l.away[id] = a
	heap.Push(&l.byPlace, a)
}

// returns notes that a message came again. It returns the message's place, and
// whether it was away.
func (l *line) returns(id ident) (place uint64, ok bool) {
	a := l.away[id]
	if a == nil {
		return 0, false
	}
	a.back = true
	delete(l.away, id)
	return a.place, true
}

// earliest returns what is away with the earliest place, or nil. What did not
// come though the source was asked for longer than the grace after its time is
// not waited for: it was deleted, or somebody else has it.
func (l *line) earliest(asked time.Time) *absent {
	for len(l.byPlace) > 0 {
		a := l.byPlace[0]
		if !a.back && asked.Sub(a.due) <= holdGrace {
			return a
		}
		if !a.back {
			delete(l.away, a.id)
		}
		heap.Pop(&l.byPlace)
	}
	return nil
}

// empty says whether there is nothing to know.
func (l *line) empty() bool { return l.turns == nil && l.waiting.n == 0 && len(l.away) == 0 }
