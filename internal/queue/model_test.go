package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestModel does random operations on a queue and on a simple model of one,
// under virtual time, with restarts and crashes in between, and compares.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// rapid shrinks a failure by running it again: each run is a bubble.
		synctest.Test(t, func(t *testing.T) { runModel(t, rt) })
	})
}

// modelled is what the model knows of a message.
type modelled struct {
	delayed   bool
	held      bool      // in flight, also in a back-off
	until     time.Time // held or delayed: when it is visible again
	receives  int
	failures  int
	delivery  *runnel.Delivery // the last one
	flow      bool             // the last delivery was to the flow
	durable   int              // receives as the next process knows them
	untilNext time.Time        // held as the next process knows it; zero: visible there
}

func (m *modelled) visible(now time.Time) bool {
	return !m.held && !m.delayed || !now.Before(m.until)
}

type model struct {
	rt       *rapid.T
	h        *home
	q        *queue.Queue
	source   runnel.Source
	messages map[string]*modelled
	serial   int
	purged   time.Time
}

func runModel(t *testing.T, rt *rapid.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	m := &model{rt: rt, h: h, messages: map[string]*modelled{}}
	m.q = h.create("q", nil)
	m.source = m.q.Source()
	rt.Repeat(map[string]func(*rapid.T){
		"":           m.check,
		"send":       m.send,
		"receive":    func(rt *rapid.T) { m.receive(rt, false) },
		"flow":       func(rt *rapid.T) { m.receive(rt, true) },
		"delete":     m.remove,
		"visibility": m.visibility,
		"settle":     m.settle,
		"move":       m.move,
		"wait":       m.wait,
		"purge":      m.purge,
		"restart":    func(*rapid.T) { m.again(h.restart) },
		"crash":      func(*rapid.T) { m.again(h.crash) },
	})
	h.close()
}

func (m *model) check(rt *rapid.T) {
	synctest.Wait() // timers that are due have run
	now := time.Now()
	var want queue.Depth
	for _, s := range m.messages {
		switch {
		case s.visible(now):
			want.Visible++
		case s.delayed:
			want.Delayed++
		default:
			want.InFlight++
		}
	}
	if got := m.q.Depth(); got != want {
		rt.Fatalf("depth: got %+v, want %+v", got, want)
	}
}

func (m *model) send(rt *rapid.T) {
	ms := make([]runnel.Message, rapid.IntRange(1, 6).Draw(rt, "count"))
	for i := range ms {
		m.serial++
		ms[i].Body = fmt.Appendf(nil, "message %d %0*d", m.serial, rapid.SampledFrom([]int{1, 90, 400}).Draw(rt, "pad"), 0)
		ms[i].Key = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(rt, "tenant")
		s := &modelled{}
		if rapid.IntRange(0, 3).Draw(rt, "delayed") == 0 {
			ms[i].Delay = time.Duration(rapid.IntRange(1, 40).Draw(rt, "delay")) * time.Second
			s.delayed, s.until = true, time.Now().Add(ms[i].Delay)
		}
		m.messages[string(ms[i].Body)] = s
	}
	if _, err := m.q.Send(ms); err != nil {
		rt.Fatalf("send: %v", err)
	}
}

func (m *model) receive(rt *rapid.T, flow bool) {
	lim := runnel.Limits{
		Messages: rapid.IntRange(1, 7).Draw(rt, "most"),
		Lease:    time.Duration(rapid.IntRange(1, 60).Draw(rt, "lease")) * time.Second,
	}
	receive := m.q.Receive
	if flow {
		receive = m.source.Receive
	}
	ds, err := receive(context.Background(), lim)
	if err != nil {
		rt.Fatalf("receive: %v", err)
	}
	now := time.Now()
	visible := 0
	for _, s := range m.messages {
		if s.visible(now) {
			visible++
		}
	}
	if len(ds) > lim.Messages || (len(ds) == 0) != (visible == 0) {
		rt.Fatalf("received %d messages, at most %d of %d visible were asked for", len(ds), lim.Messages, visible)
	}
	for i := range ds {
		d := &ds[i]
		s := m.messages[string(d.Body)]
		if s == nil || !s.visible(now) {
			rt.Fatalf("received %.20q, which is not visible: %+v", d.Body, s)
		}
		s.receives++
		if d.Receives != s.receives || d.Attempt != s.failures+1 {
			rt.Fatalf("%.20q: receives %d and attempt %d, want %d and %d", d.Body, d.Receives, d.Attempt, s.receives, s.failures+1)
		}
		s.delayed, s.held, s.until, s.delivery, s.flow = false, true, now.Add(lim.Lease), d, flow
		if !flow {
			s.durable, s.untilNext = s.receives, s.until
		}
	}
}

// some draws a message that was delivered to a client, or to the flow.
func (m *model) some(rt *rapid.T, flow bool) (string, *modelled) {
	var bodies []string
	for i := 1; i <= m.serial; i++ { // in a fixed order, for rapid
		for _, pad := range []int{1, 90, 400} {
			body := fmt.Sprintf("message %d %0*d", i, pad, 0)
			if s := m.messages[body]; s != nil && s.delivery != nil && s.flow == flow {
				bodies = append(bodies, body)
			}
		}
	}
	if len(bodies) == 0 {
		rt.Skip("nothing was delivered")
	}
	body := rapid.SampledFrom(bodies).Draw(rt, "message")
	return body, m.messages[body]
}

func (m *model) remove(rt *rapid.T) {
	body, s := m.some(rt, false)
	if err := m.q.Delete([]queue.Receipt{s.delivery.Handle.(queue.Receipt)})[0]; err != nil {
		rt.Fatalf("delete: %v", err)
	}
	delete(m.messages, body) // by its last receipt: visible again or not
}

func (m *model) visibility(rt *rapid.T) {
	_, s := m.some(rt, false)
	timeout := time.Duration(rapid.IntRange(0, 60).Draw(rt, "timeout")) * time.Second
	err := m.q.ChangeVisibility([]queue.Visibility{{Receipt: s.delivery.Handle.(queue.Receipt), Timeout: timeout}})[0]
	if s.visible(time.Now()) {
		if !errors.Is(err, queue.ErrNotInFlight) {
			rt.Fatalf("change of a visible message: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("change: %v", err)
	}
	s.until = time.Now().Add(timeout)
	s.untilNext = s.until
	s.held = timeout > 0
}

func (m *model) settle(rt *rapid.T) {
	body, s := m.some(rt, true)
	verdict := rapid.SampledFrom([]runnel.Verdict{runnel.Ack, runnel.Retry, runnel.Release}).Draw(rt, "verdict")
	after := time.Duration(rapid.IntRange(0, 40).Draw(rt, "after")) * time.Second
	err := m.source.Settle(context.Background(), []runnel.Settlement{{Delivery: s.delivery, Verdict: verdict, After: after}})
	s.delivery = nil
	if s.visible(time.Now()) {
		var failed *runnel.SettleError
		if !errors.As(err, &failed) || !errors.Is(failed.Failed[0], runnel.ErrLeaseLost) {
			rt.Fatalf("%s of a lost lease: %v", verdict, err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("%s: %v", verdict, err)
	}
	switch verdict {
	case runnel.Ack:
		delete(m.messages, body)
	case runnel.Retry:
		s.failures++
		s.until = time.Now().Add(after)
		s.durable, s.untilNext = s.receives, s.until
	case runnel.Release:
		s.receives--
		s.held, s.until = after > 0, time.Now().Add(after)
	}
}

// move puts a visible message, which need not be in memory, at the end of the
// queue, as if it were new.
func (m *model) move(rt *rapid.T) {
	ps, err := m.q.Peek(0, 1000)
	if err != nil {
		rt.Fatalf("peek: %v", err)
	}
	if len(ps) != len(m.messages) {
		rt.Fatalf("peeked %d messages, there are %d", len(ps), len(m.messages))
	}
	if len(ps) == 0 {
		rt.Skip("the queue is empty")
	}
	p := rapid.SampledFrom(ps).Draw(rt, "message")
	s := m.messages[string(p.Body)]
	err = m.h.set.Move(m.q.Name(), p.Position, m.q.Name())
	if !s.visible(time.Now()) {
		if runnel.CodeOf(err) != runnel.CodeConflict {
			rt.Fatalf("move of what is not visible: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("move: %v", err)
	}
	m.messages[string(p.Body)] = &modelled{}
	if err := m.h.set.Move(m.q.Name(), p.Position, m.q.Name()); runnel.CodeOf(err) != runnel.CodeNotFound {
		rt.Fatalf("move of what was moved: %v", err)
	}
}

func (m *model) wait(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 30_000).Draw(rt, "ms")) * time.Millisecond)
}

func (m *model) purge(rt *rapid.T) {
	err := m.q.Purge()
	if now := time.Now(); m.purged.IsZero() || now.Sub(m.purged) >= time.Minute {
		m.purged = now
		clear(m.messages)
		if err != nil {
			rt.Fatalf("purge: %v", err)
		}
	} else if !errors.Is(err, queue.ErrPurgeInProgress) {
		rt.Fatalf("purge again: %v", err)
	}
}

// again starts the next process: what the flow held is visible.
func (m *model) again(start func()) {
	start()
	m.q = m.h.queue("q")
	m.source = m.q.Source()
	m.purged = time.Time{}
	for _, s := range m.messages {
		if s.flow || s.delivery == nil {
			s.delivery = nil
		}
		if !s.delayed {
			s.held = !s.untilNext.IsZero()
			s.until = s.untilNext
		}
		s.receives = s.durable
	}
}
