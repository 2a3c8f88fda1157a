package queue

import (
	"context"
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
	_ runnel.Ordered    = (*source)(nil)
	_ runnel.Sink       = (*sink)(nil)
	_ runnel.Limiter    = (*sink)(nil)
)

// Source opens the queue for a flow in this process. What it receives has a
// lease in memory only: if the process dies, the messages are visible again at
// once, and were never received. Failures (Retry) are counted durably. A Release
// is not stored, nor is its wait (Settlement.After), which ends with the process;
// a message that was received, released or failed before keeps what was stored
// of that.
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
	var failed failures
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			if err := q.giveUpDelivery(&ss[i], s); err != nil {
				failed.add(i, err)
			}
		}
	}
	var b store.Batch
	q.mu.Lock()
	now := q.set.mono()
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			continue
		}
		l, err := q.held(ss[i].Delivery, s)
		if err != nil {
			failed.add(i, err)
			continue
		}
		q.settle(&b, l, &ss[i], now)
	}
	errs := make([]error, 1)
	q.commit(&b, errs)
	if errs[0] != nil {
		return errs[0]
	}
	return failed.err()
}

// failures are the errors of settlements, by their index; mostly there are
// none.
type failures struct{ byIndex map[int]error }

func (f *failures) add(i int, err error) {
	if f.byIndex == nil {
		f.byIndex = make(map[int]error)
	}
	f.byIndex[i] = err
}

func (f *failures) err() error {
	if f.byIndex == nil {
		return nil
	}
	return &runnel.SettleError{Failed: f.byIndex}
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
	var failed failures
	q.mu.Lock()
	defer q.mu.Unlock()
	due, until := q.set.mono()+int64(d), q.set.opt.Now().Add(d)
	for i := range ds {
		l, err := q.held(ds[i], s)
		switch {
		case err != nil:
			failed.add(i, err)
		case l.due < due:
			q.unplace(l)
			l.due = due
			q.place(l, leased)
			ds[i].LeaseUntil = until
		}
	}
	return failed.err()
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

func (s *source) Begin(context.Context) (runnel.Txn, error) { return newTxn(s), nil }

// Order is by key on a FIFO queue, which does not hand out a message while one
// before it of the same key is in flight.
func (s *source) Order() runnel.Order {
	if s.q.groups != nil {
		return runnel.OrderKey
	}
	return runnel.OrderNone
}

// Close gives back what the source holds.
func (s *source) Close(context.Context) error {
	s.once.Do(func() {
		close(s.done)
		q := s.q
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, l := range q.leases {
			if l.owner == s && l.state == leased {
				q.release(l, 0, 0)
			}
		}
	})
	return nil
}

// Sink opens the queue for sending.
func (q *Queue) Sink() runnel.Sink { return &sink{q} }

type sink struct{ q *Queue }

func (s *sink) Send(_ context.Context, ms []runnel.Message) error {
	if s.q.groups != nil {
		return s.q.sendOrdered(ms, make([]Sent, len(ms)))
	}
	return s.q.send(ms, nil)
}

func (s *sink) Limits() runnel.SendLimits {
	settings, _ := s.q.Settings()
	return runnel.SendLimits{MessageBytes: settings.MaxMessageBytes}
}

func (s *sink) Close(context.Context) error { return nil }
