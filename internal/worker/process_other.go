//go:build !linux

package worker

import (
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"github.com/runnel-io/runnel"
)

// box: this system has no means to bound another process.
type box struct{}

func (*box) kill()        {}
func (*box) tasks() int   { return 0 }
func (*box) recount() int { return 0 }

// isolates says that no process gets a network of its own here.
func isolates(*Program) bool { return false }

// spawn starts c. This system has no means to restrict another process, nor to
// end it with the server: it ends when it reads the end of its pipe.
func spawn(c *command) (*process, error) {
	child, err := os.StartProcess(c.args[0], c.args, &os.ProcAttr{
		Dir: c.dir, Env: c.env, Files: c.files,
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, err
	}
	p := &process{pid: child.Pid, exited: make(chan struct{})}
	go func() {
		p.state, _ = child.Wait()
		p.mu.Lock()
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		p.reaped = true
		p.mu.Unlock()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) limit(prog *Program) []Limit {
	how := "not possible on " + runtime.GOOS
	out := []Limit{
		{Name: "memory", How: how},
		{Name: "processes", Wanted: strconv.Itoa(prog.Processes), How: how},
		{Name: "cpu time", How: how},
		{Name: "open files", Wanted: strconv.FormatInt(prog.Files, 10), How: how},
		{Name: "file size", Wanted: runnel.Size(prog.FileBytes).String(), How: how},
		{Name: "core dumps", Wanted: "0", How: how},
		{Name: "network", How: how},
		{Name: "own user", How: how},
		{Name: "descendants", Wanted: "end with it", How: how + ": its process group only"},
		{Name: "memory of the server", Wanted: "unreadable", How: how},
		{Name: "new privileges", Wanted: "none", How: how},
		{Name: "death with the server", Wanted: "the process", How: how + ": it ends when it reads the end of its pipe"},
	}
	if prog.Memory > 0 {
		out[0].Wanted = runnel.Size(prog.Memory).String()
	}
	if prog.CPU > 0 {
		out[2].Wanted = prog.CPU.String()
	}
	if prog.Isolated {
		out[6].Wanted = "Runnel's API only"
	}
	return out
}

// hide says that nothing can be hidden here.
func hide(prog *Program, _ *command) (rules *os.File, limits []Limit, err error) {
	how := "not possible on " + runtime.GOOS
	l := Limit{Name: "hidden directories", How: "none were asked for"}
	if len(prog.Hidden) > 0 {
		l.Wanted, l.How = hiddenWords(prog), how
	}
	return nil, []Limit{l, {Name: "files elsewhere", Wanted: "not written", How: how}, {Name: "signals", Wanted: "to itself only", How: how}}, nil
}

// growPipe does nothing: pipes have one size here.
func growPipe(*os.File) {}

// guard says that everybody can connect.
func (p *process) guard(l net.Listener) (net.Listener, Limit) {
	return l, Limit{Name: "runtime API", Wanted: "reached by the worker only", How: "not possible on " + runtime.GOOS}
}
