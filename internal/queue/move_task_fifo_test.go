package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

// letters are dead letters of q.fifo, as grouped makes messages.
func letters(bodies ...string) []runnel.Message {
	ms := grouped(bodies...)
	for i := range ms {
		ms[i].DeadLetter = &runnel.DeadLetter{Type: "error", Source: "queue:q.fifo"}
	}
	return ms
}

// crypt makes q.fifo and dead.fifo, its dead-letter queue with these letters.
func (h *home) crypt(bodies ...string) (q, dead *queue.Queue) {
	h.t.Helper()
	dead = h.create("dead.fifo", fifo)
	q = h.create("q.fifo", func(s *queue.Settings) {
		fifo(s)
		s.DeadLetter = &queue.Redrive{Queue: "dead.fifo", MaxReceives: 1}
	})
	if len(bodies) > 0 {
		if _, err := dead.SendOrdered(letters(bodies...)); err != nil {
			h.t.Fatal(err)
		}
	}
	return q, dead
}

// rows is n messages of each group in turn: a0001 b0001 a0002 ...
func rows(groups string, n int) (out []string) {
	for i := range n {
		for _, g := range groups {
			out = append(out, fmt.Sprintf("%c%04d", g, i+1))
		}
	}
	return out
}

// TestFIFOMoveTask moves more than a page, and more than fits in memory: in order, with
// groups and deduplication ids.
func TestFIFOMoveTask(t *testing.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	want := rows("abc", 100)
	h.crypt(want...)
	h.restart()
	q, dead := h.queue("q.fifo"), h.queue("dead.fifo")
	checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveCompleted, ToMove: 300, Moved: 300})
	if diff := cmp.Diff(want, h.bodies("q.fifo")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantDepth(t, dead, 0, 0, 0)
	ps, err := q.Peek(0, 1)
	if err != nil || len(ps) != 1 || ps[0].Key != "a" || ps[0].DedupID != "a0001" || ps[0].DeadLetter != nil {
		t.Errorf("the first: got %+v, %v", ps, err)
	}
	// They count for deduplication as if they were sent now, in the next
	// process too.
	for range 2 {
		if again := sendGrouped(t, h.queue("q.fifo"), "a0001"); !again[0].Duplicate || again[0].ID != ps[0].ID || again[0].Position != ps[0].Position {
			t.Errorf("sent again: got %+v, want that of %+v", again, ps[0])
		}
		h.restart()
	}
}

// TestFIFOMoveTaskDuplicate: what has the deduplication id of a message that was
// sent just now is moved all the same.
func TestFIFOMoveTaskDuplicate(t *testing.T) {
	h := newHome(t)
	q, dead := h.crypt("a1", "a2")
	sendGrouped(t, q, "a1")
	checkTask(t, h.start(dead, "q.fifo", 0), queue.MoveTask{Status: queue.MoveCompleted, Destination: "q.fifo", ToMove: 2, Moved: 2})
	if diff := cmp.Diff([]string{"a1", "a1", "a2"}, h.bodies("q.fifo")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFIFODeadLetterID: two messages with one deduplication id are both dead
// letters, each with its own id for one.
func TestFIFODeadLetterID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q, dead := h.crypt()
		for range 2 {
			sendGrouped(t, q, "a1")
			pause(queue.DedupWindow)
		}
		for range 3 { // received, moved, received
			if ds := receive(t, q, runnel.Limits{Lease: time.Second}); len(ds) > 0 {
				pause(2 * time.Second)
			}
		}
		ps, err := dead.Peek(0, 10)
		if err != nil || len(ps) != 2 {
			t.Fatalf("peeked %d, %v", len(ps), err)
		}
		for _, p := range ps {
			if p.DedupID != string(p.ID) || p.Key != "a" {
				t.Errorf("the dead letter %s has the deduplication id %s, group %s", p.ID, p.DedupID, p.Key)
			}
		}
	})
}

// TestFIFOMoveTaskHolds: of a group of which a message is in flight when the
// task comes by, nothing is moved that is behind it, also if it comes back.
func TestFIFOMoveTaskHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		q, dead := h.crypt("a1", "b1", "b2", "b3", "a2", "b4")
		wantBodies(t, receive(t, dead, runnel.Limits{Messages: 1, Lease: 1500 * time.Millisecond}), "a1")
		began := time.Now()
		checkTask(t, h.start(dead, "", 1), queue.MoveTask{Status: queue.MoveCompleted, Rate: 1, ToMove: 5, Moved: 4})
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v, want 3s: what stays costs no time", took)
		}
		if diff := cmp.Diff([]string{"a1", "a2"}, h.bodies("dead.fifo")); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
		checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveCompleted, ToMove: 2, Moved: 2})
		if diff := cmp.Diff([]string{"b1", "b2", "b3", "b4", "a1", "a2"}, h.bodies("q.fifo")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		wantDrained(t, q, "b1 b2 b3 b4 a1 a2")
	})
}

// TestFIFOMoveTaskLocked: a group that is locked while the task waits for its
// turn stays, also its first message, which came back.
func TestFIFOMoveTaskLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t)
		_, dead := h.crypt("a1", "b1", "b2")
		if _, err := h.set.StartMove(dead.Name(), "", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // a1 is moved, b1 waits for its turn
		ds := receive(t, dead, runnel.Limits{Messages: 2, Lease: time.Hour})
		wantBodies(t, ds, "b1 b2")
		if err := dead.ChangeVisibility([]queue.Visibility{{Receipt: receipts(ds)[0]}})[0]; err != nil {
			t.Fatal(err)
		}
		h.set.WaitMoves()
		checkTask(t, h.lastTask(dead.Name()), queue.MoveTask{Status: queue.MoveCompleted, Rate: 1, ToMove: 3, Moved: 1})
		if diff := cmp.Diff([]string{"b1", "b2"}, h.bodies("dead.fifo")); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})
}

// TestFIFOMoveTaskAmongSends: new messages and moved ones of a group are each in
// their order, whatever comes between them.
func TestFIFOMoveTaskAmongSends(t *testing.T) {
	h := newHome(t)
	h.small = true
	h.restart()
	q, dead := h.crypt(rows("ab", 100)...)
	if _, err := h.set.StartMove(dead.Name(), "", 0); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		sendGrouped(t, q, fmt.Sprintf("aN%03d", i), fmt.Sprintf("bN%03d", i))
	}
	h.set.WaitMoves()
	last := map[string]string{}
	count := 0
	for {
		ds := receive(t, q, runnel.Limits{Lease: time.Hour})
		if len(ds) == 0 {
			break
		}
		for _, d := range ds {
			line := string(d.Body[:1])
			if strings.Contains(string(d.Body), "N") {
				line += "N"
			}
			if string(d.Body) <= last[line] {
				t.Errorf("%s after %s", d.Body, last[line])
			}
			last[line] = string(d.Body)
			count++
		}
		remove(t, q, ds)
	}
	if count != 400 {
		t.Errorf("received %d, want 400", count)
	}
}

func TestFIFOMoveTaskRefusals(t *testing.T) {
	h := newHome(t)
	_, dead := h.crypt("a1")
	h.create("standard", nil)
	if _, err := h.set.StartMove(dead.Name(), "standard", 0); !errors.Is(err, queue.ErrMoveKind) {
		t.Errorf("to a standard queue: got %v", err)
	}
	// What came from a standard queue has no way back.
	ms := letters("b1")
	ms[0].DeadLetter.Source = "queue:standard"
	if _, err := dead.SendOrdered(ms); err != nil {
		t.Fatal(err)
	}
	checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveFailed, ToMove: 2, Moved: 1, Failure: "CouldNotDetermineMessageSource"})

	h.graveyard(1)
	if _, err := h.set.StartMove(h.queue("dead").Name(), "q.fifo", 0); !errors.Is(err, queue.ErrMoveKind) {
		t.Errorf("from a standard queue: got %v", err)
	}
}

// TestMoveTasksActive: an account has at most 100.
func TestMoveTasksActive(t *testing.T) {
	h := newHome(t)
	var last *queue.Queue
	for i := range 101 {
		name := fmt.Sprint("dead", i)
		last = h.create(name, nil)
		h.create(fmt.Sprint("q", i), func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: name, MaxReceives: 1} })
		if _, err := last.Send([]runnel.Message{{Body: []byte("x")}, {Body: []byte("y")}, {Body: []byte("z")}}); err != nil {
			t.Fatal(err)
		}
		_, err := h.set.StartMove(last.Name(), fmt.Sprint("q", i), 1)
		if i < 100 && err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
		if i == 100 && runnel.CodeOf(err) != runnel.CodeLimit {
			t.Errorf("task %d: got %v, want code limit", i, err)
		}
	}
	// One that ends makes room, as does one whose queue goes.
	if err := h.set.Delete(h.queue("dead0").Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.set.StartMove(last.Name(), "q100", 1); err != nil {
		t.Errorf("after another has gone: %v", err)
	}
}

// TestMoveTasksForgotten: with a queue its tasks go at once, from the store too,
// also one that is at work.
func TestMoveTasksForgotten(t *testing.T) {
	h := newHome(t)
	_, dead := h.crypt("a1", "a2", "a3")
	h.start(dead, "q.fifo", 0)
	if _, err := dead.SendOrdered(letters("a4", "a5", "a6")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.set.StartMove(dead.Name(), "", 1); err != nil {
		t.Fatal(err)
	}
	if err := h.set.Delete(dead.Name()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h.set.WaitMoves()
	if took := time.Since(began); took > 700*time.Millisecond {
		t.Errorf("the task ended after %v", took)
	}
	stored := 0
	if err := h.store.Scan(store.Space('v'), nil, func(_, _ []byte) bool { stored++; return true }); err != nil || stored != 0 {
		t.Errorf("%d tasks are stored, %v", stored, err)
	}
	h.create("dead.fifo", fifo)
	if tasks, err := h.set.MoveTasks(dead.Name()); err != nil || len(tasks) != 0 {
		t.Errorf("tasks of a queue with the same name: got %v, %v", tasks, err)
	}
}

// TestFIFOMoveTaskCrash runs a task while clients receive dead letters and
// others send to its destination, and opens what a power loss would leave, at
// every sync point: each letter is in one of the queues, once, and when the next
// process has ended the task, those of each group are in order.
func TestFIFOMoveTaskCrash(t *testing.T) {
	for _, small := range []bool{false, true} {
		t.Run(fmt.Sprint("small=", small), func(t *testing.T) {
			h := &home{t: t, fs: storetest.NewCrashFS(), small: small}
			h.open()
			all := rows("abcd", 40)
			q, dead := h.crypt(all...)
			crashes := 0
			h.fs.AtSync = func() {
				if crashes++; crashes%5 == 0 {
					lookAtMove(t, h.fs, all, crashes)
				}
			}
			started, err := h.set.StartMove(dead.Name(), "", 0)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 30 {
					sendGrouped(t, q, fmt.Sprintf("zN%03d", i))
				}
			})
			wg.Go(func() {
				for range 10 { // a group is locked for a moment
					ds, err := dead.Receive(context.Background(), runnel.Limits{Messages: 2, Lease: time.Hour})
					if err != nil {
						t.Errorf("receive: %v", err)
					}
					for i := range ds {
						if err := dead.ChangeVisibility([]queue.Visibility{{Receipt: receipts(ds)[i]}})[0]; err != nil {
							t.Errorf("change visibility: %v", err)
						}
					}
				}
			})
			wg.Wait()
			h.set.WaitMoves()
			h.fs.AtSync = func() {}
			if got := h.lastTask(dead.Name()); got.ID != started.ID || got.Status != queue.MoveCompleted {
				t.Errorf("got %+v", got)
			}
			h.close()
			if crashes < 40 {
				t.Errorf("only %d crashes", crashes)
			}
			t.Logf("%d sync points", crashes)
		})
	}
}

// lookAtMove opens what a crash would leave now, lets the task end, moves what
// it passed over, and looks where all is.
func lookAtMove(t *testing.T, fs *storetest.CrashFS, all []string, crash int) {
	s, err := store.Open("data", store.Options{FS: fs.Crash(), Log: quiet})
	if err != nil {
		t.Errorf("crash %d: %v", crash, err)
		return
	}
	h := &home{t: t, store: s}
	defer func() { _ = s.Close() }()
	if h.set, err = queue.Open(s, queue.Options{Log: quiet}); err != nil {
		t.Errorf("crash %d: %v", crash, err)
		return
	}
	defer func() { _ = h.set.Close(context.Background()) }()
	h.set.WaitMoves()
	found := map[string]int{}
	last := map[byte]string{}
	for _, name := range []string{"q.fifo", "dead.fifo"} { // what stays was behind
		for _, body := range h.bodies(name) {
			if strings.Contains(body, "N") {
				continue
			}
			found[body]++
			if body <= last[body[0]] {
				t.Errorf("crash %d: in %s %s is behind %s", crash, name, body, last[body[0]])
			}
			last[body[0]] = body
		}
	}
	for _, body := range all {
		if found[body] != 1 {
			t.Errorf("crash %d: %s is there %d times", crash, body, found[body])
		}
	}
}
