package function_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// acquired is what a goroutine got of Acquire.
type acquired struct {
	place runnel.Place[runnel.Invoker]
	err   error
}

func (b *bench) acquireLater(ctx context.Context, ref string) <-chan acquired {
	out := make(chan acquired, 1)
	go func() {
		place, err := b.set.Acquire(ctx, ref)
		out <- acquired{place, err}
	}()
	return out
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// A pool has granted a place; before its caller hears of it another version
// becomes live.
func TestPlaceOfAVersionThatWasSwappedOutMeanwhile(t *testing.T) {
	b := newBench(t)
	granted, goOn := make(chan string), make(chan struct{})
	var once sync.Once
	b.runner.got = func(version string) {
		once.Do(func() {
			granted <- version
			<-goOn
		})
	}
	first := b.deploy(echo(), code("one"))
	later := b.acquireLater(t.Context(), "demo/echo")
	if got := receive(t, granted); got != first.Version {
		t.Fatalf("got a place of %s, want %s", got, first.Version)
	}
	second := b.deploy(echo(), code("two"))
	close(goOn)
	got := receive(t, later)
	if got.err != nil || got.place.Version != second.Version {
		t.Fatalf("got a place of %s, %v, want %s", got.place.Version, got.err, second.Version)
	}
	got.place.Release()
	b.close()
	if p := b.runner.started()[0]; p.busy != 0 || p.calls != 0 || p.killed {
		t.Errorf("got busy %d, calls %d, killed %t of the old pool, want nothing", p.busy, p.calls, p.killed)
	}
}

// Who waits for a worker of a version goes to the next one when that comes.
func TestWaitMovesToTheNewVersion(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers.Max = 1
	b.deploy(def, code("one"))
	held := b.acquire("demo/echo")
	var waiting []<-chan acquired
	for range 5 {
		waiting = append(waiting, b.acquireLater(t.Context(), "demo/echo"))
	}
	def.Workers.Max = len(waiting)
	second := b.deploy(def, code("two"))
	for _, w := range waiting {
		got := receive(t, w)
		if got.err != nil || got.place.Version != second.Version {
			t.Fatalf("got a place of %s, %v, want %s", got.place.Version, got.err, second.Version)
		}
		got.place.Release()
	}
	held.Release()
}

func TestPinnedVersions(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers = runnel.Workers{Min: 1, Max: 2}
	first := b.deploy(def, code("one")).Version
	second := b.deploy(def, code("two")).Version
	for _, test := range []struct{ ref, want string }{
		{"demo/echo", "two"},
		{"demo/echo@live", "two"},
		{"demo/echo@" + first, "one"},
		{"demo/echo@" + first[:15], "one"},
		{"demo/echo@" + second, "two"},
	} {
		if got := b.call(test.ref); got != test.want {
			t.Errorf("%s: got %q, want %q", test.ref, got, test.want)
		}
	}
	pools := b.runner.started()
	pinned := pools[len(pools)-1] // the first call by the hash has started it
	if pinned.Version != first {
		t.Fatalf("got a pool of %s, want one of %s", pinned.Version, first)
	}
	if got := pinned.workers().Min; got != 0 {
		t.Errorf("got %d workers of the old version kept warm, want none", got)
	}
	// It stays when another version comes, goes when the settings change, and
	// comes again.
	b.deploy(def, code("three"))
	if got, want := b.call("demo/echo@"+first), "one"; got != want || !slices.Contains(b.runner.open(), pinned) {
		t.Errorf("got %q, want %q of the same pool", got, want)
	}
	def.Env = map[string]string{"A": "b"}
	b.deploy(def, code("three"))
	if got, want := b.call("demo/echo@"+first), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	pools = b.runner.started()
	if got := pools[len(pools)-1]; got == pinned || !slices.Contains(got.Env, "A=b") {
		t.Error("the old version did not start with the new environment")
	}
	// Back to it.
	if d := b.deploy(def, code("one")); d.Version != first {
		t.Errorf("got version %s for the same code, want %s", d.Version, first)
	}
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReferences(t *testing.T) {
	b := newBench(t)
	record := func(name string, hashes ...string) {
		r := function.Record{Name: name, Definition: runnel.Function{Name: name, Runtime: runnel.RuntimeExec, Handler: "./x"}, Live: hashes[0]}
		for _, h := range hashes {
			r.Versions = append(r.Versions, function.Version{Hash: h})
		}
		if err := b.records.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	record("demo/echo", "aaaa000000000001", "aaaa000000000002", "bbbb000000000003")
	record("default/plain", "cccc000000000004")
	b.open()
	for _, test := range []struct {
		ref, name, version string
		code               runnel.Code
		text               string
	}{
		{ref: "demo/echo", name: "demo/echo", version: "aaaa000000000001"},
		{ref: "demo/echo@live", name: "demo/echo", version: "aaaa000000000001"},
		{ref: "demo/echo@bbbb", name: "demo/echo", version: "bbbb000000000003"},
		{ref: "demo/echo@bbb", name: "demo/echo", code: runnel.CodeNotFound, text: `"bbb"`},
		{ref: "demo/echo@aaaa000000000002", name: "demo/echo", version: "aaaa000000000002"},
		{ref: "plain", name: "default/plain", version: "cccc000000000004"},
		{ref: "demo/echo@aaaa", name: "demo/echo", code: runnel.CodeInvalid, text: "aaaa000000000001, aaaa000000000002"},
		{ref: "demo/echo@prod", name: "demo/echo", code: runnel.CodeNotFound, text: `"prod"`},
		{ref: "demo/none", code: runnel.CodeNotFound, text: "demo/none"},
		{ref: "", code: runnel.CodeInvalid, text: "OWNER/NAME"},
		{ref: "a/b/c", code: runnel.CodeInvalid, text: "OWNER/NAME"},
		{ref: "/b", code: runnel.CodeInvalid, text: "OWNER/NAME"},
		{ref: "a/b@", code: runnel.CodeInvalid, text: "OWNER/NAME"},
	} {
		name, version, err := b.set.Resolve(test.ref)
		if name != test.name || version != test.version {
			t.Errorf("%q: got %q, %q, want %q, %q", test.ref, name, version, test.name, test.version)
		}
		if test.code == "" && err != nil {
			t.Errorf("%q: %v", test.ref, err)
		}
		if test.code != "" {
			wantCode(t, err, test.code, test.text)
			_, err := b.set.Acquire(t.Context(), test.ref)
			wantCode(t, err, test.code, test.text)
		}
	}
}

func TestDelete(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers.Max = 1
	b.deploy(def, code("one"))
	held := b.acquire("demo/echo")
	waiting := b.acquireLater(t.Context(), "demo/echo")
	if err := b.set.Delete(t.Context(), "demo/echo"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, receive(t, waiting).err, runnel.CodeNotFound)
	_, err := b.set.Get("demo/echo")
	wantCode(t, err, runnel.CodeNotFound)
	wantCode(t, b.set.Delete(t.Context(), "demo/echo"), runnel.CodeNotFound)
	if got := b.set.List(); len(got) != 0 {
		t.Errorf("got %+v, want no function", got)
	}
	if got, want := b.invoke(held), "one"; got != want {
		t.Errorf("got %q of the call that runs, want %q", got, want)
	}
	if got := b.versions(); len(got) != 1 {
		t.Errorf("got the directories %v while a call runs, want its own", got)
	}
	// The name is free before that call ends.
	b.deploy(def, code("two"))
	if got, want := b.call("demo/echo"), "two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	held.Release()
	if err := b.set.Delete(t.Context(), "demo/echo"); err != nil {
		t.Fatal(err)
	}
	b.close()
	if got := b.versions(); len(got) != 0 {
		t.Errorf("got the directories %v, want none", got)
	}
	b.open()
	if got := b.set.List(); len(got) != 0 {
		t.Errorf("got %+v after a restart, want no function", got)
	}
}

func TestPoolsStartWhenNeeded(t *testing.T) {
	b := newBench(t)
	cold := echo()
	cold.Workers.Max = 5
	b.deploy(cold, code("one"))
	warm := echo()
	warm.Name = "demo/warm"
	warm.Workers = runnel.Workers{Min: 1, Max: 1}
	b.deploy(warm, code("warm"))
	b.close()
	b.runner = &runner{}
	started := make(chan string, 10)
	b.runner.fails = func(p function.Program) error { started <- p.Function; return nil }
	b.open()
	if got, want := receive(t, started), "demo/warm"; got != want {
		t.Errorf("%s started, want %s", got, want)
	}
	if info, err := b.set.Get("demo/echo"); err != nil || info.State != function.StateNoWorkers {
		t.Errorf("got %q, %v, want no workers", info.State, err)
	}
	var waiting []<-chan acquired
	for range 5 {
		waiting = append(waiting, b.acquireLater(t.Context(), "demo/echo"))
	}
	for _, w := range waiting {
		got := receive(t, w)
		if got.err != nil {
			t.Fatal(got.err)
		}
		got.place.Release()
	}
	if got, want := receive(t, started), "demo/echo"; got != want || len(started) != 0 {
		t.Errorf("%s and %d others started, want %s alone", got, len(started), want)
	}
}

func TestStartThatFailsIsNotRepeatedAtOnce(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	b.close()
	starts := 0
	b.runner.fails = func(function.Program) error { starts++; return errors.New("no such library") }
	b.open()
	_, err := b.set.Acquire(t.Context(), "demo/echo")
	wantCode(t, err, runnel.CodeInvalid, "no such library")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = b.set.Acquire(ctx, "demo/echo")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v while it waits to try again, want the deadline", err)
	}
	later := b.acquireLater(t.Context(), "demo/echo")
	b.runner.mu.Lock()
	if starts != 1 {
		t.Errorf("got %d starts, want 1", starts)
	}
	b.runner.fails = nil
	b.runner.mu.Unlock()
	b.deploy(echo(), code("two"))
	got := receive(t, later)
	if got.err != nil || b.invoke(got.place) != "two" {
		t.Fatalf("got %v, want the new version", got.err)
	}
	got.place.Release()
}

// The same code again is a try where the last one failed.
func TestDeployOfTheSameStartsWhatFailed(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	b.close()
	b.runner.fails = func(function.Program) error { return errors.New("no such library") }
	b.open()
	_, err := b.set.Acquire(t.Context(), "demo/echo")
	wantCode(t, err, runnel.CodeInvalid)
	_, err = b.set.Deploy(t.Context(), echo(), code("one"))
	wantCode(t, err, runnel.CodeInvalid, "no such library")
	b.runner.fails = nil
	b.deploy(echo(), code("one"))
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestClose(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers.Max = 1
	b.deploy(def, code("one"))
	held := b.acquire("demo/echo")
	waiting := b.acquireLater(t.Context(), "demo/echo")
	closed := make(chan error, 1)
	go func() { closed <- b.set.Close(t.Context()) }()
	wantCode(t, receive(t, waiting).err, runnel.CodeUnavailable)
	select {
	case err := <-closed:
		t.Fatalf("closed with %v while a call runs", err)
	default:
	}
	held.Release()
	if err := receive(t, closed); err != nil {
		t.Fatal(err)
	}
	_, err := b.set.Acquire(t.Context(), "demo/echo")
	if !errors.Is(err, runnel.ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
	_, err = b.set.Deploy(t.Context(), def, code("two"))
	if !errors.Is(err, runnel.ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
}

func TestCloseKillsWhatDoesNotEnd(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	place := b.acquire("demo/echo")
	defer place.Release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.set.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cut short", err)
	}
	if p := b.runner.started()[0]; !p.killed {
		t.Error("the workers were not killed")
	}
}

func TestCodeThatDoesNotLoadInTime(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.StartTimeout = time.Millisecond
	b.deploy(def, code("one"))
	_, err := b.set.Deploy(t.Context(), def, code("hang"))
	wantCode(t, err, runnel.CodeInvalid, "did not load within 1ms (start_timeout)")
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCloseGivesUpADeploy(t *testing.T) {
	b := newBench(t)
	b.deploy(echo(), code("one"))
	b.runner.hangs = make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		_, err := b.set.Deploy(t.Context(), echo(), code("hang"))
		failed <- err
	}()
	receive(t, b.runner.hangs)
	// The old version answers meanwhile.
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b.close()
	if err := receive(t, failed); !errors.Is(err, runnel.ErrClosed) {
		t.Errorf("got %v, want that the set is closed", err)
	}
}

func TestEnvironmentIsSecret(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Env = map[string]string{"TOKEN": "hunter2-hunter2", "RUNNEL_VERSION": "mine"}
	_, err := b.set.Deploy(t.Context(), def, code("boom: hunter2-hunter2 is no token"))
	wantCode(t, err, runnel.CodeInvalid, "boom: *** is no token")
	d := b.deploy(def, code("one"))
	info, err := b.set.Get("demo/echo")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"TOKEN": "***", "RUNNEL_VERSION": "***"}, info.Definition.Env); diff != "" {
		t.Errorf("the environment that is shown (-want +got):\n%s", diff)
	}
	p := b.runner.started()[0]
	want := []string{
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=0", "AWS_LAMBDA_FUNCTION_NAME=echo", "AWS_LAMBDA_FUNCTION_VERSION=" + d.Version,
		"LAMBDA_TASK_ROOT=" + p.Dir, "RUNNEL_FUNCTION=demo/echo", "RUNNEL_HANDLER=./worker", "RUNNEL_MEMORY=0", "RUNNEL_VERSION=" + d.Version,
		"TOKEN=hunter2-hunter2", "_HANDLER=./worker",
	}
	if diff := cmp.Diff(want, p.Env); diff != "" {
		t.Errorf("the environment of the workers (-want +got):\n%s", diff)
	}
}

func TestInfo(t *testing.T) {
	b := newBench(t)
	def := echo()
	def.Workers = runnel.Workers{Min: 1, Max: 4}
	b.deploy(def, code("one"))
	b.call("demo/echo")
	b.deploy(def, code("two"))
	b.call("demo/echo")
	info, err := b.set.Get("demo/echo")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(function.PoolStats{Min: 1, Max: 4, Idle: 1, Calls: 2, Starts: 2}, info.Stats); diff != "" {
		t.Errorf("stats over two versions (-want +got):\n%s", diff)
	}
	if len(info.Versions) != 2 || info.State != function.StateReady || len(info.Limits) != 1 || info.Deployed.IsZero() {
		t.Errorf("got %+v", info)
	}
	for i := range 3 {
		def.Name = fmt.Sprintf("demo/%d", 3-i)
		b.deploy(def, code("x"))
	}
	var names []string
	for _, i := range b.set.List() {
		names = append(names, i.Name)
	}
	if diff := cmp.Diff([]string{"demo/1", "demo/2", "demo/3", "demo/echo"}, names); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
}

func TestExecPrograms(t *testing.T) {
	source := fstest.MapFS{
		"bin/run it": {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"run":        {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
	}
	for _, test := range []struct {
		handler string
		want    []string // the first below the code, unless it is absolute
		text    string   // of the error
	}{
		{handler: "run", want: []string{"run"}},
		{handler: " ./run  a\tb ", want: []string{"run", "a", "b"}},
		{handler: `'bin/run it' "a b" c\ d '' "\"\\x" 'e\f'`, want: []string{"bin/run it", "a b", "c d", "", `"\x`, `e\f`}},
		{handler: "/bin/sh run", want: []string{"/bin/sh", "run"}},
		{handler: "../run", text: "outside"},
		{handler: "bin/none", text: "no program bin/none"},
		{handler: "bin", text: "cannot be executed"},
		{handler: "no-such-program-anywhere", text: "neither in the source nor on the PATH"},
		{handler: "run 'a", text: "not closed"},
		{handler: " ", text: "names no program"},
	} {
		t.Run(test.handler, func(t *testing.T) {
			b := newBench(t)
			def := echo()
			def.Handler = test.handler
			_, err := b.set.Deploy(t.Context(), def, source)
			if test.text != "" {
				wantCode(t, err, runnel.CodeInvalid, test.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := b.runner.started()[0]
			if test.want[0][0] != '/' {
				test.want[0] = p.Dir + "/" + test.want[0]
			}
			if diff := cmp.Diff(test.want, p.Args); diff != "" {
				t.Errorf("the arguments (-want +got):\n%s", diff)
			}
		})
	}
}
