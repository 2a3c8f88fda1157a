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

// benchQueue is a queue on the disk.
func benchQueue(b *testing.B) *queue.Queue {
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
	q, _, err := set.Create(queue.Name{Account: "default", Queue: "q"}, queue.Defaults())
	if err != nil {
		b.Fatal(err)
	}
	return q
}

// BenchmarkSend: 1 KB, fsynced, by 1 and by 64 producers per processor.
func BenchmarkSend(b *testing.B) {
	for _, producers := range []int{1, 64} {
		b.Run(fmt.Sprint("producers=", producers), func(b *testing.B) {
			q := benchQueue(b)
			b.SetParallelism(producers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				m := []runnel.Message{{Body: make([]byte, 1024)}}
				for pb.Next() {
					if _, err := q.Send(m); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkCycle: 64 goroutines per processor send, receive and delete, as
// clients of a door (receives are durable) and as a flow.
func BenchmarkCycle(b *testing.B) {
	b.Run("client", func(b *testing.B) {
		q := benchQueue(b)
		b.SetParallelism(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			m := []runnel.Message{{Body: make([]byte, 1024)}}
			for pb.Next() {
				if _, err := q.Send(m); err != nil {
					b.Error(err)
				}
				ds, err := q.Receive(context.Background(), runnel.Limits{Messages: 1})
				if err != nil || len(ds) != 1 {
					b.Errorf("received %d, %v", len(ds), err)
					return
				}
				q.Delete([]queue.Receipt{ds[0].Handle.(queue.Receipt)})
			}
		})
	})
	b.Run("flow", func(b *testing.B) {
		q := benchQueue(b)
		s := q.Source()
		var failed atomic.Bool
		b.SetParallelism(64)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			m := []runnel.Message{{Body: make([]byte, 1024)}}
			for pb.Next() && !failed.Load() {
				if _, err := q.Send(m); err != nil {
					b.Error(err)
				}
				ds, err := s.Receive(context.Background(), runnel.Limits{Messages: 1})
				if err == nil && len(ds) == 1 {
					err = s.Settle(context.Background(), []runnel.Settlement{{Delivery: &ds[0]}})
				}
				if err != nil {
					failed.Store(true)
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkTransaction: 256 goroutines per processor ack one message and send
// one of 1 KB in each commit, as every flow between queues does. Receives are
// of 100, so that what is measured is the transaction.
func BenchmarkTransaction(b *testing.B) {
	ctx := context.Background()
	q := benchQueue(b)
	out := q.Sink()
	s := q.Source()
	ms := make([]runnel.Message, 500)
	for i := range ms {
		ms[i].Body = make([]byte, 1024)
	}
	for range 200 {
		if _, err := q.Send(ms); err != nil {
			b.Fatal(err)
		}
	}
	b.SetParallelism(256)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		m := ms[:1]
		var ds []runnel.Delivery
		for pb.Next() {
			if len(ds) == 0 {
				var err error
				ds, err = s.Receive(ctx, runnel.Limits{Messages: 100, Lease: time.Hour, Wait: time.Minute})
				if err != nil || len(ds) == 0 {
					b.Errorf("received %d, %v", len(ds), err)
					return
				}
			}
			if err := moveOne(ctx, s, out, &ds[0], m); err != nil {
				b.Error(err)
				return
			}
			ds = ds[1:]
		}
	})
}

func moveOne(ctx context.Context, s runnel.Source, out runnel.Sink, d *runnel.Delivery, m []runnel.Message) error {
	tx, err := s.(runnel.Transactor).Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Settle([]runnel.Settlement{{Delivery: d}}); err != nil {
		return err
	}
	if err := tx.Send(out, m); err != nil {
		return err
	}
	return tx.Commit(ctx)
}
