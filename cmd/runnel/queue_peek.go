package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

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
		search messageSearch
	)
	cmd := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Look at the messages of a queue without receiving them, or search them",
		Long: `Look at the messages of a queue, in their order, whatever their state. Nobody's
receive is disturbed, nothing is counted, and no timeout changes.

The first column is a message's position: --after takes it to go on from there.
Long bodies are cut in the table, and whole with --json. A dead letter has its
reason behind it; runnel dlq show prints all of it.

` + searchHelp,
		Example: `  runnel queue peek images
  runnel queue peek images --after 41 --limit 100 --json
  runnel queue peek images --body timeout --ignore-case --attr kind=thumb
  runnel queue peek orders.fifo --group customer-7 --state in-flight`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return &usageError{"--limit is a number from 1 on"}
			}
			query, err := search.query()
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("after") {
				query.Set("after", strconv.FormatInt(after, 10))
			}
			found := 0
			err = c.searchMessages(cmd.Context(), args[0], query, limit, func(messages []json.RawMessage) error {
				found += len(messages)
				if asJSON {
					return writeLines(cmd.OutOrStdout(), messages)
				}
				return writePeeked(cmd.OutOrStdout(), messages)
			})
			if err == nil && found == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "no %smessages in %s\n", search.such(), args[0])
			}
			return err
		},
	}
	addClientFlags(cmd)
	search.addFlags(cmd)
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
