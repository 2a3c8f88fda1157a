package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// transfer moves or copies messages of one queue.
type transfer struct {
	verb, done string // move, moved
	client     *client
	from       string
	positions  []int64
	limit      int

	request transferRequest
	search  messageSearch

	out, errOut           io.Writer
	moved, skipped, lacks int
}

// transferRequest is the body of a call.
type transferRequest struct {
	To        string         `json:"to"`
	Positions []int64        `json:"positions,omitempty"`
	Search    *messageSearch `json:"search,omitempty"`
	After     *int64         `json:"after,omitempty"`
	Before    int64          `json:"before,omitempty"`
	Limit     int            `json:"limit,omitempty"`
	Group     string         `json:"group,omitempty"`
	DryRun    bool           `json:"dry_run,omitempty"`
}

// newQueueTransferCommand makes move, or copy.
func newQueueTransferCommand(asCopy bool) *cobra.Command {
	t := &transfer{verb: "move", done: "moved"}
	short, long := "Move chosen messages to another queue", `Move messages to the end of another queue. Each is moved in one step: none is lost,
and none is there twice. It keeps its id, body, attributes and group, and is
otherwise as if sent now: visible at once, and never received. Messages in flight
or delayed stay where they are.`
	if asCopy {
		t.verb, t.done = "copy", "copied"
		short, long = "Send copies of chosen messages to another queue", `Send copies of messages, in any state, to the end of another queue. The messages
stay as they are, and who receives them is not disturbed. A copy has an id of its
own, and is otherwise as if sent now.`
	}
	var all bool
	cmd := &cobra.Command{
		Use:   t.verb + " FROM TO --position N... | --all | [SEARCH]",
		Short: short,
		Long: long + `

` + searchHelp + `
What is sent while it runs is left alone.

A FIFO queue takes no message without a group: --to-group gives one to those that
have none. --dry-run prints the messages that would be ` + t.done + `, and changes nothing.
Progress goes to standard error, the sum to standard output. The exit status is 1
if some could not be ` + t.done + `, other than those that a search skips.`,
		Example: `  runnel queue ` + t.verb + ` images images-slow --attr kind=video --dry-run
  runnel queue ` + t.verb + ` images images-slow --position 41 --position 42
  runnel queue ` + t.verb + ` images orders.fifo --body 'customer 7' --to-group customer-7`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ways := 0
			for _, given := range []bool{len(t.positions) > 0, !t.search.all(), all} {
				if given {
					ways++
				}
			}
			switch {
			case ways != 1:
				return &usageError{"which messages? Say one of --position N, --all, and a search such as --body TEXT"}
			case t.limit < 0 || len(t.positions) > 0 && t.limit != 0:
				return &usageError{"--limit is a number from 1 on, with --all or a search"}
			}
			if err := t.search.check(); err != nil {
				return err
			}
			var err error
			if t.client, err = newClient(cmd); err != nil {
				return err
			}
			t.from, t.request.To = args[0], args[1]
			t.out, t.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return t.run(cmd.Context())
		},
	}
	addClientFlags(cmd)
	t.search.addFlags(cmd)
	f := cmd.Flags()
	f.Int64SliceVar(&t.positions, "position", nil, "the message at this `position`, as runnel queue peek prints it; may be repeated")
	f.BoolVar(&all, "all", false, "all messages that are there now")
	f.IntVar(&t.limit, "limit", 0, "with --all or a search: so many at most (default: no limit)")
	f.StringVar(&t.request.Group, "to-group", "", "the message `group` of those that have none")
	f.BoolVar(&t.request.DryRun, "dry-run", false, "print what would be "+t.done+", and change nothing")
	return cmd
}

func (t *transfer) run(ctx context.Context) error {
	var err error
	if len(t.positions) > 0 {
		for rest := t.positions; len(rest) > 0 && err == nil; {
			n := min(len(rest), redrivePage)
			t.request.Positions, rest = rest[:n], rest[n:]
			_, err = t.call(ctx)
		}
	} else {
		err = t.runSearch(ctx)
	}
	done := t.done
	if t.request.DryRun {
		done = "would be " + done
	}
	if err == nil || t.moved > 0 {
		if _, werr := fmt.Fprintf(t.out, "%d %s, %d skipped, %d failed\n", t.moved, done, t.skipped, t.lacks); err == nil {
			err = werr
		}
	}
	if err == nil && t.lacks > 0 {
		err = fmt.Errorf("%s not %s", plural(t.lacks, "message"), t.done)
	}
	return err
}

func (t *transfer) runSearch(ctx context.Context) error {
	t.request.Search = &t.search
	told := time.Now()
	for {
		t.request.Limit = redrivePage
		if t.limit > 0 {
			t.request.Limit = min(redrivePage, t.limit-t.moved)
		}
		next, err := t.call(ctx)
		if err != nil || next == nil || t.limit > 0 && t.moved >= t.limit {
			return err
		}
		t.request.After = next
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			fmt.Fprintf(t.errOut, "%d %s\n", t.moved, t.done)
		}
	}
}

// call makes one call and returns where to go on.
func (t *transfer) call(ctx context.Context) (next *int64, err error) {
	var answer struct {
		Done    []int64
		Skipped int
		Failed  []struct {
			Position int64
			Message  string
		}
		Messages []json.RawMessage
		Next     *int64
		Before   int64
	}
	err = t.client.do(ctx, "POST", "/api/v1/queues/"+url.PathEscape(t.from)+"/"+t.verb, t.request, &answer)
	if err != nil { // not found is one of both
		return nil, t.client.suggest(ctx, queueKind, t.request.To, t.client.suggest(ctx, queueKind, t.from, err))
	}
	t.request.Before = answer.Before
	t.moved += len(answer.Done)
	t.skipped += answer.Skipped
	for _, f := range answer.Failed {
		t.lacks++
		fmt.Fprintf(t.errOut, "%d is not %s: %s\n", f.Position, t.done, oneLine(f.Message))
	}
	return answer.Next, writePeeked(t.out, answer.Messages)
}
