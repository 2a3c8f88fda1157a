package function

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// Acquire waits for a worker of the version that ref names and returns the
// place for one call. It starts the pool if there is none; where that failed a
// moment ago it waits before it tries again, up to 30 s.
//
// The version of the place is live when Acquire returns, where ref asks for
// live: that is when the call begins.
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
		version, p, err := s.pool(ctx, e, want)
		if err != nil {
			return none, err
		}
		if p == nil {
			continue
		}
		call, release, err := p.Acquire(ctx)
		if err != nil && !errors.Is(err, ErrDraining) {
			return none, fmt.Errorf("wait for a worker of %s: %w", name, err)
		}
		e.mu.Lock()
		current := e.pools[version] == p
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

// pool returns the version that want names and its pool. The pool is nil when
// something was waited for, and it must be looked again.
func (s *Set) pool(ctx context.Context, e *entry, want string) (string, *pool, error) {
	e.mu.Lock()
	switch {
	case e.closed:
		e.mu.Unlock()
		return "", nil, errClosing()
	case e.record.Live == "":
		e.mu.Unlock()
		return "", nil, notFound(e.name)
	}
	version, err := e.record.resolve(want)
	if err != nil {
		e.mu.Unlock()
		return "", nil, err
	}
	if p := e.pools[version]; p != nil {
		e.mu.Unlock()
		return version, p, nil
	}
	changed := e.changed
	if f, ok := e.failures[version]; ok && e.starting[version] == nil {
		if wait := time.Until(f.until); wait > 0 {
			e.mu.Unlock()
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-changed:
			case <-ctx.Done():
				return "", nil, fmt.Errorf("wait to start %s again, which failed: %w", e.name, errors.Join(context.Cause(ctx), f.err))
			}
			return "", nil, nil
		}
	}
	st := s.start(e, version)
	e.mu.Unlock()
	select {
	case <-st.done:
		select {
		case <-changed: // so that the error may be that of another version
			return "", nil, nil
		default:
			return "", nil, st.err
		}
	case <-changed:
		return "", nil, nil
	case <-ctx.Done():
		return "", nil, fmt.Errorf("wait for the start of %s: %w", e.name, context.Cause(ctx))
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
	def, workers := e.record.Definition, e.record.workers(version)
	s.starts(func(ctx context.Context) {
		j := s.builds.start(def, BuildForRestore)
		j.made(version)
		p, err := s.open(ctx, def, version, workers, j)
		j.end(err, true)
		e.mu.Lock()
		delete(e.starting, version)
		kept := false
		switch {
		case err != nil && e.record.has(version):
			e.fail(version, err)
		case err != nil:
		case !e.closed && e.record.has(version) && e.pools[version] == nil && samePool(def, e.record.Definition):
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
	def.Runtime, def.Handler, def.URL = m.Runtime, m.Handler, m.URL
	b, err := s.build.build(ctx, def, dir, j)
	if err != nil {
		return nil, err
	}
	j.log("starting the workers")
	limit := startTimeout(def)
	// The runner knows best what took so long, and speaks first.
	ctx, cancel := context.WithTimeoutCause(ctx, limit+2*time.Second,
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

// masked replaces the values of env in text. Short ones would take words
// apart, and are no secrets.
func masked(text string, env map[string]string) string {
	for _, value := range env {
		if len(value) >= 8 {
			text = strings.ReplaceAll(text, value, "***")
		}
	}
	return text
}
