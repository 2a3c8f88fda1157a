package main

import (
	"context"
	"fmt"
)

// fifoScenario measures FIFO queues in process, without HTTP, against a
// standard queue of the same size: a million messages of 1 KB are sent by 16
// producers in hundreds, and 200,000 of them are received and deleted in tens,
// with the others behind. They are a million groups of one, which 16 consumers
// take, or one group of a million, which one consumer can take at a time; each
// is held against as many consumers on a standard queue. The runs take turns,
// each in a process and a directory of its own.
func fifoScenario(ctx context.Context, b *bench) error {
	messages, taken := b.count(1_000_000), b.count(200_000)
	args := []string{"--mode", "receive", "--preload", messages, "--messages", taken, "--receive-batch", "10"}
	type side struct {
		name      string
		args      []string
		against   int // the side of a standard queue
		consumers string
		runs      []figures
	}
	sides := []*side{
		{name: "standard", consumers: "16"},
		{name: "FIFO, a million groups of one", args: []string{"--fifo", "--groups", messages}, consumers: "16"},
		{name: "standard", consumers: "1", against: 2},
		{name: "FIFO, one group of a million", args: []string{"--fifo"}, consumers: "1", against: 2},
	}
	pairs := min(b.pairs, 3)
	for run := 1; run <= pairs; run++ {
		for _, s := range sides {
			all := append(append(args[:len(args):len(args)], "--consumers", s.consumers), s.args...)
			f, err := b.engine(ctx, s.name+", consumers: "+s.consumers, run, "", all...)
			if err != nil {
				return err
			}
			s.runs = append(s.runs, f)
		}
	}
	send := func(f *figures) float64 { return float64(f.PreloadMessages) / f.PreloadSeconds }
	receive := func(f *figures) float64 { return f.Rate }
	cpu := func(f *figures) float64 { return f.CPU }
	memory := func(f *figures) float64 { return float64(f.PeakRSS) / 1e6 }
	rows := [][]string{{"", "consumers", "sent/s", "of the standard queue", "received and deleted/s", "of the standard queue", "CPU us, receive and delete", "peak RSS, MB", "each run, sent/s", "received/s"}}
	for _, s := range sides {
		against := sides[s.against].runs
		share := func(pick func(*figures) float64) string {
			return fmt.Sprintf("%.0f %%", 100*of(s.runs, pick).over(of(against, pick)).median())
		}
		rows = append(rows, []string{
			s.name, s.consumers,
			fmt.Sprintf("%.0f", of(s.runs, send).median()), share(send),
			fmt.Sprintf("%.0f", of(s.runs, receive).median()), share(receive),
			fmt.Sprintf("%.1f", of(s.runs, cpu).median()), fmt.Sprintf("%.0f", of(s.runs, memory).max()),
			of(s.runs, send).list("%.0f"), of(s.runs, receive).list("%.0f"),
		})
	}
	b.table(rows...)
	b.printf("%d runs of each side. Each message has a deduplication id of its own. Memory is the engine's, with the load generator.\n", pairs)
	return nil
}
