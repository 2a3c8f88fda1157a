package dispatch_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestFIFOQueue: a flow between FIFO queues keeps the order of each key through
// failures and restarts, and what comes out is there once.
func TestFIFOQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, n = 12, 15
		h := newHome(t)
		for _, name := range []string{"in.fifo", "out.fifo"} {
			h.create(name, func(s *queue.Settings) { s.FIFO = &queue.FIFO{} })
		}
		ms := keyed(keys, n)
		for i := range ms {
			ms[i].DedupID = string(ms[i].ID)
		}
		h.send("in.fifo", ms...)
		var mu sync.Mutex
		rng := rand.New(rand.NewPCG(1, 2))
		for range 4 {
			cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
				mu.Lock()
				fails, takes := rng.IntN(5) == 0, time.Duration(rng.IntN(200))*time.Millisecond
				mu.Unlock()
				<-time.After(takes)
				if fails {
					return runnel.Result{}, errors.New("not now")
				}
				return echo(ctx, m)
			}))
			cfg.Flow.From, cfg.Flow.To = "queue:in.fifo", []runnel.Ref{"queue:out.fifo"}
			cfg.Flow.Retry.MaxAttempts = 1000
			cfg.Source = h.queue("in.fifo").Source()
			cfg.Flow.Order = cfg.Source.(runnel.Ordered).Order()
			r := h.run(cfg)
			sleep(3 * time.Second)
			r.stop()
			h.close()
			h.fs = h.fs.Crash()
			h.open()
		}
		cfg := h.config(runnel.HandlerFunc(echo))
		cfg.Flow.From, cfg.Flow.To = "queue:in.fifo", []runnel.Ref{"queue:out.fifo"}
		cfg.Flow.Order = runnel.OrderKey
		r := h.run(cfg)
		sleep(30 * time.Minute)
		r.stop()
		h.wantDepth("in.fifo", 0, 0, 0)
		var bodies []string
		for _, p := range h.all("out.fifo") {
			bodies = append(bodies, string(p.Body))
		}
		newOrder().check(t, bodies, keys, n)
	})
}
