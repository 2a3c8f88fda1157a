package main

import (
	"context"
	"time"
)

// sample is what can be seen of a target at a moment. What is not known is 0.
type sample struct {
	DiskBytes int64 `json:"disk_bytes,omitempty"` // of the data files
	RSS       int64 `json:"rss_bytes,omitempty"`  // of the server; of this process with --in-process
}

// interval is a part of a run, as --every has it.
type interval struct {
	Seconds  float64  `json:"seconds"` // from the begin of the run to the end of the interval
	Sent     int64    `json:"sent"`
	Received int64    `json:"received"`
	Deleted  int64    `json:"deleted"`
	Send     *latency `json:"send_ms,omitempty"` // of a call
	sample
}

// startSeries begins to collect intervals, if they were asked for. The returned
// function ends it, and returns them.
func (r *loadRun) startSeries(ctx context.Context) (end func() []interval) {
	if r.opt.every == 0 {
		return func() []interval { return nil }
	}
	ended, done := make(chan struct{}), make(chan struct{})
	begin := time.Now()
	var all []interval
	var before interval // what was counted by then
	next := func() {
		h := r.recentSends.Swap(new(histogram))
		now := interval{Sent: r.sent.Load(), Received: r.received.Load(), Deleted: r.deleted.Load()}
		all = append(all, interval{
			Seconds: rounded(time.Since(begin).Seconds()),
			Sent:    now.Sent - before.Sent, Received: now.Received - before.Received, Deleted: now.Deleted - before.Deleted,
			Send: h.latency(), sample: r.target.sample(ctx),
		})
		before = now
	}
	r.recentSends.Store(new(histogram))
	go func() {
		defer close(done)
		tick := time.NewTicker(r.opt.every)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				next()
			}
		}
	}()
	return func() []interval {
		close(ended)
		<-done
		next()
		r.recentSends.Store(nil)
		return all
	}
}

// noteSend records how long a send took.
func (r *loadRun) noteSend(d time.Duration) {
	r.sendTimes.record(d)
	if h := r.recentSends.Load(); h != nil {
		h.record(d)
	}
}
