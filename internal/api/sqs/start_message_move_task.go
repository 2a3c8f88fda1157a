package sqs

import (
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/runnel-io/runnel/internal/queue"
)

// StartMessageMoveTask
//
// Parameters: SourceArn, a queue that is the dead-letter queue of another;
// DestinationArn, default: the queue that each message came from;
// MaxNumberOfMessagesPerSecond, 1 to 500, default: as fast as it goes. A source
// has one active task, an account at most 100; more are OverLimit. Both queues
// are standard queues, or both are FIFO queues.
//
// A task moves what is visible when it comes by, of what was there when it
// started; what is in flight or delayed stays. It goes on after a restart of the
// server. A message whose queue is gone, or that says nothing of one, fails a
// task without DestinationArn.
//
// On a FIFO queue messages keep their groups and deduplication ids, and their
// order within a group: what stays keeps all of its group behind it. Nothing is
// refused as a duplicate, and what is sent afterwards with the same id is one.
//
// Differences: a message keeps its message id, at Amazon it gets a new one. A
// task may run for longer than 36 hours. Which code Amazon has for more than 100
// active tasks is not documented.

const maxMoveRate = 500

type startMessageMoveTaskInput struct {
	SourceARN      string
	DestinationARN *string
	Rate           number
}

func (in *startMessageMoveTaskInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "SourceArn":
		in.SourceARN = d.string()
	case "DestinationArn":
		in.DestinationARN = d.optional()
	case "MaxNumberOfMessagesPerSecond":
		in.Rate = d.number()
	default:
		return false
	}
	return true
}

// taskHandle names a task. It is given in base64.
type taskHandle struct {
	TaskID    string `json:"taskId"`
	SourceARN string `json:"sourceArn"`
}

func (h taskHandle) String() string {
	text, _ := json.Marshal(h) // strings never fail
	return base64.StdEncoding.EncodeToString(text)
}

func parseTaskHandle(s string) (h taskHandle, ok bool) {
	text, err := base64.StdEncoding.DecodeString(s)
	return h, err == nil && json.Unmarshal(text, &h) == nil && h.TaskID != "" && h.SourceARN != ""
}

type taskHandleOutput struct{ TaskHandle string }

func (out taskHandleOutput) encode(e *encoder) { e.field("TaskHandle", out.TaskHandle) }

// queueAtARN finds the queue of an ARN.
func (c *call) queueAtARN(parameter, arn string) (addressed, error) {
	if arn == "" {
		return addressed{}, missing(parameter)
	}
	accountID, name, ok := splitARN(arn)
	if !ok || accountID == "" || name == "" {
		return addressed{}, invalid(parameter, arn, "Must be the ARN of a queue.")
	}
	q, err := c.queueOf(accountID, name)
	if f, known := failureOf(err); err != nil && known && f.kind == queueDoesNotExist {
		err = resourceNotFound.says("The resource that you specified for the %s parameter doesn't exist.", parameter)
	}
	return q, err
}

// moveError is what an error of a queue's move tasks means to the caller.
func moveError(err error) error {
	f, known := failureOf(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, queue.ErrNoDeadLetterQueue):
		return invalidParameterValue.says("Source queue must be configured as a Dead Letter Queue.")
	case errors.Is(err, queue.ErrMoveKind):
		return invalidParameterValue.says("The source and destination queues must be of the same type: both standard queues, or both FIFO queues.")
	case errors.Is(err, queue.ErrMoveActive):
		return invalidParameterValue.says("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
	case errors.Is(err, queue.ErrMoveEnded):
		return invalidParameterValue.says("Only active message movement tasks can be cancelled.")
	case errors.Is(err, queue.ErrNoMove):
		return resourceNotFound.says("Task does not exist.")
	case known && f.kind == queueDoesNotExist:
		return resourceNotFound.says("The resource that you specified for the SourceArn or DestinationArn parameter doesn't exist.")
	}
	return err
}

func (c *call) startMessageMoveTask(in *startMessageMoveTaskInput) (out taskHandleOutput, err error) {
	source, err := c.queueAtARN("SourceArn", in.SourceARN)
	if err != nil {
		return out, err
	}
	if n := in.Rate; n.given && (n.n < 1 || n.n > maxMoveRate) {
		return out, invalid("MaxNumberOfMessagesPerSecond", n.n, "Must be between 1 and 500, if provided.")
	}
	destination := ""
	if in.DestinationARN != nil {
		to, err := c.queueAtARN("DestinationArn", *in.DestinationARN)
		if err != nil {
			return out, err
		}
		switch {
		case to.Name() == source.Name():
			return out, invalid("DestinationArn", *in.DestinationARN, "Source queue arn and destination queue arn cannot be the same.")
		case to.Name().Account != source.Name().Account:
			return out, invalid("DestinationArn", *in.DestinationARN, "The source and destination queues must be of the same account.")
		}
		destination = to.Name().Queue
	}

	task, err := c.door.queues.StartMove(source.Name(), destination, in.Rate.n)
	if err != nil {
		return out, moveError(err)
	}
	return taskHandleOutput{taskHandle{task.ID, site{c.door, source.Name(), source.accountID}.arn()}.String()}, nil
}
