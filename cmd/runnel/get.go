package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newGetCommand() *cobra.Command {
	var output *string
	var everybody bool
	cmd := &cobra.Command{
		Use:   "get functions|flows|queues|dead-letters",
		Short: "List functions, flows, queues or dead-letter queues",
		Long: `List the functions, flows, queues or dead-letter queues of the key's account, by
name. A dead-letter queue is one that a flow or another queue gives messages up
to.

Counts are since the server was started; what waits or is in flight is of this
moment. With -o json each is a line of JSON, with all its settings.

get flows --all lists those of all accounts, as the event listeners that they are to
Algorithmia's clients; this needs an admin key.`,
		Example: `  runnel get functions
  runnel get flows -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := kindOf(args[0], functionKind, flowKind, queueKind, deadLetterKind)
			switch {
			case err != nil:
				return err
			case everybody && k != flowKind:
				return &usageError{"--all is for flows"}
			case everybody:
				return getListeners(cmd, *output)
			}
			return get(cmd, k, *output)
		},
	}
	cmd.Flags().BoolVar(&everybody, "all", false, "the flows of all accounts")
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "table or json")
	return cmd
}

// get prints the resources of a kind.
func get(cmd *cobra.Command, k kind, output string) error {
	lines, err := asJSON(output, "table")
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	all, err := c.list(cmd.Context(), k)
	if err != nil {
		return err
	}
	if lines {
		return writeLines(cmd.OutOrStdout(), all)
	}
	if len(all) == 0 {
		hint := "runnel apply -f runnel.yaml makes them"
		switch k {
		case queueKind:
			hint = "runnel send --create QUEUE BODY makes one"
		case deadLetterKind:
			hint = "no flow or queue has one"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "no %s at %s: %s\n", strings.ReplaceAll(k.plural, "dead-letters", "dead-letter queues"), c.base, hint)
		return nil
	}
	switch k {
	case functionKind:
		return writeFunctions(cmd.OutOrStdout(), all)
	case flowKind:
		return writeFlows(cmd.OutOrStdout(), all)
	case deadLetterKind:
		return writeDeadLetterQueues(cmd.OutOrStdout(), all)
	}
	return writeQueues(cmd.OutOrStdout(), all)
}

// getListeners prints the flows of all accounts.
func getListeners(cmd *cobra.Command, output string) error {
	lines, err := asJSON(output, "table")
	if err != nil {
		return err
	}
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	var raw []json.RawMessage
	if err := c.do(cmd.Context(), "GET", "/v1/admin/event-listeners", nil, &raw); err != nil {
		return err
	}
	if lines {
		return writeLines(cmd.OutOrStdout(), raw)
	}
	all, err := decodeAll[struct {
		ListenerOwner, Flow, SourceType, SourceURI, AlgoOwner, AlgoName, AlgoVersion, AckMode string
		Enabled                                                                               bool
	}](raw)
	if err != nil {
		return err
	}
	var t table
	t.row("account", "flow", "type", "source", "algorithm", "version", "ack", "enabled")
	for _, l := range all {
		t.row(l.ListenerOwner, l.Flow, l.SourceType, l.SourceURI, l.AlgoOwner+"/"+l.AlgoName, l.AlgoVersion, l.AckMode, strconv.FormatBool(l.Enabled))
	}
	return t.write(cmd.OutOrStdout())
}

func writeFunctions(out io.Writer, raw []json.RawMessage) error {
	all, err := decodeAll[functionInfo](raw)
	if err != nil {
		return err
	}
	var t table
	t.row("function", "state", "runtime", "live", "number", "deployed", "busy", "idle", "max", "calls", "failed", "file")
	for _, f := range all {
		runtime, _ := f.Definition["runtime"].(string)
		t.row(f.Name, strings.ReplaceAll(f.State, " ", "-"), runtime, shortVersion(f.Live), f.version(f.Live).Semantic, strings.ReplaceAll(when(f.Deployed), " ", "T"),
			strconv.Itoa(f.Workers.Busy), strconv.Itoa(f.Workers.Idle), strconv.Itoa(f.Workers.Max),
			count(f.Stats.Calls), count(f.Stats.Errors), f.OwnerFile)
	}
	return t.write(out)
}

func writeFlows(out io.Writer, raw []json.RawMessage) error {
	all, err := decodeAll[flowInfo](raw)
	if err != nil {
		return err
	}
	var t table
	t.row("flow", "state", "from", "call", "to", "backlog", "running", "handled", "retried", "dead", "file")
	for _, f := range all {
		t.row(f.Name, f.State, f.From, f.Call, strings.Join(f.To, ","), number(f.Backlog.Visible), strconv.Itoa(f.Stats.InFlight),
			count(f.Stats.Handled), count(f.Stats.Retried), count(f.Stats.DeadLettered), f.OwnerFile)
	}
	return t.write(out)
}

func writeDeadLetterQueues(out io.Writer, raw []json.RawMessage) error {
	all, err := decodeAll[deadLetterQueue](raw)
	if err != nil {
		return err
	}
	var t table
	t.row("queue", "visible", "in-flight", "oldest", "flows")
	for _, q := range all {
		t.row(q.Queue, number(q.Visible), number(q.InFlight), strings.ReplaceAll(when(q.Oldest), " ", "T"), strings.Join(q.Flows, ","))
	}
	return t.write(out)
}

func newDeleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "delete function|flow|queue NAME",
		Short: "Delete a function, a flow or a queue",
		Long: `Delete a function with all its versions, a flow, or a queue.

A flow takes no more messages, ends the calls that it has begun, and is gone;
its queues stay. A function that a flow calls, a queue that a flow uses, and
what a file declares that was applied are not deleted: change the flow, or apply
the file without it. A queue that holds messages is deleted with --force only.`,
		Example: `  runnel delete flow resize-images
  runnel delete function/demo/resize
  runnel delete queue images --force`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, name, err := kindAndName(args)
			if err != nil {
				return err
			}
			if force && k != queueKind {
				return &usageError{"--force is for queues: it deletes the messages too"}
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			path, err := c.path(ctx, k, name)
			if err != nil {
				return err
			}
			if force {
				path += "?force=true"
			}
			if err := c.do(ctx, "DELETE", path, nil, nil); err != nil {
				return c.suggest(ctx, k, name, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s %s\n", k.name, name)
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "delete a queue with the messages that it holds")
	return cmd
}

// find returns one resource as the API has it.
func (c *client) find(ctx context.Context, k kind, name string) (json.RawMessage, error) {
	path, err := c.path(ctx, k, name)
	if err != nil {
		return nil, err
	}
	var raw json.RawMessage
	err = c.do(ctx, "GET", path, nil, &raw)
	return raw, c.suggest(ctx, k, name, err)
}
