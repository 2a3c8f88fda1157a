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

// ErrNotBegun is the cause of the interruption of a call that its worker had
// not seen when it ended. Another worker can be asked at once.
var ErrNotBegun = errors.New("the worker had ended before the call began")

// Pool keeps processes of one version, and gives their slots to callers: one of
// each process at a time, or as many as Program.Concurrency says.
type Pool struct {
	prog Program
	opt  Options

	// launch starts one more process; cancel ends those that are starting.
	launch func() (*worker, error)
	cancel context.CancelCauseFunc

	calls, errors, timeouts, crashes, outOfMemory, interrupts atomic.Int64

	// wait, start and run are how long calls waited for a process, processes
	// took to load, and calls took; suspects are calls that may have killed a
	// process.
	wait, start, run runnel.Durations
	suspects         suspects
	weighs           atomic.Bool // whether processes are replaced for their memory

	mu       sync.Mutex
	min, max int
	idleFor  time.Duration
	recycle  runnel.Recycle
	all      map[*worker]struct{} // every process that has not been cleared up
	size     int                  // those that take calls, be they full or not
	ready    []*worker            // those of them with room; taken from the end
	waiting  waiters
	starting int
	starts   int64
	limits   []Limit
	peak     int64 // of processes that have ended
	draining bool
	empty    chan struct{} // closed when draining and nothing is left

	// What is replaced: worn are processes that shall go when another one is
	// ready, replacing says that it starts.
	worn      int
	replacing bool

	// What scaling goes by: how long a start and a call take, about, and how
	// many calls come in a second.
	cold, took time.Duration
	rate       float64
	arrived    int       // since rated
	rated      time.Time // when rate was reckoned
	recheck    *time.Timer

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
		prog: prog, opt: opt, min: opt.Min, max: opt.Max, idleFor: opt.Idle, recycle: opt.Recycle,
		all: make(map[*worker]struct{}), starting: 1, empty: make(chan struct{}), rated: time.Now(),
	}
	p.weighs.Store(opt.Recycle.Memory > 0)
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
	p.admit(w, false)
	p.grow()
	return p, nil
}

// Acquire waits for room on a process, in turn, and returns it for one call.
// release gives it back and is called once. The error is ErrDraining, or the
// cause of ctx.
func (p *Pool) Acquire(ctx context.Context) (call runnel.Invoker, release func(), err error) {
	p.mu.Lock()
	if p.draining {
		p.mu.Unlock()
		return nil, nil, ErrDraining
	}
	if s := p.take(); s != nil {
		p.arrived++
		p.mu.Unlock()
		p.wait.Record(0)
		return s, s.release, nil
	}
	if ctx.Err() != nil {
		p.mu.Unlock()
		return nil, nil, context.Cause(ctx)
	}
	p.arrived++
	wait := p.waiting.join(time.Now())
	since := wait.since
	p.grow()
	p.mu.Unlock()

	select {
	case s := <-wait.place:
		wait.forget()
		if s == nil {
			return nil, nil, ErrDraining
		}
		p.wait.Record(time.Since(since))
		return s, s.release, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	left := p.waiting.leave(wait)
	p.mu.Unlock()
	if !left {
		// It was given a place meanwhile.
		if s := <-wait.place; s != nil {
			p.release(s)
		}
	}
	wait.forget()
	return nil, nil, context.Cause(ctx)
}

// take gives room on the process that had room for the shortest time, so that
// those that are not needed stay idle and end.
func (p *Pool) take() *slot {
	for n := len(p.ready); n > 0; n = len(p.ready) {
		w := p.ready[n-1]
		if w.gone.Load() {
			p.unready(w)
			continue
		}
		s := w.take()
		if len(w.free) == 0 {
			p.unready(w)
		}
		return s
	}
	return nil
}

// take takes a slot of a process that has a free one, with Pool.mu held.
func (w *worker) take() *slot {
	last := len(w.free) - 1
	s := w.free[last]
	w.free = w.free[:last]
	s.taken = true
	return s
}

// idle says whether a process has no calls, with Pool.mu held.
func (w *worker) idle() bool { return len(w.free) == len(w.slots) }

// release takes room back.
func (p *Pool) release(s *slot) {
	w := s.w
	w.mu.Lock()
	spent := w.exhausted || w.stopping
	calls := w.calls
	w.mu.Unlock()
	resident := w.weigh()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.taken {
		return
	}
	s.taken = false
	w.free = append(w.free, s)
	if s.ran > 0 {
		p.took, s.ran = smooth(p.took, s.ran), 0
		p.failures = 0
	}
	w.since = time.Now()
	switch {
	case w.alone == nil:
	case w.idle():
		w.alone = nil
	case len(w.free) == len(w.slots)-1:
		w.hasItAlone()
	}
	switch {
	case w.gone.Load():
		// lost has been, or will be, told of it.
	case w.leaving:
		if w.idle() {
			w.stop()
		}
	case spent || p.draining || p.size > p.max:
		p.retire(w)
		p.grow()
	default:
		if !w.worn && p.isWorn(w, calls, resident) {
			w.worn = true
			p.worn++
			p.grow()
		}
		p.put(w)
	}
}

// put gives the room of a process to who waits longest, or lets it be ready.
func (p *Pool) put(w *worker) {
	if w.alone != nil {
		return
	}
	for len(w.free) > 0 {
		wait := p.waiting.next()
		if wait == nil {
			break
		}
		wait.place <- w.take()
	}
	switch {
	case len(w.free) == 0:
		p.unready(w)
	case !w.inReady:
		w.inReady = true
		p.ready = append(p.ready, w)
	}
	p.expire()
}

// Resize changes how many processes there may be, for how long they may be
// idle, and when they are replaced. Those that are too many end when they have
// no call.
func (p *Pool) Resize(least, most int, idle time.Duration, recycle runnel.Recycle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return
	}
	p.min, p.max, p.idleFor, p.recycle = max(least, 0), max(most, least, 1), idle, recycle
	p.weighs.Store(recycle.Memory > 0)
	number(&p.idleFor, defaultIdle)
	for p.size > p.max {
		w := p.longestIdle()
		if w == nil {
			break
		}
		p.retire(w)
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
		for w := range p.all {
			if w.listed {
				p.retire(w)
			}
		}
		for _, timer := range []*time.Timer{p.retry, p.expiry, p.recheck} {
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
		busy += len(w.slots) - len(w.free)
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

// retire gives a process no more calls, and ends it when it has none left. With
// p.mu held.
func (p *Pool) retire(w *worker) {
	w.leaving = true
	p.unlist(w)
	if w.idle() {
		w.stop()
	}
}

// unlist removes a process from those that take calls.
func (p *Pool) unlist(w *worker) {
	w.listed = false
	p.size--
	if w.worn {
		p.worn--
	}
	p.unready(w)
}

// unready removes a process from those with room.
func (p *Pool) unready(w *worker) {
	if !w.inReady {
		return
	}
	w.inReady = false
	if last := len(p.ready) - 1; p.ready[last] == w {
		p.ready = p.ready[:last]
		return
	}
	i := slices.Index(p.ready, w)
	p.ready = slices.Delete(p.ready, i, i+1)
}

// longestIdle returns the process that was idle for the longest time, or nil.
func (p *Pool) longestIdle() *worker {
	var out *worker
	for _, w := range p.ready {
		if w.idle() && (out == nil || w.since.Before(out.since)) {
			out = w
		}
	}
	return out
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
