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
	for f.called < f.flow.Concurrency && !f.draining {
		if f.dropReady(); f.ready.n == 0 {
			return
		}
		now := time.Now()
		if wait := f.batchWait(now); wait > 0 {
			f.armWindow(wait)
			return
		}
		if f.cfg.Slots != nil && !f.cfg.Slots.take(f) {
			return
		}
		c := &call{items: f.nextBatch(now)}
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

// dropReady takes out what is first and whose lease was lost while it waited.
// Caller holds mu.
func (f *Flow) dropReady() {
	for it := f.ready.first; it != nil && it.lost; it = f.ready.first {
		f.ready.pop()
		f.parked -= len(it.d.Body)
		f.concludeSoon([]outcome{{item: it, verdict: runnel.Release}})
	}
}

// batchWait is how long the next call should wait for its batch to fill.
// Caller holds mu.
func (f *Flow) batchWait(now time.Time) time.Duration {
	first, n := f.ready.first, f.ready.n
	if f.together() {
		n += f.waiting
	}
	if f.flow.Batch.Window == 0 || n >= f.flow.Batch.Size || first.alone || f.room().Messages == 0 {
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
// behind it may follow it in the same call. There is a ready one. Caller holds
// mu.
func (f *Flow) nextBatch(now time.Time) []*item {
	size := f.flow.Batch.Size
	items := make([]*item, 0, min(size, f.ready.n))
	bytes := 0
	for len(items) < size && f.ready.n > 0 {
		it := f.ready.first
		if len(items) > 0 && (it.lost || it.alone || bytes+len(it.d.Body) > maxBatchBytes) {
			break
		}
		f.ready.pop()
		f.parked -= len(it.d.Body)
		bytes += len(it.d.Body)
		items = append(items, it)
		if it.alone {
			break
		}
		for f.together() && len(items) < size && bytes < maxBatchBytes {
			behind := f.nextOf(it.key, now)
			if behind == nil {
				break
			}
			bytes += len(behind.d.Body)
			items = append(items, behind)
		}
	}
	return items
}

// together says whether the function gets all messages of a call at once.
func (f *Flow) together() bool {
	return f.flow.Batch.As == "list" || f.flow.Payload == runnel.PayloadSQSEvent
}
