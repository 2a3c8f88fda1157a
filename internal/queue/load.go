package queue

import (
	"fmt"

	"github.com/runnel-io/runnel/internal/store"
)

// loadBytes bounds the records that one load of a group keeps.
const loadBytes = 256 << 10

// load1 reads the next messages of a group whose list has only their numbers.
// Caller does not hold mu. It reads without mu; that a number is still in the
// list afterwards says that its message is there.
func (q *Queue) load1(g *group) error {
	q.mu.Lock()
	if c := g.loading; c != nil {
		q.mu.Unlock()
		<-c
		return nil
	}
	if g.items.len() > 0 || g.runs.len() == 0 {
		q.mu.Unlock()
		return nil
	}
	var spans []run
	for most, i := uint32(q.set.limits.load), g.runs.head; most > 0 && i < len(g.runs.elems); i++ {
		r := g.runs.elems[i]
		r.count = min(r.count, most)
		most -= r.count
		spans = append(spans, r)
	}
	done := make(chan struct{})
	g.loading = done
	q.look(g)
	q.mu.Unlock()

	var read []item
	bytes := 0
	full := false // there is more than was read
	var err error
	for _, r := range spans {
		if full || err != nil {
			break
		}
		err = q.series.Records(r.n, r.n+uint64(r.count), func(n uint64, record []byte) bool {
			if bytes >= loadBytes {
				full = true
				return false
			}
			read = append(read, item{n, append([]byte(nil), record...)})
			bytes += len(record)
			return true
		})
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	g.loading = nil
	close(done)
	if q.groups.byKey[g.key] != g {
		return nil // purged
	}
	if err == nil {
		end := spans[len(spans)-1]
		upto := end.n + uint64(end.count)
		if full {
			upto = read[len(read)-1].n + 1
		}
		q.loaded(g, read, upto)
	}
	q.look(g)
	if err != nil {
		return fmt.Errorf("read queue %s: %w", q.name, err)
	}
	return nil
}

// loaded moves the numbers below upto from a group's runs to its items. Caller
// holds mu.
func (q *Queue) loaded(g *group, read []item, upto uint64) {
	for r := g.runs.first(); r != nil && r.n < upto; r = g.runs.first() {
		n := r.n
		q.unpark(g)
		for len(read) > 0 && read[0].n < n {
			read = read[1:] // moved or expired meanwhile
		}
		switch {
		case q.leases[n] != nil:
			q.keep(g, item{n: n})
		case len(read) > 0 && read[0].n == n:
			q.keep(g, read[0])
		default: // a record that is gone while its number waits: a fault
			q.groups.listed--
			q.set.opt.Log.Error("a message has no record and is left out", "queue", q.name.String(), "message", n)
		}
	}
}

// loadAtOnce is how many groups one round of expireAll reads.
const loadAtOnce = 16

// expireGroups is the part of expireAll for the lists of a FIFO queue: the
// messages behind one in flight expire, too. It returns the groups whose first
// message may have expired and must be read to know. Caller holds mu.
func (q *Queue) expireGroups(b *store.Batch, oldest int64) (load []*group) {
	for _, g := range q.groups.byKey {
		for b.Len() < expireBatch {
			n, record, ok := g.first()
			if !ok || q.leases[n] != nil {
				break // leases are looked through besides
			}
			if record == nil {
				if int64(g.runs.first().sent)*1000 < oldest && len(load) < loadAtOnce {
					load = append(load, g)
				}
				break
			}
			if recordSent(record) >= oldest {
				break
			}
			l, _ := q.take(g)
			q.expire(b, l)
		}
		if b.Len() >= expireBatch {
			break
		}
	}
	return load
}
