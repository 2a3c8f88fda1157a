package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/envelope"
	"github.com/runnel-io/runnel/internal/queue"
)

// flowRecord is a flow as it is stored.
type flowRecord struct {
	Account string      `json:"account"`
	Flow    runnel.Flow `json:"flow"`
	// File is the spec file that owns the flow, "" if it was made by the API.
	File string `json:"file,omitempty"`
	// Paused is remembered across restarts.
	Paused bool `json:"paused,omitempty"`
	// Listener is what the flow is to clients of Algorithmia, nil if it was not
	// made by one.
	Listener *listener `json:"listener,omitempty"`
}

func (r flowRecord) name() string { return r.Account + "/" + r.Flow.Name }

// flow is one flow that runs: its references are opened, and opened again when
// its source is no more, or one of its queues was made anew.
type flow struct {
	open  func(ctx context.Context) (*opened, error)
	log   *slog.Logger
	stop  context.CancelFunc
	done  chan struct{} // closed when it has ended
	again chan struct{} // capacity 1: what it waits for may be there by now

	mu       sync.Mutex // guards all below
	rec      flowRecord // its Flow never changes, who owns it may
	paused   bool
	dispatch *dispatch.Flow     // nil until it was opened
	accept   *dispatch.Acceptor // nil until then, and with ack: done
	err      error              // why it does not run
	draining bool
}

// opened is a flow with what its references stood for.
type opened struct {
	*dispatch.Flow
	accept *dispatch.Acceptor // its first stage; nil with ack: done
	// remade says whether one of them stands for another queue by now: one that
	// was deleted and made again.
	remade func() bool
}

// How long a flow that failed waits before it is opened again.
const (
	firstReopen = time.Second
	lastReopen  = 30 * time.Second
)

// lookEvery is how often a flow looks whether its queues are those that it
// opened.
const lookEvery = 2 * time.Second

// errRemade ends a flow that is to be opened again.
var errRemade = errors.New("a queue of the flow was made anew")

// run keeps the flow running until ctx ends and it has drained.
func (f *flow) run(ctx context.Context) {
	defer close(f.done)
	stop := context.AfterFunc(ctx, func() {
		f.mu.Lock()
		f.draining = true
		f.mu.Unlock()
	})
	defer stop()
	for wait := firstReopen; ; wait = min(2*wait, lastReopen) {
		started := time.Now()
		err := f.once(ctx)
		switch {
		case ctx.Err() != nil:
			if err != nil {
				f.log.Error("flow ended badly", "err", err)
			}
			return
		case errors.Is(err, errRemade):
			f.log.Info("flow is opened again", "err", err)
			wait = firstReopen / 2
			continue
		}
		if time.Since(started) > time.Minute {
			wait = firstReopen
		}
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		f.log.Error("flow does not run, it is opened again", "after", wait, "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-f.again:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// once opens the flow and runs it until ctx ends, its source does, or a queue
// of it was made anew.
func (f *flow) once(ctx context.Context) error {
	select {
	case <-f.again: // what it told of is seen now
	default:
	}
	d, err := f.open(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.dispatch, f.accept, f.err = d.Flow, d.accept, nil
	if f.paused {
		d.pause()
	}
	f.mu.Unlock()
	running, end := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for !d.remade() {
			select {
			case <-running.Done():
				return
			case <-f.again:
			case <-tick.C:
			}
		}
		end(errRemade)
	})
	if d.accept != nil {
		looking.Go(func() {
			if err := d.accept.Run(running); err != nil {
				end(&sourceEnded{err})
			}
		})
	}
	err = d.Run(running)
	var source *sourceEnded
	if errors.As(context.Cause(running), &source) {
		err = errors.Join(source.err, err)
	}
	remade := context.Cause(running) == errRemade //nolint:errorlint // it is this one or another's
	end(nil)
	looking.Wait()
	switch {
	case ctx.Err() != nil:
		return err
	case remade:
		return errors.Join(errRemade, err)
	case err == nil:
		return errors.New("its source ended")
	}
	return err
}

// sourceEnded ends a flow whose first stage has no source any more.
type sourceEnded struct{ err error }

func (e *sourceEnded) Error() string { return e.err.Error() }

// pause ends the intake of both stages.
func (o *opened) pause() {
	if o.accept != nil {
		o.accept.Pause()
	}
	o.Pause()
}

// wake lets the flow look again at what it was opened with, or could not be.
func (f *flow) wake() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// record returns the flow as it is stored, but for Paused.
func (f *flow) record() flowRecord {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rec
}

// own says whose the flow is by now: a spec file's, or nobody's, and what it is
// to clients of Algorithmia.
func (f *flow) own(rec flowRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rec.File, f.rec.Listener = rec.File, rec.Listener
}

// pause pauses or resumes the flow, also if it does not run at the moment.
func (f *flow) pause(paused bool) {
	f.mu.Lock()
	f.paused = paused
	d, accept := f.dispatch, f.accept
	f.mu.Unlock()
	if d == nil {
		return
	}
	both := opened{Flow: d, accept: accept}
	if paused {
		both.pause()
		return
	}
	if accept != nil {
		accept.Resume()
	}
	d.Resume()
}

// now returns what runs, and why it does not.
func (f *flow) now() (d *dispatch.Flow, state string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.draining:
		state = "draining"
	case f.err != nil:
		state = "failed"
	case f.paused:
		state = "paused"
	default:
		state = "running"
	}
	return f.dispatch, state, f.err
}

// accepts returns the first stage of a flow that acks what it has accepted, nil
// for others.
func (f *flow) accepts() *dispatch.Acceptor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accept
}

// open returns the flow of a record, with what its references stand for.
func (fs *flows) open(ctx context.Context, rec flowRecord) (*opened, error) {
	cfg := dispatch.Config{
		Flow:         rec.Flow.WithDefaults(),
		Slots:        fs.slots(rec.Account),
		DrainTimeout: fs.drain,
		Log:          fs.logger(rec.Account),
	}
	if err := fs.useRefs(ctx, rec); err != nil {
		return nil, err
	}
	remade, err := fs.watchRefs(rec)
	if err != nil {
		return nil, err
	}
	broker := fs.queues.Broker(rec.Account)
	if cfg.Source, err = openRef(rec.Flow.From, broker.Source); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if cfg.Flow.Order == "" {
		cfg.Flow.Order = runnel.OrderNone
		if o, ok := cfg.Source.(runnel.Ordered); ok {
			cfg.Flow.Order = o.Order()
		}
	}
	for _, to := range rec.Flow.To {
		sink, err := openRef(to, broker.Sink)
		if err != nil {
			return nil, fmt.Errorf("to: %w", err)
		}
		cfg.Sinks = append(cfg.Sinks, sink)
	}
	if cfg.DeadLetter, err = openRef(rec.Flow.DeadLetter, broker.Sink); err != nil {
		return nil, fmt.Errorf("dead_letter: %w", err)
	}
	if cfg.Handler = fs.functions.goHandler(rec.Flow.Call); cfg.Handler == nil {
		if cfg.Capacity, err = fs.function(ctx, rec, cfg.Flow); err != nil {
			return nil, fmt.Errorf("call: %w", err)
		}
	}
	var accept *dispatch.Acceptor
	if rec.Flow.Ack == runnel.AckWhenAccepted {
		var q *queue.Queue
		if accept, q, err = fs.acceptor(ctx, rec, cfg.Flow, cfg.Source); err != nil {
			return nil, at("ack", err)
		}
		cfg.Source = q.Source()
	}
	d, err := dispatch.New(cfg)
	if err != nil {
		return nil, err
	}
	return &opened{d, accept, remade}, nil
}

// useRefs makes the queues of a flow that are missing and have a template. What
// is missing besides is told by who opens it.
func (fs *flows) useRefs(ctx context.Context, rec flowRecord) error {
	for _, ref := range append([]runnel.Ref{rec.Flow.From, rec.Flow.DeadLetter}, rec.Flow.To...) {
		if _, err := openRef(ref, fs.queueOf(ctx, rec.Account)); err != nil && runnel.CodeOf(err) == runnel.CodeInternal {
			return err
		}
	}
	return nil
}

// watchRefs returns what says whether a reference of the flow stands for
// another queue than now. It looks before the references are opened, so that
// what is made in between is noticed.
func (fs *flows) watchRefs(rec flowRecord) (remade func() bool, err error) {
	now := make(map[queue.Name]*queue.Queue)
	for _, ref := range append([]runnel.Ref{rec.Flow.From, rec.Flow.DeadLetter}, rec.Flow.To...) {
		_, short, err := ref.Split()
		if err != nil {
			return nil, err
		}
		name := queue.Name{Account: rec.Account, Queue: short}
		if q, err := fs.queues.Queue(name); err == nil {
			now[name] = q
		}
	}
	return func() bool {
		for name, then := range now {
			// One that is no more is trouble, which the flow tells of itself.
			if q, err := fs.queues.Queue(name); err == nil && q != then {
				return true
			}
		}
		return false
	}, nil
}

// openRef opens a reference to one of our own queues, the only ones of this
// release.
func openRef[T any](ref runnel.Ref, open func(string) (T, error)) (T, error) {
	var none T
	kind, rest, err := ref.Split()
	if err != nil {
		return none, err
	}
	if kind != "queue" {
		return none, runnel.Errorf(runnel.CodeUnsupported, "%s: there is no connector %q in this release, only queue", ref, kind)
	}
	return open(rest)
}

// function returns what gives a flow its places for calls.
func (fs *flows) function(ctx context.Context, rec flowRecord, f runnel.Flow) (runnel.Capacity, error) {
	if _, _, err := fs.functions.set.Resolve(f.Call); err != nil {
		return nil, err
	}
	id, err := accountID(ctx, fs.catalog, rec.Account)
	if err != nil {
		return nil, err
	}
	cfg := envelope.Config{
		Flow: f.Name, Caller: &runnel.Principal{Account: rec.Account, ID: id, Permissions: runnel.AllPermissions()}, Payload: f.Payload, List: f.Batch.As == "list", Split: f.Split,
		ReportBatchItemFailures: f.ReportBatchItemFailures,
		Function:                callee{fs.functions.set, f.Call},
		Region:                  fs.region,
	}
	if q, err := fs.source(rec); err == nil {
		cfg.Source = fs.arn(ctx, q.Name())
	}
	return envelope.New(cfg), nil
}

// source returns the queue that a flow reads from.
func (fs *flows) source(rec flowRecord) (*queue.Queue, error) {
	_, name, err := rec.Flow.From.Split()
	if err != nil {
		return nil, err
	}
	return fs.queues.Queue(queue.Name{Account: rec.Account, Queue: name})
}

// callee is a function of a set, by its reference.
type callee struct {
	set interface {
		Acquire(ctx context.Context, ref string) (runnel.Place[runnel.Invoker], error)
	}
	ref string
}

func (c callee) Acquire(ctx context.Context) (runnel.Place[runnel.Invoker], error) {
	return c.set.Acquire(ctx, c.ref)
}
