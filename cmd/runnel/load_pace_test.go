package main

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ticksOf collects what a pacer hands out.
func ticksOf(p *pacer) (ticks []tick) {
	ctx := context.Background()
	go p.run(ctx)
	for {
		t, ok := p.next(ctx)
		if !ok {
			return ticks
		}
		ticks = append(ticks, t)
	}
}

func TestPaceSchedule(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name string
		opt  loadOptions
		want []tick
	}{
		{"by count", loadOptions{batch: 1, rate: 1000, messages: 4}, []tick{{0, 1}, {1 * ms, 1}, {2 * ms, 1}, {3 * ms, 1}}},
		{"by time", loadOptions{batch: 1, rate: 500, duration: 6 * ms}, []tick{{0, 1}, {2 * ms, 1}, {4 * ms, 1}}},
		{"batches, the last one short", loadOptions{batch: 4, rate: 2000, messages: 10}, []tick{{0, 4}, {2 * ms, 4}, {4 * ms, 2}}},
		{"whichever ends first", loadOptions{batch: 1, rate: 1000, messages: 100, duration: 2 * ms}, []tick{{0, 1}, {1 * ms, 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPacer(&test.opt)
			got := ticksOf(p)
			took := time.Since(p.start)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(tick{})); diff != "" {
				t.Fatalf("ticks (-want +got):\n%s", diff)
			}
			if last := got[len(got)-1].due; took < last {
				t.Errorf("the last tick, due after %v, came after %v", last, took)
			}
		})
	}
}

func TestPaceFlatOut(t *testing.T) {
	got := ticksOf(newPacer(&loadOptions{batch: 3, messages: 8}))
	var n []int64
	for _, t := range got {
		n = append(n, t.n)
	}
	if diff := cmp.Diff([]int64{3, 3, 2}, n); diff != "" {
		t.Errorf("messages of the ticks (-want +got):\n%s", diff)
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPacer(&loadOptions{batch: 1, rate: 0.001, duration: time.Hour})
	go p.run(ctx)
	if _, ok := p.next(ctx); !ok {
		t.Fatal("there is no first tick")
	}
	cancel()
	if tick, ok := p.next(ctx); ok {
		t.Errorf("a tick after the end: %+v", tick)
	}
}

// stallingWorker confirms nothing for some time after its first send.
type stallingWorker struct {
	loadTarget
	loadWorker
	stall time.Duration
	over  <-chan time.Time
}

func (w *stallingWorker) worker() loadWorker { return w }

func (w *stallingWorker) send(ctx context.Context, _ [][]byte) error {
	if w.over == nil {
		w.over = time.After(w.stall)
		select {
		case <-w.over:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// TestStallIsChargedToAll has a server stall for the first 100 ms of a load of
// 1,000 messages/s: what was due meanwhile is as late as it is, though it was
// not even sent. A load generator that waits for answers would see one slow
// message.
func TestStallIsChargedToAll(t *testing.T) {
	const stall = 100 * time.Millisecond
	o := loadOptions{size: 64, batch: 1, rate: 1000, messages: 100, producers: 1}
	r := newLoadRun(&o, &stallingWorker{stall: stall})
	if _, err := r.produceAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The latencies are 100, 99, 98 ... ms.
	if got := r.sendTimes.total.Load(); got != 100 {
		t.Fatalf("%d latencies, want 100", got)
	}
	if got := r.sendTimes.quantile(0.5); got < stall*4/10 {
		t.Errorf("median latency %v, want about %v", got, stall/2)
	}
	if got := r.sendTimes.quantile(0.9); got < stall*8/10 {
		t.Errorf("p90 of the latency %v, want about %v", got, stall*9/10)
	}
}

// TestPaceHoldsItsRate looks at the mean rate over a short run: it must not
// drift, whatever a single sleep does.
func TestPaceHoldsItsRate(t *testing.T) {
	const rate, n = 5000, 500
	p := newPacer(&loadOptions{batch: 1, rate: rate, messages: n})
	got := ticksOf(p)
	took := time.Since(p.start)
	if len(got) != n {
		t.Fatalf("%d ticks, want %d", len(got), n)
	}
	// A machine that is busy makes it late, never early.
	if want := time.Duration(float64(n-1) / rate * float64(time.Second)); took < want || math.Abs(float64(got[n-1].due-want)) > 1e3 {
		t.Errorf("%d ticks took %v, the last was due after %v, want %v", n, took, got[n-1].due, want)
	}
}
