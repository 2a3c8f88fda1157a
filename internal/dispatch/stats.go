package dispatch

import (
	"sync/atomic"
	"time"
)

// Stats are figures of a flow, since it was started. When nothing is inside,
// Received is Handled + Filtered + Retried + Released + DeadLettered +
// LeaseLost.
type Stats struct {
	Received     uint64 // deliveries from the source
	Calls        uint64 // of the function; a batch is one
	Handled      uint64 // messages that the function answered, and that are done
	Failed       uint64 // attempts that failed
	Published    uint64 // messages that went to sinks; dead letters are not counted
	Filtered     uint64 // acked without a call
	Retried      uint64 // given back after a failed attempt
	Released     uint64 // given back without one
	DeadLettered uint64
	LeaseLost    uint64 // somebody else's before they were settled
	Busy         uint64 // calls that found no place in time

	Calling  int // calls under way
	Waiting  int // of them, those that wait for a place
	Parked   int // messages that wait inside for a call
	Settling int // messages whose results are being stored, or that are given back
	Away     int // messages that were given back until an earlier one of their key is done, or until they are tried again

	Wait    Histogram // from the receive to the call
	Run     Histogram // the handler
	Publish Histogram // from its answer until all of it is durable

	// Latest is the last message that was given back for a while, be it that
	// an attempt failed or that there was no place; zero if none was.
	Latest GivenBack
}

// GivenBack is a message that comes again later.
type GivenBack struct {
	At, Next time.Time // when it was given back, and when it comes again
	Failed   bool      // an attempt failed; else there was no place
	Why      string
}

// counters are the figures that count up.
type counters struct {
	received, calls, handled, failed, published, filtered atomic.Uint64
	retried, released, deadLettered, leaseLost, busy      atomic.Uint64
	wait, run, publish                                    histogram
}

// Stats returns the figures.
func (f *Flow) Stats() Stats {
	c := &f.stats
	s := Stats{
		Received: c.received.Load(), Calls: c.calls.Load(), Handled: c.handled.Load(), Failed: c.failed.Load(),
		Published: c.published.Load(), Filtered: c.filtered.Load(), Retried: c.retried.Load(), Released: c.released.Load(),
		DeadLettered: c.deadLettered.Load(), LeaseLost: c.leaseLost.Load(), Busy: c.busy.Load(),
		Wait: c.wait.read(), Run: c.run.read(), Publish: c.publish.read(),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Calling, s.Waiting, s.Parked, s.Settling = f.called, len(f.placing), f.ready.n+f.waiting, f.settling
	s.Away, s.Latest = f.away, f.latest
	return s
}

// gaveBack notes a message that comes again later.
func (f *Flow) gaveBack(after time.Duration, failed bool, why string) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest = GivenBack{At: now, Next: now.Add(after), Failed: failed, Why: why}
}

// Bounds are the upper bounds of the buckets of a Histogram; the last bucket,
// beyond them, has none.
var Bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram is how often something took how long.
type Histogram struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// histogram is a Histogram that is being filled.
type histogram struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) record(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() (out Histogram) {
	for i := range h.counts {
		out.Counts[i] = h.counts[i].Load()
	}
	out.Sum = time.Duration(h.sum.Load())
	return out
}
