package dispatch

import (
	"time"

	"github.com/runnel-io/runnel"
)

// holdGrace is how long a message that was given back is waited for beyond its
// time: it may have been deleted, or taken by another consumer.
const holdGrace = 30 * time.Second

// What must wait for an earlier message of its key, and not inside, comes
// again when about half of what is before it may be done: sooner it would be in
// the way of other keys, later its key could stand idle.
const (
	leastAway = 5 * time.Millisecond
	mostAway  = 30 * time.Second
	// behind is how much later than the message that it waits for it comes at
	// least.
	behind = time.Millisecond
)

// maxAway is how many messages may be away for their order, about 200 bytes
// each; beyond it they are received more slowly.
const (
	maxAway   = 50_000
	awayBrake = 50 * time.Millisecond
)

// sweepEvery is how often lines are looked at whose messages did not come back.
const sweepEvery = 10 * time.Second

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
// line of its key. It returns false, and for how long the message should be
// given back, if it must not wait here. Caller holds mu.
func (f *Flow) enqueue(it *item, now time.Time) (stays bool, after time.Duration) {
	if it.key == "" {
		f.ready.push(it)
		f.parked += len(it.d.Body)
		return true, 0
	}
	l := f.lines[it.key]
	if l == nil {
		l = new(line)
		f.lines[it.key] = l
	}
	f.place(l, it)
	if first := f.earliest(l); first != nil && first.place < it.place {
		after = max(first.due.Sub(now), 0) + behind + l.wait(it.place-first.place, now)
		f.goesAway(l, it, now.Add(after))
		return false, after
	}
	if l.turns == nil && l.waiting.n == 0 {
		l.begin(it, now)
		f.ready.push(it)
		f.parked += len(it.d.Body)
		return true, 0
	}
	if l.waiting.n >= f.share() {
		after = max(l.wait(uint64(l.waiting.n), now), leastAway)
		f.goesAway(l, it, now.Add(after))
		return false, after
	}
	l.waiting.insert(it)
	f.waiting++
	f.parked += len(it.d.Body)
	return true, 0
}

// place gives a message that came its place: the one that it had before, if it
// came before. Caller holds mu.
func (f *Flow) place(l *line, it *item) {
	place, away := f.back(l, identOf(it))
	old := l.inside(identOf(it))
	if old != nil {
		old.again = true
	}
	switch {
	case away:
		it.place = place
	case old != nil:
		// Another delivery of a message that is inside: the lease of that one is
		// gone, whoever was to say so.
		it.place = old.place
		if !old.lost {
			f.loseLease(old, runnel.ErrLeaseLost)
		}
	default:
		it.place = l.next
		l.next++
	}
}

// wait is half of what so many messages will take.
func (l *line) wait(messages uint64, now time.Time) time.Duration {
	takes := l.takes
	if l.turns != nil {
		takes = max(takes, now.Sub(l.turnAt))
	}
	half := time.Duration(min(messages, maxAway)) * min(takes, time.Hour) / 2
	return min(half, mostAway)
}

// share is how much of the room inside the waiting messages of one key may
// take.
func (f *Flow) share() int { return max(1, f.flow.Parked/4) }

// goesAway notes that a message with a key is given back. Caller holds mu, and
// does so before the source can deliver it again.
func (f *Flow) goesAway(l *line, it *item, due time.Time) {
	n := len(l.away)
	l.leaves(identOf(it), it.place, due)
	f.away += len(l.away) - n
}

// back notes that a message came again. Caller holds mu.
func (f *Flow) back(l *line, id ident) (place uint64, ok bool) {
	if place, ok = l.returns(id); ok {
		f.away--
	}
	return place, ok
}

// earliest returns the message of a line that must come before all others, of
// those that are away, or nil. Caller holds mu.
func (f *Flow) earliest(l *line) *absent {
	n := len(l.away)
	first := l.earliest(f.asked)
	f.away -= n - len(l.away)
	return first
}

// nextOf takes the next message of a line for a call that has an earlier one.
// Caller holds mu.
func (f *Flow) nextOf(key string, now time.Time) *item {
	l := f.lines[key]
	if key == "" || l == nil {
		return nil
	}
	it := l.waiting.first
	if it == nil || it.alone || it.lost {
		return nil
	}
	if a := f.earliest(l); a != nil && a.place < it.place {
		return nil
	}
	l.waiting.pop()
	f.waiting--
	f.parked -= len(it.d.Body)
	l.begin(it, now)
	return it
}

// goesBack notes, before that happens, that the messages of these outcomes are
// given back to the source. Caller holds mu.
func (f *Flow) goesBack(outcomes []outcome, now time.Time) {
	if !f.ordered() {
		return
	}
	for i := range outcomes {
		oc := &outcomes[i]
		if it := oc.item; it.turn && oc.verdict != runnel.Ack && !it.lost && !it.again {
			f.goesAway(f.lines[it.key], it, now.Add(oc.after))
		}
	}
}

// turnsEnd ends the turns of messages that left the flow, and gives them to the
// next ones. What must not go on, since an earlier message was given back, is
// given back too. Caller holds mu.
func (f *Flow) turnsEnd(outcomes []outcome, now time.Time) {
	if !f.ordered() {
		return
	}
	for i := range outcomes {
		it := outcomes[i].item
		if it.key == "" {
			continue
		}
		l := f.lines[it.key]
		if l == nil || !it.turn || !l.end(it) {
			continue
		}
		l.takes = (3*l.takes + now.Sub(l.turnAt)) / 4
		f.nextTurn(it.key, l, now)
	}
}

// nextTurn gives the turn of a line to its first message that waits. Caller
// holds mu.
func (f *Flow) nextTurn(key string, l *line, now time.Time) {
	first := l.waiting.first
	if first == nil {
		if l.empty() {
			delete(f.lines, key)
		}
		return
	}
	if a := f.earliest(l); a != nil && a.place < first.place {
		outcomes := make([]outcome, 0, l.waiting.n)
		for it := l.waiting.pop(); it != nil; it = l.waiting.pop() {
			f.waiting--
			f.parked -= len(it.d.Body)
			after := max(a.due.Sub(now), 0) + behind + l.wait(it.place-a.place, now)
			if !it.again {
				f.goesAway(l, it, now.Add(after))
			}
			outcomes = append(outcomes, outcome{item: it, verdict: runnel.Release, after: after})
		}
		f.concludeSoon(outcomes)
		return
	}
	l.waiting.pop()
	f.waiting--
	l.begin(first, now)
	f.ready.push(first)
}

// unpark takes out everything that is not in a call, to be given back. Caller
// holds mu.
func (f *Flow) unpark(now time.Time) []outcome {
	var outcomes []outcome
	out := func(it *item) {
		if l := f.lines[it.key]; it.key != "" && l != nil {
			if it.turn {
				l.end(it)
			}
			if !it.again {
				f.goesAway(l, it, now)
			}
		}
		outcomes = append(outcomes, outcome{item: it, verdict: runnel.Release})
	}
	for it := f.ready.pop(); it != nil; it = f.ready.pop() {
		out(it)
	}
	for _, l := range f.lines {
		for it := l.waiting.pop(); it != nil; it = l.waiting.pop() {
			out(it)
		}
	}
	f.waiting, f.parked = 0, 0
	return outcomes
}

// sweepLines forgets what did not come back in time.
func (f *Flow) sweepLines() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, l := range f.lines {
		f.earliest(l)
		if l.empty() {
			delete(f.lines, key)
		}
	}
}
