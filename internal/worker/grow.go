package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstBackOff = 100 * time.Millisecond
	lastBackOff  = 30 * time.Second
	// forgetAfter is how long starts must not fail for the back-off to begin
	// anew.
	forgetAfter = 2 * time.Minute
)

// startOne starts a process when it is its turn among all pools.
func (p *Pool) startOne(ctx context.Context) (*worker, error) {
	if p.opt.Starts != nil {
		select {
		case p.opt.Starts <- struct{}{}:
			defer func() { <-p.opt.Starts }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	w, limits, err := p.startWorker(ctx)
	if limits != nil {
		p.mu.Lock()
		p.limits = limits
		p.mu.Unlock()
	}
	return w, err
}

// startMore is the goroutine of one start. The drain waits for it by
// p.starting.
func (p *Pool) startMore() {
	w, err := p.launch()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	switch {
	case err == nil:
		p.admit(w)
	case !p.draining:
		p.failed(err)
	}
	p.grow()
	p.finish()
}

// admit lets a process that is ready into the pool, with p.mu held.
func (p *Pool) admit(w *worker) {
	if w.gone.Load() {
		p.failed(errors.New("the worker process ended as soon as it was ready"))
		return
	}
	p.failing, p.failure = false, nil
	w.listed = true
	p.size++
	if p.draining || p.size > p.max {
		p.retire(w)
		return
	}
	p.put(w)
}

// grow starts the processes that are needed: for who waits, and for the least
// that there shall be. Called with p.mu held.
func (p *Pool) grow() {
	if p.draining {
		return
	}
	want := max(p.min-p.size, p.waiting.count) - p.starting
	want = min(want, p.max-p.size-p.starting)
	if want <= 0 {
		return
	}
	if p.failing {
		if p.starting > 0 || p.retry != nil {
			return
		}
		if wait := time.Until(p.retryAt); wait > 0 {
			p.retry = time.AfterFunc(wait, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.retry = nil
				p.grow()
			})
			return
		}
		want = 1
	}
	p.starting += want
	for range want {
		go p.startMore()
	}
}

// failed notes that a process did not start, or ended before it was of use.
func (p *Pool) failed(err error) {
	now := time.Now()
	if now.Sub(p.failedAt) > forgetAfter {
		p.failures = 0
	}
	wait := min(firstBackOff<<min(p.failures, 16), lastBackOff)
	wait += time.Duration(float64(wait) * 0.2 * rand.Float64())
	p.failing, p.failure, p.failedAt = true, err, now
	p.failures++
	p.retryAt = now.Add(wait)
	p.opt.Slog.Warn("worker does not start", "function", p.prog.Function, "version", p.prog.Version, "err", err, "retry_in", wait)
}

// expire sees to it that a process that nobody needs ends in time. Called with
// p.mu held.
func (p *Pool) expire() {
	if p.expiry != nil || p.draining || len(p.idle) == 0 || p.size <= p.min {
		return
	}
	wait := p.idleFor - time.Since(p.idle[0].since)
	p.expiry = time.AfterFunc(max(wait, 0), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.expiry = nil
		for !p.draining && len(p.idle) > 0 && p.size > p.min && time.Since(p.idle[0].since) >= p.idleFor {
			p.retire(p.idle[0])
		}
		p.expire()
	})
}
