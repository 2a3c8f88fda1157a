//go:build !linux

package worker

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
)

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
		{Name: "open files", Wanted: strconv.FormatInt(prog.Files, 10), How: how},
		{Name: "file size", Wanted: strconv.FormatInt(prog.FileBytes, 10), How: how},
		{Name: "core dumps", Wanted: "0", How: how},
		{Name: "memory of the server", Wanted: "unreadable", InForce: p.untraceable, How: how},
		{Name: "new privileges", Wanted: "none", How: how},
		{Name: "death with the server", Wanted: "the process", How: how + ": it ends when it reads the end of its pipe"},
	}
	if prog.Memory > 0 {
		out[0].Wanted = strconv.FormatInt(prog.Memory, 10)
	}
	return out
}

// hide says that nothing can be hidden here.
func hide(prog *Program, _ string) (rules *os.File, limits []Limit, err error) {
	l := Limit{Name: "hidden directories", How: "none were asked for"}
	if len(prog.Hidden) > 0 {
		l.Wanted, l.How = hiddenWords(prog), "not possible on "+runtime.GOOS
	}
	return nil, []Limit{l, {Name: "signals", Wanted: "to itself only", How: "not possible on " + runtime.GOOS}}, nil
}
