package worker

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

// process is a child process that leads a session and a process group of its
// own.
type process struct {
	pid int
	// exited is closed when the process has ended and all that it started was
	// killed; state is good from then on.
	exited chan struct{}
	state  *os.ProcessState
	// listeners are open on command.ports in the network of the process, in
	// their order; they are closed when it has ended.
	listeners []net.Listener
	// box is what this system bounds the process with.
	box box

	limits atLeast
	// inherited is what the system may count as memory of the process, and was
	// the server's when it was started, in bytes.
	inherited int64
	// seen is the most memory that high ever returned.
	seen atomic.Int64

	mu     sync.Mutex
	reaped bool // the id may belong to somebody else by now
	// broken is the limit for which the process was killed; crowded that it
	// was seen with more processes and threads than it may have.
	broken  string
	crowded bool
	oom     bool // the kernel killed it for want of memory
}

// atLeast are the limits that a failure is explained by.
type atLeast struct {
	processes int
	cpu       time.Duration
	fileBytes int64
}

// command is what to start, with files that are open already: the thread that
// starts it may not be able to open any.
type command struct {
	args, env []string
	dir       string
	files     []*os.File // descriptors 0 to 4
	// temp is the directory of the process's own.
	temp string
	// give are directories that belong to its user while it runs.
	give []string
	// processes is how many processes and threads there may be, memory how many
	// bytes they may have together where that can be bounded; 0: any.
	processes int
	memory    int64
	// sameUser: the process shall not have a user of its own.
	sameUser bool
	// isolated: it shall have a network of its own, in which nothing is but
	// listeners of the server on these ports.
	isolated bool
	ports    []int

	// rules are the kernel's for the process, or 0.
	rules int
	// What hide found out: ownUser says that the process has a user of its own,
	// private are the directories in whose place it sees temp, and scoped that
	// its signals stay among itself.
	ownUser bool
	private []string
	scoped  bool
}

// kill kills the process, and all that it started and can be found.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	if p.count(); !p.crowded && p.limits.processes > 0 {
		p.crowded = p.box.recount() > p.limits.processes
	}
	// They may be gone already, which is as well.
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.box.kill()
}

// breach kills the process because of a limit, in words that begin with the
// name of the limit.
func (p *process) breach(words string) {
	p.mu.Lock()
	if p.broken == "" && !p.reaped {
		p.broken = words
	}
	p.mu.Unlock()
	p.kill()
}

// count looks whether there are too many processes, with p.mu held. The kernel
// lets one more start than there may be, so that this can be told from as many
// as there may be.
func (p *process) count() bool {
	now := p.limits.processes > 0 && p.box.tasks() > p.limits.processes
	p.crowded = p.crowded || now
	return now
}

// exceeded says by which limit the process ended, in words that begin with the
// name of the limit; empty: by none. It is called when the process has ended.
func (p *process) exceeded() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var status syscall.WaitStatus
	if p.state != nil {
		status, _ = p.state.Sys().(syscall.WaitStatus)
	}
	var sig syscall.Signal
	if status.Signaled() {
		sig = status.Signal()
	}
	switch {
	case p.broken != "":
		return p.broken
	case p.oom:
		return memoryName + ": the kernel killed it, since it may have no more"
	case sig == syscall.SIGXFSZ:
		return fmt.Sprintf("file size: it wrote to a file beyond %s, and limits.file_size is that", runnel.Size(p.limits.fileBytes))
	case sig == syscall.SIGXCPU, sig == syscall.SIGKILL && p.limits.cpu > 0 && p.state.UserTime()+p.state.SystemTime() >= p.limits.cpu:
		return fmt.Sprintf("cpu time: it used %s of the processor, and limits.cpu_time is that", p.limits.cpu)
	case p.crowded:
		return p.crowd()
	}
	return ""
}

// memoryName begins the words of a want of memory.
const memoryName = "memory"

func (p *process) crowd() string {
	return fmt.Sprintf("processes: it had more than %d processes and threads, and limits.processes is that", p.limits.processes)
}

// remark is what to add to the words about a process that was killed at a
// deadline.
func (p *process) remark() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.broken != "":
		return "; " + p.broken
	case p.crowded:
		return "; " + p.crowd()
	}
	return ""
}

// signal sends the process, and not its group, a signal.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(p.pid, sig) // it may be gone already
	}
}

// fate says in words how the process ended, and whether by SIGKILL.
func (p *process) fate() (words string, killed bool) {
	if p.state == nil {
		return "it could not be waited for", false
	}
	if status, ok := p.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "signal " + status.Signal().String(), status.Signal() == syscall.SIGKILL
	}
	return p.state.String(), false
}

// peak is the most memory that the process, which has ended, or a child of it
// that it waited for, ever occupied, in bytes; 0 where that is not known.
//
// Linux counts as a process's own what its parent occupied at its start. What is
// not above that says nothing, and what was seen has to do.
func (p *process) peak() int64 {
	if p.state == nil {
		return 0
	}
	usage, ok := p.state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if n := maxResident(usage); n > p.inherited {
		return n
	}
	return p.seen.Load()
}

// maxResident is the memory of usage in bytes.
func maxResident(usage *syscall.Rusage) int64 {
	if runtime.GOOS == "linux" {
		return int64(usage.Maxrss) << 10
	}
	return int64(usage.Maxrss)
}

// resident is how much memory the process occupies now, and high how much at
// most so far, in bytes; 0 where that is not known.
func (p *process) resident() int64 { return p.status("VmRSS:") }
func (p *process) high() int64 {
	n := p.status("VmHWM:")
	for {
		seen := p.seen.Load()
		if n <= seen {
			return seen
		}
		if p.seen.CompareAndSwap(seen, n) {
			return n
		}
	}
}

// status reads a number of kilobytes that Linux tells of a process.
func (p *process) status(field string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(text), field)
	if !found {
		return 0
	}
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(words[0], 10, 64)
	return n << 10
}

// aborted says whether the process ended itself by abort(3).
func (p *process) aborted() bool {
	if p.state == nil {
		return false
	}
	status, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && (status.Signaled() && status.Signal() == syscall.SIGABRT || status.ExitStatus() == 128+int(syscall.SIGABRT))
}

// pipes are the host's and the child's ends of the four pipes of a worker.
type pipes struct {
	in, out, stdout, stderr *os.File // the host's
	child                   []*os.File
}

// openPipes opens the pipes, and an empty standard input. On an error nothing
// is left open.
func openPipes() (*pipes, error) {
	p := &pipes{}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	p.child = []*os.File{null}
	// Descriptors 1 to 4, in their order.
	for _, end := range []struct {
		host   **os.File
		writes bool // the host writes
	}{{&p.stdout, false}, {&p.stderr, false}, {&p.in, true}, {&p.out, false}} {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("opening a pipe to a worker: %w", err)
		}
		host, child := r, w
		if end.writes {
			host, child = w, r
		}
		*end.host = host
		p.child = append(p.child, child)
		// Go's pipes do not block; programs expect theirs to.
		if err := syscall.SetNonblock(int(child.Fd()), false); err != nil {
			p.close()
			return nil, fmt.Errorf("opening a pipe to a worker: %w", err)
		}
	}
	return p, nil
}

func (p *pipes) closeChild() {
	for _, f := range p.child {
		_ = f.Close()
	}
	p.child = nil
}

// closeFrames closes the host's ends of the pipes that carry frames, for a
// process that is spoken with in another way.
func (p *pipes) closeFrames() {
	_ = p.in.Close()
	_ = p.out.Close()
}

// close closes whatever is open.
func (p *pipes) close() {
	p.closeChild()
	for _, f := range []*os.File{p.in, p.out, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// removeAll removes a process's temporary directory, also where the process
// made parts of it unwritable.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	// What cannot be removed now is removed with the directory around it.
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
