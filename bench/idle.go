package main

import (
	"context"
	"errors"
	"fmt"
)

// idleScenario measures what waiting costs: 500 long polls of 20 s on 500
// connections, over several rounds of them, on a queue to which nobody sends.
// The connections, the signatures and the empty answers are part of it. Against
// that, one poll: the server's own ticking.
func idleScenario(ctx context.Context, b *bench) (err error) {
	const polls, goal = 500, 0.01
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	var runs, alone []figures
	for run := 1; run <= min(b.pairs, 2); run++ {
		args := []string{"--mode", "poll", "--duration", b.seconds(45)}
		f, err := b.http(ctx, srv, fmt.Sprintf("%d polls", polls), run, append(args, "--consumers", fmt.Sprint(polls))...)
		if err != nil {
			return err
		}
		runs = append(runs, f)
		if run > 1 {
			continue
		}
		if f, err = b.http(ctx, srv, "one poll", run, append(args, "--consumers", "1")...); err != nil {
			return err
		}
		alone = append(alone, f)
	}
	share := func(f *figures) float64 { return 100 * f.ServerCores }
	row := func(name string, runs []figures) []string {
		return []string{
			name,
			fmt.Sprintf("%.0f", of(runs, func(f *figures) float64 { return f.Seconds }).median()),
			fmt.Sprintf("%.0f", of(runs, func(f *figures) float64 { return float64(f.Polls) }).median()),
			fmt.Sprintf("%.2f %%", of(runs, share).median()),
			of(runs, share).list("%.2f"),
		}
	}
	b.table([]string{"polls of 20 s", "seconds", "empty answers", "CPU of the server, of a core", "each run, %"}, row(fmt.Sprint(polls), runs), row("1", alone))
	b.printf("Goal, %d polls under %.0f %%: %s. Memory of the server with them: %.0f MB.\n",
		polls, 100*goal, verdict(of(runs, share).max() < 100*goal), of(runs, func(f *figures) float64 { return float64(f.ServerRSS) / 1e6 }).max())
	return nil
}
