package history_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/internal/queue/history"
)

// story is a history that a test tells: each call takes the second in which it
// is told, or two if the server is killed meanwhile.
type story struct {
	history.History
	now time.Duration
}

const s = time.Second

// tell begins a story with one process and four queues.
func tell() *story {
	st := &story{History: history.History{Queues: map[string]history.Queue{
		"q": {Dead: "dead", MaxReceives: 3}, "dead": {},
		"q.fifo": {FIFO: true, Dead: "dead.fifo", MaxReceives: 3}, "dead.fifo": {FIFO: true},
	}}}
	st.start(0)
	return st
}

func (st *story) call(c history.Call) *story {
	c.From, c.To = st.now+s/10, st.now+9*s/10
	st.now += s
	st.Processes[len(st.Processes)-1].To = st.now
	st.Calls = append(st.Calls, c)
	return st
}

// unknown makes the last call one that got no answer.
func (st *story) unknown() *story {
	st.Calls[len(st.Calls)-1].Outcome = history.Unknown
	st.Calls[len(st.Calls)-1].Received = nil
	return st
}

// refused makes the last call one that was refused.
func (st *story) refused() *story {
	st.Calls[len(st.Calls)-1].Outcome = history.Refused
	return st
}

func (st *story) wait(d time.Duration) *story {
	st.now += d
	st.Processes[len(st.Processes)-1].To = st.now
	return st
}

// start starts a process, after the end of the one before.
func (st *story) start(ahead time.Duration) *story {
	st.now += s
	st.Processes = append(st.Processes, history.Process{From: st.now, To: st.now, Clock: []history.Jump{{From: st.now, To: st.now, Ahead: ahead}}})
	return st
}

// jump sets the wall clock while the process runs.
func (st *story) jump(ahead time.Duration) *story {
	p := &st.Processes[len(st.Processes)-1]
	p.Clock = append(p.Clock, history.Jump{From: st.now, To: st.now + s/20, Ahead: ahead})
	return st
}

// message is "a1", perhaps with "#2" for its second copy: in group a, with the
// sequence number 1.
func message(body string) history.Message {
	m := history.Message{Body: body, ID: "id of " + body, Group: body[:1], Sequence: uint64(body[1])}
	if first, ok := strings.CutSuffix(body, "#2"); ok {
		m.Body = first
		m.Sequence += 100
	}
	return m
}

func (st *story) send(queue string, bodies ...string) *story {
	for _, b := range bodies {
		st.call(history.Call{Kind: history.Send, Queue: queue, Message: message(b)})
	}
	return st
}

// receive is told what was received: "a1:2" is the second receive of a1. Its
// receipt is "a1:2", too.
func (st *story) receive(queue string, timeout time.Duration, got ...string) *story {
	c := history.Call{Kind: history.Receive, Queue: queue, Timeout: timeout}
	for _, g := range got {
		m := message(g[:strings.LastIndex(g, ":")])
		m.Receipt, m.Receives = queue+" "+g, int(g[len(g)-1]-'0')
		c.Received = append(c.Received, m)
	}
	return st.call(c)
}

func (st *story) remove(queue, receipt string) *story {
	return st.call(history.Call{Kind: history.Delete, Queue: queue, Receipt: queue + " " + receipt})
}

func (st *story) change(queue, receipt string, timeout time.Duration) *story {
	return st.call(history.Call{Kind: history.Change, Queue: queue, Receipt: queue + " " + receipt, Timeout: timeout})
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name, want string // the rules that are broken
		told       *story
	}{
		{"a day's work", "", tell().
			send("q", "a1", "a2").receive("q", 30*s, "a2:1").receive("q", 5*s, "a1:1").remove("q", "a2:1").
			wait(10*s).receive("q", 5*s, "a1:2").change("q", "a1:2", 0).receive("q", 5*s, "a1:3").remove("q", "a1:3")},
		{"a day's work of a fifo queue", "", tell().
			send("q.fifo", "a1", "a2", "b3", "a1").receive("q.fifo", 30*s, "a1:1", "a2:1").receive("q.fifo", 3*s, "b3:1").
			remove("q.fifo", "a1:1").remove("q.fifo", "a2:1").receive("q.fifo", 3*s, "b3:2")},

		{"lost", "lost", tell().send("q", "a1")},
		{"not acknowledged", "", tell().send("q", "a1").unknown()},
		{"lost on the way to the dead letters", "lost", tell().send("q", "a1").receive("q", s).receive("dead", s)},
		{"never sent", "phantom", tell().receive("q", s, "a1:1")},
		{"received before it was sent", "phantom", tell().receive("q", s, "a1:1").send("q", "a1")},

		{"back after its delete", "came back", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").remove("q", "a1:1").receive("q", s, "a1:2")},
		{"back after a restart", "came back", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").remove("q", "a1:1").start(0).wait(time.Hour).receive("q", s, "a1:2")},
		{"back as a dead letter", "came back dead letter", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").remove("q", "a1:1").receive("dead", s, "a1:1")},
		{"back on a fifo queue, after a late delete", "came back", tell().
			send("q.fifo", "a1").receive("q.fifo", s, "a1:1").wait(10*s).remove("q.fifo", "a1:1").receive("q.fifo", s, "a1:2")},
		{"a late delete of what is a dead letter", "", tell().
			send("q.fifo", "a1").receive("q.fifo", s, "a1:1").wait(s).receive("q.fifo", s, "a1:2").wait(s).receive("q.fifo", s, "a1:3").wait(s).
			receive("dead.fifo", s, "a1:1").remove("q.fifo", "a1:3").wait(s).receive("dead.fifo", s, "a1:2")},
		{"the delete came too late", "", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(10*s).remove("q", "a1:1").receive("q", s, "a1:2")},
		{"the delete had no answer", "", tell().
			send("q", "a1").receive("q", 3*s, "a1:1").remove("q", "a1:1").unknown().wait(10*s).receive("q", s, "a1:2")},

		{"two holders", "two holders", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").receive("q", s, "a1:2")},
		{"two holders after a restart", "two holders", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").start(0).receive("q", s, "a1:2")},
		{"the clock was put forward while it was down", "", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").start(time.Minute).receive("q", s, "a1:2")},
		{"the clock was put forward while it ran", "two holders", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").jump(time.Minute).wait(s).receive("q", s, "a1:2")},
		{"the clock was put forward and back", "", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").start(time.Minute).wait(s).start(0).receive("q", s, "a1:2")},
		{"the clock was put back while it was down", "two holders", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").start(-time.Hour).wait(time.Minute).receive("q", s, "a1:2")},
		{"in time after a change", "two holders", tell().
			send("q", "a1").receive("q", 3*s, "a1:1").change("q", "a1:1", time.Minute).wait(10*s).receive("q", s, "a1:2")},
		{"a change without an answer", "", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").change("q", "a1:1", 0).unknown().receive("q", s, "a1:2")},
		{"a change that was refused", "", tell().
			send("q", "a1").receive("q", 3*s, "a1:1").change("q", "a1:1", time.Minute).refused().wait(10*s).receive("q", s, "a1:2")},
		{"after a change to nothing", "", tell().
			send("q", "a1").receive("q", 30*s, "a1:1").change("q", "a1:1", 0).receive("q", s, "a1:2")},
		{"another of the group", "two holders", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", 30*s, "a1:1").receive("q.fifo", s, "a2:1")},
		{"another of the group after a delete", "", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", 30*s, "a1:1").remove("q.fifo", "a1:1").receive("q.fifo", s, "a2:1")},

		{"the same count", "count", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(s).receive("q", s, "a1:1")},
		{"a lower count", "count", tell().
			send("q", "a1").receive("q", s, "a1:2").wait(s).start(0).receive("q", s, "a1:1")},

		{"overtaken", "order", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", s, "a2:1").wait(s).receive("q.fifo", s, "a1:1")},
		{"overtaken by the second of a receive", "order", tell().
			send("q.fifo", "a1", "a2", "a3").receive("q.fifo", s, "a1:1", "a3:1").wait(s).receive("q.fifo", s, "a1:2", "a2:1")},
		{"overtaken after a restart", "order", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", s, "a1:1").start(0).receive("q.fifo", s, "a2:1").wait(s).receive("q.fifo", s, "a1:2")},
		{"out of order in a receive", "order", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", s, "a2:1", "a1:1")},
		{"in order again and again", "", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", s, "a1:1", "a2:1").wait(s).receive("q.fifo", s, "a1:2", "a2:2")},
		{"overtaken among the dead letters", "order", tell().
			send("q.fifo", "a1", "a2").receive("q.fifo", s, "a1:1", "a2:1").wait(s).receive("q.fifo", s, "a1:2", "a2:2").wait(s).receive("q.fifo", s, "a1:3", "a2:3").wait(s).
			receive("dead.fifo", s, "a2:1").wait(s).receive("dead.fifo", s, "a1:1")},

		{"a lower sequence number", "sequence", tell().
			send("q.fifo", "a2", "b1").receive("q.fifo", s, "a2:1", "b1:1")},
		{"another sequence number", "sequence", func() *story {
			st := tell().send("q.fifo", "a1").receive("q.fifo", s, "a1:1")
			st.Calls[1].Received[0].Sequence++
			return st
		}()},

		{"stored twice", "duplicate", tell().
			send("q", "a1").receive("q", s, "a1:1", "a1#2:1")},
		{"a duplicate is stored", "duplicate", tell().
			send("q.fifo", "a1").start(0).send("q.fifo", "a1#2").receive("q.fifo", s, "a1:1")},
		{"a duplicate is stored after no answer", "duplicate", tell().
			send("q.fifo", "a1").unknown().start(0).send("q.fifo", "a1").receive("q.fifo", s, "a1:1", "a1#2:1")},
		{"a duplicate is stored too late", "", tell().
			send("q.fifo", "a1").wait(5*time.Minute).send("q.fifo", "a1#2").receive("q.fifo", s, "a1:1", "a1#2:1")},
		{"a duplicate is stored when the clock has jumped", "", tell().
			send("q.fifo", "a1").start(time.Hour).send("q.fifo", "a1#2").receive("q.fifo", s, "a1:1", "a1#2:1")},

		{"a dead letter", "", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(s).receive("q", s, "a1:2").wait(s).receive("q", s, "a1:3").wait(s).receive("dead", s, "a1:1")},
		{"a dead letter too early", "dead letter", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(s).receive("q", s, "a1:2").wait(s).receive("dead", s, "a1:1")},
		{"a dead letter after a receive without an answer", "", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(s).receive("q", s).unknown().wait(s).receive("q", s, "a1:3").wait(s).receive("dead", s, "a1:1")},
		{"a dead letter after a receive whose timeouts ended at once", "", tell().
			send("q", "a1").receive("q", s, "a1:1").wait(s).receive("q", 0).wait(s).receive("q", s, "a1:3").wait(s).receive("dead", s, "a1:1")},
		{"a dead letter too late", "dead letter", tell().
			send("q", "a1").receive("q", s, "a1:4")},
		{"a dead letter in its own queue", "dead letter", tell().
			send("q", "a1").receive("q", s).unknown().receive("q", s).unknown().receive("q", s).unknown().receive("dead", s, "a1:1").receive("q", s, "a1:1")},
	} {
		var rules []string
		all := history.Check(&test.told.History)
		for _, v := range all {
			if !slices.Contains(rules, v.Rule) {
				rules = append(rules, v.Rule)
			}
		}
		if got := strings.Join(rules, " "); got != test.want {
			t.Errorf("%s: broken are %q, want %q\n%v", test.name, got, test.want, all)
		}
	}
}
