package dispatch

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
)

// leaseHeap has the messages whose lease must be kept, by when that is due.
type leaseHeap []*item

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].renewAt.Before(h[j].renewAt) }
func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push implements heap.Interface.
func (h *leaseHeap) Push(x any) {
	it := x.(*item)
	it.pos = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.pos = -1
	return it
}

// lease begins to keep the lease of a message: it is renewed whenever half of
// it is over. Caller holds mu.
func (f *Flow) lease(it *item, now time.Time) {
	it.pos = -1
	if f.extender == nil || it.d.LeaseUntil.IsZero() {
		return
	}
	it.lease = leaseLength(it.d.LeaseUntil.Sub(now))
	it.renewAt = now.Add(max(it.d.LeaseUntil.Sub(now), time.Millisecond) / 2)
	heap.Push(&f.leases, it)
	if it.renewAt.Before(f.keeperDue) {
		f.keeperDue = it.renewAt
		f.wakeKeeper()
	}
}

// leaseLength rounds up, so that those of one length are extended together.
func leaseLength(left time.Duration) time.Duration {
	unit := 10 * time.Millisecond
	if left >= time.Second {
		unit = time.Second
	}
	return max((left+unit-1)/unit*unit, unit)
}

// unlease ends the keeping of a lease. Caller holds mu.
func (f *Flow) unlease(it *item) {
	if it.pos >= 0 {
		heap.Remove(&f.leases, it.pos)
	}
}

func (f *Flow) wakeKeeper() {
	select {
	case f.leaseWake <- struct{}{}:
	default:
	}
}

// keepLeases extends the leases that are due, and forgets the lines that are
// held for a message that did not come back. It owns no state.
func (f *Flow) keepLeases(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	swept := time.Now()
	for {
		f.mu.Lock()
		f.keeperDue = time.Now().Add(sweepEvery)
		if len(f.leases) > 0 && f.leases[0].renewAt.Before(f.keeperDue) {
			f.keeperDue = f.leases[0].renewAt
		}
		timer.Reset(max(time.Until(f.keeperDue), 0))
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-f.leaseWake:
			continue
		case <-timer.C:
		}
		f.extend(ctx)
		if time.Since(swept) >= sweepEvery {
			swept = time.Now()
			f.sweepLines()
		}
	}
}

// extendAtOnce bounds the messages of one Extend.
const extendAtOnce = 1000

// extend extends the leases that are due.
func (f *Flow) extend(ctx context.Context) {
	f.mu.Lock()
	now := time.Now()
	var items []*item
	for len(f.leases) > 0 && len(items) < extendAtOnce && !f.leases[0].renewAt.After(now) {
		it := f.leases[0]
		// Looked at again when half of what is left is over, whatever becomes
		// of this try.
		it.renewAt = now.Add(max(it.lease/4, time.Millisecond))
		heap.Fix(&f.leases, 0)
		items = append(items, it)
	}
	f.mu.Unlock()
	for len(items) > 0 {
		// Those of one lease in one call. Nearly always that is all.
		lease, n := items[0].lease, 1
		for n < len(items) && items[n].lease == lease {
			n++
		}
		f.extendSome(ctx, items[:n], lease)
		items = items[n:]
	}
}

func (f *Flow) extendSome(ctx context.Context, items []*item, lease time.Duration) {
	// The keeper must not touch deliveries that somebody else has: it extends
	// copies, which differ in LeaseUntil only.
	copies := make([]runnel.Delivery, len(items))
	ds := make([]*runnel.Delivery, len(items))
	for i, it := range items {
		copies[i] = it.d
		ds[i] = &copies[i]
	}
	// One that hangs must not let all others run out.
	ctx, cancel := context.WithTimeout(ctx, max(lease/4, time.Second))
	err := f.extender.Extend(ctx, ds, lease)
	cancel()
	var partial *runnel.SettleError
	all := err != nil && !errors.As(err, &partial)
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, it := range items {
		if it.pos < 0 {
			continue // settled meanwhile
		}
		failed := err
		if !all && partial != nil {
			failed = partial.Failed[i]
		} else if !all {
			failed = nil
		}
		switch {
		case failed == nil:
			it.renewAt = now.Add(lease / 2)
			heap.Fix(&f.leases, it.pos)
		case errors.Is(failed, runnel.ErrLeaseLost), errors.Is(failed, runnel.ErrLaneLost):
			if it.storing {
				f.unlease(it) // most likely it has just been settled
				continue
			}
			f.loseLease(it, failed)
		default:
			f.log.Warn("lease not extended, it is tried again", "message", it.d.ID, "err", failed)
		}
	}
}

// loseLease marks a message as somebody else's. A call that has no other
// message is cancelled. Caller holds mu.
func (f *Flow) loseLease(it *item, cause error) {
	f.unlease(it)
	it.lost = true
	if l := f.lines[it.key]; it.key != "" && l != nil && !it.again && l.inside(identOf(it)) == it {
		f.goesAway(l, it, time.Now())
	}
	f.log.Warn("lease lost: its result will not be published, the source delivers it again", "message", it.d.ID, "err", cause)
	if c := it.call; c != nil {
		for _, other := range c.items {
			if !other.lost {
				return
			}
		}
		c.cancel(cause)
	}
}
