package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newQueueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "List queues, look into one, pause one, move messages, empty one",
	}
	cmd.AddCommand(newQueueLsCommand(), newQueuePeekCommand(), newQueuePurgeCommand(),
		newQueuePauseCommand(true), newQueuePauseCommand(false), newQueueTransferCommand(false), newQueueTransferCommand(true), newQueueDeliveryCommand())
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
