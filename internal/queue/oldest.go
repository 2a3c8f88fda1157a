package queue

import "time"

// headLook is how many records one look for the first message of the backlog
// reads.
const headLook = 16

// head is what was found of the backlog: message n is the first visible one of
// those from cursor on. The zero value says nothing.
type head struct {
	cursor, n uint64
	sent      int64
}

// Oldest returns when the first visible message in the order of the queue was
// sent, or zero. It is the oldest of all, but for dead letters, which keep the
// time that they were sent first: an older one may stand behind.
//
// It costs one record of the backlog at most, once, where nothing of that is in
// memory; after that, until the first message is received, it is known. Where
// what comes first is all in flight or delayed, the cursor is moved past
// that, as a receive would.
func (q *Queue) Oldest() time.Time {
	const looks = 1000 // of a page of records each
	for range looks {
		q.mu.Lock()
		n, sent, ok := q.firstInMemory()
		at := q.cursor
		switch {
		case q.ended != nil, ok && sent != 0, !ok && at >= q.tail:
			q.mu.Unlock()
			return unixMilli(sent)
		case !ok && q.head.sent != 0 && q.head.cursor == at && !q.goneAhead && q.isVisible(q.head.n):
			sent = q.head.sent
			q.mu.Unlock()
			return unixMilli(sent)
		}
		hi := q.tail
		q.mu.Unlock()
		if ok {
			record, err := q.series.Record(n, nil)
			if isGone(err) {
				continue // received and deleted meanwhile
			}
			return unixMilli(recordSent(record))
		}
		sent, moved, err := q.lookAhead(at, hi)
		if err == nil && sent == 0 && !moved {
			err = q.readOn(true)
		}
		if err != nil || sent != 0 {
			return unixMilli(sent)
		}
	}
	return time.Time{}
}

func unixMilli(sent int64) time.Time {
	if sent == 0 {
		return time.Time{}
	}
	return time.UnixMilli(sent)
}

// isVisible says of a message from the cursor on whether it is. Caller holds mu.
func (q *Queue) isVisible(n uint64) bool {
	l := q.leases[n]
	return n >= q.trimmed && (l == nil || l.state == returned)
}

// lookAhead looks for the first visible message among the next records from the
// cursor on. moved says that the cursor is not there any more.
func (q *Queue) lookAhead(cursor, hi uint64) (sent int64, moved bool, err error) {
	var read []head
	err = q.series.Records(cursor, hi, func(n uint64, record []byte) bool {
		read = append(read, head{cursor, n, recordSent(record)})
		return len(read) < headLook
	})
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil || q.cursor != cursor {
		return 0, true, err
	}
	for _, h := range read {
		if q.isVisible(h.n) {
			q.head = h
			return h.sent, false, nil
		}
	}
	return 0, false, nil
}

// firstInMemory returns the first visible message below the cursor, and when it
// was sent, or 0 if that is on disk only. Caller holds mu.
func (q *Queue) firstInMemory() (n uint64, sent int64, ok bool) {
	if q.groups != nil {
		return q.firstOfGroups()
	}
	if it := q.window.first(); it != nil {
		n, sent, ok = it.n, recordSent(it.record), true
	}
	if l := q.returned.first(); l != nil && l.n < q.cursor && (!ok || l.n < n) {
		n, sent, ok = l.n, l.sent, true
	}
	for _, t := range q.tenants.setAside() {
		if l := t.back.first(); l != nil && (!ok || l.n < n) {
			n, sent, ok = l.n, l.sent, true
		}
		if m, record, waits := t.first(); waits && (!ok || m < n) {
			n, sent, ok = m, recordSent(record), true
		}
	}
	return n, sent, ok
}

// firstOfGroups is firstInMemory on a FIFO queue. It looks at all groups that
// have a message in memory. Caller holds mu.
func (q *Queue) firstOfGroups() (n uint64, sent int64, ok bool) {
	see := func(m uint64, s int64) {
		if !ok || m < n {
			n, sent, ok = m, s, true
		}
	}
	look := func(g *group) {
		if l := g.back.first(); l != nil {
			see(l.n, l.sent)
		}
		seen := 0
		for _, it := range g.items.elems[g.items.head:] {
			l := q.leases[it.n]
			switch {
			case l == nil:
				see(it.n, recordSent(it.record))
				return
			case l.state == returned:
				see(it.n, l.sent)
				return
			}
			if seen++; seen == headLook {
				return // that many delayed ones before it
			}
		}
		for _, r := range g.runs.elems[g.runs.head:] {
			l := q.leases[r.n]
			switch {
			case l == nil:
				see(r.n, 0)
				return
			case l.state == returned:
				see(r.n, l.sent)
				return
			}
			if seen++; seen == headLook {
				return
			}
		}
	}
	for _, g := range q.groups.byKey {
		look(g)
	}
	return n, sent, ok
}
