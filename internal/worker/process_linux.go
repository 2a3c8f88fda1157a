package worker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// askPidfd makes the os package find out whether processes have descriptors.
// It does so once, by signals to this process that a thread under Landlock
// might not be allowed to send.
var askPidfd = sync.OnceFunc(func() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Release()
	}
})

// spawn starts c.
//
// Each process has a thread of its own in the server: what Landlock and
// no_new_privs restrict is a thread, and its children inherit it, so that
// nothing needs to run in the child before the program. The kernel kills the
// child when that thread ends, hence when the server does; so the thread stays
// until it has reaped the child, and then ends too, restricted as it is.
func spawn(c *command) (*process, error) {
	askPidfd()
	p := &process{exited: make(chan struct{})}
	started := make(chan error, 1)
	onOwnThread(func() {
		child, err := p.start(c)
		started <- err
		if err == nil {
			p.wait(child)
		}
	})
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
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
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up privileges: %w", err)
	}
	p.untraceable = giveUpTracing()
	if c.rules > 0 {
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(c.rules), 0, 0); errno != 0 {
			return nil, fmt.Errorf("hiding directories by landlock: %w", errno)
		}
	}
	child, err := os.StartProcess(c.args[0], c.args, &os.ProcAttr{
		Dir: c.dir, Env: c.env, Files: c.files,
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return nil, err
	}
	p.pid = child.Pid
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

// wait kills what is left of the group while the leader's id is still taken,
// then reaps the leader.
func (p *process) wait(child *os.Process) {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.reaped = true
	p.mu.Unlock()
	p.state, _ = child.Wait()
	close(p.exited)
}

// limit sets the limits of a process that has not been told to load its code,
// and returns what came of it.
func (p *process) limit(prog *Program) []Limit {
	out := []Limit{
		p.setLimit("memory", unix.RLIMIT_DATA, prog.Memory, "RLIMIT_DATA"),
		p.setLimit("open files", unix.RLIMIT_NOFILE, prog.Files, "RLIMIT_NOFILE"),
		p.setLimit("file size", unix.RLIMIT_FSIZE, prog.FileBytes, "RLIMIT_FSIZE"),
	}
	core := p.setLimit("core dumps", unix.RLIMIT_CORE, 0, "RLIMIT_CORE")
	memory := Limit{Name: "memory of the server", Wanted: "unreadable", InForce: p.untraceable, How: "capabilities, or PR_SET_DUMPABLE"}
	if !p.untraceable {
		memory.How = "the server has no capabilities to keep from its workers, and is not set undumpable"
	}
	return append(out, core, memory,
		Limit{Name: "new privileges", Wanted: "none", InForce: true, How: "no_new_privs"},
		Limit{Name: "death with the server", Wanted: "the process", InForce: true, How: "PR_SET_PDEATHSIG: the process itself; what it started ends when it notices"},
	)
}

func (p *process) setLimit(name string, resource int, most int64, how string) Limit {
	l := Limit{Name: name, Wanted: strconv.FormatInt(most, 10), How: how}
	if most == 0 && resource != unix.RLIMIT_CORE {
		return Limit{Name: name, How: "none was asked for"}
	}
	var now unix.Rlimit
	err := unix.Prlimit(p.pid, resource, nil, &now)
	if err == nil {
		// Only a privileged server could raise it.
		most := min(uint64(most), now.Max)
		err = unix.Prlimit(p.pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
	if err != nil {
		l.How = how + ": " + err.Error()
		return l
	}
	l.InForce = true
	return l
}
