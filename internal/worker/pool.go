package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
)

// ErrDraining is returned by Acquire when the pool takes no more calls: its
// version was replaced, or the server stops.
var ErrDraining = errors.New("the workers of this version are being drained")

// Pool keeps processes of one version, and gives each to one caller at a time.
type Pool struct {
	prog Program
	opt  Options
	mask *mask // of prog.Mask

	// launch starts one more process; cancel ends those that are starting.
	launch func() (*worker, error)
	cancel context.CancelCauseFunc

	calls, errors, timeouts, crashes, outOfMemory, interrupts atomic.Int64

	mu       sync.Mutex
	min, max int
	idleFor  time.Duration
	all      map[*worker]struct{} // every process that has not been cleared up
	size     int                  // those that are busy or idle
	idle     []*worker            // the longest idle first; taken from the end
	waiting  waiters
	starting int
	starts   int64
	limits   []Limit
	draining bool
	empty    chan struct{} // closed when draining and nothing is left

	// After a failed start there is one at a time, later each time.
	failing  bool
	failures int // in a row
	failure  error
	failedAt time.Time
	retryAt  time.Time
	retry    *time.Timer // runs while failing and a process is wanted
	expiry   *time.Timer // runs while an idle process could end
}

// Start starts a pool. The first process proves that the code loads: if it does
// not, the error is a *runnel.FunctionError with the language's own message, or
// says what kept the process from starting. ctx bounds that first start only.
func Start(ctx context.Context, prog Program, opt Options) (*Pool, error) {
	prog, err := prog.withDefaults()
	if err != nil {
		return nil, err
	}
	if opt, err = opt.withDefaults(); err != nil {
		return nil, err
	}
	p := &Pool{
		prog: prog, opt: opt, mask: newMask(prog.Mask), min: opt.Min, max: opt.Max, idleFor: opt.Idle,
		all: make(map[*worker]struct{}), starting: 1, empty: make(chan struct{}),
	}
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	p.cancel = cancel
	p.launch = func() (*worker, error) { return p.startOne(life) }
	w, err := p.startOne(ctx)
	if err != nil {
		cancel(err)
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	p.admit(w)
	p.grow()
	return p, nil
}

// Acquire waits for a process, in turn, and returns it for one call. release
// gives it back and is called once. The error is ErrDraining, or the cause of
// ctx.
func (p *Pool) Acquire(ctx context.Context) (call runnel.Invoker, release func(), err error) {
	p.mu.Lock()
	if p.draining {
		p.mu.Unlock()
		return nil, nil, ErrDraining
	}
	if w := p.take(); w != nil {
		p.mu.Unlock()
		return w, w.release, nil
	}
	if ctx.Err() != nil {
		p.mu.Unlock()
		return nil, nil, context.Cause(ctx)
	}
	wait := p.waiting.join()
	p.grow()
	p.mu.Unlock()

	select {
	case w := <-wait.place:
		wait.forget()
		if w == nil {
			return nil, nil, ErrDraining
		}
		return w, w.release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	left := p.waiting.leave(wait)
	p.mu.Unlock()
	if !left {
		// It was given a process meanwhile.
		if w := <-wait.place; w != nil {
			p.release(w)
		}
	}
	wait.forget()
	return nil, nil, context.Cause(ctx)
}

// take removes the process that was idle for the shortest time, so that those
// that are not needed stay idle and end.
func (p *Pool) take() *worker {
	for n := len(p.idle); n > 0; n-- {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if !w.gone.Load() {
			w.busy = true
			return w
		}
	}
	return nil
}

// release takes a process back.
func (p *Pool) release(w *worker) {
	w.mu.Lock()
	spent := w.exhausted || w.stopping
	w.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.busy {
		return
	}
	w.busy = false
	switch {
	case w.gone.Load():
		// lost has been, or will be, told of it.
	case spent || p.draining || p.size > p.max:
		p.retire(w)
		p.grow()
	default:
		p.put(w)
	}
}

// put gives a process to who waits longest, or lets it be idle.
func (p *Pool) put(w *worker) {
	if wait := p.waiting.next(); wait != nil {
		w.busy = true
		wait.place <- w
		return
	}
	w.since = time.Now()
	p.idle = append(p.idle, w)
	p.expire()
}

// Resize changes how many processes there may be, and for how long they may be
// idle. Those that are too many end when they have no call.
func (p *Pool) Resize(least, most int, idle time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return
	}
	p.min, p.max, p.idleFor = max(least, 0), max(most, least, 1), idle
	number(&p.idleFor, defaultIdle)
	for p.size > p.max && len(p.idle) > 0 {
		p.retire(p.idle[0])
	}
	if p.expiry != nil {
		p.expiry.Stop()
		p.expiry = nil
	}
	p.expire()
	p.grow()
}

// Drain ends the pool: Acquire returns ErrDraining, calls under way end, then
// the processes do. When ctx ends first, the processes are killed and their
// calls interrupted; the error says how many.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	if !p.draining {
		p.draining = true
		p.cancel(ErrDraining)
		for wait := p.waiting.next(); wait != nil; wait = p.waiting.next() {
			wait.place <- nil
		}
		for len(p.idle) > 0 {
			p.retire(p.idle[0])
		}
		for _, timer := range []*time.Timer{p.retry, p.expiry} {
			if timer != nil {
				timer.Stop()
			}
		}
		p.finish()
	}
	p.mu.Unlock()
	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-p.empty: // both were true
		return nil
	default:
	}
	p.mu.Lock()
	busy := 0
	for w := range p.all {
		if w.busy {
			busy++
		}
		w.kill()
	}
	p.mu.Unlock()
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.empty:
	case <-timer.C:
		return fmt.Errorf("draining %s: processes that were killed do not end", p.prog.Function)
	}
	if busy > 0 {
		return fmt.Errorf("draining %s: %d calls were interrupted: %w", p.prog.Function, busy, context.Cause(ctx))
	}
	return nil
}

// retire ends a process that is not busy, with p.mu held.
func (p *Pool) retire(w *worker) {
	w.listed = false
	p.size--
	p.unlist(w)
	w.stop()
}

// unlist removes a process from those that are idle.
func (p *Pool) unlist(w *worker) {
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
}

// live lists a process that has been started, so that a drain finds it.
func (p *Pool) live(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[w] = struct{}{}
	p.starts++
}

// lost is told of the end of every process, once, before its call ends. wanted
// says that the end has a reason that is known elsewhere; unused that the
// process never had a call.
func (p *Pool) lost(w *worker, failure error, wanted, unused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.listed {
		return // it was retired, or never got ready
	}
	w.listed = false
	p.size--
	p.unlist(w)
	if !wanted {
		p.crashes.Add(1)
		p.opt.Slog.Warn("worker ended without a call", "function", p.prog.Function, "version", p.prog.Version, "worker", w.name, "err", failure)
		if unused {
			p.failed(failure)
		}
	}
	p.grow()
}

// cleared is told when nothing of a process is left.
func (p *Pool) cleared(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, w)
	p.finish()
}

// finish ends a drain when nothing is left.
func (p *Pool) finish() {
	if !p.draining || p.starting > 0 || len(p.all) > 0 {
		return
	}
	select {
	case <-p.empty:
	default:
		close(p.empty)
	}
}
