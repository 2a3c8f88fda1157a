package runnel

import (
	"fmt"
	"strings"
	"time"
)

// Ref names a source or a sink: "queue:images", "kafka:main/orders?group=g",
// "sqs:https://...". The part before the first colon is the kind, the rest is
// in the terms of that kind.
type Ref string

// Split returns the kind and the rest of r, or an error that says what a
// reference looks like.
func (r Ref) Split() (kind, rest string, err error) {
	kind, rest, ok := strings.Cut(string(r), ":")
	if !ok || kind == "" || rest == "" {
		return "", "", Errorf(CodeInvalid, "reference %q: want KIND:NAME, for example queue:images", string(r))
	}
	return kind, rest, nil
}

// Flow takes messages from one source, calls one function with them, and
// sends what it returns to zero or more sinks.
type Flow struct {
	// Name is unique within the account.
	Name string
	// From is the source.
	From Ref
	// Call names the function and, after an "@", the version or alias.
	Call string
	// To are the sinks of the returned value. Empty: results are dropped.
	To []Ref
	// Concurrency is the most calls in flight. Default 8.
	Concurrency int
	// Batch says how many messages one call may hold.
	Batch Batch
	// Retry says how often and when a failed message is tried again.
	Retry RetryPolicy
	// DeadLetter is where a message goes that was given up. Empty on sources
	// with a dead-letter place of their own.
	DeadLetter Ref
}

// Batch bounds the messages of one call.
type Batch struct {
	// Size is the most messages in one call. Default 1.
	Size int
	// Window is how long to wait for more once there is one. Default 0.
	Window time.Duration
}

// RetryPolicy says how failures are repeated.
type RetryPolicy struct {
	// MaxAttempts is how many failures a message may have; the last one makes
	// it a dead letter. Default 5.
	MaxAttempts int
	// Initial is the wait after the first failure; it doubles with each
	// further one up to Max, and is spread by up to 20 %. Defaults 1s, 5m.
	Initial, Max time.Duration
}

// FieldError is one fault in a configuration, with the path of the field that
// has it, as in "flows.resize.batch.size".
type FieldError struct {
	Path string
	Err  error
}

// Error returns path and fault.
func (e *FieldError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the fault.
func (e *FieldError) Unwrap() error { return e.Err }
