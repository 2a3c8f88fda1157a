package store

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// group is the batches of one commit.
type group struct {
	batch   *pebble.Batch
	members []*Batch
	empty   bool      // there is nothing to write; known before it is applied, which may take the data
	series  []*Series // whose headers are part of the commit
	drops   []*Series
	begin   time.Time
}

// Go enqueues a batch and returns. done, if not nil, is called once, after
// the batch is durable or with the reason why it is not; calls come in the
// order of commits, from one goroutine, and must not block. Batches are
// committed in the order in which they were enqueued, except that those which
// only append may overtake the others.
func (s *Store) Go(b *Batch, done func(error)) {
	b.done = done
	s.enqueue(b)
}

// Commit enqueues a batch and waits until it is durable.
func (s *Store) Commit(b *Batch) error {
	s.Enqueue(b, nil)
	return b.Wait()
}

// Enqueue is Go for a caller that also waits, with Wait, after done was
// called. It is for enqueuing under a lock and waiting without it.
func (s *Store) Enqueue(b *Batch, done func(error)) {
	b.wait = make(chan error, 1)
	b.done = done
	s.enqueue(b)
}

// Wait returns when the batch, which was given to Enqueue, is durable.
func (b *Batch) Wait() error { return <-b.wait }

func (s *Store) enqueue(b *Batch) {
	s.mu.Lock()
	if s.closed || s.failed != nil {
		err := s.failed
		s.mu.Unlock()
		if err == nil {
			err = ErrClosed
		}
		// From a goroutine of its own: the caller may hold a lock that done
		// takes.
		go b.tell(err)
		return
	}
	if !b.others {
		s.sends = append(s.sends, b)
	} else {
		s.others = append(s.others, b)
	}
	if n := len(s.sends) + len(s.others); n == 1 || n == worthwhile {
		s.work.Signal()
	}
	s.mu.Unlock()
}

func (b *Batch) tell(err error) {
	if b.done != nil {
		b.done(err)
	}
	if b.wait != nil {
		b.wait <- err
	}
}

// write is the loop of the one goroutine that writes. It owns Series.head of
// all series. A group is what has queued up until the group before was durable,
// or is worthwhile: there is no waiting for more.
func (s *Store) write() {
	defer close(s.groups)
	var g *group
	// Pebble ends this goroutine through its logger when it cannot go on.
	defer func() {
		if g != nil {
			s.groups <- g
		}
		s.refuseRest()
	}()
	for {
		g = s.take()
		if g == nil {
			return
		}
		g.batch = s.db.NewBatchWithSize(64 << 10)
		for _, b := range g.members {
			b.merge(g)
		}
		for _, r := range g.series {
			set(g.batch, r.headerKey(make([]byte, 0, 9)), r.head.append(make([]byte, 0, 32)))
			r.dirty = false
		}
		for _, r := range g.drops {
			must(g.batch.Delete(r.headerKey(nil), nil))
		}
		s.stats.group(g)
		g.empty = g.batch.Empty()
		if !g.empty {
			if err := s.db.ApplyNoSyncWait(g.batch, pebble.Sync); err != nil {
				s.fail(err)
				return
			}
		}
		s.groups <- g
		g = nil
		s.checkRoom()
	}
}

// settle waits for the fsync of each group and tells its members.
func (s *Store) settle() {
	defer close(s.done)
	for g := range s.groups {
		err := s.syncWait(g)
		s.mu.Lock()
		if s.unsynced--; s.unsynced == 0 {
			s.work.Signal()
		}
		s.mu.Unlock()
		for _, b := range g.members {
			b.tell(err)
		}
		if len(g.drops) > 0 && err == nil {
			s.seriesMu.Lock()
			for _, r := range g.drops {
				delete(s.series, r.id)
			}
			s.seriesMu.Unlock()
		}
		s.stats.synced(time.Since(g.begin))
	}
}

func (s *Store) syncWait(g *group) error {
	if err := s.failure(); err != nil {
		return err
	}
	if g.empty {
		return g.batch.Close()
	}
	if err := g.batch.SyncWait(); err != nil {
		s.fail(err)
		return s.failure()
	}
	return g.batch.Close()
}

func (s *Store) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// worthwhile is how many batches are a group by themselves while the group
// before is not durable yet. Fewer wait for that: the disk would not begin with
// them sooner, and until then there may be more, for one group's work.
const worthwhile = 64

// take waits for batches and returns the next group: sends first up to
// CommitBytes, then others up to CommitDeletes. It returns nil when the store
// is closed and all is written, or has failed.
func (s *Store) take() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.failed == nil {
		n := len(s.sends) + len(s.others)
		if n >= worthwhile || n > 0 && s.unsynced == 0 || s.closed {
			break
		}
		s.work.Wait()
	}
	if s.failed != nil || len(s.sends)+len(s.others) == 0 {
		return nil
	}
	s.unsynced++
	g := &group{begin: time.Now()}
	bytes := 0
	i := 0
	for ; i < len(s.sends); i++ {
		b := s.sends[i]
		if i > 0 && bytes+b.bytes > s.opt.CommitBytes {
			break
		}
		bytes += b.bytes
		g.members = append(g.members, b)
	}
	s.sends = pop(s.sends, i)
	keys := 0
	for i = 0; i < len(s.others); i++ {
		b := s.others[i]
		if i > 0 && (keys+b.keys > s.opt.CommitDeletes || bytes+b.bytes > s.opt.CommitBytes) {
			break
		}
		keys += b.keys
		bytes += b.bytes
		g.members = append(g.members, b)
	}
	s.others = pop(s.others, i)
	return g
}

// pop removes the first n batches and lets go of them.
func pop(q []*Batch, n int) []*Batch {
	rest := copy(q, q[n:])
	clear(q[rest:])
	return q[:rest]
}

// refuseRest answers the batches that will not be written.
func (s *Store) refuseRest() {
	s.mu.Lock()
	rest := append(s.sends, s.others...)
	s.sends, s.others = nil, nil
	err := s.failed

	s.mu.Unlock()
	if err == nil {
		err = ErrClosed
	}
	for _, b := range rest {
		b.tell(err)
	}
}
