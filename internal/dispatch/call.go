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
		f.stats.wait.record(started.Sub(it.received))
	}
	place, err := f.acquire(ctx)
	if err != nil {
		after := f.noPlace(ctx, err)
		f.callEnded(c, false)
		f.conclude(released(c.items, after))
		return
	}
	results, err := f.invoke(ctx, c, place)
	place.Release()
	again := f.callEnded(c, f.mustSplit(c, err))
	if again {
		return
	}
	f.conclude(f.judge(ctx, c, place.Version, results, err))
}

// acquire waits for the right to one call.
func (f *Flow) acquire(ctx context.Context) (runnel.Place[runnel.Handler], error) {
	if f.capacity == nil {
		return runnel.Place[runnel.Handler]{Call: f.cfg.Handler, Release: func() {}}, nil
	}
	wait := placeWait
	if f.flow.WhenBusy == runnel.BusyRequeue {
		wait = requeueWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	f.callers.Add(1)
	place, err := f.capacity.Acquire(ctx)
	f.callers.Add(-1)
	if err == nil {
		f.outOfTrouble("function")
	}
	return place, err
}

// noPlace says when the messages of a call come again that found no place.
func (f *Flow) noPlace(ctx context.Context, err error) time.Duration {
	switch {
	case ctx.Err() != nil: // lease lost, or stopping
		return 0
	case errors.Is(err, context.DeadlineExceeded):
		f.stats.busy.Add(1)
		if f.flow.WhenBusy == runnel.BusyRequeue {
			return f.flow.RequeueDelay
		}
		return 0
	}
	if f.inTrouble("function", err) {
		f.log.Error("the function cannot be called, its messages wait in the source", "after", noPlaceDelay, "err", err)
	}
	return noPlaceDelay
}

// invoke makes the call.
func (f *Flow) invoke(ctx context.Context, c *call, place runnel.Place[runnel.Handler]) ([]runnel.Result, error) {
	start := time.Now()
	first := c.items[0]
	meta := &runnel.Call{
		Flow: f.flow.Name, Message: first.d.ID, Attempt: first.attempt,
		Invocation: f.nonce + "-" + strconv.FormatUint(f.invoked.Add(1), 10),
	}
	ms := make([]runnel.Message, len(c.items))
	meta.Attempts = make([]int, len(c.items))
	for i, it := range c.items {
		it.trace = childTrace(&it.d.Message)
		ms[i], meta.Attempts[i] = it.d.Message, it.attempt
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
	f.stats.run.record(time.Since(start))
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		// A handler that hands on what its context told it.
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = &runnel.FunctionError{Kind: runnel.KindTimeout, Message: fmt.Sprintf("no answer within %s", place.Timeout), Stack: ""}
		} else {
			err = runnel.ErrInterrupted
		}
	case err == nil && len(results) != len(ms):
		err = &runnel.FunctionError{Kind: runnel.KindOutput, Message: fmt.Sprintf("%d answers for %d messages", len(results), len(ms))}
	}
	return results, err
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
		for i := len(c.items) - 1; i >= 0; i-- {
			it := c.items[i]
			it.alone, it.call = true, nil
			f.parked += len(it.d.Body)
			f.ready.pushFront(it)
		}
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
