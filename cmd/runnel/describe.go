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

	"github.com/runnel-io/runnel"
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
	st := f.Stats
	s.line("workers", fmt.Sprintf("%d busy, %d idle, %d starting; %d to %d; %d started so far",
		f.Workers.Busy, f.Workers.Idle, f.Workers.Starting, f.Workers.Min, f.Workers.Max, st.Starts))
	s.line("calls", fmt.Sprintf("%d ended, %d interrupted, %d wait for a worker", st.Calls, st.Interrupted, st.Waiting))
	s.line("failures", fmt.Sprintf("%d: %d by timeout, %d by a crash, %d out of memory", st.Errors, st.Timeouts, st.Crashes, st.OutOfMemory))
	s.line("peak memory", memory(st.PeakMemory))
	s.block("durations", f.durations())
	s.block("by version", f.byVersion())
	delete(f.Definition, "name")
	sizes(f.Definition, "memory", "max_input", "max_output")
	if limits, ok := f.Definition["limits"].(map[string]any); ok {
		sizes(limits, "file_size", "temp")
	}
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

// durations prints how long calls and starts took, "" if there were none.
func (f *functionInfo) durations() string {
	if f.Stats.Wait.Count+f.Stats.Start.Count+f.Stats.Run.Count == 0 {
		return ""
	}
	t := table{rows: [][]string{{"", "count", "mean", "p50", "p95", "p99"}}}
	for _, d := range []struct {
		name string
		took durations
	}{{"wait", f.Stats.Wait}, {"start", f.Stats.Start}, {"run", f.Stats.Run}} {
		if d.took.Count == 0 {
			t.row(d.name, "0", "", "", "", "")
			continue
		}
		t.row(d.name, count(d.took.Count), milliseconds(d.took.Mean), atMost(d.took.P50), atMost(d.took.P95), atMost(d.took.P99))
	}
	return t.String()
}

// byVersion prints what each version did that had workers, "" if none had.
func (f *functionInfo) byVersion() string {
	var t table
	t.row("version", "calls", "failed", "run p50", "p99", "memory", "live")
	for _, v := range f.Versions {
		s := v.Stats
		if s == nil {
			continue
		}
		p50, p99, live := "", "", ""
		if s.Run.Count > 0 {
			p50, p99 = atMost(s.Run.P50), atMost(s.Run.P99)
		}
		if v.Version == f.Live {
			live = "live"
		}
		t.row(v.Version, count(s.Calls), count(s.Errors), p50, p99, memory(s.PeakMemory), live)
	}
	if len(t.rows) == 1 {
		return ""
	}
	return t.String()
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
	if q := f.Accepted; q != nil {
		s.line("accepted", fmt.Sprintf("%d so far; in %s, its own queue: %d visible, %d in flight, %d delayed", q.Total, q.Queue, q.Visible, q.InFlight, q.Delayed))
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

// sizes puts numbers of bytes as a spec file has them.
func sizes(values map[string]any, names ...string) {
	for _, name := range names {
		if n, ok := values[name].(float64); ok {
			values[name] = runnel.Size(n).String()
		}
	}
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
