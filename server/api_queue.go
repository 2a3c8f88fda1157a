package server

import (
	"context"
	"errors"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/queue"
)

// queueAPI is the changes of queues, and dead letters, as the native API makes
// them.
type queueAPI struct{ *applier }

// Find implements admin.QueueChanges.
func (a queueAPI) Find(ctx context.Context, account, name string) (admin.Queue, error) {
	q, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return admin.Queue{}, err
	}
	out := describeQueue(q)
	out.OwnerFile, err = a.owners.of(ctx, "queue", q.Name().String())
	return out, err
}

// Put implements admin.QueueChanges.
func (a queueAPI) Put(ctx context.Context, account string, q runnel.Queue) (admin.Queue, error) {
	done, err := a.take(ctx)
	if err != nil {
		return admin.Queue{}, err
	}
	defer done()
	name := queue.Name{Account: account, Queue: q.Name}
	if err := a.owners.check(ctx, "queue", name.String(), ""); err != nil {
		return admin.Queue{}, err
	}
	if err := a.checkQueue(name, q); err != nil {
		return admin.Queue{}, err
	}
	if _, err := a.putDeclared(ctx, name, q); err != nil {
		return admin.Queue{}, err
	}
	a.flows.wake()
	return a.Find(ctx, account, q.Name)
}

// checkQueue returns every fault of a queue, each with its field.
func (a queueAPI) checkQueue(name queue.Name, q runnel.Queue) error {
	faults := q.Validate()
	if d := q.DeadLetter; d != nil && d.Queue != "" && d.Queue != q.Name {
		_, err := a.queues.Queue(queue.Name{Account: name.Account, Queue: d.Queue})
		faults = errors.Join(at("dead_letter.queue", err), faults)
	}
	return faults
}

// Delete implements admin.QueueChanges.
func (a queueAPI) Delete(ctx context.Context, account, name string, force bool) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	full := queue.Name{Account: account, Queue: name}
	if err := a.owners.check(ctx, "queue", full.String(), ""); err != nil {
		return err
	}
	records, err := a.flows.records(ctx)
	if err != nil {
		return err
	}
	if users := usersOf(full, records); len(users) > 0 {
		return runnel.Errorf(runnel.CodeConflict, "queue %s is used by the flows %s: delete them first", name, strings.Join(users, ", "))
	}
	if force {
		return a.queues.Delete(full)
	}
	return a.queues.DeleteEmpty(full)
}

// guard is what the SQS door asks. A delete through that door takes the
// messages with it, so it must be as careful as the native one.
func (a queueAPI) guard(ctx context.Context, name queue.Name, remove bool) error {
	if err := a.owners.check(ctx, "queue", name.String(), ""); err != nil {
		return runnel.Errorf(runnel.CodeDenied, "%v", err)
	}
	if !remove {
		return nil
	}
	records, err := a.flows.records(ctx)
	if err != nil {
		return err
	}
	if users := usersOf(name, records); len(users) > 0 {
		return runnel.Errorf(runnel.CodeDenied, "queue %s is used by the flows %s: delete them first", name.Queue, strings.Join(users, ", "))
	}
	return nil
}

// Pause implements admin.QueueChanges. As with flows, it is allowed to everybody
// who may use the queue, also where a file owns it.
func (a queueAPI) Pause(ctx context.Context, account, name string, paused bool) (admin.Queue, error) {
	q, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return admin.Queue{}, err
	}
	if err := q.Pause(paused); err != nil {
		return admin.Queue{}, err
	}
	return a.Find(ctx, account, name)
}

// SetDelivery implements admin.QueueChanges.
func (a queueAPI) SetDelivery(ctx context.Context, account, name, delivery string, duplicate float64) (admin.Queue, error) {
	done, err := a.take(ctx)
	if err != nil {
		return admin.Queue{}, err
	}
	defer done()
	q, err := a.queues.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return admin.Queue{}, err
	}
	if err := a.owners.check(ctx, "queue", q.Name().String(), ""); err != nil {
		return admin.Queue{}, err
	}
	if err := q.Configure(func(s *queue.Settings) error {
		s.Delivery, s.Duplicate = delivery, duplicate
		return nil
	}); err != nil {
		return admin.Queue{}, err
	}
	return a.Find(ctx, account, name)
}

// Send implements admin.QueueChanges.
func (a queueAPI) Send(ctx context.Context, account, name string, ms []runnel.Message) ([]runnel.MessageID, error) {
	q, err := a.flows.templates.use(ctx, queue.Name{Account: account, Queue: name})
	if err != nil {
		return nil, err
	}
	return q.Send(ms)
}

// deadLetterAPI is dead letters as the native API reads and redrives them.
type deadLetterAPI struct{ *applier }

// List implements admin.DeadLetters.
func (a deadLetterAPI) List(_ context.Context, account string) ([]admin.DeadLetterQueue, error) {
	flowsOf := make(map[string][]string)
	for _, f := range a.flows.all(account) {
		rec := f.record()
		if _, name, err := rec.Flow.DeadLetter.Split(); err == nil {
			flowsOf[name] = append(flowsOf[name], rec.Flow.Name)
		}
	}
	qs := a.queues.List(account, "", "", 0)
	for _, q := range qs {
		if s, _ := q.Settings(); s.DeadLetter != nil && flowsOf[s.DeadLetter.Queue] == nil {
			flowsOf[s.DeadLetter.Queue] = []string{}
		}
	}
	var out []admin.DeadLetterQueue
	for _, q := range qs {
		names, ok := flowsOf[q.Name().Queue]
		if !ok {
			continue
		}
		d := admin.DeadLetterQueue{Queue: q.Name().Queue, Flows: names}
		depth := q.Depth()
		d.Visible, d.InFlight = depth.Visible, depth.InFlight+depth.Delayed
		if depth.Visible > 0 {
			d.Oldest = q.Oldest()
		}
		out = append(out, d)
	}
	return out, nil
}

// Redrive implements admin.DeadLetters.
func (a deadLetterAPI) Redrive(_ context.Context, account, name string, positions []int64, to string) (admin.Redriven, error) {
	from := queue.Name{Account: account, Queue: name}
	q, err := a.queues.Queue(from)
	if err != nil {
		return admin.Redriven{}, err
	}
	if to != "" {
		if _, err := a.queues.Queue(queue.Name{Account: account, Queue: to}); err != nil {
			return admin.Redriven{}, err
		}
	}
	out := admin.Redriven{Moved: []int64{}, Failed: []admin.RedriveFault{}}
	for _, position := range positions {
		err := a.redrive(q, position, to)
		if err == nil {
			out.Moved = append(out.Moved, position)
			continue
		}
		out.Failed = append(out.Failed, admin.RedriveFault{Position: position, Message: err.Error()})
	}
	return out, nil
}

// redrive moves one message, to where it came from if to is empty.
func (a deadLetterAPI) redrive(q *queue.Queue, position int64, to string) error {
	if to == "" {
		peeked, err := q.Peek(position, 1)
		if err != nil {
			return err
		}
		if len(peeked) == 0 || peeked[0].Position != position {
			return runnel.Errorf(runnel.CodeNotFound, "there is no message %d", position)
		}
		dead := peeked[0].DeadLetter
		if dead == nil {
			return runnel.Errorf(runnel.CodeInvalid, "message %d is no dead letter: say where it should go", position)
		}
		var kind string
		if kind, to, err = runnel.Ref(dead.Source).Split(); err != nil || kind != "queue" {
			return runnel.Errorf(runnel.CodeInvalid, "message %d came from %q: say to which queue it should go", position, dead.Source)
		}
	}
	return a.queues.Move(q.Name(), position, queue.Name{Account: q.Name().Account, Queue: to})
}
