package queue

import (
	"container/heap"
	"crypto/sha256"

	"github.com/runnel-io/runnel"
)

// groupKey stands for a message group: the first half of the SHA-256 of its
// name, so that what is in memory and in marks does not follow its length. Two
// groups of one key would only wait for each other.
type groupKey [16]byte

func groupOf(key []byte) groupKey {
	sum := sha256.Sum256(key)
	return groupKey(sum[:16])
}

// groupFor is the group of a message on this queue.
func (q *Queue) groupFor(m *runnel.Message) (k groupKey) {
	if q.groups != nil {
		k = groupOf([]byte(m.Key))
	}
	return k
}

// groups are what a FIFO queue has in the place of the window and of the heap
// of returned messages: every message that the cursor has passed, by its group.
// Guarded by Queue.mu. See docs/adr/0012-fifo-groups.md.
type groups struct {
	byKey  map[groupKey]*group // those that have a message in memory
	ready  groupHeap           // whose next message can be received now
	locked int                 // groups with a message in flight
}

func newGroups() *groups { return &groups{byKey: make(map[groupKey]*group)} }

// group is one message group. It is locked while one of its messages is in
// flight. Its next message is the lowest number of back and of its line, where
// what the cursor passed and nobody received is, and what is delayed. A message
// in the line has a lease only if it is or was delayed.
type group struct {
	key    groupKey
	refs   int       // leases of the group
	flying int       // of these, in flight
	back   leaseHeap // of these, returned, and not in the line
	line

	next uint64 // while it is ready: the number that it waits with
	pos  int32  // in groups.ready, or -1
}

// groupHeap is the groups that can be received from, by their next message.
type groupHeap []*group

func (h groupHeap) Len() int           { return len(h) }
func (h groupHeap) Less(i, j int) bool { return h[i].next < h[j].next }
func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = int32(i), int32(j)
}

func (h *groupHeap) Push(x any) {
	g := x.(*group)
	g.pos = int32(len(*h))
	*h = append(*h, g)
}

func (h *groupHeap) Pop() any {
	last := len(*h) - 1
	g := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	g.pos = -1
	return g
}

// at returns the group of a key. Caller holds mu.
func (q *Queue) at(k groupKey) *group {
	g := q.groups.byKey[k]
	if g == nil {
		g = &group{key: k, pos: -1}
		g.back.byNumber = true
		q.groups.byKey[k] = g
	}
	return g
}

// join makes a new lease one of a group. Caller holds mu.
func (q *Queue) join(l *lease, k groupKey) {
	l.group = q.at(k)
	l.group.refs++
}

// groupKey is the key of the message's group, or nil.
func (l *lease) groupKey() *groupKey {
	switch {
	case l.group != nil:
		return &l.group.key
	case l.tenant != nil:
		return &l.tenant.key
	}
	return nil
}

// placeInGroup is place for the group of a message. Caller holds mu.
func (q *Queue) placeInGroup(l *lease) {
	g := l.group
	switch {
	case l.state == leased:
		if g.flying++; g.flying == 1 {
			q.groups.locked++
		}
	case l.state != returned || l.listed:
	case l.n >= q.cursor:
		l.ahead = true // messages before it may be on disk
	default:
		heap.Push(&g.back, l)
	}
	q.look(g)
}

// unplaceInGroup is unplace for the group of a message. The caller holds mu, and
// places the message again or forgets it.
func (q *Queue) unplaceInGroup(l *lease) {
	switch {
	case l.state == leased:
		if l.group.flying--; l.group.flying == 0 {
			q.groups.locked--
		}
	case l.ahead:
		l.ahead = false
	case l.state == returned && !l.listed:
		heap.Remove(&l.group.back, int(l.pos))
	}
}

// leaveGroup is forget for the group of a message. Caller holds mu.
func (q *Queue) leaveGroup(l *lease) {
	g := l.group
	if l.listed {
		l.listed = false
		q.unlist(&g.line, l.n)
	}
	g.refs--
	q.look(g)
	if len(q.waiters) > 0 && (q.starved() || q.inFlight == q.set.limits.inFlight-1) {
		q.wake(1) // it can be looked further, or received again
	}
}

// look makes a group ready or not, wakes a receiver for one that became ready,
// and lets go of one that is empty. It is called after each change of a group.
// Caller holds mu.
func (q *Queue) look(g *group) {
	n, ready := q.turn(g)
	switch h := &q.groups.ready; {
	case ready && g.pos < 0:
		g.next = n
		heap.Push(h, g)
		q.wake(1)
	case ready && g.next != n:
		g.next = n
		heap.Fix(h, int(g.pos))
	case !ready && g.pos >= 0:
		heap.Remove(h, int(g.pos))
	}
	if g.refs == 0 && g.loading == nil && g.empty() && q.groups.byKey[g.key] == g {
		delete(q.groups.byKey, g.key)
	}
}

// turn returns the next message of a group, and whether it can be received
// now. Caller holds mu.
func (q *Queue) turn(g *group) (n uint64, ready bool) {
	if g.flying > 0 || g.loading != nil {
		return 0, false
	}
	n, record, ok := g.first()
	if l := g.back.first(); l != nil && (!ok || l.n < n) {
		return l.n, true
	}
	if ok && record == nil {
		if l := q.leases[n]; l != nil && l.state == delayed {
			return 0, false
		}
	}
	return n, ok
}

// pass adds the next message of the series to its group. Its record is kept if
// there is room for it, or if it can be received at once; l is its lease, if it
// has one. Caller holds mu and moves the cursor.
func (q *Queue) pass(n uint64, record []byte, k groupKey, l *lease) {
	sent := int64(0)
	if l != nil {
		record, sent = nil, l.sent
		switch {
		case l.state == leased:
			return // it comes back by itself
		case l.ahead:
			l.ahead = false
			heap.Push(&l.group.back, l)
			q.look(l.group)
			return
		}
		l.listed = true
	} else {
		sent = recordSent(record)
	}
	g := q.at(k)
	q.lineUp(&g.line, item{n, record}, sent, g.flying == 0 && g.items.len() == 0)
	q.look(g)
}

// passAll passes what was read of the backlog. Caller holds mu.
func (q *Queue) passAll(r *refilling, read []item, keys []groupKey) {
	for i, it := range read {
		if _, gone := r.gone[it.n]; !gone && it.n >= q.trimmed {
			q.pass(it.n, it.record, keys[i], q.leases[it.n])
		}
	}
}

// arrive passes a message that was sent just now, or leaves it to the backlog.
// Caller holds mu.
func (q *Queue) arrive(n uint64, send *stagedSend, l *lease) bool {
	if q.cursor != n || q.refilling != nil || q.lines.runs >= q.set.limits.parked {
		return false
	}
	if l == nil && q.groups.byKey[send.group] == nil && !q.holds(len(send.record)) {
		return false
	}
	q.cursor++
	q.pass(n, send.record, send.group, l)
	return true
}

// take makes the first of a group's list an exception; nil if its record must
// be read before. Caller holds mu.
func (q *Queue) take(g *group) (*lease, []byte) {
	n, record, ok := g.first()
	l := q.leases[n]
	if !ok || record == nil && l == nil {
		return nil, nil
	}
	q.advance(&g.line)
	if l != nil {
		l.listed = false
		heap.Push(&g.back, l)
		q.look(g)
		return l, nil
	}
	l = &lease{n: n, sent: recordSent(record), size: uint32(len(record)), group: g}
	g.refs++
	q.leases[n] = l
	q.place(l, returned)
	return l, record
}

// nextOfGroups returns the next message for a receive: as many of one group as
// there are, then those of the next. It stays its group's, as returned, until
// pick has placed it. nil: there is none, or p.load must be read first. Caller
// holds mu.
func (q *Queue) nextOfGroups(p *picked) (*lease, []byte) {
	for {
		g := p.group
		if g == nil {
			if len(q.groups.ready) == 0 {
				return nil, nil
			}
			g = q.groups.ready[0]
			p.group, p.fromGroup, p.ofGroup = g, 0, 0
		}
		n, record, ok := g.first()
		back := g.back.first()
		if back != nil && (!ok || back.n < n) {
			return back, nil
		}
		if l := q.leases[n]; ok && (l == nil || l.state != delayed) {
			if record != nil || l != nil {
				return q.take(g)
			}
			if p.fromGroup+p.ofGroup == 0 {
				p.load = unread{&g.line, g}
				return nil, nil
			}
		}
		p.leave()
	}
}

// leave ends that messages are taken from a group.
func (p *picked) leave() { p.group = nil }

// starved says whether nothing can be received but what the cursor has not
// passed yet, and it can go on. Caller holds mu.
func (q *Queue) starved() bool {
	if q.cursor >= q.tail {
		return false
	}
	if q.groups != nil {
		return len(q.groups.ready) == 0 && q.lines.runs < q.set.limits.parked
	}
	return q.window.len() == 0
}

// waitsFrom is the first number of a message without a lease, or lower; or the
// cursor. Caller holds mu.
func (q *Queue) waitsFrom() uint64 {
	low := q.cursor
	if it := q.window.first(); it != nil {
		low = it.n
	}
	if q.groups != nil {
		for _, g := range q.groups.byKey {
			if n, _, ok := g.first(); ok {
				low = min(low, n)
			}
		}
	}
	for _, t := range q.tenants.setAside() {
		if n, _, ok := t.first(); ok {
			low = min(low, n)
		}
	}
	return low
}

// listed is how many messages wait in memory without a lease, about. Caller
// holds mu.
func (q *Queue) listed() int { return int(q.lines.listed) + q.window.len() }

// clearLines forgets all messages that wait outside of the window. Caller
// holds mu, and has no lease left.
func (q *Queue) clearLines() {
	q.set.cached.Add(-int64(q.lines.bytes))
	q.lines = lines{}
	q.tenants = nil
	if q.groups != nil {
		q.groups = newGroups()
		q.attempts = nil
	}
}
