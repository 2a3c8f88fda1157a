package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

// engineTarget is a store and a queue in this process, without HTTP.
type engineTarget struct {
	dir    string
	temp   bool // dir is ours to remove
	store  *store.Store
	set    *queue.Set
	queue  *queue.Queue
	order  *ordered      // nil: a standard queue
	source runnel.Source // receives are a flow's; nil: a client's

	made          bool // the queue is ours to delete
	opened, ready time.Duration
	settled       time.Duration
	begin         store.Stats
	expiry        chan struct{} // closed when the set's Run has ended
	stopExpiry    context.CancelFunc
}

// openEngine opens the store of a directory, or of a new one, and its queue.
func openEngine(ctx context.Context, opt *loadOptions, order *ordered, errOut io.Writer) (*engineTarget, error) {
	t := &engineTarget{dir: opt.dir, order: order, temp: opt.dir == "", expiry: make(chan struct{})}
	if t.temp {
		var err error
		if t.dir, err = os.MkdirTemp("", "runnel-load-"); err != nil {
			return nil, fmt.Errorf("make a data directory: %w", err)
		}
	}
	if err := t.open(ctx, opt, slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		return nil, errors.Join(err, t.release())
	}
	return t, nil
}

func (t *engineTarget) open(ctx context.Context, opt *loadOptions, log *slog.Logger) (err error) {
	begin := time.Now()
	if t.store, err = store.Open(t.dir, store.Options{Log: log}); err != nil {
		return err
	}
	if t.set, err = queue.Open(t.store, queue.Options{Log: log}); err != nil {
		return err
	}
	t.opened = time.Since(begin)
	name := queue.Name{Account: "default", Queue: opt.queue}
	settings := queue.Defaults()
	if t.order != nil {
		settings.FIFO = new(queue.FIFO)
	}
	if t.queue, t.made, err = t.set.Create(name, settings); err != nil {
		return err
	}
	// A first message is received, and given back without a trace.
	first := t.queue.Source()
	if _, err := first.Receive(ctx, runnel.Limits{Messages: 1}); err != nil {
		return err
	}
	t.ready = time.Since(begin)
	if err := first.Close(ctx); err != nil {
		return err
	}
	if opt.leases {
		t.source = t.queue.Source()
	}
	ctx, t.stopExpiry = context.WithCancel(ctx)
	go func() {
		defer close(t.expiry)
		_ = t.set.Run(ctx) // nil, always
	}()
	return nil
}

// settle waits until the engine has nothing to do in the background: what it
// still has to compact of a preload is not the cost of the run. It gives up
// after a minute.
func (t *engineTarget) settle(ctx context.Context) error {
	const quiet, step, most = 4, 250 * time.Millisecond, time.Minute
	begin := time.Now()
	var done uint64
	cpu := cpuNow()
	for calm := 0; calm < quiet && time.Since(begin) < most; {
		if !sleepUntil(ctx, time.Now().Add(step)) {
			return context.Cause(ctx)
		}
		st := t.store.Stats()
		now := cpuNow()
		if st.FlushedBytes+st.CompactedBytes == done && now-cpu < step/50 {
			calm++
		} else {
			calm = 0
		}
		done, cpu = st.FlushedBytes+st.CompactedBytes, now
	}
	t.settled = time.Since(begin)
	return nil
}

func (t *engineTarget) worker() loadWorker { return &engineWorker{t: t} }

func (t *engineTarget) depth(context.Context) (int64, error) { return t.queue.Depth().Visible, nil }

func (t *engineTarget) before(_ context.Context, f *figures) error {
	f.OpenMS, f.ReadyMS = per(float64(t.opened)/1e6, 1), per(float64(t.ready)/1e6, 1)
	if t.settled > 0 {
		f.SettledSeconds = per(t.settled.Seconds(), 1)
	}
	f.Durability = "fsync before acknowledgement"
	if inMemory(t.dir) {
		f.Durability = "none: the data directory is on a filesystem in memory, where fsync does nothing"
	}
	t.begin = t.store.Stats()
	return nil
}

func (t *engineTarget) after(_ context.Context, f *figures) error {
	f.DiskBytes = sizeOf(t.dir)
	st := t.store.Stats()
	if commits := st.Commits - t.begin.Commits; commits > 0 {
		f.BatchesPerCommit = per(float64(st.Batches-t.begin.Batches), int64(commits))
	}
	return nil
}

func (t *engineTarget) sample(context.Context) sample {
	st := t.store.Stats()
	now, _ := residentBytes()
	return sample{DiskBytes: int64(st.DiskBytes), RSS: max(now, 0)}
}

func (t *engineTarget) serverCPU() time.Duration { return -1 }

// sizeOf is how many bytes the files of a directory have. Files that go
// meanwhile do not count.
func sizeOf(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	return bytes
}

func (t *engineTarget) close(ctx context.Context, keep bool) error {
	var err error
	if t.source != nil {
		err = t.source.Close(ctx)
	}
	if t.made && !keep && !t.temp {
		err = errors.Join(err, t.set.Delete(t.queue.Name()))
	}
	return errors.Join(err, t.release())
}

func (t *engineTarget) release() error {
	var err error
	if t.stopExpiry != nil {
		t.stopExpiry()
		<-t.expiry
	}
	if t.set != nil {
		err = t.set.Close(context.Background())
	}
	if t.store != nil {
		err = errors.Join(err, t.store.Close())
	}
	if t.temp {
		err = errors.Join(err, os.RemoveAll(t.dir))
	}
	return err
}

// engineWorker keeps what it can reuse of one call for the next.
type engineWorker struct {
	t        *engineTarget
	messages []runnel.Message
	receipts []queue.Receipt
	settles  []runnel.Settlement
}

func (w *engineWorker) send(_ context.Context, bodies [][]byte) error {
	w.messages = w.messages[:0]
	for _, b := range bodies {
		m := runnel.Message{Body: b}
		if w.t.order != nil {
			m.Key, m.DedupID = w.t.order.message()
		}
		w.messages = append(w.messages, m)
	}
	_, err := w.t.queue.Send(w.messages)
	return err
}

func (w *engineWorker) receive(ctx context.Context, most int, wait time.Duration, into []taken) ([]taken, error) {
	lim := runnel.Limits{Messages: most, Wait: wait, Lease: loadLease}
	if w.t.source != nil {
		ds, err := w.t.source.Receive(ctx, lim)
		for i := range ds {
			into = append(into, taken{body: ds[i].Body, handle: &ds[i]})
		}
		return into, err
	}
	ds, err := w.t.queue.Receive(ctx, lim)
	for i := range ds {
		into = append(into, taken{body: ds[i].Body, handle: ds[i].Handle})
	}
	return into, err
}

func (w *engineWorker) remove(ctx context.Context, ts []taken) error {
	if w.t.source != nil {
		w.settles = w.settles[:0]
		for i := range ts {
			w.settles = append(w.settles, runnel.Settlement{Delivery: ts[i].handle.(*runnel.Delivery), Verdict: runnel.Ack})
		}
		return w.t.source.Settle(ctx, w.settles)
	}
	w.receipts = w.receipts[:0]
	for i := range ts {
		w.receipts = append(w.receipts, ts[i].handle.(queue.Receipt))
	}
	return errors.Join(w.t.queue.Delete(w.receipts)...)
}
