package server

import (
	"strings"
	"sync"
	"sync/atomic"
)

// maxPrinted is how much of what a call prints is told to its caller.
const maxPrinted = 1 << 20

// printed are the lines of calls whose callers want them. Its zero value has
// none.
type printed struct {
	wanted atomic.Int64 // calls, so that nobody else waits for the lock

	mu    sync.Mutex // guards all below
	texts map[string]*strings.Builder
}

// collect begins to keep what an invocation prints. end returns that, to
// maxPrinted bytes, and is called once.
func (p *printed) collect(invocation string) (end func() string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.texts == nil {
		p.texts = make(map[string]*strings.Builder)
	}
	text := new(strings.Builder)
	p.texts[invocation] = text
	p.wanted.Add(1)
	return func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.texts, invocation)
		p.wanted.Add(-1)
		return text.String()
	}
}

// add keeps a line, if its invocation is one of those.
func (p *printed) add(invocation, line string) {
	if invocation == "" || p.wanted.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := p.texts[invocation]; text != nil && text.Len()+len(line) < maxPrinted {
		text.WriteString(line)
		text.WriteByte('\n')
	}
}
