package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/runnel-io/runnel"
)

// maxSuspects bounds the messages that are remembered.
const maxSuspects = 10_000

// suspects are messages that were in flight, together with others, on a process
// that died. Which of them killed it is found out by calling each alone: else
// one that kills every process would take others with it for ever, and never be
// blamed.
type suspects struct {
	mu  sync.Mutex
	ids map[runnel.MessageID]struct{}
}

// add remembers the messages of a call.
func (s *suspects) add(in *runnel.Invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil || len(s.ids) > maxSuspects {
		s.ids = make(map[runnel.MessageID]struct{})
	}
	for i := range in.Items {
		s.ids[in.Items[i].Message] = struct{}{}
	}
}

// has says whether a message of a call is one.
func (s *suspects) has(in *runnel.Invocation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ids) == 0 {
		return false
	}
	for i := range in.Items {
		if _, ok := s.ids[in.Items[i].Message]; ok {
			return true
		}
	}
	return false
}

// clear forgets the messages of a call that no process died of.
func (s *suspects) clear(in *runnel.Invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range in.Items {
		delete(s.ids, in.Items[i].Message)
	}
}

// isolate waits until the call of s is the only one on its process, which gets
// no other until it has ended.
func (p *Pool) isolate(ctx context.Context, s *slot) error {
	w := s.w
	p.mu.Lock()
	if w.alone != nil {
		p.mu.Unlock()
		return interrupted(errors.New("another call is to be alone on the worker first"))
	}
	alone := make(chan struct{})
	w.alone = alone
	p.unready(w)
	if len(w.free) == len(w.slots)-1 {
		w.hasItAlone()
	}
	p.mu.Unlock()
	select {
	case <-alone:
		return nil
	case <-w.ended:
		return interrupted(errors.New("the worker ended before the call began"))
	case <-ctx.Done():
		// It was never called: what ended the wait is no failure of it.
		return fmt.Errorf("%w: it waited to be alone on the worker: %v", runnel.ErrInterrupted, context.Cause(ctx)) //nolint:errorlint // see above
	}
}

// hasItAlone tells the one who waits for it, once. With Pool.mu held.
func (w *worker) hasItAlone() {
	select {
	case <-w.alone:
	default:
		close(w.alone)
	}
}
