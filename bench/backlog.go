package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// backlogScenario measures whether a message costs more when a million others
// wait. Each run is a process of its own, in turn on an empty queue and on the
// one with the backlog; it waits until compactions have settled before it
// measures, and what is flushed and compacted because of the run itself is
// charged to it.
//
// CPU per send, receive and delete comes from runs in rounds of 2,000: all
// sent, all received, all deleted, so that each kind of call has the process to
// itself. A round leaves the backlog as it was: it receives the oldest messages,
// from disk, and sends as many behind the newest. On the empty queue a round
// fits into the window of waiting messages in memory.
//
// Then: how long the store takes to open, after a clean stop and after kill -9
// in the middle of sends, and the memory of all these processes.
func backlogScenario(ctx context.Context, b *bench) error {
	full, err := b.dir()
	if err != nil {
		return err
	}
	messages := b.count(1_000_000)
	loading, err := b.engine(ctx, "load the backlog", 1, full, "--mode", "send", "--messages", messages, "--batch", "10", "--producers", "16", "--keep")
	if err != nil {
		return err
	}
	var opened []figures
	memory := []figures{loading}
	b.printf("Backlog: %s messages of 1 KB, %.0f MB on disk.\n\n## CPU\n\n", messages, float64(loading.DiskBytes)/1e6)

	rows := [][]string{{"16 callers", "call", "CPU us, empty", "CPU us, backlog", "ratio, median", "each pair"}}
	variants := []struct {
		name  string
		goal  bool // counts for the verdict
		calls []call
		args  []string
	}{
		{"clients, one message a call", true, phaseCalls, []string{"--mode", "phases", "--messages", b.count(60_000), "--batch", "1", "--receive-batch", "1"}},
		{"clients, tens", true, phaseCalls, []string{"--mode", "phases", "--messages", b.count(100_000), "--batch", "10", "--receive-batch", "10"}},
		{"flow: sends of one, receives of ten", false, phaseCalls, []string{"--mode", "phases", "--leases", "--messages", b.count(60_000), "--batch", "1", "--receive-batch", "10"}},
		{"clients, one message a call, all at once", true, cycleCalls, []string{"--mode", "cycle", "--messages", b.count(60_000), "--batch", "1", "--receive-batch", "1"}},
	}
	worst := make(map[string]float64) // median ratio by variant
	for _, v := range variants {
		var empty, behind []figures
		args := append([]string{"--settle", "--producers", "16", "--consumers", "16"}, v.args...)
		for run := 1; run <= b.pairs; run++ {
			f, err := b.engine(ctx, v.name+"; empty", run, "", args...)
			if err != nil {
				return err
			}
			empty = append(empty, f)
			if f, err = b.engine(ctx, v.name+"; backlog", run, full, args...); err != nil {
				return err
			}
			behind = append(behind, f)
		}
		opened, memory = append(opened, behind...), append(memory, behind...)
		for _, c := range v.calls {
			e, w := of(empty, c.cpu), of(behind, c.cpu)
			ratio := w.over(e)
			rows = append(rows, []string{
				v.name, c.name, fmt.Sprintf("%.1f", e.median()), fmt.Sprintf("%.1f", w.median()),
				fmt.Sprintf("%.2f", ratio.median()), ratio.list("%.2f"),
			})
			worst[v.name] = max(worst[v.name], ratio.median())
		}
	}
	b.table(rows...)
	b.printf("Goal, for clients, each at most 1.3:\n\n")
	for _, v := range variants {
		if v.goal {
			b.printf("- %s: %s, the largest is %.2f\n", v.name, verdict(worst[v.name] <= 1.3), worst[v.name])
		}
	}
	b.printf("\nCPU includes the load generator, and the compactions that fall into the runs. Behind a backlog a message goes to the disk twice (log and table) and is read back; on an empty queue it is written to the log and received from memory. That difference is the same for a call of one and a call of ten, but a call of ten has a tenth of everything else.\n\n")
	killed, err := b.killUnderSends(ctx, full)
	if err != nil {
		return err
	}
	after, err := b.engine(ctx, "open after kill -9", 1, full, "--mode", "phases", "--messages", b.count(20_000))
	if err != nil {
		return err
	}
	b.restartAndMemory(opened, after, killed, loading, memory)
	return nil
}

// call is one kind of call whose cost is compared.
type call struct {
	name string
	cpu  func(*figures) float64
}

var (
	phaseCalls = []call{
		{"send", func(f *figures) float64 { return f.Send.CPU }},
		{"receive", func(f *figures) float64 { return f.Receive.CPU }},
		{"delete", func(f *figures) float64 { return f.Delete.CPU }},
		{"all three", func(f *figures) float64 { return f.Cycle.CPU }},
	}
	cycleCalls = []call{{"all three", func(f *figures) float64 { return f.CPU }}}
)

// killUnderSends starts sends and kills their process without warning. It
// returns how long it was left alone.
func (b *bench) killUnderSends(ctx context.Context, dir string) (time.Duration, error) {
	alive := 4 * time.Second
	args := []string{"load", "--in-process", "--dir", dir, "--mode", "send", "--duration", "1m", "--producers", "64", "--keep"}
	timeout, stop := context.WithTimeout(ctx, alive)
	defer stop()
	fmt.Fprintf(os.Stderr, "kill -9 after %v: %s\n", alive, b.display(b.runnel, args))
	err := exec.CommandContext(timeout, b.runnel, args...).Run() // kills at the timeout
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case timeout.Err() == nil:
		return 0, errors.Join(errors.New("the sends that were to be killed ended by themselves"), err)
	}
	// The lock of the directory goes with the process, which Run waited for.
	if _, err := os.Stat(filepath.Join(dir, "FORMAT")); err != nil {
		return 0, fmt.Errorf("after the kill: %w", err)
	}
	return alive, nil
}

func (b *bench) restartAndMemory(clean []figures, after figures, alive time.Duration, loading figures, memory []figures) {
	ready := func(f *figures) float64 { return f.ReadyMS / 1e3 }
	slowest := max(of(clean, ready).max(), ready(&after))
	b.printf("## Restart\n\nFrom opening the directory until a first message was received, seconds.\n\n")
	b.table(
		[]string{"", "median", "slowest", "runs"},
		[]string{"after a clean stop", fmt.Sprintf("%.2f", of(clean, ready).median()), fmt.Sprintf("%.2f", of(clean, ready).max()), fmt.Sprint(len(clean))},
		[]string{fmt.Sprintf("after kill -9, %v into sends by 64 producers", alive), fmt.Sprintf("%.2f", ready(&after)), fmt.Sprintf("%.2f", ready(&after)), "1"},
	)
	b.printf("Goal under 3 s: %s.\n\n## Memory\n\n", verdict(slowest < 3))
	peak := func(f *figures) float64 { return float64(f.PeakRSS) / 1e6 }
	most := of(memory, peak).max()
	b.table(
		[]string{"process", "peak RSS, MB (VmHWM)"},
		[]string{"sends the backlog", fmt.Sprintf("%.0f", peak(&loading))},
		[]string{"opens it and works on it, the largest of all runs", fmt.Sprintf("%.0f", of(memory[1:], peak).max())},
		[]string{"opens it after kill -9", fmt.Sprintf("%.0f", peak(&after))},
	)
	b.printf("Goal under 300 MB: %s. This is the engine with the load generator, without HTTP.\n", verdict(max(most, peak(&after)) < 300))
}
