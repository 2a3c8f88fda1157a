package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
)

// concludeSoon concludes outcomes in a goroutine of its own. Caller holds mu.
func (f *Flow) concludeSoon(outcomes []outcome) {
	if len(outcomes) == 0 {
		return
	}
	f.settling += len(outcomes)
	f.calls.Add(1)
	go func() {
		defer f.calls.Done()
		f.conclude(outcomes)
	}()
}

// conclude publishes what the outcomes have to be published, settles their
// messages, and gives their keys their next turn. When it returns, all of them
// have left the flow. The caller has counted them in settling.
func (f *Flow) conclude(outcomes []outcome) {
	start := time.Now()
	f.mu.Lock()
	f.lostDropped(outcomes)
	f.goesBack(outcomes, start)
	f.mu.Unlock()
	err := f.publish(outcomes)
	for again := true; again && err == nil; {
		if err = f.publishDead(outcomes); err == nil {
			again, err = f.settle(outcomes)
		}
	}
	if err != nil {
		f.giveBack(outcomes)
	}
	f.stats.publish.Record(time.Since(start))
	f.leave(outcomes)
}

// giveBack releases what could not be settled since the flow was stopped
// before the sinks or the source were done.
func (f *Flow) giveBack(outcomes []outcome) {
	f.mu.Lock()
	f.lostDropped(outcomes)
	for i := range outcomes {
		if oc := &outcomes[i]; !oc.over() {
			*oc = outcome{item: oc.item, verdict: runnel.Release}
		}
	}
	f.goesBack(outcomes, time.Now())
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(f.work), cutTimeout)
	defer cancel()
	if err := f.settleAlone(ctx, outcomes); err != nil {
		f.log.Warn("not given back to the source: their leases will end", "messages", len(outcomes), "err", err)
	}
}

// dropLost takes out the outcomes whose lease was lost.
func (f *Flow) dropLost(outcomes []outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lostDropped(outcomes)
}

// lostDropped is dropLost for a caller that holds mu.
func (f *Flow) lostDropped(outcomes []outcome) {
	for i := range outcomes {
		if oc := &outcomes[i]; oc.item.lost && !oc.settled {
			oc.dropped = true
		}
	}
}

// settle settles the messages: in one commit with what goes to sinks that live
// with the source. again says that there are new dead letters to be published
// first; an error, that the flow was stopped.
func (f *Flow) settle(outcomes []outcome) (again bool, err error) {
	for failed := 0; ; {
		f.mu.Lock()
		for i := range outcomes {
			outcomes[i].item.storing = true
		}
		f.lostDropped(outcomes)
		f.mu.Unlock()
		again, err := f.settleOnce(outcomes)
		if err == nil {
			if failed > 0 {
				f.outOfTrouble("settle")
			}
			return again, nil
		}
		failed++
		wait := backOff(100*time.Millisecond, 10*time.Second, failed)
		if f.inTrouble("settle", err) {
			f.log.Warn("results and settlements cannot be stored, they are kept and tried again", "after", wait, "err", err)
		}
		if !pause(f.work, wait) {
			return false, ErrStopping
		}
	}
}

// settleOnce tries once. again says that some outcomes have changed, and the
// others are as they were; an error that nothing happened, or nobody knows.
func (f *Flow) settleOnce(outcomes []outcome) (again bool, err error) {
	if f.transactor == nil {
		return false, f.settleAlone(f.work, outcomes)
	}
	settlements, owners := f.settlements(outcomes, true)
	if len(settlements) > 0 {
		if again, err := f.settleTogether(settlements, owners, outcomes); again || err != nil {
			return again, err
		}
	}
	if f.cfg.DeadLetter != nil {
		return false, nil
	}
	return false, f.settleAlone(f.work, outcomes) // the dead letters
}

// settleTogether settles and sends in one commit.
func (f *Flow) settleTogether(settlements []runnel.Settlement, owners []int, outcomes []outcome) (again bool, err error) {
	txn, err := f.transactor.Begin(f.work)
	if err != nil {
		return false, err
	}
	defer txn.Abort()
	if err := txn.Settle(settlements); err != nil {
		return f.lostIn(err, owners, outcomes)
	}
	for sink := range f.cfg.Sinks {
		if !f.joined[sink] {
			continue
		}
		if again, err := f.stage(txn, f.cfg.Sinks[sink], f.results(sink, outcomes), outcomes); again || err != nil {
			return again, err
		}
	}
	if f.deadJoined {
		if again, err := f.stage(txn, f.cfg.DeadLetter, f.deadLetters(outcomes), outcomes); again || err != nil {
			return again, err
		}
	}
	// A commit that was begun is waited for: its fate must be known.
	if err := txn.Commit(context.WithoutCancel(f.work)); err != nil {
		return f.lostIn(err, owners, outcomes)
	}
	for _, i := range owners {
		outcomes[i].settled = true
	}
	return false, nil
}

// stage adds what goes to a sink to a transaction.
func (f *Flow) stage(txn runnel.Txn, sink runnel.Sink, o outgoing, outcomes []outcome) (again bool, err error) {
	if len(o.messages) == 0 {
		return false, nil
	}
	err = txn.Send(sink, o.messages)
	var partial *runnel.SendError
	if !errors.As(err, &partial) {
		return false, err
	}
	for i, failure := range partial.Failed {
		if !f.refused(&o, i, failure, outcomes) {
			return false, failure
		}
	}
	return true, nil
}

// settlements are what the source is told: in a transaction, or alone. What
// goes to the source's own dead-letter place is never part of a transaction.
func (f *Flow) settlements(outcomes []outcome, txn bool) (ss []runnel.Settlement, owners []int) {
	ss = make([]runnel.Settlement, 0, len(outcomes))
	owners = make([]int, 0, len(outcomes))
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.over() {
			continue
		}
		s := runnel.Settlement{Delivery: &oc.item.d, Verdict: oc.verdict, After: oc.after}
		if oc.dead != nil && f.cfg.DeadLetter == nil {
			if txn {
				continue
			}
			s.Verdict, s.Reason = runnel.GiveUp, oc.dead
		}
		ss = append(ss, s)
		owners = append(owners, i)
	}
	return ss, owners
}

// lostIn drops the outcomes that the error names: their messages are somebody
// else's by now.
func (f *Flow) lostIn(err error, owners []int, outcomes []outcome) (again bool, _ error) {
	var partial *runnel.SettleError
	if !errors.As(err, &partial) {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var left error
	for n, failure := range partial.Failed {
		if oc := &outcomes[owners[n]]; !f.lostOne(oc, failure) {
			left = failure
		}
	}
	return left == nil, left
}

// lostOne drops an outcome if the error says that its lease was lost. Caller
// holds mu.
func (f *Flow) lostOne(oc *outcome, failure error) bool {
	if !errors.Is(failure, runnel.ErrLeaseLost) && !errors.Is(failure, runnel.ErrLaneLost) {
		return false
	}
	if !oc.item.lost {
		f.loseLease(oc.item, failure)
	}
	oc.dropped = true
	return true
}

// settleAlone settles where there is no transaction.
func (f *Flow) settleAlone(ctx context.Context, outcomes []outcome) error {
	settlements, owners := f.settlements(outcomes, false)
	if len(settlements) == 0 {
		return nil
	}
	err := f.cfg.Source.Settle(ctx, settlements)
	var partial *runnel.SettleError
	if err != nil && !errors.As(err, &partial) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var left error
	for n, i := range owners {
		oc := &outcomes[i]
		switch {
		case partial == nil || partial.Failed[n] == nil: // all others did happen
			f.unlease(oc.item)
			oc.settled = true
		case !f.lostOne(oc, partial.Failed[n]):
			left = partial.Failed[n]
		}
	}
	return left
}

// leave takes settled messages out of the flow: their leases are kept no
// longer, and the next ones of their keys have their turn.
func (f *Flow) leave(outcomes []outcome) {
	now := time.Now()
	f.mu.Lock()
	f.settling -= len(outcomes)
	for i := range outcomes {
		f.unlease(outcomes[i].item)
		f.count(&outcomes[i])
	}
	f.turnsEnd(outcomes, now)
	f.pump()
	f.mu.Unlock()
	f.moreRoom()
}

// maxFailures bounds the messages whose failures are counted here, since their
// source does not.
const maxFailures = 100_000

// count counts an outcome, and remembers failures for sources that do not.
// Caller holds mu.
func (f *Flow) count(oc *outcome) {
	switch {
	case oc.dropped:
		f.stats.leaseLost.Add(1)
	case oc.dead != nil:
		f.stats.deadLettered.Add(1)
	case oc.verdict == runnel.Retry:
		f.stats.retried.Add(1)
	case oc.verdict == runnel.Release:
		f.stats.released.Add(1)
	case oc.filtered:
		f.stats.filtered.Add(1)
	default:
		f.stats.handled.Add(1)
		f.stats.published.Add(uint64(len(oc.out) * len(f.cfg.Sinks)))
	}
	if oc.item.d.Attempt != 0 {
		return
	}
	id := oc.item.d.ID
	switch {
	case oc.verdict == runnel.Retry:
		known, ok := f.failures[id]
		if !ok {
			known.first = time.Now()
			for other := range f.failures { // any one begins anew
				if len(f.failures) < maxFailures {
					break
				}
				delete(f.failures, other)
			}
		}
		known.n = oc.item.attempt
		f.failures[id] = known
	case oc.verdict == runnel.Ack && !oc.dropped:
		delete(f.failures, id)
	}
}
