package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

// filterHelp says what an expression of dlq may use.
const filterHelp = `EXPR is an expression over type, message, function, version, attempts, id, key and
body (decoded, if it is JSON): type == "timeout", or body.kind == "image" and
attempts > 3.`

func newDLQCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "List dead letters, see why they are dead, send them again",
		Long: `Dead letters are messages that were given up: a function failed on them too often,
refused them, or could not read them. They wait in a queue, with the reason.

Where a dead-letter queue is wanted, the name of the flow that uses it will do.`,
	}
	cmd.AddCommand(newDLQLsCommand(), newDLQShowCommand(), newDLQRedriveCommand())
	return cmd
}

func newDLQLsCommand() *cobra.Command {
	var output *string
	var filter string
	var limit int
	cmd := &cobra.Command{
		Use:     "ls [QUEUE]",
		Aliases: []string{"list"},
		Short:   "List the dead-letter queues, or the dead letters of one",
		Long: `List the dead-letter queues of the key's account, or the dead letters in one of
them, the oldest first: their position and id, when they failed last and how
often, the kind of failure and its message.

` + filterHelp,
		Example: `  runnel dlq ls
  runnel dlq ls resize-images
  runnel dlq ls images-dead --filter 'type == "timeout"' -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if cmd.Flags().Changed("filter") || cmd.Flags().Changed("limit") {
					return &usageError{"--filter and --limit are for the dead letters of one queue: name it"}
				}
				return get(cmd, deadLetterKind, *output)
			}
			if limit < 1 {
				return &usageError{"--limit is a number from 1 on"}
			}
			inJSON, err := asJSON(*output, "table")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			queue, err := c.deadLetterQueue(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return listDeadLetters(cmd, c, queue, filter, limit, inJSON)
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	cmd.Flags().StringVar(&filter, "filter", "", "only those for which `EXPR` is true")
	cmd.Flags().IntVar(&limit, "limit", 100, "print so many at most")
	return cmd
}

// deadLetter is what these commands read of the API's answer about a message.
type deadLetter struct {
	Position   int64              `json:"position"`
	ID         string             `json:"id"`
	State      string             `json:"state"`
	Until      time.Time          `json:"until"`
	Sent       time.Time          `json:"sent"`
	Receives   int                `json:"receives"`
	Key        string             `json:"key"`
	Body       *string            `json:"body"`
	BodyBase64 []byte             `json:"body_base64"`
	Reason     *runnel.DeadLetter `json:"dead_letter"` // nil: somebody sent it there
	Attributes []struct {
		Name   string  `json:"name"`
		Type   string  `json:"type"`
		Text   *string `json:"value"`
		Base64 []byte  `json:"value_base64"`
	} `json:"attributes"`
}

func listDeadLetters(cmd *cobra.Command, c *client, queue, filter string, limit int, inJSON bool) error {
	var t table
	t.row("position", "id", "last", "attempts", "type", "message")
	more := false
	err := c.filterDeadLetters(cmd.Context(), cmd.ErrOrStderr(), queue, filter, nil, min(limit, peekPage), func(raw json.RawMessage) (bool, error) {
		if limit == 0 {
			more = true
			return false, nil
		}
		limit--
		if inJSON {
			return true, writeLines(cmd.OutOrStdout(), []json.RawMessage{raw})
		}
		var m deadLetter
		if err := json.Unmarshal(raw, &m); err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
		r := m.Reason
		if r == nil {
			r = new(runnel.DeadLetter)
		}
		t.row(strconv.FormatInt(m.Position, 10), m.ID, strings.ReplaceAll(when(r.Last), " ", "T"), strconv.Itoa(r.Attempts), r.Type, cut(oneLine(r.Message), peekColumn))
		return true, nil
	})
	if err != nil {
		return err
	}
	if !inJSON && len(t.rows) == 1 {
		what := "dead letters"
		if filter != "" {
			what = "such dead letters"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "no %s in %s\n", what, queue)
		return nil
	}
	if !inJSON {
		err = t.write(cmd.OutOrStdout())
	}
	if more {
		fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --limit says how many are printed\n")
	}
	return err
}

// deadLetters calls fn with the messages of a dead-letter queue that a filter
// passes, behind the position after unless that is nil, until fn returns false.
func (c *client) deadLetters(ctx context.Context, queue, filter string, after *int64, page int, fn func(json.RawMessage) (bool, error)) error {
	return c.filterDeadLetters(ctx, io.Discard, queue, filter, after, page, fn)
}

// filterDeadLetters is deadLetters for a filter that somebody wrote: for how
// many messages it could not be computed goes to errOut.
func (c *client) filterDeadLetters(ctx context.Context, errOut io.Writer, queue, filter string, after *int64, page int, fn func(json.RawMessage) (bool, error)) error {
	query := url.Values{"limit": {strconv.Itoa(page)}}
	if filter != "" {
		query.Set("filter", filter)
	}
	unfit, why := 0, ""
	defer func() {
		if unfit > 0 {
			fmt.Fprintf(errOut, "left out: %s for which the filter cannot be computed, as in: %s\n", plural(unfit, "message"), oneLine(why))
		}
	}()
	for {
		if after != nil {
			query.Set("after", strconv.FormatInt(*after, 10))
		}
		var answer struct {
			Messages []json.RawMessage
			Next     *int64
			Unfit    int
			Why      string
		}
		if err := c.do(ctx, "GET", "/api/v1/dead-letters/"+url.PathEscape(queue)+"?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		unfit, why = unfit+answer.Unfit, cmp.Or(why, answer.Why)
		for _, raw := range answer.Messages {
			if more, err := fn(raw); err != nil || !more {
				return err
			}
		}
		if answer.Next == nil {
			return nil
		}
		after = answer.Next // also where a filter let none of a page pass
	}
}

// deadLetterQueue returns the dead-letter queue that name is, or that the flow
// of this name uses. Any other queue will do too: it was one perhaps.
func (c *client) deadLetterQueue(ctx context.Context, name string) (string, error) {
	raw, err := c.list(ctx, deadLetterKind)
	if err != nil {
		return "", err
	}
	all, err := decodeAll[deadLetterQueue](raw)
	if err != nil {
		return "", err
	}
	name = strings.TrimPrefix(name, "queue:")
	var names []string
	for _, q := range all {
		if q.Queue == name {
			return name, nil
		}
		names = append(append(names, q.Queue), q.Flows...)
	}
	for _, q := range all {
		if slices.Contains(q.Flows, name) {
			return q.Queue, nil
		}
	}
	queues, err := c.names(ctx, queueKind)
	if err != nil {
		return "", err
	}
	if slices.Contains(queues, name) {
		return name, nil
	}
	hint := ": runnel dlq ls lists them"
	if got := closest(name, names); got != "" {
		hint = ", did you mean " + got + "?"
	}
	return "", runnel.Errorf(runnel.CodeNotFound, "there is no dead-letter queue or flow %s at %s%s", name, c.base, hint)
}

func newDLQShowCommand() *cobra.Command {
	var output *string
	var limit int
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "show QUEUE [ID|POSITION]",
		Short: "Print dead letters whole: reason, stack, payload",
		Long: `Print a dead letter whole: why it was given up, by which flow and which version of
the function, after how many attempts and when, the stack of the last failure,
its attributes and its payload. Without an id or a position, the first --limit
of the queue.`,
		Example: `  runnel dlq show resize-images
  runnel dlq show images-dead 41
  runnel dlq show images-dead 5f0c8b1e-7d0f-4b4c-9c3e-0a1b2c3d4e5f -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return &usageError{"--limit is a number from 1 on"}
			}
			inJSON, err := asJSON(*output, "text")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			queue, err := c.deadLetterQueue(ctx, args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				raw, err := c.deadLetter(ctx, queue, args[1])
				if err != nil {
					return err
				}
				return showDeadLetter(cmd.OutOrStdout(), raw, inJSON)
			}
			shown := 0
			show := func(raw json.RawMessage) (bool, error) {
				if shown > 0 && !inJSON {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				shown++
				return shown < limit, showDeadLetter(cmd.OutOrStdout(), raw, inJSON)
			}
			for start := time.Now(); ; {
				err = c.deadLetters(ctx, queue, "", nil, min(limit, peekPage), show)
				if err != nil || shown > 0 || time.Since(start) >= wait {
					break
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(waitEvery):
				}
			}
			if err == nil && shown == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "no dead letters in %s\n", queue)
			}
			return err
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "text or json")
	cmd.Flags().IntVar(&limit, "limit", 10, "without an id: print so many at most")
	cmd.Flags().DurationVar(&wait, "wait", 0, "without an id: for how long to wait for a first one")
	return cmd
}

// deadLetter returns one message, by its id or position.
func (c *client) deadLetter(ctx context.Context, queue, which string) (json.RawMessage, error) {
	position, err := strconv.ParseInt(which, 10, 64)
	byPosition := err == nil && position >= 0
	filter, after := "id == "+strconv.Quote(which), (*int64)(nil)
	if byPosition {
		filter = ""
		if before := position - 1; before >= 0 {
			after = &before
		}
	}
	var found json.RawMessage
	err = c.deadLetters(ctx, queue, filter, after, 1, func(raw json.RawMessage) (bool, error) {
		var m deadLetter
		if err := json.Unmarshal(raw, &m); err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
		if !byPosition || m.Position == position {
			found = raw
		}
		return false, nil
	})
	if err == nil && found == nil {
		err = runnel.Errorf(runnel.CodeNotFound, "there is no message %s in %s: runnel dlq ls %s lists them", which, queue, queue)
	}
	return found, err
}

func showDeadLetter(out io.Writer, raw json.RawMessage, inJSON bool) error {
	if inJSON {
		return writeLines(out, []json.RawMessage{raw})
	}
	var m deadLetter
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return m.sheet().write(out)
}

// sheet is the message for people.
func (m *deadLetter) sheet() *sheet {
	s := new(sheet)
	s.line("message", m.ID)
	state := m.State
	if !m.Until.IsZero() {
		state += " until " + when(m.Until)
	}
	s.line("position", fmt.Sprintf("%d, %s", m.Position, state))
	s.line("sent", when(m.Sent))
	s.line("key", m.Key)
	r := m.Reason
	if r == nil {
		s.line("reason", "none is known: somebody sent it here")
		r = new(runnel.DeadLetter)
	}
	s.line("reason", r.Type)
	s.line("error", r.Message)
	if r.Attempts > 0 {
		s.line("attempts", strconv.Itoa(r.Attempts))
	}
	s.line("first", when(r.First))
	s.line("last", when(r.Last))
	s.line("flow", r.Flow)
	s.line("function", r.Function)
	s.line("version", r.Version)
	s.line("came from", r.Source)
	s.block("stack", r.Stack)
	var attributes strings.Builder
	for _, a := range m.Attributes {
		value := fmt.Sprintf("(%d bytes)", len(a.Base64))
		if a.Text != nil {
			value = oneLine(*a.Text)
		}
		fmt.Fprintf(&attributes, "%s (%s): %s\n", a.Name, a.Type, value)
	}
	s.block("attributes", attributes.String())
	switch {
	case m.Body == nil:
		s.block("payload", fmt.Sprintf("%d bytes that are not text: -o json has them in base64", len(m.BodyBase64)))
	case json.Valid([]byte(*m.Body)):
		text, err := indented(json.RawMessage(*m.Body))
		if err != nil {
			text = *m.Body
		}
		s.block("payload", text)
	default:
		s.block("payload", *m.Body)
	}
	return s
}
