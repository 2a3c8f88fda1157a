package runnel

import (
	"time"
)

// MessageID identifies a message. It is given by the source when the message
// is first stored (a UUID in Runnel's own queues) and stays the same across
// redeliveries, dead-lettering and redrive.
type MessageID string

// Message is one unit of work: a body and what travels with it. A Message is
// a value; its Body and Attributes must not be changed after it was handed to
// a Sink or came from a Source.
type Message struct {
	// ID is empty on a message that was not stored yet: the sink gives one.
	ID MessageID

	// Body is the payload, as it came: no encoding is implied. A sink whose
	// system only carries text refuses other bodies with CodeInvalid.
	Body []byte

	// Attributes travel beside the body: SQS message attributes, Kafka
	// headers, AMQP application properties. Order is kept; a name may occur
	// twice where the foreign system allows it.
	Attributes []Attribute

	// Key orders messages, or names a tenant: the Kafka record key, the SQS
	// MessageGroupId, the Service Bus session id. On a standard queue it is
	// for fairness only and orders nothing. Empty means no key.
	Key string

	// DedupID suppresses a second message with the same id wherever the sink
	// knows deduplication; elsewhere it is ignored.
	DedupID string

	// Sent is when the message was first stored. A sink sets it.
	Sent time.Time

	// Delay is how long a sink that knows delays keeps the message invisible
	// after it was stored. Zero means the destination's own default; negative
	// means none whatever that default is.
	Delay time.Duration

	// Sender names who stored the message: the account id of the caller. A
	// door sets it; empty for messages of unknown origin.
	Sender string

	// Trace is the W3C trace context that the message belongs to, a
	// traceparent ("00-...-01"). Empty: none.
	Trace string

	// Hops counts the flows on the message's way, it and those that it was
	// made from; Steps the last of them that returned to their own queue.
	// Dispatch counts, and stops loops by them.
	Hops, Steps int

	// DeadLetter says why this message is a dead letter; nil on all others.
	// Runnel's queues keep it beside the message, foreign sinks as an
	// attribute named "runnel" of at most 4 KiB.
	DeadLetter *DeadLetter
}

// Attribute is one named value beside a body.
type Attribute struct {
	Name string
	// Type is the SQS data type ("String", "Number", "Binary", or one of
	// these with a ".label"). Empty means String.
	Type  string
	Value []byte
}

// Attribute returns the value of the first attribute called name, and whether
// there is one.
func (m *Message) Attribute(name string) ([]byte, bool) {
	for i := range m.Attributes {
		if m.Attributes[i].Name == name {
			return m.Attributes[i].Value, true
		}
	}
	return nil, false
}

// DeadLetter records why a message was given up, by whom, and after what.
type DeadLetter struct {
	// Source is the reference of the source that the message came from, for
	// example "queue:images".
	Source string `json:"source,omitempty"`
	// Type is one word that a program can branch on: a kind of FunctionError,
	// "loop" or "max_receives".
	Type string `json:"type"`
	// Message is the failure in its own words.
	Message string `json:"message,omitempty"`
	// Stack is the stack trace of the last failure, where there is one.
	Stack string `json:"stack,omitempty"`
	// Flow and Function are who gave it up; Version is the version of the
	// function that failed last.
	Flow     string `json:"flow,omitempty"`
	Function string `json:"function,omitempty"`
	Version  string `json:"version,omitempty"`
	// Attempts is how often the function failed on this message. For
	// "max_receives" it is how often a client had received it.
	Attempts int `json:"attempts,omitempty"`
	// First and Last are the times of the first and the last failure.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}
