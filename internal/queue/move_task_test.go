package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// graveyard makes queues a and b, whose dead-letter queue is dead, with n dead
// letters of each in turn.
func (h *home) graveyard(n int) (dead *queue.Queue) {
	h.t.Helper()
	dead = h.create("dead", nil)
	var ms []runnel.Message
	for i := range n {
		for _, name := range []string{"a", "b"} {
			ms = append(ms, runnel.Message{Body: fmt.Appendf(nil, "%s%d", name, i), DeadLetter: &runnel.DeadLetter{Type: "error", Source: "queue:" + name}})
		}
	}
	for _, name := range []string{"a", "b"} {
		h.create(name, func(s *queue.Settings) { s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1} })
	}
	if len(ms) > 0 {
		if _, err := dead.Send(ms); err != nil {
			h.t.Fatal(err)
		}
	}
	return dead
}

// bodies are the messages of a queue, in their order.
func (h *home) bodies(name string) (out []string) {
	h.t.Helper()
	q, err := h.set.Queue(queue.Name{Account: "default", Queue: name})
	if err != nil {
		h.t.Fatal(err)
	}
	ps, err := q.Peek(0, 10_000)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range ps {
		out = append(out, string(p.Body))
	}
	return out
}

func numbered(name string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(name, i))
	}
	return out
}

// start starts a task and waits for its end.
func (h *home) start(dead *queue.Queue, destination string, rate int) queue.MoveTask {
	h.t.Helper()
	if _, err := h.set.StartMove(dead.Name(), destination, rate); err != nil {
		h.t.Fatal(err)
	}
	h.set.WaitMoves()
	return h.lastTask(dead.Name())
}

func (h *home) lastTask(name queue.Name) queue.MoveTask {
	h.t.Helper()
	tasks, err := h.set.MoveTasks(name)
	if err != nil || len(tasks) == 0 {
		h.t.Fatalf("got %v, %v", tasks, err)
	}
	return tasks[0]
}

func checkTask(t *testing.T, got, want queue.MoveTask) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(queue.MoveTask{}, "ID", "Started", "End")); diff != "" {
		t.Errorf("task (-want +got):\n%s", diff)
	}
	if got.ID == "" || got.Started.IsZero() {
		t.Errorf("task without its id or time: %+v", got)
	}
}

func TestMoveTask(t *testing.T) {
	h := newHome(t)
	dead := h.graveyard(300) // more than a page
	checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveCompleted, ToMove: 600, Moved: 600})
	for _, name := range []string{"a", "b"} {
		if diff := cmp.Diff(numbered(name, 300), h.bodies(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if d := dead.Depth(); d != (queue.Depth{}) {
		t.Errorf("dead: got %+v", d)
	}

	// To a queue of its own, with what nobody knows where it came from.
	h.create("c", nil)
	if _, err := dead.Send([]runnel.Message{{Body: []byte("c0")}, {Body: []byte("c1")}}); err != nil {
		t.Fatal(err)
	}
	checkTask(t, h.start(dead, "c", 0), queue.MoveTask{Status: queue.MoveCompleted, Destination: "c", ToMove: 2, Moved: 2})
	if diff := cmp.Diff(numbered("c", 2), h.bodies("c")); diff != "" {
		t.Errorf("c (-want +got):\n%s", diff)
	}
}

// TestMoveTaskPassesOver leaves what is in flight and delayed.
func TestMoveTaskPassesOver(t *testing.T) {
	h := newHome(t)
	dead := h.graveyard(2)
	if _, err := dead.Send([]runnel.Message{{Body: []byte("late"), Delay: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	if ds, err := dead.Receive(t.Context(), runnel.Limits{Messages: 1, Lease: time.Hour}); err != nil || len(ds) != 1 {
		t.Fatal(ds, err)
	}
	checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveCompleted, ToMove: 3, Moved: 3})
	if diff := cmp.Diff([]string{"a0", "late"}, h.bodies("dead")); diff != "" {
		t.Errorf("dead (-want +got):\n%s", diff)
	}
}

func TestMoveTaskRefusals(t *testing.T) {
	h := newHome(t)
	dead := h.graveyard(3)
	name := func(s string) queue.Name { return queue.Name{Account: "default", Queue: s} }
	for _, test := range []struct {
		source, to string
		want       error
		code       runnel.Code
	}{
		{"none", "", nil, runnel.CodeNotFound},
		{"dead", "none", nil, runnel.CodeNotFound},
		{"a", "", queue.ErrNoDeadLetterQueue, ""},
	} {
		_, err := h.set.StartMove(name(test.source), test.to, 0)
		if test.want != nil && !errors.Is(err, test.want) || test.code != "" && runnel.CodeOf(err) != test.code {
			t.Errorf("from %s to %q: got %v", test.source, test.to, err)
		}
	}
	if _, err := h.set.MoveTasks(name("none")); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("tasks of no queue: got %v", err)
	}

	slow, err := h.set.StartMove(dead.Name(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.set.StartMove(dead.Name(), "a", 0); !errors.Is(err, queue.ErrMoveActive) {
		t.Errorf("a second one: got %v", err)
	}
	if _, err := h.set.CancelMove(dead.Name(), "x"); !errors.Is(err, queue.ErrNoMove) {
		t.Errorf("cancel of another: got %v", err)
	}
	got, err := h.set.CancelMove(dead.Name(), slow.ID)
	if err != nil || got.Status != queue.MoveCancelling {
		t.Errorf("cancel: got %+v, %v", got, err)
	}
	h.set.WaitMoves()
	got = h.lastTask(dead.Name())
	checkTask(t, got, queue.MoveTask{Status: queue.MoveCancelled, Rate: 1, ToMove: 6, Moved: got.Moved})
	if left := len(h.bodies("dead")); left+int(got.Moved) != 6 || got.Moved > 2 {
		t.Errorf("moved %d, left %d", got.Moved, left)
	}
	if _, err := h.set.CancelMove(dead.Name(), slow.ID); !errors.Is(err, queue.ErrMoveEnded) {
		t.Errorf("cancel again: got %v", err)
	}
}

func TestMoveTaskFailures(t *testing.T) {
	h := newHome(t)
	dead := h.graveyard(1)
	if _, err := dead.Send([]runnel.Message{{Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	checkTask(t, h.start(dead, "", 0), queue.MoveTask{Status: queue.MoveFailed, ToMove: 3, Moved: 2, Failure: "CouldNotDetermineMessageSource"})

	// A destination that goes while the task waits for its turn.
	to := h.create("to", nil)
	if _, err := dead.Send([]runnel.Message{{Body: []byte("y")}, {Body: []byte("z")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.set.StartMove(dead.Name(), "to", 5); err != nil {
		t.Fatal(err)
	}
	if err := h.set.Delete(to.Name()); err != nil {
		t.Fatal(err)
	}
	h.set.WaitMoves()
	got := h.lastTask(dead.Name())
	checkTask(t, got, queue.MoveTask{Status: queue.MoveFailed, Destination: "to", Rate: 5, ToMove: 3, Moved: got.Moved, Failure: "AWS.SimpleQueueService.NonExistentQueue"})

	// A source that goes takes its tasks along.
	if _, err := h.set.StartMove(dead.Name(), "a", 1); err != nil {
		t.Fatal(err)
	}
	if err := h.set.Delete(dead.Name()); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.create("dead", nil)
	if tasks, err := h.set.MoveTasks(dead.Name()); err != nil || len(tasks) != 0 {
		t.Errorf("tasks of a queue with the same name: got %v, %v", tasks, err)
	}
}

// TestMoveTaskGoesOn stops the process, in good order and by a power loss,
// while a task runs: the next one ends it, and no message is lost or doubled.
func TestMoveTaskGoesOn(t *testing.T) {
	for name, stop := range map[string]func(*home){"restart": (*home).restart, "crash": (*home).crash} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			dead := h.graveyard(100)
			a, err := h.set.Queue(queue.Name{Account: "default", Queue: "a"})
			if err != nil {
				t.Fatal(err)
			}
			started, err := h.set.StartMove(dead.Name(), "", 500)
			if err != nil {
				t.Fatal(err)
			}
			// Once one has come, more are on their way.
			ds, err := a.Receive(t.Context(), runnel.Limits{Messages: 1, Wait: time.Minute, Lease: -1})
			if err != nil || len(ds) != 1 {
				t.Fatal(ds, err)
			}
			stop(h)
			got := h.lastTask(dead.Name())
			if got.ID != started.ID || got.Status != queue.MoveRunning {
				t.Errorf("after the %s: got %+v", name, got)
			}
			h.set.WaitMoves()
			got = h.lastTask(dead.Name())
			checkTask(t, got, queue.MoveTask{Status: queue.MoveCompleted, Rate: 500, ToMove: 200, Moved: got.Moved})
			if name == "restart" && got.Moved != 200 {
				t.Errorf("moved: got %d, want 200", got.Moved)
			}
			for _, name := range []string{"a", "b"} {
				if diff := cmp.Diff(numbered(name, 100), h.bodies(name)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if left := h.bodies("dead"); len(left) > 0 {
				t.Errorf("dead: got %v", left)
			}
		})
	}
}

// TestMoveTasksKept keeps the newest ten, in the store too.
func TestMoveTasksKept(t *testing.T) {
	h := newHome(t)
	dead := h.graveyard(0)
	var want []string
	for range 12 {
		want = append([]string{h.start(dead, "", 0).ID}, want...)
	}
	want = want[:10]
	for range 2 {
		tasks, err := h.set.MoveTasks(dead.Name())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, task := range tasks {
			got = append(got, task.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		h.restart()
	}
}

// BenchmarkMoveTask moves dead letters of 1 KiB, each in a commit of its own,
// on a real disk.
func BenchmarkMoveTask(b *testing.B) {
	q := benchQueue(b)
	set, account := q.Set(), q.Name().Account
	if _, _, err := set.Create(queue.Name{Account: account, Queue: "to"}, queue.Defaults()); err != nil {
		b.Fatal(err)
	}
	source := queue.Defaults()
	source.DeadLetter = &queue.Redrive{Queue: q.Name().Queue, MaxReceives: 1}
	if _, _, err := set.Create(queue.Name{Account: account, Queue: "source"}, source); err != nil {
		b.Fatal(err)
	}
	for left := b.N; left > 0; {
		ms := make([]runnel.Message, min(left, 1000))
		for i := range ms {
			ms[i].Body = make([]byte, 1024)
		}
		if _, err := q.Send(ms); err != nil {
			b.Fatal(err)
		}
		left -= len(ms)
	}
	b.ResetTimer()
	if _, err := set.StartMove(q.Name(), "to", 0); err != nil {
		b.Fatal(err)
	}
	set.WaitMoves()
	if tasks, err := set.MoveTasks(q.Name()); err != nil || tasks[0].Moved != int64(b.N) {
		b.Errorf("got %+v, %v, want %d moved", tasks, err, b.N)
	}
}
