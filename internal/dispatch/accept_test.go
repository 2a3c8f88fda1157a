package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// accepting is a stage that runs.
type accepting struct {
	*dispatch.Acceptor
	stop func()
}

// accept runs a stage from one queue to another.
func (h *home) accept(from, to string, most int64) *accepting {
	h.t.Helper()
	q, source := h.queue(to), h.queue(from).Source()
	a := dispatch.NewAcceptor(dispatch.AcceptConfig{
		Flow: runnel.Flow{Name: "f", From: runnel.Ref("queue:" + from)}, Source: source, Queue: q.Sink(), Name: to, Max: most,
		Depth: func() int64 { d := q.Depth(); return d.Visible + d.InFlight + d.Delayed }, Log: quiet,
	})
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return &accepting{a, func() {
		h.t.Helper()
		end()
		if err := <-done; err != nil {
			h.t.Errorf("run: %v", err)
		}
		if err := source.Close(context.Background()); err != nil {
			h.t.Error(err)
		}
	}}
}

// TestAccept: messages are settled as soon as they are in the queue of the flow,
// as they were; no more of them than it may hold; and none while it is paused.
func TestAccept(t *testing.T) {
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("queues"+suffix, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				for _, name := range []string{"from", "held"} {
					h.create(name+suffix, func(s *queue.Settings) {
						if suffix != "" {
							s.FIFO = &queue.FIFO{}
						}
					})
				}
				var sent []runnel.Message
				for i := range 25 {
					sent = append(sent, runnel.Message{
						Body: fmt.Appendf(nil, "b%d", i), Key: "k", DedupID: fmt.Sprint(i), Hops: 3,
						Attributes: []runnel.Attribute{{Name: "n", Type: "String", Value: []byte("v")}},
					})
				}
				ids := h.send("from"+suffix, sent...)
				a := h.accept("from"+suffix, "held"+suffix, 10)
				sleep(time.Second)
				h.wantDepth("from"+suffix, 15, 0, 0)
				h.wantDepth("held"+suffix, 10, 0, 0)
				for i, p := range h.all("held" + suffix) {
					got, want := p.Message, sent[i]
					if got.ID != ids[i] || string(got.Body) != string(want.Body) || got.Key != want.Key || got.Hops != want.Hops || !cmp.Equal(got.Attributes, want.Attributes) {
						t.Errorf("message %d became %+v, of %+v", i, got, want)
					}
				}
				if why := a.Explain(); len(why) != 1 || why[0].Code != "accepted" || !strings.Contains(why[0].Text, "10 messages") || a.Accepted() != 10 {
					t.Errorf("accepted %d, explain: %+v", a.Accepted(), why)
				}
				a.Pause()
				source := h.queue("held" + suffix).Source()
				take := func(n int) {
					t.Helper()
					for n > 0 {
						ds, err := source.Receive(t.Context(), runnel.Limits{Messages: n})
						if err != nil || len(ds) == 0 {
							t.Fatalf("%d received, %v", len(ds), err)
						}
						for i := range ds {
							if err := source.Settle(t.Context(), []runnel.Settlement{{Delivery: &ds[i], Verdict: runnel.Ack}}); err != nil {
								t.Fatal(err)
							}
						}
						n -= len(ds)
					}
				}
				take(7)
				sleep(time.Minute)
				h.wantDepth("held"+suffix, 3, 0, 0)
				a.Resume()
				sleep(time.Second)
				h.wantDepth("held"+suffix, 10, 0, 0)
				h.wantDepth("from"+suffix, 8, 0, 0)
				take(10)
				sleep(time.Second)
				h.wantDepth("held"+suffix, 8, 0, 0)
				if why := a.Explain(); len(why) != 0 {
					t.Errorf("explain: %+v", why)
				}
				// One that was redriven within the time of deduplication comes again.
				h.wantDepth("from"+suffix, 0, 0, 0)
				again := sent[0]
				again.ID, again.DedupID = ids[0], "again"
				h.send("from"+suffix, again)
				sleep(time.Second)
				h.wantDepth("held"+suffix, 9, 0, 0)
				a.stop()
			})
		})
	}
}

// TestAcceptCrash looks at what a power loss would leave at every sync point
// while messages are accepted: each is in one of the two queues, once.
func TestAcceptCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 40
		h := newHome(t, "held")
		for i := range n {
			h.sendBodies("in", fmt.Sprint(i))
		}
		crashes := 0
		h.fs.AtSync = func() {
			crashes++
			lookAtAccepted(t, h.fs, crashes, n)
		}
		a := h.accept("in", "held", 3)
		source := h.queue("held").Source()
		for range n {
			ds, err := source.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Minute})
			if err != nil || len(ds) != 1 {
				t.Fatalf("%d received, %v", len(ds), err)
			}
			// It stays, so that each can be counted: what is behind it is next.
			if err := source.Settle(t.Context(), []runnel.Settlement{{Delivery: &ds[0], Verdict: runnel.Retry, After: time.Hour}}); err != nil {
				t.Fatal(err)
			}
			if h.queue("held").Depth().Visible == 0 && h.queue("in").Depth().Visible > 0 {
				a.stop()
				a = h.accept("in", "held", int64(len(h.all("held"))+3))
			}
		}
		a.stop()
		h.fs.AtSync = func() {}
		if len(h.all("held")) != n || crashes < 20 {
			t.Errorf("%d accepted, %d crashes looked at", len(h.all("held")), crashes)
		}
	})
}

func lookAtAccepted(t *testing.T, fs *storetest.CrashFS, crash, n int) {
	t.Helper()
	s, err := store.Open("data", store.Options{FS: fs.Crash(), Log: quiet})
	if err != nil {
		t.Fatalf("crash %d: %v", crash, err)
	}
	defer func() { _ = s.Close() }()
	set, err := queue.Open(s, queue.Options{Log: quiet})
	if err != nil {
		t.Fatalf("crash %d: %v", crash, err)
	}
	defer func() { _ = set.Close(context.Background()) }()
	count := map[string]int{}
	for _, q := range set.List("default", "", "", 0) {
		ps, err := q.Peek(0, 1<<20)
		if err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		for _, p := range ps {
			count[string(p.Body)]++
		}
	}
	for i := range n {
		if got := count[fmt.Sprint(i)]; got != 1 {
			t.Errorf("crash %d: message %d is there %d times", crash, i, got)
		}
	}
}

// TestFlowTimeout: the shorter of the flow's timeout and the function's is the
// deadline of a call.
func TestFlowTimeout(t *testing.T) {
	for _, test := range []struct{ flow, function, want time.Duration }{
		{0, 0, 0},
		{3 * time.Second, 0, 3 * time.Second},
		{0, 3 * time.Second, 3 * time.Second},
		{2 * time.Second, 3 * time.Second, 2 * time.Second},
		{4 * time.Second, 3 * time.Second, 3 * time.Second},
	} {
		for _, pooled := range []bool{true, false} {
			t.Run(fmt.Sprintf("flow=%v function=%v pooled=%t", test.flow, test.function, pooled), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHome(t)
					h.sendBodies("in", "a")
					got := time.Duration(-1)
					slow := runnel.HandlerFunc(func(ctx context.Context, m runnel.Message) (runnel.Result, error) {
						call, _ := runnel.CallFrom(ctx)
						if got = 0; !call.Deadline.IsZero() {
							got = time.Until(call.Deadline)
						}
						select {
						case <-ctx.Done():
							return runnel.Result{}, ctx.Err()
						case <-time.After(time.Minute):
							return echo(ctx, m)
						}
					})
					var handler runnel.Handler = runnel.WithTimeout(slow, test.function)
					if pooled {
						handler = &pool{handler: slow, timeout: test.function}
					}
					cfg := h.config(handler)
					cfg.Flow.Timeout, cfg.Flow.Retry.MaxAttempts = test.flow, 1
					r := h.run(cfg)
					sleep(2 * time.Minute)
					r.stop()
					if got != test.want {
						t.Errorf("a call has %v, want %v", got, test.want)
					}
					if test.want == 0 {
						h.wantBodies("out", "a")
						return
					}
					h.wantBodies("dead", "a")
					if why := h.all("dead")[0].DeadLetter; why.Type != runnel.KindTimeout || !strings.Contains(why.Message, test.want.String()) {
						t.Errorf("dead letter: %+v", why)
					}
				})
			})
		}
	}
}
