package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newFlowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flow",
		Short: "List flows, pause and resume one, see why it does not move",
	}
	cmd.AddCommand(newFlowLsCommand(), newFlowPauseCommand(true), newFlowPauseCommand(false), newFlowExplainCommand())
	return cmd
}

func newFlowLsCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the flows with what they do",
		Long: `List the flows of the key's account, by name; runnel get flows is the same.

backlog are the messages that can be received now, running those in a call.
handled, retried and dead(-lettered) count since the flow started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return get(cmd, flowKind, *output) },
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	return cmd
}

// newFlowPauseCommand makes pause, or resume.
func newFlowPauseCommand(pause bool) *cobra.Command {
	if !pause {
		return newPauseCommand(flowKind, "resume", "resumed", "resize-images", "Let a paused flow go on",
			"Let a paused flow go on. On one that is not paused it has no effect.")
	}
	return newPauseCommand(flowKind, "pause", "paused", "resize-images", "Let a flow take no more messages",
		`Let a flow take no more messages. Calls that have begun end as usual; messages
wait in their queue. It stays paused until runnel flow resume, across restarts
of the server too.`)
}

func newFlowExplainCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Say why a flow moves or does not",
		Long: `Say in one sentence whether a flow moves, and why not; then everything that holds
messages up now, with how many: slots, order, back-off, a pause, a source or a
sink that fails, workers that do not start.`,
		Example: `  runnel flow explain resize-images`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(*output, "text")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			path, err := c.path(ctx, flowKind, args[0])
			if err != nil {
				return err
			}
			var answer struct {
				State   string   `json:"state"`
				Summary string   `json:"summary"`
				Reasons []reason `json:"reasons"`
			}
			if err := c.do(ctx, "GET", path+"/explain", nil, &answer); err != nil {
				return c.suggest(ctx, flowKind, args[0], err)
			}
			if inJSON {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			var out strings.Builder
			fmt.Fprintln(&out, oneLine(answer.Summary))
			for _, r := range answer.Reasons {
				fmt.Fprintf(&out, "  %-10s %s\n", r.Code, oneLine(r.Text))
			}
			_, err = cmd.OutOrStdout().Write([]byte(out.String()))
			return err
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "text or json")
	return cmd
}

// reason is one thing that messages of a flow wait for.
type reason struct {
	Code  string `json:"code"`
	Count int64  `json:"count"`
	Text  string `json:"text"`
}
