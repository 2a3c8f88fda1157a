package worker

import (
	"context"
	"sync"
	"time"
)

// holdMost is how long a start counts as one that uses a core. What takes
// longer to load waits for something, or must share.
const holdMost = 2 * time.Second

// Starts bounds the starts of many pools together. Pools take turns, so that
// one which starts many processes, or whose processes never get ready, does not
// keep the others waiting.
type Starts struct {
	mu   sync.Mutex // guards all below
	free int
	// turns has the pools of which a start waits, in the order of their turns;
	// each is there once.
	turns []*Pool
	// waiting are the starts of a pool, first come, first served. A channel is
	// closed when its start may begin.
	waiting map[*Pool][]chan struct{}
}

// NewStarts allows n starts at once.
func NewStarts(n int) *Starts {
	return &Starts{free: n, waiting: make(map[*Pool][]chan struct{})}
}

// enter waits for the turn of a start of p. leave ends it.
func (s *Starts) enter(ctx context.Context, p *Pool) (leave func(), err error) {
	if s == nil {
		return func() {}, nil
	}
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return s.hold(), nil
	}
	turn := make(chan struct{})
	if len(s.waiting[p]) == 0 {
		s.turns = append(s.turns, p)
	}
	s.waiting[p] = append(s.waiting[p], turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return s.hold(), nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-turn: // it came meanwhile
		s.next()
	default:
		s.forget(p, turn)
	}
	return nil, context.Cause(ctx)
}

// hold returns what ends a start, once; in any case it ends after a while.
func (s *Starts) hold() (leave func()) {
	end := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.next()
	})
	timer := time.AfterFunc(holdMost, end)
	return func() {
		timer.Stop()
		end()
	}
}

// next gives the room of a start that has ended to the pool whose turn it is.
func (s *Starts) next() {
	if len(s.turns) == 0 {
		s.free++
		return
	}
	p := s.turns[0]
	s.turns = s.turns[1:]
	turn := s.waiting[p][0]
	if rest := s.waiting[p][1:]; len(rest) > 0 {
		s.waiting[p] = rest
		s.turns = append(s.turns, p)
	} else {
		delete(s.waiting, p)
	}
	close(turn)
}

// forget removes a start that waits no longer.
func (s *Starts) forget(p *Pool, turn chan struct{}) {
	list := s.waiting[p]
	for i := range list {
		if list[i] == turn {
			s.waiting[p] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(s.waiting[p]) > 0 {
		return
	}
	delete(s.waiting, p)
	for i := range s.turns {
		if s.turns[i] == p {
			s.turns = append(s.turns[:i:i], s.turns[i+1:]...)
			break
		}
	}
}
