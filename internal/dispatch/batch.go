package dispatch

import (
	"context"
	"time"

	"github.com/runnel-io/runnel"
)

// maxBatchBytes bounds the bodies of one call.
const maxBatchBytes = 8 << 20

// call is messages that are called together.
type call struct {
	items  []*item
	cancel context.CancelCauseFunc // ends the context of the call
}

// pump starts as many calls as there are slots and batches for. It runs
// whenever a message came, a call ended, a slot became free or a batch waited
// long enough. Caller holds mu.
func (f *Flow) pump() {
	for f.called < f.flow.Concurrency && f.ready.n > 0 && !f.draining {
		now := time.Now()
		if wait := f.batchWait(now); wait > 0 {
			f.armWindow(wait)
			return
		}
		if f.cfg.Slots != nil && !f.cfg.Slots.take(f) {
			return
		}
		c := &call{items: f.nextBatch()}
		ctx, cancel := context.WithCancelCause(f.work)
		c.cancel = cancel
		for _, it := range c.items {
			it.call = c
		}
		f.called++
		f.calls.Add(1)
		go f.run(ctx, c, now)
	}
}

// batchWait is how long the next call should wait for its batch to fill.
// Caller holds mu.
func (f *Flow) batchWait(now time.Time) time.Duration {
	first := f.ready.first
	if f.flow.Batch.Window == 0 || f.ready.n >= f.flow.Batch.Size || first.alone || f.room().Messages == 0 {
		return 0
	}
	return first.received.Add(f.flow.Batch.Window).Sub(now)
}

// armWindow lets pump run after wait. Caller holds mu.
func (f *Flow) armWindow(wait time.Duration) {
	if f.windowed == nil {
		f.windowed = time.AfterFunc(wait, func() {
			f.mu.Lock()
			f.pump()
			f.mu.Unlock()
		})
		return
	}
	f.windowed.Reset(wait)
}

// nextBatch takes the messages of the next call from those that are ready. Of
// a key there is one, unless the function gets a list: then those that wait
// behind it may follow it in the same call. Caller holds mu.
func (f *Flow) nextBatch() []*item {
	take := func(items []*item) []*item {
		it := f.ready.pop()
		f.parked -= len(it.d.Body)
		return append(items, it)
	}
	if f.ready.first.alone {
		return take(make([]*item, 0, 1))
	}
	size := f.flow.Batch.Size
	items := make([]*item, 0, min(size, f.ready.n))
	bytes := 0
	for len(items) < size && f.ready.n > 0 && !f.ready.first.alone {
		if bytes += len(f.ready.first.d.Body); bytes > maxBatchBytes && len(items) > 0 {
			break
		}
		items = take(items)
		if !f.together() {
			continue
		}
		for key := items[len(items)-1].key; len(items) < size; {
			it := f.nextOf(key)
			if it == nil {
				break
			}
			bytes += len(it.d.Body)
			items = append(items, it)
		}
	}
	return items
}

// together says whether the function gets all messages of a call at once.
func (f *Flow) together() bool {
	return f.flow.Batch.As == "list" || f.flow.Payload == runnel.PayloadSQSEvent
}
