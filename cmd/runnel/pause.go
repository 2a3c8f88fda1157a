package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newPauseCommand makes a command that pauses or resumes something.
func newPauseCommand(k kind, use, done, example, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " NAME", Short: short, Long: long, Example: "  runnel " + k.name + " " + use + " " + example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			path, err := c.path(ctx, k, args[0])
			if err != nil {
				return err
			}
			if err := c.do(ctx, "POST", path+"/"+use, nil, nil); err != nil {
				return c.suggest(ctx, k, args[0], err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s\n", done, k.name, args[0])
			return err
		},
	}
	addClientFlags(cmd)
	return cmd
}

// newQueuePauseCommand makes pause, or resume.
func newQueuePauseCommand(pause bool) *cobra.Command {
	if !pause {
		return newPauseCommand(queueKind, "resume", "resumed", "images", "Let receives find the messages of a paused queue again",
			"Let receives find the messages of a paused queue again; those that wait are\nwoken at once. On a queue that is not paused it has no effect.")
	}
	return newPauseCommand(queueKind, "pause", "paused", "images", "Let receives from a queue find nothing",
		`Let receives from a queue find nothing: those of clients, which wait as on an
empty queue, and those of flows. Sends are taken, and what was received can be
deleted; visibility timeouts, retention, runnel queue move and runnel dlq redrive
go on. It stays paused until runnel queue resume, across restarts of the server
too, or until a spec file is applied that says otherwise.`)
}
