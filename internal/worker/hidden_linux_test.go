package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

func limit(t *testing.T, p *worker.Pool, name string) worker.Limit {
	t.Helper()
	for _, l := range p.Limits() {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no limit %q in %+v", name, p.Limits())
	return worker.Limit{}
}

// ifRoot is the first where workers have users of their own: a directory of the
// tests, in the /tmp of all, is then not theirs.
func ifRoot(yes, no string) string {
	if os.Geteuid() == 0 {
		return yes
	}
	return no
}

func TestHidden(t *testing.T) {
	root := t.TempDir()
	data := filepath.Join(root, "data")
	write := func(parts ...string) string {
		t.Helper()
		path := filepath.Join(append([]string{root}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := write("data", "store", "secret")
	code := write("data", "versions", "a", "code")
	other := write("data", "versions", "b", "code")
	seen := write("data", "shim", "shim.py")
	open := write("elsewhere", "file")
	link := filepath.Join(root, "link")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(data, "temp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	prog := program(t)
	prog.Dir, prog.Hidden, prog.Visible = filepath.Dir(code), []string{link}, []string{filepath.Dir(seen)}
	p := start(t, prog, worker.Options{Max: 1, TempDir: temp})
	if l := limit(t, p, "hidden directories"); !l.InForce {
		t.Skipf("not possible here: %s", l.How)
	}
	parent := fmt.Sprintf("/proc/%d/", os.Getpid())
	own := strings.TrimPrefix(ask(t, p, "env"), "")
	for e := range strings.SplitSeq(own, "\n") {
		if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok {
			own = dir
		}
	}
	const denied = "denied"
	for _, tt := range []struct{ do, want string }{
		{"read " + secret, denied},
		{"read " + filepath.Join(link, "store", "secret"), denied},
		{"read /proc/self/root" + secret, denied},
		{"read " + other, denied},
		{"read " + parent + "environ", denied},
		{"read " + parent + "root" + secret, denied},
		{"list " + data, denied},
		{"list " + root, denied}, // on the way to it
		{"write " + secret, denied},
		{"write " + filepath.Join(data, "new"), denied},
		{"write " + code, denied},
		{"write " + seen, denied},
		{"rename " + filepath.Dir(open) + " " + filepath.Join(data, "moved"), denied},
		{"read " + code, "<nil> 1"},
		{"read " + seen, "<nil> 1"},
		{"read " + open, "<nil> 1"},
		{"list " + filepath.Dir(code), "<nil> true"},
		{"list /usr", "<nil> true"},
		{"read /proc/self/environ", "<nil> 1"},
		{"write " + filepath.Join(own, "new"), "<nil>"},
		{"rename " + filepath.Join(own, "new") + " " + filepath.Join(own, "newer"), "<nil>"},
		{"rename " + filepath.Join(own, "newer") + " " + filepath.Join(root, "elsewhere", "new"), ifRoot(denied, "<nil>")},
	} {
		if got := ask(t, p, tt.do); got != tt.want && (tt.want != denied || !strings.Contains(got, "permission denied")) {
			t.Errorf("%s: got %q, want %q", tt.do, got, tt.want)
		}
	}
	if l := limit(t, p, "memory of the server"); l.InForce {
		threads, err := filepath.Glob(parent + "task/*/environ")
		if err != nil || len(threads) < 2 {
			t.Fatalf("threads of this process: %q, %v", threads, err)
		}
		for _, path := range threads {
			if got := ask(t, p, "read "+path); !strings.Contains(got, "permission denied") {
				t.Errorf("read %s: got %q", path, got)
			}
		}
	} else if os.Geteuid() == 0 {
		t.Errorf("got %+v, want it in force", l)
	}
	if limit(t, p, "signals").InForce {
		if got := ask(t, p, "signal "+strconv.Itoa(os.Getpid())); !strings.Contains(got, "not permitted") {
			t.Errorf("a signal to the server: got %q", got)
		}
	}
	// The server itself is not restricted, nor is what it starts otherwise.
	if _, err := os.ReadFile(secret); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("cat", secret).CombinedOutput(); err != nil {
		t.Errorf("%s: %v", out, err)
	}

	prog.Visible = prog.Hidden
	if _, err := worker.Start(t.Context(), prog, worker.Options{}); err == nil || !strings.Contains(err.Error(), "both hidden") {
		t.Errorf("hidden and visible: got %v", err)
	}
}

// outside makes a directory that everybody may write to and that is in none of
// those where programs usually do.
func outside(t *testing.T) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil || strings.HasPrefix(home, os.TempDir()) {
		t.Skipf("no directory outside of %s: home is %q, %v", os.TempDir(), home, err)
	}
	dir, err := os.MkdirTemp(home, "runnel-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A process reads what is not hidden, and writes only where it is told.
func TestFilesElsewhere(t *testing.T) {
	temp, other, writable := outside(t), outside(t), outside(t)
	prog := program(t)
	prog.Writable = []string{writable}
	p := start(t, prog, worker.Options{Max: 1, TempDir: temp})
	if l := limit(t, p, "files elsewhere"); !l.InForce {
		t.Skipf("not possible here: %s", l.How)
	}
	if err := os.WriteFile(filepath.Join(other, "there"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ do, want string }{
		{"read " + filepath.Join(other, "there"), "<nil> 1"},
		{"list /", "<nil> true"},
		{"write /dev/null", "<nil>"},
		{"write /dev/stderr", "<nil>"},
		{"write " + filepath.Join(writable, "new"), "<nil>"},
		{"write " + filepath.Join(other, "there"), "denied"},
		{"write " + filepath.Join(other, "new"), "denied"},
		{"write " + filepath.Join(temp, "new"), "denied"},
		{"rename " + filepath.Join(writable, "new") + " " + filepath.Join(other, "new"), "denied"},
		{"write /proc/sys/kernel/hostname", "denied"},
	} {
		if got := ask(t, p, tt.do); got != tt.want && (tt.want != "denied" || !strings.Contains(got, "permission denied")) {
			t.Errorf("%s: got %q, want %q", tt.do, got, tt.want)
		}
	}
}

// Each worker of a server that is root has a user and nothing of root's, but
// for the right to read.
func TestOwnUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if l := limit(t, start(t, program(t), worker.Options{Max: 1}), "own user"); l.InForce || l.How == "" {
			t.Errorf("got %+v, want why there is none", l)
		}
		t.Skip("the server is not root")
	}
	seen := make(map[string]bool)
	for range 2 {
		p := start(t, program(t), worker.Options{Max: 1})
		if l := limit(t, p, "own user"); !l.InForce {
			t.Fatalf("not in force: %+v", l)
		}
		id := ask(t, p, "sh id -u; id -g; id -G")
		ids := strings.Fields(strings.TrimSuffix(id, "<nil>"))
		if n, err := strconv.Atoi(ids[0]); err != nil || n < 2_000_000_000 || len(ids) != 3 || ids[1] != ids[0] || ids[2] != ids[0] || seen[id] {
			t.Errorf("got user and groups %q, want one that nobody else has", ids)
		}
		seen[id] = true
		caps := ask(t, p, "sh grep -h -e ^CapEff -e ^CapPrm -e ^NoNewPrivs /proc/self/status")
		if want := "CapPrm:\t0000000000000004\nCapEff:\t0000000000000004\nNoNewPrivs:\t1\n<nil>"; caps != want {
			t.Errorf("got %q, want %q", caps, want)
		}
	}
	p := start(t, program(t), worker.Options{Max: 1, SameUser: true})
	if got := ask(t, p, "sh id -u"); got != "0\n<nil>" {
		t.Errorf("the same user: got %q", got)
	}
	if l := limit(t, p, "own user"); l.InForce || l.Wanted != "" {
		t.Errorf("got %+v, want that none was asked for", l)
	}
	if l := limit(t, p, "processes"); l.InForce && !strings.HasPrefix(l.How, "pids.max") {
		t.Errorf("got %+v, want it not in force for root itself", l)
	}
}

// Without control groups a fork bomb is bounded by the user.
func TestForkBombOfAUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the server is not root")
	}
	t.Cleanup(worker.Without("groups"))
	prog := program(t)
	prog.Processes = 64
	p := start(t, prog, worker.Options{Max: 1})
	stop := neighbour(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := invoke(ctx, p, invocation("sh perl -e 'while (1) { fork }'"))
	wantKind(t, err, runnel.KindTimeout, "no answer within 1s; processes: it had more than 64")
	stop()
}

func TestLimits(t *testing.T) {
	prog := program(t)
	prog.Memory, prog.Files, prog.FileBytes, prog.CPU = 8<<30, 77, 5<<20, 77*time.Second
	p := start(t, prog, worker.Options{Max: 1})
	for _, tt := range []struct {
		name     string
		resource int
		want     string
		wanted   string
	}{
		{"memory", unix.RLIMIT_DATA, "8589934592", "8GiB"},
		{"open files", unix.RLIMIT_NOFILE, "77", "77"},
		{"file size", unix.RLIMIT_FSIZE, "5242880", "5MiB"},
		{"core dumps", unix.RLIMIT_CORE, "0", "0"},
	} {
		if got, want := ask(t, p, fmt.Sprintf("limit %d", tt.resource)), "<nil> "+tt.want; got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
		if l := limit(t, p, tt.name); !l.InForce || l.Wanted != tt.wanted {
			t.Errorf("%s: got %+v, want it in force", tt.name, l)
		}
	}
	if got, want := ask(t, p, fmt.Sprintf("limit %d", unix.RLIMIT_CPU)), "<nil> 77"; got != want {
		t.Errorf("cpu time: got %q, want %q", got, want)
	}
	for _, name := range []string{"cpu time", "temporary space", "new privileges", "death with the server"} {
		if l := limit(t, p, name); !l.InForce {
			t.Errorf("%s: got %+v, want it in force", name, l)
		}
	}
}

// A server that is killed leaves no worker behind, not even a busy one.
func TestDeathOfTheServer(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(exe)
	server.Env = []string{"ROLE=host", "TEMP=" + t.TempDir()}
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait()
	for end := time.Now().Add(10 * time.Second); ; {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 1000)
		if n == 1 {
			return // it has ended
		}
		if (err != nil && err != unix.EINTR) || time.Now().After(end) {
			t.Fatalf("worker %d is still there: %v", pid, err)
		}
	}
}
