package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel"
)

// flowBodyMin is the smallest body: one without text.
const flowBodyMin = 64

// A body of a load on a flow is JSON, as short as it can be written, so that
// what a function returns that was given the decoded value is the same text:
// the message's number, when its send was due, and random text.
const (
	flowBodyNumber = `{"n":`
	flowBodyDue    = `,"due":`
	flowBodyText   = `,"text":"`
	flowBodyEnd    = `"}`
)

// appendFlowBody appends a body of size bytes.
func appendFlowBody(b []byte, n int64, due time.Duration, filler []byte, size int) []byte {
	begin := len(b)
	b = append(b, flowBodyNumber...)
	b = strconv.AppendInt(b, n, 10)
	b = append(b, flowBodyDue...)
	b = strconv.AppendInt(b, int64(due), 10)
	b = append(b, flowBodyText...)
	left := size - (len(b) - begin) - len(flowBodyEnd)
	from := rand.IntN(fillerBytes)
	b = append(b, filler[from:from+left]...)
	return append(b, flowBodyEnd...)
}

// readFlowBody is the inverse, without the text.
func readFlowBody(body []byte) (n int64, due time.Duration, err error) {
	number, rest, ok := bytes.Cut(body, []byte(flowBodyDue))
	number, begins := bytes.CutPrefix(number, []byte(flowBodyNumber))
	when, _, ends := bytes.Cut(rest, []byte(","))
	if n, err = strconv.ParseInt(string(number), 10, 64); !ok || !begins || !ends || err != nil || n < 0 {
		return 0, 0, fmt.Errorf("%.40q is not a message of this load", body)
	}
	d, err := strconv.ParseInt(string(when), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%.40q is not a message of this load", body)
	}
	return n, time.Duration(d), nil
}

// produce sends what the options say, and returns how long that took. Without
// a rate it is a closed loop: a send waits until there is room before the
// results.
func (l *flowLoad) produce(ctx context.Context, opt *loadOptions) (time.Duration, error) {
	p := newPacer(opt)
	filler := l.filler()
	watched, end := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { l.account.watch(watched, flowPatience, func() { end(errFlowStuck) }) })
	defer watch.Wait()
	defer end(nil)
	g, ctx := errgroup.WithContext(watched)
	g.Go(func() error { p.run(ctx); return nil })
	for range l.opt.producers {
		g.Go(func() error {
			ms := make([]runnel.Message, opt.batch)
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				due := p.start.Add(t.due)
				if opt.rate == 0 {
					if err := l.room.Acquire(ctx, t.n); err != nil {
						return context.Cause(ctx)
					}
					due = time.Now()
				}
				first := l.next.Add(t.n) - t.n
				for i := range ms[:t.n] {
					ms[i].Body = appendFlowBody(ms[i].Body[:0], first+int64(i), due.Sub(l.start), filler, l.opt.size)
				}
				begin := time.Now()
				if err := l.in.Send(ctx, ms[:t.n]); err != nil {
					return fmt.Errorf("send: %w", err)
				}
				if first >= l.measured.Load() {
					l.sendTimes.record(time.Since(begin))
				}
				l.account.confirm(first, t.n)
			}
		})
	}
	err := g.Wait()
	return time.Since(p.start), err
}

// filler is random text that is safe in JSON.
func (l *flowLoad) filler() []byte {
	return newLoadRun(&loadOptions{size: l.opt.size}, nil).filler
}

// consume takes results until ctx ends.
func (l *flowLoad) consume(ctx context.Context, out runnel.Source) error {
	var numbers []int64
	var settled []runnel.Settlement
	for {
		ds, err := out.Receive(ctx, runnel.Limits{Messages: flowReceive, Wait: 20 * time.Second, Lease: loadLease})
		if err != nil {
			return fmt.Errorf("receive results: %w", err)
		}
		if len(ds) == 0 {
			continue
		}
		now, measured := time.Since(l.start), l.measured.Load()
		numbers, settled = numbers[:0], settled[:0]
		for i := range ds {
			n, due, err := readFlowBody(ds[i].Body)
			if err != nil {
				return err
			}
			if n >= measured {
				l.results.record(now - due)
			}
			numbers = append(numbers, n)
			settled = append(settled, runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Ack})
		}
		fresh := l.account.seen(numbers)
		if l.opt.rate == 0 || numbers[0] < measured {
			l.room.Release(fresh)
		}
		if err := out.Settle(ctx, settled); err != nil {
			return fmt.Errorf("delete results: %w", err)
		}
	}
}

// consumeDead takes dead letters until ctx ends.
func (l *flowLoad) consumeDead(ctx context.Context, dead runnel.Source) error {
	for {
		ds, err := dead.Receive(ctx, runnel.Limits{Messages: flowReceive, Wait: 20 * time.Second, Lease: loadLease})
		if err != nil {
			return fmt.Errorf("receive dead letters: %w", err)
		}
		for i := range ds {
			n, _, err := readFlowBody(ds[i].Body)
			if err != nil {
				return err
			}
			if fresh := l.account.died(n); fresh && (l.opt.rate == 0 || n < l.measured.Load()) {
				l.room.Release(1)
			}
		}
	}
}

// move does what a flow of a function does which returns what it gets, and
// nothing besides.
func (l *flowLoad) move(ctx context.Context, g *errgroup.Group, broker runnel.Broker) error {
	in, err := broker.Source("load-in")
	if err != nil {
		return err
	}
	out, err := broker.Sink("load-out")
	if err != nil {
		return err
	}
	tx, ok := in.(runnel.Transactor)
	if !ok || !tx.Joins(out) {
		return errors.New("the queues cannot settle and send in one commit")
	}
	for range l.opt.concurrency {
		g.Go(func() error {
			var ms []runnel.Message
			var settled []runnel.Settlement
			for {
				ds, err := in.Receive(ctx, runnel.Limits{Messages: l.opt.batch, Wait: 20 * time.Second})
				if err != nil {
					return ended(ctx, fmt.Errorf("receive: %w", err))
				}
				if len(ds) == 0 {
					continue
				}
				ms, settled = ms[:0], settled[:0]
				for i := range ds {
					ms = append(ms, runnel.Message{Body: ds[i].Body})
					settled = append(settled, runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Ack})
				}
				txn, err := tx.Begin(ctx)
				if err == nil {
					err = errors.Join(txn.Settle(settled), txn.Send(out, ms))
				}
				if err == nil {
					err = txn.Commit(ctx)
				}
				if err != nil {
					return ended(ctx, fmt.Errorf("move: %w", err))
				}
			}
		})
	}
	return nil
}

// reportProgress writes a line a second until the returned function is called.
func (l *flowLoad) reportProgress(w io.Writer) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	begin := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-tick.C:
				t := l.account.totals()
				fmt.Fprintf(w, "%.0fs: sent %d, results %d\n", time.Since(begin).Seconds(), t.sent, t.results)
			}
		}
	}()
	return sync.OnceFunc(func() { close(stopped); <-done })
}
