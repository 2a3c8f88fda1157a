package runnel

import (
	"math"
	"sync/atomic"
	"time"
)

// Bounds are the upper bounds of the buckets of a Histogram; the last bucket,
// beyond them, has none.
var Bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Histogram is how often something took how long.
type Histogram struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// Count is how often.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Add adds what o counted.
func (h *Histogram) Add(o *Histogram) {
	for i := range h.Counts {
		h.Counts[i] += o.Counts[i]
	}
	h.Sum += o.Sum
}

// Quantile returns the bound of the bucket that holds the value below which a
// part q of all are, 0 to 1; the last bound where it is beyond all of them, and
// 0 where nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.Count())))
	var n uint64
	for i, c := range h.Counts {
		if n += c; c > 0 && n >= rank {
			return Bounds[min(i, len(Bounds)-1)]
		}
	}
	return 0
}

// Durations is a Histogram that is being filled, by several goroutines at once.
type Durations struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// Record counts one.
func (d *Durations) Record(took time.Duration) {
	i := 0
	for i < len(Bounds) && took > Bounds[i] {
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(took))
}

// Read returns what was counted.
func (d *Durations) Read() (out Histogram) {
	for i := range d.counts {
		out.Counts[i] = d.counts[i].Load()
	}
	out.Sum = time.Duration(d.sum.Load())
	return out
}
