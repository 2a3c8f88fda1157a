package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

// concurrent is a worker that answers each call in a goroutine of its own.
func concurrent() {
	in, out := bufio.NewReader(os.NewFile(3, "in")), os.NewFile(4, "out")
	if line, _ := in.ReadString('\n'); line != "start 4\n" {
		fmt.Fprintf(os.Stderr, "got %q, want start 4\n", line)
		os.Exit(1)
	}
	fmt.Fprintln(out, "ready")
	var mu sync.Mutex
	cancels := make(map[string]chan struct{})
	for {
		line, err := in.ReadString('\n')
		if err != nil || line == "drain\n" {
			return
		}
		words := strings.Fields(line)
		if words[0] == "cancel" {
			mu.Lock()
			if c := cancels[words[1]]; c != nil {
				close(c)
				delete(cancels, words[1])
			}
			mu.Unlock()
			continue
		}
		meta, _ := strconv.Atoi(words[5])
		size, _ := strconv.Atoi(words[7])
		body := make([]byte, meta+size)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		cancelled := make(chan struct{})
		mu.Lock()
		cancels[words[1]] = cancelled
		mu.Unlock()
		go func() {
			do, arg, _ := strings.Cut(string(body[meta:]), " ")
			switch do {
			case "hold":
				for {
					if _, err := os.Stat(arg); err == nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
			case "exit":
				os.Exit(3)
			case "cancellable":
				<-cancelled
			case "stuck":
				<-time.After(time.Hour)
			case "log":
				mu.Lock()
				fmt.Fprintf(out, "log %s info %d\n%s", words[1], len(arg), arg)
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			delete(cancels, words[1])
			fmt.Fprintf(out, "result %s 1 text:%d\n%d", words[1], len(strconv.Itoa(os.Getpid())), os.Getpid())
		}()
	}
}

func concurrentProgram(t testing.TB) worker.Program {
	prog := program(t, "ROLE=concurrent")
	prog.Concurrency = 4
	return prog
}

// hold begins n calls that end when the file is there.
func hold(t *testing.T, p *worker.Pool, n int, file string) (wait func() []string) {
	t.Helper()
	pids := make([]string, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { pids[i] = ask(t, p, "hold "+file) })
	}
	return func() []string {
		t.Helper()
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Error(err)
		}
		calls.Wait()
		return pids
	}
}

func TestManyCallsInFlight(t *testing.T) {
	var got lines
	p := start(t, concurrentProgram(t), worker.Options{Max: 1, Log: got.add})
	pid := ask(t, p, "echo")
	wait := hold(t, p, 3, filepath.Join(t.TempDir(), "go"))
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	if also := ask(t, p, "log said"); also != pid {
		t.Errorf("a fourth call was answered by %s, want %s", also, pid)
	}
	for _, other := range wait() {
		if other != pid {
			t.Errorf("answered by %s, want %s", other, pid)
		}
	}
	if s := p.Stats(); s.Starts != 1 || s.Calls != 5 || s.Idle != 1 || s.Busy != 0 {
		t.Errorf("got %+v, want five calls on one process", s)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.all) != 1 || got.all[0].Text != "said" || got.all[0].Flow != "f" || got.all[0].Invocation == "" {
		t.Errorf("got %+v, want one line that names its call", got.all)
	}
}

func TestFifthCallHasAProcessOfItsOwn(t *testing.T) {
	p := start(t, concurrentProgram(t), worker.Options{Max: 2})
	wait := hold(t, p, 5, filepath.Join(t.TempDir(), "go"))
	eventually(t, "two busy", func() bool { return p.Stats().Busy == 2 })
	pids := make(map[string]int)
	for _, pid := range wait() {
		pids[pid]++
	}
	if len(pids) != 2 {
		t.Errorf("got %v, want two processes, one of them with four calls", pids)
	}
}

// A deadline ends a call; whether it ends the others, too, is the process's
// choice.
func TestDeadlineAmongOthers(t *testing.T) {
	for _, tt := range []struct {
		payload string
		others  bool // survive
	}{{"cancellable", true}, {"stuck", false}} {
		p := start(t, concurrentProgram(t), worker.Options{Max: 1, Grace: 200 * time.Millisecond})
		file := filepath.Join(t.TempDir(), "go")
		other := make(chan error, 1)
		go func() {
			_, err := invoke(t.Context(), p, invocation("hold "+file))
			other <- err
		}()
		eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := invoke(ctx, p, invocation(tt.payload))
		cancel()
		wantKind(t, err, runnel.KindTimeout, "no answer within")
		if tt.others {
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := <-other; err != nil {
				t.Errorf("%s: the other call got %v", tt.payload, err)
			}
		} else if err := <-other; !errors.Is(err, runnel.ErrInterrupted) || !strings.Contains(err.Error(), "deadline of another call") {
			t.Errorf("%s: the other call got %v, want that it was interrupted", tt.payload, err)
		}
	}
}

// Of several calls on a process that died none is blamed. Called again each is
// alone, and then the guilty one is.
func TestDeathWithManyCalls(t *testing.T) {
	p := start(t, concurrentProgram(t), worker.Options{Max: 1})
	call := func(message, payload string) error {
		in := invocation(payload)
		in.Items[0].Message = runnel.MessageID(message)
		_, err := invoke(t.Context(), p, in)
		return err
	}
	file := filepath.Join(t.TempDir(), "go")
	innocent := make(chan error, 1)
	go func() { innocent <- call("good", "hold "+file) }()
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	if err := call("bad", "exit"); !errors.Is(err, runnel.ErrInterrupted) {
		t.Errorf("the first time: got %v, want %v", err, runnel.ErrInterrupted)
	}
	if err := <-innocent; !errors.Is(err, runnel.ErrInterrupted) {
		t.Errorf("the other one: got %v, want %v", err, runnel.ErrInterrupted)
	}
	// The second time others are in flight again, and are waited for.
	wait := hold(t, p, 2, file+"2")
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	bad := make(chan error, 1)
	go func() { bad <- call("bad", "exit") }()
	eventually(t, "three calls", func() bool {
		select {
		case err := <-bad:
			t.Fatalf("it was not waited for the others: %v", err)
		default:
		}
		return p.Stats().Busy == 1
	})
	wait()
	wantKind(t, <-bad, runnel.KindCrash, "exit status 3")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call("good", "hold "+file); err != nil {
		t.Errorf("the innocent one: %v", err)
	}
	if got := p.Stats(); got.Crashes != 1 || got.Interrupted != 2 {
		t.Errorf("got %+v, want one crash and two interrupted calls", got)
	}
}

func TestRecycle(t *testing.T) {
	for name, recycle := range map[string]runnel.Recycle{
		"calls": {Calls: 3}, "age": {Age: time.Nanosecond}, "memory": {Memory: 1},
	} {
		p := start(t, program(t), worker.Options{Min: 1, Max: 1, Recycle: recycle})
		first := ask(t, p, "pid")
		pids := map[string]bool{first: true}
		eventually(t, name+": replaced", func() bool {
			pids[ask(t, p, "pid")] = true
			return len(pids) >= 3
		})
		if got := p.Stats(); got.Errors != 0 || got.Interrupted != 0 || got.Crashes != 0 {
			t.Errorf("%s: got %+v, want no failures", name, got)
		}
	}
}

// The old process answers until the new one does; one that does not come up
// replaces nothing.
func TestRecycleKeepsWhatWorks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "loads")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, program(t, "START=once:"+file), worker.Options{Max: 1, Recycle: runnel.Recycle{Calls: 1}})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	first := ask(t, p, "pid")
	eventually(t, "failing", func() bool {
		if got := ask(t, p, "pid"); got != first {
			t.Fatalf("answered by %s, want %s", got, first)
		}
		return p.Stats().State == worker.StateFailing
	})
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "replaced", func() bool { return ask(t, p, "pid") != first })
}

// Short calls are worked off by one process, though many wait; calls that take
// longer than a start have more.
func TestScale(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 8})
	for range 50 {
		ask(t, p, "echo") // calls are known to be short
	}
	many := func(payload string) {
		var calls sync.WaitGroup
		for range 16 {
			calls.Go(func() { ask(t, p, payload) })
		}
		calls.Wait()
	}
	many("echo")
	if got := p.Stats().Starts; got > 3 {
		t.Errorf("%d processes were started for 16 calls that take no time", got)
	}
	file := filepath.Join(t.TempDir(), "go")
	wait := hold(t, p, 8, file)
	eventually(t, "eight busy", func() bool { return p.Stats().Busy == 8 })
	wait()
}

// A pool whose processes take their time to load keeps no other from starting.
func TestStartsAreShared(t *testing.T) {
	starts := worker.NewStarts(1)
	slow := program(t, "START=hang")
	slow.StartTimeout = 30 * time.Second
	ctx, cancel := context.WithCancelCause(t.Context())
	var hungry sync.WaitGroup
	for range 2 {
		hungry.Go(func() {
			if _, err := worker.Start(ctx, slow, worker.Options{TempDir: t.TempDir(), Starts: starts}); err == nil {
				t.Error("a process that never loads is ready")
			}
		})
	}
	begun := time.Now()
	start(t, program(t), worker.Options{Max: 1, Starts: starts})
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("a start waited %s for those of another pool", took)
	}
	cancel(errors.New("enough"))
	hungry.Wait()
}

// A suspect that waits to be alone on a process that is drained meanwhile is
// alone when the others have ended.
func TestAloneInADrain(t *testing.T) {
	p, err := worker.Start(t.Context(), concurrentProgram(t), worker.Options{Max: 1, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	call := func(message, payload string) error {
		in := invocation(payload)
		in.Items[0].Message = runnel.MessageID(message)
		_, err := invoke(t.Context(), p, in)
		return err
	}
	file := filepath.Join(t.TempDir(), "go")
	innocent := make(chan error, 1)
	go func() { innocent <- call("good", "hold "+file) }()
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	if err := call("bad", "exit"); !errors.Is(err, runnel.ErrInterrupted) {
		t.Fatal(err)
	}
	<-innocent
	wait := hold(t, p, 1, file+"2")
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	suspect, drained := make(chan error, 1), make(chan error, 1)
	place, release, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer release()
		in := invocation("echo")
		in.Items[0].Message = "bad"
		_, err := place.Invoke(t.Context(), in)
		suspect <- err
	}()
	go func() { drained <- p.Drain(t.Context()) }()
	eventually(t, "draining", func() bool { return p.Stats().State == worker.StateDraining })
	wait()
	for _, c := range []chan error{suspect, drained} {
		select {
		case err := <-c:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it was never alone")
		}
	}
}

// A large call that was read, and is given up, takes nobody with it.
func TestLargeCallGivenUp(t *testing.T) {
	p := start(t, concurrentProgram(t), worker.Options{Max: 1})
	wait := hold(t, p, 1, filepath.Join(t.TempDir(), "go"))
	eventually(t, "busy", func() bool { return p.Stats().Busy == 1 })
	for _, size := range []int{10, 2 << 20} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := invoke(ctx, p, invocation("cancellable "+strings.Repeat("x", size)))
		cancel()
		wantKind(t, err, runnel.KindTimeout, "no answer within")
		ctx, stop := context.WithCancelCause(t.Context())
		timer := time.AfterFunc(time.Second, func() { stop(errors.New("nobody waits")) })
		_, err = invoke(ctx, p, invocation("cancellable "+strings.Repeat("x", size)))
		timer.Stop()
		if !errors.Is(err, runnel.ErrInterrupted) {
			t.Errorf("%d bytes: got %v, want %v", size, err, runnel.ErrInterrupted)
		}
	}
	wait()
	if got := p.Stats(); got.Starts != 1 {
		t.Errorf("got %+v, want the one process to live on", got)
	}
}
