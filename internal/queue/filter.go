package queue

import "encoding/binary"

// filter says of a key whether it was added, or perhaps so: a Bloom filter that
// grows, of 10 bits a key, wrong about one in a hundred. It spares the look into
// the store for an id that was never seen.
type filter struct {
	layers []layer
	full   bool // it has forgotten: every key may be there
}

// layer is a Bloom filter for room keys.
type layer struct {
	bits []uint64
	room int
}

const (
	filterBits   = 10
	filterProbes = 7
	filterFirst  = 1 << 10
	filterMost   = 1 << 23 // keys in the last layer: 10 MiB, and as much before it
)

// probes calls f with the words and bits of a key, while it returns true.
func (l *layer) probes(k dedupKey, f func(word *uint64, bit uint64) bool) bool {
	a, b := binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:])|1
	n := uint64(len(l.bits)) * 64
	for range filterProbes {
		at := a % n
		if !f(&l.bits[at/64], 1<<(at%64)) {
			return false
		}
		a += b
	}
	return true
}

func (f *filter) add(k dedupKey) {
	if f.full {
		return
	}
	last := len(f.layers) - 1
	if last < 0 || f.layers[last].room == 0 {
		room := filterFirst << (last + 1)
		if room > filterMost {
			f.layers, f.full = nil, true
			return
		}
		f.layers = append(f.layers, layer{bits: make([]uint64, room*filterBits/64), room: room})
		last++
	}
	l := &f.layers[last]
	l.room--
	l.probes(k, func(word *uint64, bit uint64) bool {
		*word |= bit
		return true
	})
}

func (f *filter) has(k dedupKey) bool {
	for i := range f.layers {
		if f.layers[i].probes(k, func(word *uint64, bit uint64) bool { return *word&bit != 0 }) {
			return true
		}
	}
	return f.full
}
