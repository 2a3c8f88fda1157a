package queue

import (
	"cmp"
	"slices"
)

// line is messages that wait outside of the window, in the order of their
// numbers: first items, then runs. Guarded by Queue.mu.
type line struct {
	items   list[item]    // a record may be nil: in the store only
	runs    list[run]     // of these only the numbers are in memory
	loading chan struct{} // closed when somebody has read items from runs; nil: nobody does
}

// run is count messages of a line with numbers from n on: however long, it
// takes 16 bytes.
type run struct {
	n           uint64
	count, sent uint32 // sent: seconds; none of the run was sent before
}

// lines is what all lines of a queue hold together. Guarded by Queue.mu.
type lines struct {
	listed         int64 // numbers
	runs           int
	records, bytes int // in memory
}

// list is a queue in memory.
type list[T any] struct {
	elems []T
	head  int
}

func (l *list[T]) len() int { return len(l.elems) - l.head }

func (l *list[T]) first() *T {
	if l.head == len(l.elems) {
		return nil
	}
	return &l.elems[l.head]
}

func (l *list[T]) push(v T) {
	if len(l.elems) == cap(l.elems) && l.head > len(l.elems)/2 {
		n := copy(l.elems, l.elems[l.head:])
		clear(l.elems[n:])
		l.elems, l.head = l.elems[:n], 0
	}
	l.elems = append(l.elems, v)
}

func (l *list[T]) pop() T {
	var none T
	v := l.elems[l.head]
	l.elems[l.head] = none
	l.head++
	if l.head == len(l.elems) {
		l.elems, l.head = l.elems[:0], 0
		if cap(l.elems) > 1024 {
			l.elems = nil
		}
	}
	return v
}

func (l *line) empty() bool { return l.items.len()+l.runs.len() == 0 }

// first returns the first message of the line, and its record if that is in
// memory.
func (l *line) first() (n uint64, record []byte, ok bool) {
	if it := l.items.first(); it != nil {
		return it.n, it.record, true
	}
	if r := l.runs.first(); r != nil {
		return r.n, nil, true
	}
	return 0, nil, false
}

// lineUp adds a message to the end of a line: its record, too, if there is
// room for it or if it must be at hand. Caller holds mu.
func (q *Queue) lineUp(l *line, it item, sent int64, atHand bool) {
	q.lines.listed++
	if l.runs.len() > 0 || it.record != nil && !atHand && !q.holds(len(it.record)) {
		q.park(l, run{n: it.n, count: 1, sent: uint32(sent / 1000)})
		return
	}
	q.keep(l, it)
}

// holds says whether there is room for a record in memory. Caller holds mu.
func (q *Queue) holds(size int) bool {
	all, s := &q.lines, q.set
	return all.records < s.limits.window && all.bytes+size <= s.limits.windowBytes && s.cached.Load() < s.limits.cachedBytes
}

func (q *Queue) keep(l *line, it item) {
	l.items.push(it)
	q.account(it.record, 1)
}

func (q *Queue) account(record []byte, sign int) {
	if record != nil {
		q.lines.records += sign
		q.lines.bytes += sign * len(record)
		q.set.cached.Add(int64(sign * len(record)))
	}
}

func (q *Queue) park(l *line, r run) {
	if k := l.runs.len(); k > 0 {
		last := &l.runs.elems[len(l.runs.elems)-1]
		if last.n+uint64(last.count) == r.n && uint64(last.count)+uint64(r.count) < 1<<32 {
			last.count += r.count
			return
		}
	}
	l.runs.push(r)
	q.lines.runs++
}

// unpark takes the first number out of a line's runs. Caller holds mu.
func (q *Queue) unpark(l *line) {
	r := l.runs.first()
	r.n++
	if r.count--; r.count == 0 {
		l.runs.pop()
		q.lines.runs--
	}
}

// advance takes the first message out of a line. Caller holds mu.
func (q *Queue) advance(l *line) {
	q.lines.listed--
	if l.items.len() > 0 {
		q.account(l.items.pop().record, -1)
		return
	}
	q.unpark(l)
}

// unlist takes message n out of a line and says whether it was there. Caller
// holds mu.
func (q *Queue) unlist(l *line, n uint64) bool {
	live := l.items.elems[l.items.head:]
	if i, ok := slices.BinarySearchFunc(live, n, func(it item, n uint64) int { return cmp.Compare(it.n, n) }); ok {
		q.account(live[i].record, -1)
		l.items.elems = slices.Delete(l.items.elems, l.items.head+i, l.items.head+i+1)
		q.lines.listed--
		return true
	}
	i, ok := l.parkedAt(n)
	if !ok {
		return false
	}
	before := l.runs.elems[i]
	after := run{n: n + 1, count: before.count - uint32(n-before.n) - 1, sent: before.sent}
	before.count = uint32(n - before.n)
	var parts []run
	for _, r := range [...]run{before, after} {
		if r.count > 0 {
			parts = append(parts, r)
		}
	}
	l.runs.elems = slices.Replace(l.runs.elems, i, i+1, parts...)
	q.lines.runs += len(parts) - 1
	q.lines.listed--
	return true
}

// has says whether message n is in the line.
func (l *line) has(n uint64) bool {
	_, ok := slices.BinarySearchFunc(l.items.elems[l.items.head:], n, func(it item, n uint64) int { return cmp.Compare(it.n, n) })
	if !ok {
		_, ok = l.parkedAt(n)
	}
	return ok
}

// parkedAt returns which run of the line has message n.
func (l *line) parkedAt(n uint64) (int, bool) {
	runs := l.runs.elems[l.runs.head:]
	i, ok := slices.BinarySearchFunc(runs, n, func(r run, n uint64) int { return cmp.Compare(r.n, n) })
	if !ok {
		i-- // the last that begins before n
	}
	if i < 0 || n >= runs[i].n+uint64(runs[i].count) {
		return 0, false
	}
	return l.runs.head + i, true
}

// cachedBytes is how many bytes of waiting messages are in memory. Caller
// holds mu.
func (q *Queue) cachedBytes() int { return q.window.bytes + q.lines.bytes }
