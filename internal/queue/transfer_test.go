package queue_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func codes(errs []error) string {
	var out []string
	for _, err := range errs {
		code := string(runnel.CodeOf(err))
		if err == nil {
			code = "ok"
		}
		out = append(out, code)
	}
	return strings.Join(out, " ")
}

// TestTransfer moves and copies messages in every state, between both kinds of
// queue, and looks again after a crash.
func TestTransfer(t *testing.T) {
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHome(t)
				h.small = true
				h.restart()
				q := h.create(name, func(s *queue.Settings) {
					if name == "q.fifo" {
						fifo(s)
					}
				})
				to, ordered := h.create("to", nil), h.create("to.fifo", fifo)
				ms := grouped("a1", "b2", "c3", "d4", "e5", "f6", "g7")
				ms[3].DeadLetter, ms[3].Hops = &runnel.DeadLetter{Type: "error"}, 3
				ids, err := q.Send(ms)
				if err != nil {
					t.Fatal(err)
				}
				held := receive(t, q, runnel.Limits{Messages: 1, Lease: time.Hour})
				remove(t, q, receive(t, q, runnel.Limits{Messages: 1}))

				errs, err := h.set.CopyAll(q.Name(), []int64{0, 1, 3, 3, 99, -1}, to.Name(), "")
				if got, want := codes(errs), "ok not_found ok ok not_found not_found"; got != want || err != nil {
					t.Errorf("copy: got %s and %v, want %s", got, err, want)
				}
				wantDepth(t, q, 5, 1, 0)
				errs, err = h.set.MoveAll(q.Name(), []int64{0, 1, 3, 3, 6}, ordered.Name(), "")
				if got, want := codes(errs), "conflict not_found ok not_found ok"; got != want || err != nil {
					t.Errorf("move: got %s and %v, want %s", got, err, want)
				}
				wantDepth(t, q, 3, 1, 0)
				if err := change(t, q, held[0], time.Minute); err != nil {
					t.Errorf("the copy has disturbed the holder: %v", err)
				}

				h.crash()
				q, to, ordered = h.queue(name), h.queue("to"), h.queue("to.fifo")
				wantDepth(t, q, 3, 1, 0)
				peeked, err := to.Peek(0, 10)
				if err != nil {
					t.Fatal(err)
				}
				seen := map[runnel.MessageID]bool{ids[0]: true, ids[3]: true} // a copy has an id of its own
				for i, want := range []string{"a1", "d4", "d4"} {
					p := peeked[i]
					if seen[p.ID] || string(p.Body) != want || p.DeadLetter != nil || p.Hops != 0 || p.Key != want[:1] || p.State != queue.StateVisible {
						t.Errorf("copy %d: got %+v, want %s as new", i, p, want)
					}
					seen[p.ID] = true
				}
				if peeked, err = ordered.Peek(0, 10); err != nil || len(peeked) != 2 || peeked[0].ID != ids[3] || string(peeked[1].Body) != "g7" {
					t.Errorf("moved: got %+v, %v", peeked, err)
				}
			})
		})
	}
}

// TestTransferGroup: a message without a group cannot go to a FIFO queue, unless
// it is given one.
func TestTransferGroup(t *testing.T) {
	h := newHome(t)
	q, to := h.create("q", nil), h.create("to.fifo", fifo)
	send(t, q, "a", "b", "c")
	for what, transfer := range map[string]func(queue.Name, []int64, queue.Name, string) ([]error, error){"move": h.set.MoveAll, "copy": h.set.CopyAll} {
		errs, err := transfer(q.Name(), []int64{1, 2}, to.Name(), "")
		if got := codes(errs); got != "invalid invalid" || err != nil {
			t.Fatalf("%s: got %s, %v", what, got, err)
		}
		if got, want := errs[0].Error(), "the message has no message group, and the FIFO queue default/to.fifo needs one: say which it should get"; got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		if _, err := transfer(q.Name(), []int64{1}, queue.Name{Account: "default", Queue: "none"}, ""); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("%s to no queue: got %v", what, err)
		}
	}
	errs, err := h.set.CopyAll(q.Name(), []int64{0}, to.Name(), "g")
	if codes(errs) != "ok" || err != nil {
		t.Fatal(errs, err)
	}
	if errs, err = h.set.MoveAll(q.Name(), []int64{0, 1}, to.Name(), "g"); codes(errs) != "ok ok" || err != nil {
		t.Fatal(errs, err)
	}
	ds := receive(t, to, runnel.Limits{})
	wantBodies(t, ds, "a a b")
	if ds[2].Key != "g" {
		t.Errorf("got the group %q", ds[2].Key)
	}
	wantDepth(t, q, 1, 0, 0)
}

// TestTransferConcurrent receives, moves and copies the same messages at once.
// In the end each is deleted, moved or still there, exactly one of these, and
// there is one copy for each that was acknowledged.
func TestTransferConcurrent(t *testing.T) {
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			h.small = true
			h.restart()
			change := func(s *queue.Settings) {
				if name == "q.fifo" {
					fifo(s)
				}
			}
			suffix := strings.TrimPrefix(name, "q")
			q, to, copies := h.create(name, change), h.create("to"+suffix, change), h.create("copies"+suffix, change)
			const count = 300
			var all sync.WaitGroup
			var mu sync.Mutex // guards all below
			where := make(map[string][]string)
			copied := 0
			all.Go(func() {
				for i := range count {
					if _, err := q.Send(grouped(fmt.Sprintf("%c-%d", 'a'+i%11, i))); err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for range 120 {
					ds, err := q.Receive(t.Context(), runnel.Limits{Messages: 2, Wait: time.Second, Lease: time.Hour})
					if err != nil {
						t.Error(err)
						return
					}
					for i, d := range ds {
						if i > 0 {
							_ = q.ChangeVisibility([]queue.Visibility{{Receipt: d.Handle.(queue.Receipt)}})
						} else {
							for _, err := range q.Delete(receipts(ds[:1])) {
								if err != nil {
									t.Error(err)
								}
							}
							mu.Lock()
							where[string(d.Body)] = append(where[string(d.Body)], "deleted")
							mu.Unlock()
						}
					}
				}
			})
			for seed := range uint64(2) {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, 1))
					for range 60 {
						positions := []int64{rng.Int64N(count), rng.Int64N(count), rng.Int64N(count)}
						if _, err := h.set.MoveAll(q.Name(), positions, to.Name(), ""); err != nil {
							t.Error(err)
						}
						errs, err := h.set.CopyAll(q.Name(), positions, copies.Name(), "")
						if err != nil {
							t.Error(err)
						}
						mu.Lock()
						for _, err := range errs {
							if err == nil {
								copied++
							}
						}
						mu.Unlock()
					}
				})
			}
			all.Wait()
			h.crash()
			for queueName, what := range map[string]string{name: "left", "to" + suffix: "moved"} {
				peeked, err := h.queue(queueName).Peek(0, 2*count)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range peeked {
					where[string(p.Body)] = append(where[string(p.Body)], what)
				}
			}
			sums := make(map[string]int)
			for body, places := range where {
				if len(places) != 1 {
					t.Errorf("%s is %s", body, places)
				}
				sums[places[0]]++
			}
			if len(where) != count || sums["deleted"] == 0 || sums["moved"] == 0 {
				t.Errorf("%d messages, want %d: %v", len(where), count, sums)
			}
			peeked, err := h.queue("copies"+suffix).Peek(0, 2*count)
			if err != nil || len(peeked) != copied || copied == 0 {
				t.Errorf("there are %d copies, want %d (%v)", len(peeked), copied, err)
			}
			ids := make([]string, len(peeked))
			for i, p := range peeked {
				ids[i] = string(p.ID)
			}
			slices.Sort(ids)
			if n := len(slices.Compact(ids)); n != len(peeked) {
				t.Error(cmp.Diff(n, len(peeked)))
			}
		})
	}
}
