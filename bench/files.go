package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// filesScenario measures hosted files over HTTP: put and get of a kilobyte, the
// upload of a gibibyte against what the disk takes, and a listing of 100,000
// files. Server and client are two processes on one machine, and share its
// cores.
func filesScenario(ctx context.Context, b *bench) (err error) {
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	size, count := 1<<30, 100_000
	if b.quick {
		size, count = size/16, count/20
	}
	side := func(label string, run int, args ...string) (figures, error) {
		return b.child(ctx, label, run, b.self, append([]string{"files", "-url", srv.url, "-key", srv.key, "-pid", strconv.Itoa(srv.cmd.Process.Pid), "-scratch", b.scratch}, args...)...)
	}
	connections := []string{"1", "16", "64"}
	small := make(map[string][]figures)
	var disk, large []figures
	for run := 1; run <= b.pairs; run++ {
		for _, c := range connections {
			f, err := side("put and get, "+c+" connections", run, "-side", "small", "-connections", c, "-seconds", b.seconds(5))
			if err != nil {
				return err
			}
			small[c] = append(small[c], f)
		}
		for _, s := range []struct {
			name string
			runs *[]figures
		}{{"disk", &disk}, {"large", &large}} {
			f, err := side(s.name, run, "-side", s.name, "-bytes", strconv.Itoa(size))
			if err != nil {
				return err
			}
			*s.runs = append(*s.runs, f)
		}
	}
	rate := func(f *figures) float64 { return f.Rate }
	rows := [][]string{{"1 KB: put, then get", "pairs/s, median", "goal", "p50 / p99 ms of a pair", "server CPU us/pair", "client CPU us/pair", "each run"}}
	for _, c := range connections {
		runs, goal := small[c], "-"
		r := of(runs, rate)
		if c == "64" {
			goal = fmt.Sprintf("2000: %s", verdict(r.median() >= 2000))
		}
		rows = append(rows, []string{
			c + " connections", fmt.Sprintf("%.0f", r.median()), goal,
			fmt.Sprintf("%.2f / %.2f", of(runs, func(f *figures) float64 { return f.Wake.P50 }).median(), of(runs, func(f *figures) float64 { return f.Wake.P99 }).median()),
			fmt.Sprintf("%.0f", of(runs, func(f *figures) float64 { return f.ServerCPU }).median()),
			fmt.Sprintf("%.0f", of(runs, func(f *figures) float64 { return f.CPU }).median()),
			r.list("%.0f"),
		})
	}
	b.table(rows...)
	b.printf("Every put is answered when it is durable; every get is compared with what was put.\n\n")

	upload, write := of(large, rate), of(disk, rate)
	b.table(
		[]string{fmt.Sprintf("%d MiB", size>>20), "MB/s, median", "each run"},
		[]string{"written to a file, and fsync", fmt.Sprintf("%.0f", write.median()), write.list("%.0f")},
		[]string{"uploaded, SHA-256 and MD5 taken", fmt.Sprintf("%.0f", upload.median()), upload.list("%.0f")},
	)
	ratio := upload.over(write)
	before := of(large, func(f *figures) float64 { return float64(f.RSS) / (1 << 20) })
	after := of(large, func(f *figures) float64 { return float64(f.ServerRSS) / (1 << 20) })
	b.printf("Goal, at least half of the disk: %.0f %%: %s (%s). Memory of the server before an upload: %s MiB; at most in its life, after it: %s MiB. CPU of the server: %.2f s an upload.\n\n",
		100*ratio.median(), verdict(ratio.median() >= 0.5), ratio.list("%.2f"), before.list("%.0f"), after.list("%.0f"),
		of(large, func(f *figures) float64 { return f.ServerCPU * float64(f.Messages) / 1e6 }).median())

	f, err := side("list", 1, "-side", "list", "-count", strconv.Itoa(count))
	if err != nil {
		return err
	}
	b.printf("A listing of %d files, by pages of 1,000: %.2f s in all, a page p50 %.1f ms, p99 %.1f ms, at most %.1f ms; CPU of the server %.1f ms a page. They were put in %.1f s on 64 connections.\n",
		count, f.Seconds, f.Wake.P50, f.Wake.P99, f.Wake.Max, f.ServerCPU/1000, f.PreloadSeconds)
	return nil
}
