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
	leave, err := p.opt.Starts.enter(ctx, p)
	if err != nil {
		return nil, err
	}
	defer leave()
	begun := time.Now()
	w, limits, err := p.startWorker(ctx)
	took := time.Since(begun)
	if err == nil {
		w.proc.high()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if limits != nil {
		p.limits = limits
	}
	if err == nil {
		p.start.Record(took)
		p.cold = smooth(p.cold, took)
	}
	return w, err
}

// startMore is the goroutine of one start. The drain waits for it by
// p.starting.
func (p *Pool) startMore(replacement bool) {
	w, err := p.launch()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	if replacement {
		p.replacing = false
	}
	switch {
	case err == nil:
		p.admit(w, replacement)
	case !p.draining:
		p.failed(err)
	}
	p.grow()
	p.finish()
}

// admit lets a process that is ready into the pool, with p.mu held. As a
// replacement it takes the place of one that is worn.
func (p *Pool) admit(w *worker, replacement bool) {
	if w.gone.Load() {
		p.failed(errors.New("the worker process ended as soon as it was ready"))
		return
	}
	p.failing, p.failure = false, nil
	w.listed, w.since = true, time.Now()
	p.size++
	if replacement {
		for old := range p.all {
			if old.listed && old.worn {
				p.retire(old)
				break
			}
		}
	}
	if p.draining || p.size > p.max {
		p.retire(w)
		return
	}
	p.put(w)
}

// grow starts the processes that are needed: for who waits, for the least that
// there shall be, and in place of one that is worn, which may be one more than
// Max for a moment. Called with p.mu held.
func (p *Pool) grow() {
	if p.draining {
		return
	}
	replaces := p.worn > 0 && !p.replacing
	want := max(p.min-p.size-p.starting, p.lacking(time.Now()))
	want = min(want, p.max-p.size-p.starting)
	if want <= 0 && !replaces {
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
		replaces = replaces && p.size >= p.max
	}
	if replaces {
		p.replacing = true
		p.starting++
		want = min(want, p.max-p.size-p.starting+1)
		go p.startMore(true)
	}
	for range want {
		p.starting++
		go p.startMore(false)
	}
}

// failed notes that a process did not start, or ended before it was of use.
func (p *Pool) failed(err error) {
	now := time.Now()
	if p.failing && now.Before(p.retryAt) {
		p.failure = err // of starts that were under way at the last failure
		return
	}
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
	if p.expiry != nil || p.draining || p.size <= p.min {
		return
	}
	w := p.longestIdle()
	if w == nil {
		return
	}
	p.expiry = time.AfterFunc(max(p.idleFor-time.Since(w.since), 0), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.expiry = nil
		for !p.draining && p.size > p.min {
			w := p.longestIdle()
			if w == nil || time.Since(w.since) < p.idleFor {
				break
			}
			p.retire(w)
		}
		p.expire()
	})
}
