package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
)

// ErrStopping is the cause of a call's context when the flow ends before it
// did.
var ErrStopping = errors.New("the flow is stopping")

// Config is a flow with what its references stand for.
type Config struct {
	// Flow is valid, and has its defaults.
	Flow runnel.Flow
	// Source is what Flow.From names.
	Source runnel.Source
	// Sinks are what Flow.To names, one for each.
	Sinks []runnel.Sink
	// DeadLetter is what Flow.DeadLetter names; nil if the source has a
	// dead-letter place of its own.
	DeadLetter runnel.Sink
	// Handler answers, or Capacity is asked for who does before each call: one
	// of the two. A Handler that is a runnel.Capacity is asked as well.
	Handler  runnel.Handler
	Capacity runnel.Capacity
	// Slots are the calls that the account may have under way. nil: no limit
	// but the flow's own.
	Slots *Slots
	// DrainTimeout is how long calls under way may take once the flow is told
	// to stop. Default 10s.
	DrainTimeout time.Duration
	// Log gets one line per failure of a message, with what was decided.
	Log *slog.Logger
}

// Flow runs one flow. Make one with New, and run it once.
type Flow struct {
	cfg    Config
	flow   runnel.Flow // cfg.Flow
	log    *slog.Logger
	filter *filter
	// What the source and the handler can do besides, or nil.
	extender   runnel.Extender
	transactor runnel.Transactor
	capacity   runnel.Capacity
	timeout    time.Duration // of a call, where there is no capacity that says it
	joined     []bool        // by sink: what is sent there is part of the one commit
	deadJoined bool
	nonce      string        // with a counter, the ids of invocations
	roomFree   chan struct{} // capacity 1: the intake should look again
	calls      sync.WaitGroup
	work       context.Context // of all calls; ends at the end of a drain
	endWork    context.CancelCauseFunc
	stats      counters
	invoked    atomic.Uint64
	troubled   atomic.Int64 // len(trouble)

	mu        sync.Mutex // guards all below
	started   bool
	paused    bool
	draining  bool
	ready     itemList         // may be called as soon as there is a slot
	lines     map[string]*line // of keys with a message inside, or away
	waiting   int              // messages in lines
	parked    int              // bytes of ready and waiting
	away      int              // messages that were given back for their order
	asked     time.Time        // when the last receive began that has ended
	called    int              // calls under way
	placing   map[*call]bool   // of them, those that wait for a place
	settling  int              // messages whose results are being stored, or that are given back
	restUntil time.Time        // nothing is received before: nobody can be called
	leases    leaseHeap
	keeperDue time.Time     // when the keeper of leases looks next
	leaseWake chan struct{} // capacity 1: it should look now
	windowed  *time.Timer   // for a batch to fill
	rested    *time.Timer   // for restUntil
	failures  map[runnel.MessageID]failures
	latest    GivenBack
	trouble   map[string]trouble // what keeps the flow from moving, by station
}

// trouble is why a station fails again and again.
type trouble struct {
	err      error
	since    time.Time
	times    int
	nextLine time.Time // when an operator is told again
}

// failures are those of one message, where its source does not count them.
type failures struct {
	n     int
	first time.Time
}

// New returns a flow that is ready to run, or says what is wrong with its
// filter.
func New(cfg Config) (*Flow, error) {
	if len(cfg.Sinks) != len(cfg.Flow.To) {
		return nil, fmt.Errorf("flow %s: %d sinks for %d references", cfg.Flow.Name, len(cfg.Sinks), len(cfg.Flow.To))
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	f := &Flow{
		cfg: cfg, flow: cfg.Flow, log: cfg.Log.With("flow", cfg.Flow.Name, "function", cfg.Flow.Call),
		roomFree: make(chan struct{}, 1), leaseWake: make(chan struct{}, 1),
		lines: make(map[string]*line), placing: make(map[*call]bool), failures: make(map[runnel.MessageID]failures), trouble: make(map[string]trouble),
		joined: make([]bool, len(cfg.Sinks)),
	}
	var err error
	if f.filter, err = compileFilter(cfg.Flow.Filter); err != nil {
		return nil, &runnel.FieldError{Path: "filter", Err: err}
	}
	f.extender, _ = cfg.Source.(runnel.Extender)
	f.transactor, _ = cfg.Source.(runnel.Transactor)
	if f.capacity = cfg.Capacity; f.capacity == nil {
		f.capacity, _ = cfg.Handler.(runnel.Capacity)
		if h, ok := cfg.Handler.(runnel.Timed); ok {
			f.timeout = h.Timeout()
		}
	}
	if f.transactor != nil {
		for i, sink := range cfg.Sinks {
			f.joined[i] = f.transactor.Joins(sink)
		}
		f.deadJoined = cfg.DeadLetter != nil && f.transactor.Joins(cfg.DeadLetter)
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	f.nonce = hex.EncodeToString(nonce[:])
	return f, nil
}

// Features are what was found that the source, the sinks and the handler can
// do besides, in words.
func (f *Flow) Features() []string {
	var out []string
	if f.extender != nil {
		out = append(out, "leases are kept")
	}
	if _, ok := f.cfg.Source.(runnel.Backlogger); ok {
		out = append(out, "depth")
	}
	one := f.transactor != nil && (f.cfg.DeadLetter == nil || f.deadJoined)
	for _, joined := range f.joined {
		one = one && joined
	}
	if one {
		out = append(out, "one commit")
	}
	if f.capacity != nil {
		out = append(out, "versions")
	}
	if f.ordered() {
		out = append(out, "order by "+string(f.flow.Order))
	}
	return out
}

// Run takes messages through the flow until ctx ends, then drains it: calls
// under way may end until the drain timeout, what only waited is released. It
// returns nil after a drain, and otherwise why the source is no more.
//
// The source and the sinks stay open: whoever opened them closes them.
func (f *Flow) Run(ctx context.Context) error {
	f.mu.Lock()
	if f.started {
		f.mu.Unlock()
		return errors.New("the flow has been run")
	}
	f.started = true
	f.mu.Unlock()
	f.work, f.endWork = context.WithCancelCause(context.WithoutCancel(ctx))
	keeper, endKeeper := context.WithCancel(f.work)
	kept := make(chan struct{}) // closed when the keeper has ended
	go func() {
		defer close(kept)
		f.keepLeases(keeper)
	}()
	err := f.intake(ctx)
	if late := f.drain(); err == nil {
		err = late
	}
	endKeeper()
	<-kept
	return err
}

// cutTimeout is how long calls may go on whose context was ended: workers are
// killed, and a Go handler should have noticed.
const cutTimeout = 5 * time.Second

// drain releases what waits, and waits for the calls under way.
func (f *Flow) drain() error {
	f.mu.Lock()
	f.draining = true
	if f.windowed != nil {
		f.windowed.Stop()
	}
	if f.rested != nil {
		f.rested.Stop()
	}
	f.concludeSoon(f.unpark(time.Now()))
	for c := range f.placing { // they have not begun
		c.cancel(ErrStopping)
	}
	f.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		f.calls.Wait()
		close(ended)
	}()
	timeout := time.NewTimer(f.cfg.DrainTimeout)
	defer timeout.Stop()
	defer f.endWork(ErrStopping)
	select {
	case <-ended:
		return nil
	case <-timeout.C:
	}
	f.endWork(ErrStopping)
	timeout.Reset(cutTimeout)
	select {
	case <-ended:
		return nil
	case <-timeout.C:
		return fmt.Errorf("flow %s: a handler did not return %s after its context ended", f.flow.Name, cutTimeout)
	}
}

// Pause ends the intake: calls under way end, what only waited goes back to
// the source. Resume starts it again.
func (f *Flow) Pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = true
	f.concludeSoon(f.unpark(time.Now()))
}

// Resume ends a pause.
func (f *Flow) Resume() {
	f.mu.Lock()
	f.paused = false
	f.mu.Unlock()
	f.moreRoom()
}

// moreRoom lets the intake look again.
func (f *Flow) moreRoom() {
	select {
	case f.roomFree <- struct{}{}:
	default:
	}
}

// slotFree is called when the account has a free slot.
func (f *Flow) slotFree() {
	f.mu.Lock()
	f.pump()
	f.mu.Unlock()
	f.moreRoom()
	f.cfg.Slots.pass()
}
