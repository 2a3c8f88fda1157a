package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Queues is what the API reads and does of queues. A queue that does not
// exist is CodeNotFound.
type Queues interface {
	// List returns the queues of an account, by name.
	List(ctx context.Context, account string) []Queue
	// Peek returns up to most messages from position on, in their order, and
	// whether there are more. It may return fewer than there are, but not
	// none, and changes nothing.
	Peek(account, queue string, position int64, most int) (ms []Message, more bool, err error)
	// Search is Peek for what fits. A page may have fewer messages than there
	// are, or none, and more.
	Search(ctx context.Context, account, queue string, position int64, s *Search, most int) (SearchPage, error)
	// Purge removes all messages. Again within 60 s it is CodeLimit.
	Purge(account, queue string) error
}

// QueueChanges is what the API changes of queues, and what it sends. A queue
// that does not exist is CodeNotFound.
type QueueChanges interface {
	// Find returns one queue.
	Find(ctx context.Context, account, name string) (Queue, error)
	// Put creates the queue, or gives the one of that name these settings: a
	// field about which nothing is said gets its default. A setting out of
	// its limits is CodeInvalid, a queue that a spec file owns CodeConflict.
	Put(ctx context.Context, account string, q runnel.Queue) (Queue, error)
	// Delete removes a queue. It is CodeConflict if it holds messages and
	// force is not set, if a flow uses it, or if a spec file owns it.
	Delete(ctx context.Context, account, name string, force bool) error
	// Pause has receives find nothing, or end that. It is allowed where a spec
	// file owns the queue, and remembered across restarts; pausing twice is
	// pausing once.
	Pause(ctx context.Context, account, name string, paused bool) (Queue, error)
	// SetDelivery sets both. It is CodeInvalid out of their limits and on a FIFO
	// queue, and CodeConflict if a spec file owns the queue.
	SetDelivery(ctx context.Context, account, name, delivery string, duplicate float64) (Queue, error)
	// Transfer moves messages to another queue of the account, or sends copies
	// of them there.
	Transfer(ctx context.Context, account, queue string, t Transfer) (Transferred, error)
	// Send stores messages and returns their ids, in their order. A
	// *runnel.SendError says which were not stored; all others were.
	Send(ctx context.Context, account, queue string, ms []runnel.Message) ([]runnel.MessageID, error)
}

// Queue is a queue, its depth now, and what happened since the server started.
type Queue struct {
	Account string `json:"account"`
	Name    string `json:"name"`

	Visible  int64 `json:"visible"`
	InFlight int64 `json:"in_flight"`
	Delayed  int64 `json:"delayed"`

	Settings  Settings  `json:"settings"`
	Paused    bool      `json:"paused" doc:"Receives find nothing, until the queue is resumed."`
	Oldest    time.Time `json:"oldest,omitzero" doc:"When the first visible message was sent."`
	OwnerFile string    `json:"owner_file" doc:"The spec file that owns the queue; only an apply of it changes the queue. Empty: none."`
	Created   time.Time `json:"created"`
	Modified  time.Time `json:"modified"`

	Stats QueueStats `json:"stats"`
}

// Settings are the settings of a queue. Durations are as in "1m30s".
type Settings struct {
	VisibilityTimeout Duration          `json:"visibility_timeout"`
	Delay             Duration          `json:"delay"`
	Retention         Duration          `json:"retention"`
	ReceiveWait       Duration          `json:"receive_wait"`
	MaxMessageBytes   int               `json:"max_message_bytes"`
	FIFO              *FIFO             `json:"fifo,omitempty" doc:"The settings that only FIFO queues have."`
	DeadLetter        *DeadLetter       `json:"dead_letter,omitempty"`
	RedriveAllow      *RedriveAllow     `json:"redrive_allow,omitempty" doc:"Which queues may name this one as their dead-letter queue. Missing: all."`
	Delivery          string            `json:"delivery,omitempty" doc:"shuffle, or left out."`
	Duplicate         float64           `json:"duplicate,omitempty"`
	Tags              map[string]string `json:"tags,omitempty"`
}

// FIFO are the settings that only FIFO queues have.
type FIFO struct {
	ContentBasedDeduplication bool   `json:"content_based_deduplication"`
	DeduplicationScope        string `json:"deduplication_scope" enum:"queue,messageGroup"`
	FIFOThroughputLimit       string `json:"fifo_throughput_limit" enum:"perQueue,perMessageGroupId" doc:"Kept, and without effect: nothing is throttled."`
}

// RedriveAllow is a runnel.RedriveAllow in JSON.
type RedriveAllow struct {
	Permission   string   `json:"permission" doc:"allowAll, denyAll or byQueue."`
	SourceQueues []string `json:"source_queues,omitempty" doc:"With byQueue: 1 to 10 queues of the account."`
}

// DeadLetter says where messages go that clients received too often.
type DeadLetter struct {
	Queue       string `json:"queue"`
	MaxReceives int    `json:"max_receives"`
}

// QueueStats count since the server started.
type QueueStats struct {
	Sent         uint64 `json:"sent"`
	Received     uint64 `json:"received"`
	Deleted      uint64 `json:"deleted"`
	Expired      uint64 `json:"expired"`
	DeadLettered uint64 `json:"dead_lettered"`
	Duplicated   uint64 `json:"duplicated" doc:"Of received, second deliveries that the queue's duplicate asked for."`
	Moved        uint64 `json:"moved" doc:"Moved out by hand or by a move task."`
	Deduplicated uint64 `json:"deduplicated,omitempty" doc:"Of a FIFO queue: sends that were not stored, as duplicates."`
	Groups       int    `json:"groups,omitempty" doc:"Of a FIFO queue: message groups with a message in flight, or waiting in memory."`
	Locked       int    `json:"groups_locked,omitempty" doc:"Of these, those with a message in flight."`
	Receivers    int    `json:"receivers" doc:"Clients that wait for a message now."`
}

// queuesAnswer lists queues.
type queuesAnswer struct {
	Body struct {
		Queues []Queue `json:"queues"`
	}
}

func (d *Door) listQueues(ctx context.Context, caller auth.Caller, _ *struct{}) (*queuesAnswer, error) {
	out := new(queuesAnswer)
	out.Body.Queues = filled(d.Queues.List(ctx, caller.Account))
	return out, nil
}

// filled returns list, and an empty one for nil: answers have no null lists.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// QueuePath is the path of a queue.
type QueuePath struct {
	Queue string `path:"queue" doc:"The name of the queue." example:"images"`
}

type queueAnswer struct{ Body Queue }

func (d *Door) findQueue(ctx context.Context, caller auth.Caller, in *QueuePath) (*queueAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("queues by name")
	}
	q, err := d.QueueChanges.Find(ctx, caller.Account, in.Queue)
	if err != nil {
		return nil, fmt.Errorf("find queue: %w", err)
	}
	return &queueAnswer{q}, nil
}

type putQueueInput struct {
	QueuePath
	Body QueueDefinition
}

func (d *Door) putQueue(ctx context.Context, caller auth.Caller, in *putQueueInput) (*queueAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to change queues")
	}
	definition := in.Body.Queue()
	if err := named(&definition.Name, in.Queue); err != nil {
		return nil, err
	}
	q, err := d.QueueChanges.Put(ctx, caller.Account, definition)
	if err != nil {
		return nil, fmt.Errorf("put queue: %w", err)
	}
	return &queueAnswer{q}, nil
}

// named makes name that of the path, which it may repeat.
func named(name *string, path string) error {
	if *name != "" && *name != path {
		return &runnel.FieldError{Path: "name", Err: fmt.Errorf("%q is not the name in the path, %q: leave it out", *name, path)}
	}
	*name = path
	return nil
}

type deleteQueueInput struct {
	QueuePath
	Force bool `query:"force" doc:"Delete the messages that it holds too."`
}

func (d *Door) deleteQueue(ctx context.Context, caller auth.Caller, in *deleteQueueInput) (*struct{}, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to change queues")
	}
	if err := d.QueueChanges.Delete(ctx, caller.Account, in.Queue, in.Force); err != nil {
		return nil, fmt.Errorf("delete queue: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

func (d *Door) pauseQueue(ctx context.Context, caller auth.Caller, in *QueuePath) (*queueAnswer, error) {
	return d.setPaused(ctx, caller, in.Queue, true)
}

func (d *Door) resumeQueue(ctx context.Context, caller auth.Caller, in *QueuePath) (*queueAnswer, error) {
	return d.setPaused(ctx, caller, in.Queue, false)
}

func (d *Door) setPaused(ctx context.Context, caller auth.Caller, name string, paused bool) (*queueAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to change queues")
	}
	q, err := d.QueueChanges.Pause(ctx, caller.Account, name, paused)
	if err != nil {
		return nil, fmt.Errorf("pause queue: %w", err)
	}
	return &queueAnswer{q}, nil
}

type deliveryInput struct {
	QueuePath
	Body struct {
		Delivery  string  `json:"delivery,omitempty" doc:"shuffle, or left out: what was sent first comes first."`
		Duplicate float64 `json:"duplicate,omitempty" doc:"The share of deliveries after which the message is delivered again, 0 to 1."`
	}
}

func (d *Door) setDelivery(ctx context.Context, caller auth.Caller, in *deliveryInput) (*queueAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to change queues")
	}
	q, err := d.QueueChanges.SetDelivery(ctx, caller.Account, in.Queue, in.Body.Delivery, in.Body.Duplicate)
	if err != nil {
		return nil, fmt.Errorf("set delivery: %w", err)
	}
	return &queueAnswer{q}, nil
}

func (d *Door) purge(_ context.Context, caller auth.Caller, in *QueuePath) (*struct{}, error) {
	if err := d.Queues.Purge(caller.Account, in.Queue); err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}
