package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
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

// wire is how the host speaks with one process. Each call of it is a slot's,
// and a slot has one call at a time.
type wire interface {
	// start tells the process to load its code.
	start()
	// prepare encodes a call, or says what is wrong with it. until is its
	// deadline in Unix milliseconds, 0 meaning none.
	prepare(s *slot, in *runnel.Invocation, until int64) error
	// send hands over the call that was prepared. Where it is not yet all
	// handed over when send returns, written is closed when it is.
	send(s *slot) (written chan struct{})
	// reached says whether the process has seen anything of the slot's call.
	reached(s *slot) bool
	// cancel says that nobody waits for a call any more.
	cancel(id string)
	// drain tells the process to end.
	drain()
	// read handles what the process says until it says no more. The error is
	// nil or io.EOF at a clean end.
	read() error
	// exited is told that the process has ended: what it wrote is still read.
	exited()
	close()
}

// worker is one process and the host's side of it.
type worker struct {
	pool *Pool
	name string
	proc *process
	out  *output
	temp string
	born time.Time
	wire wire
	pass Pass
	mask *mask // of Program.Mask and Pass.Mask

	loaded chan error    // gets one value: nil when ready, or why not
	ended  chan struct{} // closed when everything of the process is gone
	gone   atomic.Bool   // the process has ended; set before the pool is told
	slots  []*slot       // as many as it may have calls in flight

	mu        sync.Mutex
	flying    int  // calls in flight
	over      bool // no call can begin
	stopping  bool // it was told to end, or is being killed
	killed    bool // by us
	exhausted bool // it ran out of memory, and is not to be used again
	calls     int  // begun on this process
	// dying is why it is being killed though the calls in flight are not to
	// blame: they are interrupted.
	dying error

	// weighed is when its memory was looked at last, in Unix nanoseconds.
	weighed atomic.Int64

	// Pool.mu guards what follows.
	free    []*slot // not taken
	listed  bool    // takes calls: counted in Pool.size
	inReady bool    // is in Pool.ready
	since   time.Time
	worn    bool // shall be replaced: counted in Pool.worn
	leaving bool // takes no more calls, and ends after those that it has
	// alone is not nil when a call is to be, or is, alone on the process, and
	// closed when it is.
	alone chan struct{}
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
		pool: p, temp: temp, name: "w" + strconv.FormatInt(numbers.Add(1), 10), born: time.Now(),
		loaded: make(chan error, 1), ended: make(chan struct{}),
	}
	for range p.prog.Concurrency {
		w.slots = append(w.slots, newSlot(w))
	}
	w.free = append(w.free, w.slots...)
	w.usePass()
	limits, err := w.spawn()
	if err != nil {
		w.pass.end()
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
	served := w.pool.opt.API != nil && isolates(prog)
	if served {
		c.ports = append(c.ports, apiPort)
		more = prog.apiAt("http://127.0.0.1:" + strconv.Itoa(apiPort))
	}
	var api *runtimeAPI
	undo := pipes.close
	if prog.Transport == runnel.TransportRuntimeAPI {
		if api, err = newRuntimeAPI(w, &c); err != nil {
			undo()
			return nil, err
		}
		more = append(more, api.env()...)
		undo = func() {
			pipes.close()
			api.close()
		}
	}
	c.env = prog.environment(w.name, w.temp, append(w.pass.Env[:len(w.pass.Env):len(w.pass.Env)], more...)...)
	rules, hidden, err := hide(prog, &c)
	if err != nil {
		undo()
		return nil, err
	}
	if rules != nil {
		c.rules = int(rules.Fd())
		defer rules.Close()
	}
	stamp := Line{Function: prog.Function, Version: prog.Version, Worker: w.name}
	w.out, err = newOutput(w.pool.opt.Log, stamp, w.mask, pipes.stdout, pipes.stderr)
	if err == nil && api == nil {
		w.wire, err = newFrames(w, pipes)
	}
	if err == nil {
		w.proc, err = spawn(&c)
	}
	if err != nil {
		undo()
		return nil, fmt.Errorf("starting %s: %w", prog.Args[0], err)
	}
	pipes.closeChild()
	if served {
		go w.pool.opt.API(w.proc.listeners[0])
	}
	if api != nil {
		pipes.closeFrames()
		if api.listener == nil {
			api.listener = w.proc.listeners[len(w.proc.listeners)-1]
		}
		w.wire = api
	}
	limits := append(w.proc.limit(prog), hidden...)
	limits = append(limits, limitTemp(prog, c.private))
	if api != nil {
		var guarded Limit
		api.listener, guarded = w.proc.guard(api.listener)
		limits = append(limits, guarded)
	}
	return limits, nil
}

// load tells the process to load its code, and waits for its word.
func (w *worker) load(ctx context.Context) error {
	timeout := w.pool.prog.StartTimeout
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	w.wire.start()
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

// ready is said by the wire, once.
func (w *worker) ready() {
	w.out.end()
	w.loaded <- nil
}

// single says whether the process has one call at a time, so that what it
// prints during the call is the call's.
func (w *worker) single() bool { return len(w.slots) == 1 }

// slotOf returns the slot whose call in flight has the id, or nil.
func (w *worker) slotOf(id []byte) *slot {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.slots {
		if s.call != nil && s.call.ID == string(id) {
			return s
		}
	}
	return nil
}

// finish ends a call that the process answered. It says false if the call had
// ended already.
func (w *worker) finish(s *slot, o outcome) bool {
	w.mask.outcome(&o)
	if w.single() {
		w.out.end()
	}
	exhausted := isOutOfMemory(o.err)
	for i := range o.answers {
		exhausted = exhausted || isOutOfMemory(o.answers[i].Err)
	}
	w.mu.Lock()
	w.exhausted = w.exhausted || exhausted
	if s.call == nil {
		w.mu.Unlock()
		return false
	}
	s.call = nil
	w.flying--
	w.act()
	w.mu.Unlock()
	s.done <- o
	return true
}

func isOutOfMemory(err error) bool {
	var e *runnel.FunctionError
	return errors.As(err, &e) && e.Kind == runnel.KindOutOfMemory
}

// kill ends the process and its group at once.
func (w *worker) kill() {
	w.mu.Lock()
	w.stopping, w.killed = true, true
	w.mu.Unlock()
	w.proc.high()
	w.proc.kill()
}

// condemn kills the process for a reason that is one call's, or nobody's: the
// other calls in flight are interrupted.
func (w *worker) condemn(reason error) {
	w.mu.Lock()
	if w.dying == nil {
		w.dying = reason
	}
	w.mu.Unlock()
	w.kill()
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
	w.proc.high()
	w.wire.drain()
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
