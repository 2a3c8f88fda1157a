package queue_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

func shuffled(s *queue.Settings) { s.Delivery = queue.DeliveryShuffle }

// order is the positions in which a queue hands out everything.
func order(t *testing.T, q *queue.Queue, most int) []int64 {
	t.Helper()
	var out []int64
	for {
		ds := receive(t, q, runnel.Limits{Messages: most, Lease: time.Hour})
		if len(ds) == 0 {
			return out
		}
		for _, d := range ds {
			out = append(out, d.Position)
		}
		remove(t, q, ds)
	}
}

// TestShuffle: everything is delivered once, out of order but never by 32 places
// or more, the same way under the same seed, across a restart, and with messages
// that came back and windows that end anywhere.
func TestShuffle(t *testing.T) {
	for _, small := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var first []int64
			for range 2 {
				h := newHome(t)
				h.small, h.seed = small, 7
				h.restart()
				q := h.create("q", shuffled)
				const count = 200
				for i := range count {
					send(t, q, fmt.Sprint(i))
				}
				for _, d := range receive(t, q, runnel.Limits{Messages: 10, Lease: time.Hour}) {
					if err := change(t, q, d, 0); err != nil {
						t.Fatal(err)
					}
				}
				h.restart()
				q = h.queue("q")
				got := order(t, q, 3)
				seen := make(map[int64]bool)
				moved := 0
				var highest int64
				for i, n := range got {
					if seen[n] {
						t.Errorf("message %d came twice", n)
					}
					seen[n] = true
					if n <= highest-32 {
						t.Errorf("message %d came after %d", n, highest)
					}
					highest = max(highest, n)
					if n != int64(i) {
						moved++
					}
				}
				if len(got) != count || moved < count/4 {
					t.Errorf("small %v: %d messages of %d, %d of them out of their place: %v", small, len(got), count, moved, got)
				}
				if first == nil {
					first = got
				} else if fmt.Sprint(got) != fmt.Sprint(first) {
					t.Errorf("another order under the same seed:\n%v\n%v", first, got)
				}
				wantDepth(t, q, 0, 0, 0)
			}
		})
	}
}

// TestDuplicate: each message is delivered once more, to whoever asks next or
// waits, with a receipt of its own; deleting either deletes the message.
func TestDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", func(s *queue.Settings) { s.Duplicate = 1 })
		send(t, q, "a", "b")
		one := receive(t, q, runnel.Limits{Messages: 10, Lease: time.Minute})
		wantBodies(t, one, "a b")
		time.Sleep(30 * time.Second)
		two := receive(t, q, runnel.Limits{Messages: 10, Lease: time.Minute})
		wantBodies(t, two, "a b")
		if one[0].Handle == two[0].Handle || two[0].Receives != 2 || two[0].ID != one[0].ID || !two[0].LeaseUntil.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the second delivery: %+v of %+v", two[0], one[0])
		}
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
		wantDepth(t, q, 0, 2, 0)
		if st := q.Stats(); st.Received != 4 || st.Duplicated != 2 {
			t.Errorf("stats: %+v", st)
		}
		time.Sleep(40 * time.Second) // the first timeout would have ended
		wantDepth(t, q, 0, 2, 0)

		h.crash() // both receipts are good for the next process
		q = h.queue("q")
		remove(t, q, two[:1])
		wantDepth(t, q, 0, 1, 0)
		remove(t, q, one[:1])
		remove(t, q, one[1:])
		remove(t, q, two[1:])
		wantDepth(t, q, 0, 0, 0)

		// Somebody who waits gets it at once.
		got := make(chan []runnel.Delivery, 1)
		for range 2 {
			go func() {
				ds, _ := q.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: 20 * time.Second})
				got <- ds
			}()
		}
		synctest.Wait()
		start := time.Now()
		send(t, q, "c")
		x, y := <-got, <-got
		if bodies(x) != "c" || bodies(y) != "c" || time.Since(start) != 0 {
			t.Errorf("those who wait got %q and %q after %v", bodies(x), bodies(y), time.Since(start))
		}
		// A receive after the timeout is a new one: both receipts are old.
		time.Sleep(time.Minute)
		z := receive(t, q, runnel.Limits{Messages: 1})
		remove(t, q, x)
		remove(t, q, y)
		wantDepth(t, q, 0, 1, 0)
		remove(t, q, z)
		wantDepth(t, q, 0, 0, 0)

		// What is deleted before its second delivery has none.
		send(t, q, "d")
		remove(t, q, receive(t, q, runnel.Limits{}))
		wantBodies(t, receive(t, q, runnel.Limits{}), "")

		// A flow gets each once.
		send(t, q, "e")
		source := q.Source()
		ds, err := source.Receive(t.Context(), runnel.Limits{Messages: 1})
		if err != nil || len(ds) != 1 {
			t.Fatal(ds, err)
		}
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
	})
}

// TestDuplicateShare: about the share that was asked for, over many.
func TestDuplicateShare(t *testing.T) {
	h := newHome(t)
	h.seed = 1
	h.restart()
	q := h.create("q", func(s *queue.Settings) { shuffled(s); s.Duplicate = 0.1 })
	const count = 2000
	ms := make([]runnel.Message, count)
	if _, err := q.Send(ms); err != nil {
		t.Fatal(err)
	}
	for {
		ds := receive(t, q, runnel.Limits{Messages: 10, Lease: time.Hour})
		if len(ds) == 0 {
			break
		}
	}
	if st := q.Stats(); st.Duplicated < count/20 || st.Duplicated > count/5 || st.Received != count+st.Duplicated {
		t.Errorf("%d of %d were delivered twice, %d receives; want about %d", st.Duplicated, count, st.Received, count/10)
	}
}

// TestDuplicateMaxReceives: a second delivery counts, and is not made where the
// redrive policy allows none.
func TestDuplicateMaxReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		dead := h.create("dead", nil)
		q := h.create("q", func(s *queue.Settings) {
			s.Duplicate, s.DeadLetter = 1, &queue.Redrive{Queue: "dead", MaxReceives: 1}
		})
		send(t, q, "a")
		wantBodies(t, receive(t, q, runnel.Limits{}), "a")
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
		time.Sleep(time.Minute)
		wantBodies(t, receive(t, q, runnel.Limits{}), "")
		wantDepth(t, dead, 1, 0, 0)
	})
}

func TestDeliverySettings(t *testing.T) {
	for what, s := range map[string]queue.Settings{
		"word":           {Delivery: "random"},
		"negative":       {Duplicate: -0.1},
		"more than all":  {Duplicate: 1.1},
		"no number":      {Duplicate: math.NaN()},
		"shuffled FIFO":  {Delivery: queue.DeliveryShuffle, FIFO: &queue.FIFO{}},
		"duplicate FIFO": {Duplicate: 0.5, FIFO: &queue.FIFO{}},
	} {
		all := queue.Defaults()
		all.Delivery, all.Duplicate, all.FIFO = s.Delivery, s.Duplicate, s.FIFO
		if err := all.Validate(); err == nil {
			t.Errorf("%s: is taken", what)
		}
	}
}
