package queue

import (
	"context"
	"errors"
	"sync"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// stager is a sink that lives in a store: its writes can be part of a commit
// that also settles. Task records and pipeline journals are such sinks too.
type stager interface {
	Store() *store.Store
	// Stage adds the messages to b and returns whom to tell after the commit,
	// in the order of commits. A *runnel.SendError names the messages that were
	// refused; the others are staged. On any other error nobody is to be told.
	Stage(b *store.Batch, ms []runnel.Message) (committer, error)
}

// committer is told what became of the commit that it is part of.
type committer = interface{ Committed(error) }

func (s *sink) Store() *store.Store { return s.q.set.store }

func (s *sink) Stage(b *store.Batch, ms []runnel.Message) (committer, error) {
	staged, err := s.q.stage(b, ms, nil)
	if staged == nil {
		return nil, err
	}
	return staged, err
}

// txn is settlements and sends that become one commit. Most are of a message
// or two: there is room for these in the txn itself.
type txn struct {
	source  *source
	batch   store.Batch
	settles []settling
	staged  []committer
	queues  []*Queue // that are sent to: none may be deleted before the commit
	ended   bool
	ordered []orderedSends // to FIFO queues: added to batch by Commit

	over sync.WaitGroup // waits for told
	err  error          // of the commit, set by told

	settlesRoom [2]settling
	stagedRoom  [2]committer
	queuesRoom  [2]*Queue
}

// settling is a settlement, and during the commit its lease.
type settling struct {
	runnel.Settlement
	lease *lease
}

var errTxnEnded = errors.New("the transaction has ended")

func newTxn(s *source) *txn {
	t := &txn{source: s}
	t.settles, t.staged, t.queues = t.settlesRoom[:0], t.stagedRoom[:0], t.queuesRoom[:0]
	return t
}

func (t *txn) Settle(ss []runnel.Settlement) error {
	if t.ended {
		return errTxnEnded
	}
	var failed failures
	q := t.source.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range ss {
		if ss[i].Verdict == runnel.GiveUp {
			failed.add(i, runnel.Errorf(runnel.CodeUnsupported, "in a transaction, send the dead letter and ack the message"))
			continue
		}
		if _, err := q.held(ss[i].Delivery, t.source); err != nil {
			failed.add(i, err)
			continue
		}
		t.settles = append(t.settles, settling{Settlement: ss[i]})
	}
	return failed.err()
}

func (t *txn) Send(to runnel.Sink, ms []runnel.Message) error {
	if t.ended {
		return errTxnEnded
	}
	if !t.source.Joins(to) {
		return runnel.Errorf(runnel.CodeUnsupported, "the sink does not live in the same store")
	}
	if s, ok := to.(*sink); ok && s.q.groups != nil {
		return t.sendOrdered(s.q, ms)
	}
	staged, err := to.(stager).Stage(&t.batch, ms)
	if staged != nil {
		t.staged = append(t.staged, staged)
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
	if err := t.stageOrdered(); err != nil {
		return err
	}
	waits, err := t.enqueue()
	if err != nil || !waits {
		t.abandon()
		return err
	}
	t.over.Wait()
	if t.err != nil {
		return unavailable("commit", t.err)
	}
	return nil
}

// enqueue applies the settlements and hands the batch to the store. It says
// whether there is something to wait for: a Release is not stored.
func (t *txn) enqueue() (waits bool, err error) {
	q := t.source.q
	q.set.drops.RLock()
	defer q.set.drops.RUnlock()
	for _, to := range t.queues {
		if to.dropped.Load() {
			return false, errDeleted(to.name)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := t.look(); err != nil {
		return false, err
	}
	now := q.set.mono()
	for i := range t.settles {
		s := &t.settles[i]
		q.settle(&t.batch, s.lease, &s.Settlement, now)
	}
	if t.batch.Len() == 0 {
		return false, nil
	}
	t.over.Add(1)
	q.set.store.Go(&t.batch, t.told)
	return true, nil
}

// look finds all leases before any is touched: all or nothing. Caller holds
// the mu of the source's queue.
func (t *txn) look() error {
	q := t.source.q
	var failed failures
	for i := range t.settles {
		s := &t.settles[i]
		l, err := q.held(s.Delivery, t.source)
		switch {
		case err != nil:
			failed.add(i, err)
		case l.seen:
			failed.add(i, runnel.Errorf(runnel.CodeInvalid, "the message is settled twice in one transaction"))
		default:
			l.seen, s.lease = true, l
		}
	}
	for i := range t.settles {
		if l := t.settles[i].lease; l != nil {
			l.seen = false
		}
	}
	return failed.err()
}

// told ends the commit: everybody in it is told, then who waits for it.
func (t *txn) told(err error) {
	for _, s := range t.staged {
		s.Committed(err)
	}
	t.err = err
	t.over.Done()
}

func (t *txn) Abort() { t.ended = true }
