package queue

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/runnel-io/runnel"
)

// DeliveryShuffle is Settings.Delivery of a queue that hands out what waits in
// random order.
const DeliveryShuffle = "shuffle"

// shuffleBlock bounds the disorder of a shuffled queue: messages are taken at
// random from those of the first block, by their numbers, that has a visible one.
// So none overtakes one that is shuffleBlock places or more before it.
const shuffleBlock = 32

// odd is what a standard queue needs to deliver as badly as it may: in another
// order, and twice. It is nil where neither was ever asked for. Guarded by
// Queue.mu.
type odd struct {
	random *rand.Rand
	again  list[twin] // to be delivered a second time
}

// twin is a message that a client has, and another delivery of which is due.
type twin struct{ n, nonce uint64 }

// A second delivery has the receipt of the first one with the last bit of its
// nonce turned. So both are good for the same message, also after a restart:
// that there was one is part of the mark.
const twinBit = 1

// gave says whether a receipt's nonce is that of the last delivery, or of its
// twin.
func (l *lease) gave(nonce uint64) bool {
	return l.nonce == nonce || l.twin && l.nonce^twinBit == nonce
}

// deliveryFaults is the part of Settings.Validate for these settings.
func (s *Settings) deliveryFaults() (errs []error) {
	if s.Delivery != "" && s.Delivery != DeliveryShuffle {
		errs = append(errs, &runnel.FieldError{Path: "delivery", Err: fmt.Errorf("%q is not %s", s.Delivery, DeliveryShuffle)})
	}
	if !(s.Duplicate >= 0 && s.Duplicate <= 1) { // also what is no number
		errs = append(errs, &runnel.FieldError{Path: "duplicate", Err: fmt.Errorf("%v is not between 0 and 1", s.Duplicate)})
	}
	if s.FIFO != nil && s.Delivery != "" {
		errs = append(errs, &runnel.FieldError{Path: "delivery", Err: errors.New("is for standard queues: a FIFO queue keeps order")})
	}
	if s.FIFO != nil && s.Duplicate != 0 {
		errs = append(errs, &runnel.FieldError{Path: "duplicate", Err: errors.New("is for standard queues: a FIFO queue delivers once")})
	}
	return errs
}

// dice returns the queue's source of chance. Caller holds mu.
func (q *Queue) dice() *odd {
	if q.odd == nil {
		seed := q.set.opt.Seed
		if seed == 0 {
			seed = rand.Uint64()
		}
		q.odd = &odd{random: rand.New(rand.NewPCG(seed, q.id))}
	}
	return q.odd
}

// nextShuffled returns a message of the first block at random, as returned; nil:
// there is none. It is not fair to tenants: what was set aside before the queue
// was shuffled comes first. Caller holds mu.
func (q *Queue) nextShuffled(p *picked) (*lease, []byte) {
	if t := q.firstAside(math.MaxUint64, 0, false); t != nil {
		return q.takeAside(p, t)
	}
	var first uint64
	fresh, back := q.window.first(), q.returned.first()
	switch {
	case fresh == nil && back == nil:
		return nil, nil
	case fresh == nil || back != nil && back.n < fresh.n:
		first = back.n
	default:
		first = fresh.n
	}
	end := first - first%shuffleBlock + shuffleBlock
	var choice [shuffleBlock]uint64
	count := 0
	for n := first; n < end; n++ {
		visible := false
		if l := q.leases[n]; l != nil {
			visible = l.state == returned
		} else {
			_, visible = q.window.find(n)
		}
		if visible {
			choice[count] = n
			count++
		}
	}
	n := choice[q.dice().random.IntN(count)]
	if l := q.leases[n]; l != nil {
		return l, nil
	}
	q.window.toFront(n)
	record := q.window.first().record
	return q.takeFirst(), record
}

// toFront makes message n, which is in the window, the first of it until it is
// taken.
func (w *window) toFront(n uint64) {
	i, _ := w.find(n)
	it := w.items[i]
	copy(w.items[w.head+1:i+1], w.items[w.head:i])
	w.items[w.head] = it
}

// repeated decides whether a message that a client receives is to be delivered
// again, and wakes somebody for it. Caller holds mu.
func (q *Queue) repeated(l *lease) {
	if o := q.dice(); o.random.Float64() < q.settings.Duplicate {
		o.again.push(twin{l.n, l.nonce})
		q.wake(1)
	}
}

// pickTwins delivers a second time what is due and still held by whoever got it
// first. The visibility timeout of both is the later one. Caller holds mu.
func (q *Queue) pickTwins(p *picked, lim runnel.Limits, wall time.Time, leaseFor time.Duration, limit uint32) {
	bytes := 0
	for len(p.lent) < lim.Messages && q.odd.again.len() > 0 {
		t := q.odd.again.first()
		l := q.leases[t.n]
		if l == nil || l.state != leased || l.nonce != t.nonce || l.owner != nil || limit > 0 && l.receives >= limit {
			q.odd.again.pop()
			continue
		}
		if bytes += int(l.size); lim.Bytes > 0 && bytes > lim.Bytes && len(p.lent) > 0 {
			return
		}
		q.odd.again.pop()
		now := q.set.mono()
		q.unplace(l)
		l.due, l.leasedAt = max(l.due, now+int64(leaseFor)), now
		l.receives++
		l.twin = true
		q.place(l, leased)
		p.expiring().Mark(q.series, l.n, q.markOf(l))
		second := *l
		second.nonce ^= twinBit
		p.lent = append(p.lent, lent{l: second, until: wall.Add(time.Duration(l.due - now))})
		q.stats.duplicated++
	}
}
