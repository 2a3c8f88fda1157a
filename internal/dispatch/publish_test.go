package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func bodiesOf(ms []runnel.Message) string {
	var s []string
	for _, m := range ms {
		s = append(s, string(m.Body))
	}
	return strings.Join(s, " ")
}

// TestOneSinkFails: the result is kept and only that sink is asked again; no
// attempt is spent, and the message is acked only then.
func TestOneSinkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		good, bad := &box{}, &box{down: errors.New("connection refused")}
		calls := 0
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			calls++
			return echo(ctx, m)
		}))
		cfg.Flow.To = []runnel.Ref{"box:good", "queue:out", "box:bad"}
		cfg.Sinks = []runnel.Sink{good, h.queue("out").Sink(), bad}
		h.sendBodies("in", "x")
		r := h.run(cfg)
		sleep(time.Hour)
		h.wantDepth("in", 0, 1, 0) // its lease was kept all the while
		h.wantBodies("out", "")    // the commit comes last
		if got := r.codes(); got != "sink" {
			t.Errorf("explain: %q, want sink", got)
		}
		if n := h.log.count("results cannot be sent"); n < 2 || n > 8 {
			t.Errorf("%d lines about the sink in an hour", n)
		}
		bad.setDown(nil)
		sleep(time.Minute)
		h.wantBodies("out", "x")
		if bodiesOf(good.all()) != "x" || bodiesOf(bad.all()) != "x" || calls != 1 {
			t.Errorf("good %q, bad %q, %d calls", bodiesOf(good.all()), bodiesOf(bad.all()), calls)
		}
		h.wantDepth("in", 0, 0, 0)
		if got := r.codes(); got != "empty" {
			t.Errorf("explain: %q, want empty", got)
		}
		r.stop()
		r.wantSum()
		if s := r.Stats(); s.Failed != 0 || s.Published != 3 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestPartlySent: of several messages only those that were not stored are sent
// again.
func TestPartlySent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		refusals := 0
		b := &box{limits: runnel.SendLimits{Messages: 3}, refuse: func(m *runnel.Message) error {
			if string(m.Body) == "b" && refusals < 3 {
				refusals++
				return runnel.Errorf(runnel.CodeUnavailable, "throttled")
			}
			return nil
		}}
		cfg := h.config(runnel.HandlerFunc(func(_ context.Context, m runnel.Message) (runnel.Result, error) {
			var out []runnel.Message
			for _, s := range []string{"a", "b", "c", "d", "e"} {
				out = append(out, runnel.Message{Body: []byte(s)})
			}
			return runnel.Result{Out: out}, nil
		}))
		cfg.Sinks = []runnel.Sink{b}
		h.sendBodies("in", "x")
		r := h.run(cfg)
		sleep(time.Minute)
		if got, want := bodiesOf(b.all()), "a c d e b"; got != want {
			t.Errorf("stored %q, want %q", got, want)
		}
		if diff := cmp.Diff([]int{3, 3, 1, 1}, b.sends); diff != "" {
			t.Errorf("sizes of the sends (-want +got):\n%s", diff)
		}
		r.stop()
		r.wantSum()
	})
}

// TestSendLimits: a send has no more messages and bytes than the sink takes,
// and a result that is too large for it is a dead letter before it is asked.
func TestSendLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		b := &box{limits: runnel.SendLimits{Messages: 4, BatchBytes: 25, MessageBytes: 20}}
		cfg := h.config(runnel.HandlerFunc(func(_ context.Context, m runnel.Message) (runnel.Result, error) {
			var out []runnel.Message
			for _, n := range m.Body {
				out = append(out, runnel.Message{Body: bytes.Repeat([]byte("."), int(n))})
			}
			return runnel.Result{Out: out}, nil
		}))
		cfg.Sinks = []runnel.Sink{b}
		h.send("in", runnel.Message{Body: []byte{1, 1, 1, 1, 1, 10, 10, 20, 20}}, runnel.Message{Body: []byte{1, 21}})
		r := h.run(cfg)
		sleep(time.Second)
		if diff := cmp.Diff([]int{4, 3, 1, 1}, b.sends); diff != "" {
			t.Errorf("sizes of the sends (-want +got):\n%s", diff)
		}
		dead := h.all("dead")
		if len(dead) != 1 || dead[0].DeadLetter.Type != "output" || !strings.Contains(dead[0].DeadLetter.Message, "21 bytes") {
			t.Errorf("dead letters: %+v", dead)
		}
		r.stop()
		r.wantSum()
	})
}

// TestRefusedResult: a result that a sink will never take makes its message a
// dead letter, with its version; its neighbours in the batch lose nothing. In
// the one commit and outside of it, with a dead-letter place in and outside.
func TestRefusedResult(t *testing.T) {
	for _, joined := range []bool{true, false} {
		for _, deadJoined := range []bool{true, false} {
			t.Run(fmt.Sprintf("joined=%v,dead=%v", joined, deadJoined), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHome(t)
					h.create("small", func(s *queue.Settings) { s.MaxMessageBytes = queue.MinMessageBytes })
					out, dead := &box{}, &box{}
					out.refuse = func(m *runnel.Message) error {
						if len(m.Body) > 1024 {
							return runnel.Errorf(runnel.CodeTooLarge, "too large")
						}
						return nil
					}
					p := &pool{version: "v3", handler: handlerFunc(func(_ context.Context, in []runnel.Message) ([]runnel.Result, error) {
						rs := make([]runnel.Result, len(in))
						for i, m := range in {
							if string(m.Body) == "big" {
								rs[i].Out = []runnel.Message{{Body: []byte("part")}, {Body: make([]byte, 2000)}, {Body: make([]byte, 3000)}}
							} else {
								rs[i].Out = []runnel.Message{{Body: m.Body}}
							}
						}
						return rs, nil
					})}
					cfg := h.config(p)
					cfg.Flow.To, cfg.Flow.Batch = []runnel.Ref{"queue:small"}, runnel.Batch{Size: 3}
					if !joined {
						cfg.Sinks = []runnel.Sink{out}
					}
					if !deadJoined {
						cfg.DeadLetter = dead
					}
					h.sendBodies("in", "a", "big", "b")
					r := h.run(cfg)
					sleep(time.Second)
					var died []runnel.Message
					if deadJoined {
						for _, p := range h.all("dead") {
							died = append(died, p.Message)
						}
					} else {
						died = dead.all()
					}
					if len(died) != 1 || string(died[0].Body) != "big" || died[0].DeadLetter.Type != "output" || died[0].DeadLetter.Version != "v3" || died[0].DeadLetter.Attempts != 1 {
						t.Errorf("dead letters: %+v", died)
					}
					got := h.bodies("small")
					if !joined {
						got = strings.ReplaceAll(bodiesOf(out.all()), "part ", "")
					}
					if got != "a b" {
						t.Errorf("published %q, want a b", got)
					}
					h.wantDepth("in", 0, 0, 0)
					r.stop()
					r.wantSum()
					if s := r.Stats(); s.DeadLettered != 1 || s.Handled != 2 {
						t.Errorf("stats: %+v", s)
					}
				})
			})
		}
	}
}

// TestUnsendableDeadLetter: a dead letter is tried with less of its reason;
// one that nobody takes even so goes back to the source, to be lost by nobody.
func TestUnsendableDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := &box{refuse: func(m *runnel.Message) error {
			if len(m.DeadLetter.Stack) > 0 || string(m.Body) == "never" {
				return runnel.Errorf(runnel.CodeTooLarge, "too large")
			}
			return nil
		}}
		cfg := h.config(runnel.HandlerFunc(func(context.Context, runnel.Message) (runnel.Result, error) {
			return runnel.Result{}, &runnel.FunctionError{Kind: runnel.KindRejected, Message: "no", Stack: "deep"}
		}))
		cfg.DeadLetter = dead
		h.sendBodies("in", "x", "never")
		r := h.run(cfg)
		sleep(time.Minute)
		if got := dead.all(); len(got) != 1 || string(got[0].Body) != "x" || got[0].DeadLetter.Message != "no" {
			t.Errorf("dead letters: %+v", got)
		}
		h.wantDepth("in", 0, 1, 0)
		h.wantBodies("in", "never")
		if h.log.count("no dead-letter place takes the message") != 1 {
			t.Errorf("log:\n%s", h.log.buf.String())
		}
		r.stop()
		r.wantSum()
	})
}

// TestDeadLetterPlaceIsDown: the intake sees its end even while dead letters
// of messages that no function saw cannot be sent.
func TestDeadLetterPlaceIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := &box{down: errors.New("away")}
		cfg := h.config(runnel.HandlerFunc(echo))
		cfg.DeadLetter = dead
		h.send("in", runnel.Message{Body: []byte("loop"), Hops: 101})
		r := h.run(cfg)
		sleep(time.Minute)
		h.sendBodies("in", "x")
		sleep(time.Second)
		h.wantBodies("out", "x") // others go on
		start := time.Now()
		r.stop()
		if got := time.Since(start); got > 16*time.Second {
			t.Errorf("the drain took %v", got)
		}
		h.wantDepth("in", 1, 0, 0)
		r.wantSum()
	})
}

// TestDedupIDs: a dead letter's deduplication id is that of one death.
func TestDedupIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		out, second, dead := &box{}, &box{}, &box{}
		cfg := h.config(runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
			if string(m.Body) == "bad" {
				return runnel.Result{}, runnel.Reject("bad")
			}
			return runnel.Result{Out: []runnel.Message{m, m}}, nil
		}))
		cfg.Flow.To = []runnel.Ref{"box:out", "box:second"}
		cfg.Sinks, cfg.DeadLetter = []runnel.Sink{out, second}, dead
		ids := h.send("in", runnel.Message{Body: []byte("x"), DedupID: "mine", DeadLetter: &runnel.DeadLetter{Type: "old"}}, runnel.Message{ID: "bad-1", Body: []byte("bad")})
		r := h.run(cfg)
		sleep(time.Second)
		h.send("in", runnel.Message{ID: "bad-1", Body: []byte("bad")}) // redriven
		sleep(time.Second)
		var got []string
		for _, m := range append(out.all(), second.all()...) {
			got = append(got, m.DedupID)
			if m.DeadLetter != nil || m.ID != "" {
				t.Errorf("a result is %s, with the dead letter %+v", m.ID, m.DeadLetter)
			}
		}
		want := []string{string(ids[0]) + "/0/0", string(ids[0]) + "/0/1", string(ids[0]) + "/1/0", string(ids[0]) + "/1/1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("deduplication ids (-want +got):\n%s", diff)
		}
		died := dead.all()
		if len(died) != 2 || died[0].DedupID == died[1].DedupID || died[0].ID != "bad-1" || died[1].ID != "bad-1" {
			t.Errorf("dead letters: %+v", died)
		}
		r.stop()
		r.wantSum()
	})
}
