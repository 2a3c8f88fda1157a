package queue_test

import (
	"context"
	"errors"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
)

// settle gives some of what the flow has a verdict each.
func (m *model) settle(rt *rapid.T) {
	l := m.some(rt)
	some := m.delivered(l, true)
	if len(some) == 0 {
		rt.Skip("the flow has nothing")
	}
	from := rapid.IntRange(0, len(some)-1).Draw(rt, "from")
	some = some[from : from+rapid.IntRange(1, min(3, len(some)-from)).Draw(rt, "count")]
	ss := make([]runnel.Settlement, len(some))
	for i := range ss {
		ss[i].Verdict = rapid.SampledFrom([]runnel.Verdict{runnel.Ack, runnel.Retry, runnel.Release, runnel.GiveUp}).Draw(rt, "verdict")
		ss[i].After = time.Duration(rapid.SampledFrom([]int{0, 1, 10, 40}).Draw(rt, "after")) * time.Second
		if ss[i].Verdict == runnel.GiveUp {
			ss[i].Reason = &runnel.DeadLetter{Source: "queue:" + m.main.name, Type: "test"}
		}
	}
	m.settled(rt, l, some, ss)
}

// settleAll acks all that the flow has, so that groups are freed.
func (m *model) settleAll(rt *rapid.T) {
	l := m.some(rt)
	all := m.delivered(l, true)
	if len(all) == 0 {
		rt.Skip("the flow has nothing")
	}
	m.settled(rt, l, all, make([]runnel.Settlement, len(all)))
}

func (m *model) settled(rt *rapid.T, l *line, some []*modelled, ss []runnel.Settlement) {
	for i := range ss {
		ss[i].Delivery = some[i].delivery
	}
	err := l.source.Settle(context.Background(), ss)
	var failed *runnel.SettleError
	if err != nil && !errors.As(err, &failed) {
		rt.Fatalf("settle: %v", err)
	}
	now := time.Now()
	for i, s := range some {
		var got error
		if failed != nil {
			got = failed.Failed[i]
		}
		verdict := ss[i].Verdict
		if s.visible(now) {
			if !errors.Is(got, runnel.ErrLeaseLost) {
				rt.Fatalf("%s of a lost lease: %v", verdict, got)
			}
			s.delivery = nil
			continue
		}
		if verdict == runnel.GiveUp && l.receives == 0 {
			if runnel.CodeOf(got) != runnel.CodeUnsupported {
				rt.Fatalf("give up without a dead-letter queue: %v", got)
			}
			continue
		}
		if got != nil {
			rt.Fatalf("%s: %v", verdict, got)
		}
		s.delivery = nil
		switch verdict {
		case runnel.Ack:
			m.drop(s)
		case runnel.GiveUp:
			m.bury(s)
		case runnel.Retry:
			s.failures++
			s.until = now.Add(ss[i].After)
			m.keep(s)
		case runnel.Release:
			s.receives--
			s.held, s.until = ss[i].After > 0, now.Add(ss[i].After)
		}
	}
}

// extend gives what the flow has more time, never less.
func (m *model) extend(rt *rapid.T) {
	l := m.some(rt)
	some := m.delivered(l, true)
	if len(some) == 0 {
		rt.Skip("the flow has nothing")
	}
	by := time.Duration(rapid.IntRange(1, 60).Draw(rt, "by")) * time.Second
	ds := make([]*runnel.Delivery, len(some))
	for i, s := range some {
		ds[i] = s.delivery
	}
	err := l.source.(runnel.Extender).Extend(context.Background(), ds, by)
	var failed *runnel.SettleError
	if err != nil && !errors.As(err, &failed) {
		rt.Fatalf("extend: %v", err)
	}
	now := time.Now()
	for i, s := range some {
		lost := failed != nil && errors.Is(failed.Failed[i], runnel.ErrLeaseLost)
		if lost != s.visible(now) {
			rt.Fatalf("extend %.20q: lost is %t, visible %t", s.body, lost, s.visible(now))
		}
		if until := now.Add(by); !lost && s.until.Before(until) {
			s.until = until
		}
	}
}

// closeSource ends the flow's receives, which gives back what it has.
func (m *model) closeSource(*rapid.T) {
	now := time.Now()
	for _, l := range m.lines() {
		if err := l.source.Close(context.Background()); err != nil {
			panic(err) // it has no errors
		}
		l.source = l.q.Source()
		for _, s := range l.order {
			if s.delivery == nil || !s.flow {
				continue
			}
			s.delivery = nil
			if s.held && !s.visible(now) {
				s.receives--
				s.held = false
			}
		}
	}
}
