package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// modelled is what the model knows of a message.
type modelled struct {
	body, group string    // on a standard queue a group is a tenant
	id          string    // of its deduplication, in its scope; empty: one that nobody sends
	of          *line     // where it is; nil: it is gone
	sent        time.Time // by the wall clock, as first and stored.due
	first       time.Time
	delayed     bool
	held        bool      // in flight, also in a back-off
	until       time.Time // held or delayed: when it is visible again
	leasedAt    time.Time
	receives    int
	failures    int
	delivery    *runnel.Delivery // the last one, if it counts
	flow        bool             // it was to the flow
	dead        bool             // it is a dead letter, with its source
	expired     bool             // past its retention and with nobody: it may be gone
	stored      *stored          // what the next process knows; nil: that it was sent
}

// stored is what a mark keeps of a message.
type stored struct {
	receives, failures int
	first, due, leased time.Time
	delayed, held      bool
	delivery           *runnel.Delivery
}

func (s *modelled) visible(at time.Time) bool {
	return !s.held && !s.delayed || !at.Before(s.until)
}

// sentOnce is what a deduplication id was last stored with.
type sentOnce struct {
	at      time.Time // by the clock of deduplication
	told    queue.Sent
	process int
	jumps   int // before that process began
}

// repeatable is what a receive with an attempt id returned.
type repeatable struct {
	ends time.Time
	held []*modelled
	ds   []runnel.Delivery
	due  []time.Time
}

// line is a queue, and what the model knows of it.
type line struct {
	name       string
	fifo       bool
	q          *queue.Queue
	source     runnel.Source
	order      []*modelled           // all messages, in their order
	ids        map[string][]sentOnce // the last one is what counts; see model.stored
	attempts   map[string]*repeatable
	last       int64 // position of what was sent last
	visibility time.Duration
	delay      time.Duration
	retention  time.Duration
	receives   int // of the redrive policy; 0: there is none
	purged     time.Time
}

// ready returns the messages that can be received at a time, by group and in
// order on a FIFO queue, all under "" on a standard one; and those of them that a
// receive must find.
func (l *line) ready(at time.Time) (by map[string][]*modelled, sure []*modelled) {
	by = make(map[string][]*modelled)
	locked, stopped, unsure := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range l.order {
		switch {
		case !l.fifo:
			if s.visible(at) && !s.expired {
				by[""] = append(by[""], s)
			}
		case s.expired:
			// Delayed yet, it is before the others until it is removed.
			unsure[s.group] = unsure[s.group] || !s.visible(at)
		case s.held && !s.visible(at):
			locked[s.group] = true
		case !s.visible(at):
			stopped[s.group] = true
		case !stopped[s.group]:
			by[s.group] = append(by[s.group], s)
		}
	}
	for g := range locked {
		delete(by, g)
	}
	for g, ms := range by {
		if !unsure[g] {
			sure = append(sure, ms...)
		}
	}
	return by, sure
}

// keep is what a mark does.
func (m *model) keep(s *modelled) {
	s.stored = &stored{
		receives: s.receives, failures: s.failures, first: s.first, delivery: s.delivery,
		delayed: s.delayed, held: s.held, due: s.until.Add(m.jump), leased: s.leasedAt.Add(m.jump),
	}
}

// add puts a new message at the end of a queue.
func (m *model) add(l *line, s *modelled) {
	s.of = l
	l.order = append(l.order, s)
}

// drop forgets a message.
func (m *model) drop(s *modelled) {
	l := s.of
	s.of = nil
	l.order = slices.DeleteFunc(l.order, func(o *modelled) bool { return o == s })
}

// look waits until what is due has happened, and finds what has expired.
func (m *model) look() {
	synctest.Wait()
	now, wall := time.Now(), m.wall()
	for _, l := range m.lines() {
		for _, s := range l.order {
			if (s.visible(now) || s.delayed) && wall.Sub(s.sent) > l.retention {
				s.expired = true
			}
		}
	}
}

// revive is for when a retention has grown, the wall clock was put back, or what
// was visible may be held or delayed again: what has expired and was not removed
// yet is a message like others.
func (m *model) revive(rt *rapid.T) {
	for _, l := range m.lines() {
		there := make(map[string]bool)
		for _, p := range peek(rt, l) {
			there[string(p.Body)] = true
		}
		for _, s := range slices.Clone(l.order) {
			if s.expired && !there[s.body] {
				m.drop(s)
			}
			s.expired = false
		}
	}
	m.look()
}

func peek(rt *rapid.T, l *line) []queue.Peeked {
	ps, err := l.q.Peek(0, 10_000)
	if err != nil {
		rt.Fatalf("peek: %v", err)
	}
	return ps
}

// dump shows what the model knows of a group.
func (l *line) dump(group string) string {
	var b strings.Builder
	for _, s := range l.order {
		if s.group == group {
			fmt.Fprintf(&b, "\n%.20s: sent %v, delayed %t, held %t until %v, receives %d, expired %t, stored %+v", s.body, s.sent, s.delayed, s.held, s.until, s.receives, s.expired, s.stored)
		}
	}
	return b.String()
}
