package dispatch

import (
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
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

	Wait    runnel.Histogram // from the receive to the call
	Run     runnel.Histogram // the handler
	Publish runnel.Histogram // from its answer until all of it is durable

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
	wait, run, publish                                    runnel.Durations
}

// Stats returns the figures.
func (f *Flow) Stats() Stats {
	c := &f.stats
	s := Stats{
		Received: c.received.Load(), Calls: c.calls.Load(), Handled: c.handled.Load(), Failed: c.failed.Load(),
		Published: c.published.Load(), Filtered: c.filtered.Load(), Retried: c.retried.Load(), Released: c.released.Load(),
		DeadLettered: c.deadLettered.Load(), LeaseLost: c.leaseLost.Load(), Busy: c.busy.Load(),
		Wait: c.wait.Read(), Run: c.run.Read(), Publish: c.publish.Read(),
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
