package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// engineScenario measures the queue in process, without HTTP, against the
// least that a durable append can do (appendlog.go), on the same disk:
//
//   - 64 producers send messages of 1 KB, one at a time, and wait for each to
//     be durable: the queue's Send, and the log's append.
//   - the same producers, while consumers receive and delete: as SQS clients do
//     (16 consumers, tens, what they are told is durable first), and as a flow
//     does (2 consumers, hundreds, leases in memory).
//
// The runs take turns, each in a process and a directory of its own. A last
// run of the sends has a CPU profile.
func engineScenario(ctx context.Context, b *bench) error {
	const producers, goal = "64", 0.45
	duration := b.seconds(5)
	sides := []struct {
		name string
		args []string // nil: the log
		runs []figures
	}{
		{name: "log: append"},
		{name: "queue: send", args: []string{"--mode", "send"}},
		{name: "queue: send, receive, delete; clients", args: []string{"--mode", "cycle", "--consumers", "16", "--receive-batch", "10"}},
		{name: "queue: send, receive, delete; flow", args: []string{"--mode", "cycle", "--leases", "--consumers", "2", "--receive-batch", "100"}},
	}
	for run := 1; run <= b.pairs; run++ {
		for i := range sides {
			s := &sides[i]
			var f figures
			var err error
			if s.args == nil {
				f, err = b.runAppendLog(ctx, s.name, run, "-producers", producers, "-size", "1024", "-duration", duration)
			} else {
				f, err = b.engine(ctx, s.name, run, "", append(s.args, "--producers", producers, "--size", "1024", "--duration", duration)...)
			}
			if err != nil {
				return err
			}
			s.runs = append(s.runs, f)
		}
	}
	log := sides[0].runs
	rate := func(f *figures) float64 { return f.Rate }
	rows := [][]string{{"64 producers, 1 KB", "messages/s, median", "of the log", "send p50 / p99 ms", "CPU us/message", "cores busy", "bytes written/message", "sends per commit", "each run, messages/s"}}
	for _, s := range sides {
		perCommit := of(s.runs, func(f *figures) float64 { return f.BatchesPerCommit }).median()
		share := "-"
		if perCommit > 0 {
			share = fmt.Sprintf("%.0f", perCommit)
		}
		rows = append(rows, []string{
			s.name,
			fmt.Sprintf("%.0f", of(s.runs, rate).median()),
			fmt.Sprintf("%.0f %%", 100*of(s.runs, rate).over(of(log, rate)).median()),
			fmt.Sprintf("%.2f / %.2f", of(s.runs, func(f *figures) float64 { return f.Send.Latency.P50 }).median(), of(s.runs, func(f *figures) float64 { return f.Send.Latency.P99 }).median()),
			fmt.Sprintf("%.1f", of(s.runs, func(f *figures) float64 { return f.CPU }).median()),
			fmt.Sprintf("%.2f", of(s.runs, func(f *figures) float64 { return f.CPU * f.Rate / 1e6 }).median()),
			fmt.Sprintf("%.0f", of(s.runs, func(f *figures) float64 { return f.WrittenBytes }).median()),
			share,
			of(s.runs, rate).list("%.0f"),
		})
	}
	b.table(rows...)
	ratio := of(sides[1].runs, rate).over(of(log, rate)).median()
	b.printf("Sends are at %.0f %% of the log, median of the ratios of %d interleaved runs; goal at least %.0f %%: %s.\n\n",
		100*ratio, b.pairs, 100*goal, verdict(ratio >= goal))
	b.printf("\"Cores busy\" and CPU include the load generator in the same process. \"Sends per commit\" are batches in a commit of the group writer; with consumers, their batches too. Commits can share an fsync. " +
		"Bytes written are what the process had the disk write: of the queue, the log of the engine (once per message), and what is flushed and compacted of messages that stay.\n\n")
	return b.profileEngine(ctx, producers, duration)
}

// runAppendLog measures the log in a new directory.
func (b *bench) runAppendLog(ctx context.Context, label string, run int, args ...string) (f figures, err error) {
	dir, err := b.dir()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return b.child(ctx, label, run, b.self, append([]string{"appendlog", "-dir", dir}, args...)...)
}

// profileEngine says where the processor time of the sends goes.
func (b *bench) profileEngine(ctx context.Context, producers, duration string) error {
	profile := filepath.Join(b.scratch, "engine.prof")
	f, err := b.engine(ctx, "queue: send, with a profile", 1, "", "--mode", "send", "--producers", producers, "--duration", duration, "--cpuprofile", profile)
	if err != nil {
		return err
	}
	shares, err := b.shares(ctx, engineParts, profile)
	if err != nil {
		return err
	}
	b.printf("## Where the processor time of a send goes\n\nOne more run of the sends, with a profile: %.0f messages/s, %.1f us of CPU per message.\n\n", f.Rate, f.CPU)
	rows := [][]string{{"part", "share", "us/message"}}
	for _, s := range shares {
		rows = append(rows, []string{s.name, fmt.Sprintf("%.1f %%", 100*s.share), fmt.Sprintf("%.2f", s.share*f.CPU)})
	}
	b.table(rows...)
	b.printf("A sample belongs to the first part of the list in bench/profile.go that its stack fits. The profile as text is in `engine-profile.txt`.\n")
	text, err := b.profileText(ctx, profile)
	if err != nil || b.quick {
		return err
	}
	return b.write("engine-profile.txt", text)
}
