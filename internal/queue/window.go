package queue

import (
	"fmt"

	"github.com/runnel-io/runnel/internal/store"
)

// A window holds at most so much of its queue, and all windows of a set
// together at most cachedBytes, but for a few messages each.
const (
	windowMessages = 4096
	windowBytes    = 2 << 20
	refillMessages = 1024
	refillBytes    = 1 << 20
	refillLeast    = 16
	cachedBytes    = 64 << 20
)

// window is the first part of a queue's run of visible messages, in memory.
type window struct {
	items []item // a ring would save the copy in push; it is rare and small
	head  int
	bytes int
}

type item struct {
	n      uint64
	record []byte
}

func (w *window) len() int { return len(w.items) - w.head }

func (w *window) first() *item {
	if w.head == len(w.items) {
		return nil
	}
	return &w.items[w.head]
}

func (w *window) push(s *Set, it item) {
	if len(w.items) == cap(w.items) && w.head > len(w.items)/2 {
		w.items = append(w.items[:0], w.items[w.head:]...)
		w.head = 0
	}
	w.items = append(w.items, it)
	w.bytes += len(it.record)
	s.cached.Add(int64(len(it.record)))
}

func (w *window) pop(s *Set) item {
	it := w.items[w.head]
	w.items[w.head] = item{}
	w.head++
	if w.head == len(w.items) {
		w.items, w.head = w.items[:0], 0
		if cap(w.items) > windowMessages {
			w.items = nil
		}
	}
	w.bytes -= len(it.record)
	s.cached.Add(-int64(len(it.record)))
	return it
}

func (w *window) clear(s *Set) {
	s.cached.Add(-int64(w.bytes))
	*w = window{}
}

// takes says whether a new message may enter the window.
func (w *window) takes(s *Set, size int) bool {
	if w.len() == 0 {
		return true
	}
	return w.len() < windowMessages && w.bytes+size <= windowBytes && s.cached.Load() < cachedBytes
}

// refilling is one reading of the next part of a window.
type refilling struct {
	from uint64
	gone map[uint64]struct{} // removed meanwhile: must not enter the window
	done chan struct{}       // closed when it is over
}

// refill reads the next messages of the backlog into the window. Caller does
// not hold mu. It returns at once if there is nothing to read; if somebody
// else is at it, it waits for them.
//
// The reading is done without mu, since it takes about a millisecond. A message
// of that part can be removed meanwhile, once its delay has ended: that is
// noted, and keeps it out. One that was removed just before is waited for, so
// that its record is not there to be read.
func (q *Queue) refill() error {
	q.mu.Lock()
	if r := q.refilling; r != nil {
		q.mu.Unlock()
		<-r.done
		return nil
	}
	lo, hi := q.cursor, q.tail
	if lo >= hi || q.window.len() > 0 || q.ended != nil {
		q.mu.Unlock()
		return nil
	}
	r := &refilling{from: lo, gone: make(map[uint64]struct{}), done: make(chan struct{})}
	q.refilling = r
	var barrier *store.Batch
	if q.goneAhead {
		q.goneAhead = false
		barrier = new(store.Batch)
		barrier.InOrder()
		q.set.store.Enqueue(barrier, nil)
	}
	q.mu.Unlock()

	var err error
	if barrier != nil {
		err = barrier.Wait()
	}
	most, mostBytes := refillMessages, refillBytes
	if q.set.cached.Load() >= cachedBytes {
		most = refillLeast
	}
	var read []item
	bytes := 0
	next := hi
	if err == nil {
		err = q.series.Records(lo, hi, func(n uint64, record []byte) bool {
			if len(read) == most || bytes >= mostBytes {
				next = n
				return false
			}
			read = append(read, item{n, append([]byte(nil), record...)})
			bytes += len(record)
			return true
		})
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	q.refilling = nil
	close(r.done)
	if err != nil {
		return fmt.Errorf("read queue %s: %w", q.name, err)
	}
	for _, it := range read {
		_, exception := q.leases[it.n]
		_, gone := r.gone[it.n]
		if it.n >= q.trimmed && !exception && !gone {
			q.window.push(q.set, it)
		}
	}
	q.cursor = max(q.cursor, next)
	return nil
}
