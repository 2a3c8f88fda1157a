package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/runnel-io/runnel"
)

// placeWait bounds how long a call waits for a place. Its messages' leases are
// kept meanwhile; after it they are released, and others may have them.
const (
	placeWait   = time.Minute
	requeueWait = 100 * time.Millisecond // with when_busy: requeue
)

// noPlaceDelay is when messages come again whose function has no version to
// call: it was deleted, or none of its workers starts.
const noPlaceDelay = 5 * time.Second

// run takes the messages of one call from their batch to their settlement.
func (f *Flow) run(ctx context.Context, c *call, started time.Time) {
	defer f.calls.Done()
	defer c.cancel(nil)
	for _, it := range c.items {
		f.stats.wait.Record(started.Sub(it.received))
	}
	place, after, err := f.acquire(ctx, c)
	if err != nil {
		f.callEnded(c, false)
		f.conclude(released(c.items, after))
		return
	}
	for _, it := range c.items {
		it.version = place.Version
	}
	results, err := f.invoke(ctx, c, place)
	place.Release()
	if f.callEnded(c, f.mustSplit(c, err)) {
		return
	}
	f.conclude(f.judge(ctx, c, results, err))
}

// acquire waits for the right to one call. On an error it says when its
// messages come again.
func (f *Flow) acquire(ctx context.Context, c *call) (place runnel.Place[runnel.Handler], after time.Duration, err error) {
	if f.capacity == nil {
		return runnel.Place[runnel.Handler]{Call: f.cfg.Handler, Timeout: shorter(f.timeout, f.flow.Timeout), Release: func() {}}, 0, nil
	}
	f.mu.Lock()
	if f.draining {
		f.mu.Unlock()
		return place, 0, ErrStopping
	}
	f.placing[c] = true
	f.mu.Unlock()
	wait := placeWait
	if f.flow.WhenBusy == runnel.BusyRequeue {
		wait = requeueWait
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	place, err = f.capacity.Acquire(bounded)
	f.mu.Lock()
	delete(f.placing, c)
	f.mu.Unlock()
	switch {
	case err == nil && ctx.Err() != nil: // too late
		place.Release()
		return place, 0, context.Cause(ctx)
	case err == nil:
		f.outOfTrouble("function")
		place.Timeout = shorter(place.Timeout, f.flow.Timeout)
		return place, 0, nil
	case ctx.Err() != nil: // lease lost, or stopping
		return place, 0, err
	case bounded.Err() != nil:
		f.stats.busy.Add(1)
		if f.flow.WhenBusy == runnel.BusyRequeue {
			after = f.flow.RequeueDelay
			f.gaveBack(after, false, "there was no free worker")
		}
		return place, after, err
	}
	if f.inTrouble("function", err) {
		f.log.Error("the function cannot be called, its messages wait in the source", "after", noPlaceDelay, "err", err)
	}
	f.gaveBack(noPlaceDelay, false, firstLine(err.Error()))
	f.rest(noPlaceDelay)
	return place, noPlaceDelay, err
}

// shorter returns the shorter of two timeouts, of which 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// rest lets the intake receive nothing for a while.
func (f *Flow) rest(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restUntil = time.Now().Add(d)
	if f.rested == nil {
		f.rested = time.AfterFunc(d, f.moreRoom)
		return
	}
	f.rested.Reset(d)
}

// invoke makes the call.
func (f *Flow) invoke(ctx context.Context, c *call, place runnel.Place[runnel.Handler]) ([]runnel.Result, error) {
	start := time.Now()
	first := c.items[0]
	meta := &runnel.Call{
		Flow: f.flow.Name, Message: first.d.ID, Attempt: first.attempt,
		Invocation: f.invocation(),
	}
	ms := make([]runnel.Message, len(c.items))
	meta.Attempts, meta.FirstReceived = make([]int, len(c.items)), make([]time.Time, len(c.items))
	for i, it := range c.items {
		it.trace = childTrace(&it.d.Message)
		ms[i], meta.Attempts[i], meta.FirstReceived[i] = it.d.Message, it.attempt, it.d.FirstReceived
		ms[i].Trace = it.trace
	}
	if place.Timeout > 0 {
		meta.Deadline = start.Add(place.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, meta.Deadline)
		defer cancel()
	}
	f.stats.calls.Add(1)
	results, err := protect(runnel.WithCall(ctx, meta), place.Call, ms)
	f.stats.run.Record(time.Since(start))
	if err == nil && len(results) != len(ms) {
		return nil, &runnel.FunctionError{Kind: runnel.KindOutput, Message: fmt.Sprintf("%d answers for %d messages", len(results), len(ms))}
	}
	if ctx.Err() == nil {
		return results, err
	}
	// A handler may hand on what its context told it, of the call or of each
	// message.
	timeout := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
	ended := func(err error) bool {
		return err != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
	}
	cut := ended(err)
	for i := range results {
		cut = cut || timeout && ended(results[i].Err)
	}
	switch {
	case cut && timeout:
		return nil, &runnel.FunctionError{Kind: runnel.KindTimeout, Message: fmt.Sprintf("no answer within %s", place.Timeout)}
	case cut:
		return nil, runnel.ErrInterrupted
	}
	return results, err
}

// invocation returns the id of a call: unique, since the nonce is random.
func (f *Flow) invocation() string {
	var room [32]byte
	return string(strconv.AppendUint(append(append(room[:0], f.nonce...), '-'), f.invoked.Add(1), 10))
}

// protect calls the handler; a panic is its error. This is the only place where
// one is recovered.
func protect(ctx context.Context, h runnel.Handler, ms []runnel.Message) (results []runnel.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			results, err = nil, &runnel.FunctionError{Kind: runnel.KindError, Name: "panic", Message: fmt.Sprint(p), Stack: string(debug.Stack())}
		}
	}()
	return h.Handle(ctx, ms)
}

// mustSplit says whether the messages of a call must be called again one by
// one: the worker did not survive the call, and nobody knows whose fault it
// was.
func (f *Flow) mustSplit(c *call, err error) bool {
	if len(c.items) == 1 {
		return false
	}
	var failure *runnel.FunctionError
	if !errors.As(err, &failure) {
		return false
	}
	switch failure.Kind {
	case runnel.KindCrash, runnel.KindTimeout, runnel.KindOutOfMemory:
		f.log.Info("a worker died with several messages: they are called again, each alone", "messages", len(c.items), "err", err)
		return true
	}
	return false
}

// callEnded gives the slots of a call back. The messages go on to their
// settlement or, if split, back to those that are ready, each alone; it returns
// whether the latter happened.
func (f *Flow) callEnded(c *call, split bool) bool {
	f.mu.Lock()
	f.called--
	split = split && !f.draining
	if split {
		f.split(c)
	} else {
		f.settling += len(c.items)
	}
	f.mu.Unlock()
	if f.cfg.Slots != nil {
		f.cfg.Slots.give()
	}
	f.mu.Lock()
	f.pump()
	f.mu.Unlock()
	f.moreRoom()
	return split
}

// split puts the messages of a call back, each to be called alone. Of those of
// one key the first is ready, and the others wait for it. Caller holds mu.
func (f *Flow) split(c *call) {
	leads := make(map[string]*item)
	for _, it := range c.items {
		if it.key != "" && leads[it.key] == nil {
			leads[it.key] = it
		}
	}
	for i := len(c.items) - 1; i >= 0; i-- {
		it := c.items[i]
		it.alone, it.call = true, nil
		f.parked += len(it.d.Body)
		if it.key == "" || leads[it.key] == it {
			f.ready.pushFront(it)
			continue
		}
		l := f.lines[it.key]
		l.end(it)
		l.waiting.pushFront(it)
		f.waiting++
	}
}

// childTrace returns the trace context of a call on a message: the trace of
// the message, with a span id of its own. It is empty if the message has none.
func childTrace(m *runnel.Message) string {
	trace := m.Trace
	if trace == "" {
		if v, ok := m.Attribute("traceparent"); ok {
			trace = string(v)
		}
	}
	// version "-" trace id "-" parent id "-" flags (W3C Trace Context, level 1)
	if len(trace) != 55 || trace[2] != '-' || trace[35] != '-' || trace[52] != '-' {
		return ""
	}
	var span [8]byte
	_, _ = rand.Read(span[:]) // never fails
	return trace[:36] + hex.EncodeToString(span[:]) + trace[52:]
}
