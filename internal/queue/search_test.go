package queue_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// found searches a queue in pages of a size, and returns all bodies.
func found(t testing.TB, q *queue.Queue, s queue.Search, lim queue.SearchLimits) string {
	t.Helper()
	if lim.Bytes == 0 {
		lim.Bytes = math.MaxInt
	}
	var out []string
	for from, pages := int64(0), 0; ; pages++ {
		page, err := q.Search(t.Context(), from, &s, lim)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Messages {
			out = append(out, string(p.Body))
		}
		if !page.More {
			return strings.Join(out, " ")
		}
		if page.Next <= from || pages > 1000 {
			t.Fatalf("page %d goes on from %d, it began at %d", pages, page.Next, from)
		}
		from = page.Next
	}
}

func TestSearch(t *testing.T) {
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
				ms := grouped("a-Straße", "b-strasse", "c-STRASSE", "d-x", "e-x", "f-x", "g-x", "h-x")
				ms[0].Attributes = []runnel.Attribute{{Name: "kind", Value: []byte("street=1")}}
				ms[1].Attributes = []runnel.Attribute{{Name: "kind", Value: []byte("other")}, {Name: "n", Value: nil}}
				ids, err := q.Send(ms[:7])
				if err != nil {
					t.Fatal(err)
				}
				if err := q.Configure(func(s *queue.Settings) error { s.Delay = time.Minute; return nil }); err != nil {
					t.Fatal(err)
				}
				if _, err := q.Send(ms[7:]); err != nil {
					t.Fatal(err)
				}
				held := receive(t, q, runnel.Limits{Messages: 1, Lease: time.Hour})
				remove(t, q, receive(t, q, runnel.Limits{Messages: 1})) // b
				wantBodies(t, held, "a-Straße")
				street := "street=1"
				other := "other"
				for _, test := range []struct {
					what string
					s    queue.Search
					want string
				}{
					{"all", queue.Search{}, "a-Straße c-STRASSE d-x e-x f-x g-x h-x"},
					{"body", queue.Search{Body: "-S"}, "a-Straße c-STRASSE"},
					{"body in any case", queue.Search{Body: "STRASSE", IgnoreCase: true}, "c-STRASSE"},
					{"body in any case, not ascii", queue.Search{Body: "STRAßE", IgnoreCase: true}, "a-Straße"},
					{"the text of an attribute", queue.Search{Body: "street"}, ""},
					{"attribute", queue.Search{Attributes: []queue.AttributeSearch{{Name: "kind"}}}, "a-Straße"},
					{"attribute and value", queue.Search{Attributes: []queue.AttributeSearch{{Name: "kind", Value: &street}}}, "a-Straße"},
					{"attribute and other value", queue.Search{Attributes: []queue.AttributeSearch{{Name: "kind", Value: &other}}}, ""},
					{"key", queue.Search{Key: "d"}, "d-x"},
					{"part of a key", queue.Search{Key: "-"}, ""},
					{"id", queue.Search{IDs: []string{string(ids[2]), string(ids[1])}}, "c-STRASSE"},
					{"in flight", queue.Search{States: []string{queue.StateInFlight}}, "a-Straße"},
					{"visible", queue.Search{States: []string{queue.StateVisible}}, "c-STRASSE d-x e-x f-x g-x"},
					{"delayed", queue.Search{States: []string{queue.StateDelayed}}, "h-x"},
					{"invisible", queue.Search{States: []string{queue.StateDelayed, queue.StateInFlight}}, "a-Straße h-x"},
					{"all of it", queue.Search{Body: "x", Key: "e", States: []string{queue.StateVisible}}, "e-x"},
				} {
					for _, lim := range []queue.SearchLimits{
						{Messages: 100, Looked: 1000, Time: time.Minute},
						{Messages: 1, Looked: 1000, Time: time.Minute},
						{Messages: 100, Looked: 1, Time: time.Minute},
						{Messages: 100, Looked: 1000, Time: time.Minute, Bytes: 1},
						{Messages: 2, Looked: 3}, // no time: a part at least
					} {
						if got := found(t, q, test.s, lim); got != test.want {
							t.Errorf("%s, %+v: found %q, want %q", test.what, lim, got, test.want)
						}
					}
				}
				wantDepth(t, q, 5, 1, 1) // nothing has changed
				page, err := q.Search(t.Context(), 0, &queue.Search{Body: "x"}, queue.SearchLimits{End: 5, Messages: 100, Bytes: 100, Looked: 100})
				if err != nil || page.More || page.End != 5 || len(page.Messages) != 2 {
					t.Errorf("up to position 5: got %+v, %v", page, err)
				}
				if got, want := page.Messages[0], (queue.Peeked{Position: 3, State: queue.StateVisible}); got.Position != want.Position || got.State != want.State {
					t.Error(cmp.Diff(want, got))
				}
				if err := q.Purge(); err != nil {
					t.Fatal(err)
				}
				if got := found(t, q, queue.Search{}, queue.SearchLimits{Messages: 9, Looked: 9}); got != "" {
					t.Errorf("after a purge: found %q", got)
				}
			})
		})
	}
}

// TestSearchWhileWorking searches a queue that is sent to and received from:
// what lies there all the time is found each time, and in its order.
func TestSearchWhileWorking(t *testing.T) {
	for _, name := range []string{"q", "q.fifo"} {
		h := newHome(t)
		q := h.create(name, func(s *queue.Settings) {
			if name == "q.fifo" {
				fifo(s)
			}
		})
		// In flight, or behind one in flight: they stay while others go.
		for i := range 50 {
			if _, err := q.Send(grouped(fmt.Sprintf("stays%d", i))); err != nil {
				t.Fatal(err)
			}
			for j := range 9 {
				if _, err := q.Send(grouped(fmt.Sprintf("go%d-%d", i, j))); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range receive(t, q, runnel.Limits{Messages: 10, Lease: time.Hour}) {
				if strings.HasPrefix(string(d.Body), "go") {
					remove(t, q, []runnel.Delivery{d})
				}
			}
		}
		stop := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := q.Send(grouped(fmt.Sprintf("more%d", i))); err != nil {
					t.Error(err)
				}
				remove(t, q, receive(t, q, runnel.Limits{Messages: 10}))
			}
		})
		for range 50 {
			got := found(t, q, queue.Search{Body: "stays"}, queue.SearchLimits{Messages: 7, Looked: 100, Time: time.Minute})
			if n := len(strings.Fields(got)); n != 50 || !strings.HasPrefix(got, "stays0 stays1 ") {
				t.Errorf("%s: found %d of 50: %s", name, n, got)
				break
			}
		}
		close(stop)
		all.Wait()
	}
}
