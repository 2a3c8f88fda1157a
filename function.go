package runnel

import (
	"context"
	"time"
)

// Handler answers messages: a Go function, a pool of worker processes, a
// remote endpoint.
type Handler interface {
	// Handle returns one Result per message, in the same order. An error says
	// that the call as a whole failed: it is the failure of every message of
	// in. Use a Result's Err for the failure of one.
	//
	// The context ends at the deadline of the call, when the lease of the
	// messages is lost, and when the flow is stopped; context.Cause says which.
	Handle(ctx context.Context, in []Message) ([]Result, error)
}

// HandlerFunc is a Handler that answers one message at a time.
type HandlerFunc func(ctx context.Context, m Message) (Result, error)

// Handle calls f for each message.
func (f HandlerFunc) Handle(ctx context.Context, in []Message) ([]Result, error) {
	out := make([]Result, len(in))
	for i, m := range in {
		r, err := f(ctx, m)
		if err != nil {
			r = Result{Err: err}
		}
		out[i] = r
	}
	return out, nil
}

// Result is the answer to one message: messages to publish, or an error.
type Result struct {
	// Out is what goes to the flow's sinks. Empty: nothing to publish, which
	// is a success.
	Out []Message
	// Err is the failure of this message. It may be the error of Retry or
	// Reject, which say what to do; any other is retried by the flow's rules.
	Err error
}

// Capacity is a handler that can be full. Dispatch asks before each call.
type Capacity interface {
	// Acquire waits until a call can start and returns the function that
	// gives the place back, or an error when ctx ends first. A message that
	// found no place is released: being busy is never an attempt.
	Acquire(ctx context.Context) (release func(), err error)
}

// Call is what a handler can know of the call that it is in. See CallFrom.
type Call struct {
	// Message is the id of the message; on a batch, of its first.
	Message MessageID
	// Attempt is 1 on the first try of this message.
	Attempt int
	// Invocation identifies this call; every attempt has its own.
	Invocation string
	// Deadline is when the call is given up.
	Deadline time.Time
}

type callKey struct{}

// WithCall returns a context that carries c. Dispatch calls it.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom returns the call that a handler's context belongs to.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(Call)
	return c, ok
}
