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

// parts of the engine, by functions that are somewhere on the stack of a
// sample, or by its labels. The first part that fits counts.
var parts = []struct {
	name  string
	marks []string
}{
	{"background: flush and compaction", []string{"pebble: flush", "pebble: compact", "pebble: gc"}},
	{"log of the engine: fsync", []string{"(*LogWriter).sync", "vfs.(*linuxFile).SyncData", "vfs.(*syncingFile).Sync"}},
	{"log of the engine: write", []string{"record.(*LogWriter)."}},
	{"memtable: insert", []string{"pebble/v2.(*memTable).", "arenaskl."}},
	{"group writer: merge and apply", []string{"internal/store.(*Store).write"}},
	{"group writer: wait and tell", []string{"internal/store.(*Store).settle"}},
	{"queue: record, id, index, wait", []string{"runnel/internal/queue.", "runnel/internal/store."}},
	{"load generator", []string{"main."}},
	{"garbage collection", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart"}},
	{"goroutine scheduler", []string{"runtime.mcall", "runtime.schedule", "runtime.findRunnable", "runtime.mstart", "runtime.sysmon", "runtime.park_m", "runtime.goexit0", "runtime.rt0_go"}},
}

// share is the part of all samples that a part of the engine has.
type share struct {
	name  string
	share float64
}

// shares groups the samples of a CPU profile.
func (b *bench) shares(ctx context.Context, profile string) ([]share, error) {
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", b.runnel, profile).Output()
	if err != nil {
		return nil, fmt.Errorf("read the profile: %w", err)
	}
	return parseTraces(text)
}

// parseTraces reads what pprof -traces prints: stacks under lines of dashes,
// the labels of the sample first, as "key: value", then the innermost function
// behind the sample's time.
func parseTraces(text []byte) ([]share, error) {
	total := make(map[string]time.Duration)
	var sum, value time.Duration
	var labels, stack []string
	end := func() {
		if len(stack) > 0 {
			total[partOf(stack)] += value
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

func partOf(stack []string) string {
	for _, p := range parts {
		for _, mark := range p.marks {
			if slices.ContainsFunc(stack, func(f string) bool { return strings.Contains(f, mark) }) {
				return p.name
			}
		}
	}
	return "other"
}

// parseValue reads a duration as pprof writes it: 10ms, 1.50s, 2mins.
func parseValue(s string) (time.Duration, error) {
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
