package queue_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// sendAs sends messages of one tenant. A body is the tenant's name and a number.
func sendAs(t testing.TB, q *queue.Queue, tenant string, from, count int) {
	t.Helper()
	ms := make([]runnel.Message, count)
	for i := range ms {
		ms[i] = runnel.Message{Key: tenant, Body: fmt.Appendf(nil, "%s%d", tenant, from+i)}
	}
	if _, err := q.Send(ms); err != nil {
		t.Fatal(err)
	}
}

// take receives count messages and keeps them in flight.
func take(t testing.TB, q *queue.Queue, count int) []runnel.Delivery {
	t.Helper()
	var ds []runnel.Delivery
	for len(ds) < count {
		more := receive(t, q, runnel.Limits{Messages: count - len(ds)})
		if len(more) == 0 {
			t.Fatalf("received %d messages, want %d", len(ds), count)
		}
		ds = append(ds, more...)
	}
	return ds
}

func TestNoisyTenantWaits(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	sendAs(t, q, "a", 0, 50)
	sendAs(t, q, "b", 0, 1)
	if got := bodies(take(t, q, 29)); !strings.HasSuffix(got, "a27 a28") {
		t.Fatalf("with 29 in flight nobody is noisy, and the order is that of sends: got %s", got)
	}
	held := take(t, q, 1)
	wantBodies(t, held, "a29") // it has 30 now
	wantBodies(t, take(t, q, 1), "b0")
	wantBodies(t, take(t, q, 2), "a30 a31") // nobody else waits
	send(t, q, "nobody's")
	wantBodies(t, take(t, q, 2), "nobody's a32")
	sendAs(t, q, "b", 1, 2)
	wantBodies(t, take(t, q, 3), "b1 b2 a33")

	// Quiet again: its messages are in their place once more.
	sendAs(t, q, "b", 3, 1)
	remove(t, q, held)
	wantBodies(t, take(t, q, 1), "b3") // it has 33 of 36 in flight
	sendAs(t, q, "c", 0, 1)
	wantDepth(t, q, 17, 38, 0)
}

// A tenant with 30 messages in flight is not noisy where they are a tenth of all.
func TestManyTenantsAreQuiet(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	for i := range 300 {
		sendAs(t, q, fmt.Sprintf("t%d-", i), 0, 1)
	}
	take(t, q, 300)
	sendAs(t, q, "a", 0, 40)
	sendAs(t, q, "b", 0, 1)
	got := bodies(take(t, q, 41))
	// The 34th of a makes 34 of 334, more than a tenth.
	if want := "a32 a33 b0 a34"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}

// A tenant with few messages that take long is noisy by the time they took.
func TestSlowTenantWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q := h.create("q", nil)
		sendAs(t, q, "slow", 0, 20)
		sendAs(t, q, "b", 0, 3)
		slow := take(t, q, 2)
		wantBodies(t, slow, "slow0 slow1")
		time.Sleep(4 * time.Second) // 8 s of processing: under the floor
		more := take(t, q, 1)
		wantBodies(t, more, "slow2")
		time.Sleep(2 * time.Second)
		remove(t, q, append(slow, more...))
		ds := take(t, q, 4)
		wantBodies(t, ds, "b0 b1 b2 slow3")
		remove(t, q, ds)

		time.Sleep(10 * time.Minute) // long enough to forget
		sendAs(t, q, "b", 3, 1)
		wantBodies(t, take(t, q, 2), "slow4 slow5")
		h.close()
	})
}

// A quiet tenant's message behind a long backlog of a noisy one is found, and
// nothing is lost, doubled or out of its tenant's order.
func TestQuietMessageBehindBacklog(t *testing.T) {
	const noisy = 20_000
	h := newHome(t)
	q := h.create("q", nil)
	for from := 0; from < noisy; from += 1000 {
		sendAs(t, q, "a", from, 1000)
	}
	sendAs(t, q, "b", 0, 1)
	take(t, q, 30)
	receives := 0
	next := map[byte]int{'a': 30}
	see := func(d runnel.Delivery) byte {
		tenant := d.Body[0]
		if want := fmt.Sprintf("%c%d", tenant, next[tenant]); string(d.Body) != want {
			t.Fatalf("received %s, want %s", d.Body, want)
		}
		next[tenant]++
		return tenant
	}
	for found := false; !found; receives++ {
		ds := take(t, q, 1)
		found = see(ds[0]) == 'b'
		remove(t, q, ds)
	}
	// One reading of 1,024 messages for each receive.
	if most := noisy/1024 + 2; receives > most {
		t.Errorf("the quiet message came after %d receives, want at most %d", receives, most)
	}
	sendAs(t, q, "b", 1, 1)
	ds := take(t, q, 1)
	if see(ds[0]) != 'b' {
		t.Error("a new message of the quiet tenant waits behind the backlog")
	}
	remove(t, q, ds)
	for {
		ds := receive(t, q, runnel.Limits{Messages: 10})
		if len(ds) == 0 {
			break
		}
		for i := range ds {
			see(ds[i])
		}
		remove(t, q, ds)
	}
	if next['a'] != noisy || next['b'] != 2 {
		t.Errorf("received %d of a, %d of b; want %d and 2", next['a'], next['b'], noisy)
	}
	wantDepth(t, q, 0, 30, 0)
}

// Messages of a noisy tenant that come back wait like its others.
func TestReturnedMessagesOfNoisyTenant(t *testing.T) {
	h := newHome(t)
	q := h.create("q", nil)
	sendAs(t, q, "a", 0, 45)
	ds := take(t, q, 40)
	for _, d := range ds[:5] {
		if err := change(t, q, d, 0); err != nil {
			t.Fatal(err)
		}
	}
	sendAs(t, q, "b", 0, 1)
	wantBodies(t, take(t, q, 7), "b0 a0 a1 a2 a3 a4 a40")
	remove(t, q, ds[5:])
	wantDepth(t, q, 4, 7, 0)
}

// What was in flight before a restart, or a crash, counts after it.
func TestNoisyAfterRestart(t *testing.T) {
	for name, again := range map[string]func(*home){"restart": (*home).restart, "crash": (*home).crash} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			q := h.create("q", nil)
			sendAs(t, q, "a", 0, 40)
			sendAs(t, q, "b", 0, 1)
			take(t, q, 30)
			again(h)
			q = h.queue("q")
			wantBodies(t, take(t, q, 2), "b0 a30")
		})
	}
}

// Everything that takes messages from the queue finds those that were set aside.
func TestSetAside(t *testing.T) {
	setUp := func(t *testing.T) (*home, *queue.Queue) {
		h := newHome(t)
		h.small = true // noisy with 3 in flight, lists of few messages
		h.restart()
		q := h.create("q", nil)
		sendAs(t, q, "a", 0, 30)
		take(t, q, 3)
		sendAs(t, q, "b", 0, 1)
		for i := 0; ; i++ {
			ds := take(t, q, 1)
			remove(t, q, ds)
			if string(ds[0].Body) == "b0" {
				break
			}
			if i == 30 {
				t.Fatal("the quiet message does not come")
			}
		}
		return h, q
	}
	t.Run("peek and move", func(t *testing.T) {
		h, q := setUp(t)
		to := h.create("to", nil)
		ps, err := q.Peek(0, 100)
		if err != nil {
			t.Fatal(err)
		}
		visible := q.Depth().Visible
		moved := int64(0)
		for _, p := range ps {
			if p.State != "visible" {
				continue
			}
			if err := h.set.Move(q.Name(), p.Position, to.Name()); err != nil {
				t.Fatalf("move %s: %v", p.Body, err)
			}
			moved++
		}
		if moved != visible {
			t.Errorf("moved %d messages, %d were visible", moved, visible)
		}
		wantDepth(t, q, 0, 3, 0)
		wantDepth(t, to, visible, 0, 0)
		if ds := receive(t, q, runnel.Limits{Messages: 10}); len(ds) > 0 {
			t.Errorf("received %s, which was moved", bodies(ds))
		}
	})
	t.Run("purge", func(t *testing.T) {
		_, q := setUp(t)
		if err := q.Purge(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, q, 0, 0, 0)
		sendAs(t, q, "a", 100, 6)
		wantBodies(t, take(t, q, 6), "a100 a101 a102 a103 a104 a105")
	})
	t.Run("restart", func(t *testing.T) {
		h, q := setUp(t)
		visible := q.Depth().Visible
		h.restart()
		q = h.queue("q")
		wantDepth(t, q, visible, 3, 0)
		take(t, q, int(visible))
		wantDepth(t, q, 0, 3+visible, 0)
	})
	t.Run("delete", func(t *testing.T) {
		h, q := setUp(t)
		if err := h.set.Delete(q.Name()); err != nil {
			t.Fatal(err)
		}
		if got := q.Stats().Cached; got != 0 {
			t.Errorf("a deleted queue has %d bytes in memory", got)
		}
	})
	t.Run("more tenants than can be set aside", func(t *testing.T) {
		h := newHome(t)
		h.small = true // two can
		h.restart()
		q := h.create("q", nil)
		for _, tenant := range []string{"a", "b", "c", "d"} {
			sendAs(t, q, tenant, 0, 8)
		}
		next := map[byte]int{}
		for _, d := range take(t, q, 32) {
			if want := fmt.Sprintf("%c%d", d.Body[0], next[d.Body[0]]); string(d.Body) != want {
				t.Fatalf("received %s, want %s", d.Body, want)
			}
			next[d.Body[0]]++
		}
	})
}

// Retention ends messages that were set aside, too.
func TestSetAsideExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		h.small = true
		h.restart()
		q := h.create("q", func(s *queue.Settings) { s.Retention = time.Minute })
		sendAs(t, q, "a", 0, 30)
		receive(t, q, runnel.Limits{Messages: 3, Lease: time.Hour})
		sendAs(t, q, "b", 0, 1)
		receive(t, q, runnel.Limits{Messages: 3, Lease: time.Hour})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { _ = h.set.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if d := q.Depth(); d.Visible != 0 {
			t.Errorf("%d messages are past their retention and there", d.Visible)
		}
		cancel()
		synctest.Wait()
		h.close()
	})
}

func BenchmarkTenants(b *testing.B) {
	// One tenant, whose messages are noisy, against messages without a group.
	for _, tenant := range []string{"", "a"} {
		b.Run("tenant="+tenant, func(b *testing.B) {
			q := benchQueue(b)
			const batch = 100
			ms := make([]runnel.Message, batch)
			for i := range ms {
				ms[i] = runnel.Message{Key: tenant, Body: make([]byte, 1024)}
			}
			source := q.Source()
			ctx := context.Background()
			b.ResetTimer()
			for i := 0; i < b.N; i += batch {
				if _, err := q.Send(ms); err != nil {
					b.Fatal(err)
				}
				ds, err := source.Receive(ctx, runnel.Limits{Messages: batch, Lease: time.Minute})
				if err != nil {
					b.Fatal(err)
				}
				ss := make([]runnel.Settlement, len(ds))
				for j := range ds {
					ss[j] = runnel.Settlement{Delivery: &ds[j], Verdict: runnel.Ack}
				}
				if err := source.Settle(ctx, ss); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
