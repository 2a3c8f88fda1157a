package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// part is a part of what was profiled, by functions that are somewhere on the
// stack of a sample, or by its labels. The first part that fits counts.
type part struct {
	name   string
	marks  []string // one of them
	within string   // and this one, if it is set
}

// parts of the engine.
var engineParts = []part{
	{name: "background: flush and compaction", marks: []string{"pebble: flush", "pebble: compact", "pebble: gc"}},
	{name: "log of the engine: fsync", marks: []string{"(*LogWriter).sync", "vfs.(*linuxFile).SyncData", "vfs.(*syncingFile).Sync"}},
	{name: "log of the engine: write", marks: []string{"record.(*LogWriter)."}},
	{name: "memtable: insert", marks: []string{"pebble/v2.(*memTable).", "arenaskl."}},
	{name: "group writer: merge and apply", marks: []string{"internal/store.(*Store).write"}},
	{name: "group writer: wait and tell", marks: []string{"internal/store.(*Store).settle"}},
	{name: "queue: record, id, index, wait", marks: []string{"runnel/internal/queue.", "runnel/internal/store."}},
	{name: "load generator", marks: []string{"main."}},
	{name: "garbage collection", marks: []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{name: "goroutine scheduler", marks: []string{"runtime.mcall", "runtime.schedule", "runtime.findRunnable", "runtime.mstart", "runtime.sysmon", "runtime.park_m", "runtime.goexit0", "runtime.rt0_go"}},
}

// flowParts are those of a server with a flow, and a load on it.
var flowParts = []part{
	{name: "background: flush and compaction", marks: []string{"pebble: flush", "pebble: compact", "pebble: gc"}},
	{name: "log of the engine: fsync", marks: []string{"(*LogWriter).sync", "vfs.(*linuxFile).SyncData", "vfs.(*syncingFile).Sync"}},
	{name: "log of the engine: write", marks: []string{"record.(*LogWriter)."}},
	{name: "memtable and group writer", marks: []string{"pebble/v2.(*memTable).", "arenaskl.", "internal/store.(*Store).write", "internal/store.(*Store).settle"}},
	{name: "load: queues, sends and results", marks: []string{"runnel/internal/queue.", "runnel/internal/store."}, within: "main.(*flowLoad)."},
	{name: "flow: queues, receive and commit", marks: []string{"runnel/internal/queue.", "runnel/internal/store."}},
	{name: "load: handler", marks: []string{"main.(*flowLoad).echo"}},
	{name: "flow: workers and frames", marks: []string{"runnel/internal/worker."}},
	{name: "flow: dispatch", marks: []string{"runnel/internal/dispatch.", "runnel/internal/envelope.", "runnel/internal/function.", "runnel/server."}},
	{name: "load: the rest", marks: []string{"main."}},
	{name: "garbage collection", marks: []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{name: "goroutine scheduler", marks: []string{"runtime.mcall", "runtime.schedule", "runtime.findRunnable", "runtime.mstart", "runtime.sysmon", "runtime.park_m", "runtime.goexit0", "runtime.rt0_go"}},
}

// share is the part of all samples that a part of the engine has.
type share struct {
	name  string
	share float64
}

// shares groups the samples of a profile; options say which of them.
func (b *bench) shares(ctx context.Context, parts []part, profile string, options ...string) ([]share, error) {
	args := append(append([]string{"tool", "pprof", "-traces"}, options...), b.runnel, profile)
	text, err := exec.CommandContext(ctx, "go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("read the profile: %w", err)
	}
	return parseTraces(parts, text)
}

// parseTraces reads what pprof -traces prints: stacks under lines of dashes,
// the labels of the sample first, as "key: value", then the innermost function
// behind the sample's time, or its count.
func parseTraces(parts []part, text []byte) ([]share, error) {
	total := make(map[string]time.Duration)
	var sum, value time.Duration
	var labels, stack []string
	end := func() {
		if len(stack) > 0 {
			total[partOf(parts, stack)] += value
			sum += value
		}
		labels, stack, value = nil, nil, 0
	}
	inside := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 0 && strings.HasPrefix(fields[0], "-----"):
			end()
			inside = true
		case !inside || len(fields) == 0:
		case len(stack) == 0:
			if len(fields) < 2 {
				continue
			}
			d, err := parseValue(fields[0])
			if err != nil {
				labels = append(labels, strings.Join(fields, " "))
				continue
			}
			value = d
			stack = append(labels, fields[1])
		default:
			stack = append(stack, fields[0])
		}
	}
	end()
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the profile: %w", err)
	}
	if sum == 0 {
		return nil, fmt.Errorf("the profile has no samples")
	}
	var out []share
	for name, d := range total {
		out = append(out, share{name, float64(d) / float64(sum)})
	}
	slices.SortFunc(out, func(a, b share) int {
		if a.share != b.share {
			if a.share > b.share {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return out, nil
}

func partOf(parts []part, stack []string) string {
	has := func(mark string) bool {
		return slices.ContainsFunc(stack, func(f string) bool { return strings.Contains(f, mark) })
	}
	for _, p := range parts {
		if slices.ContainsFunc(p.marks, has) && (p.within == "" || has(p.within)) {
			return p.name
		}
	}
	return "other"
}

// parseValue reads a duration as pprof writes it, 10ms, 1.50s, 2mins, or a
// count, which it returns as so many nanoseconds.
func parseValue(s string) (time.Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(n), nil
	}
	if m, ok := strings.CutSuffix(s, "mins"); ok {
		v, err := strconv.ParseFloat(m, 64)
		return time.Duration(v * float64(time.Minute)), err
	}
	return time.ParseDuration(s)
}

// profileText is a profile for people: what is on top, and what is below it.
func (b *bench) profileText(ctx context.Context, profile string) ([]byte, error) {
	var out []byte
	for _, order := range []string{"-flat", "-cum"} {
		text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", order, "-nodecount=50", b.runnel, profile).Output()
		if err != nil {
			return nil, fmt.Errorf("read the profile: %w", err)
		}
		out = append(append(out, text...), '\n')
	}
	return bytes.ReplaceAll(out, []byte(b.scratch+"/"), nil), nil
}
