package queue_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

// The ceilings of this file are loose, several times what is measured: they
// catch a cost that follows the backlog, or a copy too many. Figures come from
// make bench.

// TestAllocations: what one message costs in allocations.
func TestAllocations(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	m := []runnel.Message{{Body: make([]byte, 1024)}}
	s := q.Source()
	check := func(what string, most float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, f); got > most {
			t.Errorf("%s: %.0f allocations, at most %.0f are expected", what, got, most)
		}
	}
	check("send", 60, func() {
		if _, err := q.Send(m); err != nil {
			t.Fatal(err)
		}
	})
	check("receive and delete by a client", 120, func() {
		remove(t, q, receive(t, q, runnel.Limits{Messages: 1}))
		send(t, q, "x")
	})
	check("receive and ack by a flow", 120, func() {
		ds, err := s.Receive(context.Background(), runnel.Limits{Messages: 1})
		if err != nil || len(ds) != 1 {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		if err := s.Settle(context.Background(), []runnel.Settlement{{Delivery: &ds[0]}}); err != nil {
			t.Fatal(err)
		}
		send(t, q, "x")
	})
	check("receive, and ack and send in a transaction", 90, func() {
		ds, err := s.Receive(context.Background(), runnel.Limits{Messages: 1})
		if err != nil || len(ds) != 1 {
			t.Fatalf("received %d, %v", len(ds), err)
		}
		if err := moveOne(context.Background(), s, q.Sink(), &ds[0], m); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBacklogIsNotInMemory: 100,000 messages of 1 KB wait; what is in memory,
// and how long opening takes, does not follow from that.
func TestBacklogIsNotInMemory(t *testing.T) {
	dir := t.TempDir()
	name := queue.Name{Account: "default", Queue: "q"}
	open := func() (*store.Store, *queue.Set) {
		t.Helper()
		s, err := store.Open(dir, store.Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		set, err := queue.Open(s, queue.Options{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return s, set
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	s, set := open()
	q, _, err := set.Create(name, queue.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	ms := make([]runnel.Message, 500)
	for i := range ms {
		ms[i].Body = make([]byte, 1024)
	}
	for range 200 {
		if _, err := q.Send(ms); err != nil {
			t.Fatal(err)
		}
	}
	wantDepth(t, q, 100_000, 0, 0)
	if grown := int64(heap()) - int64(before); grown > 64<<20 {
		t.Errorf("100 MB of messages wait, and the heap has grown by %d MB", grown>>20)
	}
	// The process dies: nothing is closed in good order. The next one waits
	// for the lock, so this store is closed, but not the set.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s, set = open()
	defer func() {
		if err := set.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if q, err = set.Queue(name); err != nil {
		t.Fatal(err)
	}
	remove(t, q, receive(t, q, runnel.Limits{Messages: 10}))
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("opening and the first receive took %v", took)
	}
	wantDepth(t, q, 99_990, 0, 0)
}
