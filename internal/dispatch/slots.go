package dispatch

import "sync"

// Slots are calls that several flows may have under way together: the session
// limit of an account. The zero value has none.
type Slots struct {
	mu      sync.Mutex // guards all below
	limit   int
	taken   int
	waiting []*Flow // in line for a free slot, each once
}

// NewSlots returns n slots.
func NewSlots(n int) *Slots { return &Slots{limit: n} }

// SetLimit changes how many slots there are. Calls that are under way over a
// lower limit go on; none starts until they are fewer.
func (s *Slots) SetLimit(n int) {
	s.mu.Lock()
	s.limit = n
	s.mu.Unlock()
	s.pass()
}

// Limit returns how many slots there are.
func (s *Slots) Limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

// Taken returns how many calls are under way.
func (s *Slots) Taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// take takes a slot, or puts f in line: its slotFree is called, once, when it
// should try again.
func (s *Slots) take(f *Flow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken < s.limit {
		s.taken++
		return true
	}
	for _, w := range s.waiting {
		if w == f {
			return false
		}
	}
	s.waiting = append(s.waiting, f)
	return false
}

// free says whether there is a slot; if not, f is in line.
func (s *Slots) free(f *Flow) bool {
	if !s.take(f) {
		return false
	}
	s.give()
	return true
}

// give gives a slot back. The first flow in line tries next.
func (s *Slots) give() {
	s.mu.Lock()
	s.taken--
	s.mu.Unlock()
	s.pass()
}

// pass lets the first flow in line try, if there is a free slot. A flow that
// does not want it any more passes it on.
func (s *Slots) pass() {
	s.mu.Lock()
	var next *Flow
	if s.taken < s.limit && len(s.waiting) > 0 {
		next = s.waiting[0]
		s.waiting = s.waiting[1:]
	}
	s.mu.Unlock()
	if next != nil {
		next.slotFree()
	}
}

// TryTake takes a slot for a call without a flow, if there is one. Give gives
// it back.
func (s *Slots) TryTake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.limit {
		return false
	}
	s.taken++
	return true
}

// Give gives back the slot of TryTake.
func (s *Slots) Give() { s.give() }
