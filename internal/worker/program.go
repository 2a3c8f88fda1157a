package worker

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// Program is what a worker process runs.
type Program struct {
	// Function and Version are for log lines and the environment.
	Function, Version string
	// Dir is the working directory: the version's code.
	Dir string
	// Args[0] is the program, absolute or relative to Dir; PATH is not
	// searched.
	Args []string
	// Env are NAME=VALUE entries. The process has these and PATH, HOME,
	// TMPDIR, LANG, USER and LOGNAME, which they may replace, and
	// RUNNEL_FUNCTION, RUNNEL_VERSION and RUNNEL_WORKER, which they may not. It
	// has nothing else: what the server's own environment holds stays there.
	Env []string
	// Mask are values that are replaced by *** in what the process prints and
	// in what is said of its failures, where they have 8 bytes or more. A
	// value that is printed in two lines, or in another spelling, as base64,
	// is not found.
	Mask []string
	// Memory is the most data that the process may have, in bytes; 0 means no
	// limit. What counts is what RLIMIT_DATA counts: private writable memory.
	Memory int64
	// Shim says that the process is one of our shims: what it calls JSON or
	// text was made by its encoder, and is not looked at again, which would be
	// half of what a call costs here.
	Shim bool
	// Transport is how calls reach the process. Default: frames.
	Transport runnel.Transport
	// Concurrency is how many calls a process may have in flight. Default 1.
	Concurrency int
	// MaxInput is the largest payload, default 10 MiB; MaxOutput the largest
	// value of an answer, default 15,000,000. In bytes.
	MaxInput, MaxOutput int64
	// Files is how many files the process may have open, default 1024;
	// FileBytes how large each that it writes may become, default 1 GiB.
	Files, FileBytes int64
	// Processes is how many processes and threads there may be, default 512;
	// TempBytes how much the directory for temporary files may hold, default
	// 512 MiB; CPU how much processor time a process may use in all its life,
	// 0 meaning no limit.
	Processes int
	TempBytes int64
	CPU       time.Duration
	// Isolated keeps the process from every network but [Options.API].
	Isolated bool
	// Hidden are directories that the process can neither read nor write,
	// except for Dir and Visible, which it can read, Writable, and its own
	// temporary directory. That files there exist, and their sizes, it can
	// still see.
	Hidden  []string
	Visible []string
	// Writable are directories that the process may write to besides its
	// temporary one, as far as its user may.
	Writable []string
	// StartTimeout is how long the code may take to load. Default 30s.
	StartTimeout time.Duration
}

// Options are what a pool has besides its program.
type Options struct {
	// Min processes are kept, Max run at once: default 0, and the number of
	// cores. Idle is after how long without a call a process beyond Min ends;
	// default 5m.
	Min, Max int
	Idle     time.Duration
	// TempDir is where each process has its private directory, removed when it
	// ends. Default: the system's. What a killed server left there is for its
	// owner to remove.
	TempDir string
	// Grace is how long a process that was told to stop, or that nobody waits
	// for any more, may take before it is killed. Default 500ms.
	Grace time.Duration
	// Recycle is when a process is replaced. Zero: never.
	Recycle runnel.Recycle
	// Starts bounds the processes that start at once. Pools share it, at the
	// number of cores. nil: no bound.
	Starts *Starts
	// SameUser leaves processes the user of the server, where a server that is
	// root would give each a user of its own.
	SameUser bool
	// API serves Runnel's API on a listener until that is closed. Isolated
	// processes, which have nothing else, find it by RUNNEL_URL. nil: none.
	API func(net.Listener)
	// Pass makes what one process acts by; it is called for each that starts.
	// nil: none has anything.
	Pass func() Pass
	// Log gets the lines that processes print. It is called with a lock held
	// and must not block. nil: they are dropped.
	Log func(Line)
	// Slog gets what an operator should know. nil: nothing.
	Slog *slog.Logger
}

// Line is one line that a worker process printed or logged.
type Line struct {
	Time time.Time
	// Level is debug, info, warn or error. Standard output is info; standard
	// error is warn, since programs use it for progress and complaints alike.
	Level             string
	Function, Version string
	// Worker names the process; unique within the server.
	Worker string
	// Invocation and Flow are those of the call during which the line was
	// printed; empty between calls.
	Invocation, Flow string
	Text             string
}

// Limit is one bound on a process, and whether it holds.
type Limit struct {
	// Name is memory, processes, cpu time, open files, file size, temporary
	// space, core dumps, hidden directories, files elsewhere, signals, network,
	// own user, descendants, memory of the server, new privileges or death with
	// the server.
	Name string
	// Wanted is the bound in words; empty where none was asked for.
	Wanted string
	// InForce says that the kernel was told and agreed.
	InForce bool
	// How is by what means, or why not.
	How string
}

const (
	defaultMaxInput  = 10 << 20
	defaultMaxOutput = 15_000_000
	defaultFiles     = 1024
	defaultProcesses = 512
	defaultTempBytes = 512 << 20
	defaultFileBytes = 1 << 30
	defaultStart     = 30 * time.Second
	defaultIdle      = 5 * time.Minute
	defaultGrace     = 500 * time.Millisecond
)

func number[N int | int64 | time.Duration](v *N, d N) {
	if *v == 0 {
		*v = d
	}
}

// withDefaults returns p with paths absolute and free of symbolic links where
// Landlock needs that, or says what is wrong with it.
func (p Program) withDefaults() (Program, error) {
	number(&p.MaxInput, defaultMaxInput)
	number(&p.MaxOutput, defaultMaxOutput)
	number(&p.Concurrency, 1)
	number(&p.Processes, defaultProcesses)
	number(&p.TempBytes, defaultTempBytes)
	number(&p.Files, defaultFiles)
	number(&p.FileBytes, defaultFileBytes)
	number(&p.StartTimeout, defaultStart)
	if len(p.Args) == 0 || p.Args[0] == "" {
		return p, fmt.Errorf("worker of %s: no program to run", p.Function)
	}
	var err error
	if p.Dir, err = realPath(p.Dir); err != nil {
		return p, fmt.Errorf("worker of %s: directory of the code: %w", p.Function, err)
	}
	p.Args = append([]string(nil), p.Args...)
	if !filepath.IsAbs(p.Args[0]) {
		p.Args[0] = filepath.Join(p.Dir, p.Args[0])
	}
	if p.Hidden, err = realPaths(p.Hidden); err != nil {
		return p, fmt.Errorf("worker of %s: hidden directory: %w", p.Function, err)
	}
	if p.Visible, err = realPaths(p.Visible); err != nil {
		return p, fmt.Errorf("worker of %s: visible directory: %w", p.Function, err)
	}
	if p.Writable, err = realPaths(p.Writable); err != nil {
		return p, fmt.Errorf("worker of %s: writable directory: %w", p.Function, err)
	}
	return p, nil
}

func (o Options) withDefaults() (Options, error) {
	number(&o.Max, max(runtime.NumCPU(), o.Min))
	number(&o.Idle, defaultIdle)
	number(&o.Grace, defaultGrace)
	if o.Min < 0 || o.Max < o.Min {
		return o, fmt.Errorf("workers: min %d and max %d: want 0 <= min <= max", o.Min, o.Max)
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	if o.Slog == nil {
		o.Slog = slog.New(slog.DiscardHandler)
	}
	var err error
	if o.TempDir, err = realPath(o.TempDir); err != nil {
		return o, fmt.Errorf("directory for temporary files: %w", err)
	}
	return o, nil
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func realPaths(paths []string) ([]string, error) {
	out := make([]string, len(paths))
	for i, path := range paths {
		var err error
		if out[i], err = realPath(path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// environment returns the whole environment of one process. more are entries
// that Env may not replace.
func (p *Program) environment(worker, temp string, more ...string) []string {
	env := append(basicEnv(temp), p.Env...)
	env = append(env, "RUNNEL_FUNCTION="+p.Function, "RUNNEL_VERSION="+p.Version, "RUNNEL_WORKER="+worker)
	return lastOfEach(append(env, more...))
}

// basicEnv is what every process has, unless it is replaced.
func basicEnv(temp string) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + temp,
		"TMPDIR=" + temp,
		"LANG=C.UTF-8",
		// Many programs ask for the name of their user, which has none.
		"USER=runnel",
		"LOGNAME=runnel",
	}
}

// lastOfEach leaves the last entry of each name. The kernel passes duplicates
// on, and languages differ in which they take.
func lastOfEach(env []string) []string {
	place := make(map[string]int, len(env))
	out := env[:0:0]
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if i, ok := place[name]; ok {
			out[i] = entry
			continue
		}
		place[name] = len(out)
		out = append(out, entry)
	}
	return out
}

// apiAt returns the variables that tell the process where Runnel's API is, in
// place of those that it has: there is no other for it.
func (p *Program) apiAt(url string) []string {
	more := []string{"RUNNEL_URL=" + url}
	for _, name := range []string{"ALGORITHMIA_API", "AWS_ENDPOINT_URL_SQS"} {
		for _, entry := range p.Env {
			if strings.HasPrefix(entry, name+"=") {
				more = append(more, name+"="+url)
			}
		}
	}
	return more
}
