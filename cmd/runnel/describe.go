package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDescribeCommand() *cobra.Command {
	var output *string
	cmd := &cobra.Command{
		Use:   "describe function|flow|queue NAME",
		Short: "Print all there is to know of a function, a flow or a queue",
		Long: `Print the settings of a function, a flow or a queue with their defaults filled in,
and what it does now. The values of a function's environment are not shown.

With -o json it prints what the API answers.`,
		Example: `  runnel describe function resize
  runnel describe flow/resize-images -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, name, err := kindAndName(args)
			if err != nil {
				return err
			}
			inJSON, err := asJSON(*output, "text")
			if err != nil {
				return err
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			raw, err := c.find(cmd.Context(), k, name)
			if err != nil {
				return err
			}
			if inJSON {
				text, err := indented(raw)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
				return err
			}
			s, err := describers[k](raw)
			if err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			return s.write(cmd.OutOrStdout())
		},
	}
	addClientFlags(cmd)
	output = addOutputFlag(cmd, "text or json")
	return cmd
}

// describers print a resource of each kind.
var describers = map[kind]func(json.RawMessage) (*sheet, error){
	functionKind: describeFunction,
	flowKind:     describeFlow,
	queueKind:    describeQueue,
}

// shownHistory is how many changes of the live version are printed; -o json has
// all that are kept.
const shownHistory = 10

func describeFunction(raw json.RawMessage) (*sheet, error) {
	var f functionInfo
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	var s sheet
	s.line("function", f.Name)
	s.line("state", f.State)
	s.line("last error", f.LastError)
	s.line("live", strings.TrimSpace(f.Live+" "+f.version(f.Live).Semantic))
	s.line("deployed", when(f.Deployed))
	s.line("file", f.OwnerFile)
	s.line("workers", fmt.Sprintf("%d busy, %d idle, %d starting; %d to %d", f.Workers.Busy, f.Workers.Idle, f.Workers.Starting, f.Workers.Min, f.Workers.Max))
	s.line("calls", fmt.Sprintf("%d, %d of them failed: %d by timeout, %d by a crash, %d out of memory; %d worker starts",
		f.Stats.Calls, f.Stats.Errors, f.Stats.Timeouts, f.Stats.Crashes, f.Stats.OutOfMemory, f.Stats.Starts))
	delete(f.Definition, "name")
	s.block("settings", settings(f.Definition))
	var limits, versions table
	for _, l := range f.Limits {
		force := "in force"
		if !l.InForce {
			force = "NOT in force"
		}
		limits.row(l.Name, l.Wanted, force, l.How)
	}
	s.block("limits", limits.String())
	for _, v := range f.Versions {
		v.Live = v.Version == f.Live
		versions.row(v.row()...)
	}
	s.block("versions", versions.String())
	var history table
	for i, c := range f.History {
		if i == shownHistory {
			break
		}
		history.row(when(c.Time), c.Version, f.version(c.Version).Semantic, c.How, c.By)
	}
	s.block("was live", history.String())
	return &s, nil
}

func describeFlow(raw json.RawMessage) (*sheet, error) {
	var f flowInfo
	all := make(map[string]any)
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	var s sheet
	s.line("flow", f.Name)
	s.line("state", f.State)
	s.line("error", f.Error)
	s.line("from", f.From)
	s.line("call", f.Call)
	s.line("version", f.Version)
	s.line("to", cmp.Or(strings.Join(f.To, ", "), "nowhere: results are dropped"))
	s.line("dead letters", f.DeadLetter)
	s.line("file", f.OwnerFile)
	s.line("features", strings.Join(f.Features, ", "))
	if b := f.Backlog; b.Visible >= 0 {
		oldest := ""
		if !b.Oldest.IsZero() {
			oldest = ", the oldest of " + when(b.Oldest)
		}
		s.line("backlog", fmt.Sprintf("%d visible, %d in flight, %d delayed%s", b.Visible, b.InFlight, b.Delayed, oldest))
	}
	st := f.Stats
	s.line("now", fmt.Sprintf("%d in calls, %d parked, %d calls wait for a worker", st.InFlight, st.Parked, st.Waiting))
	s.line("so far", fmt.Sprintf("%d received, %d calls, %d handled, %d published, %d filtered", st.Received, st.Calls, st.Handled, st.Published, st.Filtered))
	s.line("failures", fmt.Sprintf("%d retried, %d released, %d dead-lettered, %d leases lost", st.Retried, st.Released, st.DeadLettered, st.LeaseLost))
	// What was not shown yet is a setting.
	for _, name := range []string{
		"name", "state", "error", "from", "call", "version", "to", "dead_letter", "owner_file", "features", "backlog", "stats",
	} {
		delete(all, name)
	}
	s.block("settings", settings(all))
	return &s, nil
}

func describeQueue(raw json.RawMessage) (*sheet, error) {
	var q struct {
		queueInfo
		OwnerFile string         `json:"owner_file"`
		Settings  map[string]any `json:"settings"`
		Created   time.Time      `json:"created"`
		Oldest    time.Time      `json:"oldest"`
		Modified  time.Time      `json:"modified"`
	}
	var more struct {
		Stats struct {
			Expired      uint64 `json:"expired"`
			DeadLettered uint64 `json:"dead_lettered"`
			Moved        uint64 `json:"moved"`
			Deduplicated uint64 `json:"deduplicated"`
			Groups       int    `json:"groups"`
			Locked       int    `json:"groups_locked"`
			Receivers    int    `json:"receivers"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &more); err != nil {
		return nil, err
	}
	var s sheet
	s.line("queue", q.Name)
	s.line("account", q.Account)
	s.line("file", q.OwnerFile)
	if q.Paused {
		s.line("state", "paused: receives find nothing until runnel queue resume "+q.Name)
	}
	s.line("messages", fmt.Sprintf("%d visible, %d in flight, %d delayed", q.Visible, q.InFlight, q.Delayed))
	s.line("oldest", when(q.Oldest))
	if more.Stats.Groups > 0 {
		s.line("groups", fmt.Sprintf("%d, %d of them locked", more.Stats.Groups, more.Stats.Locked))
	}
	s.line("so far", fmt.Sprintf("%d sent, %d received, %d deleted, %d expired, %d dead-lettered, %d moved, %d deduplicated",
		q.Stats.Sent, q.Stats.Received, q.Stats.Deleted, more.Stats.Expired, more.Stats.DeadLettered, more.Stats.Moved, more.Stats.Deduplicated))
	s.line("receivers", fmt.Sprintf("%d wait for a message", more.Stats.Receivers))
	s.line("created", when(q.Created))
	s.line("modified", when(q.Modified))
	s.block("settings", settings(q.Settings))
	return &s, nil
}

// settings prints values by their paths, sorted, one in a line.
func settings(values map[string]any) string {
	flat := make(map[string]string)
	flatten("", values, flat)
	var t table
	for _, path := range slices.Sorted(maps.Keys(flat)) {
		t.row(path, flat[path])
	}
	return t.String()
}

func flatten(path string, value any, to map[string]string) {
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for name, one := range v {
			flatten(strings.TrimPrefix(path+"."+name, "."), one, to)
		}
	case []any:
		words := make([]string, len(v))
		for i, one := range v {
			words[i] = fmt.Sprint(one)
		}
		to[path] = strings.Join(words, ", ")
	case float64:
		to[path] = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		to[path] = fmt.Sprint(v)
	}
}
