package function

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// entry is one function, and the pools that answer for it.
type entry struct {
	name string

	// turn has an element while somebody changes the record or removes
	// directories.
	turn chan struct{}

	mu sync.Mutex // guards the fields below
	// record is what is stored; its Live is empty where there is no function.
	record Record
	// pools answer calls, by version. That of the live version may be missing
	// until the first call.
	pools map[string]*pool
	// starting are the starts that a call waits for, by version.
	starting map[string]*start
	// failures are why versions did not start when they were last needed.
	failures map[string]failure
	// old are pools that drain, or are about to.
	old []*pool
	// past sums the stats of pools that have ended, by version for those that
	// are kept, and under "" for all others.
	past map[string]*PoolStats
	// unsure are versions, and files of notes, of which we do not know whether
	// they were recorded: they stay until the next start tells.
	unsure map[string]bool
	// refreshed counts how often the secrets have changed.
	refreshed int
	// moved ends, by move, and is replaced, when a reference may stand for
	// another version than before, or a version for another pool.
	moved  context.Context
	move   context.CancelCauseFunc
	closed bool
}

// errMoved is why a wait at a pool ends that may be the wrong one by now.
var errMoved = errors.New("the reference may stand for another version")

// pool is a Pool with what it was started for.
type pool struct {
	Pool
	version string
	// timeout is the longest that a call on it can take. The entry's mu guards
	// it.
	timeout time.Duration
}

// start is the start of a pool that somebody waits for.
type start struct {
	done chan struct{} // closed at the end
	err  error         // set before
}

// failure is a start that failed. Until its end calls wait: a process that
// does not come up is not started again for every message.
type failure struct {
	err   error
	tries int
	until time.Time
}

// The waits after a start that failed.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
)

func newEntry(name string) *entry {
	e := &entry{
		name: name, turn: make(chan struct{}, 1),
		pools: make(map[string]*pool), starting: make(map[string]*start),
		failures: make(map[string]failure), unsure: make(map[string]bool), past: make(map[string]*PoolStats),
	}
	e.moved, e.move = context.WithCancelCause(context.Background())
	return e
}

// takeTurn waits for the turn.
func (e *entry) takeTurn(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another deploy of %s: %w", e.name, context.Cause(ctx))
	}
}

func (e *entry) endTurn() { <-e.turn }

// takePools removes all pools and wakes who waits for a change. The caller
// holds e.mu, and retires them.
func (e *entry) takePools() []*pool {
	var old []*pool
	for version, p := range e.pools {
		old = append(old, p)
		delete(e.pools, version)
	}
	e.old = append(e.old, old...)
	clear(e.failures)
	e.tell()
	return old
}

// tell wakes who waits at a pool, to look whether it is still the right one.
// The caller holds e.mu.
func (e *entry) tell() {
	e.move(errMoved)
	e.moved, e.move = context.WithCancelCause(context.Background())
}

// size is how many workers of a version can answer.
func (e *entry) size(version string) int {
	e.mu.Lock()
	p := e.pools[version]
	e.mu.Unlock()
	if p == nil {
		return 0
	}
	s := p.Stats()
	return s.Idle + s.Busy
}

// fail notes that a version did not start. The caller holds e.mu.
func (e *entry) fail(version string, err error) {
	f := e.failures[version]
	wait := min(firstWait<<min(f.tries, 10), lastWait)
	e.failures[version] = failure{err: err, tries: f.tries + 1, until: time.Now().Add(wait)}
}

// inUse returns the versions whose directories are needed.
func (e *entry) inUse() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	used := make(map[string]bool)
	for _, v := range e.record.Versions {
		used[v.Hash] = true
		if v.Release != nil {
			used[notesFile(v.Hash)] = true
		}
	}
	for v := range e.pools {
		used[v] = true
	}
	for v := range e.starting {
		used[v] = true
	}
	for v := range e.unsure {
		used[v] = true
	}
	for _, p := range e.old {
		used[p.version] = true
	}
	return used
}

// busy says whether workers of the version run.
func (e *entry) busy(version string) bool {
	e.mu.Lock()
	draining := slices.ContainsFunc(e.old, func(p *pool) bool { return p.version == version })
	starting, p := e.starting[version], e.pools[version]
	e.mu.Unlock()
	if draining || starting != nil {
		return true
	}
	if p == nil {
		return false
	}
	s := p.Stats()
	return s.Idle+s.Busy+s.Starting > 0
}

// retire drains pools that were taken from e.pools. It does not wait.
func (s *Set) retire(e *entry, old ...*pool) {
	for _, p := range old {
		e.mu.Lock()
		if !slices.Contains(e.old, p) { // one that never took calls
			e.old = append(e.old, p)
		}
		// A call that does not end is killed at its own deadline; the rest is
		// for the workers' end.
		limit := p.timeout + 30*time.Second
		e.mu.Unlock()
		s.drains(func(ctx context.Context) {
			bounded, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if err := p.Drain(bounded); err != nil {
				s.opts.Log.Warn("workers were killed while they drained", "function", e.name, "version", p.version, "err", err)
			}
			e.ended(p)
			// Who has the turn may have looked before this pool had ended.
			if err := e.takeTurn(ctx); err != nil {
				return
			}
			defer e.endTurn()
			s.cleanUp(e)
		})
	}
}

// States of a function.
const (
	StateReady     = "ready"      // a worker runs
	StateStarting  = "starting"   // the first ones load the code
	StateFailing   = "failing"    // workers do not start: see Info.LastError
	StateNoWorkers = "no workers" // none is needed at the moment
)

// Info describes a function. It holds no secrets.
type Info struct {
	Name string
	// Definition has "***" for the values of the environment.
	Definition runnel.Function
	// Live is the version that answers, Deployed since when.
	Live     string
	Deployed time.Time
	// Previous is the version that a rollback makes live; "" if there is none.
	Previous string
	// Versions are those that can be called, the last built first.
	Versions []Version
	// Aliases are the hashes of versions by the names that users gave them.
	Aliases map[string]string
	// History says which versions were live, the present one first.
	History   []Change
	State     string
	LastError string
	// Stats are of all pools since the set was opened; what is of this moment
	// is of the live version's.
	Stats PoolStats
	// Ran are the same of each of Versions that had workers since then, by
	// hash.
	Ran    map[string]PoolStats
	Limits []Limit
}

// info describes e; false where there is no function.
func (e *entry) info() (Info, bool) {
	info, st, ok := e.look()
	if !ok {
		return info, false
	}
	info.Stats, info.Ran = st.stats(info.Live, info.Versions)
	info.Stats.Min, info.Stats.Max = st.bounds.Min, st.bounds.Max
	if p := st.pools[info.Live]; p != nil {
		info.Limits = p.Limits()
	}
	info.LastError = info.Stats.LastError
	if st.failure != nil {
		info.LastError = st.failure.Error()
	}
	switch {
	case info.LastError != "":
		info.State = StateFailing
	case info.Stats.Idle+info.Stats.Busy > 0:
		info.State = StateReady
	case info.Stats.Starting > 0 || st.starting:
		info.State = StateStarting
	}
	return info, true
}

// look returns what e knows by itself, and the standing of its pools, which
// are asked without the lock.
func (e *entry) look() (Info, standing, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.record.Live == "" {
		return Info{}, standing{}, false
	}
	r := &e.record
	info := Info{
		Name: r.Name, Definition: r.Definition,
		Live: r.Live, Deployed: r.Deployed, Previous: r.previous(),
		Versions: slices.Clone(r.Versions), Aliases: maps.Clone(r.Aliases), History: slices.Clone(r.history()),
		State: StateNoWorkers,
	}
	if len(r.Definition.Env) > 0 {
		info.Definition.Env = make(map[string]string, len(r.Definition.Env))
		for name := range r.Definition.Env {
			info.Definition.Env[name] = "***"
		}
	}
	st := standing{
		pools: maps.Clone(e.pools), old: slices.Clone(e.old), past: make(map[string]PoolStats, len(e.past)),
		bounds: r.workers(r.Live), starting: e.starting[r.Live] != nil,
	}
	for version, sum := range e.past {
		st.past[version] = *sum
	}
	if f, ok := e.failures[r.Live]; ok {
		st.failure = f.err
	}
	return info, st, true
}
