package sqs

import "github.com/runnel-io/runnel/internal/queue"

// ListMessageMoveTasks
//
// Parameters: SourceArn, MaxResults (1 to 10, default 1). The newest are first.
// A task has a TaskHandle as long as it is RUNNING.
//
// Differences: none known.

type listMessageMoveTasksInput struct {
	SourceARN  string
	MaxResults number
}

func (in *listMessageMoveTasksInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "SourceArn":
		in.SourceARN = d.string()
	case "MaxResults":
		in.MaxResults = d.number()
	default:
		return false
	}
	return true
}

type listMessageMoveTasksOutput struct {
	source site
	Tasks  []queue.MoveTask
}

func (out listMessageMoveTasksOutput) encode(e *encoder) {
	e.list("Results", "ListMessageMoveTasksResultEntry", len(out.Tasks), func(i int) {
		t := &out.Tasks[i]
		arn := out.source.arn()
		if t.Status == queue.MoveRunning {
			e.field("TaskHandle", taskHandle{t.ID, arn}.String())
		}
		e.field("Status", string(t.Status))
		e.field("SourceArn", arn)
		if t.Destination != "" {
			e.field("DestinationArn", out.source.door.arn(out.source.accountID, t.Destination))
		}
		if t.Rate > 0 {
			e.number("MaxNumberOfMessagesPerSecond", int64(t.Rate))
		}
		e.number("ApproximateNumberOfMessagesMoved", t.Moved)
		e.number("ApproximateNumberOfMessagesToMove", t.ToMove)
		e.optional("FailureReason", t.Failure)
		e.number("StartedTimestamp", t.Started.UnixMilli())
	})
}

func (c *call) listMessageMoveTasks(in *listMessageMoveTasksInput) (out listMessageMoveTasksOutput, err error) {
	source, err := c.queueAtARN("SourceArn", in.SourceARN)
	if err != nil {
		return out, err
	}
	most := 1
	if in.MaxResults.given {
		most = in.MaxResults.n
	}
	if most < 1 || most > 10 {
		return out, invalid("MaxResults", most, "Must be between 1 and 10, if provided.")
	}

	tasks, err := c.door.queues.MoveTasks(source.Name())
	if err != nil {
		return out, moveError(err)
	}
	return listMessageMoveTasksOutput{site{c.door, source.Name(), source.accountID}, tasks[:min(most, len(tasks))]}, nil
}
