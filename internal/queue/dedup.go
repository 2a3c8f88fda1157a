package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/store"
)

// DedupWindow is for how long after a message was sent to a FIFO queue another
// one with the same deduplication id is taken for it. (SQS)
const DedupWindow = 5 * time.Minute

// spaceDedup is the key space of what was sent to FIFO queues in the last
// minutes: by queue, by the span of DedupWindow in which it was sent, and by
// dedupKey, 8, 8 and 16 bytes. The value is when it was sent, 8 bytes of Unix
// milliseconds, the message's id, and its number, 8 bytes. Since the span is in
// the key, a whole one is removed by one range, and a removal never meets what
// is being written.
const spaceDedup store.Space = 'f'

// dedupKey stands for a deduplication id, in its scope: half of a SHA-256.
type dedupKey [16]byte

// dedup is how a FIFO queue knows what was sent before. What is durable is
// looked up in the store; in memory is only what is about to be.
type dedup struct {
	base  int64 // milliseconds: base and mono are a wall clock that does not jump
	swept int64 // the spans below are removed; by Set.Run only
	known int64 // of the spans from here on, all that was sent is in seen

	mu      sync.Mutex // the last lock to be taken
	pending map[dedupKey]*reservation
	seen    map[int64]*filter // by span
}

// reservation is the keys of one send, until that is committed or given up.
type reservation struct {
	d    *dedup
	keys []dedupKey
	done chan struct{}
}

// init begins with a queue; fresh: nothing was ever sent to it.
func (d *dedup) init(s *Set, fresh bool) {
	d.base = s.opt.Now().UnixMilli() - s.mono()/int64(time.Millisecond)
	d.pending = make(map[dedupKey]*reservation)
	d.seen = make(map[int64]*filter)
	if !fresh {
		d.known = span(d.now(s)) + 2 // one more than an earlier process can have written to
	}
}

// now is the time that counts for deduplication, in milliseconds.
func (d *dedup) now(s *Set) int64 { return d.base + s.mono()/int64(time.Millisecond) }

func span(ms int64) int64 { return ms / int64(DedupWindow/time.Millisecond) }

// reserve makes keys the caller's, all at once, and waits while one of them is
// somebody else's. Who waits holds no key of this queue, and of others only of
// such with a lower id: nobody waits in a circle.
func (d *dedup) reserve(keys []dedupKey) *reservation {
	r := &reservation{d: d, keys: keys, done: make(chan struct{})}
	d.mu.Lock()
	for {
		var other *reservation
		for _, k := range keys {
			if other = d.pending[k]; other != nil {
				break
			}
		}
		if other == nil {
			break
		}
		d.mu.Unlock()
		<-other.done
		d.mu.Lock()
	}
	for _, k := range keys {
		d.pending[k] = r
	}
	d.mu.Unlock()
	return r
}

// release ends a reservation.
func (r *reservation) release() {
	if r == nil {
		return
	}
	r.d.mu.Lock()
	for _, k := range r.keys {
		delete(r.d.pending, k)
	}
	r.d.mu.Unlock()
	close(r.done)
}

func (q *Queue) dedupKey(m *runnel.Message, byGroup bool) dedupKey {
	h := sha256.New()
	group := m.Key
	if !byGroup {
		group = ""
	}
	var scratch [10]byte
	h.Write(binary.AppendUvarint(scratch[:0], uint64(len(group))))
	h.Write([]byte(group))
	h.Write([]byte(m.DedupID))
	return dedupKey(h.Sum(nil)[:16])
}

func (q *Queue) dedupStoreKey(span int64, k dedupKey) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32), q.id)
	return append(binary.BigEndian.AppendUint64(b, uint64(span)), k[:]...)
}

// may says whether a key can have been sent in a span.
func (d *dedup) may(span int64, k dedupKey) bool {
	if span < d.known {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.seen[span]
	return f != nil && f.has(k)
}

// note notes that a key is about to be sent in a span.
func (d *dedup) note(span int64, k dedupKey) {
	if span < d.known {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.seen[span]
	if f == nil {
		f = new(filter)
		d.seen[span] = f
		for s := range d.seen {
			if s < span-1 {
				delete(d.seen, s)
			}
		}
	}
	f.add(k)
}

// sentBefore looks for a message with this key in the window before now.
func (q *Queue) sentBefore(k dedupKey, now int64) (Sent, bool, error) {
	spans := []int64{span(now), span(now) - 1, span(now) + 1}
	if q.set.mono() > int64(DedupWindow) {
		spans = spans[:2] // the last one is for a clock that was put back while nothing ran
	}
	for _, s := range spans {
		if !q.dedup.may(s, k) {
			continue
		}
		v, err := q.set.store.Get(spaceDedup, q.dedupStoreKey(s, k))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return Sent{}, false, unavailable("look for a duplicate", err)
		}
		if len(v) < 16 {
			return Sent{}, false, fmt.Errorf("queue %s: damaged deduplication record", q.name)
		}
		at := int64(binary.BigEndian.Uint64(v))
		if age := now - at; age < int64(DedupWindow/time.Millisecond) && -age < int64(DedupWindow/time.Millisecond) {
			n := binary.BigEndian.Uint64(v[len(v)-8:])
			return Sent{ID: runnel.MessageID(v[8 : len(v)-8]), Position: int64(n), Duplicate: true}, true, nil
		}
	}
	return Sent{}, false, nil
}

// sweepDedup removes the spans that are of no use any more.
func (q *Queue) sweepDedup() error {
	now := span(q.dedup.now(q.set))
	if q.groups == nil || q.dedup.swept >= now-1 {
		return nil
	}
	at := func(s int64) []byte { return binary.BigEndian.AppendUint64(idKey(q.id), uint64(s)) }
	var b store.Batch
	b.DeleteRange(spaceDedup, at(q.dedup.swept), at(now-1))
	if q.dedup.swept == 0 {
		b.DeleteRange(spaceDedup, at(now+2), idKey(q.id+1))
	}
	q.mu.Lock()
	if q.ended != nil {
		q.mu.Unlock()
		return nil
	}
	q.set.store.Enqueue(&b, nil)
	q.mu.Unlock()
	if err := b.Wait(); err != nil {
		return err
	}
	q.dedup.swept = now - 1
	return nil
}

// Sent is what became of a message that was sent to a FIFO queue.
type Sent struct {
	ID       runnel.MessageID
	Position int64
	// Duplicate: it was sent before; ID and Position are those of the first,
	// and nothing was stored.
	Duplicate bool
}

// SequenceNumber is how clients see a Position: 20 digits, which grow.
func SequenceNumber(position int64) string {
	return strconv.FormatUint(10_000_000_000_000_000_000+uint64(position), 10)
}

// SendOrdered is Send on a FIFO queue. Each message needs a Key, its group, and
// a DedupID unless the queue makes one from the body, and may have no Delay of
// its own. A duplicate is no error.
func (q *Queue) SendOrdered(ms []runnel.Message) ([]Sent, error) {
	if q.groups == nil {
		return nil, runnel.Errorf(runnel.CodeUnsupported, "the queue %s is no FIFO queue", q.name)
	}
	sent := make([]Sent, len(ms))
	err := q.sendOrdered(ms, sent)
	var partial *runnel.SendError
	if err != nil && !errors.As(err, &partial) {
		return nil, err
	}
	return sent, err
}

// checkOrdered says why a message cannot be sent to a FIFO queue.
func checkOrdered(m *runnel.Message, s *Settings) error {
	switch {
	case m.Key == "":
		return runnel.Errorf(runnel.CodeInvalid, "a message for a FIFO queue needs a key, its message group")
	case m.DedupID == "" && !s.FIFO.ContentDedup:
		return runnel.Errorf(runnel.CodeInvalid, "a message for this FIFO queue needs a deduplication id: give one, or let the queue take the content for it")
	case m.Delay > 0:
		return runnel.Errorf(runnel.CodeInvalid, "a message for a FIFO queue cannot have a delay of its own, only its queue")
	}
	return checkSize(m, s.MaxMessageBytes)
}

// stageOrdered is stage on a FIFO queue; it fills in sent, one for each of ms.
// Positions are known after the commit. What it returns, if not nil, must be
// committed or abandoned, even if it adds nothing to b.
func (q *Queue) stageOrdered(b *store.Batch, ms []runnel.Message, sent []Sent) (*staged, error) {
	if err := q.set.store.Room(); err != nil {
		return nil, errRoom(err)
	}
	q.mu.Lock()
	settings, ended := q.settings, q.ended
	q.mu.Unlock()
	if ended != nil {
		return nil, ended
	}
	failed := make(map[int]error)
	keys := make([]dedupKey, len(ms))
	first := make(map[dedupKey]int, len(ms)) // the first of each key
	var reserve []dedupKey
	ms = append([]runnel.Message(nil), ms...) // they are changed
	for i := range ms {
		m := &ms[i]
		if err := checkOrdered(m, &settings); err != nil {
			failed[i] = err
			continue
		}
		if m.DedupID == "" {
			sum := sha256.Sum256(m.Body)
			m.DedupID = hex.EncodeToString(sum[:])
		}
		m.Delay = 0 // the queue's, whatever it says
		keys[i] = q.dedupKey(m, settings.FIFO.DedupByGroup)
		if _, ok := first[keys[i]]; !ok {
			first[keys[i]] = i
			reserve = append(reserve, keys[i])
		}
	}
	s := &staged{q: q, b: b, sent: sent}
	s.reserved = q.dedup.reserve(reserve)
	now, wall := q.dedup.now(q.set), q.set.opt.Now()
	for i := range ms {
		if failed[i] != nil {
			continue
		}
		if j := first[keys[i]]; j != i {
			s.sames = append(s.sames, [2]int{i, j})
			continue
		}
		before, ok, err := q.sentBefore(keys[i], now)
		if err != nil {
			s.abandon()
			return nil, err
		}
		if ok {
			sent[i] = before
			s.before++
			continue
		}
		q.dedup.note(span(now), keys[i])
		send, raw, err := q.stageOne(b, ms[i], wall, settings.Delay, settings.MaxMessageBytes)
		if err != nil {
			failed[i] = err
			continue
		}
		send.of = i
		if sent[i].ID = ms[i].ID; sent[i].ID == "" {
			sent[i].ID = runnel.MessageID(raw.String())
		}
		b.Index(spaceDedup, q.dedupStoreKey(span(now), keys[i]), dedupValue(now, sent[i].ID), send.place)
		s.sends = append(s.sends, send)
	}
	if len(failed) == 0 {
		return s, nil
	}
	for _, same := range s.sames {
		if err := failed[same[1]]; err != nil {
			failed[same[0]] = err
		}
	}
	return s, &runnel.SendError{Failed: failed}
}

// same fills in what is told of the messages that are duplicates in their own
// batch, when the first of each is known.
func (s *staged) same() {
	if n := len(s.sames) + s.before; n > 0 {
		s.q.deduplicated.Add(uint64(n))
	}
	for _, same := range s.sames {
		s.sent[same[0]] = s.sent[same[1]]
		s.sent[same[0]].Duplicate = true
	}
}

// abandon gives up what will not be committed.
func (s *staged) abandon() {
	s.reserved.release()
	s.reserved = nil
}

func (q *Queue) sendOrdered(ms []runnel.Message, sent []Sent) error {
	var b store.Batch
	staged, err := q.stageOrdered(&b, ms, sent)
	if staged == nil {
		return err
	}
	if b.Len() == 0 {
		staged.abandon()
		staged.same()
		return err
	}
	q.set.drops.RLock()
	if q.dropped.Load() {
		q.set.drops.RUnlock()
		staged.abandon()
		return errDeleted(q.name)
	}
	q.set.store.Enqueue(&b, staged.Committed)
	q.set.drops.RUnlock()
	if err := b.Wait(); err != nil {
		return unavailable("store the message", err)
	}
	return err
}

// noteMoved notes the deduplication id of a message, the only one that is
// staged, that comes from another queue. It waits for sends with the same id,
// and is not refused for one.
func (s *staged) noteMoved(m *runnel.Message) {
	q := s.q
	q.mu.Lock()
	byGroup := q.settings.FIFO.DedupByGroup
	q.mu.Unlock()
	k := q.dedupKey(m, byGroup)
	s.reserved = q.dedup.reserve([]dedupKey{k})
	now := q.dedup.now(q.set)
	q.dedup.note(span(now), k)
	s.b.Index(spaceDedup, q.dedupStoreKey(span(now), k), dedupValue(now, m.ID), s.sends[0].place)
}

// dedupValue is what is stored under a key, but for the number.
func dedupValue(now int64, id runnel.MessageID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(now)), id...)
}

// checkMove says whether a message that is no new one can go to the queue.
func (q *Queue) checkMove(m *runnel.Message) error {
	if q.groups != nil && m.Key == "" {
		return runnel.Errorf(runnel.CodeInvalid, "the message has no message group, and the FIFO queue %s needs one: say which it should get", q.name)
	}
	return nil
}

// fits says whether settings are for a queue of this name.
func (n Name) fits(s Settings) error {
	switch {
	case n.FIFO() && s.FIFO == nil:
		return runnel.Errorf(runnel.CodeInvalid, "queue name %q: only a FIFO queue may end in %s", n.Queue, runnel.FIFOSuffix)
	case !n.FIFO() && s.FIFO != nil:
		return runnel.Errorf(runnel.CodeInvalid, "queue name %q: that of a FIFO queue must end in %s", n.Queue, runnel.FIFOSuffix)
	}
	return nil
}
