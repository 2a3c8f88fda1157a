package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errFlowStuck says that results are missing, and none came for long.
var errFlowStuck = errors.New("results are missing, and none comes any more")

// What is known of a message, as bits.
const (
	flowConfirmed uint8 = 1 << iota
	flowSeen
	flowDead
)

// flowAccount is what became of every message, by its number.
type flowAccount struct {
	changed chan struct{} // holds a token after a change; nobody closes it

	mu       sync.Mutex // guards all below
	messages []uint8
	sums     flowTotals
	progress time.Time // of the last result, or of the send since which one is missing
}

// flowTotals are numbers of messages. Results are of different messages that
// were confirmed, dead are those without a result; duplicates are results
// beyond the first.
type flowTotals struct{ sent, results, dead, duplicates int64 }

func newFlowAccount() *flowAccount {
	return &flowAccount{changed: make(chan struct{}, 1), progress: time.Now()}
}

// message returns what is known of a message. Caller holds mu.
func (a *flowAccount) message(n int64) *uint8 {
	for int64(len(a.messages)) <= n {
		a.messages = append(a.messages, 0)
	}
	return &a.messages[n]
}

// done says whether every message that was sent has a result, or is dead.
// Caller holds mu.
func (a *flowAccount) done() bool { return a.sums.results+a.sums.dead >= a.sums.sent }

func (a *flowAccount) notify() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// confirm notes that messages were sent, and are durable.
func (a *flowAccount) confirm(first, count int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done() {
		a.progress = time.Now()
	}
	for n := first; n < first+count; n++ {
		m := a.message(n)
		*m |= flowConfirmed
		a.sums.sent++
		if *m&flowSeen != 0 { // its result was faster
			a.sums.results++
		}
	}
	a.notify()
}

// seen notes results, and returns how many are the first of their message.
func (a *flowAccount) seen(numbers []int64) (fresh int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range numbers {
		m := a.message(n)
		if *m&flowSeen != 0 {
			a.sums.duplicates++
			continue
		}
		fresh++
		*m |= flowSeen
		if *m&flowConfirmed != 0 {
			a.sums.results++
		}
	}
	a.progress = time.Now()
	a.notify()
	return fresh
}

// died notes a dead letter, and says whether it is the first of a message
// without a result.
func (a *flowAccount) died(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.message(n)
	if *m&(flowSeen|flowDead) != 0 {
		return false
	}
	*m |= flowDead
	a.sums.dead++
	a.progress = time.Now()
	a.notify()
	return true
}

func (a *flowAccount) totals() flowTotals {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sums
}

// watch calls stuck when results are missing and none has come for so long, or
// returns when ctx ends.
func (a *flowAccount) watch(ctx context.Context, patience time.Duration, stuck func()) {
	tick := time.NewTicker(patience / 50)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		a.mu.Lock()
		late := !a.done() && time.Since(a.progress) > patience
		a.mu.Unlock()
		if late {
			stuck()
			return
		}
	}
}

// wait waits until every message that was sent has a result or is dead, or
// until neither has come for so long: errFlowStuck.
func (a *flowAccount) wait(ctx context.Context, patience time.Duration) error {
	tick := time.NewTicker(patience / 50)
	defer tick.Stop()
	for {
		a.mu.Lock()
		done, idle := a.done(), time.Since(a.progress)
		a.mu.Unlock()
		switch {
		case done:
			return nil
		case idle > patience:
			return errFlowStuck
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.changed:
		case <-tick.C:
		}
	}
}
