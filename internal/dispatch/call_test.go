package dispatch

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
)

// BenchmarkGoHandler is what dispatch does around a Go handler that does
// nothing, its deadline included: the place, the context, the call, its
// figures. Run it with -cpu 1: the time of the process is then that of the
// calls.
func BenchmarkGoHandler(b *testing.B) {
	h := runnel.WithTimeout(runnel.HandlerFunc(func(context.Context, runnel.Message) (runnel.Result, error) { return runnel.Result{}, nil }), 30*time.Second)
	f := &Flow{nonce: "nonce", timeout: 30 * time.Second}
	f.cfg.Handler = h
	it := &item{d: runnel.Delivery{Message: runnel.Message{ID: "0f0e8a4e-3c60-4cf4-9e0b-6d3c1c5a7f10", Body: make([]byte, 1024)}}, attempt: 1}
	c := &call{items: []*item{it}}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		place, _, err := f.acquire(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.invoke(b.Context(), c, place); err != nil {
			b.Fatal(err)
		}
		place.Release()
	}
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/call")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
