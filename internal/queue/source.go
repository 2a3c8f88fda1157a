package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Broker gives flows of one account its queues, as sources and sinks. A
// reference is a queue's name.
func (s *Set) Broker(account string) runnel.Broker { return &broker{set: s, account: account} }

type broker struct {
	set     *Set
	account string
}

func (b *broker) Source(ref string) (runnel.Source, error) {
	q, err := b.set.Queue(Name{b.account, ref})
	if err != nil {
		return nil, err
	}
	return q.Source(), nil
}

func (b *broker) Sink(ref string) (runnel.Sink, error) {
	q, err := b.set.Queue(Name{b.account, ref})
	if err != nil {
		return nil, err
	}
	return q.Sink(), nil
}

func (b *broker) Check(context.Context) error { return nil }

func (b *broker) Close(context.Context) error { return nil }

func (b *broker) List(context.Context) ([]string, error) {
	var names []string
	for _, q := range b.set.List(b.account, "", "", 0) {
		names = append(names, q.name.Queue)
	}
	return names, nil
}

var (
	_ runnel.Lister     = (*broker)(nil)
	_ runnel.Source     = (*source)(nil)
	_ runnel.Extender   = (*source)(nil)
	_ runnel.Backlogger = (*source)(nil)
	_ runnel.Transactor = (*source)(nil)
	_ runnel.Sink       = (*sink)(nil)
	_ runnel.Limiter    = (*sink)(nil)
)

// Source opens the queue for a flow in this process. What it receives has a
// lease in memory only: if the process dies, the messages are visible again at
// once, and were never received. Failures (Retry) are counted durably.
func (q *Queue) Source() runnel.Source {
	return &source{q: q, done: make(chan struct{})}
}

type source struct {
	q    *Queue
	once sync.Once
	done chan struct{} // closed by Close
}

// closed is closed when the source is. A nil source, which stands for the
// clients of a door, never is.
func (s *source) closed() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.done
}

func (s *source) Receive(ctx context.Context, lim runnel.Limits) ([]runnel.Delivery, error) {
	return s.q.receive(ctx, lim, s)
}

func (s *source) Settle(_ context.Context, ss []runnel.Settlement) error {
	q := s.q
	failed := make(map[int]error)
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			if err := q.giveUpDelivery(&ss[i], s); err != nil {
				failed[i] = err
			}
		}
	}
	var b store.Batch
	q.mu.Lock()
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			continue
		}
		l, err := q.held(ss[i].Delivery, s)
		if err != nil {
			failed[i] = err
			continue
		}
		q.settle(&b, l, &ss[i])
	}
	errs := make([]error, 1)
	q.commit(&b, errs)
	if errs[0] != nil {
		return errs[0]
	}
	if len(failed) > 0 {
		return &runnel.SettleError{Failed: failed}
	}
	return nil
}

// giveUpDelivery moves a delivery to the queue that the redrive policy names.
func (q *Queue) giveUpDelivery(s *runnel.Settlement, owner *source) error {
	if s.Reason == nil {
		return runnel.Errorf(runnel.CodeInvalid, "a message is given up without a reason")
	}
	q.mu.Lock()
	l, err := q.held(s.Delivery, owner)
	var to *Queue
	var n uint64
	if err == nil {
		n, to = l.n, q.deadLetterQueue()
	}
	q.mu.Unlock()
	if err != nil {
		return err
	}
	if to == nil {
		return runnel.Errorf(runnel.CodeUnsupported, "the queue %s has no dead-letter queue: set one, or give the flow a dead_letter", q.name)
	}
	b, err := q.moveOut(n, to, s.Reason, func() (*lease, error) { return q.held(s.Delivery, owner) })
	if err != nil {
		return err
	}
	if err := b.Wait(); err != nil {
		return unavailable("move to the dead-letter queue", err)
	}
	return nil
}

func (s *source) Extend(_ context.Context, ds []*runnel.Delivery, d time.Duration) error {
	q := s.q
	failed := make(map[int]error)
	q.mu.Lock()
	defer q.mu.Unlock()
	due, until := q.set.mono()+int64(d), q.set.opt.Now().Add(d)
	for i := range ds {
		l, err := q.held(ds[i], s)
		switch {
		case err != nil:
			failed[i] = err
		case l.due < due:
			q.unplace(l)
			l.due = due
			q.place(l, leased)
			ds[i].LeaseUntil = until
		}
	}
	if len(failed) > 0 {
		return &runnel.SettleError{Failed: failed}
	}
	return nil
}

func (s *source) Backlog(context.Context) (runnel.Backlog, error) {
	d := s.q.Depth()
	b := runnel.Backlog{Visible: d.Visible, InFlight: d.InFlight, Delayed: d.Delayed}
	if d.Visible > 0 {
		b.Oldest = s.q.Oldest()
	}
	return b, nil
}

func (s *source) Joins(to runnel.Sink) bool {
	st, ok := to.(stager)
	return ok && st.Store() == s.q.set.store
}

func (s *source) Begin(context.Context) (runnel.Txn, error) { return &txn{source: s}, nil }

// Close gives back what the source holds.
func (s *source) Close(context.Context) error {
	s.once.Do(func() {
		close(s.done)
		q := s.q
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, l := range q.leases {
			if l.owner == s && l.state == leased {
				q.release(l)
			}
		}
	})
	return nil
}

// Sink opens the queue for sending.
func (q *Queue) Sink() runnel.Sink { return &sink{q} }

type sink struct{ q *Queue }

func (s *sink) Send(_ context.Context, ms []runnel.Message) error {
	_, err := s.q.Send(ms)
	return err
}

func (s *sink) Limits() runnel.SendLimits {
	settings, _ := s.q.Settings()
	return runnel.SendLimits{MessageBytes: settings.MaxMessageBytes}
}

func (s *sink) Close(context.Context) error { return nil }

// stager is a sink that lives in a store: its writes can be part of a commit
// that also settles. Task records and pipeline journals are such sinks too.
type stager interface {
	Store() *store.Store
	// Stage adds the messages to b and returns what to call after the commit,
	// with its error, in the order of commits. A *runnel.SendError names the
	// messages that were refused; the others are staged.
	Stage(b *store.Batch, ms []runnel.Message) (done func(error), err error)
}

func (s *sink) Store() *store.Store { return s.q.set.store }

func (s *sink) Stage(b *store.Batch, ms []runnel.Message) (func(error), error) {
	staged, _, err := s.q.stage(b, ms)
	if staged == nil {
		return nil, err
	}
	return staged.committed, err
}

// txn is settlements and sends that become one commit.
type txn struct {
	source  *source
	batch   store.Batch
	settles []runnel.Settlement
	done    []func(error)
	queues  []*Queue // that are sent to: none may be deleted before the commit
	ended   bool
}

var errTxnEnded = errors.New("the transaction has ended")

func (t *txn) Settle(ss []runnel.Settlement) error {
	if t.ended {
		return errTxnEnded
	}
	failed := make(map[int]error)
	q := t.source.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			failed[i] = runnel.Errorf(runnel.CodeUnsupported, "in a transaction, send the dead letter and ack the message")
			continue
		}
		if _, err := q.held(ss[i].Delivery, t.source); err != nil {
			failed[i] = err
			continue
		}
		t.settles = append(t.settles, ss[i])
	}
	if len(failed) > 0 {
		return &runnel.SettleError{Failed: failed}
	}
	return nil
}

func (t *txn) Send(to runnel.Sink, ms []runnel.Message) error {
	if t.ended {
		return errTxnEnded
	}
	if !t.source.Joins(to) {
		return runnel.Errorf(runnel.CodeUnsupported, "the sink does not live in the same store")
	}
	done, err := to.(stager).Stage(&t.batch, ms)
	if done != nil {
		t.done = append(t.done, done)
	}
	if s, ok := to.(*sink); ok {
		t.queues = append(t.queues, s.q)
	}
	return err
}

func (t *txn) Commit(context.Context) error {
	if t.ended {
		return errTxnEnded
	}
	t.ended = true
	q := t.source.q
	q.set.drops.RLock()
	for _, to := range t.queues {
		if to.dropped.Load() {
			q.set.drops.RUnlock()
			return errDeleted(to.name)
		}
	}
	q.mu.Lock()
	// All leases are looked at before any is touched: all or nothing.
	leases := make([]*lease, len(t.settles))
	failed := make(map[int]error)
	for i := range t.settles {
		l, err := q.held(t.settles[i].Delivery, t.source)
		switch {
		case err != nil:
			failed[i] = err
		case slices.Contains(leases[:i], l):
			failed[i] = runnel.Errorf(runnel.CodeInvalid, "the message is settled twice in one transaction")
		}
		leases[i] = l
	}
	if len(failed) > 0 {
		q.mu.Unlock()
		q.set.drops.RUnlock()
		return &runnel.SettleError{Failed: failed}
	}
	for i, l := range leases {
		q.settle(&t.batch, l, &t.settles[i])
	}
	if t.batch.Len() == 0 {
		q.mu.Unlock()
		q.set.drops.RUnlock()
		return nil
	}
	q.set.store.Enqueue(&t.batch, func(err error) {
		for _, done := range t.done {
			done(err)
		}
	})
	q.mu.Unlock()
	q.set.drops.RUnlock()
	if err := t.batch.Wait(); err != nil {
		return unavailable("commit", err)
	}
	return nil
}

func (t *txn) Abort() { t.ended = true }
