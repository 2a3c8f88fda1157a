package history

import (
	"sort"
	"time"
)

// Kind is what a call does.
type Kind uint8

// The kinds of calls. The entries of a batch are calls of their own.
const (
	Send Kind = iota
	Receive
	Delete
	Change // of the visibility timeout
)

// Outcome is what a client knows of a call.
type Outcome uint8

// The outcomes.
const (
	OK      Outcome = iota
	Refused         // by an answer: it had no effect
	Unknown         // there was no answer
)

// Call is one call of a client.
type Call struct {
	Kind     Kind
	Queue    string
	From, To time.Duration // when it was made and answered
	Outcome  Outcome
	Timeout  time.Duration // Receive, Change: the visibility timeout
	Receipt  string        // Delete, Change
	Message  Message       // Send: ID and Sequence as they were told
	Received []Message     // Receive, in their order; one of nothing may be left out if its Timeout is longer than it took
}

// unseen says whether the visibility timeouts of a receive may have ended before
// its answer: what was deleted or moved in between, it does not have.
func (c *Call) unseen() bool { return c.Timeout <= c.To-c.From }

// Message is a message as its sender or a receiver sees it. Its body tells it
// from all others; who sends it again gives the same deduplication id.
type Message struct {
	Body, ID, Group string
	Sequence        uint64 // FIFO
	Receipt         string
	Receives        int
}

// Queue is what the checker must know of a queue.
type Queue struct {
	FIFO        bool
	Dead        string // the dead-letter queue, or empty
	MaxReceives int    // of the redrive policy
}

// Process is one process of the server, from before its start until after its
// end. No two are there at once.
type Process struct {
	From, To time.Duration
	// Clock is what its wall clock is ahead: the first from its start on.
	Clock []Jump
}

// Jump sets the wall clock at some moment from From to To.
type Jump struct {
	From, To time.Duration
	Ahead    time.Duration
}

// History is all that was seen.
type History struct {
	Queues    map[string]Queue
	Processes []Process // in their order
	Calls     []Call    // in any order
}

// slack is for the milliseconds of stored times, and the wall clock of the
// machine that runs not quite as fast as its monotonic one.
const slack = 50 * time.Millisecond

// process returns the index of the process that a call was made to.
func (h *History) process(at time.Duration) int {
	return max(0, sort.Search(len(h.Processes), func(i int) bool { return h.Processes[i].From > at })-1)
}

// ahead returns the least and the most that the wall clock was ahead in some
// time of one process.
func (h *History) ahead(from, to time.Duration) (least, most time.Duration) {
	clock := h.Processes[h.process(from)].Clock
	first := true
	for i, j := range clock {
		if j.From > to || i+1 < len(clock) && clock[i+1].To < from {
			continue
		}
		if first {
			least, most, first = j.Ahead, j.Ahead, false
		}
		least, most = min(least, j.Ahead), max(most, j.Ahead)
	}
	return least, most
}

// claim is a time for which somebody certainly holds a message.
type claim struct {
	body, receipt string
	from, until   time.Duration // until may be more, never less, if no process ends
	process       int
	ahead         time.Duration // of the wall clock when it was stored, at the least
	over          time.Duration // when the holder did something else about it
}

// claim is the one that a call begins.
func (h *History) claim(c *Call, body, receipt string) claim {
	least, _ := h.ahead(c.From, c.To)
	return claim{body, receipt, c.To, c.From + c.Timeout - slack, h.process(c.From), least, 1<<63 - 1}
}

// holds says whether the claim certainly holds at a time: it did not end in
// any process until then. A later process knows its end by the wall clock.
func (h *History) holds(c *claim, at time.Duration) bool {
	if at < c.from || at > c.over {
		return false
	}
	last := h.process(at)
	for i := c.process; i <= last; i++ {
		until := c.until
		if i > c.process {
			until += c.ahead - h.Processes[i].Clock[0].Ahead
		}
		if until < min(at, h.Processes[i].To) {
			return false
		}
	}
	return true
}
