package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel/internal/auth"
)

// maxScanned messages are read for one page of filtered dead letters, and
// scanTime is when no more are begun. The page then holds what was found, and
// says where to go on.
const (
	maxScanned = 1000
	scanTime   = 2 * time.Second
)

// DeadLetters is what the API reads and does of dead letters. They are read
// with Queues.Peek.
type DeadLetters interface {
	// List returns the queues of an account that are the dead-letter place of
	// a flow or a queue, by name.
	List(ctx context.Context, account string) ([]DeadLetterQueue, error)
	// Redrive moves the messages at 1 to 100 positions to the queue called
	// to, or, where to is empty, each to the one it came from. Each move is
	// one commit. What could not be moved is said for each position; an error
	// is of all.
	Redrive(ctx context.Context, account, queue string, positions []int64, to string) (Redriven, error)
}

// DeadLetterQueue is a queue that messages go to which were given up.
type DeadLetterQueue struct {
	Queue    string    `json:"queue"`
	Visible  int64     `json:"visible"`
	InFlight int64     `json:"in_flight"`
	Flows    []string  `json:"flows" doc:"The flows whose dead letters come here."`
	Oldest   time.Time `json:"oldest,omitzero" doc:"When the oldest message was sent."`
}

// Redriven is what became of the messages of a redrive.
type Redriven struct {
	Moved  []int64        `json:"moved" doc:"The positions that were moved."`
	Failed []RedriveFault `json:"failed" doc:"The positions that were not, and stay where they are."`
}

// RedriveFault says why one message was not moved.
type RedriveFault struct {
	Position int64  `json:"position"`
	Message  string `json:"message"`
}

type deadLetterQueuesAnswer struct {
	Body struct {
		Queues []DeadLetterQueue `json:"queues"`
	}
}

func (d *Door) listDeadLetters(ctx context.Context, caller auth.Caller, _ *struct{}) (*deadLetterQueuesAnswer, error) {
	if d.DeadLetters == nil {
		return nil, unsupported("list of dead letters")
	}
	queues, err := d.DeadLetters.List(ctx, caller.Account)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	out := new(deadLetterQueuesAnswer)
	out.Body.Queues = filled(queues)
	for i := range queues {
		queues[i].Flows = filled(queues[i].Flows)
	}
	return out, nil
}

type deadLettersInput struct {
	PeekParams
	Filter string `query:"filter" doc:"An expression over id, type, message, function, version, attempts, key and body (decoded JSON, else text) of each message." example:"type == 'timeout' and body.size > 100"`
}

type deadLettersAnswer struct {
	Body struct {
		Messages []Message `json:"messages"`
		Next     *int64    `json:"next,omitempty" doc:"What after should be to see more. Left out if there was no more. With a filter a page may be short, even empty, and have a next."`
		Unfit    int       `json:"unfit,omitempty" doc:"How many of the messages that were looked at the filter could not be computed for; they are left out."`
		Why      string    `json:"why,omitempty" doc:"Why not for the first of them."`
	}
}

func (d *Door) readDeadLetters(ctx context.Context, caller auth.Caller, in *deadLettersInput) (*deadLettersAnswer, error) {
	f, err := newFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	out := new(deadLettersAnswer)
	body := &out.Body
	body.Messages = []Message{}
	most, from := in.Limit.orDefault(), in.After.from
	for scanned, end := 0, time.Now().Add(scanTime); ; {
		// A filter that passes nearly all would read much that does not fit
		// into the page, one that passes little reads in large parts.
		ms, more, err := d.Queues.Peek(caller.Account, in.Queue, from, max(most-len(body.Messages), f.part()))
		if err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
		for i := range ms {
			fits, err := f.match(&ms[i])
			switch {
			case err != nil && body.Unfit == 0:
				body.Why = err.Error()
				fallthrough
			case err != nil:
				body.Unfit++
			case fits:
				body.Messages = append(body.Messages, ms[i])
			}
			scanned++
			from = ms[i].Position + 1
			full := len(body.Messages) == most || scanned == maxScanned || time.Now().After(end) || ctx.Err() != nil
			if full && (more || i < len(ms)-1) {
				body.Next = &ms[i].Position
				return out, nil
			}
		}
		if !more || len(ms) == 0 {
			return out, nil
		}
	}
}

type redriveInput struct {
	QueuePath
	Body struct {
		Positions []int64 `json:"positions" minItems:"1" maxItems:"100" doc:"Which messages, by their positions."`
		To        string  `json:"to,omitempty" doc:"The queue to move them to. Default: where each came from."`
	}
}

type redriveAnswer struct{ Body Redriven }

func (d *Door) redrive(ctx context.Context, caller auth.Caller, in *redriveInput) (*redriveAnswer, error) {
	if d.DeadLetters == nil {
		return nil, unsupported("redrive")
	}
	done, err := d.DeadLetters.Redrive(ctx, caller.Account, in.Queue, in.Body.Positions, in.Body.To)
	if err != nil {
		return nil, fmt.Errorf("redrive: %w", err)
	}
	done.Moved, done.Failed = filled(done.Moved), filled(done.Failed)
	return &redriveAnswer{done}, nil
}
