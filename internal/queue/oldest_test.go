package queue_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// TestOldest: with a backlog much longer than what is in memory, on both kinds of
// queue, before and after a restart, and while messages are in flight.
func TestOldest(t *testing.T) {
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
				var sent []time.Time
				for i := range 100 {
					if _, err := q.Send(grouped(fmt.Sprintf("%c%d", 'a'+i%3, i))); err != nil {
						t.Fatal(err)
					}
					sent = append(sent, time.Now())
					time.Sleep(time.Second)
				}
				check := func(what string) {
					t.Helper()
					page, err := q.Search(t.Context(), 0, &queue.Search{States: []string{queue.StateVisible}}, queue.SearchLimits{Messages: 1, Bytes: 1, Looked: 1000, Time: time.Minute})
					if err != nil {
						t.Fatal(err)
					}
					want := time.Time{}
					if len(page.Messages) > 0 {
						want = sent[page.Messages[0].Position]
					}
					if got := q.Stats().Oldest; !got.Equal(want) {
						t.Errorf("%s: the oldest is of %v, want %v", what, got, want)
					}
				}
				check("at first")
				for i := 0; q.Depth() != (queue.Depth{}); i++ {
					ds := receive(t, q, runnel.Limits{Messages: 3, Lease: time.Hour})
					check("in flight")
					if i%7 == 0 {
						h.restart()
						q = h.queue(name)
						check("after a restart")
					}
					remove(t, q, ds)
					check("deleted")
				}
				if st := q.Stats(); st.Locked != 0 {
					t.Errorf("%d groups are locked in an empty queue", st.Locked)
				}
			})
		})
	}
}
