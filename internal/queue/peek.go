package queue

import (
	"errors"
	"math"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Peeked is a message as somebody sees it who only looks.
type Peeked struct {
	runnel.Message
	// Position is the message's place in the queue.
	Position int64
	// State is StateVisible, StateInFlight or StateDelayed.
	State string
	// Until is when an invisible message becomes visible; zero otherwise.
	Until time.Time
	// Receives and Failures are its counts.
	Receives, Failures int
}

// Peek returns up to most messages from position on, in their order, and
// changes nothing: nobody's receive, no count, no timeout.
func (q *Queue) Peek(position int64, most int) ([]Peeked, error) {
	page, err := q.search(func() error { return nil }, position, &Search{}, SearchLimits{
		Messages: most, Bytes: math.MaxInt, Looked: math.MaxInt, Time: math.MaxInt64,
	})
	return page.Messages, err
}

func isGone(err error) bool { return errors.Is(err, store.ErrNotFound) }
