package queue

import (
	"errors"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// ErrNotInFlight is returned by ChangeVisibility for a message that nobody
// holds.
var ErrNotInFlight = errors.New("the message is not in flight")

// ErrReceiptExpired is returned by Delete on a FIFO queue for a message that is
// not the holder's any more. (SQS)
var ErrReceiptExpired = errors.New("the receipt handle has expired")

// ErrNoMessage is returned by ChangeVisibility for a receipt whose message is
// gone, or was received again since.
var ErrNoMessage = errors.New("the message does not exist, or was received again")

// ErrTotalVisibility is returned by ChangeVisibility when the message would be
// invisible for more than 12 h since it was received. (SQS)
var ErrTotalVisibility = errors.New("the total visibility timeout is beyond 12 hours")

// Delete removes messages by their receipts and returns an error or nil for
// each when that is durable. A message that is gone, or was received again
// since, is no error, and is left alone: the receipt is old. (SQS) Its removal
// may be under way in another call: that is waited for too. On a FIFO queue a receipt
// whose visibility timeout has ended is ErrReceiptExpired: its message may be with
// somebody else, and its group behind it.
func (q *Queue) Delete(rs []Receipt) []error {
	errs := make([]error, len(rs))
	var b store.Batch
	b.Grow(len(rs))
	q.mu.Lock()
	for i, r := range rs {
		if r.queue != q.id {
			errs[i] = ErrBadReceipt
			continue
		}
		l := q.leases[r.n]
		if q.groups != nil && l != nil && (l.nonce != r.nonce || l.state != leased) {
			errs[i] = ErrReceiptExpired
			continue
		}
		if l != nil && l.gave(r.nonce) && l.state != delayed {
			q.remove(&b, l)
			q.stats.deleted++
		} else {
			b.InOrder()
		}
	}
	q.commit(&b, errs)
	return errs
}

// remove takes a message out of the index and adds its removal to b. Caller
// holds mu and enqueues b before it lets go of it.
func (q *Queue) remove(b *store.Batch, l *lease) {
	q.forget(l)
	b.Remove(q.series, l.n, l.marked)
	q.low(b, false)
}

// commit enqueues b, lets go of mu, and waits. A failure is the error of
// everything that has none yet.
func (q *Queue) commit(b *store.Batch, errs []error) {
	if b.Empty() {
		q.mu.Unlock()
		return
	}
	q.set.store.Enqueue(b, nil)
	q.mu.Unlock()
	if err := b.Wait(); err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = unavailable("store the change", err)
			}
		}
	}
}

// Visibility asks for a new visibility timeout of one message, from now on.
type Visibility struct {
	Receipt Receipt
	Timeout time.Duration
}

// ChangeVisibility gives messages that a client holds a new visibility
// timeout, counted from now; 0 makes a message visible at once. It returns an
// error or nil for each when that is durable.
func (q *Queue) ChangeVisibility(vs []Visibility) []error {
	errs := make([]error, len(vs))
	var b store.Batch
	freed := 0
	q.mu.Lock()
	now := q.set.mono()
	for i, v := range vs {
		l := q.leases[v.Receipt.n]
		switch {
		case v.Receipt.queue != q.id:
			errs[i] = ErrBadReceipt
		case l == nil || !l.gave(v.Receipt.nonce) || l.state == delayed:
			errs[i] = ErrNoMessage
		case l.state != leased:
			errs[i] = ErrNotInFlight
		case time.Duration(now-l.leasedAt)+v.Timeout > MaxVisibilityTimeout:
			errs[i] = ErrTotalVisibility
		case v.Timeout <= 0:
			q.move(l, returned)
			b.Mark(q.series, l.n, q.markOf(l))
			freed++
		default:
			q.unplace(l)
			l.due = now + int64(v.Timeout)
			q.place(l, leased)
			b.Mark(q.series, l.n, q.markOf(l))
		}
	}
	q.wake(freed)
	q.commit(&b, errs)
	return errs
}

// held returns the lease of a delivery of owner's that is still its own.
// Caller holds mu.
func (q *Queue) held(d *runnel.Delivery, owner *source) (*lease, error) {
	r, ok := d.Handle.(Receipt)
	if !ok || r.queue != q.id {
		return nil, ErrBadReceipt
	}
	l := q.leases[r.n]
	if l == nil || l.nonce != r.nonce || l.state != leased || l.owner != owner {
		return nil, runnel.ErrLeaseLost
	}
	return l, nil
}

// settle applies one verdict, other than GiveUp, to the index, and adds what
// must become durable to b. now is the monotonic time, the same for all that is
// settled together: what waits equally long becomes visible at the same moment.
// Caller holds mu and enqueues b before it lets go.
func (q *Queue) settle(b *store.Batch, l *lease, s *runnel.Settlement, now int64) {
	switch s.Verdict {
	case runnel.Ack:
		q.remove(b, l)
		q.stats.deleted++
	case runnel.Retry:
		q.unplace(l)
		l.failures++
		l.nonce, l.owner = newNonce(), nil
		l.due = now + int64(min(max(s.After, 0), MaxVisibilityTimeout))
		l.marked = true
		q.place(l, leased)
		b.Mark(q.series, l.n, q.markOf(l))
	case runnel.Release:
		q.release(l, s.After, now)
	case runnel.GiveUp: // see giveUpDelivery
	}
}

// release makes a message of a flow visible again after a while, or at once,
// as if it had not been received. Until then it counts as in flight, like one in
// a back-off.
//
// Nothing of it is stored, the wait neither: if the process dies, the message
// is visible at once. A mark that it has is from before the receive and remains:
// its failures and the receives of clients are kept, and its own wait was over
// when the message was received. Caller holds mu.
func (q *Queue) release(l *lease, after time.Duration, now int64) {
	q.unplace(l)
	l.receives--
	l.nonce, l.owner = newNonce(), nil
	if after > 0 {
		l.due = now + int64(min(after, MaxVisibilityTimeout))
		q.place(l, leased)
		return
	}
	q.place(l, returned)
	q.wake(1)
}
