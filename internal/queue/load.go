package queue

import (
	"fmt"

	"github.com/runnel-io/runnel/internal/store"
)

// loadBytes bounds the records that one load of a group keeps.
const loadBytes = 256 << 10

// unread is a line whose next messages must be read: only their numbers are in
// memory.
type unread struct {
	line  *line
	group *group // whose line it is; nil for a tenant's
}

// load1 reads the next messages of a line. Caller does not hold mu. It reads
// without mu; that a number is still in the line afterwards says that its message
// is there.
func (q *Queue) load1(r unread) error {
	l := r.line
	q.mu.Lock()
	if c := l.loading; c != nil {
		q.mu.Unlock()
		<-c
		return nil
	}
	if l.items.len() > 0 || l.runs.len() == 0 {
		q.mu.Unlock()
		return nil
	}
	var spans []run
	for most, i := uint32(q.set.limits.load), l.runs.head; most > 0 && i < len(l.runs.elems); i++ {
		s := l.runs.elems[i]
		s.count = min(s.count, most)
		most -= s.count
		spans = append(spans, s)
	}
	done := make(chan struct{})
	l.loading = done
	if r.group != nil {
		q.look(r.group) // not ready meanwhile
	}
	q.mu.Unlock()

	var read []item
	bytes := 0
	full := false // there is more than was read
	var err error
	for _, s := range spans {
		if full || err != nil {
			break
		}
		err = q.series.Records(s.n, s.n+uint64(s.count), func(n uint64, record []byte) bool {
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
	l.loading = nil
	close(done)
	if spans[0].n < q.trimmed || q.dropped.Load() {
		return nil // purged: the line is nobody's any more
	}
	if err == nil {
		end := spans[len(spans)-1]
		upto := end.n + uint64(end.count)
		if full {
			upto = read[len(read)-1].n + 1
		}
		q.loaded(l, read, upto)
	}
	if r.group != nil {
		q.look(r.group)
	}
	if err != nil {
		return fmt.Errorf("read queue %s: %w", q.name, err)
	}
	return nil
}

// loaded moves the numbers below upto from a line's runs to its items. Caller
// holds mu.
func (q *Queue) loaded(l *line, read []item, upto uint64) {
	for r := l.runs.first(); r != nil && r.n < upto; r = l.runs.first() {
		n := r.n
		q.unpark(l)
		for len(read) > 0 && read[0].n < n {
			read = read[1:] // moved or expired meanwhile
		}
		switch {
		case q.leases[n] != nil:
			q.keep(l, item{n: n})
		case len(read) > 0 && read[0].n == n:
			q.keep(l, read[0])
		default: // a record that is gone while its number waits: a fault
			q.lines.listed--
			q.set.opt.Log.Error("a message has no record and is left out", "queue", q.name.String(), "message", n)
		}
	}
}

// loadAtOnce is how many lines one round of expireAll reads.
const loadAtOnce = 16

// expireGroups is the part of expireAll for the lines of a FIFO queue: the
// messages behind one in flight expire, too. It returns what must be read to know
// whether its first message has expired. Caller holds mu.
func (q *Queue) expireGroups(b *store.Batch, oldest int64) (load []unread) {
	for _, g := range q.groups.byKey {
		for b.Len() < expireBatch {
			n, record, ok := g.first()
			if !ok || q.leases[n] != nil {
				break // leases are looked through besides
			}
			if record == nil {
				if g.mayHaveExpired(oldest) && len(load) < loadAtOnce {
					load = append(load, unread{&g.line, g})
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

// mayHaveExpired says whether a line that begins with a run may begin with a
// message that was sent before oldest.
func (l *line) mayHaveExpired(oldest int64) bool { return int64(l.runs.first().sent)*1000 < oldest }
