package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Queue is one durable queue. Its methods may be called by several goroutines
// at once.
type Queue struct {
	set          *Set
	id           uint64
	name         Name
	created      time.Time
	series       *store.Series
	deduplicated atomic.Uint64 // sends to a FIFO queue that were not stored
	dropped      atomic.Bool   // the queue is deleted: nothing may be appended; see Set.drops
	moves        sync.Mutex    // held while a Move is decided; taken before all others

	// mu guards all below.
	mu       sync.Mutex
	settings Settings
	modified time.Time
	ended    error // why receives end: set when the queue is deleted or the set closed

	// Messages that are visible and were never received: numbers from cursor
	// on, below tail, that have no lease. The window is the first of them.
	window    window
	cursor    uint64     // the first number that was not in the window yet
	tail      uint64     // every record below is durable
	trimmed   uint64     // every message below was purged
	refilling *refilling // somebody reads the next part of the window
	goneAhead bool       // a message from cursor on was removed since the last reading

	lines    lines     // of groups or tenants
	tenants  *tenants  // of a standard queue that met messages with a group, or nil
	groups   *groups   // of a FIFO queue, whose window is empty; nil on standard queues
	dedup    dedup     // of a FIFO queue
	attempts *attempts // of a FIFO queue, or nil
	odd      *odd      // of a standard queue, or nil
	head     head

	// All others.
	leases   map[uint64]*lease
	due      leaseHeap // leased and delayed
	returned leaseHeap // visible again
	timer    *time.Timer
	timerDue int64 // when the timer fires; 0: it is not set

	waiters  []*waiter
	total    int64 // messages in the queue, in any state
	inFlight int64
	delayed  int64
	sinceLow int    // removals since the low-water mark was stored
	cleared  uint64 // below, the store was told of every run of removed messages
	purgedAt time.Time
	stats    counters
}

// counters are since the process started. Guarded by Queue.mu.
type counters struct {
	sent, received, deleted, expired, deadLettered uint64

	duplicated uint64 // of received, second deliveries
	moved      uint64
}

// ErrPurgeInProgress is returned by a purge within 60 s of the one before.
// (SQS)
var ErrPurgeInProgress = errors.New("only one purge of a queue is allowed every 60 seconds")

const purgeInterval = 60 * time.Second

// errDeleted ends the receives of a deleted queue.
func errDeleted(n Name) error {
	return runnel.Errorf(runnel.CodeNotFound, "the queue %s was deleted", n)
}

// load reads what the store has of the queue: all marks, no record.
func (q *Queue) load() error {
	q.returned.byNumber = true
	q.leases = make(map[uint64]*lease)
	q.cleared = q.series.Low()
	q.cursor, q.tail, q.total = q.series.Low(), q.series.Next(), int64(q.series.Count())
	wall, mono := q.set.opt.Now().UnixMilli(), q.set.mono()
	var damaged error
	err := q.series.Marks(func(n uint64, v []byte) bool {
		m, err := decodeMark(v)
		if err != nil {
			damaged = fmt.Errorf("queue %s, message %d: %w", q.name, n, err)
			return false
		}
		l := &lease{
			n: n, nonce: m.nonce, twin: m.twin, sent: m.sent, first: m.first, marked: true,
			receives: m.receives, failures: m.failures, size: m.size,
		}
		switch {
		case q.groups != nil && m.group == nil:
			damaged = fmt.Errorf("queue %s, message %d: %w: it has no group", q.name, n, errMark)
			return false
		case q.groups != nil:
			q.join(l, *m.group)
		case m.group != nil:
			l.joinTenant(q.tenant(*m.group))
		}
		q.leases[n] = l
		// The wall clock may have jumped while nobody looked: no wait is
		// longer than the longest that can be asked for.
		longest := MaxVisibilityTimeout
		if m.state == delayed {
			longest = MaxDelay
		}
		remains := min(time.Duration(m.due-wall)*time.Millisecond, longest)
		l.due = mono + int64(remains)
		if m.leased != 0 {
			l.leasedAt = mono - int64(min(max(time.Duration(wall-m.leased)*time.Millisecond, 0), MaxVisibilityTimeout))
		}
		if m.state == returned || remains <= 0 {
			q.place(l, returned)
		} else {
			q.place(l, m.state)
		}
		if q.groups != nil && l.state == delayed && n < q.cursor {
			// It was delivered to a flow, and the wall clock was put back. It is
			// before what is behind it in its group as it was when it was sent.
			q.pass(n, nil, *m.group, l)
		}
		return true
	})
	return errors.Join(err, damaged)
}

// Name returns the queue's name.
func (q *Queue) Name() Name { return q.name }

// Created returns when the queue was made.
func (q *Queue) Created() time.Time { return q.created }

// Settings returns the settings and when they were last changed. The maps
// must not be changed.
func (q *Queue) Settings() (Settings, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.settings, q.modified
}

// Configure changes the settings by f, durably. What f refuses, or what is
// not valid afterwards, changes nothing. f must not change the old maps.
func (q *Queue) Configure(f func(*Settings) error) error {
	q.set.admin.Lock()
	defer q.set.admin.Unlock()
	next, _ := q.Settings()
	if err := f(&next); err != nil {
		return err
	}
	if err := next.Validate(); err != nil {
		return err
	}
	if err := q.name.fits(next); err != nil {
		return err
	}
	doc := document{ID: q.id, Name: q.name, Created: q.created, Modified: q.set.opt.Now(), Settings: next}
	var b store.Batch
	if err := doc.put(&b); err != nil {
		return err
	}
	q.mu.Lock()
	if err := q.ended; err != nil {
		q.mu.Unlock()
		return err
	}
	q.set.store.Enqueue(&b, nil)
	q.mu.Unlock()
	if err := b.Wait(); err != nil {
		return unavailable("store the settings", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	paused := q.settings.Paused
	q.settings, q.modified = next, doc.Modified
	if paused && !next.Paused {
		q.wake(len(q.waiters))
	}
	return nil
}

// Purge removes all messages, those in flight too. A message whose Send has
// not returned may stay.
func (q *Queue) Purge() error {
	var b store.Batch
	place := b.Trim(q.series)
	q.mu.Lock()
	if err := q.ended; err != nil {
		q.mu.Unlock()
		return err
	}
	now := q.set.opt.Now()
	if !q.purgedAt.IsZero() && now.Sub(q.purgedAt).Abs() < purgeInterval {
		q.mu.Unlock()
		return ErrPurgeInProgress
	}
	q.purgedAt = now
	q.set.store.Enqueue(&b, func(err error) {
		if err == nil {
			q.purged(b.Number(place))
		}
	})
	q.mu.Unlock()
	if err := b.Wait(); err != nil {
		return unavailable("purge", err)
	}
	return nil
}

// purged drops what the index holds below number n. It runs in the order of
// commits: everything below n is there, and nothing from n on.
func (q *Queue) purged(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.leases)
	q.due, q.returned = leaseHeap{}, leaseHeap{byNumber: true}
	q.inFlight, q.delayed = 0, 0
	q.window.clear(q.set)
	q.clearLines()
	q.cursor, q.tail, q.trimmed = n, max(q.tail, n), n
	q.total = 0
}

// Depth is how many messages a queue holds, exactly.
type Depth struct{ Visible, InFlight, Delayed int64 }

// Depth returns the counts of this moment.
func (q *Queue) Depth() Depth {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Depth{Visible: q.total - q.inFlight - q.delayed, InFlight: q.inFlight, Delayed: q.delayed}
}

// Stats are the figures of a queue: its depth now, and what happened since the
// process started.
type Stats struct {
	Name  Name
	Depth Depth
	// Cached is how many bytes of waiting messages are in memory.
	Cached int
	// Receivers wait for a message.
	Receivers int
	Paused    bool

	// Oldest is when the first message in line was sent; zero if none is
	// visible. See Queue.Oldest.
	Oldest time.Time
	// Groups of a FIFO queue that have a message in flight, or waiting in
	// memory; Locked are those with one in flight.
	FIFO           bool
	Groups, Locked int

	// Deleted are not those that expired or were moved. Moved are those that a
	// Move took out, Deduplicated the sends that were not stored.
	Sent, Received, Deleted, Expired, DeadLettered uint64
	Moved, Deduplicated                            uint64
	// Duplicated are the second deliveries among Received; see
	// Settings.Duplicate.
	Duplicated uint64
}

// Stats returns the figures.
func (q *Queue) Stats() Stats {
	st := q.figures()
	if st.Depth.Visible > 0 {
		st.Oldest = q.Oldest()
	}
	return st
}

func (q *Queue) figures() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	st := Stats{
		Name:      q.name,
		Depth:     Depth{Visible: q.total - q.inFlight - q.delayed, InFlight: q.inFlight, Delayed: q.delayed},
		Cached:    q.cachedBytes(),
		Receivers: len(q.waiters),
		Paused:    q.settings.Paused,
		Sent:      q.stats.sent, Received: q.stats.received, Deleted: q.stats.deleted,
		Expired: q.stats.expired, DeadLettered: q.stats.deadLettered,
		Duplicated: q.stats.duplicated,
		Moved:      q.stats.moved, Deduplicated: q.deduplicated.Load(),
	}
	if q.groups != nil {
		st.FIFO, st.Groups, st.Locked = true, len(q.groups.byKey), q.groups.locked
	}
	return st
}

// markOf is the mark that keeps l for the next process. Caller holds mu.
func (q *Queue) markOf(l *lease) []byte {
	wall, mono := q.set.opt.Now(), q.set.mono()
	m := mark{
		state: l.state, nonce: l.nonce, twin: l.twin, receives: l.receives, failures: l.failures,
		first: l.first, sent: l.sent, size: l.size, group: l.groupKey(),
	}
	if l.state != returned {
		m.due = wall.Add(time.Duration(l.due - mono)).UnixMilli()
	}
	if l.first != 0 {
		m.leased = wall.Add(time.Duration(l.leasedAt - mono)).UnixMilli()
	}
	return m.encode()
}

// low adds the low-water mark to a batch if it is time to, or now. Leases
// without a mark that lie below it are given one: they are what flows hold at
// the moment, and become visible at a restart. Caller holds mu.
func (q *Queue) low(b *store.Batch, now bool) {
	if q.sinceLow < q.set.limits.low && !now {
		return
	}
	q.sinceLow = 0
	low := q.waitsFrom()
	if q.refilling != nil {
		low = min(low, q.refilling.from)
	}
	var live []uint64 // messages below low
	for _, l := range q.leases {
		if l.n >= low {
			continue
		}
		live = append(live, l.n)
		if !l.marked {
			l.marked = true
			m := mark{state: returned, nonce: l.nonce, twin: l.twin, failures: l.failures, sent: l.sent, size: l.size, group: l.groupKey()}
			b.Mark(q.series, l.n, m.encode())
		}
	}
	b.Low(q.series, low)
	q.clear(b, live, low)
}

// clearGaps bounds the range tombstones that one clear writes.
const clearGaps = 32

// clear tells the store about the runs of removed messages below low, between
// those that live. Caller holds mu.
func (q *Queue) clear(b *store.Batch, live []uint64, low uint64) {
	slices.Sort(live)
	if len(live) > clearGaps {
		low, live = live[clearGaps], live[:clearGaps]
	}
	from := q.cleared
	for _, n := range append(live, low) {
		if n > from {
			b.Clear(q.series, from, n)
		}
		from = max(from, n+1)
	}
	q.cleared = max(q.cleared, low)
}

// end makes every receive return err, and stops the timer. Caller holds mu.
func (q *Queue) end(err error) {
	q.ended = err
	if q.timer != nil {
		q.timer.Stop()
	}
	q.wake(len(q.waiters))
}

// newNonce returns a nonce for a receipt. It cannot be guessed: the generator
// is seeded by the operating system and cryptographic (math/rand/v2).
func newNonce() uint64 { return rand.Uint64() }

func unavailable(what string, err error) error {
	return runnel.Errorf(runnel.CodeUnavailable, "%s: %w", what, err)
}
