package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// caller makes calls of a batch; one goroutine has it.
type caller func(ctx context.Context, id string) error

// side is one thing that is measured: open starts the workers and returns a
// caller for each, and what ends them.
type side struct {
	workers, batch                 int
	scratch, lambda, guest, runnel string
}

// transportCommand measures one side and prints its figures.
func transportCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("transport", flag.ContinueOnError)
	name := flags.String("side", "", "what is called")
	var s side
	flags.IntVar(&s.workers, "workers", 1, "workers, and callers")
	flags.IntVar(&s.batch, "batch", 1, "payloads a call")
	seconds := flags.Duration("seconds", 2*time.Second, "how long")
	flags.StringVar(&s.lambda, "lambda", "", "program of bench/lambda")
	flags.StringVar(&s.guest, "wasm", "", "module of a reactor")
	flags.StringVar(&s.runnel, "runnel", "", "program that runs modules")
	profile := flags.String("profile", "", "file for a CPU profile of this side of the calls")
	flags.StringVar(&s.scratch, "scratch", "", "directory for what workers need")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// As runnel serve has it, so that garbage is collected as rarely.
	reserve := make([]byte, 32<<20)
	defer runtime.KeepAlive(reserve)
	callers, end, err := s.open(ctx, *name)
	if err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	// Warm: what a start costs is no part of a call.
	if _, err := drive(ctx, callers, *seconds/10); err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	// The kernel knows the time of processes that have ended only; those that
	// run are asked for theirs.
	host, others := ownCPU(), childrenCPU(os.Getpid())
	took, err := drive(ctx, callers, *seconds)
	if err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	host, others = ownCPU()-host, childrenCPU(os.Getpid())-others
	if err := end(); err != nil {
		return fmt.Errorf("%s: %w", *name, err)
	}
	slices.Sort(took)
	n := float64(len(took))
	ms := func(q float64) float64 { return took[min(int(q*n), len(took)-1)].Seconds() * 1000 }
	f := figures{
		Mode: "transport", Messages: int64(len(took) * s.batch), Seconds: seconds.Seconds(), Rate: n / seconds.Seconds(),
		CPU: host.Seconds() * 1e6 / n, ServerCPU: others.Seconds() * 1e6 / n,
		Wake:       &latency{P50: ms(0.5), P99: ms(0.99), P999: ms(0.999), Max: ms(1)},
		Durability: "none: nothing is stored",
		Commit:     commit(ctx),
	}
	f.Machine.CPU, f.Machine.Cores, f.Machine.Kernel, f.Machine.Go = cpuModel(), runtime.NumCPU(), kernel(), runtime.Version()
	return json.NewEncoder(out).Encode(f)
}

// drive lets each caller call again and again, and returns what calls took.
func drive(ctx context.Context, callers []caller, long time.Duration) ([]time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	var errs error
	var running sync.WaitGroup
	until := time.Now().Add(long)
	for c, call := range callers {
		running.Go(func() {
			var took []time.Duration
			var err error
			for i := 0; err == nil; i++ {
				begun := time.Now()
				if begun.After(until) {
					break
				}
				err = call(ctx, strconv.Itoa(c)+"-"+strconv.Itoa(i))
				took = append(took, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), errors.Join(errs, err)
		})
	}
	running.Wait()
	if len(all) == 0 {
		errs = errors.Join(errs, errors.New("no call ended"))
	}
	return all, errs
}

var payload = []byte(`{"text":"` + strings.Repeat("0123456789", 100) + `","n":1}`)

const (
	pythonHandler = "def handler(event):\n    return event\n"
	nodeHandler   = "exports.handler = (event) => event;\n"
	pythonLoop    = "import sys, json\nfor line in sys.stdin.buffer:\n    sys.stdout.write(json.dumps(json.loads(line)) + '\\n')\n    sys.stdout.flush()\n"
	nodeLoop      = `let rest = '';
process.stdin.setEncoding('utf8').on('data', (data) => {
  const lines = (rest + data).split('\n');
  rest = lines.pop();
  for (const line of lines) process.stdout.write(JSON.stringify(JSON.parse(line)) + '\n');
});
`
)

func (s *side) open(ctx context.Context, name string) ([]caller, func() error, error) {
	kind, lang, _ := strings.Cut(name, "-")
	program, err := interpreter(ctx, lang)
	if err != nil {
		return nil, nil, err
	}
	if kind == "pipe" {
		code := map[string][]string{"python": {program, "-c", pythonLoop}, "node": {program, "-e", nodeLoop}}[lang]
		return s.openPipes(ctx, code)
	}
	if kind == "http" {
		return s.openEndpoint(ctx)
	}
	dir, err := os.MkdirTemp(s.scratch, "code-")
	if err != nil {
		return nil, nil, err
	}
	prog := worker.Program{Function: "default/echo", Version: "v1", Dir: dir, StartTimeout: time.Minute}
	shims := filepath.Join(dir, "shims")
	var text, file string
	switch name {
	case "frames-python":
		text, file, prog.Env = pythonHandler, "main.py", []string{"RUNNEL_HANDLER=main.handler", "PYTHONDONTWRITEBYTECODE=1"}
		prog.Args = shim.Command(runnel.RuntimePython, program, shims)
	case "frames-node":
		text, file, prog.Env = nodeHandler, "index.js", []string{"RUNNEL_HANDLER=index.handler"}
		prog.Args = shim.Command(runnel.RuntimeNode, program, shims)
	case "runtime-go":
		prog.Transport, prog.Args = runnel.TransportRuntimeAPI, []string{s.lambda}
	case "frames-wasm":
		prog.Args, prog.Env = []string{s.runnel, "wasm-worker", s.guest}, []string{"RUNNEL_WASM_CACHE=" + filepath.Join(s.scratch, "wasm")}
	default:
		return nil, nil, errors.New("there is no such side")
	}
	if file != "" {
		prog.Shim = true
		if err := errors.Join(os.CopyFS(shims, shim.Files()), os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)); err != nil {
			return nil, nil, err
		}
	}
	pool, err := worker.Start(ctx, prog, worker.Options{Min: s.workers, Max: s.workers, TempDir: s.scratch})
	if err != nil {
		return nil, nil, err
	}
	return s.callers(pool), func() error { return pool.Drain(ctx) }, nil
}

// pool is what a pool and an endpoint have in common.
type pool interface {
	Acquire(ctx context.Context) (runnel.Invoker, func(), error)
}

// callers call as dispatch does: a place, a deadline, a call.
func (s *side) callers(p pool) []caller {
	return slices.Repeat([]caller{func(ctx context.Context, id string) error {
		in := &runnel.Invocation{ID: id, Flow: "f", Format: runnel.FormatJSON, Items: make([]runnel.Item, s.batch)}
		for i := range in.Items {
			in.Items[i] = runnel.Item{Payload: payload, Message: "0f0e8a4e-3c60-4cf4-9e0b-6d3c1c5a7f10", Attempt: 1}
		}
		call, release, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		answers, err := call.Invoke(ctx, in)
		for i := range answers {
			err = errors.Join(err, answers[i].Err)
		}
		return err
	}}, s.workers)
}

// openPipes starts bare loops.
func (s *side) openPipes(ctx context.Context, args []string) (callers []caller, end func() error, err error) {
	var ends []func() error
	line := payload
	if s.batch > 1 {
		line = append([]byte{'['}, bytes.Repeat(append(slices.Clone(payload), ','), s.batch)...)
		line[len(line)-1] = ']'
	}
	line = append(slices.Clone(line), '\n')
	for range s.workers {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		r := bufio.NewReaderSize(out, 64<<10)
		callers = append(callers, func(context.Context, string) error {
			if _, err := in.Write(line); err != nil {
				return err
			}
			// As a host would, it has the answer in one piece.
			for {
				_, err := r.ReadSlice('\n')
				if !errors.Is(err, bufio.ErrBufferFull) {
					return err
				}
			}
		})
		ends = append(ends, func() error { return errors.Join(in.Close(), cmd.Wait()) })
	}
	return callers, func() (err error) {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
		return err
	}, nil
}

// openEndpoint starts a server that is a process of its own.
func (s *side) openEndpoint(ctx context.Context) ([]caller, func() error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "echo")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, nil, err
	}
	e, err := worker.NewEndpoint(ctx, "http://"+strings.TrimSpace(address)+"/", worker.Program{Function: "default/echo"}, s.workers)
	if err != nil {
		return nil, nil, err
	}
	return s.callers(e), func() error { return errors.Join(e.Drain(ctx), in.Close(), cmd.Wait()) }, nil
}

// echoCommand is the endpoint: it serves until its standard input ends.
func echoCommand(ctx context.Context, out io.Writer) error {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // a client that left is not told
	})}
	fmt.Fprintln(out, l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// interpreter finds the real program of a language, which the one on the PATH
// may only look for.
func interpreter(ctx context.Context, lang string) (string, error) {
	ask := map[string][]string{"python": {"python3", "-c", "import sys; print(sys.executable)"}, "node": {"node", "-p", "process.execPath"}}[lang]
	if ask == nil {
		return "", nil
	}
	out, err := exec.CommandContext(ctx, ask[0], ask[1:]...).Output()
	return strings.TrimSpace(string(out)), err
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// commit is that of the sources around.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
