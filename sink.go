package runnel

import "context"

// Sink is where messages go. Both methods may be called by several goroutines
// at once.
type Sink interface {
	// Send stores messages and returns nil when all of them are confirmed:
	// durable in the receiving system, by its own definition of the word. A
	// *SendError names those that were not stored; all others were. Any other
	// error means that the fate of all of them is unknown.
	//
	// Messages of one call are stored in their order where the system keeps
	// order. Send neither keeps nor changes ms after it returned.
	Send(ctx context.Context, ms []Message) error

	// Close ends the sink after the Sends under way, or when ctx ends.
	Close(ctx context.Context) error
}

// SendLimits are the most that a sink takes.
type SendLimits struct {
	// Messages in one Send, and BatchBytes of their bodies and attributes
	// together. 0 means no limit.
	Messages, BatchBytes int
	// MessageBytes is the largest single message, body and attributes.
	MessageBytes int
}

// Limiter is a sink that knows its limits. They are asked for before each
// Send, since they may be settings of the destination that change.
type Limiter interface {
	Limits() SendLimits
}
