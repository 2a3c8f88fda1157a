package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

// BenchmarkInvoke is one call with its deadline: 1 KB of JSON per item, which
// is sent back; Python decodes and encodes it.
func BenchmarkInvoke(b *testing.B) {
	payload := []byte(`{"text":"` + strings.Repeat("0123456789", 100) + `"}`)
	for _, lang := range []string{"go", "python"} {
		for _, workers := range []int{1, 2} {
			for _, batch := range []int{1, 10} {
				b.Run(fmt.Sprintf("%s/workers=%d/batch=%d", lang, workers, batch), func(b *testing.B) {
					prog := program(b)
					if lang == "python" {
						prog = python(b, "def handler(event):\n    return event\n")
					}
					p := start(b, prog, worker.Options{Min: workers, Max: workers})
					eventually(b, "warm", func() bool { return p.Stats().Idle == workers })
					var n atomic.Int64
					b.ReportAllocs()
					b.SetParallelism(workers) // times GOMAXPROCS: some wait
					b.RunParallel(func(pb *testing.PB) {
						in := &runnel.Invocation{Flow: "f", Format: runnel.FormatJSON}
						for range batch {
							in.Items = append(in.Items, runnel.Item{Payload: payload, Message: "0f0e8a4e-3c60-4cf4-9e0b-6d3c1c5a7f10", Attempt: 1})
						}
						for pb.Next() {
							in.ID = fmt.Sprintf("i%d", n.Add(1))
							ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
							answers, err := invoke(ctx, p, in)
							cancel()
							if err != nil || answers[batch-1].Err != nil {
								b.Error(err, answers)
								return
							}
						}
					})
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				})
			}
		}
	}
}

// BenchmarkStart is a process from nothing to ready, and its end.
func BenchmarkStart(b *testing.B) {
	for _, hidden := range []int{0, 1} {
		b.Run(fmt.Sprintf("hidden=%d", hidden), func(b *testing.B) {
			prog := program(b)
			for range hidden {
				prog.Hidden = append(prog.Hidden, b.TempDir())
			}
			for b.Loop() {
				p, err := worker.Start(b.Context(), prog, worker.Options{TempDir: b.TempDir()})
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Drain(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
