package function_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// builds returns the builds of a function.
func (b *bench) builds(name string) []function.Build {
	b.t.Helper()
	all, err := b.set.Builds(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// needy is Python code for which pip runs build, once, in a build backend.
func needy(build string) map[string]string {
	files := pythonCode("one")
	const place = `print("building the wheel")`
	files["pkg/backend.py"] = strings.Replace(backend, place, strings.ReplaceAll(build, "\n", "\n    "), 1)
	return files
}

// offline has pip find nothing outside.
func offline(t *testing.T) {
	t.Helper()
	need(t, "python3")
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_VERBOSE", "1") // what a backend prints
}

func TestBuilds(t *testing.T) {
	b := newBench(t)
	if _, err := b.set.Builds("demo/echo"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("got %v of a function that there is not", err)
	}
	first := b.deploy(echo(), code("one"))
	if again := b.deploy(echo(), code("one")); again.Build != "" {
		t.Errorf("got the build %s of a deploy that changed nothing", again.Build)
	}
	def := echo()
	def.Env = map[string]string{"TOKEN": "hunter2-hunter2"}
	_, err := b.set.Deploy(t.Context(), def, code("boom hunter2-hunter2"))
	if err == nil {
		t.Fatal("code that does not load was deployed")
	}
	check := func() {
		t.Helper()
		all := b.builds("demo/echo")
		if got, want := len(all), 2; got != want {
			t.Fatalf("got %d builds, want %d", got, want)
		}
		bad, good := all[0], all[1]
		if good.ID != first.Build || good.Status != function.BuildSucceeded || good.Version != first.Version || good.Error != "" || good.For != function.BuildForDeploy {
			t.Errorf("got %+v of the deploy %+v", good, first)
		}
		if bad.Status != function.BuildFailed || bad.Version == first.Version || bad.Error != "the code does not load: SyntaxError: boom ***" || bad.Finished.Before(bad.Started) {
			t.Errorf("got %+v of the one that failed", bad)
		}
		log := b.buildLog("demo/echo", bad.ID)
		if !strings.Contains(log, "2 files") || !strings.Contains(log, "failed: the code does not load: SyntaxError: boom ***\nat worker:1\n") {
			t.Errorf("got the log %q", log)
		}
	}
	check()
	b.close()
	b.open()
	check()
	for _, id := range []string{"", "..", "0123456789abcdef", first.Build + "x", "../" + first.Build} {
		if _, err := b.set.FindBuild("demo/echo", id); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("%q: got %v", id, err)
		}
	}
	for _, name := range []string{"demo", "../echo", "demo/..", "demo/other", "/"} {
		if _, err := b.set.Builds(name); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("%q: got %v", name, err)
		}
		if _, err := b.set.FindBuild(name, first.Build); runnel.CodeOf(err) != runnel.CodeNotFound {
			t.Errorf("%q: got %v", name, err)
		}
	}
	if err := b.set.Delete(t.Context(), "demo/echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "builds", "demo")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v of the builds of a function that was deleted", err)
	}
}

// TestBuildsAreBounded: the last 20 stay.
func TestBuildsAreBounded(t *testing.T) {
	b := newBench(t)
	for i := range 23 {
		b.deploy(echo(), code(fmt.Sprint(i)))
	}
	all := b.builds("demo/echo")
	if got, want := len(all), 20; got != want {
		t.Errorf("got %d builds, want %d", got, want)
	}
	if !slices.IsSortedFunc(all, func(a, b function.Build) int { return b.Started.Compare(a.Started) }) {
		t.Error("the newest is not first")
	}
	if files, err := os.ReadDir(filepath.Join(b.dir, "builds", "demo", "echo")); err != nil || len(files) != 40 {
		t.Errorf("got %d files, %v; want 40", len(files), err)
	}
}

// TestBuildsOfNoFunction: what could never be deployed is forgotten after a
// while.
func TestBuildsOfNoFunction(t *testing.T) {
	now := time.Now()
	b := newBench(t)
	b.close()
	b.options = func(o *function.Options) { o.Now = func() time.Time { return now } }
	b.open()
	if _, err := b.set.Deploy(t.Context(), echo(), code("boom")); err == nil {
		t.Fatal("it was deployed")
	}
	if got := b.builds("demo/echo"); len(got) != 1 || got[0].Status != function.BuildFailed {
		t.Errorf("got %+v, want one that failed", got)
	}
	b.close()
	now = now.Add(25 * time.Hour)
	b.open()
	if _, err := b.set.Builds("demo/echo"); runnel.CodeOf(err) != runnel.CodeNotFound {
		t.Errorf("got %v, want nothing left", err)
	}
}

// TestFollowBuild reads a log while it is written.
func TestFollowBuild(t *testing.T) {
	offline(t)
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	done := make(chan error, 1)
	go func() {
		_, err := b.set.Deploy(t.Context(), python("demo/slow"), tree(t, needy("print('at the gate', flush=True); open("+fmt.Sprintf("%q", gate)+").read()")))
		done <- err
	}()
	// Its writer waits for the build to read.
	opened := make(chan *os.File, 1)
	go func() {
		f, err := os.OpenFile(gate, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	var f *os.File
	select {
	case f = <-opened:
	case err := <-done:
		t.Fatalf("the build ended before its gate: %v", err)
	}
	all := b.builds("demo/slow")
	if len(all) != 1 || all[0].Status != function.BuildInProgress || all[0].Version == "" {
		t.Errorf("got %+v, want one in progress", all)
	}
	// Who leaves early holds up nobody.
	left := errors.New("left")
	if err := b.set.BuildLog(t.Context(), "demo/slow", all[0].ID, true, func(string) error { return left }); !errors.Is(err, left) {
		t.Errorf("got %v, want its own error", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	var lines []string
	err := b.set.BuildLog(ctx, "demo/slow", all[0].ID, true, func(line string) error {
		lines = append(lines, line)
		if f != nil && strings.Contains(line, "at the gate") {
			err := f.Close()
			f = nil
			return err
		}
		return nil
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if got := b.buildLog("demo/slow", all[0].ID); got != strings.Join(lines, "\n")+"\n" || !strings.HasSuffix(got, "succeeded\n") {
		t.Errorf("followed %q, want %q", lines, got)
	}
}

// TestBuildIsBounded has builds that hang, flood their output, fork, and print
// secrets.
func TestBuildIsBounded(t *testing.T) {
	offline(t)
	b := newBench(t)
	b.close()
	pids := filepath.Join(t.TempDir(), "pids")
	hang := ""
	b.options = func(o *function.Options) {
		if hang != "" {
			o.BuildTime = 2 * time.Second
			o.Run = func(ctx context.Context, s function.Step) error {
				s.Args = []string{"/bin/sh", "-c", hang}
				return function.RunStep(ctx, s)
			}
		}
	}
	b.open()
	def := python("demo/bad")
	def.Env = map[string]string{"TOKEN": "hunter2-hunter2"}

	d := b.deploy(def, tree(t, needy("for i in range(60_000): print('flood', i, 'x' * 40, 'hunter2-' + 'hunter2')")))
	log := b.buildLog("demo/bad", d.Build)
	if len(log) > 1<<20+100 || !strings.Contains(log, "flood 100 ") || !strings.HasSuffix(log, "over 1 MiB\n") {
		t.Errorf("got a log of %d bytes, the end %q", len(log), log[max(len(log)-200, 0):])
	}
	if strings.Contains(log, "hunter2") || !strings.Contains(log, "***") {
		t.Error("a secret stands in the log")
	}

	fork := fmt.Sprintf("import subprocess\np = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\nopen(%q, 'w').write(str(p.pid))\n", pids)
	d = b.deploy(def, tree(t, needy(fork)))
	gone(t, pids)
	if log := b.buildLog("demo/bad", d.Build); !strings.Contains(log, "left behind were ended") {
		t.Errorf("got the log %q, want that a process was ended", log)
	}

	before := d.Version
	b.close()
	hang = "sleep 600 & echo $! > " + pids + "; wait"
	b.open()
	_, err := b.set.Deploy(t.Context(), def, tree(t, pythonCode("two")))
	wantCode(t, err, runnel.CodeInvalid, "longer than 2s")
	gone(t, pids)
	if info, err := b.set.Get("demo/bad"); err != nil || info.Live != before {
		t.Errorf("got %+v, %v; want the version %s", info, err, before)
	}
}

// gone waits until the process whose number a file holds has ended.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); ; runtime.Gosched() {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") { // nobody reaps what was left
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the process %d is still there", pid)
		}
	}
}

// TestManyBuilds: functions that need the same build it once, others build as
// many at once as there are cores.
func TestManyBuilds(t *testing.T) {
	need(t, "node", "npm")
	var steps, now, most atomic.Int64
	b := newBench(t)
	b.close()
	b.options = func(o *function.Options) {
		o.Run = func(ctx context.Context, s function.Step) error {
			steps.Add(1)
			n := now.Add(1)
			defer now.Add(-1)
			for {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			// npm itself takes long, and is not what is looked at.
			s.Args = []string{"/bin/sh", "-c", "mkdir -p node_modules && sleep 0.1"}
			return function.RunStep(ctx, s)
		}
	}
	b.open()
	var all sync.WaitGroup
	deploy := func(name, answer string) {
		all.Go(func() {
			if _, err := b.set.Deploy(t.Context(), runnel.Function{Name: name, Runtime: runnel.RuntimeNode}, tree(t, nodeCode(answer))); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 4 {
		deploy(fmt.Sprintf("demo/same%d", i), "same")
		deploy("demo/one", "same") // also of one function
		deploy(fmt.Sprintf("demo/other%d", i), fmt.Sprint(i))
	}
	all.Wait()
	// The version of npm and an install of each.
	if got, want := steps.Load(), int64(2*5); got != want {
		t.Errorf("got %d steps, want %d", got, want)
	}
	if got, want := most.Load(), int64(runtime.NumCPU()); got > want {
		t.Errorf("got %d steps at once on %d cores", got, want)
	}
}

// TestBuildOutsideOfCalls: what was lost is built again, and calls wait no
// longer than they want to.
func TestBuildOutsideOfCalls(t *testing.T) {
	offline(t)
	gates := make(chan chan struct{}, 10)
	b := newBench(t)
	d := b.deploy(python("demo/lost"), tree(t, pythonCode("one")))
	b.close()
	if err := os.RemoveAll(filepath.Join(b.dir, "cache")); err != nil {
		t.Fatal(err)
	}
	b.options = func(o *function.Options) {
		o.Run = func(ctx context.Context, s function.Step) error {
			gate := make(chan struct{})
			gates <- gate
			select {
			case <-gate:
			case <-ctx.Done():
				return ctx.Err()
			}
			return function.RunStep(ctx, s)
		}
	}
	b.open()
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("too late")
	failed := make(chan error, 1)
	go func() {
		_, err := b.set.Acquire(ctx, "demo/lost")
		failed <- err
	}()
	first := <-gates
	cancel(late)
	if err := <-failed; !errors.Is(err, late) {
		t.Errorf("got %v, want that the call ended", err)
	}
	// The build goes on, for whoever comes next.
	close(first)
	close(<-gates)
	b.call("demo/lost")
	all := b.builds("demo/lost")
	if len(all) != 2 || all[0].For != function.BuildForRestore || all[0].Version != d.Version || all[0].Status != function.BuildSucceeded {
		t.Errorf("got %+v, want a restore of %s", all, d.Version)
	}
	if len(gates) != 0 {
		t.Error("it was built twice")
	}
}

// TestKilledBuild kills a server in the middle of a build.
func TestKilledBuild(t *testing.T) {
	if dir := os.Getenv("RUNNEL_TEST_BUILD"); dir != "" {
		b := &bench{t: t, dir: dir, records: &records{}, runner: &runner{}}
		b.options = func(o *function.Options) {
			o.Run = func(ctx context.Context, _ function.Step) error {
				fmt.Println("building") // for who kills
				<-ctx.Done()
				return ctx.Err()
			}
		}
		b.open()
		b.deploy(python("demo/killed"), tree(t, pythonCode("one")))
		return
	}
	offline(t)
	b := newBench(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledBuild$")
	cmd.Env = append(os.Environ(), "RUNNEL_TEST_BUILD="+b.dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("building"))
	if _, err := out.Read(line); err != nil || string(line) != "building" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	b.close()
	b.open()
	all := b.builds("demo/killed")
	if len(all) != 1 || all[0].Status != function.BuildFailed || all[0].Error != "the server stopped" || all[0].Finished.IsZero() {
		t.Errorf("got %+v, want one that failed", all)
	}
	if log := b.buildLog("demo/killed", all[0].ID); !strings.Contains(log, "$ ") {
		t.Errorf("got the log %q, want what was done", log)
	}
	for _, dir := range []string{"cache", "functions/demo"} {
		left, err := os.ReadDir(filepath.Join(b.dir, dir))
		// The caches of the tools are all builds'.
		left = slices.DeleteFunc(left, func(e fs.DirEntry) bool { return e.Name() == "tools" })
		if err == nil && len(left) != 0 {
			t.Errorf("got %v in %s, want nothing", left, dir)
		}
	}
	b.deploy(python("demo/killed"), tree(t, pythonCode("one")))
}
