package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

func TestStartErrors(t *testing.T) {
	for _, tt := range []struct{ start, kind, name, words string }{
		{"fail", runnel.KindError, "SyntaxError", "line 3 is wrong"},
		{"exit", runnel.KindCrash, "", "exit status 1: no such module"},
		{"hang", runnel.KindCrash, "", "did not load within 300ms: still loading"},
		{"garbage", runnel.KindCrash, "", `"hello" is not a frame`},
	} {
		prog := program(t, "START="+tt.start)
		prog.StartTimeout = 300 * time.Millisecond
		if tt.start != "hang" {
			prog.StartTimeout = 20 * time.Second
		}
		temp := t.TempDir()
		_, err := worker.Start(t.Context(), prog, worker.Options{TempDir: temp})
		var e *runnel.FunctionError
		if !errors.As(err, &e) || e.Kind != tt.kind || e.Name != tt.name || !strings.Contains(e.Message, tt.words) {
			t.Errorf("%s: got %#v (%v), want %s %s %q", tt.start, e, err, tt.kind, tt.name, tt.words)
		}
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("%s: %v is left behind", tt.start, left)
		}
	}
	prog := program(t)
	prog.Args = []string{"./no-such-program"}
	if _, err := worker.Start(t.Context(), prog, worker.Options{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("a program that is not there: got %v", err)
	}
	prog.Args = nil
	if _, err := worker.Start(t.Context(), prog, worker.Options{}); err == nil {
		t.Error("no program: no error")
	}
	if _, err := worker.Start(t.Context(), program(t), worker.Options{Min: 3, Max: 2}); err == nil {
		t.Error("min over max: no error")
	}
}

func TestAcquireIsFirstComeFirstServed(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	_, release, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	var done sync.WaitGroup
	for i := range 5 {
		done.Go(func() {
			_, release, err := p.Acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			order = append(order, i) // one at a time: there is one worker
			release()
		})
		eventually(t, "in the queue", func() bool { return p.Stats().Waiting == i+1 })
	}
	gone, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left the queue")
	cancel(left)
	if _, _, err := p.Acquire(gone); !errors.Is(err, left) {
		t.Errorf("got %v, want the cause of the context", err)
	}
	release()
	done.Wait()
	for i, got := range order {
		if got != i {
			t.Fatalf("served in the order %v", order)
		}
	}
}

func TestResizeAndIdle(t *testing.T) {
	p := start(t, program(t), worker.Options{Min: 0, Max: 4, Starts: worker.NewStarts(2)})
	file := filepath.Join(t.TempDir(), "go")
	var calls sync.WaitGroup
	for range 6 {
		calls.Go(func() { ask(t, p, "hold "+file) })
	}
	eventually(t, "four busy, two waiting", func() bool { s := p.Stats(); return s.Busy == 4 && s.Waiting == 2 })
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	calls.Wait()
	eventually(t, "four idle", func() bool { return p.Stats().Idle == 4 })
	p.Resize(1, 2, time.Hour, runnel.Recycle{})
	eventually(t, "two idle", func() bool { return p.Stats().Idle == 2 })
	p.Resize(3, 3, time.Hour, runnel.Recycle{})
	eventually(t, "three idle", func() bool { return p.Stats().Idle == 3 })
	p.Resize(1, 3, 20*time.Millisecond, runnel.Recycle{})
	eventually(t, "one idle", func() bool { return p.Stats().Idle == 1 })
	p.Resize(0, 3, 20*time.Millisecond, runnel.Recycle{})
	eventually(t, "none", func() bool { return p.Stats().Idle == 0 })
	ask(t, p, "pid") // from nothing
	eventually(t, "none again", func() bool { return p.Stats().Idle == 0 })
	if got := p.Stats(); got.Crashes != 0 || got.Errors != 0 {
		t.Errorf("got %+v, want no failures", got)
	}
}

func TestDrain(t *testing.T) {
	p := start(t, program(t), worker.Options{Min: 2, Max: 2})
	file := filepath.Join(t.TempDir(), "go")
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() {
			if got := ask(t, p, "hold "+file); got != "held" {
				t.Errorf("a call under way: got %q", got)
			}
		})
	}
	eventually(t, "two busy", func() bool { return p.Stats().Busy == 2 })
	waiting := make(chan error, 1)
	go func() {
		_, _, err := p.Acquire(t.Context())
		waiting <- err
	}()
	eventually(t, "one waiting", func() bool { return p.Stats().Waiting == 1 })
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(t.Context()) }()
	if err := <-waiting; !errors.Is(err, worker.ErrDraining) {
		t.Errorf("who waited got %v, want %v", err, worker.ErrDraining)
	}
	if _, _, err := p.Acquire(t.Context()); !errors.Is(err, worker.ErrDraining) {
		t.Errorf("who comes got %v, want %v", err, worker.ErrDraining)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	held.Wait()
}

func TestDrainKills(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	call := make(chan error, 1)
	go func() {
		_, err := invoke(t.Context(), p, invocation("sleep"))
		call <- err
	}()
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the deadline passed", err)
	}
	if err := <-call; !errors.Is(err, runnel.ErrInterrupted) {
		t.Errorf("the call: got %v, want %v", err, runnel.ErrInterrupted)
	}
}

func TestFailingStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "loads")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, program(t, "START=once:"+file), worker.Options{Max: 2})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	wantKind(t, failure(t, p, "exit 1"), runnel.KindCrash, "exit status 1")
	answered := make(chan string, 1)
	go func() { answered <- ask(t, p, "words") }()
	eventually(t, "failing", func() bool { s := p.Stats(); return s.State == worker.StateFailing && s.Starts >= 3 })
	if got := p.Stats(); !strings.Contains(got.LastError, "no such file") || got.Starting > 1 {
		t.Errorf("got %+v, want why it fails, and one start at a time", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-answered
	if got := p.Stats(); got.State != worker.StateReady || got.LastError != "" {
		t.Errorf("got %+v, want ready", got)
	}
}

func TestReadyAndGone(t *testing.T) {
	p, err := worker.Start(t.Context(), program(t, "START=die"), worker.Options{Min: 1, Max: 1, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "failing", func() bool { s := p.Stats(); return s.State == worker.StateFailing && s.Starts >= 3 })
	if got := p.Stats().Starts; got > 20 {
		t.Errorf("%d starts: want them further and further apart", got)
	}
	if err := p.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// Workers are killed from outside while calls flow: no call is lost, and those
// that fail say why.
func TestKilledWhileCallsFlow(t *testing.T) {
	p := start(t, program(t), worker.Options{Min: 2, Max: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var good, bad, interrupted atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				in := invocation("hello")
				answers, err := invoke(ctx, p, in)
				var e *runnel.FunctionError
				switch {
				case err == nil && string(answers[0].Payload) == "hello":
					good.Add(1)
				case errors.Is(err, runnel.ErrInterrupted):
					interrupted.Add(1)
				case errors.As(err, &e) && e.Kind == runnel.KindCrash:
					bad.Add(1)
				default:
					t.Errorf("got %v, %v", answers, err)
				}
			}
		})
	}
	for range 20 {
		w, release, err := p.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := w.Invoke(ctx, invocation("pid"))
		release()
		if err != nil {
			continue // killed by its own pid's last round
		}
		pid := atoi(t, answers[0].Payload)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		before := good.Load()
		eventually(t, "going on", func() bool { return good.Load() > before+5 })
	}
	close(stop)
	callers.Wait()
	t.Logf("%d answered, %d crashed, %d interrupted", good.Load(), bad.Load(), interrupted.Load())
	if bad.Load() > 20 {
		t.Errorf("%d calls crashed by 20 kills", bad.Load())
	}
}

func atoi(t testing.TB, payload []byte) int {
	t.Helper()
	n := 0
	for _, c := range payload {
		if c != '"' {
			n = n*10 + int(c-'0')
		}
	}
	return n
}

// A process that left its worker's group, and holds its pipes open, does not
// hold up the worker's end.
func TestOrphanHoldsNothingUp(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	pid := ask(t, p, "orphan")
	wantKind(t, failure(t, p, "exit 1"), runnel.KindCrash, "exit status 1")
	_ = syscall.Kill(atoi(t, []byte(pid)), syscall.SIGKILL)
}
