package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// Series is a run of numbered records. See the package comment.
type Series struct {
	id uint64
	s  *Store

	// head is the state as of the last batch that the writer merged. Only the
	// writer touches it; opened is its value when the series was opened.
	head    header
	dirty   bool // the header is part of the group that is being merged
	dropped bool
	opened  header
}

// header counts a series. Records below trimmed are gone, whatever else is
// said of them. low is a hint: no record without a mark lies below it.
type header struct{ next, removed, trimmed, low uint64 }

func (h header) append(buf []byte) []byte {
	return be64(be64(be64(be64(buf, h.next), h.removed), h.trimmed), h.low)
}

func decodeHeader(v []byte) (header, error) {
	if len(v) != 32 {
		return header{}, fmt.Errorf("series header of %d bytes, want 32", len(v))
	}
	u := binary.BigEndian.Uint64
	return header{u(v), u(v[8:]), u(v[16:]), u(v[24:])}, nil
}

// Series opens the series with this id, which need not exist yet: a series
// begins with its first append. An id belongs to one series for ever: it must
// not be used again after Batch.Drop.
func (s *Store) Series(id uint64) (*Series, error) {
	s.seriesMu.Lock()
	defer s.seriesMu.Unlock()
	if r, ok := s.series[id]; ok {
		return r, nil
	}
	r := &Series{id: id, s: s}
	v, err := s.get(r.headerKey(nil), nil)
	switch {
	case err == nil:
		if r.head, err = decodeHeader(v); err != nil {
			return nil, err
		}
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	r.opened = r.head
	s.series[id] = r
	return r, nil
}

// Next is the number that the next record would have got when the series was
// opened, and Count how many records it held.
func (r *Series) Next() uint64  { return r.opened.next }
func (r *Series) Count() uint64 { return r.opened.next - r.opened.removed }

// Low is the last value given to Batch.Low when the series was opened: no
// record without a mark is below it.
func (r *Series) Low() uint64 { return max(r.opened.low, r.opened.trimmed) }

// Record appends the record n to buf, or returns ErrNotFound.
func (r *Series) Record(n uint64, buf []byte) ([]byte, error) {
	var key [17]byte
	return r.s.get(r.key(key[:0], spaceRecord, n), buf)
}

// Records calls f with the records from number lo on and below hi, in order,
// until f returns false. The slice is good until f returns.
func (r *Series) Records(lo, hi uint64, f func(n uint64, record []byte) bool) error {
	return r.scan(spaceRecord, lo, hi, f)
}

// Marks calls f with every mark of the series, in the order of their numbers.
func (r *Series) Marks(f func(n uint64, mark []byte) bool) error {
	return r.scan(spaceMark, 0, math.MaxUint64, f)
}

func (r *Series) scan(space Space, lo, hi uint64, f func(n uint64, value []byte) bool) error {
	it, err := r.s.db.NewIter(&pebble.IterOptions{
		LowerBound: r.key(nil, space, lo),
		UpperBound: r.key(nil, space, hi),
	})
	if err != nil {
		return fmt.Errorf("scan series: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("scan series: %w", err), it.Close())
		}
		if !f(binary.BigEndian.Uint64(it.Key()[9:]), v) {
			break
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("scan series: %w", err)
	}
	return nil
}

func (r *Series) headerKey(buf []byte) []byte { return be64(append(buf, byte(spaceHeader)), r.id) }

func (r *Series) key(buf []byte, space Space, n uint64) []byte {
	return be64(be64(append(buf, byte(space)), r.id), n)
}
