package server

import (
	"context"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/queue"
)

// Transfer implements admin.QueueChanges.
func (a queueAPI) Transfer(ctx context.Context, account, name string, t admin.Transfer) (admin.Transferred, error) {
	q, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return admin.Transferred{}, err
	}
	to, err := a.queues.Queue(queue.Name{Account: account, Queue: t.To})
	if err != nil {
		return admin.Transferred{}, err
	}
	out := admin.Transferred{Done: []int64{}, Failed: []admin.RedriveFault{}}
	positions := t.Positions
	var found []admin.Message
	if t.Search != nil {
		page, err := search(ctx, q, t.From, t.Search, queue.SearchLimits{Messages: t.Most, End: t.Before})
		if err != nil {
			return admin.Transferred{}, err
		}
		if page.More {
			out.Next = &page.Last
		}
		out.Before = page.End
		found = page.Messages
		positions = nil
		for _, m := range found {
			positions = append(positions, m.Position)
		}
	}
	var errs []error
	switch {
	case t.DryRun:
		out.Messages, errs, err = preview(q, to, positions, found, t)
	case t.Copy:
		errs, err = a.queues.CopyAll(q.Name(), positions, to.Name(), t.Group)
	default:
		errs, err = a.queues.MoveAll(q.Name(), positions, to.Name(), t.Group)
	}
	if err != nil {
		return admin.Transferred{}, err
	}
	for i, err := range errs {
		code := runnel.CodeOf(err)
		switch {
		case err == nil:
			out.Done = append(out.Done, positions[i])
		case t.Search != nil && (code == runnel.CodeConflict || code == runnel.CodeNotFound):
			out.Skipped++
		case code == runnel.CodeInternal:
			return out, err
		default:
			out.Failed = append(out.Failed, admin.RedriveFault{Position: positions[i], Message: err.Error()})
		}
	}
	return out, nil
}

// preview returns the messages that a transfer would take, and an error or nil
// for each position.
func preview(q, to *queue.Queue, positions []int64, found []admin.Message, t admin.Transfer) ([]admin.Message, []error, error) {
	var out []admin.Message
	errs := make([]error, len(positions))
	for i, position := range positions {
		var m admin.Message
		if found != nil {
			m = found[i]
		} else {
			peeked, err := q.Peek(position, 1)
			if err != nil {
				return nil, nil, err
			}
			if len(peeked) == 0 || peeked[0].Position != position {
				errs[i] = runnel.Errorf(runnel.CodeNotFound, "there is no message %d in the queue %s", position, q.Name())
				continue
			}
			m = messageOf(peeked[0])
		}
		switch {
		case !t.Copy && m.State != queue.StateVisible:
			errs[i] = runnel.Errorf(runnel.CodeConflict, "message %d of the queue %s is %s", position, q.Name(), m.State)
		case m.Key == "" && t.Group == "":
			errs[i] = to.CheckMove(&runnel.Message{})
		}
		if errs[i] == nil {
			out = append(out, m)
		}
	}
	return out, errs, nil
}
