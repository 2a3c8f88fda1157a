package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
)

// A flow with ack: accepted has a queue of its own, which goes with it: nobody
// else deletes it or changes its settings, and it is deleted with the flow if it
// is empty. What it holds otherwise was acked in the source already, so it stays,
// as a queue that is nobody's. A flow of the same name takes it up again.

// acceptedTag marks such a queue, also when its flow is no more: its value is the
// name of the flow.
const acceptedTag = "runnel:accepted-by"

// ownerFlow begins what the owner of such a queue is called. No file of the API
// has a colon in its name.
const ownerFlow = "flow:"

// acceptedName returns the queue of a flow's own.
func acceptedName(rec flowRecord) queue.Name {
	return queue.Name{Account: rec.Account, Queue: rec.Flow.AcceptedQueue()}
}

// acceptable says what is wrong with a queue that has the name of the flow's
// own.
func (fs *flows) acceptable(rec flowRecord) error {
	if rec.Flow.Ack != runnel.AckWhenAccepted {
		return nil
	}
	q, err := fs.queues.Queue(acceptedName(rec))
	if err != nil {
		return nil //nolint:nilerr // it will be made
	}
	if s, _ := q.Settings(); s.Tags[acceptedTag] != rec.Flow.Name {
		return runnel.Errorf(runnel.CodeConflict, "there is a queue %s already, which is not this flow's own: delete it, or give the flow another name", q.Name().Queue)
	}
	return nil
}

// accepted returns the queue of a flow's own, which is made if there is none.
func (fs *flows) accepted(ctx context.Context, rec flowRecord) (*queue.Queue, error) {
	if err := fs.acceptable(rec); err != nil {
		return nil, err
	}
	name := acceptedName(rec)
	settings := declared(runnel.Queue{Name: name.Queue, Tags: map[string]string{acceptedTag: rec.Flow.Name}}, queue.Settings{}, nil)
	settings.Retention = queue.MaxRetention // the source's has begun already
	q, _, err := fs.queues.Create(name, settings)
	if err != nil {
		return nil, err
	}
	return q, owners{fs.catalog}.set(ctx, "queue", name.String(), ownerFlow+rec.Flow.Name)
}

// acceptor returns the first stage of a flow, and the queue that it fills.
func (fs *flows) acceptor(ctx context.Context, rec flowRecord, flow runnel.Flow, source runnel.Source) (*dispatch.Acceptor, *queue.Queue, error) {
	q, err := fs.accepted(ctx, rec)
	if err != nil {
		return nil, nil, err
	}
	return dispatch.NewAcceptor(dispatch.AcceptConfig{
		Flow: flow, Source: source, Queue: q.Sink(), Name: q.Name().Queue, Log: fs.logger(rec.Account),
		Depth: func() int64 {
			d := q.Depth()
			return d.Visible + d.InFlight + d.Delayed
		},
	}), q, nil
}

// letGo deletes the queue of a flow's own, which the flow uses no more, or gives
// it to nobody if it holds messages.
func (fs *flows) letGo(ctx context.Context, rec flowRecord) error {
	if rec.Flow.Ack != runnel.AckWhenAccepted {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // the flow is gone whoever waits for it
	name := acceptedName(rec)
	owned := owners{fs.catalog}
	if file, err := owned.of(ctx, "queue", name.String()); err != nil || file != ownerFlow+rec.Flow.Name {
		return err
	}
	err := fs.queues.DeleteEmpty(name)
	switch runnel.CodeOf(err) {
	case "", runnel.CodeNotFound:
	case runnel.CodeConflict:
		depth := int64(0)
		if q, err := fs.queues.Queue(name); err == nil {
			d := q.Depth()
			depth = d.Visible + d.InFlight + d.Delayed
		}
		fs.logger(rec.Account).Warn("a flow left messages that it had accepted: they stay in its queue, and a flow of its name takes them up",
			"flow", rec.Flow.Name, "queue", name.Queue, "messages", depth)
	default:
		return err
	}
	return owned.set(ctx, "queue", name.String(), "")
}

// letGoOfAll does that for flows that are no more, which a server that was killed
// may have left behind.
func (fs *flows) letGoOfAll(ctx context.Context, records []flowRecord) error {
	documents, err := fs.catalog.List(ctx, kindOwner)
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range documents {
		var rec owner
		if err := json.Unmarshal(d.Value, &rec); err != nil {
			return fmt.Errorf("read the owner of %s: %w", d.Name, err)
		}
		full, ok := cutKind(d.Name, "queue")
		flow, is := strings.CutPrefix(rec.File, ownerFlow)
		if !ok || !is {
			continue
		}
		account, name, _ := strings.Cut(full, "/")
		gone := flowRecord{Account: account, Flow: runnel.Flow{Name: flow, Ack: runnel.AckWhenAccepted}}
		if runnel.IsFIFO(name) {
			gone.Flow.From = runnel.Ref("queue:any" + runnel.FIFOSuffix)
		}
		if !slices.ContainsFunc(records, func(r flowRecord) bool {
			return r.Flow.Ack == runnel.AckWhenAccepted && acceptedName(r) == acceptedName(gone)
		}) {
			faults = append(faults, fs.letGo(ctx, gone))
		}
	}
	return errors.Join(faults...)
}

// backlogOf is what waits for a flow: in its source, and in the queue of its own.
// accepted is the latter alone.
func (fs *flows) backlogOf(rec flowRecord) (all, accepted queue.Depth, oldest time.Time) {
	add := func(q *queue.Queue) queue.Depth {
		d := q.Depth()
		all.Visible += d.Visible
		all.InFlight += d.InFlight
		all.Delayed += d.Delayed
		if d.Visible > 0 {
			if t := q.Oldest(); oldest.IsZero() || t.Before(oldest) {
				oldest = t
			}
		}
		return d
	}
	if q, err := fs.source(rec); err == nil {
		add(q)
	}
	if rec.Flow.Ack == runnel.AckWhenAccepted {
		if q, err := fs.queues.Queue(acceptedName(rec)); err == nil {
			accepted = add(q)
		}
	}
	return all, accepted, oldest
}
