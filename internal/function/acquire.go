package function

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// ended is a context that has: a pool asked with it gives what is free, and
// does not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Acquire waits for a worker of the version that ref names and returns the
// place for one call. It starts the pool if there is none; where that failed a
// moment ago it waits before it tries again, up to 30 s.
//
// The version of the place is what ref names when Acquire returns: that is when
// the call begins.
func (s *Set) Acquire(ctx context.Context, ref string) (runnel.Place[runnel.Invoker], error) {
	none := runnel.Place[runnel.Invoker]{}
	name, want, err := parse(ref)
	if err != nil {
		return none, err
	}
	e := s.entry(name, false)
	if e == nil {
		return none, notFound(name)
	}
	for {
		at, err := s.pool(ctx, e, want)
		if err != nil {
			return none, err
		}
		p := at.pool
		if p == nil {
			continue
		}
		call, release, err := p.Acquire(ended)
		if err != nil && !errors.Is(err, ErrDraining) {
			call, release, err = at.wait(ctx)
		}
		if err != nil && !errors.Is(err, ErrDraining) {
			if at.moved.Err() != nil && ctx.Err() == nil {
				continue
			}
			return none, fmt.Errorf("wait for a worker of %s: %w", name, err)
		}
		e.mu.Lock()
		version, lost := e.record.resolve(want)
		current := lost == nil && version == p.version && e.pools[version] == p
		limit := timeout(e.record.Definition)
		e.mu.Unlock()
		switch {
		case err == nil && current:
			return runnel.Place[runnel.Invoker]{Call: call, Version: version, Timeout: limit, Release: release}, nil
		case err == nil:
			release()
		case current:
			// Nobody here drains a pool that answers.
			return none, runnel.Errorf(runnel.CodeUnavailable, "function %s: %w", name, err)
		}
	}
}

// stand is where a call waits: the pool of the version that its reference
// names, until moved ends.
type stand struct {
	pool  *pool
	moved context.Context
}

// wait waits for a place, for as long as nothing has moved.
func (at stand) wait(ctx context.Context) (runnel.Invoker, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(at.moved, func() { cancel(errMoved) })
	defer stop()
	return at.pool.Acquire(ctx)
}

// pool returns the pool of the version that want names. It is nil when
// something was waited for, and it must be looked again.
func (s *Set) pool(ctx context.Context, e *entry, want string) (stand, error) {
	e.mu.Lock()
	switch {
	case e.closed:
		e.mu.Unlock()
		return stand{}, errClosing()
	case e.record.Live == "":
		e.mu.Unlock()
		return stand{}, notFound(e.name)
	}
	version, err := e.record.resolve(want)
	if err != nil {
		e.mu.Unlock()
		return stand{}, err
	}
	at := stand{e.pools[version], e.moved}
	if at.pool != nil {
		e.mu.Unlock()
		return at, nil
	}
	changed := e.moved.Done()
	if f, ok := e.failures[version]; ok && e.starting[version] == nil {
		if wait := time.Until(f.until); wait > 0 {
			e.mu.Unlock()
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-changed:
			case <-ctx.Done():
				return at, fmt.Errorf("wait to start %s again, which failed: %w", e.name, errors.Join(context.Cause(ctx), f.err))
			}
			return at, nil
		}
	}
	st := s.start(e, version)
	e.mu.Unlock()
	select {
	case <-st.done:
		select {
		case <-changed: // so that the error may be that of another version
			return at, nil
		default:
			return at, st.err
		}
	case <-changed:
		return at, nil
	case <-ctx.Done():
		return at, fmt.Errorf("wait for the start of %s: %w", e.name, context.Cause(ctx))
	}
}

// warm starts the pool of the live version without waiting for it.
func (s *Set) warm(e *entry) {
	e.mu.Lock()
	st := s.start(e, e.record.Live)
	e.mu.Unlock()
	s.starts(func(context.Context) {
		<-st.done
		if st.err != nil {
			s.opts.Log.Warn("function does not start", "function", e.name, "err", st.err)
		}
	})
}

// start starts the pool of a version, unless somebody does already. The caller
// holds e.mu, and e is not closed.
func (s *Set) start(e *entry, version string) *start {
	if st := e.starting[version]; st != nil {
		return st
	}
	st := &start{done: make(chan struct{})}
	e.starting[version] = st
	def, workers, refreshed := e.record.definition(version), e.record.workers(version), e.refreshed
	s.starts(func(ctx context.Context) {
		p, err := s.restore(ctx, def, version, workers)
		e.mu.Lock()
		for refreshed != e.refreshed && !e.closed && e.record.has(version) { // its secrets are not those of now
			def, workers, refreshed = e.record.definition(version), e.record.workers(version), e.refreshed
			e.mu.Unlock()
			if p != nil {
				s.retire(e, p)
			}
			p, err = s.restore(ctx, def, version, workers)
			e.mu.Lock()
		}
		delete(e.starting, version)
		kept := false
		switch {
		case err != nil && e.record.has(version):
			e.fail(version, err)
		case err != nil:
		case !e.closed && e.record.has(version) && e.pools[version] == nil && samePool(def, e.record.definition(version)):
			kept = true
			e.pools[version] = p
			delete(e.failures, version)
			if now := e.record.workers(version); now != workers {
				p.Resize(now)
			}
		}
		e.mu.Unlock()
		if p != nil && !kept {
			s.retire(e, p)
		}
		st.err = err
		close(st.done)
	})
	return st
}

// startsWait bounds how long a start may wait for those of other functions.
const startsWait = time.Minute

// restore opens a version that was built before. If what was built is gone, it
// is built again, which has a record of its own.
func (s *Set) restore(ctx context.Context, def runnel.Function, version string, w runnel.Workers) (*pool, error) {
	j := s.builds.start(def, BuildForRestore)
	j.made(version)
	p, err := s.open(ctx, def, version, w, j)
	j.end(err, true)
	return p, err
}

// open starts the pool of a version whose code lies in its directory. What
// has to be built first is built without a worker's place, and by no call: who
// calls waits for it as for any start.
func (s *Set) open(ctx context.Context, def runnel.Function, version string, w runnel.Workers, j *job) (*pool, error) {
	dir := s.versionDir(def.Name, version)
	m, err := verify(dir)
	if err != nil {
		return nil, err
	}
	// The version's own: an older one may have had others.
	def.Runtime, def.Handler = m.Runtime, m.Handler
	if m.URL != "" {
		def.URL = m.URL
	}
	if m.Transport != "" {
		def.Transport = m.Transport
	}
	secrets, err := s.opts.Secrets(ctx, def)
	if err != nil {
		return nil, err
	}
	def.Env = merged(def.Env, secrets)
	j.hide(def.Env)
	b, err := s.build.build(ctx, def, dir, j)
	if err != nil {
		return nil, maskedError(err, def.Env)
	}
	j.log("starting the workers")
	limit := startTimeout(def)
	// The runner knows best what took so long, and speaks first. It counts from
	// when the start has its turn among all functions.
	ctx, cancel := context.WithTimeoutCause(ctx, limit+startsWait,
		runnel.Errorf(runnel.CodeInvalid, "the code did not load within %s (start_timeout)", limit))
	defer cancel()
	p, err := s.opts.Runner.Start(ctx, newProgram(def, version, dir, b, s.opts.Shims), w)
	if err != nil {
		return nil, startError(ctx, def, err)
	}
	return &pool{Pool: p, version: version, timeout: timeout(def)}, nil
}

// startError returns err in the words that the author of the function needs,
// which a door shows: without the values of the environment.
func startError(ctx context.Context, def runnel.Function, err error) error {
	var failed *runnel.FunctionError
	var coded *runnel.Error
	switch {
	case errors.As(err, &failed):
		text := failed.Error()
		if stack := strings.TrimSpace(failed.Stack); stack != "" {
			text += "\n" + stack
		}
		return runnel.Errorf(runnel.CodeInvalid, "the code does not load: %s", masked(text, def.Env))
	case context.Cause(ctx) != nil && errors.Is(err, ctx.Err()):
		return context.Cause(ctx)
	case errors.As(err, &coded):
		return &runnel.Error{Code: coded.Code, Message: masked(coded.Message, def.Env)}
	default:
		return runnel.Errorf(runnel.CodeInvalid, "the workers do not start: %s", masked(err.Error(), def.Env))
	}
}
