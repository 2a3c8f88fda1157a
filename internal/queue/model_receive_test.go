package queue_test

import (
	"context"
	"errors"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func (m *model) limits(rt *rapid.T) runnel.Limits {
	return runnel.Limits{
		Messages: rapid.IntRange(1, 10).Draw(rt, "most"),
		Bytes:    rapid.SampledFrom([]int{0, 0, 0, 500}).Draw(rt, "bytes"),
		Lease:    time.Duration(rapid.SampledFrom([]int{0, -1, 1, 10, 30, 60, 60, 12 * 3600}).Draw(rt, "lease")) * time.Second,
		Wait:     time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, 3, 20}).Draw(rt, "wait")) * time.Second,
	}
}

// leaseFor is for how long a receive makes messages its own.
func (l *line) leaseFor(lim runnel.Limits) time.Duration {
	if lim.Lease == 0 {
		return l.visibility
	}
	return max(lim.Lease, 0)
}

func (m *model) receive(rt *rapid.T, flow bool) {
	l, lim := m.some(rt), m.limits(rt)
	receive := l.q.Receive
	if flow {
		receive = l.source.Receive
	}
	m.received(rt, l, lim, flow, receive)
}

// received receives and compares.
func (m *model) received(rt *rapid.T, l *line, lim runnel.Limits, flow bool, receive func(context.Context, runnel.Limits) ([]runnel.Delivery, error)) []runnel.Delivery {
	begun := time.Now()
	ds, err := receive(context.Background(), lim)
	if err != nil {
		rt.Fatalf("receive: %v", err)
	}
	now := time.Now()
	m.look()
	_, before := l.ready(now.Add(-time.Millisecond))
	if l == m.main && !flow {
		m.buried(rt, begun, now)
	}
	if waited := now.Sub(begun); waited > 0 {
		if waited > lim.Wait || len(ds) == 0 && waited < lim.Wait {
			rt.Fatalf("received %d messages after %v, may wait for %v", len(ds), waited, lim.Wait)
		}
		for _, s := range before {
			if s.of == l { // and is no dead letter now
				rt.Fatalf("a receive waited for %v, when %.20q was visible already", waited, s.body)
			}
		}
	} else if len(ds) == 0 && lim.Wait > 0 {
		rt.Fatalf("a receive did not wait for %v", lim.Wait)
	}
	next, ready := l.ready(now)
	if len(ds) > lim.Messages || len(ds) == 0 && len(ready) > 0 && lim.Wait == 0 {
		rt.Fatalf("received %d messages, at most %d of %d were asked for", len(ds), lim.Messages, len(ready))
	}
	byBody := make(map[string]*modelled)
	for _, s := range next[""] {
		byBody[s.body] = s
	}
	bytes := 0
	for i := range ds {
		d := &ds[i]
		s := byBody[string(d.Body)]
		if l.fifo && len(next[d.Key]) > 0 { // the first of its group
			s = next[d.Key][0]
			next[d.Key] = next[d.Key][1:]
		}
		delete(byBody, string(d.Body))
		if s == nil || s.body != string(d.Body) {
			rt.Fatalf("received %.20q of %s, which is not next of its group:%s", d.Body, l.name, l.dump(d.Key))
		}
		s.receives++
		if s.first.IsZero() {
			s.first = m.wall()
		}
		s.delayed, s.held, s.until, s.leasedAt = false, true, now.Add(l.leaseFor(lim)), now
		m.compare(rt, s, d)
		s.delivery, s.flow = d, flow
		if !flow {
			m.keep(s)
			m.receipts = append(m.receipts, receipt{s, l, d.Handle.(queue.Receipt)})
		}
		bytes += len(d.Body)
	}
	if lim.Bytes > 0 && len(ds) > 1 && bytes > lim.Bytes {
		rt.Fatalf("received %d bytes, want at most %d", bytes, lim.Bytes)
	}
	return ds
}

// compare compares what is told of a message, once it is received.
func (m *model) compare(rt *rapid.T, s *modelled, d *runnel.Delivery) {
	lane := ""
	if s.of.fifo {
		lane = s.group
	}
	if d.Receives != s.receives || d.Attempt != s.failures+1 || string(d.Lane) != lane || d.Key != s.group {
		rt.Fatalf("%.20q: receives %d, attempt %d, lane %s, want %d, %d, %s", d.Body, d.Receives, d.Attempt, d.Lane, s.receives, s.failures+1, lane)
	}
	if !d.Sent.Equal(s.sent) || !d.FirstReceived.Equal(s.first) || !d.LeaseUntil.Equal(s.until.Add(m.jump)) {
		rt.Fatalf("%.20q: sent %v, first received %v, leased until %v, want %v, %v, %v", d.Body, d.Sent, d.FirstReceived, d.LeaseUntil, s.sent, s.first, s.until.Add(m.jump))
	}
	if (d.DeadLetter != nil) != s.dead {
		rt.Fatalf("%.20q: dead letter %+v, want that there is one: %t", d.Body, d.DeadLetter, s.dead)
	}
}

// buried looks which messages became dead letters: those that are next and were
// received too often, on a FIFO queue in order. If anything was left to
// receive, some of them may be left. What has expired while the receive waited
// may have become one before.
func (m *model) buried(rt *rapid.T, begun, now time.Time) {
	known := make(map[string]bool)
	for _, s := range m.dead.order {
		known[s.body] = true
	}
	for _, p := range peek(rt, m.dead) {
		if known[string(p.Body)] {
			continue
		}
		next, _ := m.main.ready(now)
		group := ""
		if m.main.fifo {
			group = p.Key
		}
		var s *modelled
		for i, o := range next[group] {
			if o.body == string(p.Body) && (!m.main.fifo || i == 0) {
				s = o
			}
		}
		for _, o := range m.main.order {
			if o.expired && o.body == string(p.Body) && m.wall().Add(begun.Sub(now)).Sub(o.sent) <= m.main.retention {
				s = o
			}
		}
		if s == nil || m.main.receives == 0 || s.receives < m.main.receives {
			rt.Fatalf("%.20q became a dead letter: %+v", p.Body, s)
		}
		if d := p.DeadLetter; d == nil || d.Type != queue.MaxReceivesType || d.Attempts != s.receives || d.Source != "queue:"+m.main.name {
			rt.Fatalf("%.20q: dead letter %+v after %d receives", p.Body, d, s.receives)
		}
		if m.main.fifo && p.DedupID != string(p.ID) {
			rt.Fatalf("dead letter %s has the deduplication id %s", p.ID, p.DedupID)
		}
		m.bury(s)
	}
	m.look()
}

// attempt receives with an id, perhaps again. On a standard queue the id means
// nothing.
func (m *model) attempt(rt *rapid.T) {
	l, lim := m.some(rt), m.limits(rt)
	id := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(rt, "id")
	receive := func(ctx context.Context, lim runnel.Limits) ([]runnel.Delivery, error) {
		return l.q.ReceiveAttempt(ctx, lim, id)
	}
	now := time.Now()
	a := l.attempts[id]
	again := a != nil && now.Before(a.ends)
	if again {
		for i, s := range a.held {
			again = again && s.of == l && !s.flow && s.delivery != nil && s.delivery.Handle == a.ds[i].Handle && s.held && !s.visible(now) && s.until.Equal(a.due[i])
		}
	}
	if !again {
		delete(l.attempts, id)
		ds := m.received(rt, l, lim, false, receive)
		if len(ds) == 0 || !l.fifo {
			return
		}
		a := &repeatable{ends: time.Now().Add(queue.AttemptWindow), ds: ds}
		for i := range ds {
			for _, s := range l.order {
				if s.body == string(ds[i].Body) {
					a.held, a.due = append(a.held, s), append(a.due, s.until)
				}
			}
		}
		l.attempts[id] = a
		return
	}
	ds, err := receive(context.Background(), lim)
	if err != nil || len(ds) != len(a.held) {
		rt.Fatalf("receive again: %d messages and %v, want %d", len(ds), err, len(a.held))
	}
	for i, s := range a.held {
		d := &ds[i]
		if string(d.Body) != s.body || d.Handle != a.ds[i].Handle {
			rt.Fatalf("received again: %.20q, want %.20q by the same receipt", d.Body, s.body)
		}
		s.until, s.leasedAt, s.delivery = now.Add(l.leaseFor(lim)), now, d
		a.due[i] = s.until
		m.compare(rt, s, d)
		m.keep(s)
	}
}

// delivered are the messages of a queue that were delivered to clients, or to
// the flow.
func (m *model) delivered(l *line, flow bool) (out []*modelled) {
	for _, s := range l.order {
		if s.delivery != nil && s.flow == flow && !s.expired {
			out = append(out, s)
		}
	}
	return out
}

// given draws receipts that clients were given, most of them lately.
func (m *model) given(rt *rapid.T) (l *line, out []receipt) {
	var valid []receipt
	for _, r := range m.receipts {
		if !r.of.expired {
			valid = append(valid, r)
		}
	}
	if len(valid) == 0 {
		rt.Skip("nothing was received")
	}
	for range rapid.IntRange(1, 4).Draw(rt, "count") {
		back := rapid.SampledFrom([]int{4, 4, 12, len(valid)}).Draw(rt, "back")
		out = append(out, valid[len(valid)-1-rapid.IntRange(0, min(back, len(valid))-1).Draw(rt, "receipt")])
	}
	return out[0].on, out
}

// current says whether a receipt is of the last delivery of a message that is
// there.
func (r receipt) current(l *line) bool {
	s := r.of
	return s.of == l && !s.flow && s.delivery != nil && s.delivery.Handle == r.receipt
}

func (m *model) remove(rt *rapid.T) {
	l, given := m.given(rt)
	rs := make([]queue.Receipt, len(given))
	for i := range given {
		rs[i] = given[i].receipt
	}
	errs := l.q.Delete(rs)
	now := time.Now()
	for i, r := range given {
		var want error
		switch s := r.of; {
		case r.on != l:
			want = queue.ErrBadReceipt
		case l.fifo && s.of == l && (!r.current(l) || s.visible(now)):
			want = queue.ErrReceiptExpired
		case r.current(l):
			m.drop(s)
		}
		if !errors.Is(errs[i], want) {
			rt.Fatalf("delete %.20q of %s: got %v, want %v", r.of.body, l.name, errs[i], want)
		}
	}
}

func (m *model) visibility(rt *rapid.T) {
	l, given := m.given(rt)
	vs := make([]queue.Visibility, len(given))
	for i := range given {
		timeout := rapid.SampledFrom([]int{0, 1, 20, 60, 12*3600 - 30, 12 * 3600}).Draw(rt, "timeout")
		vs[i] = queue.Visibility{Receipt: given[i].receipt, Timeout: time.Duration(timeout) * time.Second}
	}
	errs := l.q.ChangeVisibility(vs)
	now := time.Now()
	for i, r := range given {
		var want error
		switch s := r.of; {
		case r.on != l:
			want = queue.ErrBadReceipt
		case !r.current(l):
			want = queue.ErrNoMessage
		case s.visible(now):
			want = queue.ErrNotInFlight
		case now.Sub(s.leasedAt)+vs[i].Timeout > queue.MaxVisibilityTimeout:
			want = queue.ErrTotalVisibility
		default:
			s.held, s.until = vs[i].Timeout > 0, now.Add(vs[i].Timeout)
			m.keep(s)
		}
		if !errors.Is(errs[i], want) {
			rt.Fatalf("change %.20q of %s to %v: got %v, want %v", r.of.body, l.name, vs[i].Timeout, errs[i], want)
		}
	}
}
