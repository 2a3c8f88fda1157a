package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
)

// conclude publishes what the outcomes have to be published, settles their
// messages, and gives their keys their next turn. When it returns, all of them
// have left the flow.
func (f *Flow) conclude(outcomes []outcome) {
	start := time.Now()
	err := f.publish(outcomes)
	if err == nil {
		err = f.settle(outcomes)
	}
	if err != nil {
		// Stopped before the sinks were done: the messages come again.
		for i := range outcomes {
			outcomes[i] = outcome{item: outcomes[i].item, verdict: runnel.Release, dropped: outcomes[i].dropped}
		}
		f.dropLost(outcomes)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.work), cutTimeout)
		if err := f.settleAlone(ctx, outcomes); err != nil {
			f.log.Warn("not given back to the source: their leases will end", "messages", len(outcomes), "err", err)
		}
		cancel()
	}
	f.stats.publish.record(time.Since(start))
	f.leave(outcomes)
}

// dropLost takes out the outcomes whose lease was lost.
func (f *Flow) dropLost(outcomes []outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range outcomes {
		if outcomes[i].item.lost {
			outcomes[i].dropped = true
		}
	}
}

// settle settles the messages: in one commit with what goes to sinks that live
// with the source.
func (f *Flow) settle(outcomes []outcome) error {
	for failed := 0; ; {
		f.dropLost(outcomes)
		again, err := f.settleOnce(outcomes)
		if err == nil && !again {
			if failed > 0 {
				f.outOfTrouble("settle")
			}
			return nil
		}
		if err == nil {
			continue
		}
		failed++
		wait := backOff(100*time.Millisecond, 10*time.Second, failed)
		if f.inTrouble("settle", err) {
			f.log.Warn("results and settlements cannot be stored, they are kept and tried again", "after", wait, "err", err)
		}
		if !pause(f.work, wait) {
			return ErrStopping
		}
	}
}

// settleOnce tries once. again says that some outcomes have changed, and the
// others are as they were; an error that nothing happened, or nobody knows.
func (f *Flow) settleOnce(outcomes []outcome) (again bool, err error) {
	if f.transactor == nil {
		return false, f.settleAlone(f.work, outcomes)
	}
	if f.cfg.DeadLetter == nil {
		if err := f.giveUpAlone(outcomes); err != nil {
			return false, err
		}
	}
	settlements, owners := f.settlements(outcomes)
	if len(settlements) == 0 {
		return false, nil
	}
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
		if again, err := f.stage(txn, f.cfg.Sinks[sink], f.outgoingTo(sink, outcomes), outcomes); again || err != nil {
			return again, err
		}
	}
	if f.deadJoined {
		if again, err := f.stage(txn, f.cfg.DeadLetter, f.deadLetters(outcomes), outcomes); again || err != nil {
			return again, err
		}
	}
	if err := txn.Commit(context.WithoutCancel(f.work)); err != nil {
		return f.lostIn(err, owners, outcomes)
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
	for n, failure := range partial.Failed {
		if !f.refused(&outcomes[o.owners[n]], failure) {
			return false, failure
		}
	}
	return true, nil
}

// settlements are what the source is told.
func (f *Flow) settlements(outcomes []outcome) (ss []runnel.Settlement, owners []int) {
	ss = make([]runnel.Settlement, 0, len(outcomes))
	owners = make([]int, 0, len(outcomes))
	for i := range outcomes {
		oc := &outcomes[i]
		if oc.dropped {
			continue
		}
		s := runnel.Settlement{Delivery: &oc.item.d, Verdict: oc.verdict, After: oc.after}
		if oc.dead != nil && f.cfg.DeadLetter == nil {
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
	for n, failure := range partial.Failed {
		if !errors.Is(failure, runnel.ErrLeaseLost) && !errors.Is(failure, runnel.ErrLaneLost) {
			return false, failure
		}
		if it := outcomes[owners[n]].item; !it.lost {
			f.loseLease(it, failure)
		}
	}
	return true, nil
}

// giveUpAlone moves dead letters to the source's own place for them, which no
// transaction does.
func (f *Flow) giveUpAlone(outcomes []outcome) error {
	dead := make([]outcome, 0, len(outcomes))
	var owners []int
	for i := range outcomes {
		if outcomes[i].dead != nil && !outcomes[i].dropped {
			dead = append(dead, outcomes[i])
			owners = append(owners, i)
		}
	}
	err := f.settleAlone(f.work, dead)
	for n, i := range owners {
		outcomes[i].dropped = dead[n].dropped || err == nil
	}
	return err
}

// settleAlone settles where there is no transaction.
func (f *Flow) settleAlone(ctx context.Context, outcomes []outcome) error {
	settlements, owners := f.settlements(outcomes)
	if len(settlements) == 0 {
		return nil
	}
	err := f.cfg.Source.Settle(ctx, settlements)
	var partial *runnel.SettleError
	if err == nil || !errors.As(err, &partial) {
		return err
	}
	// All others did happen: only the failed ones are left.
	var left error
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range settlements {
		failure := partial.Failed[n]
		oc := &outcomes[owners[n]]
		switch {
		case failure == nil:
			f.unlease(oc.item)
			oc.dropped = true // it is done: no further settlement
		case errors.Is(failure, runnel.ErrLeaseLost), errors.Is(failure, runnel.ErrLaneLost):
			if !oc.item.lost {
				f.loseLease(oc.item, failure)
			}
			oc.dropped = true
		default:
			left = failure
		}
	}
	return left
}

// leave takes settled messages out of the flow: their leases are kept no
// longer, and the next ones of their keys have their turn.
func (f *Flow) leave(outcomes []outcome) {
	now := time.Now()
	var away []*item
	var aways []time.Duration
	f.mu.Lock()
	for i := range outcomes {
		oc := &outcomes[i]
		f.unlease(oc.item)
		if oc.item.call != nil {
			f.settling--
		}
		f.count(oc)
	}
	// A key's messages in a call have one turn; the first that is given back
	// decides.
	if f.ordered() {
		done := make(map[string]bool)
		for i := range outcomes {
			it := outcomes[i].item
			if it.key == "" || it.call == nil || done[it.key] {
				continue
			}
			done[it.key] = true
			var back *runnel.Delivery
			var after time.Duration
			for j := i; j < len(outcomes); j++ {
				if o := &outcomes[j]; o.item.key == it.key && (o.item.lost || o.verdict != runnel.Ack) {
					back, after = &o.item.d, o.after
					break
				}
			}
			items, later := f.turn(it.key, back, after, now)
			for _, it := range items {
				away = append(away, it)
				aways = append(aways, later)
			}
		}
	}
	f.pump()
	f.mu.Unlock()
	f.moreRoom()
	f.releaseEach(away, aways)
}

// count counts an outcome, and remembers failures for sources that do not.
// Caller holds mu.
func (f *Flow) count(oc *outcome) {
	id := oc.item.d.ID
	switch {
	case oc.item.lost:
	case oc.dead != nil:
		f.stats.deadLettered.Add(1)
	case oc.verdict == runnel.Retry:
		f.stats.retried.Add(1)
	case oc.verdict == runnel.Release:
		f.stats.released.Add(1)
	default:
		f.stats.published.Add(uint64(len(oc.out) * len(f.cfg.Sinks)))
	}
	if oc.item.d.Attempt != 0 {
		return
	}
	if oc.verdict == runnel.Retry {
		if len(f.failures) >= maxFailures {
			for other := range f.failures { // any one: it begins anew
				delete(f.failures, other)
				break
			}
		}
		f.failures[id] = oc.item.attempt
	} else if oc.verdict == runnel.Ack {
		delete(f.failures, id)
	}
}

// maxFailures bounds the messages whose failures are counted here, since their
// source does not.
const maxFailures = 100_000

// release gives messages back that were not called.
func (f *Flow) release(items []*item, after time.Duration) {
	aways := make([]time.Duration, len(items))
	for i := range aways {
		aways[i] = after
	}
	f.releaseEach(items, aways)
}

// releaseEach gives messages back, in their order, each for a while of its own.
func (f *Flow) releaseEach(items []*item, aways []time.Duration) {
	if len(items) == 0 {
		return
	}
	outcomes := released(items, 0)
	for i := range outcomes {
		outcomes[i].after = aways[i]
	}
	f.conclude(outcomes)
}
