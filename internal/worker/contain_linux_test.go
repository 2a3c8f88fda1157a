package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

// neighbour calls a worker of another function until the returned function is
// called, which fails the test if any call was lost or slow.
func neighbour(t *testing.T) (stop func()) {
	t.Helper()
	p := start(t, program(t), worker.Options{Min: 1, Max: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	calls, slowest := 0, time.Duration(0)
	done.Go(func() {
		for ctx.Err() == nil {
			begun := time.Now()
			answers, err := invoke(context.WithoutCancel(ctx), p, invocation("hello"))
			if err != nil || string(answers[0].Payload) != "hello" {
				t.Errorf("a neighbour's call: got %v, %v", answers, err)
				return
			}
			calls++
			slowest = max(slowest, time.Since(begun))
		}
	})
	return func() {
		t.Helper()
		cancel()
		done.Wait()
		if calls == 0 || slowest > time.Second {
			t.Errorf("a neighbour made %d calls, the slowest took %s", calls, slowest)
		}
		if got := p.Stats().Starts; got != 1 {
			t.Errorf("a neighbour's worker was started %d times", got)
		}
	}
}

// elsewhere is the test binary as a worker with nothing in /tmp, so that it can
// have that for itself.
func elsewhere(t *testing.T) (worker.Program, worker.Options) {
	t.Helper()
	prog := program(t)
	raw, err := os.ReadFile(prog.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	prog.Dir = outside(t)
	prog.Args = []string{filepath.Join(prog.Dir, "worker")}
	if err := os.WriteFile(prog.Args[0], raw, 0o755); err != nil {
		t.Fatal(err)
	}
	data := outside(t)
	temp := filepath.Join(data, "workers")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	prog.Hidden = []string{data}
	return prog, worker.Options{Max: 1, TempDir: temp}
}

const fill = `i=0; while head -c 1000000 /dev/zero > %s/fill$i; do i=$((i+1)); done; sleep 60`

// What a function does wrong is contained, and said by its name.
func TestContained(t *testing.T) {
	root := os.Geteuid() == 0
	for _, tt := range []struct {
		name, do    string
		set         func(*worker.Program)
		kind, words string
		needs       string // a limit in force
		timeout     time.Duration
	}{
		{name: "fork bomb", do: "sh perl -e 'while (1) { fork }'", set: func(p *worker.Program) { p.Processes = 64 },
			kind: runnel.KindCrash, words: "processes: it had more than 64", needs: "processes"},
		{name: "fork bomb of sessions", do: "sh perl -MPOSIX -e 'while (1) { fork; setsid }'", set: func(p *worker.Program) { p.Processes = 64 },
			kind: runnel.KindCrash, words: "processes: it had more than 64", needs: "processes"},
		{name: "temporary files", do: "sh " + fmt.Sprintf(fill, "$TMPDIR"), set: func(p *worker.Program) { p.TempBytes = 20 << 20 },
			kind: runnel.KindCrash, words: "temporary space: it wrote more than 20MiB"},
		{name: "one file", do: "become exec head -c 30000000 /dev/zero > $TMPDIR/one", set: func(p *worker.Program) { p.FileBytes = 10 << 20 },
			kind: runnel.KindCrash, words: "file size: it wrote to a file beyond 10MiB"},
		{name: "processor", do: "become while :; do :; done", set: func(p *worker.Program) { p.CPU = time.Second },
			kind: runnel.KindCrash, words: "cpu time: it used 1s"},
		{name: "processor, the first warning ignored", do: "spin", set: func(p *worker.Program) { p.CPU = time.Second },
			kind: runnel.KindCrash, words: "cpu time: it used 1s"},
		{name: "gigabyte", do: "giant", kind: runnel.KindOutput, words: "returned 1073741824 bytes"},
		{name: "flood", do: "become exec yes", timeout: time.Second, kind: runnel.KindTimeout, words: "no answer within 1s"},
		{name: "closed descriptor", do: "close", kind: runnel.KindCrash, words: "closed descriptor 4"},
		{name: "signals", do: "killall", kind: runnel.KindCrash, words: "signal killed", needs: "signals"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prog := program(t)
			if tt.set != nil {
				tt.set(&prog)
			}
			p := start(t, prog, worker.Options{Max: 1})
			if tt.needs != "" {
				if l := limit(t, p, tt.needs); !l.InForce && !root {
					t.Skipf("not possible here: %s", l.How)
				} else if !l.InForce {
					t.Fatalf("not in force: %+v", l)
				}
			}
			stop := neighbour(t)
			if tt.timeout == 0 {
				tt.timeout = 30 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			answers, err := invoke(ctx, p, invocation(tt.do))
			if err == nil {
				err = answers[0].Err
			}
			wantKind(t, err, tt.kind, tt.words)
			stop()
			if got := ask(t, p, "hello"); got != "hello" {
				t.Errorf("the next call: got %q", got)
			}
		})
	}
}

func TestContainedMemory(t *testing.T) {
	prog := python(t, `
import subprocess, sys
def handler(event):
    if event["child"]:
        out = subprocess.run([sys.executable, "-c", "x = bytearray(1 << 30)"], capture_output=True, text=True)
        return out.stderr.split()[-1]
    x = bytearray(1 << 30)
`)
	prog.Memory = 256 << 20
	p := start(t, prog, worker.Options{Max: 1})
	stop := neighbour(t)
	_, err := call(t.Context(), p, `{"child": false}`)
	wantKind(t, err, runnel.KindOutOfMemory, "out of memory")
	got, err := call(t.Context(), p, `{"child": true}`)
	if err != nil || string(got) != `"MemoryError"` {
		t.Errorf("a child: got %s, %v", got, err)
	}
	stop()
}

func TestPythonForkBomb(t *testing.T) {
	prog := python(t, `
import os
def handler(event):
    while True:
        try:
            os.fork()
        except OSError:
            pass
`)
	prog.Processes = 100
	p := start(t, prog, worker.Options{Max: 1})
	if l := limit(t, p, "processes"); !l.InForce {
		t.Skipf("not possible here: %s", l.How)
	}
	stop := neighbour(t)
	_, err := call(t.Context(), p, `{}`)
	wantKind(t, err, runnel.KindCrash, "processes: it had more than 100")
	stop()
}

// A function that writes to /tmp writes to its own directory.
func TestPrivateTmp(t *testing.T) {
	prog, opt := elsewhere(t)
	prog.TempBytes = 20 << 20
	p := start(t, prog, opt)
	if l := limit(t, p, "temporary space"); !strings.Contains(l.How, "/tmp") {
		if os.Geteuid() == 0 {
			t.Fatalf("/tmp is not private: %+v", l)
		}
		t.Skip("not possible here")
	}
	if got := ask(t, p, "write /tmp/mine"); got != "<nil>" {
		t.Error(got)
	}
	if _, err := os.Stat("/tmp/mine"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is in the /tmp of all: %v", err)
	}
	if got := ask(t, p, "sh cat $TMPDIR/mine /var/tmp/mine /dev/shm/mine"); got != "xxx<nil>" {
		t.Error(got)
	}
	stop := neighbour(t)
	wantKind(t, failure(t, p, "sh "+fmt.Sprintf(fill, "/tmp")), runnel.KindCrash, "temporary space: it wrote more than 20MiB")
	stop()
	if got := ask(t, p, "list /tmp"); got != "<nil> false" {
		t.Errorf("the next worker's /tmp: got %q, want it empty", got)
	}
	if got := ask(t, p, "list "+prog.Hidden[0]); !strings.Contains(got, "permission denied") {
		t.Errorf("the data directory: got %q", got)
	}
	full := outside(t)
	if got := ask(t, p, "sh head -c 1000 /dev/zero > "+full+"/x"); !strings.Contains(got, "ermission denied") {
		t.Errorf("writing elsewhere: got %q", got)
	}
}

// A process that has left its worker's session ends with the worker all the
// same, by whatever means there are.
func TestOrphans(t *testing.T) {
	root := os.Geteuid() == 0
	for _, tt := range []struct {
		without []string
		by      string
		root    bool
	}{
		{nil, "", false},
		{[]string{"groups"}, "landlock", false},
		{[]string{"groups", "sweep"}, "user", true},
		{[]string{"groups", "sweep", "users"}, "environment", false},
		{[]string{"users"}, "", false},
	} {
		t.Run(strings.Join(tt.without, " "), func(t *testing.T) {
			if tt.root && !root {
				t.Skip("the server is not root")
			}
			t.Cleanup(worker.Without(tt.without...))
			p := start(t, program(t), worker.Options{Max: 1})
			if l := limit(t, p, "descendants"); !strings.Contains(l.How, tt.by) {
				t.Skipf("not by %s: %+v", tt.by, l)
			}
			var pids []int
			for range 3 {
				text := ask(t, p, `sh perl -MPOSIX -e 'fork and exit; setsid; fork and exit; close STDOUT; close STDERR; open F, ">$ENV{TMPDIR}/pid.tmp"; print F $$; close F; rename "$ENV{TMPDIR}/pid.tmp", "$ENV{TMPDIR}/pid"; sleep 600'; until cat $TMPDIR/pid 2>/dev/null; do sleep 0.01; done; rm $TMPDIR/pid`)
				pid, err := strconv.Atoi(strings.TrimSuffix(text, "<nil>"))
				if err != nil || !running(pid) {
					t.Fatalf("the orphan: got %q, %v", text, err)
				}
				pids = append(pids, pid)
			}
			stop := neighbour(t)
			wantKind(t, failure(t, p, "exit 1"), runnel.KindCrash, "exit status 1")
			for _, pid := range pids {
				eventually(t, "without the orphan", func() bool { return !running(pid) })
			}
			stop()
		})
	}
}

// Workers that are killed at deadlines take no neighbour's call with them.
func TestManyDeadlines(t *testing.T) {
	p := start(t, program(t), worker.Options{Min: 4, Max: 4})
	eventually(t, "four workers", func() bool { return p.Stats().Idle == 4 })
	stop := neighbour(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration // of the other calls, the wait for a place included
	for range 3 {
		others.Go(func() {
			var mine []time.Duration
			for ctx.Err() == nil {
				begun := time.Now()
				if _, err := invoke(context.WithoutCancel(ctx), p, invocation("hello")); err != nil {
					t.Errorf("another call: %v", err)
				}
				mine = append(mine, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	kills := 40
	if os.Getenv("RUNNEL_SOAK") != "" {
		kills = 1000
	}
	for range kills {
		w, release, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = w.Invoke(short, invocation("sleep"))
		cancel()
		release()
		wantKind(t, err, runnel.KindTimeout, "no answer within")
	}
	cancel()
	others.Wait()
	stop()
	slices.Sort(took)
	slow, _ := slices.BinarySearch(took, 100*time.Millisecond)
	t.Logf("%d deadline kills; %d other calls, median %s, 99.9 %% %s, slowest %s, %d over 100ms",
		kills, len(took), took[len(took)/2], took[len(took)*999/1000], took[len(took)-1], len(took)-slow)
	if got := p.Stats(); got.Timeouts != int64(kills) || got.Crashes != 0 {
		t.Errorf("got %+v, want %d timeouts and no crash", got, kills)
	}
}

// held is what this process holds of the machine.
func held(t *testing.T) map[string]int {
	t.Helper()
	out := make(map[string]int)
	count := func(what, pattern string) {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		out[what] = len(list)
	}
	count("descriptors", "/proc/self/fd/*")
	count("threads", "/proc/self/task/*")
	count("groups", "/sys/fs/cgroup/*/runnel-"+strconv.Itoa(os.Getpid())+"-*")
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // of a thread that has ended
		out["children"] += len(strings.Fields(string(raw)))
	}
	mine, err := exec.Command("/bin/sh", "-c", "grep -l RUNNEL_FUNCTION="+leaking()+" /proc/[0-9]*/environ").Output()
	out["processes"] = len(strings.Fields(string(mine)))
	_ = err // grep finds none, which is what is wanted
	return out
}

// leaking names the function so that other runs of this test are not counted.
func leaking() string { return "default/leak-" + strconv.Itoa(os.Getpid()) }

func TestNothingLeaks(t *testing.T) {
	starts := 200
	if os.Getenv("RUNNEL_SOAK") != "" {
		starts = 10_000
	}
	temp := t.TempDir()
	prog := program(t)
	prog.Function = leaking()
	cycle := func(n int) {
		p, err := worker.Start(t.Context(), prog, worker.Options{Max: 1, TempDir: temp})
		if err != nil {
			t.Fatal(err)
		}
		if n%4 == 0 { // one that leaves something behind
			ask(t, p, "orphan")
		}
		if n%2 == 0 {
			wantKind(t, failure(t, p, "exit 1"), runnel.KindCrash, "exit status 1")
		}
		if err := p.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		cycle(n)
	}
	before := held(t)
	for n := range starts {
		cycle(n)
	}
	var after map[string]int
	defer func() { t.Logf("before %v, after %d starts %v", before, starts, after) }()
	// Threads that have ended may be there a moment longer; the server keeps
	// some to use again.
	eventually(t, "as it was", func() bool {
		after = held(t)
		return after["descriptors"] <= before["descriptors"]+2 && after["threads"] <= before["threads"]+10 &&
			after["groups"] == 0 && after["children"] == 0 && after["processes"] == 0
	})
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The same for a server that is not root.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests themselves are those of a server that is not root")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "unprivileged-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "tests")
	if err := os.WriteFile(copied, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []string{"TestContained", "TestOrphans", "TestManyDeadlines", "TestNothingLeaks", "TestHidden", "TestRun", "TestDeathOfTheServer"}
	cmd := exec.Command(copied, "-test.run", "^("+strings.Join(tests, "|")+")$", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if slices.ContainsFunc([]string{"--- ", "    --- "}, func(p string) bool { return strings.HasPrefix(line, p) }) || strings.Contains(line, "not possible") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// Where the kernel does not bound processes they are counted.
func TestCountedProcesses(t *testing.T) {
	prog := program(t)
	prog.Processes = 64
	p := start(t, prog, worker.Options{Max: 1, SameUser: true})
	if l := limit(t, p, "processes"); l.InForce || !strings.Contains(l.How, "counted") {
		t.Skipf("not so here: %+v", l)
	}
	err := failure(t, p, "sh i=0; while [ $i -lt 80 ]; do sleep 600 & i=$((i+1)); done; wait")
	wantKind(t, err, runnel.KindCrash, "processes: it had more than 64")
}

func init() {
	ownGroup = func() string {
		dir, why := worker.OwnGroup()
		return dir + why
	}
}

// A server makes its control groups in its own, or around it where the service
// manager left it a subgroup.
func TestOwnGroup(t *testing.T) {
	root, why := worker.OwnGroup()
	if why != "" {
		t.Skipf("not possible here: %s", why)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	service := filepath.Join(root, "test-of-runnel-"+strconv.Itoa(os.Getpid()))
	own := filepath.Join(service, "server")
	for _, dir := range []string{service, own} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}()
	}
	ask := func() string {
		t.Helper()
		group, err := os.Open(own)
		if err != nil {
			t.Fatal(err)
		}
		defer group.Close()
		cmd := exec.Command(exe)
		cmd.Env = []string{"ROLE=group"}
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	if got := ask(); got != own {
		t.Errorf("got %s, want %s", got, own)
	}
	if err := unix.Setxattr(service, "user.delegate", []byte("1"), 0); err != nil {
		t.Skipf("no attributes of control groups: %v", err)
	}
	if got := ask(); got != service {
		t.Errorf("in a subgroup: got %s, want %s", got, service)
	}
}

// What a killed server left is removed by the next.
func TestLeftOver(t *testing.T) {
	p := start(t, program(t), worker.Options{Max: 1})
	if l := limit(t, p, "descendants"); l.How != "cgroup.kill" {
		t.Skipf("not possible here: %+v", l)
	}
	root, _ := worker.OwnGroup()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(then string) (pid, orphan int) {
		t.Helper()
		server := exec.Command(exe)
		server.Env = []string{"ROLE=host", "TEMP=" + t.TempDir(), "THEN=" + then}
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fscan(out, &orphan); err != nil {
			t.Fatal(err)
		}
		_ = server.Process.Kill()
		_ = server.Wait()
		return server.Process.Pid, orphan
	}
	pid, orphan := run("orphan")
	trees := filepath.Join(root, "runnel-"+strconv.Itoa(pid)+"-*")
	if list, err := filepath.Glob(trees); err != nil || len(list) != 1 || !running(orphan) {
		t.Fatalf("after the kill: got %q, %v, want one group with process %d", list, err, orphan)
	}
	run("pid")
	if list, err := filepath.Glob(trees); err != nil || len(list) > 0 {
		t.Errorf("after the next start: got %q, %v", list, err)
	}
	eventually(t, "without the orphan", func() bool { return !running(orphan) })
}
