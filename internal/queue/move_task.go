package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// MoveTask moves the messages of a dead-letter queue elsewhere, in the
// background. It is a document in the store: a task that runs when the process
// ends goes on in the next one.
//
//	StartMove --> [running] --> the end of the queue ----> [completed]
//	                  |    \--> what cannot be moved ----> [failed]
//	             CancelMove
//	                  v
//	             [cancelling] --> between two messages --> [cancelled]
//
// It goes once through what was in the queue when it started, in its order,
// each message in a commit of its own (see Set.Move), and passes over what is in
// flight or delayed when it comes by.
type MoveTask struct {
	ID string `json:"id"`
	// Destination is a queue of the same account; empty: each message goes to
	// the queue that it came from.
	Destination string `json:"destination,omitempty"`
	// Rate is how many messages a second are moved at most; 0: no limit.
	Rate    int        `json:"rate,omitempty"`
	Status  MoveStatus `json:"status"`
	Started time.Time  `json:"started"`
	// ToMove is how many messages were visible when it started.
	ToMove int64 `json:"to_move"`
	// Moved is how many were moved. After a crash it may lack those of the last
	// second.
	Moved int64 `json:"moved"`
	// Failure says why a task has failed.
	Failure string `json:"failure,omitempty"`
	// End is the position behind the last message that is to be moved.
	End uint64 `json:"end"`
}

// MoveStatus is the state of a MoveTask.
type MoveStatus string

// The states, in the words of Amazon SQS.
const (
	MoveRunning    MoveStatus = "RUNNING"
	MoveCancelling MoveStatus = "CANCELLING"
	MoveCompleted  MoveStatus = "COMPLETED"
	MoveCancelled  MoveStatus = "CANCELLED"
	MoveFailed     MoveStatus = "FAILED"
)

// Errors of StartMove and CancelMove.
var (
	// ErrNoDeadLetterQueue refuses a source that no queue has named as its
	// dead-letter queue.
	ErrNoDeadLetterQueue = errors.New("the source is no queue's dead-letter queue")
	// ErrMoveActive refuses a second task of a source.
	ErrMoveActive = errors.New("a move task of the source is active already")
	// ErrMoveEnded refuses to cancel a task that runs no more.
	ErrMoveEnded = errors.New("the move task is not active")
	// ErrNoMove is returned for a task that there is not.
	ErrNoMove = errors.New("there is no such move task")
)

// The two reasons for which a task fails though all is well with the server.
const (
	failureNoSource = "CouldNotDetermineMessageSource"
	failureNoQueue  = "AWS.SimpleQueueService.NonExistentQueue"
)

const (
	maxMoveTasks   = 10  // kept for each source. (SQS)
	movePage       = 256 // positions that are read at once
	movePending    = 64  // commits that are waited for at once
	moveSaveEvery  = time.Second
	spaceMoveTasks = store.Space('v') // by queue id and start
)

// moveTasks are the tasks of a Set.
type moveTasks struct {
	stop    chan struct{}  // closed by close
	running sync.WaitGroup // of run

	mu     sync.Mutex             // guards all below, and the MoveTask of every task
	of     map[uint64][]*moveTask // by the id of the source, the oldest first
	closed bool
}

type moveTask struct {
	MoveTask
	key    []byte        // in the store
	cancel chan struct{} // closed when the status becomes cancelling
}

func (t *moveTask) put(b *store.Batch) error {
	v, err := json.Marshal(t.MoveTask)
	if err != nil {
		return fmt.Errorf("encode a move task: %w", err)
	}
	b.Set(spaceMoveTasks, t.key, v)
	return nil
}

// open reads the tasks, forgets those of queues that are gone, and goes on with
// those that were running.
func (ts *moveTasks) open(s *Set) error {
	ts.stop = make(chan struct{})
	ts.of = make(map[uint64][]*moveTask)
	queues := make(map[uint64]*Queue)
	for _, q := range s.all() {
		queues[q.id] = q
	}
	var b store.Batch
	var fault error
	err := s.store.Scan(spaceMoveTasks, nil, func(key, value []byte) bool {
		t := &moveTask{key: slices.Clone(key), cancel: make(chan struct{})}
		id := binary.BigEndian.Uint64(key)
		if queues[id] == nil {
			b.Delete(spaceMoveTasks, t.key)
			return true
		}
		if fault = json.Unmarshal(value, &t.MoveTask); fault != nil {
			return false
		}
		if t.Status == MoveCancelling {
			t.Status = MoveCancelled
			fault = t.put(&b)
		}
		ts.of[id] = append(ts.of[id], t)
		return fault == nil
	})
	if err = errors.Join(err, fault); err != nil {
		return fmt.Errorf("read move tasks: %w", err)
	}
	if b.Len() > 0 {
		if err := s.store.Commit(&b); err != nil {
			return unavailable("store the move tasks", err)
		}
	}
	for id, list := range ts.of {
		for _, t := range list {
			if t.Status == MoveRunning {
				ts.running.Go(func() { s.runMove(queues[id], t) })
			}
		}
	}
	return nil
}

// close ends the work of all tasks, which stay running in the store.
func (ts *moveTasks) close() {
	ts.mu.Lock()
	if !ts.closed {
		ts.closed = true
		close(ts.stop)
	}
	ts.mu.Unlock()
	ts.running.Wait()
}

// active returns the task of a source that is not at its end, or nil. Caller
// holds mu.
func (ts *moveTasks) active(id uint64) *moveTask {
	for _, t := range ts.of[id] {
		if t.Status == MoveRunning || t.Status == MoveCancelling {
			return t
		}
	}
	return nil
}

// StartMove starts a task, which is in the store when it returns. destination
// is a queue of the same account, or empty; rate is messages a second, or 0.
func (s *Set) StartMove(source Name, destination string, rate int) (MoveTask, error) {
	s.admin.Lock() // no queue is deleted meanwhile, no other task started
	defer s.admin.Unlock()
	q, err := s.Queue(source)
	if err != nil {
		return MoveTask{}, err
	}
	if destination != "" {
		if _, err := s.Queue(Name{Account: source.Account, Queue: destination}); err != nil {
			return MoveTask{}, err
		}
	}
	if !slices.ContainsFunc(s.List(source.Account, "", "", 0), func(other *Queue) bool {
		settings, _ := other.Settings()
		return settings.DeadLetter != nil && settings.DeadLetter.Queue == source.Queue
	}) {
		return MoveTask{}, ErrNoDeadLetterQueue
	}

	t := &moveTask{cancel: make(chan struct{}), MoveTask: MoveTask{
		ID: uuid.NewString(), Destination: destination, Rate: rate, Status: MoveRunning, Started: s.opt.Now(),
	}}
	t.ToMove = q.Depth().Visible
	q.mu.Lock()
	t.End = q.tail
	q.mu.Unlock()

	ts := &s.tasks
	ts.mu.Lock()
	list, active, closed := slices.Clone(ts.of[q.id]), ts.active(q.id), ts.closed
	ts.mu.Unlock()
	if closed {
		return MoveTask{}, runnel.ErrClosed
	}
	if active != nil {
		return MoveTask{}, ErrMoveActive
	}
	at := uint64(t.Started.UnixNano())
	if n := len(list); n > 0 { // whatever the clock says, it is the last
		at = max(at, binary.BigEndian.Uint64(list[n-1].key[8:])+1)
	}
	t.key = binary.BigEndian.AppendUint64(idKey(q.id), at)
	var b store.Batch
	list = append(list, t)
	for len(list) > maxMoveTasks {
		b.Delete(spaceMoveTasks, list[0].key)
		list = list[1:]
	}
	if err := t.put(&b); err != nil {
		return MoveTask{}, err
	}
	if err := s.store.Commit(&b); err != nil {
		return MoveTask{}, unavailable("start the move task", err)
	}

	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.of[q.id] = list
	if !ts.closed { // or else the next process begins it
		ts.running.Go(func() { s.runMove(q, t) })
	}
	return t.MoveTask, nil
}

// MoveTasks returns the last tasks of a source, at most 10, the newest first.
func (s *Set) MoveTasks(source Name) ([]MoveTask, error) {
	q, err := s.Queue(source)
	if err != nil {
		return nil, err
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	var out []MoveTask
	for _, t := range slices.Backward(s.tasks.of[q.id]) {
		out = append(out, t.MoveTask)
	}
	return out, nil
}

// CancelMove ends a task between two messages. It returns before that, with
// the task as it is.
func (s *Set) CancelMove(source Name, id string) (MoveTask, error) {
	q, err := s.Queue(source)
	if err != nil {
		return MoveTask{}, ErrNoMove
	}
	ts := &s.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.of[q.id] {
		switch {
		case t.ID != id:
		case t.Status != MoveRunning:
			return MoveTask{}, ErrMoveEnded
		default:
			t.Status = MoveCancelling
			var b store.Batch
			if err := t.put(&b); err != nil {
				return MoveTask{}, err
			}
			if err := s.store.Commit(&b); err != nil {
				t.Status = MoveRunning
				return MoveTask{}, unavailable("cancel the move task", err)
			}
			close(t.cancel)
			return t.MoveTask, nil
		}
	}
	return MoveTask{}, ErrNoMove
}

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
}

// candidate is a message that may be moved.
type candidate struct {
	n      uint64
	source string // of its dead letter
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
		c := candidate{n: n}
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

// pace waits until a message may be moved, or says that the work is over.
func (m *mover) pace(next *time.Time) error {
	select { // what ends the work comes first
	case <-m.set.tasks.stop:
		return errMoveStopped
	case <-m.task.cancel:
		return errMoveCancelled
	default:
	}
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

// move begins to move a message, if it is visible.
func (m *mover) move(c candidate) error {
	m.q.mu.Lock()
	_, err := m.q.find(c.n)
	m.q.mu.Unlock()
	if runnel.CodeOf(err) == runnel.CodeConflict {
		return nil // in flight or delayed: where it came from does not matter
	}
	name := m.task.Destination
	if name == "" {
		from, ok := strings.CutPrefix(c.source, "queue:")
		if !ok {
			return moveFailure(failureNoSource)
		}
		name = from
	}
	to, err := m.set.Queue(Name{Account: m.q.name.Account, Queue: name})
	if err != nil && m.task.Destination == "" {
		return moveFailure(failureNoSource)
	} else if err != nil {
		return moveFailure(failureNoQueue)
	}
	b, err := m.q.enqueueMove(c.n, to)
	switch code := runnel.CodeOf(err); {
	case err == nil:
		m.pending = append(m.pending, b)
	case m.q.dropped.Load() || to.dropped.Load():
		return moveFailure(failureNoQueue)
	case code == runnel.CodeNotFound || code == runnel.CodeConflict: // somebody has it
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
// The tasks of a queue that is gone are forgotten instead.
func (m *mover) save(status MoveStatus, failure string) error {
	ts := &m.set.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	m.saved = time.Now()
	if status != "" {
		m.task.Status, m.task.Failure = status, failure
	}
	var b store.Batch
	if m.q.dropped.Load() {
		for _, t := range ts.of[m.q.id] {
			b.Delete(spaceMoveTasks, t.key)
		}
		delete(ts.of, m.q.id)
	} else if err := m.task.put(&b); err != nil {
		return err
	}
	if b.Empty() {
		return nil
	}
	if err := m.set.store.Commit(&b); err != nil {
		return unavailable("store the move task", err)
	}
	return nil
}

// firstNumber returns a number below which the queue has no message.
func (q *Queue) firstNumber() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := q.cursor
	if it := q.window.first(); it != nil {
		first = it.n
	}
	if q.refilling != nil {
		first = min(first, q.refilling.from)
	}
	for _, l := range q.leases {
		first = min(first, l.n)
	}
	return max(first, q.trimmed)
}
