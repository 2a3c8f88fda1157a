package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// loadRun is one load and what is counted of it. A failed call ends it: the
// figures of a load that was not carried out mean nothing.
type loadRun struct {
	opt    *loadOptions
	target loadTarget
	id     uint64    // in the stamps of this run's messages
	start  time.Time // what stamps count from
	filler []byte    // random text, of which bodies are parts

	preloadTook time.Duration
	held        int64

	sent, received, deleted atomic.Int64

	sendTimes, receiveTimes, deleteTimes, cycleTimes, wakeTimes histogram

	// recentSends are the times since the last interval; nil without --every.
	recentSends atomic.Pointer[histogram]
}

// stampBytes at the begin of a body say which run sent it and when that was
// due: 8 bytes each, in hex.
const stampBytes = 32

// fillerBytes is how much random text there is: so much that bodies repeat
// little of each other, since the store compresses.
const fillerBytes = 1 << 20

// preloadBatch is how many messages one send of a preload has, where a server
// does not set the limit.
const preloadBatch = 100

// errDrained ends the consumers when all messages were received.
var errDrained = errors.New("all messages were received")

func newLoadRun(opt *loadOptions, target loadTarget) *loadRun {
	r := &loadRun{opt: opt, target: target, id: rand.Uint64(), start: time.Now(), filler: make([]byte, fillerBytes+opt.size)}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := 0; i < len(r.filler); {
		for v, n := rand.Uint64(), 0; n < 10 && i < len(r.filler); n++ {
			r.filler[i] = letters[v&63]
			v >>= 6
			i++
		}
	}
	return r
}

// bodies are the buffers of one producer.
type bodies struct {
	r   *loadRun
	buf [][]byte
}

func (r *loadRun) bodies(most int) *bodies {
	b := &bodies{r: r, buf: make([][]byte, most)}
	for i := range b.buf {
		b.buf[i] = make([]byte, r.opt.size)
	}
	return b
}

// fill returns n bodies with random text and, if they are to be timed, the
// moment at which their send was due.
func (b *bodies) fill(n int64, due time.Time, timed bool) [][]byte {
	var stamp [stampBytes / 2]byte
	if timed {
		binary.BigEndian.PutUint64(stamp[:], b.r.id)
		binary.BigEndian.PutUint64(stamp[8:], uint64(due.Sub(b.r.start)))
	}
	for _, body := range b.buf[:n] {
		copy(body, b.r.filler[rand.IntN(fillerBytes):])
		if len(body) >= stampBytes {
			hex.Encode(body, stamp[:])
		}
	}
	return b.buf[:n]
}

// noteWake records how long a message of this run took to get here.
func (r *loadRun) noteWake(body []byte, now time.Time) {
	if len(body) < stampBytes {
		return
	}
	var stamp [stampBytes / 2]byte
	if _, err := hex.Decode(stamp[:], body[:stampBytes]); err != nil || binary.BigEndian.Uint64(stamp[:]) != r.id {
		return
	}
	r.wakeTimes.record(now.Sub(r.start) - time.Duration(binary.BigEndian.Uint64(stamp[8:])))
}

// holdFirst sends messages and receives them: they stay in flight.
func (r *loadRun) holdFirst(ctx context.Context) error {
	if r.opt.hold == 0 {
		return nil
	}
	const (
		workers  = 16
		patience = 5 * time.Second
	)
	most := int64(max(1, min(maxBatchEntries, maxBatchBytes/r.opt.size)))
	p := pacer{start: time.Now(), batch: most, messages: r.opt.hold}
	var held atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			w, b := r.target.worker(), r.bodies(int(most))
			var ts []taken
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				if err := w.send(ctx, b.fill(t.n, p.start, false)); err != nil {
					return fmt.Errorf("send what is to be held: %w", err)
				}
				for left := t.n; left > 0; left -= int64(len(ts)) {
					var err error
					// Others may have taken what this one has sent, and will
					// leave as much.
					if ts, err = w.receive(ctx, int(left), patience, ts[:0]); err != nil {
						return fmt.Errorf("receive what is to be held: %w", err)
					}
					if len(ts) == 0 {
						return fmt.Errorf("receive what is to be held: nothing came for %v, and %d messages are missing", patience, left)
					}
					held.Add(int64(len(ts)))
				}
			}
		})
	}
	err := g.Wait()
	r.held = held.Load()
	return err
}

// preload fills the backlog. What it sends is not counted.
func (r *loadRun) preload(ctx context.Context) error {
	if r.opt.preload == 0 {
		return nil
	}
	const workers = 16
	batch := int64(preloadBatch)
	if !r.opt.inProcess {
		batch = int64(max(1, min(maxBatchEntries, maxBatchBytes/r.opt.size)))
	}
	begin := time.Now()
	p := pacer{start: begin, batch: batch, messages: r.opt.preload}
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			w, b := r.target.worker(), r.bodies(int(batch))
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				if err := w.send(ctx, b.fill(t.n, begin, false)); err != nil {
					return fmt.Errorf("send the backlog: %w", err)
				}
				r.sent.Add(t.n)
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.preloadTook = time.Since(begin)
	return nil
}

// run carries out the mode and returns its figures.
func (r *loadRun) run(ctx context.Context) (*figures, error) {
	o := r.opt
	f := &figures{
		Mode: o.mode, InProcess: o.inProcess, Leases: o.leases, SizeBytes: o.size, Batch: o.batch, ReceiveBatch: o.receiveBatch,
		Producers: o.producers, Consumers: o.consumers, RateAsked: o.rate,
		PreloadMessages: o.preload, PreloadSeconds: rounded(r.preloadTook.Seconds()), Held: r.held,
		Commit: thisBuild().commit, Machine: thisMachine(), Time: time.Now().UTC().Truncate(time.Second),
	}
	r.sent.Store(0)
	var err error
	if f.Backlog, err = r.target.depth(ctx); err != nil {
		return nil, err
	}
	if err := r.target.before(ctx, f); err != nil {
		return nil, err
	}
	begin := usageNow()
	endSeries := r.startSeries(ctx)
	switch o.mode {
	case "send":
		err = r.sendOnly(ctx, f)
	case "receive":
		err = r.receiveOnly(ctx, f)
	case "cycle":
		err = r.cycle(ctx, f)
	case "loop":
		err = r.loop(ctx, f)
	case "phases":
		err = r.phases(ctx, f)
	case "poll":
		err = r.poll(ctx, f)
	}
	f.Series = endSeries()
	if err != nil {
		return nil, err
	}
	end := usageNow()
	took := end.at.Sub(begin.at)
	f.Seconds = rounded(took.Seconds())
	f.Rate = rounded(float64(f.Messages) / took.Seconds())
	if cpu := per(float64((end.cpu - begin.cpu).Microseconds()), f.Messages); cpu != nil {
		f.CPU = *cpu
	}
	if o.inProcess {
		if begin.written >= 0 {
			f.WrittenBytes = per(float64(end.written-begin.written), f.Messages)
		}
		f.Allocs = per(float64(end.allocs-begin.allocs), f.Messages)
		f.AllocBytes = per(float64(end.allocBytes-begin.allocBytes), f.Messages)
	}
	f.Wake = r.wakeTimes.latency()
	now, most := residentBytes()
	f.RSS, f.PeakRSS = max(now, 0), max(most, 0)
	return f, r.target.after(ctx, f)
}

func (r *loadRun) sendOnly(ctx context.Context, f *figures) error {
	took, err := r.produceAll(ctx)
	f.Messages = r.sent.Load()
	f.Send = newPhase(f.Messages, took, &r.sendTimes)
	return err
}

// produceAll runs the producers to their end and returns when the last send
// was confirmed, counted from the first.
func (r *loadRun) produceAll(ctx context.Context) (took time.Duration, err error) {
	p := newPacer(r.opt)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { p.run(ctx); return nil })
	for range r.opt.producers {
		g.Go(func() error {
			w, b := r.target.worker(), r.bodies(r.opt.batch)
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				due := p.start.Add(t.due)
				if err := w.send(ctx, b.fill(t.n, due, true)); err != nil {
					return fmt.Errorf("send: %w", err)
				}
				r.noteSend(time.Since(due))
				r.sent.Add(t.n)
			}
		})
	}
	err = g.Wait()
	return time.Since(p.start), err
}

func (r *loadRun) receiveOnly(ctx context.Context, f *figures) error {
	begin := time.Now()
	var budget atomic.Int64
	budget.Store(math.MaxInt64)
	if r.opt.messages > 0 {
		budget.Store(r.opt.messages)
	}
	g, ctx := errgroup.WithContext(ctx)
	for range r.opt.consumers {
		g.Go(func() error {
			w := r.target.worker()
			var ts []taken
			for r.opt.duration == 0 || time.Since(begin) < r.opt.duration {
				most := takeUpTo(&budget, int64(r.opt.receiveBatch))
				if most == 0 {
					return nil
				}
				var err error
				if ts, err = r.consume(ctx, w, int(most), 0, ts[:0]); err != nil || len(ts) == 0 {
					return err
				}
				budget.Add(most - int64(len(ts)))
			}
			return nil
		})
	}
	err := g.Wait()
	took := time.Since(begin)
	f.Messages = r.received.Load()
	f.Receive = newPhase(f.Messages, took, &r.receiveTimes)
	f.Delete = newPhase(r.deleted.Load(), took, &r.deleteTimes)
	return err
}

// consume receives and, unless they are to be kept, deletes messages.
func (r *loadRun) consume(ctx context.Context, w loadWorker, most int, wait time.Duration, into []taken) ([]taken, error) {
	begin := time.Now()
	ts, err := w.receive(ctx, most, wait, into)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	now := time.Now()
	if wait == 0 {
		r.receiveTimes.record(now.Sub(begin)) // else it is mostly the waiting
	}
	for i := range ts {
		r.noteWake(ts[i].body, now)
	}
	if len(ts) > 0 && !r.opt.keep {
		if err := w.remove(ctx, ts); err != nil {
			return nil, fmt.Errorf("delete: %w", err)
		}
		r.deleteTimes.record(time.Since(now))
		r.deleted.Add(int64(len(ts)))
	}
	r.received.Add(int64(len(ts)))
	return ts, nil
}

func (r *loadRun) cycle(ctx context.Context, f *figures) error {
	const wait = 20 * time.Second // consumers never ask again for nothing
	begin := time.Now()
	waiting, drained := context.WithCancelCause(ctx)
	defer drained(nil)
	var goal atomic.Int64 // how many were sent; -1: not known yet
	goal.Store(-1)
	end := func() {
		if n := goal.Load(); n >= 0 && r.received.Load() >= n {
			drained(errDrained)
		}
	}
	g, _ := errgroup.WithContext(waiting)
	for range r.opt.consumers {
		g.Go(func() error {
			w := r.target.worker()
			var ts []taken
			for waiting.Err() == nil {
				var err error
				if ts, err = r.consume(waiting, w, r.opt.receiveBatch, wait, ts[:0]); err != nil {
					if errors.Is(context.Cause(waiting), errDrained) {
						return nil
					}
					drained(err)
					return err
				}
				end()
			}
			return nil
		})
	}
	took, err := r.produceAll(waiting)
	if err != nil {
		drained(err)
	}
	goal.Store(r.sent.Load())
	end()
	if consumeErr := g.Wait(); err == nil {
		err = consumeErr
	}
	total := time.Since(begin)
	f.Messages = r.received.Load()
	f.Send = newPhase(r.sent.Load(), took, &r.sendTimes)
	f.Receive = newPhase(f.Messages, total, &r.receiveTimes)
	f.Delete = newPhase(r.deleted.Load(), total, &r.deleteTimes)
	return err
}

// loop is the smallest unit of work of a client, one after the other.
func (r *loadRun) loop(ctx context.Context, f *figures) error {
	const wait = 5 * time.Second // each has sent a message before it receives one
	p := newPacer(r.opt)
	g, ctx := errgroup.WithContext(ctx)
	for range r.opt.producers {
		g.Go(func() error {
			w, b := r.target.worker(), r.bodies(r.opt.batch)
			var ts []taken
			for {
				t, ok := p.next(ctx)
				if !ok {
					return context.Cause(ctx)
				}
				begin := time.Now()
				if err := w.send(ctx, b.fill(t.n, begin, true)); err != nil {
					return fmt.Errorf("send: %w", err)
				}
				r.noteSend(time.Since(begin))
				r.sent.Add(t.n)
				for left := int(t.n); left > 0; left -= len(ts) {
					var err error
					if ts, err = r.consume(ctx, w, min(left, r.opt.receiveBatch), wait, ts[:0]); err != nil {
						return err
					}
					if len(ts) == 0 {
						return fmt.Errorf("receive: nothing came for %v, and a message was sent", wait)
					}
				}
				r.cycleTimes.record(time.Since(begin))
			}
		})
	}
	err := g.Wait()
	f.Messages = r.deleted.Load()
	took := time.Since(p.start)
	f.Send = newPhase(r.sent.Load(), took, &r.sendTimes)
	f.Delete = newPhase(f.Messages, took, &r.deleteTimes)
	f.Cycle = newPhase(f.Messages, took, &r.cycleTimes)
	return err
}

// reportProgress writes a line a second until the returned function is called.
func (r *loadRun) reportProgress(w io.Writer) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				fmt.Fprintf(w, "%.0fs: sent %d, received %d, deleted %d\n",
					time.Since(r.start).Seconds(), r.sent.Load(), r.received.Load(), r.deleted.Load())
			}
		}
	}()
	return sync.OnceFunc(func() { close(ended); <-done })
}
