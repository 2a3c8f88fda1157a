package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
)

// slot is the room for one call in flight on a process. It implements
// runnel.Invoker: whoever acquired it has it alone.
type slot struct {
	w       *worker
	release func()       // made once, so that an Acquire allocates nothing
	done    chan outcome // gets one outcome per call begun; one is buffered

	// The caller's, for the wire.
	frame, meta []byte
	writeErr    error
	event       *event
	ran         time.Duration // how long the call took; 0 if it did not end by itself

	call *runnel.Invocation // in flight; guarded by worker.mu

	taken bool // guarded by Pool.mu
}

func newSlot(w *worker) *slot {
	s := &slot{w: w, done: make(chan outcome, 1)}
	s.release = func() { w.pool.release(s) }
	return s
}

// Invoke implements runnel.Invoker.
func (s *slot) Invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	begun := time.Now()
	answers, err := s.invoke(ctx, in, begun)
	took := time.Since(begun)
	if s.w.pool.count(answers, err, took) {
		s.ran = took
	}
	return answers, err
}

func (s *slot) invoke(ctx context.Context, in *runnel.Invocation, begun time.Time) ([]runnel.Answer, error) {
	w := s.w
	if ctx.Err() != nil {
		return nil, interrupted(context.Cause(ctx))
	}
	for i := range in.Items {
		if n := int64(len(in.Items[i].Payload)); n > w.pool.prog.MaxInput {
			return s.tooLarge(ctx, in, begun)
		}
	}
	if !w.single() && w.pool.suspects.has(in) {
		if err := w.pool.isolate(ctx, s); err != nil {
			return nil, err
		}
		defer func() {
			if !w.gone.Load() {
				w.pool.suspects.clear(in)
			}
		}()
	}
	var until int64
	deadline, ok := ctx.Deadline()
	if ok {
		until = deadline.UnixMilli()
	}
	if err := w.wire.prepare(s, in, until); err != nil {
		return nil, err
	}
	if !s.begin(in) {
		return nil, interrupted(ErrNotBegun)
	}
	written := w.wire.send(s)
	select {
	case o := <-s.done:
		if written != nil && (o.dead || !s.finishWrite(written)) || cap(s.frame) > keepScratch {
			s.frame = nil
		}
		return o.answers, s.blame(&o)
	case <-ctx.Done():
	}
	defer func() { s.frame = nil }() // it may still be written
	if ctx.Err() == context.DeadlineExceeded || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return s.timeOut(in, deadline.Sub(begun))
	}
	return nil, s.interrupt(context.Cause(ctx), in.ID, isOpen(written))
}

// tooLarge calls with the payloads that are not too large, and says of the
// others that they are.
func (s *slot) tooLarge(ctx context.Context, in *runnel.Invocation, begun time.Time) ([]runnel.Answer, error) {
	most := s.w.pool.prog.MaxInput
	answers := make([]runnel.Answer, len(in.Items))
	rest := *in
	rest.Items = nil
	var places []int
	for i, item := range in.Items {
		if n := len(item.Payload); int64(n) > most {
			if in.List {
				return nil, inputTooLarge(n, most)
			}
			answers[i].Err = inputTooLarge(n, most)
			continue
		}
		rest.Items = append(rest.Items, item)
		places = append(places, i)
	}
	if len(rest.Items) == 0 {
		return answers, nil
	}
	got, err := s.invoke(ctx, &rest, begun)
	if err != nil {
		return nil, err
	}
	for i, at := range places {
		answers[at] = got[i]
	}
	return answers, nil
}

func inputTooLarge(n int, most int64) error {
	return &runnel.FunctionError{Kind: runnel.KindUndecodable, Message: fmt.Sprintf("the payload has %d bytes, and max_input is %d", n, most)}
}

// blame returns the error of a call: that the process ended before it could
// read the call is not the call's fault, unless no process ever reads one.
func (s *slot) blame(o *outcome) error {
	if o.dead && !s.w.wire.reached(s) && s.w.begun() > 1 {
		return interrupted(ErrNotBegun)
	}
	return o.err
}

// begun is how many calls the process has been given.
func (w *worker) begun() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

// finishWrite waits for the rest of a call that was answered already. A process
// that answers what it has not read would take the rest for its next frame, and
// is killed; then it says false.
func (s *slot) finishWrite(written chan struct{}) bool {
	select {
	case <-written:
		return true
	default:
	}
	timer := time.NewTimer(s.w.pool.opt.Grace)
	defer timer.Stop()
	select {
	case <-written:
		return true
	case <-timer.C:
		s.w.condemn(errors.New("the worker answered another call that it had not read"))
		<-written
		return false
	}
}

func interrupted(cause error) error {
	if errors.Is(cause, runnel.ErrInterrupted) {
		return cause
	}
	return fmt.Errorf("%w: %w", runnel.ErrInterrupted, cause)
}

// timeOut ends a call at its deadline. Where no other call is in flight the
// process ends with it at once. Else it may end this call alone, within the
// grace; if it does not, the others are interrupted. An answer that came just
// in time counts.
func (s *slot) timeOut(in *runnel.Invocation, limit time.Duration) ([]runnel.Answer, error) {
	w := s.w
	late := &runnel.FunctionError{Kind: runnel.KindTimeout, Message: fmt.Sprintf("no answer within %s", roughly(limit))}
	if w.inFlight() > 1 {
		w.wire.cancel(in.ID)
		if _, ok := s.await(w.pool.opt.Grace); ok {
			return nil, late
		}
	}
	w.condemn(errors.New("the worker was killed by the deadline of another call"))
	if o, ok := s.await(killWait); ok && !o.dead {
		return o.answers, o.err
	}
	late.Message += w.proc.remark()
	late.Stack, _ = w.out.stderr()
	return nil, late
}

func (w *worker) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flying
}

// roughly rounds a limit to what was meant by it.
func roughly(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Millisecond)
	}
}

// interrupt ends a call whose answer nobody wants. A process that ends it
// within the grace lives on.
func (s *slot) interrupt(cause error, id string, writing bool) error {
	if !writing {
		s.w.wire.cancel(id)
		if _, ok := s.await(s.w.pool.opt.Grace); ok {
			return interrupted(cause)
		}
	}
	s.w.condemn(errors.New("the worker was killed, since it did not end another call that nobody waits for"))
	s.await(killWait)
	return interrupted(cause)
}

// isOpen says whether a frame is still being written.
func isOpen(written chan struct{}) bool {
	if written == nil {
		return false
	}
	select {
	case <-written:
		return false
	default:
		return true
	}
}

// await waits for the end of the call.
func (s *slot) await(most time.Duration) (outcome, bool) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case o := <-s.done:
		return o, true
	case <-timer.C:
		return outcome{}, false
	}
}

// begin puts a call in flight.
func (s *slot) begin(in *runnel.Invocation) bool {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || s.call != nil {
		return false
	}
	if w.single() {
		w.out.begin(in.ID, in.Flow)
	}
	s.call = in
	w.flying++
	w.calls++
	w.act()
	return true
}
