package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Violation is a promise that was not kept.
type Violation struct{ Rule, Text string }

func (v Violation) String() string { return v.Rule + ": " + v.Text }

// delivery is one message of one receive.
type delivery struct {
	call  *Call
	index int
}

func (d delivery) message() *Message { return &d.call.Received[d.index] }

func (d delivery) String() string {
	m := d.message()
	return fmt.Sprintf("%s (receive %d, sequence %d) from %s between %v and %v", m.Body, m.Receives, m.Sequence, d.call.Queue, d.call.From, d.call.To)
}

// place is a message in a queue, or a message group.
type place struct{ queue, name string }

type checker struct {
	*History
	violations []Violation
	sends      map[place][]*Call       // by body
	bodies     map[place][]delivery    // by body, in the order of From, as all others
	deliveries map[place][]delivery    // by id
	groups     map[place][]delivery    // of FIFO queues
	uses       map[string][]*Call      // of a receipt
	claims     map[place][]claim       // by id
	gone       map[place]time.Duration // by id: since when it certainly is, there or in the dead-letter queue
	unknown    map[string][]*Call      // receives of a queue that may have had more than was answered
	sources    map[string]string       // of dead-letter queues
}

// Check returns what in a history breaks a promise. The history must end with
// everything received: see the rule lost.
func Check(h *History) []Violation {
	c := &checker{
		History: h,
		sends:   make(map[place][]*Call), bodies: make(map[place][]delivery), deliveries: make(map[place][]delivery), groups: make(map[place][]delivery),
		uses: make(map[string][]*Call), claims: make(map[place][]claim), gone: make(map[place]time.Duration),
		unknown: make(map[string][]*Call), sources: make(map[string]string),
	}
	c.index()
	c.claim()
	c.lost()
	c.phantom()
	c.cameBack()
	c.twoHolders()
	c.count()
	c.order()
	c.sequence()
	c.duplicate()
	c.deadLetter()
	slices.SortFunc(c.violations, func(a, b Violation) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text)) })
	return slices.Compact(c.violations)
}

func (c *checker) violated(rule, format string, args ...any) {
	c.violations = append(c.violations, Violation{rule, fmt.Sprintf(format, args...)})
}

func (c *checker) index() {
	slices.SortStableFunc(c.Calls, func(a, b Call) int { return cmp.Compare(a.From, b.From) })
	for name, q := range c.Queues {
		if q.Dead != "" {
			c.sources[q.Dead] = name
		}
	}
	for i := range c.Calls {
		call := &c.Calls[i]
		switch call.Kind {
		case Send:
			if call.Outcome != Refused {
				at := place{call.Queue, call.Message.Body}
				c.sends[at] = append(c.sends[at], call)
			}
		case Receive:
			if call.Outcome == Unknown || call.unseen() {
				c.unknown[call.Queue] = append(c.unknown[call.Queue], call)
			}
			for j := range call.Received {
				d := delivery{call, j}
				at := place{call.Queue, d.message().Body}
				c.bodies[at] = append(c.bodies[at], d)
				at = place{call.Queue, d.message().ID}
				c.deliveries[at] = append(c.deliveries[at], d)
				if c.Queues[call.Queue].FIFO {
					at := place{call.Queue, d.message().Group}
					c.groups[at] = append(c.groups[at], d)
				}
			}
		case Delete, Change:
			c.uses[call.Receipt] = append(c.uses[call.Receipt], call)
		}
	}
}

// claim finds the times for which messages were certainly held, and from when
// on they were certainly gone. A delete on a standard queue is acknowledged, too,
// if the message was received again since: it counts while the claim holds. On a
// FIFO queue a late one is acknowledged if the message is not in that queue any
// more, but perhaps a dead letter.
func (c *checker) claim() {
	for at, ds := range c.deliveries {
		for _, d := range ds {
			m := d.message()
			now := c.History.claim(d.call, m.Body, m.Receipt)
			for _, use := range c.uses[m.Receipt] {
				if use.Kind == Delete && use.Outcome == OK {
					held := c.holds(&now, use.From) && c.holds(&now, use.To)
					if held || c.Queues[at.queue].FIFO {
						c.since(at, use.To)
					}
					if dead := c.Queues[at.queue].Dead; held && dead != "" {
						c.since(place{dead, at.name}, use.To)
					}
				}
				now.over = use.From
				c.claims[at] = append(c.claims[at], now)
				now = claim{from: math.MaxInt64} // none
				if use.Kind == Change && use.Outcome == OK {
					now = c.History.claim(use, m.Body, m.Receipt)
				}
			}
			c.claims[at] = append(c.claims[at], now)
		}
	}
}

func (c *checker) lost() {
	for at, sends := range c.sends {
		for _, s := range sends {
			if s.Outcome == OK && len(c.bodies[at])+len(c.bodies[place{c.Queues[at.queue].Dead, at.name}]) == 0 {
				c.violated("lost", "%s was acknowledged by %s at %v and never received", at.name, at.queue, s.To)
				break
			}
		}
	}
}

func (c *checker) phantom() {
	for at, ds := range c.bodies {
		sends := append(slices.Clone(c.sends[at]), c.sends[place{c.sources[at.queue], at.name}]...)
		if !slices.ContainsFunc(sends, func(s *Call) bool { return s.From <= ds[0].call.To }) {
			c.violated("phantom", "%v was not sent before", ds[0])
		}
	}
}

// since notes that a message is certainly gone from some time on.
func (c *checker) since(at place, when time.Duration) {
	if gone, ok := c.gone[at]; !ok || when < gone {
		c.gone[at] = when
	}
}

func (c *checker) cameBack() {
	for at, gone := range c.gone {
		for _, d := range c.deliveries[at] {
			if d.call.From >= gone {
				c.violated("came back", "%v was deleted before %v", d, gone)
			}
		}
	}
}

func (c *checker) twoHolders() {
	for at, claims := range c.claims {
		q := c.Queues[at.queue]
		for i := range claims {
			held := &claims[i]
			others := c.deliveries[at]
			if q.FIFO {
				others = c.groups[place{at.queue, others[0].message().Group}]
			}
			first, _ := slices.BinarySearchFunc(others, held.from, func(d delivery, t time.Duration) int { return cmp.Compare(d.call.From, t) })
			for _, d := range others[first:] {
				if !c.holds(held, d.call.From) {
					break
				}
				if c.holds(held, d.call.To) && d.message().Receipt != held.receipt {
					c.violated("two holders", "%v, while another receive held %s from %v until %v at least", d, held.body, held.from, held.until)
				}
			}
		}
	}
}

func (c *checker) count() {
	for _, ds := range c.deliveries {
		highest := 0
		var of delivery
		byEnd := slices.Clone(ds)
		slices.SortFunc(byEnd, func(a, b delivery) int { return cmp.Compare(a.call.To, b.call.To) })
		next := 0
		for _, d := range ds {
			for ; next < len(byEnd) && byEnd[next].call.To <= d.call.From; next++ {
				if n := byEnd[next].message().Receives; n > highest {
					highest, of = n, byEnd[next]
				}
			}
			if n := d.message().Receives; n <= highest {
				c.violated("count", "%v comes after %v", d, of)
			}
		}
	}
}

func (c *checker) deadLetter() {
	for name, q := range c.Queues {
		if q.Dead == "" {
			continue
		}
		for at, ds := range c.deliveries {
			if at.queue != name {
				continue
			}
			dead := c.deliveries[place{q.Dead, at.name}]
			for _, d := range ds {
				if d.message().Receives > q.MaxReceives {
					c.violated("dead letter", "%v, the policy allows %d receives", d, q.MaxReceives)
				}
				if len(dead) > 0 && d.call.From >= dead[0].call.To {
					c.violated("dead letter", "%v was a dead letter at %v", d, dead[0].call.To)
				}
			}
		}
		for at, dead := range c.deliveries {
			if at.queue != q.Dead {
				continue
			}
			n := len(c.deliveries[place{name, at.name}])
			unknown := c.unknownReceives(name, dead[0])
			if n+unknown < q.MaxReceives {
				c.violated("dead letter", "%v after %d receives, and %d of an unknown outcome", dead[0], n, unknown)
			}
		}
	}
}

// unknownReceives is how many receives of a queue may have been of a message
// before it was a dead letter.
func (c *checker) unknownReceives(queue string, dead delivery) (n int) {
	sent := time.Duration(math.MaxInt64)
	for _, s := range c.sends[place{queue, dead.message().Body}] {
		sent = min(sent, s.From)
	}
	for _, call := range c.unknown[queue] {
		// What was cut off by the end of its process had no effect after it.
		if c.Processes[c.process(call.From)].To >= sent && call.From <= dead.call.To {
			n++
		}
	}
	return n
}
