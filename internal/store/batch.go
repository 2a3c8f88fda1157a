package store

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Batch is a list of changes that become durable together, or not at all. It
// is filled by one goroutine and used once. The slices that it is given must
// not change until it is committed.
type Batch struct {
	ops    []op
	others bool // holds something besides appends
	bytes  int  // appended and set
	keys   int  // touched besides

	done func(error) // run by settle, in the order of commits; may be nil
	wait chan error  // Commit waits here; capacity 1
}

type kind uint8

const (
	opSet kind = iota
	opDelete
	opAppend
	opRemove
	opMark
	opTrim
	opDrop
	opLow
	opClear
	opIndex
	opDeleteRange
)

type op struct {
	kind   kind
	marked bool // opRemove: there may be a mark to remove as well
	space  Space
	series *Series
	n      uint64 // the number; of an append, once it was merged; opIndex: the place of its append
	hi     uint64 // opClear: up to here
	key    []byte
	value  []byte
	mark   []byte // opAppend: the record's first mark, or nil; opDeleteRange: up to this key
}

// Empty says whether committing the batch would neither change nor wait for
// anything.
func (b *Batch) Empty() bool { return len(b.ops) == 0 && !b.others }

func (b *Batch) touch() {
	b.keys++
	b.others = true
}

// Grow makes room for n changes more, for a caller that knows how many come.
func (b *Batch) Grow(n int) { b.ops = slices.Grow(b.ops, n) }

// Len returns how many changes the batch holds.
func (b *Batch) Len() int { return len(b.ops) }

// Set gives a key a value.
func (b *Batch) Set(space Space, key, value []byte) {
	b.touch()
	b.bytes += len(key) + len(value)
	b.ops = append(b.ops, op{kind: opSet, space: space, key: key, value: value})
}

// Delete removes a key, if it is there.
func (b *Batch) Delete(space Space, key []byte) {
	b.touch()
	b.ops = append(b.ops, op{kind: opDelete, space: space, key: key})
}

// Append adds a record to a series, with a mark if mark is not nil, and
// returns its place for Number.
func (b *Batch) Append(r *Series, record, mark []byte) (place int) {
	b.bytes += len(record) + len(mark)
	b.ops = append(b.ops, op{kind: opAppend, series: r, value: record, mark: mark})
	return len(b.ops) - 1
}

// Index sets a key together with an append of the same batch, whose place is
// given: its value is value and then the number of the record, 8 bytes,
// big-endian. It counts as part of the append: a batch of nothing else goes the
// quick way of sends, and may overtake the others, a DeleteRange of its key too.
func (b *Batch) Index(space Space, key, value []byte, place int) {
	b.bytes += len(key) + len(value) + 8
	b.ops = append(b.ops, op{kind: opIndex, space: space, series: b.ops[place].series, n: uint64(place), key: key, value: value})
}

// DeleteRange removes every key of a space from lo on and below hi.
func (b *Batch) DeleteRange(space Space, lo, hi []byte) {
	b.touch()
	b.ops = append(b.ops, op{kind: opDeleteRange, space: space, key: lo, mark: hi})
}

// InOrder makes a batch wait for all enqueued before it, but for those that
// only append, even if it is empty or only appends itself.
func (b *Batch) InOrder() { b.others = true }

// Number returns the number that an appended record got. It is known once the
// batch is committed, in the function given to Go and after Commit.
func (b *Batch) Number(place int) uint64 { return b.ops[place].n }

// Remove removes record n. It must be called at most once for a record.
// marked says whether the record may have a mark, which then goes too.
func (b *Batch) Remove(r *Series, n uint64, marked bool) {
	b.touch()
	b.ops = append(b.ops, op{kind: opRemove, series: r, n: n, marked: marked})
}

// Mark sets the mark of record n, which must exist.
func (b *Batch) Mark(r *Series, n uint64, mark []byte) {
	b.touch()
	b.ops = append(b.ops, op{kind: opMark, series: r, n: n, value: mark})
}

// Trim removes every record that the series holds when the batch is
// committed, with their marks: all that anybody was told of before, and
// perhaps some whose Commit is still under way. Number says the first one
// that stays. A later Remove or Mark of a record that went does nothing.
func (b *Batch) Trim(r *Series) (place int) {
	b.touch()
	b.ops = append(b.ops, op{kind: opTrim, series: r})
	return len(b.ops) - 1
}

// Drop removes the series: its records, marks and header. Whatever is
// enqueued for it later is confirmed and has no effect. Its id must not be used
// again.
func (b *Batch) Drop(r *Series) {
	b.touch()
	b.ops = append(b.ops, op{kind: opDrop, series: r})
}

// Low notes that no record below n is without a mark, so that a later scan
// for such records can start there.
func (b *Batch) Low(r *Series, n uint64) {
	b.others = true // after the marks and removals that make it true
	b.ops = append(b.ops, op{kind: opLow, series: r, n: n})
}

// Clear says that every record from lo on and below hi was removed. It changes
// nothing that can be read. It lets the engine drop whole files of removed
// records instead of reading them to meet their tombstones one by one.
func (b *Batch) Clear(r *Series, lo, hi uint64) {
	b.touch()
	b.ops = append(b.ops, op{kind: opClear, series: r, n: lo, hi: hi})
}

// merge adds the batch to a group. Only the writer calls it, in the order of
// commits, and only it touches Series.head.
func (b *Batch) merge(g *group) {
	var scratch [64]byte
	for i := range b.ops {
		o := &b.ops[i]
		r := o.series
		if r != nil {
			if r.dropped {
				continue // nothing of it shall come back
			}
			if !r.dirty {
				r.dirty = true
				g.series = append(g.series, r)
			}
		}
		switch o.kind {
		case opSet:
			set(g.batch, appendKey(scratch[:0], o.space, o.key), o.value)
		case opDelete:
			must(g.batch.Delete(appendKey(scratch[:0], o.space, o.key), nil))
		case opAppend:
			o.n = r.head.next
			r.head.next++
			set(g.batch, r.key(scratch[:0], spaceRecord, o.n), o.value)
			if o.mark != nil {
				set(g.batch, r.key(scratch[:0], spaceMark, o.n), o.mark)
			}
		case opRemove:
			if o.n < r.head.trimmed {
				continue // the trim removed and counted it
			}
			r.head.removed++
			must(g.batch.SingleDelete(r.key(scratch[:0], spaceRecord, o.n), nil))
			if o.marked {
				must(g.batch.Delete(r.key(scratch[:0], spaceMark, o.n), nil))
			}
		case opMark:
			if o.n >= r.head.trimmed {
				set(g.batch, r.key(scratch[:0], spaceMark, o.n), o.value)
			}
		case opTrim:
			o.n = r.head.next
			r.clear(g.batch, 0, r.head.next)
			r.head.removed = r.head.next
			r.head.trimmed = r.head.next
		case opDrop:
			r.clear(g.batch, 0, r.head.next)
			r.dropped = true
			g.drops = append(g.drops, r)
		case opLow:
			r.head.low = max(r.head.low, o.n)
		case opIndex:
			d := g.batch.SetDeferred(1+len(o.key), len(o.value)+8)
			d.Key[0] = byte(o.space)
			copy(d.Key[1:], o.key)
			binary.BigEndian.PutUint64(d.Value[copy(d.Value, o.value):], b.ops[o.n].n)
			must(d.Finish())
		case opDeleteRange:
			must(g.batch.DeleteRange(appendKey(nil, o.space, o.key), appendKey(nil, o.space, o.mark), nil))
		case opClear:
			r.clear(g.batch, o.n, o.hi)
		}
	}
}

// clear removes the records from lo on and below hi, and their marks.
func (r *Series) clear(b *pebble.Batch, lo, hi uint64) {
	for _, space := range [...]Space{spaceRecord, spaceMark} {
		must(b.DeleteRange(r.key(nil, space, lo), r.key(nil, space, hi), nil))
	}
}

// set adds a key and a value without the copy that Batch.Set makes.
func set(b *pebble.Batch, key, value []byte) {
	d := b.SetDeferred(len(key), len(value))
	copy(d.Key, key)
	copy(d.Value, value)
	must(d.Finish())
}

// must is for calls whose error is documented to be nil on a batch that is
// not indexed and not closed.
func must(err error) {
	if err != nil {
		panic("store: " + err.Error())
	}
}
