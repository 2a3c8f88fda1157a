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
}

func (r flowRecord) name() string { return r.Account + "/" + r.Flow.Name }

// flow is one flow that runs: its references are opened, and opened again when
// its source is no more.
type flow struct {
	rec  flowRecord
	make func() (*dispatch.Flow, error)
	log  *slog.Logger
	stop context.CancelFunc
	done chan struct{} // closed when it has ended

	mu       sync.Mutex // guards all below
	paused   bool
	dispatch *dispatch.Flow // nil until it was opened
	err      error          // why it does not run
	draining bool
}

// How long a flow that failed waits before it is opened again.
const (
	firstReopen = time.Second
	lastReopen  = 30 * time.Second
)

// run keeps the flow running until ctx ends and it has drained.
func (f *flow) run(ctx context.Context) {
	defer close(f.done)
	for wait := firstReopen; ; wait = min(2*wait, lastReopen) {
		started := time.Now()
		err := f.once(ctx)
		if ctx.Err() != nil {
			if err != nil {
				f.log.Error("flow ended badly", "err", err)
			}
			return
		}
		if time.Since(started) > time.Minute {
			wait = firstReopen
		}
		f.mu.Lock()
		f.err = err
		f.mu.Unlock()
		f.log.Error("flow does not run, it is opened again", "after", wait, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (f *flow) once(ctx context.Context) error {
	d, err := f.make()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.dispatch, f.err = d, nil
	if f.paused {
		d.Pause()
	}
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		f.draining = true
		f.mu.Unlock()
	})
	if err := d.Run(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errors.New("its source ended")
	}
	return nil
}

// pause pauses or resumes the flow, also if it does not run at the moment.
func (f *flow) pause(paused bool) {
	f.mu.Lock()
	f.paused = paused
	d := f.dispatch
	f.mu.Unlock()
	switch {
	case d == nil:
	case paused:
		d.Pause()
	default:
		d.Resume()
	}
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

// open returns the flow of a record, with what its references stand for.
func (fs *flows) open(rec flowRecord) (*dispatch.Flow, error) {
	cfg := dispatch.Config{
		Flow:         rec.Flow.WithDefaults(),
		Slots:        fs.slots(rec.Account),
		DrainTimeout: fs.drain,
		Log:          fs.log,
	}
	if cfg.Flow.Order == "" {
		cfg.Flow.Order = runnel.OrderNone // all sources of this release are standard queues
	}
	broker := fs.queues.Broker(rec.Account)
	var err error
	if cfg.Source, err = openRef(rec.Flow.From, broker.Source); err != nil {
		return nil, fmt.Errorf("from: %w", err)
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
		if cfg.Capacity, err = fs.function(rec, cfg.Flow); err != nil {
			return nil, fmt.Errorf("call: %w", err)
		}
	}
	return dispatch.New(cfg)
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
func (fs *flows) function(rec flowRecord, f runnel.Flow) (runnel.Capacity, error) {
	if _, _, err := fs.functions.set.Resolve(f.Call); err != nil {
		return nil, err
	}
	cfg := envelope.Config{
		Flow: f.Name, Payload: f.Payload, List: f.Batch.As == "list", Split: f.Split,
		ReportBatchItemFailures: f.ReportBatchItemFailures,
		Function:                callee{fs.functions.set, f.Call},
		Region:                  fs.region,
	}
	if q, err := fs.source(rec); err == nil {
		cfg.Source = fs.arn(q.Name())
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
