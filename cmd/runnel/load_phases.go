package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// cost is what all rounds of a phase took together.
type cost struct {
	messages int64
	time     time.Duration
	cpu      time.Duration
	server   func() time.Duration // its processor time so far, or -1
	served   time.Duration
}

// measure runs a phase of some messages. What the engine does in the
// background is charged to the phase in which it happens to be done.
func (c *cost) measure(messages int64, f func() error) error {
	begin, cpu, server := time.Now(), cpuNow(), c.server()
	err := f()
	c.served += c.server() - server
	c.cpu += cpuNow() - cpu
	c.time += time.Since(begin)
	c.messages += messages
	return err
}

func (c *cost) phase(h *histogram) *phase {
	p := newPhase(c.messages, c.time, h)
	if p != nil {
		p.CPU = per(float64(c.cpu.Nanoseconds())/1e3, c.messages)
		if c.served > 0 {
			p.ServerCPU = per(float64(c.served.Nanoseconds())/1e3, c.messages)
		}
	}
	return p
}

// phases sends, receives and deletes in rounds, so that each kind of call has
// the process to itself and its processor time can be told. A round is small
// against a backlog, which stays as it is.
func (r *loadRun) phases(ctx context.Context, f *figures) error {
	o := r.opt
	fresh := cost{server: r.target.serverCPU}
	send, receive, remove := fresh, fresh, fresh
	producers := make([]loadWorker, o.producers)
	buffers := make([]*bodies, o.producers)
	for i := range producers {
		producers[i], buffers[i] = r.target.worker(), r.bodies(o.batch)
	}
	consumers := make([]loadWorker, o.consumers)
	held := make([][]taken, o.consumers)
	for i := range consumers {
		consumers[i] = r.target.worker()
	}
	for begin := time.Now(); o.messages == 0 || send.messages < o.messages; {
		if o.duration > 0 && time.Since(begin) >= o.duration {
			break
		}
		n := int64(o.round)
		if o.messages > 0 {
			n = min(n, o.messages-send.messages)
		}
		err := send.measure(n, func() error { return r.sendRound(ctx, n, producers, buffers) })
		if err != nil {
			return err
		}
		if err := receive.measure(n, func() error { return r.receiveRound(ctx, n, consumers, held) }); err != nil {
			return err
		}
		if o.keep {
			continue
		}
		if err := remove.measure(n, func() error { return r.removeRound(ctx, consumers, held) }); err != nil {
			return err
		}
	}
	f.Messages = receive.messages
	f.Send, f.Receive, f.Delete = send.phase(&r.sendTimes), receive.phase(&r.receiveTimes), remove.phase(&r.deleteTimes)
	total := cost{
		messages: receive.messages, time: send.time + receive.time + remove.time, cpu: send.cpu + receive.cpu + remove.cpu,
		served: send.served + receive.served + remove.served,
	}
	f.Cycle = total.phase(&r.cycleTimes)
	return nil
}

func (r *loadRun) sendRound(ctx context.Context, n int64, ws []loadWorker, buffers []*bodies) error {
	p := pacer{start: time.Now(), batch: int64(r.opt.batch), messages: n}
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range ws {
		g.Go(func() error {
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				begin := time.Now()
				if err := w.send(ctx, buffers[i].fill(t.n, begin, false)); err != nil {
					return fmt.Errorf("send: %w", err)
				}
				r.noteSend(time.Since(begin))
				r.sent.Add(t.n)
			}
		})
	}
	return g.Wait()
}

// receiveRound receives n messages and leaves them with those that got them.
func (r *loadRun) receiveRound(ctx context.Context, n int64, ws []loadWorker, held [][]taken) error {
	const patience = 5 * time.Second
	var budget atomic.Int64 // messages that nobody has asked for yet
	budget.Store(n)
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range ws {
		held[i] = held[i][:0]
		g.Go(func() error {
			since := time.Now()
			for {
				most := takeUpTo(&budget, int64(r.opt.receiveBatch))
				if most == 0 {
					return context.Cause(ctx)
				}
				begin := time.Now()
				before := len(held[i])
				var err error
				if held[i], err = w.receive(ctx, int(most), 0, held[i]); err != nil {
					return fmt.Errorf("receive: %w", err)
				}
				r.receiveTimes.record(time.Since(begin))
				for j := before; j < len(held[i]); j++ {
					held[i][j].body = nil // it is memory that the engine could have back
				}
				got := int64(len(held[i]) - before)
				r.received.Add(got)
				budget.Add(most - got)
				if got > 0 {
					since = time.Now()
				} else if time.Since(since) > patience {
					return fmt.Errorf("receive: nothing came for %v, and %d messages are missing", patience, budget.Load())
				}
			}
		})
	}
	return g.Wait()
}

func (r *loadRun) removeRound(ctx context.Context, ws []loadWorker, held [][]taken) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range ws {
		g.Go(func() error {
			for ts := held[i]; len(ts) > 0; {
				n := min(len(ts), r.opt.receiveBatch)
				begin := time.Now()
				if err := w.remove(ctx, ts[:n]); err != nil {
					return fmt.Errorf("delete: %w", err)
				}
				r.deleteTimes.record(time.Since(begin))
				r.deleted.Add(int64(n))
				ts = ts[n:]
			}
			return nil
		})
	}
	return g.Wait()
}

// takeUpTo takes up to most out of a budget and returns how much it was.
func takeUpTo(budget *atomic.Int64, most int64) int64 {
	for {
		left := budget.Load()
		take := min(left, most)
		if take <= 0 {
			return 0
		}
		if budget.CompareAndSwap(left, left-take) {
			return take
		}
	}
}
