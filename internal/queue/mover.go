package queue

import (
	"errors"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// The ways in which the work of a task ends before the end of its queue.
var (
	errMoveStopped   = errors.New("the process ends")
	errMoveCancelled = errors.New("cancelled")
)

// moveFailure ends a task as failed, with this reason.
type moveFailure string

func (f moveFailure) Error() string { return string(f) }

// runMove does the work of a task and stores how it ended.
func (s *Set) runMove(q *Queue, t *moveTask) {
	m := mover{set: s, q: q, task: t, saved: time.Now()}
	err := errors.Join(m.all(), m.wait(0))
	var reason moveFailure
	status, failure := MoveCompleted, ""
	switch {
	case errors.Is(err, errMoveStopped), errors.Is(err, runnel.ErrClosed):
		status = "" // as it is: the next process goes on
	case errors.As(err, &reason):
		status, failure = MoveFailed, string(reason)
	case errors.Is(err, errMoveCancelled):
		status = MoveCancelled
	case err != nil:
		status, failure = MoveFailed, "InternalError"
		s.opt.Log.Error("move task failed", "queue", q.name.String(), "task", t.ID, "err", err)
	}
	if err := m.save(status, failure); err != nil {
		s.opt.Log.Error("the state of a move task is not stored", "queue", q.name.String(), "task", t.ID, "err", err)
	}
}

// mover does the work of a task. One goroutine owns it.
type mover struct {
	set     *Set
	q       *Queue
	task    *moveTask
	pending []*store.Batch // moves that are not yet durable, in their order
	saved   time.Time      // when the task was stored last
	// held are the groups of a FIFO queue of which a message stays, and so all
	// behind it. At most as many as messages are in flight and delayed.
	held map[groupKey]struct{}
}

// candidate is a message that may be moved.
type candidate struct {
	n      uint64
	source string   // of its dead letter
	group  groupKey // on a FIFO queue
}

// all moves every message. Those that are not durable yet are left in pending.
func (m *mover) all() error {
	var next time.Time // when the next message may be moved
	for from := m.q.firstNumber(); ; {
		page, err := m.page(from)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			if err := m.over(); err != nil {
				return err
			}
			if m.passesOver(c) {
				continue
			}
			if err := m.pace(&next); err != nil {
				return err
			}
			if err := m.move(c); err != nil {
				return err
			}
		}
		from = page[len(page)-1].n + 1
	}
}

// page reads which messages are next.
func (m *mover) page(from uint64) (page []candidate, err error) {
	var damaged error
	err = m.q.series.Records(from, m.task.End, func(n uint64, record []byte) bool {
		var msg runnel.Message
		if damaged = decodeRecord(record, &msg); damaged != nil {
			return false
		}
		c := candidate{n: n, group: m.q.groupFor(&msg)}
		if msg.DeadLetter != nil {
			c.source = msg.DeadLetter.Source
		}
		page = append(page, c)
		return len(page) < movePage
	})
	if err = errors.Join(err, damaged); err != nil {
		return nil, unavailable("read the dead letters", err)
	}
	return page, nil
}

// over says why the work ends before its time, if it does.
func (m *mover) over() error {
	select {
	case <-m.set.tasks.stop:
		return errMoveStopped
	case <-m.task.cancel:
		return errMoveCancelled
	default:
		return nil
	}
}

// passesOver says whether a message stays. Where it came from does not matter
// then. On a FIFO queue all of its group behind it stays too, whatever becomes
// of it meanwhile: nothing overtakes it.
func (m *mover) passesOver(c candidate) bool {
	if _, ok := m.held[c.group]; ok {
		return true
	}
	m.q.mu.Lock()
	busy := m.q.busy(c.n, c.group)
	m.q.mu.Unlock()
	if busy {
		m.hold(c)
	}
	return busy
}

// hold keeps what is behind a message that stays.
func (m *mover) hold(c candidate) {
	if m.q.groups == nil {
		return
	}
	if m.held == nil {
		m.held = make(map[groupKey]struct{})
	}
	m.held[c.group] = struct{}{}
}

// pace waits until a message may be moved, or says that the work is over.
func (m *mover) pace(next *time.Time) error {
	if m.task.Rate == 0 {
		return nil
	}
	now := time.Now()
	if next.Before(now) { // no burst for time that was lost
		*next = now
	}
	turn := time.NewTimer(next.Sub(now))
	defer turn.Stop()
	*next = next.Add(time.Second / time.Duration(m.task.Rate))
	select {
	case <-m.set.tasks.stop:
		return errMoveStopped
	case <-m.task.cancel:
		return errMoveCancelled
	case <-turn.C:
		return nil
	}
}

// move begins to move a message, if it is still there and visible.
func (m *mover) move(c candidate) error {
	name := m.task.Destination
	if name == "" {
		from, ok := strings.CutPrefix(c.source, "queue:")
		if !ok {
			return moveFailure(failureNoSource)
		}
		name = from
	}
	to, err := m.set.Queue(Name{Account: m.q.name.Account, Queue: name})
	switch {
	case m.task.Destination == "" && (err != nil || to.name.FIFO() != m.q.name.FIFO()):
		return moveFailure(failureNoSource)
	case err != nil:
		return moveFailure(failureNoQueue)
	}
	b, err := m.q.enqueueMove(c.n, to, moving{inTurn: true})
	switch code := runnel.CodeOf(err); {
	case err == nil:
		m.pending = append(m.pending, b)
	case m.q.dropped.Load() || to.dropped.Load():
		return moveFailure(failureNoQueue)
	case code == runnel.CodeNotFound: // somebody had it
	case code == runnel.CodeConflict: // somebody has it
		m.hold(c)
	default:
		return err
	}
	most := movePending
	if m.task.Rate > 0 {
		most = 0
	}
	if err := m.wait(most); err != nil {
		return err
	}
	if time.Since(m.saved) >= moveSaveEvery {
		return m.save("", "")
	}
	return nil
}

// wait waits for moves to be durable until at most this many are not.
func (m *mover) wait(most int) error {
	for len(m.pending) > most {
		b := m.pending[0]
		m.pending = m.pending[1:]
		if err := b.Wait(); err != nil {
			return unavailable("move a dead letter", err)
		}
		m.set.tasks.mu.Lock()
		m.task.Moved++
		m.set.tasks.mu.Unlock()
	}
	return nil
}

// save stores how far the task is, and its new status unless that is empty.
func (m *mover) save(status MoveStatus, failure string) error {
	ts := &m.set.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	m.saved = time.Now()
	if status != "" {
		m.task.Status, m.task.Failure = status, failure
	}
	return ts.store(m.q, m.task)
}

// firstNumber returns a number below which the queue has no message.
func (q *Queue) firstNumber() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.waitsFrom()
	if q.refilling != nil {
		first = min(first, q.refilling.from)
	}
	for _, l := range q.leases {
		first = min(first, l.n)
	}
	return max(first, q.trimmed)
}
