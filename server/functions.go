package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/worker"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// Folders of the data directory, besides those of the store.
const (
	functionsDir = "functions" // code of versions; internal/function keeps cache and builds beside it
	shimsDir     = "shims"     // written anew at each start
	workersDir   = "workers"   // private directories of processes; emptied at each start
)

// functions are the functions that have versions and workers, and the Go
// handlers of the program that the server is part of.
type functions struct {
	set      *function.Set
	vault    *vault
	handlers map[string]runnel.Handler // by OWNER/NAME
}

// openFunctions opens the functions of a data directory.
func openFunctions(ctx context.Context, cfg *Config, c *catalog.Catalog, l *logs, w *working, in *inside) (*functions, error) {
	// What is stored is what flows refer to, whether they run or not.
	stored := &flows{catalog: c}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	shims, workers := filepath.Join(dir, shimsDir), filepath.Join(dir, workersDir)
	for _, old := range []string{shims, workers} {
		if err := os.RemoveAll(old); err != nil {
			return nil, fmt.Errorf("remove what an earlier process left: %w", err)
		}
	}
	if err := os.MkdirAll(workers, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of workers: %w", err)
	}
	if err := os.CopyFS(shims, shim.Files()); err != nil {
		return nil, fmt.Errorf("write the shims: %w", err)
	}
	f := &functions{vault: newVault(cfg, c), handlers: make(map[string]runnel.Handler)}
	if err := f.vault.reseal(ctx); err != nil {
		return nil, err
	}
	for name, h := range cfg.Handlers {
		f.handlers[fullName(name)] = h
	}
	f.set, err = function.Open(ctx, function.Options{
		Dir: filepath.Join(dir, functionsDir),
		Runner: &runner{
			options: worker.Options{
				TempDir: workers,
				Starts:  worker.NewStarts(runtime.NumCPU()),
				Log: func(line worker.Line) {
					l.add(ownerOf(line.Function), logLine(line))
					in.printed.add(line.Invocation, line.Text)
				},
				Slog: cfg.Log,
				API:  in.serve,

				SameUser: cfg.WorkerUser == WorkerUserServer,
			},
			hidden: []string{dir}, vault: f.vault, inside: in,
		},
		Records: functionRecords{c, f.vault, w},
		Secrets: f.vault.values,
		Shims: function.Shims{Dir: shims, Argv: func(r runnel.Runtime, interpreter string) []string {
			return shim.Command(r, interpreter, shims)
		}, WASM: cfg.WASM},
		Run:    func(ctx context.Context, s function.Step) error { return runStep(ctx, s, workers, f.vault.hidden()) },
		Pinned: stored.pinned,
		Log:    cfg.Log,
		BuildLog: func(name, line string) {
			l.add(ownerOf(name), admin.LogLine{Time: time.Now(), Level: "info", Function: name, Text: "build: " + line})
		},
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// kill ends all workers, whatever they do.
func (f *functions) kill(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	if err := f.set.Close(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, runnel.ErrClosed) {
		return err
	}
	return nil
}

// fullName gives a bare name of a function the account that it belongs to.
func fullName(name string) string {
	return withOwner(catalog.DefaultAccount, name)
}

// ownerOf is the account that a function belongs to.
func ownerOf(name string) string {
	owner, _, _ := strings.Cut(fullName(name), "/")
	return owner
}

// goHandler returns the Go handler that a reference names, or nil.
func (f *functions) goHandler(ref string) runnel.Handler {
	name, _, _ := strings.Cut(ref, "@")
	return f.handlers[fullName(name)]
}

// exists says whether there is a function of this name.
func (f *functions) exists(name string) bool {
	if f.goHandler(name) != nil {
		return true
	}
	_, _, err := f.set.Resolve(name)
	return err == nil
}

// runner starts the workers of functions: internal/worker as internal/function
// wants it.
type runner struct {
	options worker.Options
	hidden  []string
	vault   *vault
	inside  *inside
}

// Start implements function.Runner.
func (r *runner) Start(ctx context.Context, p function.Program, w runnel.Workers) (function.Pool, error) {
	if p.URL != "" {
		at, err := worker.NewEndpoint(ctx, p.URL, worker.Program{
			Function: p.Function, Version: p.Version, Env: p.Env, Mask: p.Mask, MaxInput: p.MaxInput, MaxOutput: p.MaxOutput,
		}, w.Max*p.Concurrency)
		if err != nil {
			return nil, err
		}
		return workers{at, func(w runnel.Workers) { at.Resize(w.Max * p.Concurrency) }}, nil
	}
	opt := r.options
	opt.Min, opt.Max, opt.Idle, opt.Recycle = w.Min, w.Max, w.Idle, w.Recycle
	env, pass, err := r.inside.environment(ctx, p)
	if err != nil {
		return nil, err
	}
	opt.Pass = pass
	pool, err := worker.Start(ctx, worker.Program{
		Function: p.Function, Version: p.Version, Dir: p.Dir, Args: p.Args, Env: env, Mask: p.Mask,
		Shim: p.Shim, Transport: p.Transport, Concurrency: p.Concurrency,
		Memory: p.Memory, MaxInput: p.MaxInput, MaxOutput: p.MaxOutput, StartTimeout: p.StartTimeout,
		Files: int64(p.Limits.Files), FileBytes: int64(p.Limits.FileSize), Processes: p.Limits.Processes,
		TempBytes: int64(p.Limits.Temp), CPU: p.Limits.CPUTime, Isolated: p.Network == runnel.NetworkIsolated,
		Hidden: append(r.vault.hidden(), r.hidden...), Visible: p.Visible, Writable: p.Writable,
	}, opt)
	if err != nil {
		return nil, err
	}
	resize := func(w runnel.Workers) { pool.Resize(w.Min, w.Max, w.Idle, w.Recycle) }
	return workers{pool, resize}, nil
}

// workers is a pool of processes, or an endpoint, as internal/function wants
// it.
type workers struct {
	pool interface {
		Acquire(ctx context.Context) (runnel.Invoker, func(), error)
		Drain(ctx context.Context) error
		Stats() worker.Stats
		Limits() []worker.Limit
	}
	resize func(w runnel.Workers)
}

func (w workers) Acquire(ctx context.Context) (runnel.Invoker, func(), error) {
	call, release, err := w.pool.Acquire(ctx)
	if errors.Is(err, worker.ErrDraining) {
		err = fmt.Errorf("%w: %w", function.ErrDraining, err)
	}
	return call, release, err
}

func (w workers) Resize(n runnel.Workers) { w.resize(n) }

func (w workers) Drain(ctx context.Context) error { return w.pool.Drain(ctx) }

func (w workers) Stats() function.PoolStats {
	s := w.pool.Stats()
	return function.PoolStats{
		Min: s.Min, Max: s.Max, Idle: s.Idle, Busy: s.Busy, Starting: s.Starting, Waiting: s.Waiting,
		Calls: uint64(s.Calls), Errors: uint64(s.Errors), Timeouts: uint64(s.Timeouts), Crashes: uint64(s.Crashes),
		OutOfMemory: uint64(s.OutOfMemory), Interrupted: uint64(s.Interrupted), Starts: uint64(s.Starts),
		Wait: s.Wait, Start: s.Start, Run: s.Run, PeakMemory: s.PeakMemory, LastError: s.LastError,
	}
}

func (w workers) Limits() []function.Limit {
	limits := w.pool.Limits()
	out := make([]function.Limit, len(limits))
	for i, l := range limits {
		out[i] = function.Limit(l)
	}
	return out
}

func logLine(l worker.Line) admin.LogLine {
	return admin.LogLine{
		Time: l.Time, Level: l.Level, Function: l.Function, Version: l.Version, Worker: l.Worker,
		Invocation: l.Invocation, Flow: l.Flow, Text: l.Text,
	}
}

// kindFunction is the catalog's kind of functions' records.
const kindFunction = "function"

// functionRecords keeps the records of functions in the catalog, the values of
// their environments sealed.
type functionRecords struct {
	catalog *catalog.Catalog
	vault   *vault
	working *working
}

// storedFunction is the document of a function. Those of earlier releases have
// the values in the definition, in clear.
type storedFunction struct {
	function.Record
	storedEnv
}

// List implements function.Records.
func (r functionRecords) List(ctx context.Context) ([]function.Record, error) {
	documents, err := r.catalog.List(ctx, kindFunction)
	if err != nil {
		return nil, err
	}
	out := make([]function.Record, len(documents))
	for i, d := range documents {
		var doc storedFunction
		if err := json.Unmarshal(d.Value, &doc); err != nil {
			return nil, fmt.Errorf("read function %s: %w", d.Name, err)
		}
		inClear := len(doc.Definition.Env) > 0
		env, current := r.vault.openEnv(d.Name, doc.storedEnv)
		if !inClear {
			doc.Definition.Env = env
		}
		out[i] = doc.Record
		if !inClear && current {
			continue
		}
		// What is in clear, or sealed with a key that is to go. Nothing depends
		// on it: with a disk that is full it is for the next start.
		if err := r.Put(ctx, doc.Record); err != nil {
			r.vault.log.Warn("the environment of a function was not sealed", "function", d.Name, "err", err)
		}
	}
	return out, nil
}

// Put implements function.Records.
func (r functionRecords) Put(ctx context.Context, rec function.Record) error {
	before, err := r.catalog.Get(ctx, kindFunction, rec.Name)
	if err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
		return err
	}
	version := before.Version // 0 if there is none
	doc := storedFunction{Record: rec}
	if version > 0 {
		if err := json.Unmarshal(before.Value, &doc.storedEnv); err != nil {
			return fmt.Errorf("read function %s: %w", rec.Name, err)
		}
	}
	if doc.storedEnv, err = r.vault.sealEnv(rec.Name, rec.Definition.Env, doc.storedEnv); err != nil {
		return err
	}
	doc.Definition.Env = nil
	value, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode function %s: %w", rec.Name, err)
	}
	_, err = r.catalog.Put(ctx, kindFunction, rec.Name, value, version)
	return err
}

// Delete implements function.Records. The secrets go first: a function that
// comes later under the name must not have them.
func (r functionRecords) Delete(ctx context.Context, name string) error {
	if err := r.vault.removeAll(ctx, name); err != nil {
		return err
	}
	// So must the source, and what else is known of it as an algorithm.
	if err := r.working.drop(name); err != nil {
		return err
	}
	if err := deleteDocument(ctx, r.catalog, kindAlgorithm, name); err != nil {
		return err
	}
	return deleteDocument(ctx, r.catalog, kindFunction, name)
}

// documentVersion returns the version of a document, 0 if there is none.
func documentVersion(ctx context.Context, c *catalog.Catalog, kind, name string) (uint64, error) {
	d, err := c.Get(ctx, kind, name)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return 0, nil
	}
	return d.Version, err
}

// deleteDocument deletes a document if there is one.
func deleteDocument(ctx context.Context, c *catalog.Catalog, kind, name string) error {
	version, err := documentVersion(ctx, c, kind, name)
	if err != nil || version == 0 {
		return err
	}
	return c.Delete(ctx, kind, name, version)
}

var _ slog.Handler = (*tee)(nil)
