package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

func newQueueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "List queues, look into one, pause one, empty one",
	}
	cmd.AddCommand(newQueueLsCommand(), newQueuePeekCommand(), newQueuePurgeCommand(),
		newQueuePauseCommand(true), newQueuePauseCommand(false))
	return cmd
}

// queueInfo is what these commands read of the API's answer about a queue.
type queueInfo struct {
	Account  string `json:"account"`
	Name     string `json:"name"`
	Visible  int64  `json:"visible"`
	InFlight int64  `json:"in_flight"`
	Delayed  int64  `json:"delayed"`
	Paused   bool   `json:"paused"`
	Stats    struct {
		Sent     uint64 `json:"sent"`
		Received uint64 `json:"received"`
		Deleted  uint64 `json:"deleted"`
	} `json:"stats"`
}

func newQueueLsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the queues with their depth",
		Long: `List the queues of the key's account, by name.

visible, in flight and delayed are the messages of this moment, exactly; sent,
received and deleted count since the server was started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Queues []json.RawMessage }
			if err := c.do(cmd.Context(), "GET", "/api/v1/queues", nil, &answer); err != nil {
				return err
			}
			if asJSON {
				return writeLines(cmd.OutOrStdout(), answer.Queues)
			}
			if len(answer.Queues) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "no queues at %s: runnel send --create QUEUE BODY makes one\n", c.base)
				return nil
			}
			return writeQueues(cmd.OutOrStdout(), answer.Queues)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each queue as a line of JSON, with its settings")
	return cmd
}

func writeQueues(out io.Writer, queues []json.RawMessage) error {
	var table bytes.Buffer
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "visible\tin flight\tdelayed\tsent\treceived\tdeleted\t  queue")
	for _, text := range queues {
		var q queueInfo
		if err := json.Unmarshal(text, &q); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		name := q.Name
		if q.Paused {
			name += " (paused)"
		}
		fmt.Fprintf(tw, "%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", q.Visible, q.InFlight, q.Delayed, q.Stats.Sent, q.Stats.Received, q.Stats.Deleted, name)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := out.Write(table.Bytes())
	return err
}

// writeLines prints each value as a line.
func writeLines(out io.Writer, values []json.RawMessage) error {
	var text bytes.Buffer
	for _, v := range values {
		text.Write(v)
		text.WriteByte('\n')
	}
	_, err := out.Write(text.Bytes())
	return err
}

// peekedMessage is what peek reads of the API's answer about a message.
type peekedMessage struct {
	Position   int64     `json:"position"`
	ID         string    `json:"id"`
	State      string    `json:"state"`
	Until      time.Time `json:"until"`
	Sent       time.Time `json:"sent"`
	Receives   int       `json:"receives"`
	Body       string    `json:"body"`
	BodyBase64 []byte    `json:"body_base64"`

	Reason *runnel.DeadLetter `json:"dead_letter"`
}

const (
	peekPage   = 100 // messages in one answer, at most
	peekColumn = 100 // characters of a body in the table
)

func newQueuePeekCommand() *cobra.Command {
	var (
		limit  int
		after  int64
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Look at the messages of a queue without receiving them",
		Long: `Look at the messages of a queue, in their order, whatever their state. Nobody's
receive is disturbed, nothing is counted, and no timeout changes.

The first column is a message's position: --after takes it to go on from there.
Long bodies are cut in the table, and whole with --json. A dead letter has its
reason behind it; runnel dlq show prints all of it.`,
		Example: `  runnel queue peek images
  runnel queue peek images --after 41 --limit 100 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return &usageError{"--limit is a number from 1 on"}
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if cmd.Flags().Changed("after") {
				query.Set("after", strconv.FormatInt(after, 10))
			}
			for left := limit; left > 0; {
				query.Set("limit", strconv.Itoa(min(left, peekPage)))
				var answer struct {
					Messages []json.RawMessage
					Next     *int64
				}
				path := "/api/v1/queues/" + url.PathEscape(args[0]) + "/messages?" + query.Encode()
				if err := c.do(cmd.Context(), "GET", path, nil, &answer); err != nil {
					return err
				}
				if asJSON {
					err = writeLines(cmd.OutOrStdout(), answer.Messages)
				} else {
					err = writePeeked(cmd.OutOrStdout(), answer.Messages)
				}
				if err != nil {
					return err
				}
				if left == limit && len(answer.Messages) == 0 {
					fmt.Fprintf(cmd.ErrOrStderr(), "no messages in %s\n", args[0])
				}
				left -= len(answer.Messages)
				if answer.Next == nil {
					return nil
				}
				query.Set("after", strconv.FormatInt(*answer.Next, 10))
			}
			return nil
		},
	}
	addClientFlags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 10, "print so many messages at most")
	cmd.Flags().Int64Var(&after, "after", 0, "begin behind the message at this `position` (default: at the first)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each message as a line of JSON, with its attributes")
	return cmd
}

func writePeeked(out io.Writer, messages []json.RawMessage) error {
	var text bytes.Buffer
	for _, raw := range messages {
		var m peekedMessage
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		state := m.State
		if !m.Until.IsZero() {
			state += " until " + m.Until.Local().Format(time.TimeOnly)
		}
		body := strconv.Quote(m.Body)
		if m.BodyBase64 != nil {
			body = fmt.Sprintf("(%d bytes that are not text)", len(m.BodyBase64))
		} else if r := []rune(m.Body); len(r) > peekColumn {
			body = strconv.Quote(string(r[:peekColumn])) + "..."
		}
		why := ""
		if m.Reason != nil {
			why = "  dead letter: " + reasonLine(m.Reason)
		}
		fmt.Fprintf(&text, "%d  %s  sent %s  %s  receives %d  %s%s\n",
			m.Position, m.ID, m.Sent.Local().Format(time.DateTime), state, m.Receives, body, why)
	}
	_, err := out.Write(text.Bytes())
	return err
}

func newQueuePurgeCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge QUEUE",
		Short: "Remove all messages of a queue",
		Long: `Remove all messages of a queue, those in flight and delayed too. The queue stays.
It asks first, unless told --yes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(cmd.ErrOrStderr(), "remove all messages of %s at %s? [y/N] ", args[0], c.base)
				if err := confirmed(cmd.InOrStdin()); err != nil {
					return err
				}
			}
			return c.do(cmd.Context(), "POST", "/api/v1/queues/"+url.PathEscape(args[0])+"/purge", nil, nil)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirmed reads the answer to a question.
func confirmed(in io.Reader) error {
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was removed: answer y, or say --yes")
}
