package queue

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// The states of a message, as Peeked has them.
const (
	StateVisible  = "visible"
	StateInFlight = "in flight"
	StateDelayed  = "delayed"
)

// Search says which messages are wanted. Of what is set all must hold; the zero
// value is all messages.
type Search struct {
	// IDs are those of which a message has one.
	IDs []string
	// Body is text within the body, byte by byte; with IgnoreCase both are
	// compared in small letters.
	Body       string
	IgnoreCase bool
	// Attributes are attributes that a message has.
	Attributes []AttributeSearch
	// Key is the message's key: its message group.
	Key string
	// States are those of which a message is in one at the moment.
	States []string
}

// AttributeSearch is an attribute of this name, and with exactly this value
// unless that is nil.
type AttributeSearch struct {
	Name  string
	Value *string
}

// SearchLimits bound one answer. Where one is reached, the answer says where to
// go on.
type SearchLimits struct {
	// End is the position before which the search ends; 0: the end of the queue.
	End int64
	// Messages and Bytes are how many are returned; the last of them may exceed
	// Bytes.
	Messages, Bytes int
	// Looked is how many messages are looked at, and Time for how long.
	Looked int
	Time   time.Duration
}

// Page is what a search found.
type Page struct {
	Messages []Peeked
	// Next is the position to go on from, if there may be more.
	Next int64
	More bool
	// End is the position before which the search ends.
	End int64
}

// searchPart is how many messages are read between two looks at the index and
// at the limits.
const searchPart = 256

// Search returns messages from position on, in their order, and changes nothing.
// The queue is not locked while it reads: what is sent, received or deleted
// meanwhile may be in the answer or not. A page may have fewer messages than
// there are, or none, and More.
func (q *Queue) Search(ctx context.Context, position int64, s *Search, lim SearchLimits) (Page, error) {
	return q.search(ctx.Err, position, s, lim)
}

// search is Search; ended says why it should end early, if it should.
func (q *Queue) search(ended func() error, position int64, s *Search, lim SearchLimits) (Page, error) {
	m := s.matcher()
	q.mu.Lock()
	lo, hi := max(uint64(max(position, 0)), q.trimmed), q.tail
	if lim.End > 0 {
		hi = min(hi, uint64(lim.End))
	}
	if first := q.waitsFrom(); lo < first { // nothing below it and all leases exists
		for _, l := range q.leases {
			first = min(first, l.n)
		}
		lo = max(lo, first)
	}
	var sparse []uint64 // the only numbers to look at, where those are few
	if m.invisible {
		sparse = q.invisible(lo, hi)
	}
	q.mu.Unlock()
	slices.Sort(sparse)

	page := Page{End: int64(hi)}
	end := time.Now().Add(lim.Time)
	looked, size := 0, 0
	for {
		part := reading{q: q, m: m, most: lim.Messages - len(page.Messages), bytes: lim.Bytes - size, looked: min(searchPart, lim.Looked-looked), next: hi}
		var err error
		if m.invisible {
			sparse, err = part.readSparse(sparse)
		} else {
			err = part.read(lo, hi)
		}
		if err != nil {
			return Page{}, unavailable("peek", err)
		}
		for _, p := range q.states(part.found) {
			if len(s.States) == 0 || slices.Contains(s.States, p.State) {
				page.Messages = append(page.Messages, p)
				size += len(p.Body)
			}
		}
		looked += part.seen
		lo = part.next
		if lo >= hi {
			return page, nil
		}
		if len(page.Messages) >= lim.Messages || size >= lim.Bytes || looked >= lim.Looked || time.Now().After(end) || ended() != nil {
			page.More, page.Next = true, int64(lo)
			return page, nil
		}
	}
}

// invisible returns the numbers of what is in flight or delayed. Caller holds
// mu.
func (q *Queue) invisible(lo, hi uint64) []uint64 {
	var out []uint64
	for _, l := range q.due.leases {
		if l.n >= lo && l.n < hi {
			out = append(out, l.n)
		}
	}
	return out
}

// reading is one part of a search, read without the queue's lock.
type reading struct {
	q                         *Queue
	m                         *matcher
	most, bytes, looked, seen int // looked: at most; seen: in the end
	next                      uint64
	found                     []Peeked
	err                       error
}

func (r *reading) read(lo, hi uint64) error {
	err := r.q.series.Records(lo, hi, func(n uint64, record []byte) bool {
		if r.full() {
			r.next = n
			return false
		}
		return r.look(n, record)
	})
	if err == nil {
		err = r.err
	}
	return err
}

// readSparse reads the first of these numbers, and returns the rest.
func (r *reading) readSparse(numbers []uint64) ([]uint64, error) {
	var buf []byte
	for i, n := range numbers {
		if r.full() {
			r.next = n
			return numbers[i:], nil
		}
		record, err := r.q.series.Record(n, buf[:0])
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !r.look(n, record) {
			return nil, r.err
		}
		buf = record
	}
	return nil, nil
}

func (r *reading) full() bool {
	return len(r.found) >= r.most || r.bytes <= 0 || r.seen >= r.looked
}

// look adds a message if it fits.
func (r *reading) look(n uint64, record []byte) bool {
	r.seen++
	if !r.m.may(record) {
		return true
	}
	p := Peeked{Position: int64(n)}
	if r.err = decodeRecord(record, &p.Message); r.err != nil {
		return false
	}
	if !r.m.fits(&p.Message) {
		return true
	}
	if r.err = decodeRecord(bytes.Clone(record), &p.Message); r.err != nil {
		return false
	}
	r.bytes -= len(p.Body)
	r.found = append(r.found, p)
	return true
}

// states fills in the state of messages that were read, and leaves out those
// that were removed meanwhile.
func (q *Queue) states(found []Peeked) []Peeked {
	if len(found) == 0 {
		return nil
	}
	out := found[:0]
	q.mu.Lock()
	defer q.mu.Unlock()
	wall, now := q.set.opt.Now(), q.set.mono()
	for i := range found {
		p := &found[i]
		n := uint64(p.Position)
		p.State = StateVisible
		if l := q.leases[n]; l != nil {
			p.Receives, p.Failures = int(l.receives), int(l.failures)
			switch l.state {
			case leased:
				p.State = StateInFlight
			case delayed:
				p.State = StateDelayed
			case returned:
			}
			if l.state != returned {
				p.Until = wall.Add(time.Duration(l.due - now))
			}
		} else if n < q.trimmed || n < q.cursor && q.groups == nil && !q.atHand(n) {
			continue
		}
		out = append(out, *p)
	}
	return out
}

// matcher is a Search made ready.
type matcher struct {
	*Search
	body, key []byte
	invisible bool // only messages in flight or delayed are wanted
}

func (s *Search) matcher() *matcher {
	m := &matcher{Search: s, body: []byte(s.Body), key: []byte(s.Key)}
	if s.IgnoreCase {
		m.body = bytes.ToLower(m.body)
	}
	m.invisible = len(s.States) > 0 && !slices.Contains(s.States, StateVisible)
	return m
}

// may says of a record whether its message may fit, without decoding it.
func (m *matcher) may(record []byte) bool {
	return (m.IgnoreCase || len(m.body) == 0 || bytes.Contains(record, m.body)) &&
		(len(m.key) == 0 || bytes.Equal(recordKey(record), m.key))
}

// fits says whether a message that may fit does, but for its state.
func (m *matcher) fits(msg *runnel.Message) bool {
	if len(m.IDs) > 0 && !slices.Contains(m.IDs, string(msg.ID)) {
		return false
	}
	if len(m.body) > 0 {
		body := msg.Body
		if m.IgnoreCase {
			body = bytes.ToLower(body)
		}
		if !bytes.Contains(body, m.body) {
			return false
		}
	}
	for _, want := range m.Attributes {
		if !slices.ContainsFunc(msg.Attributes, func(a runnel.Attribute) bool {
			return a.Name == want.Name && (want.Value == nil || string(a.Value) == *want.Value)
		}) {
			return false
		}
	}
	return true
}

// ParseAttributeSearch reads NAME or NAME=VALUE.
func ParseAttributeSearch(text string) (AttributeSearch, error) {
	name, value, given := strings.Cut(text, "=")
	if name == "" {
		return AttributeSearch{}, runnel.Errorf(runnel.CodeInvalid, "%q names no attribute: want NAME, or NAME=VALUE", text)
	}
	a := AttributeSearch{Name: name}
	if given {
		a.Value = &value
	}
	return a, nil
}
