package function

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/runnel-io/runnel"
)

// Deployment says what Deploy, Build or Rollback did.
type Deployment struct {
	// Name is OWNER/NAME.
	Name string
	// Version is what was deployed or built. Live is live now, Previous was
	// before, and is empty for a new function.
	Version, Live, Previous string
	// Changed says whether anything was changed, be it only a setting.
	Changed bool
	// Build is the id of the build, empty where nothing was changed.
	Build string
}

type byKey struct{}

// By returns a context for a change by somebody: what they are called is
// recorded with it.
func By(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, byKey{}, who)
}

func by(ctx context.Context) string {
	who, _ := ctx.Value(byKey{}).(string)
	return who
}

// change gives f the turn of a function, whether or not there is one.
func (s *Set) change(ctx context.Context, name string, create bool, f func(ctx context.Context, e *entry) error) error {
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	e := s.entry(name, create)
	if e == nil {
		return notFound(name)
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	if !create && e.stored().Live == "" {
		return notFound(name)
	}
	return f(ctx, e)
}

// stored returns the record. Who has the turn knows that nobody else changes
// it.
func (e *entry) stored() Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.record
}

// Deploy makes the code in source the live version of the function def, with
// def's settings. It returns when calls go to the new version; calls in flight
// end on the old one. On an error everything is as it was; its text is the
// build's or the language's own where they refused the code. What happened on
// the way is kept, as a Build. The source is nil where the code is inline, and
// for runtime http.
//
// Deploys of one function run one after the other. A deploy that changes
// nothing does nothing; one that changes the timeout or the number of workers
// keeps the processes.
func (s *Set) Deploy(ctx context.Context, def runnel.Function, source fs.FS) (Deployment, error) {
	d, err := s.stageAnd(ctx, def, source, func(ctx context.Context, e *entry, def runnel.Function, version string, j *job) (Deployment, error) {
		return s.install(ctx, e, def, version, ByDeploy, j)
	})
	if err != nil {
		return Deployment{}, err
	}
	if d.Changed {
		s.opts.Log.Info("function deployed", "function", d.Name, "version", d.Version, "previous", d.Previous)
	}
	return d, nil
}

// Build makes a version of the code in source, and proves that it loads.
// Nothing else changes: the version answers those who name it. Of def only the
// runtime, the handler, the transport, the URL and the source count; the
// settings are the function's, and those that def says must be the same.
//
// A function always has a live version: the first build of a new one is a
// deploy.
func (s *Set) Build(ctx context.Context, def runnel.Function, source fs.FS) (Deployment, error) {
	d, err := s.stageAnd(ctx, def, source, func(ctx context.Context, e *entry, def runnel.Function, version string, j *job) (Deployment, error) {
		if e.stored().Live == "" {
			return s.install(ctx, e, def, version, ByDeploy, j)
		}
		return s.keep(ctx, e, def, version, j)
	})
	if err != nil {
		return Deployment{}, err
	}
	if d.Changed {
		s.opts.Log.Info("function built", "function", d.Name, "version", d.Version, "live", d.Live)
	}
	return d, nil
}

// stageAnd stages a version, and has the turn meanwhile and while f runs. What
// happens is kept as a Build.
func (s *Set) stageAnd(ctx context.Context, def runnel.Function, source fs.FS,
	f func(ctx context.Context, e *entry, def runnel.Function, version string, j *job) (Deployment, error),
) (d Deployment, err error) {
	if def, err = named(def); err != nil {
		return d, err
	}
	err = s.change(ctx, def.Name, true, func(ctx context.Context, e *entry) error {
		defer s.cleanUp(e)
		j := s.builds.start(def, BuildForDeploy)
		version, err := s.stage(ctx, def, source, j)
		if err == nil {
			d, err = f(ctx, e, def, version, j)
		}
		j.end(err, err != nil || d.Changed)
		if err != nil {
			return fmt.Errorf("deploy %s: %w", def.Name, err)
		}
		if d.Changed {
			d.Build = j.id()
		}
		return nil
	})
	return d, err
}

// stage puts the code into its directory.
func (s *Set) stage(ctx context.Context, def runnel.Function, source fs.FS, j *job) (version string, err error) {
	m, err := stage(ctx, s.home(def.Name), def, source)
	if err != nil {
		return "", err
	}
	j.made(m.Version)
	size := int64(0)
	for _, f := range m.Files {
		size += f.Size
	}
	j.log(fmt.Sprintf("version %s of %s, runtime %s: %d files, %d bytes", m.Version, def.Name, def.Runtime, len(m.Files), size))
	return m.Version, nil
}

// DeployCode is Deploy in the settings of def, or where it is nil in those that
// the function has. Inline code and the source of a file are forgotten.
func (s *Set) DeployCode(ctx context.Context, name string, def *runnel.Function, source fs.FS) (Deployment, error) {
	if def == nil {
		e := s.entry(name, false)
		if e == nil {
			return Deployment{}, notFound(name)
		}
		stored := e.stored()
		if stored.Live == "" {
			return Deployment{}, notFound(name)
		}
		now := stored.Definition
		now.Source, now.Inline = "", ""
		def = &now
	}
	return s.Deploy(ctx, *def, source)
}

// install makes version, whose code is in its directory, the live one. The
// caller has the turn, so that nobody else changes the record.
func (s *Set) install(ctx context.Context, e *entry, def runnel.Function, version, how string, j *job) (Deployment, error) {
	e.mu.Lock()
	before := e.record
	running := e.pools[version] != nil || e.starting[version] != nil
	_, failing := e.failures[version]
	e.mu.Unlock()
	// So many workers there are for what the new pool will have to do.
	size := e.size(version)
	if before.Live != version {
		size += e.size(before.Live)
	}
	d := Deployment{Name: def.Name, Version: version, Live: version, Previous: before.Live, Changed: version != before.Live || !same(def, before.Definition)}
	after := before
	after.Name, after.Definition = def.Name, def
	if version == before.Live && samePool(def, before.Definition) && (running || !failing) {
		if !d.Changed {
			return d, nil
		}
		if err := s.put(ctx, after); err != nil {
			return d, err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.record = after
		e.adjust()
		return d, nil
	}
	named, err := s.named(ctx, &before)
	if err != nil {
		return d, err
	}

	p, err := s.openWarm(ctx, def, version, bounds(def, true), size, j)
	if err != nil {
		return d, err
	}
	next := versionOf(def, version, s.opts.Now())
	if err := context.Cause(ctx); err != nil {
		s.retire(e, p)
		return d, err
	}
	if version == before.Live {
		after.Deployed = next.Created
	} else {
		after.enliven(Change{Version: version, Time: next.Created, By: by(ctx), How: how})
	}
	if how == ByDeploy {
		after.add(next)
		after.trim(named, e.busy)
	}
	if err := s.put(ctx, after); err != nil {
		e.doubt(version)
		s.retire(e, p)
		return d, err
	}
	e.mu.Lock()
	closed := e.closed
	e.record = after
	var old []*pool
	if closed {
		old = append(old, p)
	} else {
		stay := named
		if !sameSettings(def, before.Definition) {
			stay = nil
		} else if !stay[before.Live] {
			stay[before.Live] = false
		}
		old = e.swap(p, stay)
	}
	e.mu.Unlock()
	s.retire(e, old...)
	return d, nil
}

// keep records a version that is not live, once it has loaded. The caller has
// the turn.
func (s *Set) keep(ctx context.Context, e *entry, def runnel.Function, version string, j *job) (Deployment, error) {
	before := e.stored()
	d := Deployment{Name: def.Name, Version: version, Live: before.Live, Previous: before.Live}
	def, err := before.rebuilt(def)
	if err != nil {
		return d, err
	}
	if before.newest() == version {
		return d, nil
	}
	d.Changed = true
	named, err := s.named(ctx, &before)
	if err != nil {
		return d, err
	}
	after := before
	after.add(versionOf(def, version, s.opts.Now()))
	var p *pool
	if !before.has(version) {
		if p, err = s.open(ctx, def, version, bounds(def, false), j); err != nil {
			return d, err
		}
	}
	after.trim(named, e.busy)
	if err := s.put(ctx, after); err != nil {
		e.doubt(version)
		if p != nil {
			s.retire(e, p)
		}
		return d, err
	}
	e.mu.Lock()
	e.record = after
	old := e.forget()
	switch {
	case p == nil:
	case e.closed || e.pools[version] != nil:
		old = append(old, p)
	default:
		// Who tries it out need not wait for a start.
		e.pools[version] = p
		delete(e.failures, version)
	}
	e.mu.Unlock()
	s.retire(e, old...)
	return d, nil
}

// named returns the versions that aliases, publications and flows name.
func (s *Set) named(ctx context.Context, r *Record) (map[string]bool, error) {
	refs, err := s.opts.Pinned(ctx, r.Name)
	if err != nil {
		return nil, fmt.Errorf("find the flows that call %s: %w", r.Name, err)
	}
	return r.named(refs), nil
}

// openWarm starts the pool of a version, with as many workers as now do what
// it shall do, if there can be so many.
func (s *Set) openWarm(ctx context.Context, def runnel.Function, version string, w runnel.Workers, size int, j *job) (*pool, error) {
	size = min(size, w.Max)
	first := w
	if size > 1 {
		first.Min = max(w.Min, size)
	}
	p, err := s.open(ctx, def, version, first, j)
	if err != nil || size < 2 {
		return p, err
	}
	s.fill(ctx, p, size, max(def.Concurrency, 1), startTimeout(def))
	// They stay until they have been idle for long enough.
	p.Resize(w)
	return p, nil
}

// fill waits until n workers of a pool that nobody else uses are ready. The
// first has proven that the code loads: where the others take too long, fewer
// have to do.
func (s *Set) fill(ctx context.Context, p *pool, n, slots int, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for i := range n * slots {
		_, release, err := p.Acquire(ctx)
		if err != nil {
			s.opts.Log.Warn("a version becomes live with fewer workers than were there before", "version", p.version, "workers", i/slots, "before", n, "err", err)
			return
		}
		defer release()
	}
}

// put stores a record.
func (s *Set) put(ctx context.Context, r Record) error {
	if err := s.opts.Records.Put(ctx, r); err != nil {
		return fmt.Errorf("record the version: %w", err)
	}
	return nil
}

// doubt notes that a record with this version may be stored, or not.
func (e *entry) doubt(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unsure[version] = true
}

// swap makes p the pool of its version, which is live by now, and returns
// those that it replaces. Others go on if stay is not nil, which is when they
// were started with the same settings, but for those of versions that are not
// kept, and those for which stay says false. The caller holds e.mu.
func (e *entry) swap(p *pool, stay map[string]bool) []*pool {
	others := make(map[string]*pool)
	if stay != nil {
		for version, q := range e.pools {
			if wanted, told := stay[version]; version != p.version && e.record.has(version) && (wanted || !told) {
				others[version] = q
				delete(e.pools, version)
			}
		}
	}
	old := e.takePools()
	e.pools = others
	e.pools[p.version] = p
	e.adjust()
	return old
}

// adjust gives all pools the bounds that the record has for them. The caller
// holds e.mu.
func (e *entry) adjust() {
	for version, p := range e.pools {
		p.timeout = max(p.timeout, timeout(e.record.Definition))
		p.Resize(e.record.workers(version))
	}
}

// forget removes, and returns, the pools of versions that are not kept. The
// caller holds e.mu.
func (e *entry) forget() []*pool {
	var old []*pool
	for version, p := range e.pools {
		if !e.record.has(version) {
			old = append(old, p)
			delete(e.pools, version)
		}
	}
	e.old = append(e.old, old...)
	return old
}

// Delete removes the function called name, OWNER/NAME, and its versions. Calls
// in flight end; the code is removed after them.
func (s *Set) Delete(ctx context.Context, name string) error {
	name = fullName(name)
	return s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		if err := s.opts.Records.Delete(ctx, name); err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		e.mu.Lock()
		e.record = Record{}
		old := e.takePools()
		e.mu.Unlock()
		s.retire(e, old...)
		s.cleanUp(e)
		if err := s.builds.forget(name); err != nil {
			s.opts.Log.Warn("old builds were not removed", "function", name, "err", err)
		}
		s.opts.Log.Info("function deleted", "function", name)
		return nil
	})
}

// versionDir is the directory of a version.
func (s *Set) versionDir(name, version string) string {
	return filepath.Join(s.home(name), version)
}
