package queue_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel/internal/queue"
)

// TestModel does random operations on a queue, its dead-letter queue and on a
// simple model of both, under virtual time, with restarts, crashes and jumps of
// the wall clock in between, and compares.
func TestModel(t *testing.T) { checkModel(t, false) }

// TestFIFOModel is TestModel for FIFO queues: order and locks of groups,
// deduplication and repeated receives besides.
func TestFIFOModel(t *testing.T) { checkModel(t, true) }

// checkModel checks as often as rapid is told to. With RUNNEL_MODEL=N it goes on
// until N operations were done, in rounds with the seeds 1, 2, 3 and so on.
func checkModel(t *testing.T, fifo bool) {
	done := make(map[string]int)
	check := func() {
		rapid.Check(t, func(rt *rapid.T) {
			// rapid shrinks a failure by running it again: each run is a bubble,
			// and what rapid panics with must leave it.
			var failure any
			synctest.Test(t, func(t *testing.T) {
				defer func() { failure = recover() }()
				runModel(t, rt, fifo, done)
			})
			switch {
			case failure == nil:
			case rt.Failed():
				panic(failure)
			default:
				rt.SkipNow() // it has run out of data
			}
		})
	}
	sum := func() (n int) {
		for _, k := range done {
			n += k
		}
		return n
	}
	begun := time.Now()
	rounds := 0
	if text := os.Getenv("RUNNEL_MODEL"); text != "" {
		want, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("RUNNEL_MODEL: %v", err)
		}
		for ; sum() < want && !t.Failed(); rounds++ {
			if err := flag.Set("rapid.seed", strconv.Itoa(rounds+1)); err != nil {
				t.Fatal(err)
			}
			check()
		}
	} else {
		check()
	}
	seeds := "a random seed"
	if rounds > 0 {
		seeds = fmt.Sprintf("seeds 1 to %d", rounds)
	}
	t.Logf("%d operations, %d restarts and %d crashes among them, %s, %v",
		sum(), done["restart"], done["crash"], seeds, time.Since(begun).Round(time.Second))
	for _, name := range slices.Sorted(maps.Keys(done)) {
		t.Logf("%8d %s", done[name], name)
	}
}

// receipt is one that a client was given at some time.
type receipt struct {
	of      *modelled
	on      *line
	receipt queue.Receipt
}

type model struct {
	h        *home
	main     *line
	dead     *line // of main
	byGroup  bool  // the scope of deduplication
	serial   int
	receipts []receipt
	jump     time.Duration // of the wall clock, in all
	jumps    int

	process      int
	stop         func() // ends Set.Run
	started      time.Time
	startedWall  time.Time
	startedJumps int
}

func (m *model) wall() time.Time { return time.Now().Add(m.jump) }

func runModel(t *testing.T, rt *rapid.T, fifo bool, done map[string]int) {
	h := newHome(t)
	h.small = true
	m := &model{h: h}
	h.now = m.wall
	h.restart()
	suffix := ""
	if fifo {
		suffix = ".fifo"
		m.byGroup = rapid.Bool().Draw(rt, "dedup by group")
	}
	open := func(name string, retention time.Duration, receives int) *line {
		l := &line{
			name: name + suffix, fifo: fifo, ids: map[string][]sentOnce{}, attempts: map[string]*repeatable{}, last: -1,
			visibility: 30 * time.Second, retention: retention, receives: receives,
		}
		l.q = h.create(l.name, func(s *queue.Settings) {
			if fifo {
				s.FIFO = &queue.FIFO{DedupByGroup: m.byGroup}
			}
			m.settings(l, s)
		})
		return l
	}
	m.dead = open("dead", 10*time.Minute, 0)
	m.main = open("q", 3*time.Minute, 4)
	m.begin()
	defer func() { m.stop() }()
	rt.Repeat(map[string]func(*rapid.T){
		"": m.check,
		"operation": func(rt *rapid.T) {
			op := m.operation(rt)
			op.do(rt)
			done[op.name]++
		},
	})
}

// operation is what the model can do, and how often of 64 times it does it.
type operation struct {
	name   string
	weight int
	do     func(*rapid.T)
}

// slot is a number below 64, of which each is as likely: rapid's own generators
// prefer low ones.
var slot = rapid.Custom(func(rt *rapid.T) (n int) {
	for range 6 {
		n <<= 1
		if rapid.Bool().Draw(rt, "bit") {
			n++
		}
	}
	return n
})

// operation draws the next one.
func (m *model) operation(rt *rapid.T) operation {
	ops := []operation{
		{"send", 12, m.send},
		{"receive", 10, func(rt *rapid.T) { m.receive(rt, false) }},
		{"flow receive", 7, func(rt *rapid.T) { m.receive(rt, true) }},
		{"delete", 4, m.remove},
		{"change visibility", 4, m.visibility},
		{"settle", 5, m.settle},
		{"settle all", 2, m.settleAll},
		{"transaction", 2, m.transaction},
		{"extend", 1, m.extend},
		{"close source", 1, m.closeSource},
		{"move", 2, m.move},
		{"configure", 2, m.configure},
		{"wait", 5, m.wait},
		{"purge", 1, m.purge},
		{"jump of the clock", 1, m.jumpWall},
		{"restart", 1, func(rt *rapid.T) { m.again(rt, m.h.restart) }},
		{"crash", 2, func(rt *rapid.T) { m.again(rt, m.h.crash) }},
		{"move task", 1, m.moveTask},
		{"receive attempt", 1, m.attempt},
	}
	n := slot.Draw(rt, "operation")
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			return op
		}
	}
	panic("the weights are not 64")
}

// begin begins with a process.
func (m *model) begin() {
	m.process++
	m.started, m.startedWall, m.startedJumps = time.Now(), m.wall(), m.jumps
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.h.set.Run(ctx)
	}()
	m.stop = func() {
		stop()
		<-ended
	}
	for _, l := range m.lines() {
		l.q = m.h.queue(l.name)
		l.source = l.q.Source()
		l.purged = time.Time{}
		clear(l.attempts)
	}
}

func (m *model) lines() []*line { return []*line{m.main, m.dead} }

// again starts the next process, which knows what is stored: what the flow held
// is visible.
func (m *model) again(rt *rapid.T, start func()) {
	m.stop()
	start()
	m.begin()
	now, wall := time.Now(), m.wall()
	for _, l := range m.lines() {
		for _, s := range l.order {
			d := s.stored
			if d == nil {
				d = &stored{}
			}
			s.receives, s.failures, s.first, s.delivery, s.flow = d.receives, d.failures, d.first, d.delivery, false
			longest := queue.MaxVisibilityTimeout
			if d.delayed {
				longest = queue.MaxDelay
			}
			remains := min(d.due.Sub(wall), longest)
			s.held, s.delayed, s.until = d.held && remains > 0, d.delayed && remains > 0, now.Add(remains)
			s.leasedAt = now.Add(-min(max(wall.Sub(d.leased), 0), queue.MaxVisibilityTimeout))
		}
	}
	m.revive(rt)
}

func (m *model) check(rt *rapid.T) {
	m.look()
	now := time.Now()
	for _, l := range m.lines() {
		var want, more queue.Depth
		for _, s := range l.order {
			d := &want
			if s.expired {
				d = &more
			}
			switch {
			case s.visible(now):
				d.Visible++
			case s.delayed:
				d.Delayed++
			default:
				d.InFlight++
			}
		}
		got := l.q.Depth()
		within := func(got, want, more int64) bool { return want <= got && got <= want+more }
		if !within(got.Visible, want.Visible, more.Visible) || !within(got.Delayed, want.Delayed, more.Delayed) || got.InFlight != want.InFlight {
			rt.Fatalf("depth of %s: got %+v, want %+v, or up to %+v more that have expired", l.name, got, want, more)
		}
	}
}

// some draws the queue that the next operation is on: mostly the main one.
func (m *model) some(rt *rapid.T) *line {
	if rapid.IntRange(0, 4).Draw(rt, "queue") == 0 {
		return m.dead
	}
	return m.main
}

// wait lets time pass.
func (m *model) wait(rt *rapid.T) {
	window := int(queue.DedupWindow / time.Millisecond)
	time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 20, 700, 3000, 9000, 30_000, 70_000, window - 500, window}).Draw(rt, "ms")) * time.Millisecond)
}

// jumpWall puts the wall clock forward or back, which moves no timeout.
func (m *model) jumpWall(rt *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{10 * time.Second, 2 * time.Minute, time.Hour, 13 * time.Hour}).Draw(rt, "by")
	if rapid.Bool().Draw(rt, "back") {
		by = -by
	}
	m.jump += by
	m.jumps++
	m.revive(rt)
}
