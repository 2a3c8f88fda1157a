package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
)

// DefaultMaxAccepted is AcceptConfig.Max where nothing is said.
const DefaultMaxAccepted = 10_000

// lookAgain is how often a stage looks whether a full queue has room again.
const lookAgain = 100 * time.Millisecond

// AcceptConfig is the first stage of a flow with runnel.AckWhenAccepted. The
// flow itself has the queue for its source.
type AcceptConfig struct {
	// Flow is valid, and has its defaults.
	Flow runnel.Flow
	// Source is what Flow.From names.
	Source runnel.Source
	// Queue is where accepted messages go, Name what it is called, and Depth how
	// many it holds.
	Queue runnel.Sink
	Name  string
	Depth func() int64
	// Max is how many messages the queue may hold: while there are as many,
	// nothing is received. Default DefaultMaxAccepted.
	Max int64
	// Log gets one line when a station fails, and one when it works again.
	Log *slog.Logger
}

// Acceptor takes messages from a source to a queue of the flow's own, and only
// then settles them: in one commit where the source lives with the queue.
// Without that a crash between the two accepts a message again. It calls no
// function, and takes no slot.
//
// Accepted messages keep their id, key, attributes and trace. The time when they
// were sent is that of their acceptance, attempts begin at 1, and in a FIFO queue
// they have a deduplication id of ours: one that was redriven is no duplicate.
type Acceptor struct {
	cfg        AcceptConfig
	log        *slog.Logger
	transactor runnel.Transactor // nil: there is no one commit
	accepted   atomic.Uint64
	resumed    chan struct{} // capacity 1: it should look again

	mu     sync.Mutex // guards all below
	paused bool
	full   bool   // the queue holds as much as it may
	code   string // "source" or "settle": what fails, "" if nothing
	err    error  // and how
	since  time.Time
}

// NewAcceptor returns a stage that is ready to run.
func NewAcceptor(cfg AcceptConfig) *Acceptor {
	if cfg.Max <= 0 {
		cfg.Max = DefaultMaxAccepted
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	a := &Acceptor{cfg: cfg, log: cfg.Log.With("flow", cfg.Flow.Name, "queue", cfg.Name), resumed: make(chan struct{}, 1)}
	if t, ok := cfg.Source.(runnel.Transactor); ok && t.Joins(cfg.Queue) {
		a.transactor = t
	}
	return a
}

// Run accepts messages until ctx ends. It returns nil then, and otherwise why
// the source is no more.
func (a *Acceptor) Run(ctx context.Context) error {
	for failed := 0; ; {
		room := a.waitForRoom(ctx)
		if room == 0 {
			return nil
		}
		code := "source"
		ds, err := a.cfg.Source.Receive(ctx, runnel.Limits{Messages: room, Bytes: maxParkedBytes, Wait: receiveWait})
		switch {
		case ctx.Err() != nil && len(ds) == 0:
			return nil
		case errors.Is(err, runnel.ErrClosed), runnel.CodeOf(err) == runnel.CodeNotFound:
			return err
		case err == nil && len(ds) > 0:
			code = "settle"
			// What was received is not left half-way: a commit is short.
			err = a.take(context.WithoutCancel(ctx), ds)
		}
		if err == nil {
			failed = 0
			a.works()
			continue
		}
		failed++
		wait := backOff(100*time.Millisecond, 30*time.Second, failed)
		a.fails(code, err, wait)
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// waitForRoom waits until something may be accepted, and says how many; 0 when
// ctx has ended.
func (a *Acceptor) waitForRoom(ctx context.Context) int {
	for ctx.Err() == nil {
		room := a.cfg.Max - a.cfg.Depth()
		a.mu.Lock()
		paused := a.paused
		a.full = room <= 0
		a.mu.Unlock()
		if room > 0 && !paused {
			return int(min(room, maxReceive))
		}
		var look <-chan time.Time // a queue does not tell when it has room
		if !paused {
			look = time.After(lookAgain)
		}
		select {
		case <-ctx.Done():
		case <-a.resumed:
		case <-look:
		}
	}
	return 0
}

// take accepts deliveries, or gives them all back.
func (a *Acceptor) take(ctx context.Context, ds []runnel.Delivery) error {
	a.mu.Lock()
	paused := a.paused
	a.mu.Unlock()
	if paused { // since they were asked for
		return a.release(ctx, ds, 0)
	}
	for len(ds) > 0 {
		lost, refused, err := a.store(ctx, ds)
		if err != nil {
			return errors.Join(err, a.release(ctx, ds, 0))
		}
		if len(lost)+len(refused) == 0 {
			a.accepted.Add(uint64(len(ds)))
			return nil
		}
		var left, back []runnel.Delivery
		for i := range ds {
			switch {
			case lost[i] != nil: // somebody else has it
			case refused[i] != nil:
				a.log.Error("an accepted message cannot be stored, it is given back to the source", "message", ds[i].ID, "after", unsendable, "err", refused[i])
				back = append(back, ds[i])
			default:
				left = append(left, ds[i])
			}
		}
		if err := a.release(ctx, back, unsendable); err != nil {
			return errors.Join(err, a.release(ctx, left, 0))
		}
		ds = left
	}
	return nil
}

// store puts deliveries into the queue and settles them. Where it says that some
// are lost or refused, nothing happened to any.
func (a *Acceptor) store(ctx context.Context, ds []runnel.Delivery) (lost, refused map[int]error, err error) {
	acks, ms := make([]runnel.Settlement, len(ds)), make([]runnel.Message, len(ds))
	for i := range ds {
		acks[i] = runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Ack}
		m := ds[i].Message
		m.Delay, m.DeadLetter = -1, nil
		m.DedupID = fmt.Sprintf("%s/accepted/%d", m.ID, ds[i].Position)
		ms[i] = m
	}
	if a.transactor == nil {
		return a.storeFirst(ctx, ms, acks)
	}
	txn, err := a.transactor.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer txn.Abort()
	var unsettled *runnel.SettleError
	var unsent *runnel.SendError
	err = txn.Settle(acks)
	if err == nil {
		err = txn.Send(a.cfg.Queue, ms)
	}
	if err == nil {
		err = txn.Commit(ctx)
	}
	switch {
	case errors.As(err, &unsettled):
		return unsettled.Failed, nil, nil
	case errors.As(err, &unsent):
		return nil, unsent.Failed, nil
	}
	return nil, nil, err
}

// storeFirst is store where the source lives elsewhere. What the queue has, and
// whose settlement fails, comes again.
func (a *Acceptor) storeFirst(ctx context.Context, ms []runnel.Message, acks []runnel.Settlement) (lost, refused map[int]error, err error) {
	var unsent *runnel.SendError
	err = a.cfg.Queue.Send(ctx, ms)
	if err != nil && !errors.As(err, &unsent) {
		return nil, nil, err
	}
	settled := acks[:0:0]
	for i := range acks {
		if unsent == nil || unsent.Failed[i] == nil {
			settled = append(settled, acks[i])
			continue
		}
		s := acks[i]
		s.Verdict, s.After = runnel.Release, unsendable
		a.log.Error("an accepted message cannot be stored, it is given back to the source", "message", ms[i].ID, "after", unsendable, "err", unsent.Failed[i])
		settled = append(settled, s)
	}
	var unsettled *runnel.SettleError
	if err := a.cfg.Source.Settle(ctx, settled); err != nil && !errors.As(err, &unsettled) {
		return nil, nil, err
	}
	return nil, nil, nil
}

// release gives deliveries back. Leases that were lost are nobody's trouble.
func (a *Acceptor) release(ctx context.Context, ds []runnel.Delivery, after time.Duration) error {
	if len(ds) == 0 {
		return nil
	}
	back := make([]runnel.Settlement, len(ds))
	for i := range ds {
		back[i] = runnel.Settlement{Delivery: &ds[i], Verdict: runnel.Release, After: after}
	}
	var lost *runnel.SettleError
	if err := a.cfg.Source.Settle(ctx, back); err != nil && !errors.As(err, &lost) {
		return err
	}
	return nil
}

// Pause ends the intake, Resume starts it again.
func (a *Acceptor) Pause() { a.setPaused(true) }

// Resume ends a pause.
func (a *Acceptor) Resume() { a.setPaused(false) }

func (a *Acceptor) setPaused(paused bool) {
	a.mu.Lock()
	a.paused = paused
	a.mu.Unlock()
	select {
	case a.resumed <- struct{}{}:
	default:
	}
}

// Accepted is how many messages were accepted since the stage was made.
func (a *Acceptor) Accepted() uint64 { return a.accepted.Load() }

// Explain says why nothing is accepted; that it is paused the flow says.
func (a *Acceptor) Explain() []Reason {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Reason
	if a.full {
		out = append(out, Reason{"accepted", int(a.cfg.Depth()), fmt.Sprintf("the flow's own queue %s holds %d messages that were accepted, as many as it may: nothing is accepted until the function has done some", a.cfg.Name, a.cfg.Depth())})
	}
	if a.err != nil {
		out = append(out, Reason{a.code, 0, fmt.Sprintf("nothing is accepted since %s: %v", a.since.UTC().Format(time.RFC3339), a.err)})
	}
	return out
}

// fails notes that a station fails, and tells an operator when it begins to.
func (a *Acceptor) fails(code string, err error, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.since = time.Now()
		a.log.Warn("nothing can be accepted, it is tried again", "after", wait, "err", err)
	}
	a.code, a.err = code, err
}

// works notes that nothing fails.
func (a *Acceptor) works() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		a.log.Info("messages are accepted again", "for", time.Since(a.since).Round(time.Millisecond))
		a.code, a.err = "", nil
	}
}
