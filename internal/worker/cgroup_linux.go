package worker

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	treePrefix = "runnel-"
	// emptyWait bounds the wait for processes that were killed. Those that the
	// kernel does not let die keep their group, which is removed later.
	emptyWait = 2 * time.Second
)

// tree is the control group of version 2 below which each worker of this server
// has one. It is there while there are workers; its owner is who holds its
// lock, so that the next server can tell what a killed one left.
type tree struct {
	parent string
	why    string // why there can be none

	mu    sync.Mutex
	dir   string   // empty: not there now
	lock  *os.File // held while dir is there
	count int      // leaves
	next  int
	stale []string // leaves that were not empty in time
	// pids and memory: the leaves have these controllers.
	pids, memory bool
}

// leaf is the control group of one worker.
type leaf struct {
	tree *tree
	dir  string
}

// openTree finds where control groups can be made, and removes what dead
// servers left there.
func openTree() *tree {
	t := &tree{}
	if t.parent, t.why = ownGroup(); t.why != "" {
		return t
	}
	t.clean()
	l, err := t.leaf()
	if err != nil {
		t.why = err.Error()
		return t
	}
	if err := l.try(); err != nil {
		t.why = "control groups are of no use here: " + err.Error()
	}
	l.remove()
	return t
}

// try starts a process in the group, and looks for what is to end it.
func (l *leaf) try() error {
	if _, err := os.Stat(filepath.Join(l.dir, "cgroup.kill")); err != nil {
		return err
	}
	group, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer group.Close()
	sys := &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{Sys: sys})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// ownGroup is the directory of the server's control group of version 2. Where
// the service manager put the server into a subgroup of what it left to it, as
// DelegateSubgroup of systemd does, it is the group around it: only a group
// without processes of its own can share out memory.
func ownGroup() (dir, why string) {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", "no control groups: " + err.Error()
	}
	own := ""
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			own = strings.TrimSuffix(path, "\n")
		}
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", "no control groups: " + err.Error()
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		left, right, _ := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(left)
		if !strings.HasPrefix(right, "cgroup2 ") || len(fields) < 5 {
			continue
		}
		root, point := fields[3], fields[4]
		rest, ok := strings.CutPrefix(own, strings.TrimSuffix(root, "/"))
		if own == "" || !ok || strings.Contains(rest, "/..") {
			continue
		}
		dir := filepath.Join(point, rest)
		if up := filepath.Dir(dir); rest != "" && isDelegated(up) && !isDelegated(dir) {
			dir = up
		}
		if unix.Access(dir, unix.W_OK) != nil {
			return "", "the control group of the server is not writable"
		}
		return dir, ""
	}
	return "", "control groups of version 2 are not mounted"
}

// isDelegated says whether systemd left a group to what runs in it.
func isDelegated(dir string) bool {
	var mark [1]byte
	n, err := unix.Getxattr(dir, "user.delegate", mark[:])
	return err == nil && n == 1 && mark[0] == '1'
}

// clean removes the trees of dead servers, with the processes in them.
func (t *tree) clean() {
	old, _ := filepath.Glob(filepath.Join(t.parent, treePrefix+"*"))
	for _, dir := range old {
		lock, err := lockDir(dir)
		if err != nil {
			continue // it is in use, or gone
		}
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		awaitEmpty(dir)
		leaves, _ := filepath.Glob(filepath.Join(dir, "w*"))
		for _, l := range append(leaves, dir) {
			_ = unix.Rmdir(l)
		}
		_ = lock.Close()
	}
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// leaf makes the group of a worker.
func (t *tree) leaf() (*leaf, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dir == "" {
		if err := t.grow(); err != nil {
			return nil, fmt.Errorf("no control group: %w", err)
		}
	}
	t.next++
	l := &leaf{tree: t, dir: filepath.Join(t.dir, "w"+strconv.Itoa(t.next))}
	if err := os.Mkdir(l.dir, 0o755); err != nil {
		t.shrink()
		return nil, fmt.Errorf("no control group: %w", err)
	}
	t.count++
	return l, nil
}

// grow makes the tree. Another server may take it for that of a dead one before
// the lock is ours, and remove it.
func (t *tree) grow() error {
	for range 10 {
		dir := filepath.Join(t.parent, treePrefix+strconv.Itoa(os.Getpid())+"-"+rand.Text()[:10])
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		lock, err := lockDir(dir)
		if err != nil {
			continue
		}
		if _, err := os.Stat(dir); err != nil {
			_ = lock.Close()
			continue
		}
		t.dir, t.lock = dir, lock
		t.pids, t.memory = t.share("pids"), t.share("memory")
		return nil
	}
	return errors.New("others remove it")
}

// share hands a controller down to the leaves, where there is one to hand down.
func (t *tree) share(controller string) bool {
	for _, dir := range []string{t.parent, t.dir} {
		file := filepath.Join(dir, "cgroup.subtree_control")
		if raw, _ := os.ReadFile(file); hasWord(raw, controller) {
			continue
		}
		if os.WriteFile(file, []byte("+"+controller), 0) != nil {
			return false
		}
	}
	return true
}

func hasWord(text []byte, word string) bool {
	for _, w := range bytes.Fields(text) {
		if string(w) == word {
			return true
		}
	}
	return false
}

// shrink removes the tree when nothing is in it.
func (t *tree) shrink() {
	if t.count > 0 {
		return
	}
	left := t.stale[:0]
	for _, dir := range t.stale {
		if err := unix.Rmdir(dir); errors.Is(err, unix.EBUSY) {
			left = append(left, dir)
		}
	}
	t.stale = left
	if len(left) == 0 && unix.Rmdir(t.dir) == nil {
		_ = t.lock.Close()
		t.dir, t.lock = "", nil
	}
}

// set bounds the processes of the group, where it can: most tasks, and most
// bytes of memory.
func (l *leaf) set(tasks int, memory int64) error {
	if l.tree.pids && tasks > 0 {
		if err := l.write("pids.max", strconv.Itoa(tasks)); err != nil {
			return err
		}
	}
	if l.tree.memory && memory > 0 {
		if err := l.write("memory.max", strconv.FormatInt(memory, 10)); err != nil {
			return err
		}
		// A kernel without swap has no such file.
		_ = l.write("memory.swap.max", "0")
		_ = l.write("memory.oom.group", "1")
	}
	return nil
}

func (l *leaf) write(file, value string) error {
	return os.WriteFile(filepath.Join(l.dir, file), []byte(value), 0)
}

// tasks is how many processes and threads there are in the group.
func (l *leaf) tasks() int {
	raw, err := os.ReadFile(filepath.Join(l.dir, "cgroup.threads"))
	if err != nil {
		return 0
	}
	return bytes.Count(raw, []byte{'\n'})
}

// oomKilled says whether the kernel killed any of it for want of memory.
func (l *leaf) oomKilled() bool {
	if !l.tree.memory {
		return false
	}
	raw, _ := os.ReadFile(filepath.Join(l.dir, "memory.events"))
	for line := range strings.Lines(string(raw)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

func (l *leaf) kill() { _ = l.write("cgroup.kill", "1") }

// remove waits for the end of what was killed, removes the group, and says
// whether it was empty.
func (l *leaf) remove() bool {
	empty := unix.Rmdir(l.dir) == nil || awaitEmpty(l.dir) && unix.Rmdir(l.dir) == nil
	t := l.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if !empty {
		t.stale = append(t.stale, l.dir)
	}
	t.count--
	t.shrink()
	return empty
}

// awaitEmpty waits until no process is in a group that was killed.
func awaitEmpty(dir string) bool {
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return false
	}
	defer events.Close()
	var buf [256]byte
	for end := time.Now().Add(emptyWait); time.Now().Before(end); {
		n, err := events.ReadAt(buf[:], 0)
		if n == 0 {
			return err != nil && errors.Is(err, unix.ENODEV) // it was removed
		}
		if bytes.Contains(buf[:n], []byte("populated 0")) {
			return true
		}
		// The kernel tells of a change of the file.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, 50)
	}
	return false
}
