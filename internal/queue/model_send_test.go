package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// message makes one that is new to the model and to the queue.
func (m *model) message(rt *rapid.T, l *line) (runnel.Message, *modelled) {
	m.serial++
	pad := rapid.SampledFrom([]int{1, 90, 400}).Draw(rt, "pad")
	s := &modelled{body: fmt.Sprintf("message %d %0*d", m.serial, pad, 0), sent: m.wall()}
	msg := runnel.Message{Body: []byte(s.body)}
	delay := l.delay
	if l.fifo {
		s.group = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "group")
		msg.Key, msg.DedupID = s.group, fmt.Sprint("id", m.serial)
	} else {
		s.group = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(rt, "tenant")
		msg.Key = s.group
		msg.Delay = time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 25, 40, -1}).Draw(rt, "delay")) * time.Second
		if msg.Delay != 0 {
			delay = max(msg.Delay, 0)
		}
	}
	if delay > 0 {
		s.delayed, s.until = true, time.Now().Add(delay)
		m.keep(s)
	}
	return msg, s
}

func (m *model) send(rt *rapid.T) {
	l := m.some(rt)
	ms := make([]runnel.Message, rapid.IntRange(1, 6).Draw(rt, "count"))
	added := make([]*modelled, len(ms))
	for i := range ms {
		ms[i], added[i] = m.message(rt, l)
		if l.fifo {
			ms[i].DedupID = fmt.Sprint("id", m.serial-rapid.SampledFrom([]int{0, 0, 0, 0, 1, 7, 30}).Draw(rt, "back"))
		}
	}
	if l.fifo {
		m.sendOrdered(rt, l, ms, added)
		return
	}
	ids, err := l.q.Send(ms)
	if err != nil || len(ids) != len(ms) {
		rt.Fatalf("send: %v, %v", ids, err)
	}
	for _, s := range added {
		m.add(l, s)
	}
}

// dedupNow is the clock of deduplication: in a process it does not jump.
func (m *model) dedupNow() time.Time { return m.startedWall.Add(time.Since(m.started)) }

// duplicate says whether an id must, or may, be taken for one sent before.
// Jumps of the wall clock between processes may hide it, also if the clock was
// put right later.
func (m *model) duplicate(before sentOnce) (must, may bool) {
	age := m.dedupNow().Sub(before.at)
	within := age.Abs() < queue.DedupWindow
	sure := before.process == m.process || before.jumps == m.startedJumps
	return within && sure, within
}

// stored says whether a send must be a duplicate of the last message that had
// its id, and whether what was told of a duplicate fits. It may be one of an
// earlier message only if the clock jumped between two processes: then that one
// can be within the window again, even ahead of now.
func (m *model) stored(ids []sentOnce, told queue.Sent) (must, fits bool) {
	for i, s := range ids {
		surely, may := m.duplicate(s)
		last := i == len(ids)-1
		if last {
			must = surely
		}
		if may && told.ID == s.told.ID && told.Position == s.told.Position {
			fits = fits || last || s.process != m.process && s.jumps != m.startedJumps
		}
	}
	return must, fits
}

func (m *model) sendOrdered(rt *rapid.T, l *line, ms []runnel.Message, added []*modelled) {
	sent, err := l.q.SendOrdered(ms)
	if err != nil || len(sent) != len(ms) {
		rt.Fatalf("send: %v, %v", sent, err)
	}
	batch := make(map[string]int) // the first of each id
	for i := range ms {
		id := ms[i].DedupID
		if m.byGroup {
			id += " of " + ms[i].Key
		}
		if first, ok := batch[id]; ok {
			if sent[i].ID != sent[first].ID || sent[i].Position != sent[first].Position || !sent[i].Duplicate {
				rt.Fatalf("%s twice in a batch: told %+v and %+v", id, sent[first], sent[i])
			}
			continue
		}
		batch[id] = i
		must, fits := m.stored(l.ids[id], sent[i])
		told := sent[i]
		switch {
		case told.Duplicate && !fits:
			rt.Fatalf("%s at %v: told %+v, was %+v", id, m.dedupNow(), told, l.ids[id])
		case told.Duplicate:
		case must:
			rt.Fatalf("%s again at %v: told %+v, want the last of %+v", id, m.dedupNow(), told, l.ids[id])
		case told.Position <= l.last:
			rt.Fatalf("%s: position %d after %d", id, told.Position, l.last)
		default:
			l.last = told.Position
			l.ids[id] = append(l.ids[id], sentOnce{at: m.dedupNow(), told: told, process: m.process, jumps: m.startedJumps})
			added[i].id = id
			m.add(l, added[i])
		}
	}
}

// transaction acks what the flow has and sends as much on, in one commit.
func (m *model) transaction(rt *rapid.T) {
	l, to := m.some(rt), m.some(rt)
	held := slices.DeleteFunc(m.delivered(l, true), func(s *modelled) bool { return s.visible(time.Now()) })
	if len(held) == 0 {
		rt.Skip("the flow has nothing")
	}
	held = held[:rapid.IntRange(1, min(3, len(held))).Draw(rt, "settled")]
	ctx := context.Background()
	tx, err := l.source.(runnel.Transactor).Begin(ctx)
	if err != nil {
		rt.Fatalf("begin: %v", err)
	}
	var ss []runnel.Settlement
	var ms []runnel.Message
	var added []*modelled
	for _, s := range held {
		ss = append(ss, runnel.Settlement{Delivery: s.delivery})
		msg, s := m.message(rt, to)
		if to.fifo {
			msg.DedupID += " of a transaction" // no send repeats it
		}
		ms, added = append(ms, msg), append(added, s)
	}
	if err := errors.Join(tx.Settle(ss), tx.Send(to.q.Sink(), ms)); err != nil {
		rt.Fatalf("transaction: %v", err)
	}
	if rapid.IntRange(0, 4).Draw(rt, "abort") == 0 {
		tx.Abort()
		return
	}
	if err := tx.Commit(ctx); err != nil {
		rt.Fatalf("commit: %v", err)
	}
	for i := range held {
		m.drop(held[i])
		m.add(to, added[i])
	}
}

// settings writes what the model draws into the settings of a queue.
func (m *model) settings(l *line, s *queue.Settings) {
	s.VisibilityTimeout, s.Delay, s.Retention, s.DeadLetter = l.visibility, l.delay, l.retention, nil
	if l.receives > 0 {
		s.DeadLetter = &queue.Redrive{Queue: m.dead.name, MaxReceives: l.receives}
	}
}

func (m *model) configure(rt *rapid.T) {
	l := m.some(rt)
	l.visibility = time.Duration(rapid.SampledFrom([]int{0, 5, 30, 300}).Draw(rt, "visibility")) * time.Second
	l.delay = time.Duration(rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "delay")) * time.Second
	l.retention = time.Duration(rapid.SampledFrom([]int{1, 3, 10}).Draw(rt, "retention")) * time.Minute
	if l == m.main {
		l.receives = rapid.SampledFrom([]int{0, 1, 2, 4}).Draw(rt, "receives")
	}
	if err := l.q.Configure(func(s *queue.Settings) error { m.settings(l, s); return nil }); err != nil {
		rt.Fatalf("configure: %v", err)
	}
	m.revive(rt)
}

func (m *model) purge(rt *rapid.T) {
	l := m.some(rt)
	err := l.q.Purge()
	now := m.wall()
	if !l.purged.IsZero() && now.Sub(l.purged).Abs() < time.Minute {
		if !errors.Is(err, queue.ErrPurgeInProgress) {
			rt.Fatalf("purge again: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("purge: %v", err)
	}
	l.purged = now
	clear(l.attempts)
	for _, s := range slices.Clone(l.order) {
		m.drop(s)
	}
}

// move puts a visible message at the end of a queue, as if it were new.
func (m *model) move(rt *rapid.T) {
	l, to := m.some(rt), m.some(rt)
	ms := slices.DeleteFunc(slices.Clone(l.order), func(s *modelled) bool { return s.expired })
	if len(ms) == 0 {
		rt.Skip("the queue is empty")
	}
	s := rapid.SampledFrom(ms).Draw(rt, "message")
	ps := peek(rt, l)
	i := slices.IndexFunc(ps, func(p queue.Peeked) bool { return string(p.Body) == s.body })
	if i < 0 {
		rt.Fatalf("%.20q is not seen", s.body)
	}
	err := m.h.set.Move(l.q.Name(), ps[i].Position, to.q.Name())
	if !s.visible(time.Now()) {
		if runnel.CodeOf(err) != runnel.CodeConflict {
			rt.Fatalf("move of what is not visible: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("move: %v", err)
	}
	m.moved(rt, s, to)
	if err := m.h.set.Move(l.q.Name(), ps[i].Position, to.q.Name()); runnel.CodeOf(err) != runnel.CodeNotFound {
		rt.Fatalf("move of what was moved: %v", err)
	}
}

// moved makes a message one that was sent to a queue just now: on a FIFO queue it
// is what later ones with its deduplication id are duplicates of.
func (m *model) moved(rt *rapid.T, s *modelled, to *line) {
	m.drop(s)
	m.add(to, &modelled{body: s.body, group: s.group, id: s.id, sent: m.wall()})
	if s.id == "" {
		return
	}
	for _, p := range peek(rt, to) {
		if string(p.Body) == s.body {
			to.ids[s.id] = append(to.ids[s.id], sentOnce{at: m.dedupNow(), told: queue.Sent{ID: p.ID, Position: p.Position}, process: m.process, jumps: m.startedJumps})
		}
	}
}

// bury makes a message a dead letter: it is as old as it was.
func (m *model) bury(s *modelled) {
	m.drop(s)
	m.add(m.dead, &modelled{body: s.body, group: s.group, sent: s.sent, dead: true})
}

// moveTask moves the dead letters back, or to the main queue whatever they are.
// On a FIFO queue those stay whose group is locked, and those behind what is
// delayed.
func (m *model) moveTask(rt *rapid.T) {
	m.revive(rt)
	if slices.ContainsFunc(m.dead.order, func(s *modelled) bool { return s.expired }) {
		rt.Skip("it may move what has expired, or not")
	}
	to := rapid.SampledFrom([]string{"", m.main.name}).Draw(rt, "to")
	task, err := m.h.set.StartMove(m.dead.q.Name(), to, 0)
	if m.main.receives == 0 {
		if !errors.Is(err, queue.ErrNoDeadLetterQueue) {
			rt.Fatalf("move task from what is no dead-letter queue: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("start a move task: %v", err)
	}
	m.h.set.WaitMoves()
	want := queue.MoveTask{Status: queue.MoveCompleted}
	stays := make(map[string]bool)
	for _, s := range m.dead.order {
		stays[s.group] = stays[s.group] || m.dead.fifo && s.held && !s.visible(time.Now())
	}
	for _, s := range slices.Clone(m.dead.order) {
		if !s.visible(time.Now()) {
			stays[s.group] = m.dead.fifo
			continue
		}
		want.ToMove++
		if stays[s.group] {
			continue
		}
		if to == "" && !s.dead {
			want.Status = queue.MoveFailed
		}
		if want.Status == queue.MoveCompleted {
			want.Moved++
			m.moved(rt, s, m.main)
		}
	}
	tasks, err := m.h.set.MoveTasks(m.dead.q.Name())
	if err != nil || len(tasks) == 0 {
		rt.Fatalf("move tasks: %v, %v", tasks, err)
	}
	if got := tasks[0]; got.ID != task.ID || got.Status != want.Status || got.ToMove != want.ToMove || got.Moved != want.Moved {
		rt.Fatalf("move task: got %+v, want %s after %d of %d", got, want.Status, want.Moved, want.ToMove)
	}
}
