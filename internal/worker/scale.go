package worker

import (
	"math"
	"time"
)

const (
	// firstCold is what a start is taken to cost before one was measured.
	firstCold = 50 * time.Millisecond
	// rateWindow is over how long arrivals are counted.
	rateWindow = time.Second
)

// smooth is the moving average of durations, of which the last counts a fifth.
func smooth(old, next time.Duration) time.Duration {
	if old == 0 {
		return next
	}
	return old + (next-old)/5
}

// lacking returns how many more processes are to be started for the calls that
// wait. Called with p.mu held.
//
// A process that starts is of use only after a cold start, so that it is
// started if the processes that there are will not have taken the calls that
// wait until then: by what calls take on the average; or, where that says
// nothing since they take longer than ever, if a call has waited for so long.
// Beyond that there are to be as many as the rate of arrivals times what a call
// takes keeps busy (Little's law).
func (p *Pool) lacking(now time.Time) int {
	p.reckon(now)
	waiting := p.waiting.count
	if waiting == 0 {
		return 0
	}
	cold := max(p.cold, time.Millisecond)
	if p.cold == 0 {
		cold = firstCold
	}
	slots := float64(p.prog.Concurrency)
	waited := now.Sub(p.waiting.first.since)
	if p.took == 0 || waited >= cold {
		// Each as if it took for ever.
		return int(math.Ceil(float64(waiting)/slots)) - p.starting
	}
	work := float64(waiting) * float64(p.took) / slots
	need := 0
	switch {
	case p.size == 0:
		need = max(int(math.Ceil(work/float64(cold))), 1)
	case work/float64(p.size) > float64(cold):
		need = int(math.Ceil(work/float64(cold))) - p.size
	}
	steady := int(math.Ceil(p.rate * p.took.Seconds() / slots))
	need = max(need, steady-p.size) - p.starting
	if p.recheck == nil && p.size+p.starting < p.max {
		p.recheck = time.AfterFunc(cold-waited, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.recheck = nil
			p.grow()
		})
	}
	return need
}

// reckon brings the rate of arrivals up to date.
func (p *Pool) reckon(now time.Time) {
	since := now.Sub(p.rated)
	if since < rateWindow {
		return
	}
	rate := float64(p.arrived) / since.Seconds()
	if since > 5*rateWindow {
		p.rate = rate // what was before is long ago
	} else {
		p.rate += (rate - p.rate) / 2
	}
	p.arrived, p.rated = 0, now
}
