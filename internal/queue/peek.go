package queue

import (
	"time"

	"github.com/runnel-io/runnel"
)

// Peeked is a message as somebody sees it who only looks.
type Peeked struct {
	runnel.Message
	// Position is the message's place in the queue.
	Position int64
	// State is "visible", "in flight" or "delayed".
	State string
	// Until is when an invisible message becomes visible; zero otherwise.
	Until time.Time
	// Receives and Failures are its counts.
	Receives, Failures int
}

// Peek returns up to most messages from position on, in their order, and
// changes nothing: nobody's receive, no count, no timeout.
func (q *Queue) Peek(position int64, most int) ([]Peeked, error) {
	var out []Peeked
	var damaged error
	q.mu.Lock()
	lo, hi := max(uint64(max(position, 0)), q.trimmed), q.tail
	first := q.waitsFrom() // nothing below it and all leases exists
	for _, l := range q.leases {
		first = min(first, l.n)
	}
	q.mu.Unlock()
	err := q.series.Records(max(lo, first), hi, func(n uint64, record []byte) bool {
		if len(out) >= most {
			return false
		}
		p := Peeked{Position: int64(n)}
		if damaged = decodeRecord(append([]byte(nil), record...), &p.Message); damaged != nil {
			return false
		}
		out = append(out, p)
		return true
	})
	if err == nil {
		err = damaged
	}
	if err != nil {
		return nil, unavailable("peek", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	wall, now := q.set.opt.Now(), q.set.mono()
	for i := range out {
		p := &out[i]
		p.State = "visible"
		l := q.leases[uint64(p.Position)]
		if l == nil {
			continue
		}
		p.Receives, p.Failures = int(l.receives), int(l.failures)
		switch l.state {
		case leased:
			p.State = "in flight"
		case delayed:
			p.State = "delayed"
		case returned:
			continue
		}
		p.Until = wall.Add(time.Duration(l.due - now))
	}
	return out, nil
}
