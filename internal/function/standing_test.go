package function_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// histogram has one value.
func histogram(took time.Duration) runnel.Histogram {
	var d runnel.Durations
	d.Record(took)
	return d.Read()
}

// does makes the n-th pool that was started say that it did this.
func (b *bench) does(n int, did function.PoolStats) {
	b.t.Helper()
	pools := b.runner.started()
	if len(pools) <= n {
		b.t.Fatalf("got %d pools, want more than %d", len(pools), n)
	}
	pools[n].mu.Lock()
	defer pools[n].mu.Unlock()
	pools[n].did = did
}

// sums are stats without what is of the moment.
func sums(s function.PoolStats) function.PoolStats {
	s.Min, s.Max, s.Idle, s.Busy, s.Starting, s.Waiting = 0, 0, 0, 0, 0, 0
	return s
}

// TestStatsOfVersions: two versions side by side are told apart, and what they
// did is counted once, be their workers busy, drained, or ended.
func TestStatsOfVersions(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers.Max = 2
	one := b.deploy(def, code("one")).Version
	two := b.buildOnly(def, "two").Version
	b.call("demo/echo")
	b.call("demo/echo@" + two)
	b.call("demo/echo@" + two)
	b.does(0, function.PoolStats{
		Waiting: 3, Errors: 1, Timeouts: 2, Crashes: 3, OutOfMemory: 4, Interrupted: 5,
		Wait: histogram(time.Millisecond), Start: histogram(time.Second), Run: histogram(20 * time.Millisecond), PeakMemory: 7 << 20,
	})
	b.does(1, function.PoolStats{
		Waiting: 9, Errors: 10, Timeouts: 20, Crashes: 30, OutOfMemory: 40, Interrupted: 50,
		Wait: histogram(time.Millisecond), Start: histogram(time.Second), Run: histogram(time.Minute), PeakMemory: 5 << 20,
	})
	run, both := histogram(20*time.Millisecond), histogram(time.Millisecond)
	long := histogram(time.Minute)
	run.Add(&long)
	both.Add(&both)
	start := histogram(time.Second)
	start.Add(&start)
	wantAll := function.PoolStats{
		Calls: 3, Errors: 11, Timeouts: 22, Crashes: 33, OutOfMemory: 44, Interrupted: 55, Starts: 2,
		Wait: both, Start: start, Run: run, PeakMemory: 7 << 20,
	}
	want := map[string]function.PoolStats{
		one: {
			Calls: 1, Errors: 1, Timeouts: 2, Crashes: 3, OutOfMemory: 4, Interrupted: 5, Starts: 1,
			Wait: histogram(time.Millisecond), Start: histogram(time.Second), Run: histogram(20 * time.Millisecond), PeakMemory: 7 << 20,
		},
		two: {
			Calls: 2, Errors: 10, Timeouts: 20, Crashes: 30, OutOfMemory: 40, Interrupted: 50, Starts: 1,
			Wait: histogram(time.Millisecond), Start: histogram(time.Second), Run: histogram(time.Minute), PeakMemory: 5 << 20,
		},
	}
	check := func(when string) {
		t.Helper()
		info := b.info()
		ran := make(map[string]function.PoolStats)
		for version, s := range info.Ran {
			ran[version] = sums(s)
		}
		if diff := cmp.Diff(wantAll, sums(info.Stats)); diff != "" {
			t.Errorf("%s, all (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(want, ran); diff != "" {
			t.Errorf("%s, by version (-want +got):\n%s", when, diff)
		}
	}
	check("both answer")
	if info := b.info(); info.Stats.Waiting != 3 || info.Ran[two].Waiting != 9 {
		t.Errorf("got %d calls that wait, and %d at the other version, want 3 and 9", info.Stats.Waiting, info.Ran[two].Waiting)
	}
	place := b.acquire("demo/echo")
	if diff := cmp.Diff(two, b.rollback(two).Live); diff != "" {
		t.Fatal(diff)
	}
	// The rollback has a pool of its own, and those of before drain.
	wantAll.Starts++
	ofTwo := want[two]
	ofTwo.Starts++
	want[two] = ofTwo
	check("the first one drains")
	if info := b.info(); info.Stats.Waiting != 0 || info.Stats.Idle != 1 {
		t.Errorf("got %d calls that wait and %d idle workers, want what is of the live version: 0 and 1", info.Stats.Waiting, info.Stats.Idle)
	}
	place.Release()
	b.close()
	check("all have ended")
	if info := b.info(); info.Stats.Idle != 0 {
		t.Errorf("got %d idle workers of no pool", info.Stats.Idle)
	}
	b.open()
	if info := b.info(); len(info.Ran) != 0 || info.Stats.Calls != 0 {
		t.Errorf("got %+v, %+v after a restart, want nothing", info.Stats, info.Ran)
	}
}

// TestStatsOfManyVersions: what is not kept has no stats of its own, and is in
// the sum.
func TestStatsOfManyVersions(t *testing.T) {
	b := newBench(t)
	const deploys = 30
	for i := range deploys {
		b.deploy(echo(), code(fmt.Sprint(i)))
		b.call("demo/echo")
	}
	b.close()
	info := b.info()
	if info.Stats.Calls != deploys || info.Stats.Starts != deploys {
		t.Errorf("got %d calls and %d starts, want %d of both", info.Stats.Calls, info.Stats.Starts, deploys)
	}
	if len(info.Versions) >= deploys || len(info.Ran) != len(info.Versions) {
		t.Errorf("got the stats of %d versions, and %d that are kept of %d", len(info.Ran), len(info.Versions), deploys)
	}
	for version, s := range info.Ran {
		if s.Calls != 1 {
			t.Errorf("version %s: got %d calls, want 1", version, s.Calls)
		}
	}
}
