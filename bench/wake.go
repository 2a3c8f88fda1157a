package main

import (
	"context"
	"errors"
	"fmt"
)

// wakeScenario measures the way of a message through a server that is not
// busy: 200 messages of 1 KB a second, one at a time and by a schedule, to
// four receivers that wait in long polls and delete what they got. Server
// and load are two processes that speak HTTP over loopback; a message is on its
// way from the moment at which its send was due until its receiver has read
// the answer. The send is durable before anybody is woken.
func wakeScenario(ctx context.Context, b *bench) (err error) {
	s, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	var runs []figures
	for run := 1; run <= b.pairs; run++ {
		f, err := b.http(ctx, s, "wake", run, "--mode", "cycle", "--rate", "200", "--duration", b.seconds(10),
			"--producers", "16", "--consumers", "4", "--receive-batch", "1")
		if err != nil {
			return err
		}
		if f.Wake == nil {
			return errors.New("no message was received")
		}
		runs = append(runs, f)
	}
	row := func(name string, pick func(*figures) *latency) []string {
		cells := []string{name}
		for _, q := range []func(*latency) float64{
			func(l *latency) float64 { return l.P50 },
			func(l *latency) float64 { return l.P99 },
			func(l *latency) float64 { return l.P999 },
			func(l *latency) float64 { return l.Max },
		} {
			cells = append(cells, fmt.Sprintf("%.2f", of(runs, func(f *figures) float64 { return q(pick(f)) }).median()))
		}
		return cells
	}
	b.table(
		[]string{"200 messages/s, ms, medians", "p50", "p99", "p99.9", "max"},
		row("send to receive", func(f *figures) *latency { return f.Wake }),
		row("send", func(f *figures) *latency { return f.Send.Latency }),
	)
	p50 := of(runs, func(f *figures) float64 { return f.Wake.P50 })
	p99 := of(runs, func(f *figures) float64 { return f.Wake.P99 })
	b.printf("Each run, p50: %s; p99: %s.\n\n", p50.list("%.2f"), p99.list("%.2f"))
	b.printf("Goal, p50 under 2 ms: %s; p99 under 10 ms: %s. CPU of the server per message (a send, a receive, a delete): %.0f us.\n",
		verdict(p50.median() < 2), verdict(p99.median() < 10), of(runs, func(f *figures) float64 { return f.ServerCPU }).median())
	return nil
}
