package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// home is a store and its queues, which a test can stop and start again.
type home struct {
	t     testing.TB
	fs    *storetest.CrashFS
	store *store.Store
	set   *queue.Set
	small bool             // with Set.Shrink
	now   func() time.Time // the wall clock; nil: the real one
	seed  uint64           // of shuffled and second deliveries
}

func newHome(t testing.TB) *home {
	h := &home{t: t, fs: storetest.NewCrashFS()}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

func (h *home) open() {
	h.t.Helper()
	var err error
	if h.store, err = store.Open("data", store.Options{FS: h.fs, Log: quiet}); err != nil {
		h.t.Fatal(err)
	}
	if h.set, err = queue.Open(h.store, queue.Options{Log: quiet, Now: h.now, Seed: h.seed}); err != nil {
		h.t.Fatal(err)
	}
	if h.small {
		h.set.Shrink()
	}
}

func (h *home) close() {
	if h.set == nil {
		return
	}
	if err := errors.Join(h.set.Close(context.Background()), h.store.Close()); err != nil {
		h.t.Error(err)
	}
	h.set = nil
}

// restart closes everything in good order and opens it again.
func (h *home) restart() {
	h.t.Helper()
	h.close()
	h.open()
}

// crash goes on with what a power loss at this moment would leave.
func (h *home) crash() {
	h.t.Helper()
	crashed := h.fs.Crash()
	h.close()
	h.fs = crashed
	h.open()
}

func (h *home) create(name string, change func(*queue.Settings)) *queue.Queue {
	h.t.Helper()
	s := queue.Defaults()
	if change != nil {
		change(&s)
	}
	q, _, err := h.set.Create(queue.Name{Account: "default", Queue: name}, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

func (h *home) queue(name string) *queue.Queue {
	h.t.Helper()
	q, err := h.set.Queue(queue.Name{Account: "default", Queue: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

func send(t testing.TB, q *queue.Queue, bodies ...string) {
	t.Helper()
	ms := make([]runnel.Message, len(bodies))
	for i, b := range bodies {
		ms[i].Body = []byte(b)
	}
	if _, err := q.Send(ms); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func receive(t testing.TB, q *queue.Queue, lim runnel.Limits) []runnel.Delivery {
	t.Helper()
	if lim.Messages == 0 {
		lim.Messages = 10
	}
	ds, err := q.Receive(context.Background(), lim)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return ds
}

func bodies(ds []runnel.Delivery) string {
	var s []string
	for _, d := range ds {
		s = append(s, string(d.Body))
	}
	return strings.Join(s, " ")
}

func receipts(ds []runnel.Delivery) []queue.Receipt {
	rs := make([]queue.Receipt, len(ds))
	for i, d := range ds {
		rs[i] = d.Handle.(queue.Receipt)
	}
	return rs
}

func remove(t testing.TB, q *queue.Queue, ds []runnel.Delivery) {
	t.Helper()
	for _, err := range q.Delete(receipts(ds)) {
		if err != nil {
			t.Fatalf("delete: %v", err)
		}
	}
}

func change(t testing.TB, q *queue.Queue, d runnel.Delivery, timeout time.Duration) error {
	t.Helper()
	return q.ChangeVisibility([]queue.Visibility{{Receipt: d.Handle.(queue.Receipt), Timeout: timeout}})[0]
}

func wantDepth(t testing.TB, q *queue.Queue, visible, inFlight, delayed int64) {
	t.Helper()
	want := queue.Depth{Visible: visible, InFlight: inFlight, Delayed: delayed}
	if got := q.Depth(); got != want {
		t.Errorf("depth: got %+v, want %+v", got, want)
	}
}

func wantBodies(t testing.TB, ds []runnel.Delivery, want string) {
	t.Helper()
	if got := bodies(ds); got != want {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestSendReceiveDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("images", nil)
		sent := runnel.Message{
			Body:       []byte("hello\x00 wörld"),
			Attributes: []runnel.Attribute{{Name: "kind", Type: "String", Value: []byte("greeting")}, {Name: "n", Type: "Number.int", Value: []byte("7")}},
			Key:        "tenant-1", DedupID: "d1", Sender: "000000000000",
			DeadLetter: &runnel.DeadLetter{Type: "error", Message: "why", Attempts: 3, First: time.Unix(1, 0).UTC(), Last: time.Unix(2, 0).UTC()},
		}
		ids, err := q.Send([]runnel.Message{sent})
		if err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 1, 0, 0)
		ds := receive(t, q, runnel.Limits{})
		if len(ds) != 1 {
			t.Fatalf("received %d messages, want 1", len(ds))
		}
		want := sent
		want.ID, want.Sent = ids[0], time.Now()
		if diff := cmp.Diff(want, ds[0].Message, cmp.AllowUnexported()); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		if d := ds[0]; d.Receives != 1 || d.Attempt != 1 || !d.FirstReceived.Equal(time.Now()) || !d.LeaseUntil.Equal(time.Now().Add(30*time.Second)) {
			t.Errorf("delivery: %+v", d)
		}
		wantDepth(t, q, 0, 1, 0)
		if ds := receive(t, q, runnel.Limits{}); len(ds) != 0 {
			t.Errorf("a message in flight was received: %q", bodies(ds))
		}
		remove(t, q, ds)
		remove(t, q, ds) // once more is no error
		wantDepth(t, q, 0, 0, 0)
	})
}

func TestVisibilityTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a", "b")
		first := receive(t, q, runnel.Limits{Messages: 1})
		// b has ten seconds more than a.
		time.Sleep(20 * time.Second)
		second := receive(t, q, runnel.Limits{Messages: 1})
		start := time.Now()
		again := receive(t, q, runnel.Limits{Wait: time.Minute})
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("a came back after %v, want when its 30 s were over", waited)
		}
		wantBodies(t, again, "a")
		if again[0].Receives != 2 || !again[0].FirstReceived.Equal(first[0].FirstReceived) {
			t.Errorf("second receive: count %d, first received %v", again[0].Receives, again[0].FirstReceived)
		}
		// The old receipt deletes nothing, and says nothing.
		remove(t, q, first)
		wantDepth(t, q, 0, 2, 0)

		if err := change(t, q, first[0], time.Minute); !errors.Is(err, queue.ErrNoMessage) {
			t.Errorf("change by an old receipt: got %v, want ErrNoMessage", err)
		}
		if err := change(t, q, again[0], 0); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 1, 1, 0)
		if err := change(t, q, again[0], time.Minute); !errors.Is(err, queue.ErrNotInFlight) {
			t.Errorf("change of a visible message: got %v, want ErrNotInFlight", err)
		}
		const rest = 12*time.Hour - 10*time.Second // it was received ten seconds ago
		if err := change(t, q, second[0], rest); err != nil {
			t.Errorf("12 h in total: %v", err)
		}
		time.Sleep(time.Second)
		if err := change(t, q, second[0], rest); !errors.Is(err, queue.ErrTotalVisibility) {
			t.Errorf("over 12 h in total: got %v, want ErrTotalVisibility", err)
		}
		// A message that is visible again can be deleted by its last receipt.
		remove(t, q, again)
		wantDepth(t, q, 0, 1, 0)
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", func(s *queue.Settings) { s.Delay = 10 * time.Second })
		if _, err := q.Send([]runnel.Message{
			{Body: []byte("default")},
			{Body: []byte("own"), Delay: 5 * time.Second},
			{Body: []byte("none"), Delay: -1},
		}); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 1, 0, 2)
		start := time.Now()
		for _, want := range []struct {
			body  string
			after time.Duration
		}{{"none", 0}, {"own", 5 * time.Second}, {"default", 10 * time.Second}} {
			wantBodies(t, receive(t, q, runnel.Limits{Wait: time.Minute}), want.body)
			if got := time.Since(start); got != want.after {
				t.Errorf("%s came after %v, want %v", want.body, got, want.after)
			}
		}
		_, err := q.Send([]runnel.Message{{Delay: 16 * time.Minute}})
		var refused *runnel.SendError
		if !errors.As(err, &refused) || runnel.CodeOf(refused.Failed[0]) != runnel.CodeInvalid {
			t.Errorf("16 minutes of delay: got %v", err)
		}
	})
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		start := time.Now()
		if ds := receive(t, q, runnel.Limits{Wait: 7 * time.Second}); len(ds) != 0 || time.Since(start) != 7*time.Second {
			t.Errorf("empty queue: %d messages after %v", len(ds), time.Since(start))
		}
		// Ten wait, one message comes: one of them gets it, the others wait on.
		type got struct {
			body  string
			after time.Duration
		}
		results := make(chan got, 10)
		for range 10 {
			go func() {
				start := time.Now()
				ds, err := q.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: 10 * time.Second})
				if err != nil {
					t.Error(err)
				}
				results <- got{bodies(ds), time.Since(start)}
			}()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		send(t, q, "x")
		if r := <-results; r != (got{"x", time.Second}) {
			t.Errorf("first to return: %+v", r)
		}
		// A receive that ends does not take the wake-up of another with it.
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := q.Receive(ctx, runnel.Limits{Messages: 1, Wait: time.Hour})
			ended <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled receive: %v", err)
		}
		send(t, q, "y")
		if r := <-results; r != (got{"y", time.Second}) {
			t.Errorf("after a cancelled receive: %+v", r)
		}
		for range 8 {
			if r := <-results; r != (got{"", 10 * time.Second}) {
				t.Errorf("the others: %+v", r)
			}
		}
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", func(s *queue.Settings) { s.Retention = time.Hour })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.set.Run(ctx) }()
		for i := range 600 {
			send(t, q, fmt.Sprint("old", i))
		}
		back := receive(t, q, runnel.Limits{Messages: 2, Lease: -1}) // visible again at once
		held := receive(t, q, runnel.Limits{Messages: 1, Lease: 3 * time.Hour})
		if len(back) != 2 || len(held) != 1 {
			t.Fatalf("received %d and %d", len(back), len(held))
		}
		time.Sleep(30 * time.Minute)
		send(t, q, "young")
		time.Sleep(30*time.Minute + time.Second)
		// Past its retention a message is not delivered, removed or not.
		wantBodies(t, receive(t, q, runnel.Limits{Lease: -1}), "young")
		time.Sleep(2 * time.Minute)
		wantDepth(t, q, 1, 1, 0)
		time.Sleep(time.Hour)
		wantDepth(t, q, 0, 1, 0) // nobody takes it from under its holder
		remove(t, q, held)
		if got := q.Stats().Expired; got != 600 {
			t.Errorf("%d messages expired, want 600", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := h.create("dead", func(s *queue.Settings) { s.Delay = time.Minute; s.MaxMessageBytes = 1024 })
		q := h.create("q", func(s *queue.Settings) {
			s.VisibilityTimeout = time.Second
			s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 2}
		})
		ids, err := q.Send([]runnel.Message{{Body: []byte(strings.Repeat("x", 5000)), Attributes: []runnel.Attribute{{Name: "a", Value: []byte("v")}}}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2 {
			if ds := receive(t, q, runnel.Limits{Wait: 5 * time.Second}); len(ds) != 1 || ds[0].Receives != i+1 {
				t.Fatalf("receive %d: %+v", i+1, ds)
			}
		}
		sent := time.Now().Add(-time.Second)
		if ds := receive(t, q, runnel.Limits{Wait: 5 * time.Second}); len(ds) != 0 {
			t.Errorf("received a third time: %q", bodies(ds))
		}
		wantDepth(t, q, 0, 0, 0)
		wantDepth(t, dead, 1, 0, 0)
		ds := receive(t, dead, runnel.Limits{})
		if len(ds) != 1 {
			t.Fatal("the dead-letter queue is empty")
		}
		d := ds[0]
		if d.ID != ids[0] || len(d.Body) != 5000 || len(d.Attributes) != 1 || d.Receives != 1 || !d.Sent.Equal(sent) {
			t.Errorf("it is not the same message: id %s, %d bytes, %d attributes, %d receives, sent %v (want %v)", d.ID, len(d.Body), len(d.Attributes), d.Receives, d.Sent, sent)
		}
		if r := d.DeadLetter; r == nil || r.Type != "max_receives" || r.Attempts != 2 || r.Source != "queue:q" {
			t.Errorf("reason: %+v", d.DeadLetter)
		}
	})
}

func TestRedriveWithoutQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "gone", MaxReceives: 1} })
		send(t, q, "x")
		for range 3 {
			wantBodies(t, receive(t, q, runnel.Limits{Lease: -1, Wait: time.Second}), "x")
		}
	})
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a", "b", "c")
		if _, err := q.Send([]runnel.Message{{Body: []byte("late"), Delay: time.Minute}}); err != nil {
			t.Fatal(err)
		}
		held := receive(t, q, runnel.Limits{Messages: 1})
		if err := q.Purge(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 0, 0, 0)
		if err := q.Purge(); !errors.Is(err, queue.ErrPurgeInProgress) {
			t.Errorf("second purge: got %v, want ErrPurgeInProgress", err)
		}
		remove(t, q, held)
		send(t, q, "new")
		wantBodies(t, receive(t, q, runnel.Limits{}), "new")
		time.Sleep(time.Minute)
		wantBodies(t, receive(t, q, runnel.Limits{}), "new")
		wantDepth(t, q, 0, 1, 0)
		h.restart()
		wantDepth(t, h.queue("q"), 0, 1, 0)
		if err := h.queue("q").Purge(); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// TestRestart: what was promised to clients is kept by the next process.
func TestRestart(t *testing.T) {
	for name, again := range map[string]func(*home){"in good order": (*home).restart, "crash": (*home).crash} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				q := h.create("q", nil)
				send(t, q, "a", "b", "c", "d", "e")
				if _, err := q.Send([]runnel.Message{{Body: []byte("late"), Delay: time.Minute}}); err != nil {
					t.Fatal(err)
				}
				held := receive(t, q, runnel.Limits{Messages: 3}) // a b c
				remove(t, q, held[1:2])
				if err := change(t, q, held[2], 0); err != nil {
					t.Fatal(err)
				}
				if err := change(t, q, held[0], 45*time.Second); err != nil {
					t.Fatal(err)
				}
				wantDepth(t, q, 3, 1, 1)
				time.Sleep(5 * time.Second)
				again(h)
				q = h.queue("q")
				wantDepth(t, q, 3, 1, 1)
				ds := receive(t, q, runnel.Limits{})
				wantBodies(t, ds, "c d e")
				if ds[0].Receives != 2 || ds[1].Receives != 1 {
					t.Errorf("receive counts: c %d, d %d; want 2 and 1", ds[0].Receives, ds[1].Receives)
				}
				// The receipt from before is good, and so is the timeout.
				if err := change(t, q, held[0], 45*time.Second); err != nil {
					t.Errorf("receipt from before the restart: %v", err)
				}
				remove(t, q, ds)
				start := time.Now()
				wantBodies(t, receive(t, q, runnel.Limits{Wait: time.Hour}), "a")
				if got := time.Since(start); got != 45*time.Second {
					t.Errorf("a came back after %v, want 45s", got)
				}
				wantBodies(t, receive(t, q, runnel.Limits{Wait: time.Hour}), "late")
				if got := time.Since(start); got != 55*time.Second {
					t.Errorf("the delayed message came after %v, want 55s", got)
				}
				wantDepth(t, q, 0, 2, 0)
			})
		})
	}
}

// TestBacklog: a queue that is longer than its window loses and doubles
// nothing, in order, with exceptions in the part that is on disk.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		const total = 12_000
		var batch []runnel.Message
		for i := range total {
			m := runnel.Message{Body: fmt.Append(nil, i)}
			if i%100 == 99 {
				m.Delay = 10 * time.Second
			}
			if batch = append(batch, m); len(batch) == 500 {
				if _, err := q.Send(batch); err != nil {
					t.Fatal(err)
				}
				batch = nil
			}
		}
		wantDepth(t, q, total-total/100, 0, total/100)
		time.Sleep(10 * time.Second) // the delayed are visible, far ahead of the window
		synctest.Wait()
		wantDepth(t, q, total, 0, 0)
		seen := make([]bool, total)
		drain := func(most int) {
			for most > 0 {
				ds := receive(t, q, runnel.Limits{Messages: min(most, 97)})
				if len(ds) == 0 {
					return
				}
				most -= len(ds)
				for _, d := range ds {
					var i int
					if _, err := fmt.Sscan(string(d.Body), &i); err != nil {
						t.Fatal(err)
					}
					if seen[i] {
						t.Fatalf("message %d came twice", i)
					}
					seen[i] = true
				}
				remove(t, q, ds)
			}
		}
		drain(3000)
		h.restart()
		q = h.queue("q")
		wantDepth(t, q, total-3000, 0, 0)
		drain(3000)
		h.crash()
		q = h.queue("q")
		wantDepth(t, q, total-6000, 0, 0)
		drain(total)
		wantDepth(t, q, 0, 0, 0)
		for i, ok := range seen {
			if !ok {
				t.Errorf("message %d was lost", i)
			}
		}
	})
}

func TestPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a", "b", "c", "d")
		if _, err := q.Send([]runnel.Message{{Body: []byte("late"), Delay: time.Minute}}); err != nil {
			t.Fatal(err)
		}
		remove(t, q, receive(t, q, runnel.Limits{Messages: 1}))
		receive(t, q, runnel.Limits{Messages: 1})
		describe := func(ps []queue.Peeked) (s []string) {
			for _, p := range ps {
				s = append(s, fmt.Sprintf("%s %s %v", p.Body, p.State, p.Receives))
			}
			return s
		}
		for range 2 {
			ps, err := q.Peek(0, 10)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"b in flight 1", "c visible 0", "d visible 0", "late delayed 0"}
			if diff := cmp.Diff(want, describe(ps)); diff != "" {
				t.Errorf("peek (-want +got):\n%s", diff)
			}
			ps, err = q.Peek(ps[1].Position, 2)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"c visible 0", "d visible 0"}, describe(ps)); diff != "" {
				t.Errorf("second page (-want +got):\n%s", diff)
			}
		}
		wantDepth(t, q, 2, 1, 1)
	})
}

func TestDeleteQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		send(t, q, "a")
		remove(t, q, receive(t, q, runnel.Limits{}))
		ended := make(chan error)
		go func() {
			_, err := q.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Hour})
			ended <- err
		}()
		synctest.Wait()
		if err := h.set.Delete(q.Name()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("waiting receive: got %v, want CodeNotFound", err)
		}
		if _, err := q.Send([]runnel.Message{{}}); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("send to it: got %v, want CodeNotFound", err)
		}
		if err := h.set.Delete(q.Name()); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("delete again: got %v, want CodeNotFound", err)
		}
		// A new one of that name is empty, and has its own settings.
		q = h.create("q", func(s *queue.Settings) { s.Delay = time.Second })
		wantDepth(t, q, 0, 0, 0)
		h.restart()
		if s, _ := h.queue("q").Settings(); s.Delay != time.Second {
			t.Errorf("after restart: delay %v, want 1s", s.Delay)
		}
		wantDepth(t, h.queue("q"), 0, 0, 0)
	})
}
