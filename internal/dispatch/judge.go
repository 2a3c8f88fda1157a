package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// outcome is what becomes of a message.
type outcome struct {
	item     *item
	verdict  runnel.Verdict // Ack, Retry or Release
	after    time.Duration
	out      []runnel.Message   // published before an Ack
	dead     *runnel.DeadLetter // goes to the dead letters before the Ack
	deadSent bool               // it is confirmed there
	trimmed  bool               // the dead letters did not take it with the whole of its reason
	filtered bool               // it is not for the flow
	settled  bool               // the source knows it
	dropped  bool               // the lease was lost: nothing is done any more
}

// over says whether there is nothing left to do.
func (oc *outcome) over() bool { return oc.settled || oc.dropped }

// released are outcomes of messages to which nothing happened.
func released(items []*item, after time.Duration) []outcome {
	out := make([]outcome, len(items))
	for i, it := range items {
		out[i] = outcome{item: it, verdict: runnel.Release, after: after}
	}
	return out
}

// judge says what the answer of a call, or its failure, means for each of its
// messages. ctx is that of the call, without its deadline.
func (f *Flow) judge(ctx context.Context, c *call, results []runnel.Result, err error) []outcome {
	switch {
	case err == nil:
	case errors.Is(err, runnel.ErrInterrupted), errors.Is(err, runnel.ErrLeaseLost), errors.Is(err, runnel.ErrLaneLost), errors.Is(err, ErrStopping):
		return released(c.items, 0)
	case ctx.Err() != nil: // whatever it says, it was cut off
		return released(c.items, 0)
	case len(c.items) > 1 && diedOf(err):
		return released(c.items, 0) // a drain kept it from being split
	}
	outcomes := make([]outcome, len(c.items))
	var failed map[string]time.Duration // keys of which a message is given back, and when that comes again
	for i, it := range c.items {
		failure := err
		if err == nil {
			failure = results[i].Err
		}
		oc := &outcomes[i]
		after, behindFailed := failed[it.key]
		switch {
		case it.key != "" && behindFailed:
			// The function has seen it too early, whatever it said of it.
			*oc = outcome{item: it, verdict: runnel.Release, after: after + behind}
			continue
		case failure == nil:
			*oc = outcome{item: it, verdict: runnel.Ack, out: results[i].Out}
		case ctx.Err() != nil, errors.Is(failure, runnel.ErrInterrupted):
			*oc = outcome{item: it, verdict: runnel.Release}
		default:
			*oc = f.judgeFailure(it, failure)
		}
		if it.key != "" && failure != nil {
			if failed == nil {
				failed = make(map[string]time.Duration)
			}
			failed[it.key] = oc.after
		}
	}
	return outcomes
}

// diedOf says whether err is of a worker that did not survive its call.
func diedOf(err error) bool {
	var failure *runnel.FunctionError
	return errors.As(err, &failure) &&
		(failure.Kind == runnel.KindCrash || failure.Kind == runnel.KindTimeout || failure.Kind == runnel.KindOutOfMemory)
}

// judgeFailure decides on a failed attempt: again later, or a dead letter.
func (f *Flow) judgeFailure(it *item, err error) outcome {
	var again *runnel.RetryError
	var reject *runnel.RejectError
	failure := asFailure(err)
	f.stats.failed.Add(1)
	switch {
	case errors.As(err, &reject):
		return f.giveUp(it, &runnel.FunctionError{Kind: runnel.KindRejected, Message: reject.Reason, Stack: failure.Stack})
	case failure.Kind == runnel.KindUndecodable, failure.Kind == runnel.KindOutput, failure.Kind == runnel.KindRejected:
		return f.giveUp(it, failure)
	case it.attempt >= f.flow.Retry.MaxAttempts:
		return f.giveUp(it, failure)
	}
	o := outcome{item: it, verdict: runnel.Retry}
	if errors.As(err, &again) {
		o.after = max(again.After, 0)
	} else {
		o.after = backOff(f.flow.Retry.Initial, f.flow.Retry.Max, it.attempt)
	}
	f.gaveBack(o.after, true, firstLine(failure.Error()))
	f.log.Info("attempt failed, retry", "after", o.after.Round(time.Millisecond), "message", it.d.ID, "version", it.version,
		"attempt", it.attempt, "of", f.flow.Retry.MaxAttempts, "kind", failure.Kind, "err", firstLine(failure.Error()))
	return o
}

// giveUp makes a message a dead letter.
func (f *Flow) giveUp(it *item, failure *runnel.FunctionError) outcome {
	now := time.Now()
	dead := &runnel.DeadLetter{
		Source: string(f.flow.From), Flow: f.flow.Name, Function: f.flow.Call,
		Type: failure.Kind, Message: clip(message(failure), maxReason), Stack: clip(failure.Stack, maxReason),
		Version: it.version, Attempts: it.attempt, First: it.d.FirstReceived, Last: now,
	}
	if it.call == nil {
		dead.Attempts-- // no function has seen it this time
	}
	// When it failed first is not stored. Sources know when it was first
	// received, which is shortly before.
	switch {
	case it.attempt == 1:
		dead.First = now
	case dead.First.IsZero():
		dead.First = it.received
		f.mu.Lock()
		if known, ok := f.failures[it.d.ID]; ok {
			dead.First = known.first
		}
		f.mu.Unlock()
	}
	to := f.flow.DeadLetter
	if f.cfg.DeadLetter == nil {
		to = "the source's own"
	}
	f.log.Warn("dead-lettered", "to", to, "message", it.d.ID, "version", dead.Version,
		"attempt", dead.Attempts, "kind", dead.Type, "err", firstLine(dead.Message))
	return outcome{item: it, verdict: runnel.Ack, dead: dead}
}

// kindLoop is the type of a dead letter that went round too often.
const kindLoop = "loop"

// maxReason bounds the message and the stack in a dead letter, in bytes.
const maxReason = 16 << 10

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " [cut]"
}

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " ..."
	}
	return clip(line, 500)
}

func message(failure *runnel.FunctionError) string {
	if failure.Name == "" {
		return failure.Message
	}
	return failure.Name + ": " + failure.Message
}

// asFailure returns err as a function's failure.
func asFailure(err error) *runnel.FunctionError {
	var failure *runnel.FunctionError
	if errors.As(err, &failure) {
		return failure
	}
	return &runnel.FunctionError{Kind: runnel.KindError, Message: err.Error()}
}

// backOff is how long to wait after so many failures: first, doubled with each
// further one, at most most, and spread by up to 20 %.
func backOff(first, most time.Duration, failures int) time.Duration {
	d := first
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d + time.Duration((rand.Float64()*0.4-0.2)*float64(d))
}
