package queue

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/runnel-io/runnel/internal/store"
)

// limits bound what is in memory of waiting messages, and when the store is
// told of what is gone. They are fields so that tests can make them small.
type limits struct {
	// One window holds at most so many messages and bytes, and all windows of
	// a set together at most cached bytes, but for a few messages each.
	window, windowBytes int
	cachedBytes         int64
	// One reading of the backlog; least is when the cache is full.
	refill, refillBytes, refillLeast int
	// low is after how many removals the low-water mark is stored: so many
	// tombstones a restart may have to pass.
	low int
	// load is how many messages of one group are read ahead, and parked how
	// many runs of numbers all groups of a queue may have in memory.
	load, parked int
	// noisy is how many messages in flight make a tenant noisy, and aside how
	// many tenants may have messages set aside: by the rule at most 18 are noisy
	// at once, others were a moment ago. See tenant.go.
	noisy int64
	aside int
	// inFlight is MaxInFlight.
	inFlight int64
}

var defaultLimits = limits{
	window: 4096, windowBytes: 2 << 20, cachedBytes: 64 << 20,
	refill: 1024, refillBytes: 1 << 20, refillLeast: 16,
	load: 64, parked: 1 << 18, noisy: 30, aside: 64,
	low: 8192, inFlight: MaxInFlight,
}

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
		n := copy(w.items, w.items[w.head:])
		clear(w.items[n:])
		w.items, w.head = w.items[:n], 0
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
		if cap(w.items) > s.limits.window {
			w.items = nil
		}
	}
	w.bytes -= len(it.record)
	s.cached.Add(-int64(len(it.record)))
	return it
}

// find returns where in items message n is, and whether it is.
func (w *window) find(n uint64) (int, bool) {
	i, ok := slices.BinarySearchFunc(w.items[w.head:], n, func(it item, n uint64) int { return cmp.Compare(it.n, n) })
	return w.head + i, ok
}

// drop takes message n out, if it is there.
func (w *window) drop(s *Set, n uint64) {
	i, ok := w.find(n)
	switch {
	case !ok:
		return
	case i == w.head:
		w.pop(s)
		return
	}
	size := len(w.items[i].record)
	w.items = slices.Delete(w.items, i, i+1)
	w.bytes -= size
	s.cached.Add(-int64(size))
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
	return w.len() < s.limits.window && w.bytes+size <= s.limits.windowBytes && s.cached.Load() < s.limits.cachedBytes
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
func (q *Queue) refill() error { return q.readOn(false) }

// readOn is refill; force: even if nothing is wanted, on a FIFO queue.
func (q *Queue) readOn(force bool) error {
	q.mu.Lock()
	if r := q.refilling; r != nil {
		q.mu.Unlock()
		<-r.done
		return nil
	}
	lo, hi := q.cursor, q.tail
	if !q.starved() && (!force || lo >= hi) || q.ended != nil {
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
	most, mostBytes := q.set.limits.refill, q.set.limits.refillBytes
	if q.set.cached.Load() >= q.set.limits.cachedBytes {
		most = q.set.limits.refillLeast
	}
	var read []item
	var keys []groupKey // of a FIFO queue
	bytes := 0
	next := hi
	if err == nil {
		err = q.series.Records(lo, hi, func(n uint64, record []byte) bool {
			if len(read) == most || bytes >= mostBytes {
				next = n
				return false
			}
			read = append(read, item{n, append([]byte(nil), record...)})
			if q.groups != nil {
				keys = append(keys, groupOf(recordKey(record)))
			}
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
	if q.dropped.Load() {
		return nil // its window is empty and stays so
	}
	if q.groups != nil {
		q.passAll(r, read, keys)
		read = nil
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
