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
		ds, err := f.cfg.Source.Receive(ctx, lim)
		switch {
		case ctx.Err() != nil && len(ds) == 0:
			return nil
		case errors.Is(err, runnel.ErrClosed), runnel.CodeOf(err) == runnel.CodeNotFound:
			return err
		case err != nil:
			failed++
			wait := backOff(100*time.Millisecond, 30*time.Second, failed)
			f.inTrouble("source", err)
			f.log.Warn("receive failed, it is tried again", "after", wait, "err", err)
			if !pause(ctx, wait) {
				return nil
			}
			continue
		}
		if failed > 0 {
			failed = 0
			f.outOfTrouble("source")
		}
		f.admit(ds)
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

// admit takes messages in: they get a lease that is kept, and wait for their
// call. Those that are not for the flow, and those that went round too often,
// are settled at once.
func (f *Flow) admit(ds []runnel.Delivery) {
	if len(ds) == 0 {
		return
	}
	f.stats.received.Add(uint64(len(ds)))
	now := time.Now()
	items := make([]item, len(ds)) // together: they come and go together
	var done []outcome             // without a call
	var away []*item               // must not wait here
	var aways []time.Duration
	f.mu.Lock()
	for i := range ds {
		it := &items[i]
		it.d, it.received, it.key = ds[i], now, f.keyOf(&ds[i])
		if it.attempt = ds[i].Attempt; it.attempt == 0 {
			it.attempt = f.failures[ds[i].ID] + 1
		}
		f.lease(it, now)
	}
	f.mu.Unlock()
	keep := make([]*item, 0, len(items))
	for i := range items {
		if o, ok := f.withoutCall(&items[i]); ok {
			done = append(done, o)
			continue
		}
		keep = append(keep, &items[i])
	}
	f.mu.Lock()
	paused := f.paused || f.draining
	for _, it := range keep {
		stays, later := false, time.Duration(0)
		if !paused {
			stays, later = f.enqueue(it, now)
		}
		if !stays {
			away = append(away, it)
			aways = append(aways, later)
		}
	}
	f.pump()
	f.mu.Unlock()
	if len(done) > 0 {
		f.conclude(done)
	}
	f.releaseEach(away, aways)
}

// withoutCall judges a message that no function should see.
func (f *Flow) withoutCall(it *item) (outcome, bool) {
	m := &it.d.Message
	switch {
	case m.Hops > maxHops:
		return f.giveUp(it, "", &runnel.FunctionError{Kind: kindLoop, Message: "it and those that it was made from went through more than 100 flows: is there a circle?"}), true
	case m.Steps > f.flow.MaxSteps:
		return f.giveUp(it, "", &runnel.FunctionError{Kind: kindLoop, Message: "its record went round more often than max_steps, " + strconv.Itoa(f.flow.MaxSteps) + ", allows"}), true
	}
	passes, err := f.filter.passes(it)
	switch {
	case err != nil:
		return f.judgeOne(it, err), true
	case !passes:
		f.stats.filtered.Add(1)
		return outcome{item: it, verdict: runnel.Ack}, true
	}
	return outcome{}, false
}
