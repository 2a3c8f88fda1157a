package dispatch

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/runnel-io/runnel"
)

// Room inside, besides Flow.Parked.
const (
	maxParkedBytes = 16 << 20
	maxReceive     = 1000
	receiveWait    = 20 * time.Second
)

// intake receives messages for as long as there is room for them: a message
// that nobody could call soon stays where others can have it. It returns nil
// when ctx has ended, or why nothing will come any more.
func (f *Flow) intake(ctx context.Context) error {
	for failed := 0; ; {
		lim, err := f.waitForRoom(ctx)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		begun := time.Now()
		ds, err := f.cfg.Source.Receive(ctx, lim)
		switch {
		case ctx.Err() != nil && len(ds) == 0:
			return nil
		case errors.Is(err, runnel.ErrClosed), runnel.CodeOf(err) == runnel.CodeNotFound:
			return err
		case err != nil:
			failed++
			wait := backOff(100*time.Millisecond, 30*time.Second, failed)
			if f.inTrouble("source", err) {
				f.log.Warn("receive failed, it is tried again", "after", wait, "err", err)
			}
			if !pause(ctx, wait) {
				return nil
			}
			continue
		}
		if failed > 0 {
			failed = 0
			f.outOfTrouble("source")
		}
		if brake := f.admit(ds, begun); brake && !pause(ctx, awayBrake) {
			return nil
		}
	}
}

// pause waits, and says whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// waitForRoom waits until a message could be called at once, or wait for its
// turn, and returns how many.
func (f *Flow) waitForRoom(ctx context.Context) (runnel.Limits, error) {
	for {
		f.mu.Lock()
		lim := f.room()
		f.mu.Unlock()
		if lim.Messages > 0 && (f.cfg.Slots == nil || f.cfg.Slots.free(f)) {
			return lim, context.Cause(ctx)
		}
		select {
		case <-ctx.Done():
			return lim, context.Cause(ctx)
		case <-f.roomFree:
		}
	}
}

// room is what may be received now. Caller holds mu.
func (f *Flow) room() runnel.Limits {
	lim := runnel.Limits{Wait: receiveWait, Bytes: maxParkedBytes - f.parked}
	if f.paused || f.draining || lim.Bytes <= 0 || f.settling >= f.maxSettling() {
		return lim
	}
	if !f.restUntil.IsZero() && time.Now().Before(f.restUntil) {
		return lim
	}
	n := (f.flow.Concurrency-f.called)*f.flow.Batch.Size - f.ready.n
	n = min(n, f.flow.Parked-f.ready.n-f.waiting, maxReceive)
	lim.Messages = max(n, 0)
	return lim
}

// maxSettling bounds the messages whose call has ended and whose settlement is
// under way: calls need not wait for the disk, but not any number of them.
func (f *Flow) maxSettling() int { return max(64, 4*f.flow.Concurrency*f.flow.Batch.Size) }

// maxHops is how many flows a message and its descendants may go through from
// queue to queue.
const maxHops = 100

// admit takes messages in that a receive brought which began then: they get a
// lease that is kept, and wait for their call. Those that are not for the flow,
// and those that went round too often, are settled at once. It says whether so
// many wait for an earlier one that the next receive should not follow at once.
//
// Nothing here waits for a source or a sink: the intake must see when it is to
// end.
func (f *Flow) admit(ds []runnel.Delivery, begun time.Time) (brake bool) {
	f.stats.received.Add(uint64(len(ds)))
	now := time.Now()
	items := make([]item, len(ds)) // together: they come and go together
	f.mu.Lock()
	for i := range ds {
		it := &items[i]
		it.d, it.received, it.key = ds[i], now, f.keyOf(&ds[i])
		if it.attempt = ds[i].Attempt; it.attempt == 0 {
			it.attempt = f.failures[ds[i].ID].n + 1
		}
		f.lease(it, now)
	}
	f.mu.Unlock()
	var done []outcome // without a call
	for i := range items {
		if o, without := f.withoutCall(&items[i]); without {
			done = append(done, o)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = begun
	if len(ds) == 0 {
		return false
	}
	closed := f.paused || f.draining
	var away []outcome // must not wait here
	n := 0             // of done
	for i := range items {
		it := &items[i]
		if n < len(done) && done[n].item == it {
			n++
			if l := f.lines[it.key]; it.key != "" && l != nil {
				f.back(l, identOf(it))
			}
			continue
		}
		stays, after := false, time.Duration(0)
		if !closed || it.key != "" {
			stays, after = f.enqueue(it, now)
		}
		if !stays {
			away = append(away, outcome{item: it, verdict: runnel.Release, after: after})
		}
	}
	if closed {
		away = append(away, f.unpark(now)...)
	}
	f.concludeSoon(done)
	f.concludeSoon(away)
	f.pump()
	return f.away > maxAway
}

// withoutCall judges a message that no function should see.
func (f *Flow) withoutCall(it *item) (outcome, bool) {
	m := &it.d.Message
	switch {
	case m.Hops > maxHops:
		return f.giveUp(it, &runnel.FunctionError{Kind: kindLoop, Message: "it and those that it was made from went through more than 100 flows: is there a circle?"}), true
	case m.Steps > f.flow.MaxSteps:
		return f.giveUp(it, &runnel.FunctionError{Kind: kindLoop, Message: "its record went round more often than max_steps, " + strconv.Itoa(f.flow.MaxSteps) + ", allows"}), true
	}
	passes, err := f.filter.passes(it)
	switch {
	case err != nil:
		return f.giveUp(it, err), true
	case !passes:
		return outcome{item: it, verdict: runnel.Ack, filtered: true}, true
	}
	return outcome{}, false
}
