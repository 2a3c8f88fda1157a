package server

import (
	"context"
	"sync"

	"github.com/runnel-io/runnel"
)

// background is work that goes on after the request that it was asked for by.
type background struct {
	mu     sync.Mutex // guards all below
	closed bool
	busy   int
	idle   chan struct{} // closed when closed and nothing is under way
}

func newBackground() *background { return &background{idle: make(chan struct{})} }

// begin runs f, unless the server stops.
func (b *background) begin(f func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return runnel.Errorf(runnel.CodeUnavailable, "the server is stopping")
	}
	b.busy++
	go func() {
		defer b.end()
		f()
	}()
	return nil
}

func (b *background) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy--
	if b.closed && b.busy == 0 {
		close(b.idle)
	}
}

// close lets nothing begin any more, and waits for what is under way until ctx
// ends. It is called once.
func (b *background) close(ctx context.Context) {
	b.mu.Lock()
	b.closed = true
	if b.busy == 0 {
		close(b.idle)
	}
	b.mu.Unlock()
	select {
	case <-b.idle:
	case <-ctx.Done():
	}
}
