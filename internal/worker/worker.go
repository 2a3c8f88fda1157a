package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

const (
	// exitWait is how long a process that has no more to say may take to end,
	// and how long what it left in the pipe may take to be read when a
	// descendant holds the pipe open.
	exitWait    = time.Second
	lastWords   = 100 * time.Millisecond
	keepScratch = 1 << 20 // a larger buffer is not kept for the next call
	// killWait bounds the wait for a process that was killed: one that the
	// kernel does not let die holds up nobody for ever.
	killWait = 5 * time.Second
	// apiPort is where an isolated process finds Runnel's API.
	apiPort = 7070
)

// numbers names the processes of this server.
var numbers atomic.Int64

// worker is one process and the host's side of it. It implements
// runnel.Invoker, for one call at a time: whoever acquired it has it alone.
type worker struct {
	pool    *Pool
	name    string
	proc    *process
	pipes   *pipes
	out     *output
	temp    string
	release func() // made once, so that an Acquire allocates nothing

	dec    *decoder
	loaded chan error    // gets one value: nil when ready, or why not
	done   chan outcome  // gets one outcome per call begun; one is buffered
	ended  chan struct{} // closed when everything of the process is gone
	gone   atomic.Bool   // the process has ended; set before the pool is told

	// The caller's, one at a time.
	frame, meta []byte
	writer      syscall.RawConn
	write       func(fd uintptr) bool
	toWrite     []byte
	writeErr    error

	mu        sync.Mutex
	call      *runnel.Invocation // in flight
	over      bool               // no call can begin
	stopping  bool               // it was told to end, or is being killed
	killed    bool               // by us
	exhausted bool               // it ran out of memory, and is not to be used again
	calls     int                // begun on this process

	// Pool.mu guards what follows.
	busy   bool
	listed bool      // counted in Pool.size
	since  time.Time // idle since
}

// outcome is how a call ended.
type outcome struct {
	answers []runnel.Answer
	err     error
	dead    bool // with the process
}

// startWorker starts a process and waits until its code is loaded.
func (p *Pool) startWorker(ctx context.Context) (*worker, []Limit, error) {
	temp, err := os.MkdirTemp(p.opt.TempDir, "worker-")
	if err != nil {
		return nil, nil, fmt.Errorf("directory for a worker's temporary files: %w", err)
	}
	w := &worker{
		pool: p, temp: temp, name: "w" + strconv.FormatInt(numbers.Add(1), 10),
		loaded: make(chan error, 1), done: make(chan outcome, 1), ended: make(chan struct{}),
	}
	w.release = func() { p.release(w) }
	limits, err := w.spawn()
	if err != nil {
		removeAll(temp)
		return nil, nil, err
	}
	p.live(w)
	watching.add(w.proc, []string{temp}, p.prog.TempBytes, w.calling)
	var pumps sync.WaitGroup
	for i := range w.out.streams {
		pumps.Go(w.out.streams[i].pump)
	}
	go w.run(&pumps)

	if err := w.load(ctx); err != nil {
		w.kill()
		<-w.ended
		return nil, limits, err
	}
	return w, limits, nil
}

// spawn starts the process and sets its limits.
func (w *worker) spawn() ([]Limit, error) {
	prog := &w.pool.prog
	pipes, err := openPipes()
	if err != nil {
		return nil, err
	}
	c := command{
		args: prog.Args, dir: prog.Dir, files: pipes.child, temp: w.temp,
		processes: prog.Processes, memory: prog.Memory, sameUser: w.pool.opt.SameUser, isolated: prog.Isolated,
	}
	var more []string
	if api := w.pool.opt.API; api != nil && isolates(prog) {
		c.ports = append(c.ports, apiPort)
		more = append(more, "RUNNEL_URL=http://127.0.0.1:"+strconv.Itoa(apiPort))
	}
	c.env = prog.environment(w.name, w.temp, more...)
	rules, hidden, err := hide(prog, &c)
	if err != nil {
		pipes.close()
		return nil, err
	}
	if rules != nil {
		c.rules = int(rules.Fd())
		defer rules.Close()
	}
	stamp := Line{Function: prog.Function, Version: prog.Version, Worker: w.name}
	w.out, err = newOutput(w.pool.opt.Log, stamp, pipes.stdout, pipes.stderr)
	if err == nil {
		w.writer, err = pipes.in.SyscallConn()
	}
	if err == nil {
		w.proc, err = spawn(&c)
	}
	if err != nil {
		pipes.close()
		return nil, fmt.Errorf("starting %s: %w", prog.Args[0], err)
	}
	pipes.closeChild()
	if len(more) > 0 {
		go w.pool.opt.API(w.proc.listeners[0])
	}
	w.pipes = pipes
	w.dec = newDecoder(pipes.out, prog.MaxOutput)
	w.write = w.writeOnce
	limits := append(w.proc.limit(prog), hidden...)
	return append(limits, limitTemp(prog, c.private)), nil
}

// load tells the process to load its code, and waits for its word.
func (w *worker) load(ctx context.Context) error {
	timeout := w.pool.prog.StartTimeout
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	// An error is that of a process that has ended: its fate says more.
	_ = w.send([]byte("start\n"))
	select {
	case err := <-w.loaded:
		return err
	case <-timer.C:
		w.kill()
		<-w.ended
		return w.startError(fmt.Sprintf("the code did not load within %s", timeout) + w.proc.remark())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startError is the failure of a process that never got ready, in words and
// with what it wrote to standard error.
func (w *worker) startError(words string) error {
	stderr, line := w.out.stderr()
	if line != "" {
		words += ": " + line
	}
	return &runnel.FunctionError{Kind: runnel.KindCrash, Message: words, Stack: stderr}
}

// Invoke implements runnel.Invoker.
func (w *worker) Invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	answers, err := w.invoke(ctx, in)
	w.pool.count(answers, err)
	return answers, err
}

func (w *worker) invoke(ctx context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	if ctx.Err() != nil {
		return nil, interrupted(context.Cause(ctx))
	}
	begun := time.Now()
	var until int64
	deadline, ok := ctx.Deadline()
	if ok {
		until = deadline.UnixMilli()
	}
	var err error
	if w.frame, w.meta, err = appendInvoke(w.frame[:0], w.meta, until, in); err != nil {
		return nil, err
	}
	if !w.begin(in) {
		return nil, interrupted(errors.New("the worker has ended before the call began"))
	}
	var written chan struct{} // closed when all is written; nil: it is
	if err := w.send(w.frame); errors.Is(err, syscall.EAGAIN) {
		// More than the pipe holds: the process reads while we wait below.
		written = make(chan struct{})
		rest := w.toWrite
		go func() {
			defer close(written)
			// An error is that of a closed pipe, when the process has ended.
			_, _ = w.pipes.in.Write(rest)
		}()
		w.frame = nil // it belongs to the writer now
	}
	if cap(w.frame) > keepScratch {
		w.frame = nil
	}
	select {
	case o := <-w.done:
		if written != nil && !o.dead {
			w.finishWrite(written)
		}
		return o.answers, w.blame(&o)
	case <-ctx.Done():
	}
	if ctx.Err() == context.DeadlineExceeded || errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return w.timeOut(deadline.Sub(begun))
	}
	return nil, w.interrupt(context.Cause(ctx), in.ID, written != nil)
}

// blame returns the error of a call: that the process ended before it could
// read the call is not the call's fault, unless no process ever reads one.
func (w *worker) blame(o *outcome) error {
	if o.dead && w.writeErr != nil && !errors.Is(w.writeErr, syscall.EAGAIN) && w.calls > 1 {
		return interrupted(errors.New("the worker had ended before the call began"))
	}
	return o.err
}

// finishWrite waits for the rest of a call that was answered already. A process
// that answers what it has not read would take the rest for its next frame.
func (w *worker) finishWrite(written chan struct{}) {
	timer := time.NewTimer(w.pool.opt.Grace)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
		w.kill()
		<-written
	}
}

func interrupted(cause error) error {
	if errors.Is(cause, runnel.ErrInterrupted) {
		return cause
	}
	return fmt.Errorf("%w: %w", runnel.ErrInterrupted, cause)
}

// timeOut ends a call, with its process, at its deadline. An answer that came
// just in time counts.
func (w *worker) timeOut(limit time.Duration) ([]runnel.Answer, error) {
	w.kill()
	if o, ok := w.await(killWait); ok && !o.dead {
		return o.answers, o.err
	}
	stderr, _ := w.out.stderr()
	return nil, &runnel.FunctionError{
		Kind:    runnel.KindTimeout,
		Message: fmt.Sprintf("no answer within %s", roughly(limit)) + w.proc.remark(),
		Stack:   stderr,
	}
}

// roughly rounds a limit to what was meant by it.
func roughly(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Millisecond)
	}
}

// interrupt ends a call whose answer nobody wants. A process that ends it
// within the grace lives on.
func (w *worker) interrupt(cause error, id string, writing bool) error {
	if !writing {
		// A full or closed pipe: the kill below will do.
		_ = w.send(append(append([]byte("cancel "), id...), '\n'))
		if _, ok := w.await(w.pool.opt.Grace); ok {
			return interrupted(cause)
		}
	}
	w.kill()
	w.await(killWait)
	return interrupted(cause)
}

// await waits for the end of the call.
func (w *worker) await(most time.Duration) (outcome, bool) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case o := <-w.done:
		return o, true
	case <-timer.C:
		return outcome{}, false
	}
}

// begin puts a call in flight.
func (w *worker) begin(in *runnel.Invocation) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.call != nil {
		return false
	}
	w.out.begin(in.ID, in.Flow)
	w.call = in
	w.calls++
	return true
}

// send writes without waiting. EAGAIN says that the pipe is full, and
// w.toWrite is what did not fit.
func (w *worker) send(frame []byte) error {
	w.toWrite, w.writeErr = frame, nil
	if err := w.writer.Write(w.write); err != nil {
		w.writeErr = err
	}
	return w.writeErr
}

func (w *worker) writeOnce(fd uintptr) bool {
	for len(w.toWrite) > 0 {
		n, err := syscall.Write(int(fd), w.toWrite)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			w.writeErr = err
			return true
		default:
			w.toWrite = w.toWrite[n:]
		}
	}
	return true
}

// kill ends the process and its group at once.
func (w *worker) kill() {
	w.mu.Lock()
	w.stopping, w.killed = true, true
	w.mu.Unlock()
	w.proc.kill()
}

// stop asks an idle process to end, and kills it after the grace.
func (w *worker) stop() {
	w.mu.Lock()
	w.stopping = true
	exhausted := w.exhausted
	w.over = true
	w.mu.Unlock()
	if exhausted {
		w.kill()
		return
	}
	_ = w.send([]byte("drain\n"))
	_ = w.pipes.in.Close()
	go func() {
		timer := time.NewTimer(w.pool.opt.Grace)
		defer timer.Stop()
		select {
		case <-w.ended:
		case <-timer.C:
			w.kill()
		}
	}()
}
