package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
// flight or delayed when it comes by. On a FIFO queue all of the group behind
// such a message stays too, so that nothing overtakes it; a task that goes on in
// the next process begins with the first message again.
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
	// ErrMoveKind refuses to move between a FIFO and a standard queue.
	ErrMoveKind = errors.New("the source and the destination are not of the same kind: one is a FIFO queue")
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
	maxActiveMoves = 100 // of an account. (SQS)
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

// store stores a task of a queue, unless the queue is gone. Caller holds mu.
func (ts *moveTasks) store(q *Queue, t *moveTask) error {
	var b store.Batch
	if err := t.put(&b); err != nil {
		return err
	}
	q.set.drops.RLock()
	if q.dropped.Load() {
		q.set.drops.RUnlock()
		return nil
	}
	q.set.store.Enqueue(&b, nil)
	q.set.drops.RUnlock()
	if err := b.Wait(); err != nil {
		return unavailable("store the move task", err)
	}
	return nil
}

// forget ends the work for a queue that was dropped, with what is stored of it.
func (ts *moveTasks) forget(q *Queue) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.active(q.id); t != nil && t.Status == MoveRunning {
		t.Status = MoveCancelling
		close(t.cancel)
	}
	delete(ts.of, q.id)
}

// open reads the tasks and goes on with those that were running.
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
		if queues[id] == nil { // an earlier release kept them until now
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
		to, err := s.Queue(Name{Account: source.Account, Queue: destination})
		if err != nil {
			return MoveTask{}, err
		}
		if to.name.FIFO() != source.FIFO() {
			return MoveTask{}, ErrMoveKind
		}
	}
	all := s.List(source.Account, "", "", 0)
	if !slices.ContainsFunc(all, func(other *Queue) bool {
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
	count := 0
	for _, other := range all {
		if ts.active(other.id) != nil {
			count++
		}
	}
	ts.mu.Unlock()
	switch {
	case closed:
		return MoveTask{}, runnel.ErrClosed
	case active != nil:
		return MoveTask{}, ErrMoveActive
	case count >= maxActiveMoves:
		return MoveTask{}, runnel.Errorf(runnel.CodeLimit, "%d move tasks of the account are active: cancel one, or wait for its end", count)
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
			if err := ts.store(q, t); err != nil {
				t.Status = MoveRunning
				return MoveTask{}, err
			}
			close(t.cancel)
			return t.MoveTask, nil
		}
	}
	return MoveTask{}, ErrNoMove
}
