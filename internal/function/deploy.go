package function

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// keptVersions is how many versions of a function can be called: the live one
// and those before it.
const keptVersions = 10

// Deployment says what Deploy did.
type Deployment struct {
	// Name is OWNER/NAME.
	Name string
	// Version is live now; Previous was before, and is empty for a new
	// function.
	Version, Previous string
	// Changed says whether anything was changed, be it only a setting.
	Changed bool
	// Build is the id of the build, empty where nothing was changed.
	Build string
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
	def, err := named(def)
	if err != nil {
		return Deployment{}, err
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return Deployment{}, err
	}
	defer leave()
	e := s.entry(def.Name, true)
	if err := e.takeTurn(ctx); err != nil {
		return Deployment{}, err
	}
	defer e.endTurn()
	defer s.cleanUp(e)
	j := s.builds.start(def, BuildForDeploy)
	d, err := s.deploy(ctx, e, def, source, j)
	j.end(err, err != nil || d.Changed)
	if err != nil {
		return Deployment{}, fmt.Errorf("deploy %s: %w", def.Name, err)
	}
	if d.Changed {
		d.Build = j.id()
	}
	if d.Changed {
		s.opts.Log.Info("function deployed", "function", d.Name, "version", d.Version, "previous", d.Previous)
	}
	return d, nil
}

// DeployCode is Deploy in the settings of def, or where it is nil in those that
// the function has. Inline code and the source of a file are forgotten.
func (s *Set) DeployCode(ctx context.Context, name string, def *runnel.Function, source fs.FS) (Deployment, error) {
	if def == nil {
		e := s.entry(name, false)
		if e == nil {
			return Deployment{}, notFound(name)
		}
		e.mu.Lock()
		now, exists := e.record.Definition, e.record.Live != ""
		e.mu.Unlock()
		if !exists {
			return Deployment{}, notFound(name)
		}
		now.Source, now.Inline = "", ""
		def = &now
	}
	return s.Deploy(ctx, *def, source)
}

// deploy stages the code and installs it.
func (s *Set) deploy(ctx context.Context, e *entry, def runnel.Function, source fs.FS, j *job) (Deployment, error) {
	m, err := stage(ctx, s.home(def.Name), def, source)
	if err != nil {
		return Deployment{}, err
	}
	j.made(m.Version)
	size := int64(0)
	for _, f := range m.Files {
		size += f.Size
	}
	j.log(fmt.Sprintf("version %s of %s, runtime %s: %d files, %d bytes", m.Version, def.Name, def.Runtime, len(m.Files), size))
	return s.install(ctx, e, def, m.Version, j)
}

// install makes version, whose code is in its directory, the live one. The
// caller has the turn, so that nobody else changes the record.
func (s *Set) install(ctx context.Context, e *entry, def runnel.Function, version string, j *job) (Deployment, error) {
	e.mu.Lock()
	before := e.record
	running := e.pools[version] != nil || e.starting[version] != nil
	_, failing := e.failures[version]
	e.mu.Unlock()
	d := Deployment{Name: def.Name, Version: version, Previous: before.Live, Changed: version != before.Live || !same(def, before.Definition)}
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
		for version, p := range e.pools {
			p.timeout = max(p.timeout, timeout(def))
			p.Resize(after.workers(version))
		}
		return d, nil
	}

	after.Live = version
	p, err := s.open(ctx, def, version, after.workers(version), j)
	if err != nil {
		return d, err
	}
	after.Deployed = s.opts.Now()
	after.Versions = s.kept(e, def, before, version)
	if err := s.put(ctx, after); err != nil {
		e.mu.Lock()
		e.unsure[version] = true
		e.mu.Unlock()
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
		old = e.swap(p, before.Live, samePool(def, before.Definition))
	}
	e.mu.Unlock()
	s.retire(e, old...)
	return d, nil
}

// put stores a record.
func (s *Set) put(ctx context.Context, r Record) error {
	if err := s.opts.Records.Put(ctx, r); err != nil {
		return fmt.Errorf("record the version: %w", err)
	}
	return nil
}

// swap makes p the pool of its version, which is live by now, and returns
// those that it replaces: the one that was live, those of versions that are not
// kept, and all unless the settings are the same. The caller holds e.mu.
func (e *entry) swap(p *pool, previous string, same bool) []*pool {
	stay := make(map[string]*pool)
	if same {
		for version, q := range e.pools {
			if version != p.version && version != previous && e.record.has(version) {
				stay[version] = q
				delete(e.pools, version)
			}
		}
	}
	old := e.takePools()
	e.pools = stay
	e.pools[p.version] = p
	return old
}

// kept returns the versions that are kept when version becomes live: it, the
// last ones before it, and any of which workers run.
func (s *Set) kept(e *entry, def runnel.Function, before Record, version string) []Version {
	next := Version{Hash: version, Created: s.opts.Now(), Runtime: def.Runtime}
	e.mu.Lock()
	defer e.mu.Unlock()
	versions := []Version{next}
	for _, v := range before.Versions {
		switch {
		case v.Hash == version:
			versions[0].Created = v.Created
		case len(versions) < keptVersions || e.busy(v.Hash):
			versions = append(versions, v)
		}
	}
	return slices.Clip(versions)
}

// Delete removes the function called name, OWNER/NAME, and its versions. Calls
// in flight end; the code is removed after them.
func (s *Set) Delete(ctx context.Context, name string) error {
	if !strings.Contains(name, "/") {
		name = "default/" + name
	}
	ctx, leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	e := s.entry(name, false)
	if e == nil {
		return notFound(name)
	}
	if err := e.takeTurn(ctx); err != nil {
		return err
	}
	defer e.endTurn()
	e.mu.Lock()
	exists := e.record.Live != ""
	e.mu.Unlock()
	if !exists {
		return notFound(name)
	}
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
}

// versionDir is the directory of a version.
func (s *Set) versionDir(name, version string) string {
	return filepath.Join(s.home(name), version)
}
