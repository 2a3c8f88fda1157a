package function

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Step is one program that a build runs.
type Step struct {
	// Function is for whom.
	Function string
	// Dir is the working directory.
	Dir string
	// Args are the program, as an absolute path, and its arguments.
	Args []string
	// Env is the whole environment, as NAME=VALUE.
	Env []string
	// Readable and Writable are the directories below Hidden that the step
	// needs; Writable ones are read too.
	Readable, Writable []string
	// Shared are directories that other steps write to as well, at the same
	// time: the caches of tools.
	Shared []string
	// Hidden are the directories that it must not see.
	Hidden []string
	// Log gets each line that is printed. It is called by one goroutine at a
	// time.
	Log func(line string)
}

// runStep runs a step with the rights of the server.
func runStep(ctx context.Context, s Step) error {
	out, end := LineWriter(s.Log)
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	cmd.Stdout, cmd.Stderr = out, out
	// A build starts processes of its own; they end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	// Also those that it left behind, whose number nobody else has as long as
	// there is one.
	if killed := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); killed == nil || errors.Is(err, exec.ErrWaitDelay) {
		s.Log("processes that were left behind were ended")
	}
	end()
	if errors.Is(err, exec.ErrWaitDelay) { // it had ended well itself
		err = nil
	}
	return err
}

// LineWriter returns a writer that hands on what is written in lines, which
// are cut at 1000 bytes; end hands on the last one. Nothing is handed on after
// it, also where somebody still writes.
func LineWriter(to func(line string)) (w io.Writer, end func()) {
	l := &lines{to: to}
	return l, l.end
}

// lineBytes is the longest line.
const lineBytes = 1000

// lines takes the output of a program apart.
type lines struct {
	to func(line string)

	mu    sync.Mutex // guards the fields below, and is held while to is called
	rest  []byte
	ended bool
}

// Write hands on the lines that are whole, and those that become too long.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return len(p), nil
	}
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) < lineBytes {
			return len(p), nil
		}
		if i < 0 || i > lineBytes {
			l.line(l.rest[:lineBytes])
			l.rest = l.rest[lineBytes:]
			continue
		}
		l.line(l.rest[:i])
		l.rest = l.rest[i+1:]
	}
}

func (l *lines) line(text []byte) {
	l.to(strings.ToValidUTF8(strings.TrimRight(string(text), "\r"), "\uFFFD"))
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
	l.ended = true
}
