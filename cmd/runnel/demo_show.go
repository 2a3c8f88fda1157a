package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// watch shows the progress, and returns when all messages are accounted for or
// nothing moves.
func (s *demoStage) watch(ctx context.Context, out io.Writer) error {
	const every = 50 * time.Millisecond
	terminal := isTerminal(out)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for printed := time.Now(); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := s.refresh(ctx); err != nil {
			return err
		}
		open := s.open()
		s.mu.Lock()
		line := fmt.Sprintf("   sent %d  handled %d  results %d  retried %d  dead letters %d",
			s.counts.sent, s.stats.Stats.Handled, s.counts.results, s.stats.Stats.Retried, s.counts.dead)
		idle, settled := time.Since(s.progress), s.settled
		s.mu.Unlock()
		ended := open == 0 && settled || idle > demoPatience
		switch {
		case terminal && ended:
			fmt.Fprintf(out, "\r%s\n", line)
		case terminal:
			fmt.Fprintf(out, "\r%s", line)
		case ended || time.Since(printed) >= time.Second:
			fmt.Fprintln(out, line)
			printed = time.Now()
		}
		if ended {
			return nil // the summary says what is missing
		}
	}
}

// isTerminal says whether a person may be watching.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// writeSummary prints what became of the messages.
func writeSummary(out io.Writer, files *demoFiles, stages []*demoStage) error {
	var b strings.Builder
	row := func(name string, cell func(*demoStage) string) {
		fmt.Fprintf(&b, "%-22s", name)
		for _, s := range stages {
			fmt.Fprintf(&b, "%17s", cell(s))
		}
		b.WriteByte('\n')
	}
	number := func(name string, v func(*demoStage) int) {
		row(name, func(s *demoStage) string { return strconv.Itoa(v(s)) })
	}
	quantile := func(name string, q float64) {
		row(name, func(s *demoStage) string { return s.latency.quantile(q).Round(100 * time.Microsecond).String() })
	}
	b.WriteByte('\n')
	row("flow", func(s *demoStage) string { return s.flow.name })
	row("function", func(s *demoStage) string { return s.flow.function })
	row("in", func(s *demoStage) string { return files.language(s.flow.function) })
	number("sent", func(s *demoStage) int { return s.counts.sent })
	number("handled", func(s *demoStage) int { return int(s.stats.Stats.Handled) })
	number("published", func(s *demoStage) int { return int(s.stats.Stats.Published) })
	number("results seen", func(s *demoStage) int { return s.counts.results })
	number("retried", func(s *demoStage) int { return int(s.stats.Stats.Retried) })
	number("dead-lettered", func(s *demoStage) int { return s.counts.dead })
	number("duplicates", func(s *demoStage) int { return s.counts.duplicates })
	number("unaccounted for", (*demoStage).open)
	quantile("send to result, p50", 0.5)
	quantile("send to result, p99", 0.99)
	fmt.Fprintf(&b, "\nEach send was fsynced before it was acknowledged; %d senders and %d receivers at full speed.\n", demoWorkers, demoWorkers)
	for _, s := range stages {
		if s.reason != "" {
			fmt.Fprintf(&b, "Dead letters of %s were broken on purpose: %s.\n", s.flow.name, s.reason)
		}
	}
	last := stages[len(stages)-1]
	// The receivers may have overtaken each other.
	slices.SortStableFunc(last.states, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	fmt.Fprintf(&b, "\nThe states that one record went through:\n\n")
	for i, state := range last.states {
		word := "   sent  "
		if i > 0 {
			word = "returned "
		}
		fmt.Fprintf(&b, "  %s %s\n", word, state)
	}
	b.WriteString("  returned  null, and is done\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// writeNext prints what a person may do next.
func writeNext(out io.Writer, url, program string, files *demoFiles) error {
	var b strings.Builder
	b.WriteString("\nThe server goes on until Ctrl-C. In another terminal:\n\n")
	fmt.Fprintf(&b, "  export RUNNEL_URL=%s\n", url)
	for _, line := range [][2]string{
		{`send images '{"name": "cat.png", "width": 1600, "height": 900}'`, ""},
		{"receive --wait 5s thumbnails", ""},
		{`send greetings '{"id": 7}'`, ""},
		{"receive -n 2 --wait 5s states", ""},
		{"flow ls", ""},
		{"flow explain make-thumbnails", ""},
		{"logs --tail 5", "# with -f it goes on"},
		{"dlq ls images-dead", ""},
		{"dlq show images-dead", "# why, with the stack"},
	} {
		fmt.Fprintf(&b, "  %s\n", strings.TrimRight(fmt.Sprintf("%s %s  %s", program, line[0], line[1]), " "))
	}
	fmt.Fprintf(&b, "  curl %s  # the same with the AWS CLI and boto3\n", url)
	b.WriteString("\nEdit and save; a change is live at once, and the old version ends its calls:\n\n")
	for _, f := range files.Declared() {
		fmt.Fprintf(&b, "  %s\n", f.file)
	}
	fmt.Fprintf(&b, "  %s\n", files.spec)
	if len(files.Declared()) > 0 {
		fmt.Fprintf(&b, "\nWith a width for the broken images, send the dead letters again:\n\n  %s dlq redrive images-dead --all\n", program)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
