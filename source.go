package runnel

import (
	"context"
	"time"
)

// Source is where messages come from: a queue, a topic, a stream. All methods
// may be called by several goroutines at once.
//
// These three methods are all that a connector must have. What else it can do
// it says by implementing [Extender], [Laner], [Backlogger], [Transactor] or [Ordered]:
// they are looked for once, when the source is opened.
type Source interface {
	// Receive returns 1 to lim.Messages deliveries, or none when lim.Wait has
	// passed without one. It blocks for at most lim.Wait. It returns what it
	// has as soon as it has any: it never waits to fill a batch.
	//
	// The caller owns the deliveries that it got and must settle each of
	// them, once. An error means that nothing was delivered; ErrClosed that
	// nothing ever will be.
	//
	// When ctx ends, Receive returns at once, with the cause of ctx as its
	// error and without deliveries: a message that was about to be delivered
	// stays where it was.
	Receive(ctx context.Context, lim Limits) ([]Delivery, error)

	// Settle says what became of messages. It returns nil when all of the
	// settlements are durable. Otherwise a *SettleError names those that did
	// not happen, ErrLeaseLost or ErrLaneLost for the ones whose message
	// belongs to somebody else by now; all others did happen. Any other error
	// means that the fate of all of them is unknown: they will be delivered
	// again, or have been settled.
	Settle(ctx context.Context, s []Settlement) error

	// Close ends the source: a Receive under way returns ErrClosed, and
	// deliveries that were not settled are given back. It waits for that no
	// longer than ctx allows.
	Close(ctx context.Context) error
}

// Limits bounds one Receive.
type Limits struct {
	// Messages is the most deliveries to return; at least 1.
	Messages int
	// Bytes is the most bytes of bodies to return; 0 means no limit. The
	// first message is returned whatever its size.
	Bytes int
	// Wait is how long to wait for a first message; 0 means not at all.
	Wait time.Duration
	// Lease is for how long the messages are to be the caller's, on sources
	// that lease. 0 means the source's own default (a queue's visibility
	// timeout).
	Lease time.Duration
}

// Lane is the unit in which a source keeps order: a Kafka partition, an SQS
// message group, a Service Bus session. Empty on sources without order.
type Lane string

// Delivery is a message on loan from a source.
type Delivery struct {
	Message

	// Lane is the lane that the message came by.
	Lane Lane
	// Position is the message's place in its lane (a Kafka offset, a queue's
	// sequence number). It grows within a lane, and is the same on every
	// delivery of a message. 0 where the source has none.
	Position int64
	// Receives counts deliveries of this message, this one included. Sources
	// that do not know say 1.
	Receives int
	// Attempt counts failures of the function on this message, plus this
	// attempt: 1 on a message that never failed. A source that does not keep
	// failures apart from receives leaves it 0, and dispatch counts.
	Attempt int
	// FirstReceived is when the message was first delivered to anybody; zero
	// where the source does not know.
	FirstReceived time.Time
	// LeaseUntil is when the message goes back to the source unless its lease
	// is extended. Zero: it is the caller's until settled.
	LeaseUntil time.Time
	// Handle is the source's own mark for this delivery. It means nothing to
	// anybody else, and is good for this delivery only.
	Handle any
}

// Verdict says what became of a message.
type Verdict uint8

const (
	// Ack: done. The source forgets the message.
	Ack Verdict = iota
	// Retry: the function failed. The failure is counted, and the message is
	// delivered again after Settlement.After.
	Retry
	// Release: nothing happened to the message. It is delivered again after
	// Settlement.After, as soon as somebody asks, and the receive that this
	// ends is not counted where the source can help it.
	Release
	// GiveUp: the message goes to the source's own dead-letter place with
	// Settlement.Reason. A source that has none refuses with CodeUnsupported;
	// flows with a dead-letter sink do not use it: they send, then Ack.
	GiveUp
)

// String returns the verdict's word in logs.
func (v Verdict) String() string {
	switch v {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case Release:
		return "release"
	case GiveUp:
		return "dead-letter"
	default:
		return "unknown"
	}
}

// Settlement is the verdict on one delivery.
type Settlement struct {
	Delivery *Delivery
	Verdict  Verdict
	// After is how long a Retry or a Release waits. 0: at once. A source waits no longer
	// than it can: Runnel's own queues 12 h.
	After time.Duration
	// Reason is required with GiveUp.
	Reason *DeadLetter
}

// Extender is a source whose deliveries are leased and whose leases can be
// made longer while the work goes on.
type Extender interface {
	// Extend makes the lease of each delivery end no earlier than d from now,
	// and sets LeaseUntil. A *SettleError names the deliveries that could not
	// be extended; for ErrLeaseLost the work on them should stop.
	Extend(ctx context.Context, ds []*Delivery, d time.Duration) error
}

// Laner is a source that hands lanes to this process and takes them away
// again, such as a member of a Kafka consumer group.
type Laner interface {
	// Lanes calls the functions of l as lanes come and go, from a goroutine
	// of the source's own, until ctx ends. None of them may block, but for
	// Revoking, whose done says when the lane was let go.
	Lanes(ctx context.Context, l LaneEvents) error
	// PauseLanes stops deliveries of these lanes, ResumeLanes starts them.
	PauseLanes(lanes ...Lane)
	ResumeLanes(lanes ...Lane)
}

// LaneEvents is what a Laner reports.
type LaneEvents struct {
	// Assigned: this process now owns the lanes.
	Assigned func(lanes []Lane)
	// Revoking: the lanes go to somebody else at the deadline. Calls done
	// when their work has ended and is settled.
	Revoking func(lanes []Lane, deadline time.Time, done func())
	// Lost: the lanes went to somebody else already. Nothing of theirs can be
	// settled any more.
	Lost func(lanes []Lane)
}

// Ordered is a source that says what a flow from it should keep in order where
// the flow says nothing. Others are [OrderNone].
type Ordered interface {
	Order() Order
}

// Backlog is how much work waits in a source.
type Backlog struct {
	// Visible messages could be received now.
	Visible int64
	// InFlight messages are with somebody.
	InFlight int64
	// Delayed messages become visible later, without anybody's doing.
	Delayed int64
	// Oldest is when the oldest waiting message was sent; zero if none waits
	// or the source cannot tell.
	Oldest time.Time
}

// Backlogger is a source that knows how much waits in it.
type Backlogger interface {
	Backlog(ctx context.Context) (Backlog, error)
}

// Transactor is a source that can settle its messages and send others in one
// durable commit.
type Transactor interface {
	// Joins says whether what is sent to sink can be part of this source's
	// transactions.
	Joins(sink Sink) bool
	// Begin starts a transaction. It holds nothing until it commits.
	Begin(ctx context.Context) (Txn, error)
}

// Txn collects settlements and sends, and makes all of them durable at once,
// or none. It is used by one goroutine, and ends with Commit or Abort.
type Txn interface {
	// Settle adds settlements. A *SettleError names the ones whose lease was
	// lost by now; they are not part of the transaction.
	Settle(s []Settlement) error
	// Send adds messages to a sink for which Joins is true. It refuses what
	// Sink.Send would refuse, with the same errors.
	Send(sink Sink, ms []Message) error
	// Commit makes everything that was added durable. On an error nothing of
	// it happened; the settlements' messages are still the caller's.
	Commit(ctx context.Context) error
	// Abort forgets what was added. After Commit it does nothing.
	Abort()
}
