package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Transfer says which messages of a queue go where.
type Transfer struct {
	Copy bool // or they are moved
	To   string
	// Group is the key of messages that have none.
	Group string
	// DryRun: nothing is done.
	DryRun bool

	// Either Positions, or at most Most messages that Search finds from the
	// position From on and before the position Before; 0: the end of the queue.
	Positions    []int64
	Search       *Search
	From, Before int64
	Most         int
}

// Transferred is what became of the messages of a move or a copy.
type Transferred struct {
	Done     []int64        `json:"done" doc:"The positions that were moved or copied; of a dry run, that would be."`
	Skipped  int            `json:"skipped" doc:"How many messages the search found that are in flight or delayed, or were gone when their turn came: they are not moved."`
	Failed   []RedriveFault `json:"failed" doc:"The positions that were not moved or copied for another reason."`
	Messages []Message      `json:"messages,omitempty" doc:"Of a dry run: the messages of done."`
	Next     *int64         `json:"next,omitempty" doc:"What after should be to go on. Left out if there was no more."`
	Before   int64          `json:"before,omitempty" doc:"The position before which the search ends: what before should be to go on, so that what was sent meanwhile is left alone."`
}

type transferInput struct {
	QueuePath
	Body struct {
		To        string  `json:"to" minLength:"1" doc:"The queue to move or copy to."`
		Positions []int64 `json:"positions,omitempty" maxItems:"100" doc:"Which messages, by their positions."`
		Search    *Search `json:"search,omitempty" doc:"Or which messages by what they are; {} is all."`
		After     *int64  `json:"after,omitempty" minimum:"0" doc:"With search: the position that the part before ended with, its next."`
		Before    int64   `json:"before,omitempty" minimum:"0" doc:"With search: only messages before this position. Default: all that are there now."`
		Limit     int     `json:"limit,omitempty" minimum:"1" maximum:"100" doc:"With search: how many messages at most. Default 100."`
		Group     string  `json:"group,omitempty" maxLength:"128" doc:"The message group of messages that have none; a FIFO queue takes no message without."`
		DryRun    bool    `json:"dry_run,omitempty" doc:"Only say which messages that would be."`
	}
}

type transferAnswer struct{ Body Transferred }

func (d *Door) moveMessages(ctx context.Context, caller auth.Caller, in *transferInput) (*transferAnswer, error) {
	return d.transfer(ctx, caller, in, false)
}

func (d *Door) copyMessages(ctx context.Context, caller auth.Caller, in *transferInput) (*transferAnswer, error) {
	return d.transfer(ctx, caller, in, true)
}

func (d *Door) transfer(ctx context.Context, caller auth.Caller, in *transferInput, asCopy bool) (*transferAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to move messages")
	}
	b := &in.Body
	t := Transfer{
		Copy: asCopy, To: b.To, Group: b.Group, DryRun: b.DryRun,
		Positions: b.Positions, Search: b.Search, Before: b.Before, Most: b.Limit,
	}
	switch {
	case (len(t.Positions) > 0) == (t.Search != nil):
		return nil, &runnel.FieldError{Path: "positions", Err: errors.New("want either positions or a search; the search {} is all messages")}
	case t.Search == nil && (b.After != nil || t.Before != 0 || t.Most != 0):
		return nil, &runnel.FieldError{Path: "search", Err: errors.New("is missing: after, before and limit are for a search")}
	}
	if t.Search != nil {
		if err := t.Search.check("search"); err != nil {
			return nil, err
		}
	}
	if t.Most == 0 {
		t.Most = maxPeek
	}
	if b.After != nil {
		t.From = *b.After + 1
	}
	done, err := d.QueueChanges.Transfer(ctx, caller.Account, in.Queue, t)
	if err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	done.Done, done.Failed = filled(done.Done), filled(done.Failed)
	return &transferAnswer{done}, nil
}
