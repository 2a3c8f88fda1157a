package queue

import (
	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
)

// Shrink makes windows, readings and the distance between low-water marks so
// small that a test of a few messages meets all of their edges.
func (s *Set) Shrink() {
	s.limits = limits{
		window: 3, windowBytes: 200, cachedBytes: 400,
		refill: 4, refillBytes: 300, refillLeast: 1,
		load: 2, parked: 1 << 10, noisy: 3, aside: 2,
		low: 5, inFlight: MaxInFlight,
	}
}

// WaitMoves waits until no move task is at work.
func (s *Set) WaitMoves() { s.tasks.running.Wait() }

// Set returns the set of a queue.
func (q *Queue) Set() *Set { return q.set }

// LimitInFlight stands for MaxInFlight.
func (s *Set) LimitInFlight(n int64) { s.limits.inFlight = n }

// EncodeRecord and DecodeRecord are how messages are stored.
func EncodeRecord(m *runnel.Message) ([]byte, error)      { return encodeRecord(m, uuid.Nil) }
func DecodeRecord(record []byte, m *runnel.Message) error { return decodeRecord(record, m) }

// LimitParked bounds the numbers of waiting messages that FIFO queues have in
// memory.
func (s *Set) LimitParked(n int) { s.limits.parked = n }

// FilterErrors adds n keys to a filter, and returns how many of them it denies
// and how many of n others it affirms.
func FilterErrors(n int) (denied, affirmed int) {
	var f filter
	key := func(i int) dedupKey {
		return dedupKey(groupOf([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}))
	}
	for i := range n {
		f.add(key(i))
	}
	for i := range n {
		if !f.has(key(i)) {
			denied++
		}
		if f.has(key(n + i)) {
			affirmed++
		}
	}
	return denied, affirmed
}
