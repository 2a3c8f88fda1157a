package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	// Each bucket begins where the one before ends, and is narrow.
	for i := 1; i < len(histogram{}.counts); i++ {
		middle := bucketMiddle(i)
		if middle > math.MaxInt64 {
			break
		}
		if got := bucketOf(middle); got != i {
			t.Fatalf("the middle of bucket %d, %d, is in bucket %d", i, middle, got)
		}
	}
	for shift := range 63 {
		for _, v := range []uint64{1 << shift, 1<<shift - 1, 1<<shift + 1, 1<<shift + 1<<shift/3} {
			off := math.Abs(float64(bucketMiddle(bucketOf(v))) - float64(v))
			if off > 0.0041*float64(v) {
				t.Errorf("%d is counted as %d", v, bucketMiddle(bucketOf(v)))
			}
		}
	}
}

func TestQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"uniform":     func() time.Duration { return time.Duration(rng.Int64N(int64(time.Second))) },
		"exponential": func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(time.Millisecond)) },
		"constant":    func() time.Duration { return 1234567 },
		"heavy tail":  func() time.Duration { return time.Duration(float64(time.Microsecond) / (1 - rng.Float64())) },
	} {
		t.Run(name, func(t *testing.T) {
			var h histogram
			all := make([]time.Duration, 10_000)
			for i := range all {
				all[i] = draw()
				h.record(all[i])
			}
			slices.Sort(all)
			for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
				want := all[max(int(math.Ceil(q*float64(len(all)))), 1)-1]
				got := h.quantile(q)
				if math.Abs(float64(got-want)) > 0.01*float64(want) {
					t.Errorf("quantile %v = %v, want %v within 1 %%", q, got, want)
				}
			}
			if got, want := h.latency().Max, rounded(float64(all[len(all)-1])/1e6); got != want {
				t.Errorf("max = %v ms, want %v exactly", got, want)
			}
		})
	}
}

func TestHistogramEdges(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("the median of nothing = %v, want 0", got)
	}
	if h.latency() != nil {
		t.Error("nothing was recorded, and there are figures")
	}
	h.record(-time.Second) // a clock that stepped back
	h.record(math.MaxInt64)
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("a negative duration counts as %v, want 0", got)
	}
	if got, want := float64(h.quantile(1)), float64(math.MaxInt64); math.Abs(got-want) > 0.01*want {
		t.Errorf("the longest duration counts as %v", h.quantile(1))
	}
}

func TestRounded(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 1.23456: 1.235, 0.000123456: 0.0001235, 98765.4321: 98765, 1e12: 1e12, -1.23456: -1.235, math.Inf(1): 0} {
		if got := rounded(in); math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("rounded(%v) = %v, want %v", in, got, want)
		}
	}
}
