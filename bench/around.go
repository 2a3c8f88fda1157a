package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// aroundScenario measures, over HTTP, whether a message costs the server more
// because of what is around it: a million messages waiting on its queue, 10,000
// other queues with a message each, or 50,000 messages of its queue in flight.
// Each has a server of its own, with data of its own; those that are not
// measured have nothing to do.
//
// Runs are in rounds of 2,000 messages of 1 KB: all sent, all received, all
// deleted, one a call and in tens. The servers take turns, and each is held
// against the run on the server that has nothing else.
func aroundScenario(ctx context.Context, b *bench) (err error) {
	const goal = 1.3
	type side struct {
		name string
		args []string
		srv  *server
	}
	backlog, others, held := b.count(1_000_000), b.count(10_000), b.count(50_000)
	sides := []*side{
		{name: "nothing"},
		{name: backlog + " messages waiting"},
		{name: others + " other queues"},
		{name: held + " in flight", args: []string{"--hold", held}},
	}
	for _, s := range sides {
		if s.srv, err = b.startServer(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.srv.stop()) }()
	}
	if _, err := b.http(ctx, sides[1].srv, "load the backlog", 1, "--mode", "send", "--messages", backlog, "--batch", "10", "--keep"); err != nil {
		return err
	}
	n, err := strconv.Atoi(others)
	if err != nil {
		return err
	}
	if err := makeQueues(ctx, sides[2].srv, n); err != nil {
		return err
	}
	for _, s := range sides {
		if err := s.srv.settle(ctx); err != nil {
			return err
		}
	}

	variants := []struct {
		name string
		args []string
	}{
		{"one message a call", []string{"--messages", b.count(20_000), "--batch", "1", "--receive-batch", "1"}},
		{"tens", []string{"--messages", b.count(60_000), "--batch", "10", "--receive-batch", "10"}},
	}
	rows := [][]string{{"16 connections, 1 KB", "around it", "call", "server CPU us/message, alone", "with that", "ratio, median", "each pair"}}
	worst := make([]float64, len(sides))
	for _, v := range variants {
		runs := make([][]figures, len(sides))
		for run := 1; run <= b.pairs; run++ {
			for i, s := range sides {
				args := append([]string{"--mode", "phases", "--producers", "16", "--consumers", "16"}, v.args...)
				f, err := b.http(ctx, s.srv, v.name+"; "+s.name, run, append(args, s.args...)...)
				if err != nil {
					return err
				}
				runs[i] = append(runs[i], f)
			}
		}
		for i, s := range sides {
			if i == 0 {
				continue
			}
			for _, c := range serverCalls {
				cpu := func(f *figures) float64 { return c.phase(f).ServerCPU }
				ratio := of(runs[i], cpu).over(of(runs[0], cpu))
				rows = append(rows, []string{
					v.name, s.name, c.name, fmt.Sprintf("%.1f", of(runs[0], cpu).median()), fmt.Sprintf("%.1f", of(runs[i], cpu).median()),
					fmt.Sprintf("%.2f", ratio.median()), ratio.list("%.2f"),
				})
				if c.name == allThree {
					worst[i] = max(worst[i], ratio.median())
				}
			}
		}
	}
	b.table(rows...)
	b.printf("Goal, for a message's whole way, each at most %.1f:\n\n", goal)
	for i, s := range sides {
		if i > 0 {
			b.printf("- %s: %s, the larger is %.2f\n", s.name, verdict(worst[i] <= goal), worst[i])
		}
	}
	b.printf("\nWhat the server flushes and compacts during a run is charged to it.\n")
	return nil
}

// makeQueues makes n queues with a message each.
func makeQueues(ctx context.Context, s *server, n int) error {
	const callers = 16
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < n && errs[caller] == nil; i += callers {
				name := fmt.Sprintf("other-%d", i)
				_, err := s.call(ctx, "CreateQueue", map[string]any{"QueueName": name})
				if err == nil {
					_, err = s.call(ctx, "SendMessage", map[string]any{"QueueUrl": name, "MessageBody": name})
				}
				errs[caller] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settle waits until the server has nothing to do in the background: what it
// still compacts is not the cost of a run. It gives up after a minute.
func (s *server) settle(ctx context.Context) error {
	const quiet, step, most = 4, 250 * time.Millisecond, time.Minute
	begin, cpu := time.Now(), processCPU(s.cmd.Process.Pid)
	if cpu < 0 {
		return nil // nobody can tell
	}
	tick := time.NewTicker(step)
	defer tick.Stop()
	for calm := 0; calm < quiet && time.Since(begin) < most; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now := processCPU(s.cmd.Process.Pid)
		if calm++; now-cpu > step/20 {
			calm = 0
		}
		cpu = now
	}
	return nil
}
