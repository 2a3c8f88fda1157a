package runnel

import (
	"errors"
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
// sends what it returns to zero or more sinks. The tags are its names in a
// spec file and in the API.
type Flow struct {
	// Name is unique within the account: 1 to 64 letters, digits, hyphens and
	// underscores.
	Name string `json:"name"`
	// From is the source.
	From Ref `json:"from"`
	// Call names the function and, after an "@", the version or alias; @live
	// where nothing is said.
	Call string `json:"call"`
	// To are the sinks of the returned value. Empty: results are dropped.
	To []Ref `json:"to,omitempty"`
	// Split publishes each element of a returned list as a message of its own.
	Split bool `json:"split,omitempty"`
	// Concurrency is the most calls in flight, 1 to 1000. Default 8.
	Concurrency int `json:"concurrency,omitempty"`
	// Parked is the most messages that wait inside for a call: for the turn
	// of their key, or for a batch to fill. Default 4 x Concurrency x the
	// batch size. Their bodies are bounded to 16 MiB besides.
	Parked int `json:"parked,omitempty"`
	// Batch says how many messages one call may hold.
	Batch Batch `json:"batch,omitzero"`
	// Order says which messages never overtake each other.
	Order Order `json:"order,omitempty"`
	// Payload is how the function sees a message. Default json.
	Payload Payload `json:"payload,omitempty"`
	// ReportBatchItemFailures makes the flow read batchItemFailures in the
	// answer to an event. Without it an answer means that all succeeded.
	ReportBatchItemFailures bool `json:"report_batch_item_failures,omitempty"`
	// Filter is an expression (expr-lang); a message for which it is false is
	// acked without a call. Empty: all messages.
	Filter string `json:"filter,omitempty"`
	// Retry says how often and when a failed message is tried again.
	Retry RetryPolicy `json:"retry,omitzero"`
	// DeadLetter is where a message goes that was given up. Empty: to the
	// dead-letter place of the source, or to ImpliedDeadLetter.
	DeadLetter Ref `json:"dead_letter,omitempty"`
	// WhenBusy says what becomes of a message for which there is no worker.
	WhenBusy WhenBusy `json:"when_busy,omitempty"`
	// RequeueDelay is when such a message is tried again with WhenBusy
	// requeue. Default 5m, at most 12h.
	RequeueDelay time.Duration `json:"requeue_delay,omitempty"`
	// Timeout is how long a call of this flow may take, to 12h: that of the
	// function bounds it. 0: that of the function.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Ack says when a message is settled. Default done. With accepted that is as
	// soon as it is in AcceptedQueue.
	Ack AckMode `json:"ack,omitempty"`
	// MaxSteps is how often a record may go round where the flow returns to
	// its own queue. Default 1000.
	MaxSteps int `json:"max_steps,omitempty"`
}

// Batch bounds the messages of one call.
type Batch struct {
	// Size is the most messages in one call, 1 to 1000. Default 1.
	Size int `json:"size,omitempty"`
	// Window is how long to wait for more once there is one, at most 5m.
	// Default 0.
	Window time.Duration `json:"window,omitempty"`
	// As says how a function gets several: "each" (default) calls it once per
	// message, "list" once with a list, and wants a list of as many back.
	As string `json:"as,omitempty"`
}

// RetryPolicy says how failures are repeated.
type RetryPolicy struct {
	// MaxAttempts is how many failures a message may have; the last one makes
	// it a dead letter. 1 to 1000, default 5.
	MaxAttempts int `json:"max_attempts,omitempty"`
	// Initial is the wait after the first failure; it doubles with each
	// further one up to Max, and is spread by up to 20 %. Defaults 1s, 5m; at
	// most 12h.
	Initial time.Duration `json:"initial,omitempty"`
	Max     time.Duration `json:"max,omitempty"`
}

// Order says which messages of a flow never overtake each other.
type Order string

// The orders. Where a flow says none, the source does: sources that keep order
// by key give OrderKey, others OrderNone.
const (
	OrderNone Order = "none"
	OrderKey  Order = "key"  // Message.Key: those without one are not ordered
	OrderLane Order = "lane" // Delivery.Lane
)

// Payload is how a function sees a message.
type Payload string

// The payloads.
const (
	PayloadJSON       Payload = "json"        // the body, decoded
	PayloadText       Payload = "text"        // the body, a string
	PayloadBytes      Payload = "bytes"       // the body as it is
	PayloadSQSEvent   Payload = "sqs-event"   // AWS Lambda's event: {"Records": [...]}
	PayloadSQSMessage Payload = "sqs-message" // as ReceiveMessage returns it: {"MessageId", "Body" ...}
	PayloadAlgorithm  Payload = "algorithmia" // the body decoded if it is JSON, else a string, else bytes
)

// AckMode says when a message is settled.
type AckMode string

// The two moments.
const (
	AckWhenDone     AckMode = "done"     // the function has ended, and what it returned is confirmed
	AckWhenAccepted AckMode = "accepted" // the message is durable in a queue of the flow's own, from which the function is called
)

// WhenBusy says what becomes of a message for which there is no worker.
type WhenBusy string

// The two ways.
const (
	BusyWait    WhenBusy = "wait"    // it waits, its lease is kept
	BusyRequeue WhenBusy = "requeue" // it is released, to come again after Flow.RequeueDelay
)

// ImpliedDeadLetter is the queue for the dead letters of a flow that names none,
// where its source has none either: it is called as the flow, with "-dead"
// behind, and a FIFO queue if the source is one.
func (f Flow) ImpliedDeadLetter() string {
	if IsFIFO(string(f.From)) {
		return f.Name + "-dead" + FIFOSuffix
	}
	return f.Name + "-dead"
}

// AcceptedQueue is the queue of a flow with AckWhenAccepted that holds what it
// has accepted: it is called as the flow, with "-accepted" behind, and a FIFO
// queue if the source is one.
func (f Flow) AcceptedQueue() string {
	if IsFIFO(string(f.From)) {
		return f.Name + "-accepted" + FIFOSuffix
	}
	return f.Name + "-accepted"
}

// WithDefaults returns f with every default filled in, except for Order and
// DeadLetter, which depend on the source.
func (f Flow) WithDefaults() Flow {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	wait := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&f.Concurrency, 8)
	set(&f.Batch.Size, 1)
	set(&f.Parked, 4*f.Concurrency*f.Batch.Size)
	set(&f.Retry.MaxAttempts, 5)
	set(&f.MaxSteps, 1000)
	wait(&f.Retry.Initial, time.Second)
	wait(&f.Retry.Max, max(5*time.Minute, f.Retry.Initial))
	wait(&f.RequeueDelay, 5*time.Minute)
	if f.Batch.As == "" {
		f.Batch.As = "each"
	}
	if f.Payload == "" {
		f.Payload = PayloadJSON
	}
	if f.WhenBusy == "" {
		f.WhenBusy = BusyWait
	}
	if f.Ack == "" {
		f.Ack = AckWhenDone
	}
	return f
}

// Validate returns every fault, joined; each is a *FieldError. What the names
// in it refer to is not looked at, nor is the filter compiled.
func (f Flow) Validate() error {
	var v faults
	v.name("name", f.Name)
	v.ref("from", f.From, true)
	if f.Call == "" {
		v.add("call", "names no function: want for example call: resize or call: demo/resize@live")
	}
	for i, to := range f.To {
		v.ref(fmt.Sprintf("to[%d]", i), to, true)
	}
	v.ref("dead_letter", f.DeadLetter, false)
	v.number("concurrency", f.Concurrency, 1, 1000)
	v.number("parked", f.Parked, 1, 1_000_000)
	v.number("max_steps", f.MaxSteps, 1, 1_000_000)
	v.number("batch.size", f.Batch.Size, 1, 1000)
	v.number("retry.max_attempts", f.Retry.MaxAttempts, 1, 1000)
	v.duration("batch.window", f.Batch.Window, 5*time.Minute)
	v.duration("retry.initial", f.Retry.Initial, 12*time.Hour)
	v.duration("retry.max", f.Retry.Max, 12*time.Hour)
	v.duration("requeue_delay", f.RequeueDelay, 12*time.Hour)
	v.duration("timeout", f.Timeout, 12*time.Hour)
	if f.Retry.Max > 0 && f.Retry.Max < f.Retry.Initial {
		v.add("retry.max", "%s is shorter than retry.initial, %s", f.Retry.Max, f.Retry.Initial)
	}
	v.word("batch.as", f.Batch.As, "each", "list")
	v.word("order", string(f.Order), string(OrderNone), string(OrderKey), string(OrderLane))
	v.word("payload", string(f.Payload), string(PayloadJSON), string(PayloadText), string(PayloadBytes), string(PayloadSQSEvent), string(PayloadSQSMessage), string(PayloadAlgorithm))
	v.word("when_busy", string(f.WhenBusy), string(BusyWait), string(BusyRequeue))
	v.word("ack", string(f.Ack), string(AckWhenDone), string(AckWhenAccepted))
	if f.Payload == PayloadAlgorithm && f.Batch.Size > 1 {
		v.add("batch.size", "is 1 with payload: algorithmia: each message has a form of its own")
	}
	if f.Payload == PayloadAlgorithm && f.Batch.As == "list" {
		v.add("batch.as", "is each with payload: algorithmia: each message has a form of its own")
	}
	if f.Payload == PayloadSQSEvent {
		if f.Batch.As == "list" {
			v.add("batch.as", "an event holds all messages of a call already: leave it out with payload: sqs-event")
		}
		if len(f.To) > 0 {
			v.add("to", "what a handler of events returns is never published: leave it out with payload: sqs-event")
		}
	} else if f.ReportBatchItemFailures {
		v.add("report_batch_item_failures", "is for payload: sqs-event")
	}
	if f.Split && len(f.To) == 0 {
		v.add("split", "there is nothing to split without to")
	}
	return v.err()
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

// faults collects the faults of a configuration. Zero values are those of
// fields about which nothing was said, and are no faults where a field has a
// default.
type faults []error

func (v *faults) err() error { return errors.Join(*v...) }

func (v *faults) add(path, format string, args ...any) {
	*v = append(*v, &FieldError{Path: path, Err: fmt.Errorf(format, args...)})
}

func (v *faults) name(path, name string) {
	if name == "" || len(name) > 64 || strings.Trim(name, nameBytes) != "" {
		v.add(path, "%q is not a name: want 1 to 64 letters, digits, hyphens and underscores", name)
	}
}

const nameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

func (v *faults) ref(path string, r Ref, needed bool) {
	if r == "" && !needed {
		return
	}
	if r == "" {
		v.add(path, "is missing: want KIND:NAME, for example queue:images")
		return
	}
	if _, _, err := r.Split(); err != nil {
		v.add(path, "%w", err)
	}
}

func (v *faults) number(path string, n, least, most int) {
	if n != 0 && (n < least || n > most) {
		v.add(path, "%d is not between %d and %d", n, least, most)
	}
}

func (v *faults) duration(path string, d, most time.Duration) {
	if d < 0 || d > most {
		v.add(path, "%s is not between 0s and %s", d, most)
	}
}

func (v *faults) size(path string, n, least, most Size) {
	if n != 0 && (n < least || n > most) {
		v.add(path, "%s is not between %s and %s", n, least, most)
	}
}

func (v *faults) word(path, word string, words ...string) {
	if word == "" {
		return
	}
	for _, w := range words {
		if word == w {
			return
		}
	}
	v.add(path, "%q is not one of %s", word, strings.Join(words, ", "))
}
