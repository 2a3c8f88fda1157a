package main

import (
	"context"
	"errors"
	"fmt"
)

// httpScenario measures throughput over HTTP, of signed requests: SendMessageBatch with ten messages of 1 KB on 16 connections, and
// loops of send, receive and delete, one message at a time and in tens, on 1,
// 16 and 64 connections. Server and load are two processes on one machine,
// and share its cores.
func httpScenario(ctx context.Context, b *bench) (err error) {
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	type side struct {
		name, connections string
		args              []string
		goal              float64 // messages/s; 0: none
		runs              []figures
	}
	sides := []*side{{name: "SendMessageBatch(10)", connections: "16", args: []string{"--mode", "send", "--batch", "10"}, goal: 35_000}}
	for _, c := range []string{"1", "16", "64"} {
		sides = append(sides,
			&side{name: "send, receive, delete", connections: c, args: []string{"--mode", "loop", "--batch", "1", "--receive-batch", "1"}},
			&side{name: "the same in tens", connections: c, args: []string{"--mode", "loop", "--batch", "10", "--receive-batch", "10"}})
	}
	sides[5].goal, sides[6].goal = 5000, 20_000 // on 64 connections
	for run := 1; run <= b.pairs; run++ {
		for _, s := range sides {
			f, err := b.http(ctx, srv, s.name+", "+s.connections+" connections", run,
				append(s.args, "--producers", s.connections, "--duration", b.seconds(5))...)
			if err != nil {
				return err
			}
			s.runs = append(s.runs, f)
		}
	}
	rows := [][]string{{"", "connections", "messages/s, median", "goal", "p50 / p99 ms of a call or loop", "server CPU us/message", "client CPU us/message", "each run, messages/s"}}
	for _, s := range sides {
		median := func(pick func(*figures) float64) float64 { return of(s.runs, pick).median() }
		times := func(f *figures) *latency {
			if f.Cycle != nil {
				return f.Cycle.Latency
			}
			return f.Send.Latency
		}
		rate, goal := median(func(f *figures) float64 { return f.Rate }), "-"
		if s.goal > 0 {
			goal = fmt.Sprintf("%.0f: %s", s.goal, verdict(rate >= s.goal))
		}
		rows = append(rows, []string{
			s.name, s.connections,
			fmt.Sprintf("%.0f", rate), goal,
			fmt.Sprintf("%.2f / %.2f", median(func(f *figures) float64 { return times(f).P50 }), median(func(f *figures) float64 { return times(f).P99 })),
			fmt.Sprintf("%.1f", median(func(f *figures) float64 { return f.ServerCPU })),
			fmt.Sprintf("%.1f", median(func(f *figures) float64 { return f.CPU })),
			of(s.runs, func(f *figures) float64 { return f.Rate }).list("%.0f"),
		})
	}
	b.table(rows...)
	return nil
}
