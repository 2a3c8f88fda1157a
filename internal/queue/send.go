package queue

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// maxTextID is the longest message id that a queue takes from elsewhere.
const maxTextID = 256

// Send stores messages and returns their ids when they are durable. On a
// *runnel.SendError the messages that it does not name were stored; on any
// other error none was, or nobody knows.
//
// A message keeps the ID that it has: a dead letter stays the same message. It
// is sent now, whatever its Sent says: retention counts from here.
func (q *Queue) Send(ms []runnel.Message) ([]runnel.MessageID, error) {
	ids := make([]runnel.MessageID, len(ms))
	var err error
	if q.groups != nil {
		var sent []Sent
		sent, err = q.SendOrdered(ms)
		for i := range sent {
			ids[i] = sent[i].ID
		}
	} else {
		err = q.send(ms, ids)
	}
	var partial *runnel.SendError
	if err != nil && !errors.As(err, &partial) {
		return nil, err
	}
	return ids, err
}

// send is Send; it fills in ids unless that is nil.
func (q *Queue) send(ms []runnel.Message, ids []runnel.MessageID) error {
	var b store.Batch
	staged, err := q.stage(&b, ms, ids)
	if staged == nil || b.Len() == 0 {
		return err
	}
	q.set.drops.RLock()
	if q.dropped.Load() {
		q.set.drops.RUnlock()
		return errDeleted(q.name)
	}
	q.set.store.Enqueue(&b, staged.Committed)
	q.set.drops.RUnlock()
	if err := b.Wait(); err != nil {
		return unavailable("store the message", err)
	}
	return err
}

// staged are messages that are part of a batch and not yet of the queue.
type staged struct {
	q     *Queue
	b     *store.Batch
	sends []stagedSend
	one   [1]stagedSend // the room of sends for one message

	// Of a FIFO queue:
	sent     []Sent       // what is told of each message
	sames    [][2]int     // of these, duplicates in the same batch, and of which
	before   int          // of these, those that were sent before
	reserved *reservation // their deduplication ids
}

type stagedSend struct {
	place  int
	record []byte
	delay  time.Duration
	group  groupKey
	of     int // in staged.sent
}

// stage checks messages and adds them to a batch, and their ids to ids unless
// that is nil. The returned staged's Committed must be called once the batch is
// durable, in the order of commits. A *runnel.SendError names the messages that
// were refused; their ids stay empty. On any other error nothing was staged.
func (q *Queue) stage(b *store.Batch, ms []runnel.Message, ids []runnel.MessageID) (*staged, error) {
	if err := q.set.store.Room(); err != nil {
		return nil, errRoom(err)
	}
	q.mu.Lock()
	delay, largest, ended := q.settings.Delay, q.settings.MaxMessageBytes, q.ended
	q.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	now := q.set.opt.Now()
	s := &staged{q: q, b: b}
	s.sends = s.one[:0]
	if len(ms) > 1 {
		s.sends = make([]stagedSend, 0, len(ms))
		b.Grow(len(ms))
	}
	var failed map[int]error
	for i := range ms {
		send, raw, err := q.stageOne(b, ms[i], now, delay, largest)
		if err != nil {
			if failed == nil {
				failed = make(map[int]error)
			}
			failed[i] = err
			continue
		}
		if ids != nil {
			if ids[i] = ms[i].ID; ids[i] == "" {
				ids[i] = runnel.MessageID(raw.String())
			}
		}
		s.sends = append(s.sends, send)
	}
	if failed != nil {
		return s, &runnel.SendError{Failed: failed}
	}
	return s, nil
}

func errRoom(err error) error {
	return runnel.Errorf(runnel.CodeUnavailable, "the server's disk is nearly full, nothing can be sent: %w", err)
}

func checkSize(m *runnel.Message, largest int) error {
	if size := messageBytes(m); size > largest {
		return runnel.Errorf(runnel.CodeTooLarge, "the message has %d bytes, the queue takes %d", size, largest)
	}
	if len(m.ID) > maxTextID {
		return runnel.Errorf(runnel.CodeInvalid, "the message id has %d bytes, at most %d are allowed", len(m.ID), maxTextID)
	}
	return nil
}

// newID returns a random UUID, version 4, of the generator that newNonce has.
func newID() uuid.UUID {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// stageOne adds one message, and returns the id that it was given if it had
// none.
func (q *Queue) stageOne(b *store.Batch, m runnel.Message, now time.Time, delay time.Duration, largest int) (stagedSend, uuid.UUID, error) {
	if err := checkSize(&m, largest); err != nil {
		return stagedSend{}, uuid.Nil, err
	}
	switch {
	case m.Delay > MaxDelay:
		return stagedSend{}, uuid.Nil, runnel.Errorf(runnel.CodeInvalid, "a delay of %v is longer than %v", m.Delay, MaxDelay)
	case m.Delay > 0:
		delay = m.Delay
	case m.Delay < 0:
		delay = 0
	}
	m.Sent = now
	var raw uuid.UUID
	if m.ID == "" {
		raw = newID()
	}
	record, err := encodeRecord(&m, raw)
	if err != nil {
		return stagedSend{}, uuid.Nil, err
	}
	group := q.groupFor(&m)
	var first []byte
	if delay > 0 {
		var of *groupKey
		if q.groups != nil {
			of = &group
		} else if m.Key != "" {
			k := groupOf([]byte(m.Key))
			of = &k
		}
		first = mark{group: of, state: delayed, due: now.Add(delay).UnixMilli(), sent: m.Sent.UnixMilli(), size: uint32(len(record))}.encode()
	}
	return stagedSend{place: b.Append(q.series, record, first), record: record, delay: delay, group: group}, raw, nil
}

// Committed makes the messages part of the queue, and wakes who waits for
// them. It runs after the commit, in the order of commits: numbers grow.
func (s *staged) Committed(err error) {
	defer s.abandon()
	if err != nil {
		return
	}
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	visible := 0
	for i := range s.sends {
		send := &s.sends[i]
		n := s.b.Number(send.place)
		q.total++
		next := q.cursor == n // the window reaches to here
		switch {
		case send.delay > 0:
			l := &lease{n: n, due: q.set.mono() + int64(send.delay), sent: recordSent(send.record), size: uint32(len(send.record)), marked: true}
			q.leases[n] = l
			if q.groups != nil {
				q.join(l, send.group)
			} else {
				l.joinTenant(q.tenantOf(send.record))
			}
			q.place(l, delayed)
			if q.groups != nil {
				q.arrive(n, send, l)
			} else if next {
				q.cursor++
			}
		case q.groups != nil:
			if !q.arrive(n, send, nil) {
				visible++
			}
		case next && q.refilling == nil && q.window.takes(q.set, len(send.record)):
			q.window.push(q.set, item{n, send.record})
			q.cursor++
			visible++
		default:
			visible++
		}
		q.tail = n + 1
		if s.sent != nil {
			s.sent[send.of].Position = int64(n)
		}
	}
	s.same()
	q.stats.sent += uint64(len(s.sends))
	q.wake(visible)
}
