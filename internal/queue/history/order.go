package history

import (
	"cmp"
	"slices"
	"time"
)

// dedupWindow is that of a FIFO queue. (SQS)
const dedupWindow = 5 * time.Minute

// order looks at each group of each FIFO queue: who received a message while an
// earlier one was there, which a later receive shows? Several of a group may be
// received at once, in their order.
func (c *checker) order() {
	for at, ds := range c.groups {
		last := make(map[uint64]delivery) // of each message, the last receive to begin
		for _, d := range ds {
			last[d.message().Sequence] = d
		}
		type end struct {
			sequence uint64
			d        delivery
		}
		var ends []end // in the order of the queue
		for n, d := range last {
			ends = append(ends, end{n, d})
		}
		slices.SortFunc(ends, func(a, b end) int { return cmp.Compare(a.sequence, b.sequence) })
		latest := make([]time.Duration, len(ends)+1) // of all before
		for i, e := range ends {
			latest[i+1] = max(latest[i], e.d.call.From)
		}
		for _, d := range ds {
			i, _ := slices.BinarySearchFunc(ends, d.message().Sequence, func(e end, n uint64) int { return cmp.Compare(e.sequence, n) })
			for j := i - 1; j >= 0 && latest[j+1] >= d.call.To; j-- {
				if e := ends[j]; e.d.call.From >= d.call.To && !before(d, e.sequence) {
					c.violated("order", "group %s: %v was before %v", at.name, d, e.d)
				}
			}
			for j := range d.call.Received[:d.index] {
				if m := &d.call.Received[j]; m.Group == at.name && m.Sequence >= d.message().Sequence {
					c.violated("order", "group %s: %s is before %v in one receive", at.name, m.Body, d)
				}
			}
		}
	}
}

// before says whether a receive has a message of this sequence number before d.
func before(d delivery, sequence uint64) bool {
	return slices.ContainsFunc(d.call.Received[:d.index], func(m Message) bool { return m.Sequence == sequence && m.Group == d.message().Group })
}

// sequence: the numbers that senders were told grow, unless they were told of
// a message again.
func (c *checker) sequence() {
	type told struct {
		call     *Call
		sequence uint64
	}
	byQueue := make(map[string][]told)
	for at, sends := range c.sends {
		seen := make(map[uint64]bool)
		for _, s := range sends {
			if n := s.Message.Sequence; c.Queues[at.queue].FIFO && s.Outcome == OK && !seen[n] {
				seen[n] = true
				// What has no answer may have been the first of these.
				if i := slices.Index(sends, s); i == 0 {
					byQueue[at.queue] = append(byQueue[at.queue], told{s, n})
				}
			}
		}
	}
	for queue, all := range byQueue {
		byEnd := slices.Clone(all)
		slices.SortFunc(all, func(a, b told) int { return cmp.Compare(a.call.From, b.call.From) })
		slices.SortFunc(byEnd, func(a, b told) int { return cmp.Compare(a.call.To, b.call.To) })
		next := 0
		var highest told
		for _, t := range all {
			for ; next < len(byEnd) && byEnd[next].call.To <= t.call.From; next++ {
				if highest.call == nil || byEnd[next].sequence > highest.sequence {
					highest = byEnd[next]
				}
			}
			if highest.call != nil && t.sequence <= highest.sequence {
				c.violated("sequence", "%s: %s has %d, sent after %s, which has %d", queue, t.call.Message.Body, t.sequence, highest.call.Message.Body, highest.sequence)
			}
		}
	}
	for at, ds := range c.bodies {
		for _, s := range c.sends[at] {
			for _, d := range ds {
				if m := d.message(); s.Outcome == OK && m.ID == s.Message.ID && m.Sequence != s.Message.Sequence && c.Queues[at.queue].FIFO {
					c.violated("sequence", "%v, told %d when it was sent", d, s.Message.Sequence)
				}
			}
		}
	}
}

// duplicate: a message that was sent once is stored once, and one that was sent
// to a FIFO queue several times, too, if its deduplication id was certainly known
// all that time.
func (c *checker) duplicate() {
	for at, sends := range c.sends {
		if len(sends) > 1 && (!c.Queues[at.queue].FIFO || !c.sameWindow(sends[0].From, sends[len(sends)-1].To)) {
			continue
		}
		ids := make(map[string]bool)
		for _, s := range sends {
			if s.Outcome == OK {
				ids[s.Message.ID] = true
			}
		}
		for _, queue := range []string{at.queue, c.Queues[at.queue].Dead} {
			for _, d := range c.bodies[place{queue, at.name}] {
				ids[d.message().ID] = true
			}
		}
		if len(ids) > 1 {
			c.violated("duplicate", "%s was sent to %s %d times from %v to %v, and is there as %d messages", at.name, at.queue, len(sends), sends[0].From, sends[len(sends)-1].To, len(ids))
		}
	}
}

// sameWindow says whether all processes from a time to another certainly take
// both for the same deduplication window. Each goes by the wall clock of its
// start.
func (c *checker) sameWindow(from, to time.Duration) bool {
	first, last := c.process(from), c.process(to)
	for _, p := range c.Processes[first : last+1] {
		if (p.Clock[0].Ahead-c.Processes[first].Clock[0].Ahead).Abs()+to-from > dedupWindow-slack {
			return false
		}
	}
	return true
}
