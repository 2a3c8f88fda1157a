package runnel_test

import (
	"testing"
	"time"

	"github.com/runnel-io/runnel"
)

func TestQuantile(t *testing.T) {
	for _, test := range []struct {
		took []time.Duration
		q    float64
		want time.Duration
	}{
		{nil, 0.5, 0},
		{[]time.Duration{3 * time.Millisecond}, 0.5, 5 * time.Millisecond},
		{[]time.Duration{5 * time.Millisecond}, 0.99, 5 * time.Millisecond},
		// At least so large a part of all took at most this long.
		{[]time.Duration{time.Millisecond, time.Second}, 0.5, time.Millisecond},
		{[]time.Duration{time.Millisecond, time.Second}, 0.99, time.Second},
		{[]time.Duration{time.Millisecond, time.Second}, 1, time.Second},
		{[]time.Duration{time.Hour}, 0.5, time.Minute},
	} {
		var d runnel.Durations
		for _, took := range test.took {
			d.Record(took)
		}
		h := d.Read()
		if got := h.Quantile(test.q); got != test.want {
			t.Errorf("%v of %v: got %s, want %s", test.q, test.took, got, test.want)
		}
	}
}
