package queue

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// Options configure a Set. The zero value is the default.
type Options struct {
	// Log gets one line per event that an operator must know of. Default:
	// slog.Default.
	Log *slog.Logger
	// Now is the wall clock: sent times, retention, and the due times that
	// marks keep for the next process. Default time.Now.
	Now func() time.Time
	// Seed makes what chance decides in a queue the same each time, for tests.
	// 0: it is different each time.
	Seed uint64
}

// Set is all queues of a store.
type Set struct {
	store  *store.Store
	opt    Options
	limits limits
	start  time.Time // with a monotonic reading: the zero of mono

	cached atomic.Int64 // bytes in the windows of all queues

	tasks moveTasks

	admin sync.Mutex // held while a queue is made, changed or deleted: one at a time

	// drops is read-held from a look at Queue.dropped until the append that
	// follows from it is enqueued, and held while a queue becomes dropped and
	// its end is enqueued; by DeleteEmpty for one commit before that. So nothing is acknowledged that was appended to a
	// deleted queue, and no message leaves its queue for one. It is taken before
	// any Queue.mu.
	drops sync.RWMutex

	mu     sync.RWMutex // guards all below; the last lock to be taken
	queues map[Name]*Queue
	nextID uint64
	closed bool
}

// spaceQueue is the key space of queue settings: a document by queue id, and
// under id 0 the next id.
const spaceQueue store.Space = 'q'

// document is a queue's settings as they are stored, in JSON.
type document struct {
	ID       uint64    `json:"id"`
	Name     Name      `json:"name"`
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`
	Settings Settings  `json:"settings"`
}

func (d document) put(b *store.Batch) error {
	v, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode the settings of queue %s: %w", d.Name, err)
	}
	b.Set(spaceQueue, idKey(d.ID), v)
	return nil
}

func idKey(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

// Open reads the queues of a store: their settings, and the marks of what is
// in flight, delayed or returned. Waiting messages are not read.
func Open(s *store.Store, opt Options) (*Set, error) {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	set := &Set{store: s, opt: opt, limits: defaultLimits, start: time.Now(), queues: make(map[Name]*Queue), nextID: 1}
	var docs []document
	var damaged error
	err := s.Scan(spaceQueue, nil, func(key, value []byte) bool {
		if binary.BigEndian.Uint64(key) == 0 {
			set.nextID = binary.BigEndian.Uint64(value)
			return true
		}
		var d document
		if damaged = json.Unmarshal(value, &d); damaged != nil {
			return false
		}
		docs = append(docs, d)
		return true
	})
	if err := errors.Join(err, damaged); err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	for _, d := range docs {
		q, err := set.newQueue(d)
		if err != nil {
			return nil, err
		}
		set.queues[d.Name] = q
	}
	if err := set.tasks.open(set); err != nil {
		return nil, err
	}
	return set, nil
}

func (s *Set) newQueue(d document) (*Queue, error) {
	series, err := s.store.Series(d.ID)
	if err != nil {
		return nil, fmt.Errorf("open queue %s: %w", d.Name, err)
	}
	q := &Queue{
		set: s, id: d.ID, name: d.Name, created: d.Created, series: series,
		settings: d.Settings, modified: d.Modified,
	}
	if d.Settings.FIFO != nil {
		q.groups = newGroups()
		q.dedup.init(s, series.Next() == 0)
	}
	q.mu.Lock() // its timer may fire at once
	defer q.mu.Unlock()
	if err := q.load(); err != nil {
		return nil, fmt.Errorf("open queue %s: %w", d.Name, err)
	}
	return q, nil
}

// mono is nanoseconds since the set was opened, by the monotonic clock.
func (s *Set) mono() int64 { return int64(time.Since(s.start)) }

// Create makes a queue. If there is one of that name it is returned, with
// created false: it is the caller's to say whether that is what was meant.
func (s *Set) Create(name Name, settings Settings) (q *Queue, created bool, err error) {
	if err := name.Validate(); err != nil {
		return nil, false, err
	}
	if err := settings.Validate(); err != nil {
		return nil, false, err
	}
	if err := name.fits(settings); err != nil {
		return nil, false, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	s.mu.RLock()
	q, id, closed := s.queues[name], s.nextID, s.closed
	s.mu.RUnlock()
	if q != nil {
		return q, false, nil
	}
	if closed {
		return nil, false, runnel.ErrClosed
	}
	now := s.opt.Now()
	d := document{ID: id, Name: name, Created: now, Modified: now, Settings: settings}
	var b store.Batch
	b.Set(spaceQueue, idKey(0), idKey(d.ID+1))
	if err := d.put(&b); err != nil {
		return nil, false, err
	}
	if err := s.store.Commit(&b); err != nil {
		return nil, false, unavailable("create the queue", err)
	}
	if q, err = s.newQueue(d); err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	s.queues[name] = q
	return q, true, nil
}

// Queue returns the queue of this name, or CodeNotFound.
func (s *Set) Queue(name Name) (*Queue, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q, ok := s.queues[name]; ok {
		return q, nil
	}
	return nil, runnel.Errorf(runnel.CodeNotFound, "there is no queue %s", name)
}

// List returns the queues of an account whose names begin with prefix, by
// name, starting behind after; at most most of them, all if most is 0.
func (s *Set) List(account, prefix, after string, most int) []*Queue {
	var qs []*Queue
	for _, q := range s.all() {
		if n := q.name; n.Account == account && strings.HasPrefix(n.Queue, prefix) && n.Queue > after {
			qs = append(qs, q)
		}
	}
	if most > 0 && len(qs) > most {
		qs = qs[:most]
	}
	return qs
}

// all returns every queue, by name.
func (s *Set) all() []*Queue {
	s.mu.RLock()
	qs := make([]*Queue, 0, len(s.queues))
	for _, q := range s.queues {
		qs = append(qs, q)
	}
	s.mu.RUnlock()
	sort.Slice(qs, func(i, j int) bool {
		a, b := qs[i].name, qs[j].name
		return a.Account < b.Account || a.Account == b.Account && a.Queue < b.Queue
	})
	return qs
}

// Delete removes a queue and its messages. Receives that wait end with
// CodeNotFound.
func (s *Set) Delete(name Name) error {
	return s.drop(name, func(*Queue) error { return nil })
}

// drop removes a queue unless may, which is called while nothing can be
// appended to any queue, refuses.
func (s *Set) drop(name Name, may func(*Queue) error) error {
	s.admin.Lock()
	defer s.admin.Unlock()
	q, err := s.Queue(name)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Drop(q.series)
	b.Delete(spaceQueue, idKey(q.id))
	if q.groups != nil {
		b.DeleteRange(spaceDedup, idKey(q.id), idKey(q.id+1))
	}
	b.DeleteRange(spaceMoveTasks, idKey(q.id), idKey(q.id+1))
	s.drops.Lock()
	if err := may(q); err != nil {
		s.drops.Unlock()
		return err
	}
	q.dropped.Store(true)
	q.mu.Lock()
	q.end(errDeleted(name))
	s.store.Enqueue(&b, nil)
	q.mu.Unlock()
	s.drops.Unlock()
	if err := b.Wait(); err != nil {
		return unavailable("delete the queue", err)
	}
	q.mu.Lock()
	q.window.clear(s)
	q.clearLines()
	q.mu.Unlock()
	s.tasks.forget(q)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, name)
	return nil
}

// Stats returns the figures of every queue.
func (s *Set) Stats() []Stats {
	qs := s.all()
	out := make([]Stats, len(qs))
	for i, q := range qs {
		out[i] = q.Stats()
	}
	return out
}

// Close ends every receive with runnel.ErrClosed and stores where each queue
// begins, for a quick restart. The store stays open.
func (s *Set) Close(context.Context) error {
	s.tasks.close()
	s.admin.Lock() // no queue is made meanwhile, and a second Close waits
	defer s.admin.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	last := new(store.Batch)
	for _, q := range s.all() {
		b := new(store.Batch)
		q.mu.Lock()
		q.low(b, true)
		q.end(runnel.ErrClosed)
		s.store.Go(b, nil) // under mu: marks must not come after removals
		q.mu.Unlock()
	}
	last.InOrder()
	return s.store.Commit(last)
}
