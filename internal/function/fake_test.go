package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// deadline is when a wait in a test has taken too long.
const deadline = 30 * time.Second

// records keeps records in memory, as the JSON that they would be on disk.
type records struct {
	mu   sync.Mutex
	kept map[string][]byte
	put  func(function.Record) error // before it is kept; may be nil
}

func (r *records) List(context.Context) ([]function.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []function.Record
	for _, name := range slices.Sorted(maps.Keys(r.kept)) {
		var rec function.Record
		if err := json.Unmarshal(r.kept[name], &rec); err != nil {
			return nil, err
		}
		all = append(all, rec)
	}
	return all, nil
}

func (r *records) Put(_ context.Context, rec function.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.put != nil {
		if err := r.put(rec); err != nil {
			return err
		}
	}
	text, err := json.Marshal(rec)
	if r.kept == nil {
		r.kept = make(map[string][]byte)
	}
	r.kept[rec.Name] = text
	return err
}

func (r *records) Delete(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.kept, name)
	return nil
}

// runner runs programs in memory: workers that answer with the text of the
// file "text" of their code. Code whose text begins with "boom" does not load,
// and with "hang" never ends to.
type runner struct {
	mu    sync.Mutex
	pools []*pool
	fails func(function.Program) error // may be nil
	// hangs, if not nil, is closed when code that hangs begins to load.
	hangs chan struct{}
	// got is called when a pool has a place for a caller, before it says so.
	got func(version string)
}

func (r *runner) Start(ctx context.Context, p function.Program, w runnel.Workers) (function.Pool, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, "text"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if strings.HasPrefix(string(text), "boom") {
		return nil, &runnel.FunctionError{Kind: runnel.KindError, Name: "SyntaxError", Message: string(text), Stack: "  at worker:1"}
	}
	if strings.HasPrefix(string(text), "hang") {
		if r.hangs != nil {
			close(r.hangs)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails != nil {
		if err := r.fails(p); err != nil {
			return nil, err
		}
	}
	pool := &pool{Program: p, text: string(text), w: w, changed: make(chan struct{}), got: r.got}
	r.pools = append(r.pools, pool)
	return pool, nil
}

// started returns the pools that were ever started.
func (r *runner) started() []*pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pools)
}

// open returns those that were not drained.
func (r *runner) open() []*pool {
	return slices.DeleteFunc(r.started(), func(p *pool) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.ended
	})
}

type pool struct {
	function.Program
	text string
	got  func(version string)

	mu       sync.Mutex
	w        runnel.Workers
	busy     int
	calls    uint64
	did      function.PoolStats // more of what Stats says
	draining bool
	ended    bool
	killed   bool
	changed  chan struct{}
}

func (p *pool) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool) Acquire(ctx context.Context) (runnel.Invoker, func(), error) {
	for {
		p.mu.Lock()
		if p.draining {
			p.mu.Unlock()
			return nil, nil, fmt.Errorf("pool of %s: %w", p.Version, function.ErrDraining)
		}
		if p.busy < p.w.Max {
			p.busy++
			p.mu.Unlock()
			if p.got != nil {
				p.got(p.Version)
			}
			return p, sync.OnceFunc(p.release), nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.tell()
}

func (p *pool) Invoke(_ context.Context, in *runnel.Invocation) ([]runnel.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.ended {
		return nil, fmt.Errorf("call on the pool of %s, which has ended", p.Version)
	}
	out := make([]runnel.Answer, len(in.Items))
	for i := range out {
		out[i] = runnel.Answer{Format: runnel.FormatText, Payload: []byte(p.text)}
	}
	return out, nil
}

func (p *pool) Resize(w runnel.Workers) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w = w
	p.tell()
}

func (p *pool) Drain(ctx context.Context) error {
	for {
		p.mu.Lock()
		if !p.draining {
			p.draining = true
			p.tell()
		}
		if p.busy == 0 {
			p.ended = true
			p.mu.Unlock()
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			p.mu.Lock()
			p.ended, p.killed = true, true
			p.mu.Unlock()
			return ctx.Err()
		}
	}
}

func (p *pool) Stats() function.PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := 0
	if p.busy == 0 {
		idle = 1
	}
	s := p.did
	s.Min, s.Max, s.Idle, s.Busy, s.Calls, s.Starts = p.w.Min, p.w.Max, idle, p.busy, p.calls, 1
	return s
}

func (p *pool) Limits() []function.Limit {
	return []function.Limit{{Name: "memory", Wanted: "64MiB", InForce: true, How: "a fake"}}
}

func (p *pool) workers() runnel.Workers {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w
}

// bench is a set of functions over fakes.
type bench struct {
	t       *testing.T
	dir     string // of the data; it outlives a set
	records *records
	runner  *runner
	set     *function.Set
	built   func(function, line string)
	secrets func(context.Context, runnel.Function) (map[string]string, error)
	pinned  []string                // the references of flows
	options func(*function.Options) // may be nil
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), records: &records{}, runner: &runner{}}
	b.open()
	return b
}

// open opens the set, anew where there was one: as after a crash, nobody
// closed that.
func (b *bench) open() {
	b.t.Helper()
	opts := function.Options{
		Dir: filepath.Join(b.dir, "functions"), Runner: b.runner, Records: b.records, BuildLog: b.built, Secrets: b.secrets,
		Pinned: func(context.Context, string) ([]string, error) { return b.pinned, nil },
		Shims: function.Shims{Dir: "/shims", Argv: func(r runnel.Runtime, interpreter string) []string {
			return []string{interpreter, "/shims/" + string(r)}
		}},
	}
	if b.options != nil {
		b.options(&opts)
	}
	set, err := function.Open(b.t.Context(), opts)
	if err != nil {
		b.t.Fatal(err)
	}
	b.set = set
	b.t.Cleanup(func() {
		// The test may have closed it.
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := set.Close(ctx); err != nil && !errors.Is(err, runnel.ErrClosed) {
			b.t.Error(err)
		}
	})
}

// code is a source whose workers answer with text.
func code(text string) fstest.MapFS {
	return fstest.MapFS{
		"worker": {Data: []byte("#!/bin/sh\n"), Mode: 0o755},
		"text":   {Data: []byte(text), Mode: 0o644},
	}
}

// echo is the definition that goes with code.
func echo() runnel.Function {
	return runnel.Function{Name: "demo/echo", Runtime: runnel.RuntimeExec, Handler: "./worker"}
}

func (b *bench) deploy(def runnel.Function, source fs.FS) function.Deployment {
	b.t.Helper()
	d, err := b.set.Deploy(b.t.Context(), def, source)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) acquire(ref string) runnel.Place[runnel.Invoker] {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), deadline)
	defer cancel()
	place, err := b.set.Acquire(ctx, ref)
	if err != nil {
		b.t.Fatal(err)
	}
	return place
}

// call returns what the function answers.
func (b *bench) call(ref string) string {
	b.t.Helper()
	place := b.acquire(ref)
	defer place.Release()
	return b.invoke(place)
}

func (b *bench) invoke(place runnel.Place[runnel.Invoker]) string {
	b.t.Helper()
	out, err := place.Call.Invoke(b.t.Context(), &runnel.Invocation{Items: []runnel.Item{{}}})
	if err != nil {
		b.t.Error(err)
		return ""
	}
	return string(out[0].Payload)
}

// versions returns the names in the directory of demo/echo.
func (b *bench) versions() []string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, "functions", "demo", "echo"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// close closes the set: after it, all that ran in the background has ended.
func (b *bench) close() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), deadline)
	defer cancel()
	if err := b.set.Close(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code runnel.Code, texts ...string) {
	t.Helper()
	if got := runnel.CodeOf(err); got != code {
		t.Fatalf("got the code %q of %v, want %q", got, err, code)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got the error %q, want %q in it", err, text)
		}
	}
}
