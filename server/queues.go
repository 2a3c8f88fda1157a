package server

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/queue"
)

// queues are the queues as the native API reads them.
type queues struct {
	set    *queue.Set
	owners owners
}

func (a queues) List(ctx context.Context, account string) []admin.Queue {
	qs := a.set.List(account, "", "", 0)
	out := make([]admin.Queue, len(qs))
	for i, q := range qs {
		out[i] = describeQueue(q)
		// A document of ours that cannot be read is reported by who changes
		// the queue.
		out[i].OwnerFile, _ = a.owners.of(ctx, "queue", q.Name().String())
	}
	return out
}

func describeQueue(q *queue.Queue) admin.Queue {
	st := q.Stats()
	settings, modified := q.Settings()
	return admin.Queue{
		Account: st.Name.Account, Name: st.Name.Queue,
		Visible: st.Depth.Visible, InFlight: st.Depth.InFlight, Delayed: st.Depth.Delayed,
		Paused: settings.Paused, Settings: settingsOf(settings),
		Oldest:  st.Oldest,
		Created: q.Created(), Modified: modified,
		Stats: admin.QueueStats{
			Sent: st.Sent, Received: st.Received, Deleted: st.Deleted,
			Expired: st.Expired, DeadLettered: st.DeadLettered, Duplicated: st.Duplicated,
			Moved: st.Moved, Deduplicated: st.Deduplicated, Groups: st.Groups, Locked: st.Locked, Receivers: st.Receivers,
		},
	}
}

// Messages are read peekPart at a time until there are peekBytes of them: a
// hundred of the largest would be 100 MiB.
const (
	peekPart  = 10
	peekBytes = 4 << 20
)

func (a queues) Peek(account, name string, position int64, most int) (ms []admin.Message, more bool, err error) {
	q, err := a.set.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return nil, false, err
	}
	for bytes := 0; ; {
		part, err := q.Peek(position, peekPart)
		if err != nil {
			return nil, false, err
		}
		for _, p := range part {
			if len(ms) == most || bytes >= peekBytes {
				return ms, true, nil
			}
			ms = append(ms, messageOf(p))
			bytes += len(p.Body)
			position = p.Position + 1
		}
		if len(part) < peekPart {
			return ms, false, nil
		}
	}
}

// Bounds of what is read for one page of a search.
const (
	searchLooked = 50_000
	searchTime   = time.Second
)

func (a queues) Search(ctx context.Context, account, name string, position int64, s *admin.Search, most int) (admin.SearchPage, error) {
	q, err := a.set.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return admin.SearchPage{}, err
	}
	return search(ctx, q, position, s, queue.SearchLimits{Messages: most})
}

// search looks for messages within the bounds of one page.
func search(ctx context.Context, q *queue.Queue, position int64, s *admin.Search, lim queue.SearchLimits) (admin.SearchPage, error) {
	want := queue.Search{IDs: s.IDs, Body: s.Body, IgnoreCase: s.IgnoreCase, Key: s.Key, States: s.States}
	for _, text := range s.Attributes {
		a, err := queue.ParseAttributeSearch(text)
		if err != nil {
			return admin.SearchPage{}, err
		}
		want.Attributes = append(want.Attributes, a)
	}
	lim.Bytes, lim.Looked, lim.Time = peekBytes, searchLooked, searchTime
	found, err := q.Search(ctx, position, &want, lim)
	if err != nil {
		return admin.SearchPage{}, err
	}
	page := admin.SearchPage{More: found.More, Last: found.Next - 1, End: found.End}
	for _, p := range found.Messages {
		page.Messages = append(page.Messages, messageOf(p))
	}
	return page, nil
}

func messageOf(p queue.Peeked) admin.Message {
	m := admin.Message{
		Position: p.Position, ID: string(p.ID), State: p.State, Until: p.Until, Sent: p.Sent,
		Receives: p.Receives, Failures: p.Failures, Payload: admin.NewPayload(p.Body),
		Key: p.Key, Sender: p.Sender, DeadLetter: p.DeadLetter,
	}
	for _, attribute := range p.Attributes {
		m.Attributes = append(m.Attributes, admin.NewAttribute(attribute))
	}
	return m
}

func (a queues) Purge(account, name string) error {
	q, err := a.set.Queue(queue.Name{Account: account, Queue: name})
	if err != nil {
		return err
	}
	err = q.Purge()
	if errors.Is(err, queue.ErrPurgeInProgress) {
		return runnel.Errorf(runnel.CodeLimit, "queue %s was purged just now: once in 60 seconds is allowed", name)
	}
	return err
}
