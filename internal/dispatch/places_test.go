package dispatch_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// fifo is a source in memory that keeps order by lane, the key of a message:
// while one of a lane is out, or in a back-off, no other of it is given. It
// leases, does not renew (see leasing), and knows no transactions.
type fifo struct {
	uncounted bool          // it does not count failures
	loose     bool          // it keeps no order after all
	lease     time.Duration // 0: what it gives is the caller's until settled

	mu       sync.Mutex // guards all below
	messages []*held
	sent     int64
	changed  chan struct{} // closed, and made anew, when something changed
	closed   bool
	handles  int
}

type held struct {
	runnel.Message
	position int64
	handle   int // of the delivery under way; 0: none
	until    time.Time
	due      time.Time // not before, and nothing else of its lane either
	failures int
	receives int
}

func newFIFO() *fifo { return &fifo{changed: make(chan struct{})} }

func (s *fifo) send(ms ...runnel.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range ms {
		s.sent++
		s.messages = append(s.messages, &held{Message: m, position: s.sent})
	}
	s.change()
}

func (s *fifo) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fifo) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// lose takes a message away from who has it.
func (s *fifo) lose(id runnel.MessageID, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		if m.ID == id {
			m.handle, m.due = 0, due
		}
	}
	s.change()
}

// remove takes messages out, whoever has them.
func (s *fifo) remove(id runnel.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m *held) bool { return m.ID == id })
}

func (s *fifo) Receive(ctx context.Context, lim runnel.Limits) ([]runnel.Delivery, error) {
	end := time.Now().Add(lim.Wait)
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, runnel.ErrClosed
		}
		ds, next := s.pick(lim.Messages)
		changed := s.changed
		s.mu.Unlock()
		if len(ds) > 0 || ctx.Err() != nil {
			return ds, context.Cause(ctx)
		}
		if next.IsZero() || next.After(end) {
			next = end
		}
		if !time.Now().Before(end) {
			return nil, nil
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		case <-t.C:
		case <-changed:
			t.Stop()
		}
	}
}

// pick takes up to n messages, and says when to look again.
func (s *fifo) pick(n int) (ds []runnel.Delivery, next time.Time) {
	now := time.Now()
	locked := map[string]bool{}
	later := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for _, m := range s.messages {
		if m.handle != 0 && s.lease > 0 && !now.Before(m.until) {
			m.handle = 0
		}
		if m.Key != "" && locked[m.Key] && !s.loose {
			continue
		}
		if m.handle != 0 || now.Before(m.due) {
			locked[m.Key] = true
			if m.handle == 0 {
				later(m.due)
			} else if s.lease > 0 {
				later(m.until)
			}
			continue
		}
		locked[m.Key] = true
		if len(ds) == n {
			break
		}
		s.handles++
		m.handle = s.handles
		m.receives++
		d := runnel.Delivery{Message: m.Message, Lane: runnel.Lane(m.Key), Position: m.position, Receives: m.receives, Handle: m.handle}
		if !s.uncounted {
			d.Attempt = m.failures + 1
		}
		if s.lease > 0 {
			m.until = now.Add(s.lease)
			d.LeaseUntil = m.until
		}
		ds = append(ds, d)
	}
	return ds, next
}

// find returns the place of the message that a delivery is of, if it is still
// the caller's.
func (s *fifo) find(d *runnel.Delivery) (int, bool) {
	for i, m := range s.messages {
		if m.ID == d.ID {
			return i, m.handle == d.Handle.(int) && (s.lease == 0 || time.Now().Before(m.until))
		}
	}
	return 0, false
}

func (s *fifo) Settle(ctx context.Context, ss []runnel.Settlement) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := map[int]error{}
	for n := range ss {
		i, ok := s.find(ss[n].Delivery)
		if !ok {
			failed[n] = runnel.ErrLeaseLost
			continue
		}
		m := s.messages[i]
		switch ss[n].Verdict {
		case runnel.Ack:
			s.messages = append(s.messages[:i], s.messages[i+1:]...)
			continue
		case runnel.Retry:
			m.failures++
		case runnel.Release:
		case runnel.GiveUp:
			failed[n] = runnel.Errorf(runnel.CodeUnsupported, "there is no place for dead letters")
			continue
		}
		m.handle, m.due = 0, time.Now().Add(ss[n].After)
	}
	s.change()
	if len(failed) > 0 {
		return &runnel.SettleError{Failed: failed}
	}
	return nil
}

func (s *fifo) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.change()
	return nil
}

// leasing is a fifo whose leases can be made longer.
type leasing struct{ *fifo }

func (s leasing) Extend(_ context.Context, ds []*runnel.Delivery, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := map[int]error{}
	for n := range ds {
		i, ok := s.find(ds[n])
		if !ok {
			failed[n] = runnel.ErrLeaseLost
			continue
		}
		s.messages[i].until = time.Now().Add(d)
		ds[n].LeaseUntil = s.messages[i].until
	}
	if len(failed) > 0 {
		return &runnel.SettleError{Failed: failed}
	}
	return nil
}

// box is a sink in memory.
type box struct {
	limits runnel.SendLimits
	// refuse says why a message is not stored; nil: all are.
	refuse func(m *runnel.Message) error

	mu       sync.Mutex // guards all below
	down     error      // nothing is stored
	messages []runnel.Message
	sends    []int // how many messages each had
}

func (b *box) Send(_ context.Context, ms []runnel.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return b.down
	}
	b.sends = append(b.sends, len(ms))
	failed := map[int]error{}
	for i := range ms {
		if b.refuse != nil {
			if err := b.refuse(&ms[i]); err != nil {
				failed[i] = err
				continue
			}
		}
		b.messages = append(b.messages, ms[i])
	}
	if len(failed) > 0 {
		return &runnel.SendError{Failed: failed}
	}
	return nil
}

func (b *box) Limits() runnel.SendLimits { return b.limits }

func (b *box) Close(context.Context) error { return nil }

func (b *box) setDown(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

func (b *box) all() []runnel.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]runnel.Message(nil), b.messages...)
}
