package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// home is a store with its queues: in, out, dead and any others.
type home struct {
	t     testing.TB
	fs    *storetest.CrashFS
	store *store.Store
	set   *queue.Set
	log   lines
}

func newHome(t testing.TB, queues ...string) *home {
	h := &home{t: t, fs: storetest.NewCrashFS()}
	h.open()
	t.Cleanup(h.close)
	for _, name := range append([]string{"in", "out", "dead"}, queues...) {
		h.create(name, nil)
	}
	return h
}

func (h *home) open() {
	h.t.Helper()
	var err error
	if h.store, err = store.Open("data", store.Options{FS: h.fs, Log: quiet}); err != nil {
		h.t.Fatal(err)
	}
	if h.set, err = queue.Open(h.store, queue.Options{Log: quiet}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) close() {
	if h.set == nil {
		return
	}
	if err := errors.Join(h.set.Close(context.Background()), h.store.Close()); err != nil {
		h.t.Error(err)
	}
	h.set = nil
}

func (h *home) create(name string, change func(*queue.Settings)) *queue.Queue {
	h.t.Helper()
	s := queue.Defaults()
	if change != nil {
		change(&s)
	}
	q, _, err := h.set.Create(queue.Name{Account: "default", Queue: name}, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

func (h *home) queue(name string) *queue.Queue {
	h.t.Helper()
	q, err := h.set.Queue(queue.Name{Account: "default", Queue: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return q
}

func (h *home) send(name string, ms ...runnel.Message) []runnel.MessageID {
	h.t.Helper()
	ids, err := h.queue(name).Send(ms)
	if err != nil {
		h.t.Fatal(err)
	}
	return ids
}

func (h *home) sendBodies(name string, bodies ...string) []runnel.MessageID {
	h.t.Helper()
	ms := make([]runnel.Message, len(bodies))
	for i := range ms {
		ms[i].Body = []byte(bodies[i])
	}
	return h.send(name, ms...)
}

// all returns what a queue holds, in its order.
func (h *home) all(name string) []queue.Peeked {
	h.t.Helper()
	ps, err := h.queue(name).Peek(0, 1<<20)
	if err != nil {
		h.t.Fatal(err)
	}
	return ps
}

func (h *home) bodies(name string) string {
	h.t.Helper()
	var s []string
	for _, p := range h.all(name) {
		s = append(s, string(p.Body))
	}
	return strings.Join(s, " ")
}

func (h *home) wantBodies(name, want string) {
	h.t.Helper()
	if got := h.bodies(name); got != want {
		h.t.Errorf("queue %s holds %q, want %q", name, got, want)
	}
}

func (h *home) wantDepth(name string, visible, inFlight, delayed int64) {
	h.t.Helper()
	want := queue.Depth{Visible: visible, InFlight: inFlight, Delayed: delayed}
	if got := h.queue(name).Depth(); got != want {
		h.t.Errorf("queue %s: depth %+v, want %+v", name, got, want)
	}
}

// config is a flow from queue in to queue out, with dead letters in queue dead.
func (h *home) config(handler runnel.Handler) dispatch.Config {
	return dispatch.Config{
		Flow: runnel.Flow{
			Name: "f", From: "queue:in", Call: "fn", To: []runnel.Ref{"queue:out"}, DeadLetter: "queue:dead",
			Order: runnel.OrderNone,
		},
		Handler: handler,
		Log:     slog.New(slog.NewTextHandler(&h.log, nil)),
	}
}

// running is a flow that runs.
type running struct {
	*dispatch.Flow
	t      testing.TB
	end    context.CancelFunc
	done   chan error // gets the error of Run
	source runnel.Source
}

// run opens what cfg names and was not set, and runs it until stop.
func (h *home) run(cfg dispatch.Config) *running {
	h.t.Helper()
	_, name, _ := cfg.Flow.From.Split()
	if cfg.Source == nil {
		cfg.Source = h.queue(name).Source()
	}
	if cfg.Sinks == nil {
		for _, to := range cfg.Flow.To {
			_, name, _ := to.Split()
			cfg.Sinks = append(cfg.Sinks, h.queue(name).Sink())
		}
	}
	if _, name, err := cfg.Flow.DeadLetter.Split(); err == nil && cfg.DeadLetter == nil {
		cfg.DeadLetter = h.queue(name).Sink()
	}
	if err := cfg.Flow.Validate(); err != nil {
		h.t.Fatal(err)
	}
	cfg.Flow = cfg.Flow.WithDefaults()
	return runFlow(h.t, cfg)
}

func runFlow(t testing.TB, cfg dispatch.Config) *running {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	f, err := dispatch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	r := &running{Flow: f, t: t, end: end, done: make(chan error, 1), source: cfg.Source}
	go func() { r.done <- f.Run(ctx) }()
	return r
}

// stop drains the flow and closes its source.
func (r *running) stop() {
	r.t.Helper()
	r.end()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
	if err := r.source.Close(context.Background()); err != nil {
		r.t.Errorf("close the source: %v", err)
	}
}

// codes are the codes of the flow's explanation.
func (r *running) codes() string {
	var s []string
	for _, reason := range r.Explain() {
		s = append(s, reason.Code)
	}
	return strings.Join(s, " ")
}

// wantSum checks that the figures of a flow with nothing inside add up.
func (r *running) wantSum() {
	r.t.Helper()
	s := r.Stats()
	if sum := s.Handled + s.Filtered + s.Retried + s.Released + s.DeadLettered + s.LeaseLost; sum != s.Received {
		r.t.Errorf("received %d, accounted for %d: %+v", s.Received, sum, s)
	}
	if s.Calling+s.Waiting+s.Parked+s.Settling != 0 {
		r.t.Errorf("something is inside: %+v", s)
	}
}

// lines is a log that can be read.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// sleep lets time pass in a bubble, and what is due then happen.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func echo(_ context.Context, m runnel.Message) (runnel.Result, error) {
	return runnel.Result{Out: []runnel.Message{{Body: m.Body, Key: m.Key}}}, nil
}

// pool is a handler that can be full, with a version and a time limit.
type pool struct {
	handler runnel.Handler
	places  chan struct{} // one for each call under way; nil: any number
	timeout time.Duration
	version string

	mu     sync.Mutex // guards broken
	broken error      // why nobody can be called
}

func (p *pool) Handle(context.Context, []runnel.Message) ([]runnel.Result, error) {
	return nil, errors.New("a pool is asked for a place first")
}

func (p *pool) Acquire(ctx context.Context) (runnel.Place[runnel.Handler], error) {
	p.mu.Lock()
	broken := p.broken
	p.mu.Unlock()
	if broken != nil {
		return runnel.Place[runnel.Handler]{}, broken
	}
	if p.places != nil {
		select {
		case p.places <- struct{}{}:
		case <-ctx.Done():
			return runnel.Place[runnel.Handler]{}, fmt.Errorf("wait for a place: %w", context.Cause(ctx))
		}
	}
	return runnel.Place[runnel.Handler]{
		Call: p.handler, Version: p.version, Timeout: p.timeout,
		Release: func() {
			if p.places != nil {
				<-p.places
			}
		},
	}, nil
}

// handlerFunc is a handler of whole calls.
type handlerFunc func(ctx context.Context, in []runnel.Message) ([]runnel.Result, error)

func (h handlerFunc) Handle(ctx context.Context, in []runnel.Message) ([]runnel.Result, error) {
	return h(ctx, in)
}
