package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestFIFOModel is TestModel for FIFO queues: order and locks of groups,
// deduplication, delays of the queue, retention and redrive besides.
func TestFIFOModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) { runFIFOModel(t, rt) })
	})
}

const (
	modelReceives  = 4
	modelRetention = 3 * time.Minute
)

// ordered is what the model knows of a message.
type ordered struct {
	modelled
	body, group string
	id          string // of its deduplication; empty: one that nobody sends
	sent        time.Time
}

// sentOnce is what a deduplication id was last stored with.
type sentOnce struct {
	at   time.Time
	told queue.Sent
}

type fifoModel struct {
	rt       *rapid.T
	h        *home
	q, dead  *queue.Queue
	source   runnel.Source
	order    []*ordered // all messages, in their order
	ids      map[string]sentOnce
	letters  []*ordered // of the dead-letter queue, in their order
	serial   int
	expired  int64 // that the queue may still count
	delay    time.Duration
	purgedAt time.Time
}

func runFIFOModel(t *testing.T, rt *rapid.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	m := &fifoModel{rt: rt, h: h, ids: map[string]sentOnce{}}
	m.dead = h.create("dead.fifo", fifo)
	m.q = h.create("q.fifo", func(s *queue.Settings) {
		fifo(s)
		s.Retention = modelRetention
		s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: modelReceives}
	})
	m.source = m.q.Source()
	ctx, stop := context.WithCancel(context.Background())
	go func() { _ = h.set.Run(ctx) }()
	again := func(start func()) {
		stop()
		m.again(start)
		ctx, stop = context.WithCancel(context.Background())
		go func() { _ = h.set.Run(ctx) }()
	}
	rt.Repeat(map[string]func(*rapid.T){
		"":           m.check,
		"send":       m.send,
		"send more":  m.send,
		"receive":    func(rt *rapid.T) { m.receive(rt, false) },
		"flow":       func(rt *rapid.T) { m.receive(rt, true) },
		"delete":     m.remove,
		"visibility": m.visibility,
		"settle":     m.settle,
		"settle all": m.settleAll,
		"move":       m.move,
		"inter":      m.inter,
		"hold":       m.hold,
		"redrive":    m.redrive,
		"delay":      m.configure,
		"wait":       m.wait,
		"purge":      m.purge,
		"restart":    func(*rapid.T) { again(h.restart) },
		"crash":      func(*rapid.T) { again(h.crash) },
	})
	stop()
	h.close()
}

// drop forgets a message.
func (m *fifoModel) drop(s *ordered) {
	m.order = slices.DeleteFunc(m.order, func(o *ordered) bool { return o == s })
}

// expire forgets what is past its retention and with nobody.
func (m *fifoModel) expire() {
	now := time.Now()
	n := len(m.order)
	m.order = slices.DeleteFunc(m.order, func(s *ordered) bool {
		return s.visible(now) && now.Sub(s.sent) > modelRetention
	})
	m.expired += int64(n - len(m.order))
}

func (m *fifoModel) check(rt *rapid.T) {
	synctest.Wait()
	m.expire()
	now := time.Now()
	var want queue.Depth
	for _, s := range m.order {
		switch {
		case s.visible(now):
			want.Visible++
		case s.delayed:
			want.Delayed++
		default:
			want.InFlight++
		}
	}
	got := m.q.Depth()
	if more := got.Visible - want.Visible; more < 0 || more > m.expired || got.InFlight != want.InFlight || got.Delayed != want.Delayed {
		rt.Fatalf("depth: got %+v, want %+v, or %d more", got, want, m.expired)
	}
	m.expired = got.Visible - want.Visible
}

func (m *fifoModel) send(rt *rapid.T) {
	ms := make([]runnel.Message, rapid.IntRange(1, 6).Draw(rt, "count"))
	var want []*queue.Sent // nil: a new one
	batch := map[string]int{}
	var added []*ordered
	now := time.Now()
	for i := range ms {
		msg := &ms[i]
		msg.DedupID = fmt.Sprint("id", m.serial-rapid.SampledFrom([]int{0, 0, 0, 0, 1, 7}).Draw(rt, "back"))
		m.serial++
		msg.Key = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "group")
		msg.Body = fmt.Appendf(nil, "message %d %0*d", m.serial, rapid.SampledFrom([]int{1, 90, 400}).Draw(rt, "pad"), 0)
		before, known := m.ids[msg.DedupID]
		switch {
		case known && now.Sub(before.at) < queue.DedupWindow:
			want = append(want, &before.told)
		default:
			if _, ok := batch[msg.DedupID]; ok {
				want = append(want, nil)
				continue
			}
			batch[msg.DedupID] = i
			want = append(want, nil)
			s := &ordered{body: string(msg.Body), group: msg.Key, id: msg.DedupID, sent: now}
			if m.delay > 0 {
				s.delayed, s.until = true, now.Add(m.delay)
			}
			added = append(added, s)
		}
	}
	sent, err := m.q.SendOrdered(ms)
	if err != nil {
		rt.Fatalf("send: %v", err)
	}
	m.order = append(m.order, added...)
	for i := range ms {
		id := ms[i].DedupID
		switch first, ok := batch[id]; {
		case want[i] != nil:
			if sent[i].ID != want[i].ID || sent[i].Position != want[i].Position || !sent[i].Duplicate {
				rt.Fatalf("%s again: told %+v, want %+v", id, sent[i], *want[i])
			}
		case ok && first == i:
			if sent[i].Duplicate {
				rt.Fatalf("%s: told that it is a duplicate", id)
			}
			m.ids[id] = sentOnce{now, sent[i]}
		default:
			if sent[i].ID != sent[first].ID || !sent[i].Duplicate {
				rt.Fatalf("%s twice in a batch: told %+v and %+v", id, sent[first], sent[i])
			}
		}
	}
}

// next returns the messages of a group that can be received now, in order.
func (m *fifoModel) next(group string) []*ordered {
	now := time.Now()
	var out []*ordered
	stop := false
	for _, s := range m.order {
		if s.group != group {
			continue
		}
		if s.held && !s.visible(now) {
			return nil
		}
		stop = stop || !s.visible(now)
		if !stop {
			out = append(out, s)
		}
	}
	return out
}

func (m *fifoModel) receive(rt *rapid.T, flow bool) {
	m.expire()
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
	m.bury(rt, flow)
	next := map[string][]*ordered{}
	ready := 0
	for _, g := range []string{"a", "b", "c", "d", "e"} {
		next[g] = m.next(g)
		ready += len(next[g])
	}
	if len(ds) > lim.Messages || len(ds) == 0 && ready != 0 {
		rt.Fatalf("received %d messages, at most %d of %d were asked for", len(ds), lim.Messages, ready)
	}
	now := time.Now()
	for i := range ds {
		d := &ds[i]
		if len(next[d.Key]) == 0 || next[d.Key][0].body != string(d.Body) {
			rt.Fatalf("received %.20q of group %s, where is next: %+v", d.Body, d.Key, next[d.Key])
		}
		s := next[d.Key][0]
		next[d.Key] = next[d.Key][1:]
		s.receives++
		if d.Receives != s.receives || d.Attempt != s.failures+1 || string(d.Lane) != s.group {
			rt.Fatalf("%.20q: receives %d, attempt %d, lane %s, want %d, %d, %s", d.Body, d.Receives, d.Attempt, d.Lane, s.receives, s.failures+1, s.group)
		}
		s.delayed, s.held, s.until, s.delivery, s.flow = false, true, now.Add(lim.Lease), d, flow
		if !flow {
			s.durable, s.untilNext = s.receives, s.until
		}
	}
}

// bury looks which messages became dead letters: those that are next in their
// groups and were received too often, in order.
func (m *fifoModel) bury(rt *rapid.T, flow bool) {
	ps, err := m.dead.Peek(0, 1000)
	if err != nil {
		rt.Fatalf("peek: %v", err)
	}
	for i, p := range ps {
		if i < len(m.letters) {
			if m.letters[i].body != string(p.Body) {
				rt.Fatalf("dead letter %.20q where %.20q was", p.Body, m.letters[i].body)
			}
			continue
		}
		next := m.next(p.Key)
		if flow || len(next) == 0 || next[0].body != string(p.Body) || next[0].receives < modelReceives {
			rt.Fatalf("%.20q became a dead letter", p.Body)
		}
		if p.DedupID != string(p.ID) {
			rt.Fatalf("dead letter %s has the deduplication id %s", p.ID, p.DedupID)
		}
		m.letters = append(m.letters, &ordered{body: string(p.Body), group: p.Key})
		m.drop(next[0])
	}
	if len(m.letters) > len(ps) {
		rt.Fatalf("%d dead letters of %d are left", len(ps), len(m.letters))
	}
}

// inter sends dead letters, as a flow does that gives messages up.
func (m *fifoModel) inter(rt *rapid.T) {
	ms := make([]runnel.Message, rapid.IntRange(1, 5).Draw(rt, "count"))
	for i := range ms {
		m.serial++
		s := &ordered{body: fmt.Sprintf("letter %d", m.serial), group: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "group")}
		ms[i] = runnel.Message{Body: []byte(s.body), Key: s.group, DedupID: s.body, DeadLetter: &runnel.DeadLetter{Source: "queue:q.fifo"}}
		m.letters = append(m.letters, s)
	}
	if _, err := m.dead.SendOrdered(ms); err != nil {
		rt.Fatalf("send: %v", err)
	}
}

// hold makes a client receive dead letters, and keep them for a while.
func (m *fifoModel) hold(rt *rapid.T) {
	lease := time.Duration(rapid.IntRange(1, 60).Draw(rt, "lease")) * time.Second
	ds, err := m.dead.Receive(context.Background(), runnel.Limits{Messages: rapid.IntRange(1, 3).Draw(rt, "most"), Lease: lease})
	if err != nil {
		rt.Fatalf("receive: %v", err)
	}
	for i := range ds {
		for _, s := range m.letters {
			if s.body == string(ds[i].Body) {
				s.held, s.until = true, time.Now().Add(lease)
			}
		}
	}
}

// redrive puts the dead letters at the end of the queue, in their order, but for
// those of groups of which one is in flight.
func (m *fifoModel) redrive(rt *rapid.T) {
	if len(m.letters) == 0 {
		rt.Skip("there are no dead letters")
	}
	if _, err := m.h.set.StartMove(m.dead.Name(), "", 0); err != nil {
		rt.Fatalf("start: %v", err)
	}
	now := time.Now()
	locked := map[string]bool{}
	for _, s := range m.letters {
		locked[s.group] = locked[s.group] || !s.visible(now)
	}
	m.h.set.WaitMoves()
	if got := m.h.lastTask(m.dead.Name()); got.Status != queue.MoveCompleted {
		rt.Fatalf("got %+v", got)
	}
	var left []*ordered
	for _, s := range m.letters {
		if locked[s.group] {
			left = append(left, s)
			continue
		}
		m.order = append(m.order, &ordered{body: s.body, group: s.group, sent: time.Now()})
	}
	m.letters = left
}

// some draws a message that was delivered to a client, or to the flow.
func (m *fifoModel) some(rt *rapid.T, flow bool) *ordered {
	m.expire()
	var out []*ordered
	for _, s := range m.order {
		if s.delivery != nil && s.flow == flow {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		rt.Skip("nothing was delivered")
	}
	return rapid.SampledFrom(out).Draw(rt, "message")
}

func (m *fifoModel) remove(rt *rapid.T) {
	s := m.some(rt, false)
	err := m.q.Delete([]queue.Receipt{s.delivery.Handle.(queue.Receipt)})[0]
	if s.visible(time.Now()) {
		if !errors.Is(err, queue.ErrReceiptExpired) {
			rt.Fatalf("delete of a visible message: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("delete: %v", err)
	}
	m.drop(s)
}

func (m *fifoModel) visibility(rt *rapid.T) {
	s := m.some(rt, false)
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

func (m *fifoModel) settle(rt *rapid.T) {
	s := m.some(rt, true)
	m.verdict(rt, s, rapid.SampledFrom([]runnel.Verdict{runnel.Ack, runnel.Retry, runnel.Release}).Draw(rt, "verdict"))
}

// settleAll acks all that the flow has, so that groups are freed.
func (m *fifoModel) settleAll(rt *rapid.T) {
	m.some(rt, true)
	for _, s := range slices.Clone(m.order) {
		if s.delivery != nil && s.flow {
			m.verdict(rt, s, runnel.Ack)
		}
	}
}

func (m *fifoModel) verdict(rt *rapid.T, s *ordered, verdict runnel.Verdict) {
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
		m.drop(s)
	case runnel.Retry:
		s.failures++
		s.until = time.Now().Add(after)
		s.durable, s.untilNext = s.receives, s.until
	case runnel.Release:
		s.receives--
		s.held, s.until = after > 0, time.Now().Add(after)
	}
}

// move puts a visible message at the end of the queue, as if it were new.
func (m *fifoModel) move(rt *rapid.T) {
	m.expire()
	if len(m.order) == 0 {
		rt.Skip("the queue is empty")
	}
	s := rapid.SampledFrom(m.order).Draw(rt, "message")
	ps, err := m.q.Peek(0, 1000)
	if err != nil {
		rt.Fatalf("peek: %v", err)
	}
	i := slices.IndexFunc(ps, func(p queue.Peeked) bool { return string(p.Body) == s.body })
	if i < 0 {
		rt.Fatalf("%.20q is not seen", s.body)
	}
	err = m.h.set.Move(m.q.Name(), ps[i].Position, m.q.Name())
	if !s.visible(time.Now()) {
		if runnel.CodeOf(err) != runnel.CodeConflict {
			rt.Fatalf("move of what is not visible: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("move: %v", err)
	}
	m.drop(s)
	now := time.Now()
	m.order = append(m.order, &ordered{body: s.body, group: s.group, id: s.id, sent: now})
	if s.id != "" {
		moved, err := m.q.Peek(ps[len(ps)-1].Position+1, 1)
		if err != nil || len(moved) != 1 {
			rt.Fatalf("peek: %v, %v", moved, err)
		}
		m.ids[s.id] = sentOnce{now, queue.Sent{ID: moved[0].ID, Position: moved[0].Position}}
	}
	if err := m.h.set.Move(m.q.Name(), ps[i].Position, m.q.Name()); runnel.CodeOf(err) != runnel.CodeNotFound {
		rt.Fatalf("move of what was moved: %v", err)
	}
}

func (m *fifoModel) configure(rt *rapid.T) {
	m.delay = time.Duration(rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "delay")) * time.Second
	if err := m.q.Configure(func(s *queue.Settings) error { s.Delay = m.delay; return nil }); err != nil {
		rt.Fatalf("configure: %v", err)
	}
}

func (m *fifoModel) wait(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 700, 9000, 30_000, 70_000}).Draw(rt, "ms")) * time.Millisecond)
}

func (m *fifoModel) purge(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "really") > 0 {
		rt.Skip("not that often")
	}
	err := m.q.Purge()
	if now := time.Now(); m.purgedAt.IsZero() || now.Sub(m.purgedAt) >= time.Minute {
		m.purgedAt, m.order, m.expired = now, nil, 0
		if err != nil {
			rt.Fatalf("purge: %v", err)
		}
	} else if !errors.Is(err, queue.ErrPurgeInProgress) {
		rt.Fatalf("purge again: %v", err)
	}
}

// again starts the next process: what the flow held is visible.
func (m *fifoModel) again(start func()) {
	m.expire()
	start()
	m.q, m.dead = m.h.queue("q.fifo"), m.h.queue("dead.fifo")
	m.source = m.q.Source()
	m.purgedAt = time.Time{}
	for _, s := range m.order {
		if s.flow {
			s.delivery = nil
		}
		if !s.delayed {
			s.held = !s.untilNext.IsZero()
			s.until = s.untilNext
		}
		s.receives = s.durable
	}
}
