package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// RunCommand is a program that is run once, to its end, in the confinement of
// a worker: a step of a build.
type RunCommand struct {
	// Args[0] is the program, absolute or relative to Dir; PATH is not
	// searched.
	Args []string
	// Env are NAME=VALUE entries. The process has these and PATH, HOME,
	// TMPDIR, LANG, USER and LOGNAME, which they may replace, and nothing else.
	Env []string
	// Dir is the working directory. It can be read.
	Dir string
	// Writable are directories that the process may write to, besides its
	// temporary one. They belong to its user while it runs, where it has one of
	// its own, so that one process at a time can have them.
	Writable []string
	// Shared are directories that it may write to and that others use at the
	// same time: they keep their user, and are not measured.
	Shared []string
	// Hidden and Visible are as those of a Program.
	Hidden, Visible []string
	// TempDir is where the process has its private directory, removed when it
	// ends. Default: the system's.
	TempDir string
	// The limits are as those of a Program. By default there may be 4096 files
	// open, files of up to 4 GiB, 512 processes and threads. TempBytes, by
	// default 8 GiB, is what its temporary directory and Writable may hold
	// together.
	Memory, Files, FileBytes, TempBytes int64
	Processes                           int
	CPU                                 time.Duration
	// SameUser and Isolated are as those of Options and a Program; an isolated
	// process reaches nothing at all.
	SameUser, Isolated bool
	// Output gets each line of standard output and standard error, in the order
	// in which they were written, cut where longer than 64 KiB. It is called by
	// one goroutine. nil: they are dropped, but for the last one, which an
	// error tells.
	Output func(line string)
}

const (
	runFiles     = 4096
	runFileBytes = 4 << 30
	runTempBytes = 8 << 30
)

// Run runs a program until it and all that it started has ended. When ctx ends
// first, they are killed, and the error wraps the cause of that. Other errors
// say which limit ended the program, or its exit status and its last line.
//
// The program begins when its limits are set: a shell, which becomes the
// program, waits for that.
func Run(ctx context.Context, c RunCommand) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	number(&c.Files, runFiles)
	number(&c.FileBytes, runFileBytes)
	number(&c.TempBytes, runTempBytes)
	prog, err := Program{
		Function: "a command", Dir: c.Dir, Args: c.Args, Hidden: c.Hidden, Visible: c.Visible, Writable: slices.Concat(c.Writable, c.Shared),
		Memory: c.Memory, Files: c.Files, FileBytes: c.FileBytes, TempBytes: c.TempBytes, Processes: c.Processes,
		CPU: c.CPU, Isolated: c.Isolated,
	}.withDefaults()
	if err != nil {
		return err
	}
	c.Writable = prog.Writable[:len(c.Writable)] // without symbolic links
	opt, err := Options{TempDir: c.TempDir}.withDefaults()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(opt.TempDir, "command-")
	if err != nil {
		return fmt.Errorf("directory for a command's temporary files: %w", err)
	}
	defer removeAll(temp)
	name := filepath.Base(prog.Args[0])
	p, out, gate, err := startCommand(&prog, temp, &c)
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	defer out.Close()
	watching.add(p, append([]string{temp}, c.Writable...), prog.TempBytes, func() bool { return true })
	defer watching.remove(p)
	p.limit(&prog)
	// An error is that of a process that was killed.
	_, _ = gate.Write([]byte{'\n'})
	_ = gate.Close()

	stop := context.AfterFunc(ctx, p.kill)
	go func() {
		<-p.exited
		// Only what could not be found to be killed still holds the pipe.
		_ = out.SetReadDeadline(time.Now().Add(lastWords))
	}()
	last := readLines(out, c.Output)
	<-p.exited
	killed := !stop()
	if killed {
		return fmt.Errorf("%s was killed: %w%s", name, context.Cause(ctx), p.remark())
	}
	if p.state != nil && p.state.Success() {
		return nil
	}
	words, _ := p.fate()
	if limit := p.exceeded(); limit != "" {
		words = "ended by a limit: " + limit
	}
	if last != "" {
		words += ": " + last
	}
	return fmt.Errorf("%s: %s", name, words)
}

// shell waits for a line, and becomes the program of its arguments.
const shell = "/bin/sh"

var waiting = []string{shell, "-c", `read -r line || exit 1; exec "$0" "$@" </dev/null`}

// startCommand starts the process, and returns the end of the pipe from which
// to read what it prints, and that of the one on which it waits for a line.
func startCommand(prog *Program, temp string, c *RunCommand) (p *process, out, gate *os.File, err error) {
	if _, err := exec.LookPath(prog.Args[0]); err != nil {
		return nil, nil, nil, err
	}
	var ends [4]*os.File // of the child and the server, for input and output
	defer func() {
		for i, f := range ends {
			if f != nil && (err != nil || i%2 == 0) {
				_ = f.Close()
			}
		}
	}()
	if ends[0], ends[1], err = os.Pipe(); err != nil {
		return nil, nil, nil, err
	}
	if ends[3], ends[2], err = os.Pipe(); err != nil {
		return nil, nil, nil, err
	}
	// Go's pipes do not block; programs expect theirs to.
	for _, f := range []*os.File{ends[0], ends[2]} {
		if err = syscall.SetNonblock(int(f.Fd()), false); err != nil {
			return nil, nil, nil, err
		}
	}
	start := command{
		args: append(waiting[:len(waiting):len(waiting)], prog.Args...), env: lastOfEach(append(basicEnv(temp), c.Env...)), dir: prog.Dir,
		files: []*os.File{ends[0], ends[2], ends[2]}, temp: temp, give: c.Writable,
		processes: prog.Processes, memory: prog.Memory, sameUser: c.SameUser, isolated: prog.Isolated,
	}
	rules, _, err := hide(prog, &start)
	if err != nil {
		return nil, nil, nil, err
	}
	if rules != nil {
		start.rules = int(rules.Fd())
		defer rules.Close()
	}
	if p, err = spawn(&start); err != nil {
		return nil, nil, nil, err
	}
	return p, ends[3], ends[1], nil
}

// readLines passes on lines until there are no more, and returns the last that
// is not empty, for an error.
func readLines(from io.Reader, to func(string)) (last string) {
	lines := bufio.NewReaderSize(from, maxLineText)
	for {
		raw, err := lines.ReadSlice('\n')
		if text := strings.TrimRight(strings.ToValidUTF8(string(raw), "\uFFFD"), "\r\n"); len(raw) > 0 {
			if to != nil {
				to(text)
			}
			if trimmed := strings.TrimSpace(text); trimmed != "" {
				last = trimmed[:min(len(trimmed), excerptBytes)]
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return strings.ToValidUTF8(last, "")
		}
	}
}
