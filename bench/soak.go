package main

import (
	"context"
	"errors"
	"fmt"
)

// soakScenario keeps a server at 80 % of its top rate for 20 minutes: 32
// producers send messages of 1 KB, one a call, by a schedule, and 8 consumers
// receive and delete them in tens. The top rate is what the same load reaches
// without a schedule, for 20 s before. A latency counts from when the send was
// due, so that a stall is charged to every send that it holds up.
//
// The graphs have a point for each 10 s: the times of sends, the server's files
// on the disk, and its memory.
func soakScenario(ctx context.Context, b *bench) (err error) {
	const part = 0.8
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	args := []string{"--mode", "cycle", "--batch", "1", "--producers", "32", "--consumers", "8", "--receive-batch", "10"}
	top, err := b.http(ctx, srv, "the top rate", 1, append(args[:len(args):len(args)], "--duration", b.seconds(20))...)
	if err != nil {
		return err
	}
	rate := fmt.Sprintf("%.0f", part*top.Rate)
	duration, every := "20m", "10s"
	if b.quick {
		duration, every = b.seconds(25), b.seconds(2)
	}
	f, err := b.http(ctx, srv, "soak", 1, append(args, "--rate", rate, "--duration", duration, "--every", every)...)
	if err != nil {
		return err
	}
	if f.Send == nil || f.Send.Latency == nil || len(f.Series) < 2 {
		return errors.New("nothing was sent, or not for long enough")
	}
	b.printf("The top rate was %.0f messages/s, through send, receive and delete; %s messages/s were asked for, for %s.\n\n", top.Rate, rate, duration)
	l := f.Send.Latency
	var disk, rss series
	for _, i := range f.Series {
		disk, rss = append(disk, float64(i.DiskBytes)/1e6), append(rss, float64(i.RSS)/1e6)
	}
	b.table(
		[]string{"", ""},
		[]string{"messages sent, received and deleted", fmt.Sprint(f.Messages)},
		[]string{"messages/s", fmt.Sprintf("%.0f", f.Rate)},
		[]string{"send, ms, p50 / p99 / p99.9 / max", fmt.Sprintf("%.2f / %.2f / %.2f / %.0f", l.P50, l.P99, l.P999, l.Max)},
		[]string{"p99.9 of an interval, ms, median and largest", fmt.Sprintf("%.2f, %.2f", p999s(f.Series).median(), p999s(f.Series).max())},
		[]string{"disk, MB, median, largest, at the end", fmt.Sprintf("%.0f, %.0f, %.0f", disk.median(), disk.max(), disk[len(disk)-1])},
		[]string{"RSS of the server, MB, median, largest, at the end", fmt.Sprintf("%.0f, %.0f, %.0f", rss.median(), rss.max(), rss[len(rss)-1])},
		[]string{"CPU of the server, us/message", fmt.Sprintf("%.1f", f.ServerCPU)},
	)
	b.printf("The load ended when every message that it sent was received; one that was lost would have kept it from that.\n\n![send times, disk and memory](soak.svg)\n")
	if b.quick {
		return nil
	}
	return b.write("soak.svg", soakGraph(f.Series))
}

func p999s(all []interval) (out series) {
	for _, i := range all {
		if i.Send != nil {
			out = append(out, i.Send.P999)
		}
	}
	return out
}

// soakGraph draws the intervals of a run.
func soakGraph(all []interval) []byte {
	pick := func(name, colour string, f func(*interval) float64) curve {
		c := curve{name: name, colour: colour}
		for i := range all {
			c.x, c.y = append(c.x, all[i].Seconds/60), append(c.y, f(&all[i]))
		}
		return c
	}
	times := func(f func(*latency) float64) func(*interval) float64 {
		return func(i *interval) float64 {
			if i.Send == nil {
				return 0
			}
			return f(i.Send)
		}
	}
	return draw("minutes", []chart{
		{title: "send, ms", log: true, curves: []curve{
			pick("p50", "#2b7bba", times(func(l *latency) float64 { return l.P50 })),
			pick("p99", "#d98b00", times(func(l *latency) float64 { return l.P99 })),
			pick("p99.9", "#b3261e", times(func(l *latency) float64 { return l.P999 })),
		}},
		{title: "files on the disk, MB", curves: []curve{pick("", "#2b7bba", func(i *interval) float64 { return float64(i.DiskBytes) / 1e6 })}},
		{title: "memory of the server (RSS), MB", curves: []curve{pick("", "#2b7bba", func(i *interval) float64 { return float64(i.RSS) / 1e6 })}},
	})
}
