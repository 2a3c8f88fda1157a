package dispatch

import (
	"time"

	"github.com/runnel-io/runnel"
)

// line is the messages of one key that are inside, and what is known of those
// that are not. It exists while there is something to know.
type line struct {
	busy    bool     // one of its messages is ready or in a call
	waiting itemList // for their turn
	// head is the message that must come before all others: it was given
	// back to the source. Whatever comes before it is released too, until it
	// is there, or until heldUntil. Empty: none was given back.
	head      runnel.MessageID
	headDue   time.Time // when it comes again
	heldUntil time.Time
}

// What waits behind a message that was given back comes again this much later
// than it, and the message is waited for this long beyond its time: it may have
// been deleted, or taken by another consumer.
const (
	behindHead = 20 * time.Millisecond
	holdGrace  = 30 * time.Second
)

// sweepEvery is how often lines are looked at whose head did not come back.
const sweepEvery = 10 * time.Second

// crowded is how long a message comes back later whose key has taken its share
// of the room inside.
const crowded = 200 * time.Millisecond

func (f *Flow) ordered() bool {
	return f.flow.Order == runnel.OrderKey || f.flow.Order == runnel.OrderLane
}

// keyOf returns the key by which a message is ordered, or "".
func (f *Flow) keyOf(d *runnel.Delivery) string {
	switch f.flow.Order {
	case runnel.OrderKey:
		return d.Key
	case runnel.OrderLane:
		return string(d.Lane)
	}
	return ""
}

// enqueue puts a message where it waits: among those that are ready, or in the
// line of its key. It returns false, and how long the message should stay away,
// if it must not wait here. Caller holds mu.
func (f *Flow) enqueue(it *item, now time.Time) (stays bool, away time.Duration) {
	if it.key != "" {
		l := f.lines[it.key]
		if l == nil {
			l = new(line)
			f.lines[it.key] = l
		}
		if l.head != "" {
			if it.d.ID != l.head && now.Before(l.heldUntil) {
				return false, max(l.headDue.Sub(now), 0) + behindHead
			}
			l.head = ""
		}
		if l.busy {
			if l.waiting.n >= f.share() {
				l.head, l.headDue = it.d.ID, now.Add(crowded)
				l.heldUntil = l.headDue.Add(holdGrace)
				return false, crowded
			}
			l.waiting.push(it)
			f.waiting++
			f.parked += len(it.d.Body)
			return true, 0
		}
		l.busy = true
	}
	f.ready.push(it)
	f.parked += len(it.d.Body)
	return true, 0
}

// share is how much of the room inside one key may take.
func (f *Flow) share() int { return max(1, f.flow.Parked/4) }

// next takes the next message of a line, for a call that has an earlier one.
// Caller holds mu.
func (f *Flow) nextOf(key string) *item {
	l := f.lines[key]
	if key == "" || l == nil {
		return nil
	}
	it := l.waiting.pop()
	if it != nil {
		f.waiting--
		f.parked -= len(it.d.Body)
	}
	return it
}

// turn ends the turn of the messages of one key that were called together, all
// of which are settled. The next one is ready, or, if back is not nil, it and
// all behind it are returned: the caller releases them after away, since back
// was given back and comes first. Caller holds mu.
func (f *Flow) turn(key string, back *runnel.Delivery, after time.Duration, now time.Time) (away []*item, later time.Duration) {
	l := f.lines[key]
	if key == "" || l == nil {
		return nil, 0
	}
	l.busy = false
	if back != nil {
		for it := f.nextOf(key); it != nil; it = f.nextOf(key) {
			away = append(away, it)
		}
		l.head, l.headDue = back.ID, now.Add(after)
		l.heldUntil = l.headDue.Add(holdGrace)
		return away, after + behindHead
	}
	if it := l.waiting.pop(); it != nil {
		f.waiting--
		l.busy = true
		f.ready.push(it)
		return nil, 0
	}
	if l.head == "" {
		delete(f.lines, key)
	}
	return nil, 0
}

// leaveLine is for a message that was ready and is given back uncalled. Caller
// holds mu.
func (f *Flow) leaveLine(it *item) {
	if l := f.lines[it.key]; it.key != "" && l != nil {
		l.busy = false
	}
}

// sweepLines forgets the lines whose head did not come back in time.
func (f *Flow) sweepLines(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, l := range f.lines {
		if l.head != "" && !now.Before(l.heldUntil) {
			l.head = ""
		}
		if l.head == "" && !l.busy && l.waiting.n == 0 {
			delete(f.lines, key)
		}
	}
}
