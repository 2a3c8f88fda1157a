package worker

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runnel-io/runnel"
)

// askPidfd makes the os package find out whether processes have descriptors.
// It does so once, by signals to this process that a thread under Landlock
// might not be allowed to send.
var askPidfd = sync.OnceFunc(func() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Release()
	}
})

// box is what bounds one process, and by what all that it started is found.
type box struct {
	leaf *leaf  // its control group, or nil
	user uint32 // its own, or 0
	// given are the directories that belong to the user for so long.
	given []string
	// scoped: a signal of the thread that waits reaches it, all that it
	// started, and nobody else.
	scoped bool
	// mark is an entry of its environment by which to find the rest, or empty.
	mark string
	// Why there is no leaf, user, or isolated network.
	noLeaf, noUser, noNetwork string
	isolated                  bool
	// untraceable: it cannot read the memory of the server.
	untraceable bool
}

// spawn starts c.
//
// Each process has a thread of its own in the server: what Landlock and
// no_new_privs restrict is a thread, as namespaces are a thread's, and its
// children inherit it, so that nothing needs to run in the child before the
// program. The kernel kills the child when that thread ends, hence when the
// server does; so the thread stays until the child has ended, and then ends
// too, restricted as it is: it could not clear up after it.
func spawn(c *command) (*process, error) {
	askPidfd()
	p := &process{exited: make(chan struct{})}
	if err := p.enclose(c); err != nil {
		p.free()
		return nil, err
	}
	var child *os.Process
	started, ended := make(chan error, 1), make(chan struct{})
	onOwnThread(func() {
		var err error
		child, err = p.start(c)
		started <- err
		if err == nil {
			p.await()
			close(ended)
		}
	})
	if err := <-started; err != nil {
		_ = closeAll(p.listeners)
		p.free()
		return nil, err
	}
	go func() {
		<-ended
		p.clear(child)
	}()
	return p, nil
}

// enclose makes what the process will be in.
func (p *process) enclose(c *command) error {
	m := available()
	b := &p.box
	b.scoped = c.scoped && c.rules > 0 && m.sweep == ""
	b.noLeaf = m.groups
	if b.noLeaf == "" {
		var err error
		if b.leaf, err = m.tree.leaf(); err != nil {
			b.noLeaf = err.Error()
		}
	}
	if b.leaf != nil {
		if err := b.leaf.set(mostTasks(c.processes), c.memory); err != nil {
			return fmt.Errorf("limits of a control group: %w", err)
		}
	}
	switch {
	case c.ownUser:
		var err error
		if b.user, err = takeUser(); err != nil {
			return err
		}
		if err := giveTo(b.user, c.temp, c.files); err != nil {
			return err
		}
		b.given = c.give
		for _, dir := range c.give {
			if err := giveTree(int(b.user), int(b.user), dir); err != nil {
				return fmt.Errorf("giving a process the directory that it writes to: %w", err)
			}
		}
	case c.sameUser:
		b.noUser = "none was asked for"
	default:
		b.noUser = m.users
	}
	if b.leaf == nil && !b.scoped && b.user == 0 {
		b.mark = "RUNNEL_MARK=" + rand.Text()
		c.env = append(c.env, b.mark)
	}
	if c.isolated {
		b.noNetwork = network()
		b.isolated = b.noNetwork == ""
	}
	return nil
}

// free gives back what enclose made, when no process is in it.
func (p *process) free() {
	empty := true
	if p.box.leaf != nil {
		empty = p.box.leaf.remove()
	}
	for _, dir := range p.box.given {
		// What is gone need not be given back.
		_ = giveTree(os.Geteuid(), os.Getegid(), dir)
	}
	if p.box.user != 0 && empty {
		freeUser(p.box.user)
	}
}

// mostTasks is what to tell the kernel of a limit of processes; see
// process.count.
func mostTasks(n int) int {
	if n == 0 {
		return 0
	}
	return n + 1
}

// onOwnThread runs f on a thread that ends with it. It is never the main
// thread, which stands for the server where others ask the kernel about it: if
// that one were restricted like a worker, the worker could read the server's
// memory.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return // without unlocking: the thread ends
		}
		// While this goroutine holds the main thread, the next has another.
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			f()
		}()
		<-taken
		runtime.UnlockOSThread()
	}()
}

// start runs on the thread that it restricts.
func (p *process) start(c *command) (*os.Process, error) {
	if len(c.private) > 0 {
		if err := ownMounts(c.private, c.temp); err != nil {
			return nil, err
		}
	}
	if p.box.isolated {
		var err error
		if p.listeners, err = ownNetwork(c.ports); err != nil {
			return nil, err
		}
	}
	sys := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if user := p.box.user; user != 0 {
		// So that the child can still reach its directory and its program when
		// it has changed its user. It loses all but the ambient capability when
		// it executes the program.
		if err := unix.Prctl(unix.PR_SET_SECUREBITS, secureNoFixup, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("changing the user: %w", err)
		}
		sys.Credential = &syscall.Credential{Uid: user, Gid: user}
		sys.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
		// The child shares the server's memory until then.
		defer available().restoreDumpable()
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up privileges: %w", err)
	}
	p.box.untraceable = giveUpTracing()
	if c.rules > 0 {
		if err := restrictSelf(c.rules); err != nil {
			return nil, fmt.Errorf("restricting a worker by landlock: %w", err)
		}
	}
	attr := &os.ProcAttr{Dir: c.dir, Env: c.env, Files: c.files, Sys: sys}
	if p.box.leaf != nil {
		group, err := unix.Open(p.box.leaf.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("control group of a worker: %w", err)
		}
		defer unix.Close(group)
		sys.UseCgroupFD, sys.CgroupFD = true, group
	}
	child, err := os.StartProcess(c.args[0], c.args, attr)
	if err != nil {
		return nil, err
	}
	p.pid = child.Pid
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		p.inherited = maxResident(&usage)
	}
	return child, nil
}

// keptBack are the capabilities that a privileged server keeps from its
// workers: by the first five a process can look into another or change the
// kernel, and without the last it lacks one that the server has in any case.
var keptBack = []uintptr{
	unix.CAP_SYS_PTRACE, unix.CAP_PERFMON, unix.CAP_SYS_ADMIN, unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_SETPCAP,
}

// giveUpTracing sees to it that no child of this thread can read the memory of
// the server, not even by way of this thread, whose restrictions it shares.
// The kernel lets a process look into another that has no capability which it
// lacks itself. A server without privileges has none to keep back, but can make
// itself unreadable as a whole (PR_SET_DUMPABLE).
func giveUpTracing() bool {
	for _, c := range keptBack {
		// EINVAL: a kernel that does not know it yet.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
			return err == nil && dumpable == 0 && os.Geteuid() != 0
		}
	}
	return true
}

// kill kills what can be found of a process at once and from any thread.
func (b *box) kill() {
	if b.leaf != nil {
		b.leaf.kill()
	}
}

// tasks is how many processes and threads there are now; 0 where that is not
// known at once.
func (b *box) tasks() int {
	if b.leaf == nil {
		return 0
	}
	return b.leaf.tasks()
}

// recount is tasks where that takes longer to find out.
func (b *box) recount() int {
	if b.leaf != nil || b.user == 0 {
		return 0
	}
	return tasksOf(b.user)
}

// await waits, on the thread that started the process, until that has ended.
func (p *process) await() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if p.box.leaf == nil && p.box.scoped {
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
}

// clear kills what is left of a process that has ended, while its id is still
// taken, then reaps it.
func (p *process) clear(child *os.Process) {
	b := &p.box
	p.mu.Lock()
	p.count()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	switch {
	case b.leaf != nil:
		b.leaf.kill()
		p.oom = b.leaf.oomKilled()
	case b.scoped:
		// It is done.
	case b.user != 0:
		killUser(b.user)
	default:
		killMarked(b.mark)
	}
	p.reaped = true
	p.mu.Unlock()
	p.state, _ = child.Wait()
	_ = closeAll(p.listeners)
	p.free()
	close(p.exited)
}

// killMarked kills the processes of this user whose environment has an entry.
// It looks until it finds none twice, since they may start others meanwhile,
// and a list of processes that come and go may miss one.
func killMarked(mark string) {
	entry := []byte(mark)
	for empty, try := 0, 0; empty < 2 && try < 20; try++ {
		found := false
		list, err := os.ReadDir("/proc")
		if err != nil {
			return
		}
		for _, d := range list {
			pid, err := strconv.Atoi(d.Name())
			if err != nil {
				continue
			}
			raw, err := os.ReadFile("/proc/" + d.Name() + "/environ")
			if err != nil || !hasEntry(raw, entry) {
				continue
			}
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if found {
			empty = 0
		} else {
			empty++
		}
	}
}

func hasEntry(environ, entry []byte) bool {
	for e := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(e, entry) {
			return true
		}
	}
	return false
}

// limit sets the limits of a process that has not been told to load its code,
// and returns what came of it.
func (p *process) limit(prog *Program) []Limit {
	b := &p.box
	fileBytes := min(prog.FileBytes, prog.TempBytes)
	p.mu.Lock()
	p.limits = atLeast{processes: prog.Processes, cpu: prog.CPU, fileBytes: fileBytes}
	var out []Limit
	asUser(b.user, func() { out = p.rlimits(prog, fileBytes) })
	p.mu.Unlock()
	return append(out,
		limitNetwork(prog, b), limitUser(b), limitDescendants(b), limitTracing(b),
		Limit{Name: "new privileges", Wanted: "none", InForce: true, How: "no_new_privs"},
		Limit{Name: "death with the server", Wanted: "the process", InForce: true, How: "PR_SET_PDEATHSIG: the process itself; what it started ends when it notices, or with the server's next start"},
	)
}

// rlimits is called with p.mu held, so that the id is the process's.
func (p *process) rlimits(prog *Program, fileBytes int64) []Limit {
	return []Limit{
		p.limitMemory(prog), p.limitProcesses(prog), p.limitCPU(prog),
		p.setLimit("open files", unix.RLIMIT_NOFILE, prog.Files, prog.Files, "RLIMIT_NOFILE"),
		p.limitFileSize(fileBytes),
		p.setLimit("core dumps", unix.RLIMIT_CORE, 0, 0, "RLIMIT_CORE"),
	}
}

func (p *process) limitMemory(prog *Program) Limit {
	l := p.setLimit("memory", unix.RLIMIT_DATA, prog.Memory, prog.Memory, "RLIMIT_DATA, of each process")
	if l.Wanted != "" {
		l.Wanted = runnel.Size(prog.Memory).String()
	}
	if l.InForce && p.box.leaf != nil && p.box.leaf.tree.memory {
		l.How += "; memory.max, of all together"
	}
	return l
}

func (p *process) limitFileSize(most int64) Limit {
	l := p.setLimit("file size", unix.RLIMIT_FSIZE, most, most, "RLIMIT_FSIZE")
	if l.Wanted != "" {
		l.Wanted = runnel.Size(most).String()
	}
	return l
}

// limitProcesses: RLIMIT_NPROC counts the processes and threads of a user, so
// it is of use where that user is the worker's own. One that is not root, and
// has no capability of root's that matters here, is bound by it.
func (p *process) limitProcesses(prog *Program) Limit {
	const name = "processes"
	most := int64(mostTasks(prog.Processes))
	wanted := strconv.Itoa(prog.Processes)
	switch {
	case prog.Processes == 0:
		return Limit{Name: name, How: "none was asked for"}
	case p.box.leaf != nil && p.box.leaf.tree.pids:
		return Limit{Name: name, Wanted: wanted, InForce: true, How: "pids.max"}
	case p.box.user != 0:
		l := p.setLimit(name, unix.RLIMIT_NPROC, most, most, "RLIMIT_NPROC, of a user of its own")
		l.Wanted = wanted
		return l
	}
	how := "no pids controller of control groups; no user of its own: " + p.box.noUser
	if p.box.leaf != nil {
		how += "; they are counted while it has a call, and the worker is killed"
	}
	return Limit{Name: name, Wanted: wanted, How: how}
}

// limitCPU: at the first limit the kernel sends SIGXCPU, which some languages
// ignore, and SIGKILL at the second.
func (p *process) limitCPU(prog *Program) Limit {
	seconds := int64((prog.CPU + time.Second - 1) / time.Second)
	hard := seconds
	if seconds > 0 {
		hard++
	}
	l := p.setLimit("cpu time", unix.RLIMIT_CPU, seconds, hard, "RLIMIT_CPU, of each process")
	if l.Wanted != "" {
		l.Wanted = (time.Duration(seconds) * time.Second).String()
	}
	return l
}

func limitNetwork(prog *Program, b *box) Limit {
	l := Limit{Name: "network", InForce: b.isolated, How: "none was asked for"}
	if prog.Isolated {
		l.Wanted, l.How = "Runnel's API only", b.noNetwork
		if b.isolated {
			l.How = "a network namespace"
		}
	}
	return l
}

func limitUser(b *box) Limit {
	l := Limit{Name: "own user", Wanted: "for each worker", InForce: b.user != 0, How: b.noUser}
	if l.InForce {
		l.How = fmt.Sprintf("one from %d on, which may read what the server may", firstUser)
	}
	if b.noUser == "none was asked for" {
		l.Wanted = ""
	}
	return l
}

func limitDescendants(b *box) Limit {
	l := Limit{Name: "descendants", Wanted: "end with it", InForce: true}
	switch {
	case b.leaf != nil:
		l.How = "cgroup.kill"
	case b.scoped:
		l.How = "a signal to all of its landlock domain; " + b.noLeaf
	case b.user != 0:
		l.How = "a signal to all of its user; " + b.noLeaf
	default:
		l.InForce, l.How = false, "its process group, and those found by their environment; "+b.noLeaf
	}
	return l
}

func limitTracing(b *box) Limit {
	l := Limit{Name: "memory of the server", Wanted: "unreadable", InForce: b.untraceable, How: "capabilities, or PR_SET_DUMPABLE"}
	switch {
	case b.user != 0:
		l.InForce, l.How = true, ownUserWords
	case !b.untraceable:
		l.How = "the server has no capabilities to keep from its workers, and is not set undumpable"
	}
	return l
}

// setLimit sets a limit, with its first and its last bound. 0 means that none
// was asked for, but for core dumps.
func (p *process) setLimit(name string, resource int, first, last int64, how string) Limit {
	l := Limit{Name: name, Wanted: strconv.FormatInt(first, 10), How: how}
	if resource == unix.RLIMIT_DATA || resource == unix.RLIMIT_FSIZE {
		l.Wanted = runnel.Size(first).String()
	}
	if first == 0 && resource != unix.RLIMIT_CORE {
		return Limit{Name: name, How: "none was asked for"}
	}
	if p.reaped {
		l.How = "it has ended"
		return l
	}
	var now unix.Rlimit
	err := unix.Prlimit(p.pid, resource, nil, &now)
	if err == nil {
		// Only a privileged server could raise it.
		err = unix.Prlimit(p.pid, resource, &unix.Rlimit{Cur: min(uint64(first), now.Max), Max: min(uint64(last), now.Max)}, nil)
	}
	if err != nil {
		l.How = how + ": " + err.Error()
		return l
	}
	l.InForce = true
	return l
}

// pipeBytes is how much a pipe shall hold, so that most batches are written,
// and read, in one piece. Memory is used as far as it is filled.
const pipeBytes = 256 << 10

// growPipe lets a pipe hold more. A user may have too many that do: then it
// stays as it is.
func growPipe(f *os.File) {
	if conn, err := f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeBytes) })
	}
}
