package function

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// Options is what a set of functions needs. The first four fields are needed.
type Options struct {
	// Dir holds the code of the functions. The folder cache beside it holds
	// what was built for them, and the folder builds the logs of that. All
	// belong to the set alone: what is in them and in no record is removed.
	Dir     string
	Runner  Runner
	Records Records
	Shims   Shims
	// Secrets returns what a function's workers have in their environment
	// besides that of its definition, over which it goes. It is asked when a
	// pool starts; an error keeps the pool, and nothing else, from starting.
	// Default: nothing.
	Secrets func(ctx context.Context, def runnel.Function) (map[string]string, error)
	// Log gets what an operator wants to know. Default: nothing.
	Log *slog.Logger
	// BuildLog gets each line that a step of a build prints. It may be called
	// by several builds at once. Default: nothing.
	BuildLog func(function, line string)
	// Pinned returns the references, without the name, by which flows call a
	// function: what they name is kept. It is called by who changes functions.
	// Default: nobody refers to anything.
	Pinned func(ctx context.Context, name string) ([]string, error)
	// Run runs a step of a build, and returns when all its processes have
	// ended. Default: with the rights of the server.
	Run func(ctx context.Context, s Step) error
	// BuildTime is how long a build may take. Default 15m.
	BuildTime time.Duration
	// Now is the clock of what is stored. Default time.Now.
	Now func() time.Time
}

// Shims are the programs that make a script a worker.
type Shims struct {
	// Dir is where they are; workers must be able to read it.
	Dir string
	// Argv returns the command line that starts the shim of a runtime with
	// the interpreter, which is its first element.
	Argv func(r runnel.Runtime, interpreter string) []string
	// WASM is the command line that runs the module of WebAssembly whose path
	// is appended. Empty: there is none.
	WASM []string
}

// Set is the functions of a server.
type Set struct {
	opts   Options
	build  *builder
	builds *builds

	// starts runs f in a goroutine that Close waits for, with a context that
	// ends when Close begins; drains with one that ends when Close gives up.
	starts, drains func(f func(ctx context.Context))
	// endStarts and endDrains end these contexts.
	endStarts, endDrains context.CancelFunc
	// bind returns a context that ends with ctx, and when Close begins.
	bind func(ctx context.Context) (context.Context, context.CancelFunc)

	mu sync.RWMutex // guards the fields below
	// entries has a function under each name that was ever used. They stay,
	// so that the turn of a name is one for ever.
	entries map[string]*entry
	closed  bool
	// running counts deploys, deletes, starts and drains. It grows under mu,
	// unless it is above zero for the caller's sake anyway.
	running sync.WaitGroup
}

// Open reads the records. Pools start when they are first needed, and at once
// where workers are to be kept warm. A function whose code is missing or
// damaged says so when it is called.
func Open(ctx context.Context, opts Options) (*Set, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.BuildLog == nil {
		opts.BuildLog = func(string, string) {}
	}
	if opts.Secrets == nil {
		opts.Secrets = func(context.Context, runnel.Function) (map[string]string, error) { return nil, nil }
	}
	if opts.Pinned == nil {
		opts.Pinned = func(context.Context, string) ([]string, error) { return nil, nil }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Run == nil {
		opts.Run = runStep
	}
	if opts.BuildTime == 0 {
		opts.BuildTime = maxBuild
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	opts.Dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	if err := syncFile(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	records, err := opts.Records.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("open functions: read the records: %w", err)
	}
	data := filepath.Dir(dir)
	s := &Set{
		opts: opts,
		builds: &builds{
			dir: filepath.Join(data, "builds"), now: opts.Now, forward: opts.BuildLog, running: make(map[string]*job),
			warn: func(err error) { opts.Log.Warn("a build is not kept", "err", err) },
		},
		build: &builder{
			functions: dir, cache: filepath.Join(data, "cache"), hidden: data,
			shims: opts.Shims, step: opts.Run, limit: opts.BuildTime, slots: make(chan struct{}, runtime.NumCPU()),
			found: make(map[runnel.Runtime]*interpreter), turns: make(map[string]chan struct{}),
		},
		entries: make(map[string]*entry),
	}
	s.begin(context.WithoutCancel(ctx))
	for _, r := range records {
		e := newEntry(r.Name)
		e.record = r
		s.entries[r.Name] = e
	}
	if err := s.tidy(); err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	exists := func(name string) bool { _, _, err := s.Resolve(name); return err == nil }
	if err := s.builds.tidy(exists); err != nil {
		return nil, fmt.Errorf("open functions: %w", err)
	}
	for _, e := range s.entries {
		if e.record.Definition.Workers.Min > 0 {
			s.warm(e)
		}
	}
	return s, nil
}

// begin makes the two contexts: that of starts ends first, that of drains when
// Close has no more time.
func (s *Set) begin(ctx context.Context) {
	starting, endStarts := context.WithCancel(ctx)
	draining, endDrains := context.WithCancel(ctx)
	s.endStarts, s.endDrains = endStarts, endDrains
	s.starts = func(f func(context.Context)) { s.running.Go(func() { f(starting) }) }
	s.drains = func(f func(context.Context)) { s.running.Go(func() { f(draining) }) }
	s.bind = func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(starting, func() { cancel(errClosing()) })
		return ctx, func() { stop(); cancel(nil) }
	}
}

func errClosing() error {
	return runnel.Errorf(runnel.CodeUnavailable, "the functions are being closed: %w", runnel.ErrClosed)
}

// tidy removes what a crash left: what is half written, and versions that are
// in no record.
func (s *Set) tidy() error {
	homes, err := filepath.Glob(filepath.Join(globless(s.opts.Dir), "*", "*"))
	if err != nil {
		return err
	}
	for _, home := range homes {
		if info, err := os.Lstat(home); err != nil || !info.IsDir() {
			continue
		}
		name := filepath.Base(filepath.Dir(home)) + "/" + filepath.Base(home)
		if _, err := s.clean(s.entry(name, true)); err != nil {
			return err
		}
	}
	return s.build.sweep()
}

// entry returns the function called name, even if there is no record of it.
// Without create it is nil where the name was never used.
func (s *Set) entry(name string, create bool) *entry {
	s.mu.RLock()
	e := s.entries[name]
	s.mu.RUnlock()
	if e != nil || !create {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[name] == nil {
		s.entries[name] = newEntry(name)
		// Close knows only those that are there when it begins.
		s.entries[name].closed = s.closed
	}
	return s.entries[name]
}

// enter begins a deploy or a delete; leave ends it.
func (s *Set) enter(ctx context.Context) (in context.Context, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errClosing()
	}
	s.running.Add(1)
	in, cancel := s.bind(ctx)
	return in, func() { cancel(); s.running.Done() }, nil
}

// home is the directory of a function.
func (s *Set) home(name string) string {
	owner, short, _ := strings.Cut(name, "/")
	return filepath.Join(s.opts.Dir, owner, short)
}

// Resolve returns the full name of the function that ref names, and the
// version that would answer now. The error has CodeInvalid or CodeNotFound.
func (s *Set) Resolve(ref string) (name, version string, err error) {
	name, v, err := s.Find(ref)
	return name, v.Hash, err
}

// Find is Resolve, with all that is known of the version.
func (s *Set) Find(ref string) (name string, v Version, err error) {
	name, want, err := parse(ref)
	if err != nil {
		return "", v, err
	}
	e := s.entry(name, false)
	if e == nil {
		return "", v, notFound(name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.record.Live == "" {
		return "", v, notFound(name)
	}
	hash, err := e.record.resolve(want)
	if err != nil {
		return name, v, err
	}
	v.Hash = hash
	if i := slices.IndexFunc(e.record.Versions, func(v Version) bool { return v.Hash == hash }); i >= 0 {
		v = e.record.Versions[i]
	}
	return name, v, nil
}

// Get describes the function called name, OWNER/NAME.
func (s *Set) Get(name string) (Info, error) {
	name = fullName(name)
	if e := s.entry(name, false); e != nil {
		if info, ok := e.info(); ok {
			return info, nil
		}
	}
	return Info{}, notFound(name)
}

// List describes all functions, sorted by name.
func (s *Set) List() []Info {
	s.mu.RLock()
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	s.mu.RUnlock()
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		if info, ok := e.info(); ok {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// Close refuses new calls, gives up what is being built or started, and
// returns when the calls in flight have ended. When ctx ends first they are
// killed.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return runnel.ErrClosed
	}
	s.closed = true
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	s.running.Add(1) // for the drains that begin below
	s.mu.Unlock()
	s.endStarts()
	for _, e := range entries {
		e.mu.Lock()
		e.closed = true
		old := e.takePools()
		e.mu.Unlock()
		s.retire(e, old...)
	}
	s.running.Done()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.endDrains()
	<-done
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("close functions: %w", err)
	}
	return nil
}

// clean removes the directories of e that belong to no version which is kept
// or still runs, and the function's own when none is left. The caller has the
// turn of e, or is alone.
func (s *Set) clean(e *entry) (removed bool, err error) {
	home := s.home(e.name)
	found, err := os.ReadDir(home)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return removed, fmt.Errorf("clean the directory of %s: %w", e.name, err)
	}
	used := e.inUse()
	left := 0
	for _, d := range found {
		if used[d.Name()] {
			left++
			continue
		}
		removed = true
		// Under another name first: what is half removed must not look like
		// a version.
		gone := filepath.Join(home, d.Name())
		if !strings.HasPrefix(d.Name(), unfinished) {
			away := filepath.Join(home, unfinished+d.Name())
			if err := errors.Join(os.RemoveAll(away), os.Rename(gone, away)); err != nil {
				return removed, fmt.Errorf("clean the directory of %s: %w", e.name, err)
			}
			gone = away
		}
		if err := os.RemoveAll(gone); err != nil {
			return removed, fmt.Errorf("clean the directory of %s: %w", e.name, err)
		}
	}
	if left == 0 {
		// The owner's directory goes with its last function; else it is not
		// empty, and stays.
		if err := os.Remove(home); err == nil {
			_ = os.Remove(filepath.Dir(home))
		}
	}
	return removed, nil
}

// cleanUp removes what is not needed any more. Nothing depends on it.
func (s *Set) cleanUp(e *entry) {
	removed, err := s.clean(e)
	if err == nil && removed {
		err = s.build.sweep()
	}
	if err != nil {
		s.opts.Log.Warn("old versions were not removed", "function", e.name, "err", err)
	}
}
