package queue

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel/internal/store"
)

// expireEvery is how often queues are looked through for messages that are
// past their retention. None is delivered past it meanwhile.
const expireEvery = time.Minute

// expireBatch bounds one commit of removals.
const expireBatch = 256

// Run removes expired messages until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, q := range s.all() {
			q.sweepTenants()
			if err := errors.Join(q.expireAll(ctx), q.sweepDedup()); err != nil {
				s.opt.Log.Error("expired messages were not removed, it will be tried again", "queue", q.name.String(), "err", err)
			}
		}
	}
}

// expire removes a message, which is visible, that nobody wanted in time.
// Caller holds mu and enqueues b.
func (q *Queue) expire(b *store.Batch, l *lease) {
	q.remove(b, l)
	q.stats.expired++
}

// expireAll removes what has expired: from the head of the queue on, and of
// the exceptions those that nobody holds. It stops at the first message in
// the run that has not expired: behind it are younger ones, or such that were
// moved here, which go when they reach the head.
func (q *Queue) expireAll(ctx context.Context) error {
	for ctx.Err() == nil {
		var b store.Batch
		q.mu.Lock()
		if q.ended != nil {
			q.mu.Unlock()
			return nil
		}
		oldest := q.set.opt.Now().Add(-q.settings.Retention).UnixMilli()
		for b.Len() < expireBatch {
			it := q.window.first()
			if it == nil || recordSent(it.record) >= oldest {
				break
			}
			q.expire(&b, q.takeFirst())
		}
		var load []unread
		if q.groups != nil {
			load = q.expireGroups(&b, oldest)
		} else {
			load = q.expireAside(&b, oldest)
		}
		for _, l := range q.leases {
			if b.Len() >= expireBatch {
				break
			}
			if l.state != leased && l.sent < oldest {
				q.expire(&b, l)
			}
		}
		more := b.Len() > 0 || len(load) > 0
		if !more && q.listed() == 0 && q.cursor < q.tail {
			q.mu.Unlock()
			if err := q.refill(); err != nil {
				return err
			}
			q.mu.Lock()
			more = q.listed() > 0
		}
		errs := make([]error, 1)
		q.commit(&b, errs)
		if errs[0] != nil {
			return errs[0]
		}
		for _, r := range load {
			if err := q.load1(r); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
	return nil
}
