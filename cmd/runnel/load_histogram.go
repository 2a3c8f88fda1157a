package main

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// subBuckets is how many buckets of equal width each power of two has: a
// quantile is off by at most half a bucket, 0.4 %.
const (
	subBits    = 7
	subBuckets = 1 << subBits
)

// histogram counts durations in logarithmic buckets. Any goroutine may record
// at any time. The zero value is ready.
type histogram struct {
	counts [(64 - subBits) * subBuckets]atomic.Uint64
	total  atomic.Uint64
	most   atomic.Int64 // the longest, exactly
}

func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return shift<<subBits + int(v>>shift)
}

// bucketMiddle is the inverse of bucketOf, but for the width of the bucket.
func bucketMiddle(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i-shift<<subBits)<<shift + 1<<shift/2
}

func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))].Add(1)
	h.total.Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// quantile returns the duration that the fraction q of all do not exceed, or
// 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(total))), 1)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= rank {
			return min(time.Duration(bucketMiddle(i)), time.Duration(h.most.Load()))
		}
	}
	return time.Duration(h.most.Load())
}

// latency is a histogram in figures, in milliseconds.
type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// latency returns nil if nothing was recorded.
func (h *histogram) latency() *latency {
	if h.total.Load() == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return rounded(float64(d) / 1e6) }
	return &latency{P50: ms(h.quantile(0.5)), P99: ms(h.quantile(0.99)), P999: ms(h.quantile(0.999)), Max: ms(time.Duration(h.most.Load()))}
}

// rounded has four digits that mean something, for people who read the line.
func rounded(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	if scale <= 1 {
		return math.Round(v)
	}
	return math.Round(v*scale) / scale
}
