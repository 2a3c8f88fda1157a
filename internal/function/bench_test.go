package function_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// idle is a pool that always has a worker.
type idle struct{}

func (idle) Start(context.Context, function.Program, runnel.Workers) (function.Pool, error) {
	return idle{}, nil
}

func (idle) Acquire(context.Context) (runnel.Invoker, func(), error) { return nil, func() {}, nil }
func (idle) Resize(runnel.Workers)                                   {}
func (idle) Drain(context.Context) error                             { return nil }
func (idle) Stats() function.PoolStats                               { return function.PoolStats{} }
func (idle) Limits() []function.Limit                                { return nil }

// What this package adds to each call.
func BenchmarkAcquire(b *testing.B) {
	set, err := function.Open(b.Context(), function.Options{Dir: filepath.Join(b.TempDir(), "functions"), Runner: idle{}, Records: &records{}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := set.Deploy(b.Context(), echo(), code("one")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		place, err := set.Acquire(b.Context(), "demo/echo@live")
		if err != nil {
			b.Fatal(err)
		}
		place.Release()
	}
	if err := set.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
