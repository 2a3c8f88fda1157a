package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// flowScenario measures the main job, in process and without HTTP: messages of
// 1 KB on a queue call a function, and what it returns goes onto another queue.
// Taking the message and storing the result is one commit. 16 producers send
// tens, as far ahead of the results as keeps the flow busy; 2 consumers take
// the results, in large receives. The function returns what it gets:
//
//   - in Go, a message in each call, and ten;
//   - in Python, ten and one; it gets the body decoded, and its answer is
//     encoded: JSON both ways. A worker for each core;
//   - none: a loop that moves the messages in one commit, ten at a time: what
//     is left of a flow without dispatch;
//   - idle: 50 messages/s by a schedule, one at a time, to a function in Go,
//     from when a send was due to when the function has the message.
//
// The runs take turns, each in a process and a directory of its own. A last run
// in Go has profiles of processor time and of allocations.
func flowScenario(ctx context.Context, b *bench) error {
	calls := []string{"--concurrency", "16"}
	goOne := append([]string{"--flow", "go", "--batch", "1", "--ahead", "2000"}, calls...)
	sides := []flowSide{
		{name: "Go, batch 1", args: goOne, goal: 20_000},
		{name: "Go, batch 10", args: append([]string{"--flow", "go", "--batch", "10", "--ahead", "2000"}, calls...)},
		{name: "no flow, batch 10", args: append([]string{"--flow", "none", "--batch", "10", "--ahead", "2000"}, calls...)},
		{name: "Python, batch 10", args: append([]string{"--flow", "python", "--batch", "10", "--ahead", "2000"}, calls...), goal: 8000, needs: "python3"},
		{name: "Python, batch 1", args: append([]string{"--flow", "python", "--batch", "1", "--ahead", "500"}, calls...), goal: 3000, needs: "python3"},
	}
	idle := flowSide{name: "idle", args: []string{"--flow", "go", "--rate", "50"}}
	for run := 1; run <= b.pairs; run++ {
		for i := range sides {
			if err := sides[i].run(ctx, b, run, b.seconds(5)); err != nil {
				return err
			}
		}
		if err := idle.run(ctx, b, run, b.seconds(10)); err != nil {
			return err
		}
	}
	rows := [][]string{{"1 KB, fsync on", "messages/s, median", "goal", "send to result p50 / p99 ms", "CPU us/message: server", "workers", "allocations/message", "retried, dead, duplicate, lost", "each run, messages/s"}}
	missing := ""
	for _, s := range sides {
		if s.runs == nil {
			missing += s.name + " was not measured: " + s.needs + " is missing.\n\n"
			continue
		}
		rows = append(rows, s.row())
	}
	b.table(rows...)
	b.printf("%s", missing)
	b.printf("\"Server\" includes the producers and the consumers, which are in its process, and so do the allocations. " +
		"Latencies are those of a full queue in front of the flow: they follow from the rate, and from how far the producers are ahead.\n\n")
	if err := idle.report(b); err != nil {
		return err
	}
	return b.profileFlow(ctx, goOne)
}

// flowSide is one kind of run.
type flowSide struct {
	name  string
	args  []string
	goal  float64 // messages/s; 0: none
	needs string  // a program
	runs  []figures
}

func (s *flowSide) run(ctx context.Context, b *bench, run int, duration string) error {
	if s.needs != "" {
		if _, err := exec.LookPath(s.needs); err != nil {
			return nil //nolint:nilerr // the report says so
		}
	}
	f, err := b.flow(ctx, s.name, run, append([]string{"--duration", duration}, s.args...)...)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	return nil
}

// flow runs runnel load --flow with a new data directory.
func (b *bench) flow(ctx context.Context, label string, run int, args ...string) (f figures, err error) {
	dir, err := b.dir()
	if err != nil {
		return f, err
	}
	f, err = b.child(ctx, label, run, b.runnel, append([]string{"load", "--dir", dir}, args...)...)
	if err == nil && (f.Flow == nil || f.Flow.Result == nil) {
		err = fmt.Errorf("%s: no result came", label)
	}
	return f, errors.Join(err, b.remove(dir))
}

func (s *flowSide) row() []string {
	rate := of(s.runs, func(f *figures) float64 { return f.Rate })
	goal, workers := "-", "-"
	if s.goal > 0 {
		goal = fmt.Sprintf("%.0f: %s", s.goal, verdict(rate.median() >= s.goal))
	}
	if cpu := of(s.runs, func(f *figures) float64 { return f.Flow.WorkerCPU }).median(); cpu > 0 {
		workers = fmt.Sprintf("%.1f", cpu)
	}
	sum := func(pick func(*flowFigures) int64) (n int64) {
		for i := range s.runs {
			n += pick(s.runs[i].Flow)
		}
		return n
	}
	return []string{
		s.name,
		fmt.Sprintf("%.0f", rate.median()),
		goal,
		fmt.Sprintf("%.1f / %.1f", of(s.runs, func(f *figures) float64 { return f.Flow.Result.P50 }).median(), of(s.runs, func(f *figures) float64 { return f.Flow.Result.P99 }).median()),
		fmt.Sprintf("%.1f", of(s.runs, func(f *figures) float64 { return f.CPU }).median()),
		workers,
		fmt.Sprintf("%.1f", of(s.runs, func(f *figures) float64 { return f.Allocs }).median()),
		fmt.Sprintf("%d, %d, %d, %d", sum(func(f *flowFigures) int64 { return f.Retried }), sum(func(f *flowFigures) int64 { return f.Dead }),
			sum(func(f *flowFigures) int64 { return f.Duplicates }), sum(func(f *flowFigures) int64 { return f.Lost })),
		rate.list("%.0f"),
	}
}

// report writes the latencies of an idle flow.
func (s *flowSide) report(b *bench) error {
	row := func(name string, pick func(*figures) *latency) []string {
		cells := []string{name}
		for _, q := range []func(*latency) float64{
			func(l *latency) float64 { return l.P50 },
			func(l *latency) float64 { return l.P99 },
			func(l *latency) float64 { return l.P999 },
			func(l *latency) float64 { return l.Max },
		} {
			cells = append(cells, fmt.Sprintf("%.2f", of(s.runs, func(f *figures) float64 { return q(pick(f)) }).median()))
		}
		return cells
	}
	for i := range s.runs {
		if s.runs[i].Flow.Handler == nil {
			return errors.New("no message came to the handler")
		}
	}
	b.table(
		[]string{"idle, 50 messages/s, ms, medians", "p50", "p99", "p99.9", "max"},
		row("send to handler", func(f *figures) *latency { return f.Flow.Handler }),
		row("send to result", func(f *figures) *latency { return f.Flow.Result }),
		row("send", func(f *figures) *latency { return f.Send.Latency }),
	)
	p50 := of(s.runs, func(f *figures) float64 { return f.Flow.Handler.P50 })
	p99 := of(s.runs, func(f *figures) float64 { return f.Flow.Handler.P99 })
	b.printf("Each run, send to handler, p50: %s; p99: %s. Goal, p50 under 2 ms: %s; p99 under 10 ms: %s.\n\n",
		p50.list("%.2f"), p99.list("%.2f"), verdict(p50.median() < 2), verdict(p99.median() < 10))
	return nil
}

// profileFlow says where processor time and allocations of a flow go.
func (b *bench) profileFlow(ctx context.Context, args []string) error {
	cpu, mem := filepath.Join(b.scratch, "flow.prof"), filepath.Join(b.scratch, "flow-allocations.prof")
	f, err := b.flow(ctx, "Go, batch 1, with profiles", 1, append([]string{"--duration", b.seconds(5), "--cpuprofile", cpu, "--memprofile", mem}, args...)...)
	if err != nil {
		return err
	}
	times, err := b.shares(ctx, flowParts, cpu)
	if err != nil {
		return err
	}
	allocs, err := b.shares(ctx, flowParts, mem, "-sample_index=alloc_objects")
	if err != nil {
		return err
	}
	b.printf("## What a message costs in a flow\n\nOne more run in Go, batch 1, with profiles: %.0f messages/s, %.1f us of CPU and %.1f allocations per message.\n\n", f.Rate, f.CPU, f.Allocs)
	rows := [][]string{{"part", "share of CPU", "us/message", "allocations/message"}}
	allocsOf := make(map[string]float64)
	for _, s := range allocs {
		allocsOf[s.name] = s.share
	}
	for _, s := range times {
		rows = append(rows, []string{s.name, fmt.Sprintf("%.1f %%", 100*s.share), fmt.Sprintf("%.2f", s.share*f.CPU), fmt.Sprintf("%.1f", allocsOf[s.name]*f.Allocs)})
	}
	b.table(rows...)
	b.printf("A sample belongs to the first part of the list in bench/profile.go that its stack fits; allocations are sampled, from the start of the process on. The profile as text is in `flow-profile.txt`.\n")
	text, err := b.profileText(ctx, cpu)
	if err != nil || b.quick {
		return err
	}
	return b.write("flow-profile.txt", text)
}
