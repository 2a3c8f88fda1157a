package runnel

import (
	"context"
	"errors"
	"time"
)

// Handler answers messages: a Go function, or a worker process behind an
// envelope.
type Handler interface {
	// Handle returns one Result per message, in the same order. An error says
	// that the call as a whole failed: it is the failure of every message of
	// in, unless it is ErrInterrupted. Use a Result's Err for the failure of
	// one.
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

// Timed is a handler whose calls have a deadline of their own. Its end cancels
// the context of the call; a Go handler cannot be killed, and the place and the
// messages of a call stay held until it returns.
type Timed interface {
	// Timeout is how long a call may take; 0 means no limit.
	Timeout() time.Duration
}

// WithTimeout returns h with a deadline for its calls.
func WithTimeout(h Handler, d time.Duration) Handler { return timed{h, d} }

type timed struct {
	Handler
	timeout time.Duration
}

// Timeout implements Timed.
func (t timed) Timeout() time.Duration { return t.timeout }

// Result is the answer to one message: messages to publish, or an error.
type Result struct {
	// Out is what goes to the flow's sinks. Empty: nothing to publish, which
	// is a success.
	Out []Message
	// Err is the failure of this message. It may be the error of RetryAfter
	// or Reject, which say what to do, or a *FunctionError; any is retried by
	// the flow's rules unless it is a rejection.
	Err error
}

// Capacity is a handler that can be full, or whose version can change between
// two calls. Dispatch asks it before each call.
type Capacity interface {
	// Acquire waits until a call can start and returns the place for it, or an
	// error when ctx ends first. A message that found no place is released:
	// being busy is never an attempt.
	Acquire(ctx context.Context) (Place[Handler], error)
}

// Place is the right to one call, of a Handler or an Invoker.
type Place[C any] struct {
	// Call answers the one call.
	Call C
	// Version is what answers: the content hash of a function's code. Empty
	// for Go handlers.
	Version string
	// Timeout is how long the call may take; 0 means no limit.
	Timeout time.Duration
	// Release gives the place back. It is called once, after the call.
	Release func()
}

// Call is what a handler can know of the call that it is in. See CallFrom.
type Call struct {
	// Flow is the name of the flow that calls; empty for other doors.
	Flow string
	// Message is the id of the message; on a batch, of its first.
	Message MessageID
	// Attempt is 1 on the first try of this message.
	Attempt int
	// Attempts are those of each message of a batch.
	Attempts []int
	// FirstReceived is when each was first delivered to anybody; zero where
	// the source does not know.
	FirstReceived []time.Time
	// Invocation identifies this call; every attempt has its own.
	Invocation string
	// Deadline is when the call is given up; zero means never.
	Deadline time.Time
}

type callKey struct{}

// WithCall returns a context that carries c. Dispatch calls it.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom returns the call that a handler's context belongs to.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		return Call{}, false
	}
	return *c, true
}

// ErrInterrupted is the error of a call that ended for a reason that is not
// its messages': the worker was drained, recycled, or killed by the deadline
// of another call. They are released; it is not an attempt.
var ErrInterrupted = errors.New("interrupted")

// The kinds of failures of a function, which are also the types of dead
// letters.
const (
	KindError       = "error"         // the handler raised, threw or returned an error
	KindTimeout     = "timeout"       // no answer within the function's timeout
	KindCrash       = "crash"         // the worker process died
	KindOutOfMemory = "out_of_memory" // it wanted more memory than it may have
	KindUndecodable = "undecodable"   // the body is not what the flow's payload promises
	KindRejected    = "rejected"      // the function's word that it can never succeed
	KindOutput      = "output"        // what it returned cannot be published
)

// FunctionError is a failure of a function, in its own words.
type FunctionError struct {
	// Kind is one of the constants above.
	Kind string `json:"kind"`
	// Name is the language's name of the error, as in "ValueError".
	Name    string `json:"name,omitempty"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
}

// Error returns the name and the message.
func (e *FunctionError) Error() string {
	if e.Name == "" {
		return e.Kind + ": " + e.Message
	}
	return e.Name + ": " + e.Message
}

// Invoker calls workers of one version: what a pool of processes is, and what
// doors without messages use.
type Invoker interface {
	// Invoke makes one call and returns one Answer per item, in their order.
	//
	// An error is of the call as a whole: a *FunctionError with the kind
	// timeout, crash or out_of_memory when the worker did not survive it,
	// error when a handler that takes a list failed; or ErrInterrupted.
	Invoke(ctx context.Context, in *Invocation) ([]Answer, error)
}

// Format is how a payload is seen: by a handler, or by who reads its answer.
type Format uint8

// The formats. None is an answer without a value: null, None, undefined.
const (
	FormatJSON Format = iota
	FormatText
	FormatBytes
	FormatNone
)

// String returns the word for f.
func (f Format) String() string {
	switch f {
	case FormatJSON:
		return "json"
	case FormatText:
		return "text"
	case FormatBytes:
		return "bytes"
	case FormatNone:
		return "none"
	default:
		return "unknown"
	}
}

// Invocation is one call of a worker. The deadline is that of the context.
type Invocation struct {
	// ID is unique; it stands in the worker's log lines.
	ID string
	// Flow is who calls; empty for doors without a flow.
	Flow string
	// Caller is whom the call is made for; nil: the function's owner.
	Caller *Principal
	// Format is what the handler gets for each payload: the decoded value, a
	// string, or bytes.
	Format Format
	// List calls the handler once, with a list of all values, and wants a list
	// of as many back. Otherwise it is called once per item.
	List bool
	// Items are the payloads; at least one.
	Items []Item
}

// Principal is whom a call is made for. What the function does with the key
// that its worker has, it does for this account.
type Principal struct {
	// Account is the name, ID the 12 digits.
	Account, ID string
	// Session is the id of the first invocation of the chain of calls that this
	// one belongs to, Depth how many there are before it, and Parent the one
	// that made it. Empty and 0 for the first.
	Session, Parent string
	Depth           int
	// Permissions are what the function may do for the account: those of the key
	// that the call was made with, or fewer. The zero value is nothing.
	Permissions Permissions
	// Organizations are those that the account is a member of.
	Organizations []string
}

// Item is one payload of an invocation.
type Item struct {
	Payload []byte
	// Message and Attempt are what the handler's context says of it.
	Message MessageID
	Attempt int
	// Key, Attributes and Trace are the message's own.
	Key        string
	Attributes []Attribute
	Trace      string
}

// Answer is what a handler returned for one item. Err is a *FunctionError, or
// the error of RetryAfter or Reject.
type Answer struct {
	Format  Format
	Payload []byte
	Err     error
}
