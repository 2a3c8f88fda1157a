package queue_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

func benchFIFO(b *testing.B) *queue.Queue {
	s, err := store.Open(b.TempDir(), store.Options{Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	set, err := queue.Open(s, queue.Options{Log: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = set.Close(context.Background())
		_ = s.Close()
	})
	settings := queue.Defaults()
	fifo(&settings)
	q, _, err := set.Create(queue.Name{Account: "default", Queue: "q.fifo"}, settings)
	if err != nil {
		b.Fatal(err)
	}
	return q
}

// fill sends n messages of 1 KB; group says which is whose.
func fill(b *testing.B, q *queue.Queue, n int, group func(i int) string) {
	const batch = 500
	ms := make([]runnel.Message, batch)
	for i := 0; i < n; i += batch {
		for j := range ms {
			ms[j] = runnel.Message{Body: make([]byte, 1024), DedupID: fmt.Sprint("fill", i+j)}
			if group != nil {
				ms[j].Key = group(i + j)
			}
		}
		if _, err := q.Send(ms); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFIFOReceive: a receive of one message and its release, which no disk
// has a part in, with backlogs of different forms. In "behind" the first message
// of a long group is in flight, and another group is received from.
func BenchmarkFIFOReceive(b *testing.B) {
	one := func(int) string { return "g" }
	each := func(i int) string { return fmt.Sprint("g", i) }
	// A released message is read from the store again: "standard" is the same on
	// a queue without groups.
	for _, form := range []struct {
		name  string
		group func(int) string // nil: a standard queue
		held  bool
	}{{"standard", nil, false}, {"group", one, false}, {"groups", each, false}, {"behind", one, true}} {
		for _, n := range []int{1000, 200_000} {
			b.Run(fmt.Sprintf("%s=%d", form.name, n), func(b *testing.B) {
				ctx := context.Background()
				var q *queue.Queue
				if form.group == nil {
					q = benchQueue(b)
				} else {
					q = benchFIFO(b)
				}
				fill(b, q, n, form.group)
				s := q.Source()
				take := func() []runnel.Delivery {
					ds, err := s.Receive(ctx, runnel.Limits{Messages: 1, Lease: time.Hour})
					if err != nil || len(ds) != 1 {
						b.Fatalf("received %d, %v", len(ds), err)
					}
					return ds
				}
				if form.held {
					take()
					if _, err := q.SendOrdered([]runnel.Message{{Body: make([]byte, 1024), Key: "other", DedupID: "x"}}); err != nil {
						b.Fatal(err)
					}
					if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &take()[0], Verdict: runnel.Release}}); err != nil {
						b.Fatal(err)
					}
				}
				b.ResetTimer()
				for range b.N {
					ds := take()
					if err := s.Settle(ctx, []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.Release}}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkFIFODrain: receives of ten and their acks in one commit, of a
// backlog of 100,000, by one consumer, from one group and from as many as there
// are messages.
func BenchmarkFIFODrain(b *testing.B) {
	for name, group := range map[string]func(int) string{
		"group=1": func(int) string { return "g" }, "groups=100000": func(i int) string { return fmt.Sprint("g", i) },
	} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			q := benchFIFO(b)
			fill(b, q, 100_000, group)
			s := q.Source()
			b.ResetTimer()
			start := time.Now()
			n := 0
			for n < 100_000 {
				ds, err := s.Receive(ctx, runnel.Limits{Messages: 100})
				if err != nil || len(ds) == 0 {
					b.Fatalf("received %d, %v", len(ds), err)
				}
				ss := make([]runnel.Settlement, len(ds))
				for i := range ds {
					ss[i].Delivery = &ds[i]
				}
				if err := s.Settle(ctx, ss); err != nil {
					b.Fatal(err)
				}
				n += len(ds)
			}
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), "msgs/s")
		})
	}
}

// BenchmarkFIFOCycle is BenchmarkSend and BenchmarkCycle's client with 64
// goroutines per processor, each with a group of its own.
func BenchmarkFIFOCycle(b *testing.B) {
	var serial atomic.Int64
	message := func(group string) []runnel.Message {
		return []runnel.Message{{Body: make([]byte, 1024), Key: group, DedupID: fmt.Sprint(serial.Add(1))}}
	}
	b.Run("send", func(b *testing.B) {
		q := benchFIFO(b)
		b.SetParallelism(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			group := fmt.Sprint("g", serial.Add(1))
			for pb.Next() {
				if _, err := q.SendOrdered(message(group)); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("client", func(b *testing.B) {
		q := benchFIFO(b)
		b.SetParallelism(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			group := fmt.Sprint("g", serial.Add(1))
			for pb.Next() {
				if _, err := q.SendOrdered(message(group)); err != nil {
					b.Error(err)
				}
				ds, err := q.Receive(context.Background(), runnel.Limits{Messages: 1, Wait: time.Second})
				if err != nil || len(ds) != 1 {
					b.Errorf("received %d, %v", len(ds), err)
					return
				}
				q.Delete([]queue.Receipt{ds[0].Handle.(queue.Receipt)})
			}
		})
	})
}

// BenchmarkFIFOPass: the first receive of a process, of a message behind
// 200,000 of a group that is locked: they are passed, once.
func BenchmarkFIFOPass(b *testing.B) {
	const n = 200_000
	dir := b.TempDir()
	name := queue.Name{Account: "default", Queue: "q.fifo"}
	var s *store.Store
	var set *queue.Set
	open := func() {
		var err error
		if s, err = store.Open(dir, store.Options{Log: quiet}); err != nil {
			b.Fatal(err)
		}
		if set, err = queue.Open(s, queue.Options{Log: quiet}); err != nil {
			b.Fatal(err)
		}
	}
	closeAll := func() {
		_ = set.Close(context.Background())
		_ = s.Close()
	}
	open()
	settings := queue.Defaults()
	fifo(&settings)
	q, _, err := set.Create(name, settings)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, q, n, func(int) string { return "g" })
	receive(b, q, runnel.Limits{Messages: 1, Lease: time.Hour})
	if _, err := q.SendOrdered([]runnel.Message{{Body: []byte("x"), Key: "other", DedupID: "x"}}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		closeAll()
		open()
		if q, err = set.Queue(name); err != nil {
			b.Fatal(err)
		}
		src := q.Source()
		b.StartTimer()
		ds, err := src.Receive(context.Background(), runnel.Limits{Messages: 1})
		if err != nil || len(ds) != 1 || ds[0].Key != "other" {
			b.Fatalf("received %d, %v", len(ds), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/passed")
	b.StopTimer()
	closeAll()
}
