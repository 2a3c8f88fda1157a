package main

import (
	"context"
	"sync/atomic"
	"time"
)

// pacer says when the next messages are to be sent, and how many. With a rate
// it is an open loop: times follow from the rate alone, and whoever is late
// sends at once, with the latency counted from the time that was due. So a
// server that stalls is charged for everything that would have been sent
// meanwhile, and not for one message only.
type pacer struct {
	start    time.Time
	batch    int64
	messages int64         // 0: no limit
	duration time.Duration // 0: no limit
	rate     float64       // messages/s; 0: as fast as it goes

	issued atomic.Int64
	ticks  chan tick // closed by run at the end; with a rate only
}

// tick is one send: due counts from the pacer's start.
type tick struct {
	due time.Duration
	n   int64 // messages
}

// newPacer makes a pacer that starts now.
func newPacer(opt *loadOptions) *pacer {
	return &pacer{
		start:    time.Now(),
		batch:    int64(opt.batch),
		messages: opt.messages,
		duration: opt.duration,
		rate:     opt.rate,
		// So many sends can be late before the pacer itself waits, which
		// changes no due time.
		ticks: make(chan tick, 4096),
	}
}

// run hands out the sends that a rate asks for.
func (p *pacer) run(ctx context.Context) {
	defer close(p.ticks)
	if p.rate == 0 {
		return
	}
	for {
		due := time.Duration(float64(p.issued.Load()) / p.rate * float64(time.Second))
		t, ok := p.take(due)
		if !ok || !sleepUntil(ctx, p.start.Add(due)) {
			return
		}
		select {
		case p.ticks <- t:
		case <-ctx.Done():
			return
		}
	}
}

// next returns the next send, or false when there is none.
func (p *pacer) next(ctx context.Context) (tick, bool) {
	if p.rate > 0 {
		t, ok := <-p.ticks
		return t, ok
	}
	if ctx.Err() != nil {
		return tick{}, false
	}
	return p.take(time.Since(p.start))
}

// take counts a batch of messages as issued, up to the end of the run.
func (p *pacer) take(due time.Duration) (tick, bool) {
	if p.duration > 0 && due >= p.duration {
		return tick{}, false
	}
	after := p.issued.Add(p.batch)
	n := p.batch
	if p.messages > 0 && after > p.messages {
		n -= after - p.messages
	}
	return tick{due, n}, n > 0
}

// sleepUntil waits for a moment and returns false if ctx ends first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	// In short steps, since a precise sleep cannot be interrupted.
	const step = 50 * time.Millisecond
	for ctx.Err() == nil {
		wait := time.Until(at)
		if wait <= 0 {
			return true
		}
		sleepPrecisely(min(wait, step))
	}
	return false
}
