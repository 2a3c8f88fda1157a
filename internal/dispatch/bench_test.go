package dispatch_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// BenchmarkFlow: messages of 1 KB from a queue through a Go handler to a queue,
// one commit each; the backlog is there when the clock starts. "disk" fsyncs,
// "memory" keeps the store in memory, "none" has a source and a sink that do
// nothing: what remains is the share of dispatch.
func BenchmarkFlow(b *testing.B) {
	for _, place := range []string{"disk", "memory", "none"} {
		for _, size := range []int{1, 10} {
			for _, ordered := range []runnel.Order{runnel.OrderNone, runnel.OrderKey} {
				b.Run(fmt.Sprintf("%s/batch=%d/order=%s", place, size, ordered), func(b *testing.B) {
					benchFlow(b, place, size, ordered)
				})
			}
		}
	}
}

func benchFlow(b *testing.B, place string, size int, ordered runnel.Order) {
	done := make(chan struct{}) // closed when all of them were answered
	var left atomic.Int64
	sink := &counting{left: &left, done: done}
	cfg := dispatch.Config{
		Flow: runnel.Flow{
			Name: "f", From: "queue:in", Call: "fn", To: []runnel.Ref{"queue:out"}, Order: ordered,
			Concurrency: 64, Batch: runnel.Batch{Size: size},
		}.WithDefaults(),
		Handler: runnel.HandlerFunc(echo),
		Log:     quiet,
	}
	n := int64(max(b.N, 1))
	left.Store(n)
	body := make([]byte, 1024)
	if place == "none" {
		cfg.Source, cfg.Sinks = &endless{left: n, body: body}, []runnel.Sink{sink}
	} else {
		opt := store.Options{Log: quiet}
		dir := "data"
		if place == "memory" {
			opt.FS = storetest.NewCrashFS()
		} else {
			dir = b.TempDir()
		}
		s, err := store.Open(dir, opt)
		if err != nil {
			b.Fatal(err)
		}
		set, err := queue.Open(s, queue.Options{Log: quiet})
		if err != nil {
			b.Fatal(err)
		}
		defer func() {
			_ = set.Close(context.Background())
			_ = s.Close()
		}()
		in, _, err := set.Create(queue.Name{Account: "default", Queue: "in"}, queue.Defaults())
		if err != nil {
			b.Fatal(err)
		}
		out, _, err := set.Create(queue.Name{Account: "default", Queue: "out"}, queue.Defaults())
		if err != nil {
			b.Fatal(err)
		}
		for sent := int64(0); sent < n; {
			ms := make([]runnel.Message, min(500, n-sent))
			for i := range ms {
				ms[i] = runnel.Message{Body: body, Key: fmt.Sprint("k", i)}
			}
			if _, err := in.Send(ms); err != nil {
				b.Fatal(err)
			}
			sent += int64(len(ms))
		}
		// What comes out tells when all is done.
		cfg.Source, cfg.Sinks = in.Source(), []runnel.Sink{out.Sink()}
		go func() {
			src := out.Source()
			for left.Load() > 0 {
				ds, err := src.Receive(context.Background(), runnel.Limits{Messages: 1000, Wait: receiveWait})
				if err != nil {
					return
				}
				if left.Add(-int64(len(ds))) <= 0 {
					close(done)
				}
			}
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	r := runFlow(b, cfg)
	<-done
	b.StopTimer()
	r.stop()
}

const receiveWait = 1e9

// counting is a sink that counts down.
type counting struct {
	left *atomic.Int64
	done chan struct{}
}

func (c *counting) Send(_ context.Context, ms []runnel.Message) error {
	if c.left.Add(-int64(len(ms))) == 0 {
		close(c.done)
	}
	return nil
}

func (c *counting) Close(context.Context) error { return nil }

// endless is a source of so many messages that it forgets at once.
type endless struct {
	left int64
	body []byte
	n    int
}

func (s *endless) Receive(ctx context.Context, lim runnel.Limits) ([]runnel.Delivery, error) {
	if s.left == 0 {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	ds := make([]runnel.Delivery, min(int64(lim.Messages), s.left))
	s.left -= int64(len(ds))
	for i := range ds {
		s.n++
		ds[i] = runnel.Delivery{Message: runnel.Message{ID: "4f1d1a52-0000-4000-8000-000000000000", Key: keys[s.n%len(keys)], Body: s.body}, Position: int64(s.n), Attempt: 1}
	}
	return ds, nil
}

func (s *endless) Settle(context.Context, []runnel.Settlement) error { return nil }

func (s *endless) Close(context.Context) error { return nil }

var keys = func() (ks [500]string) {
	for i := range ks {
		ks[i] = fmt.Sprint("k", i)
	}
	return ks
}()
