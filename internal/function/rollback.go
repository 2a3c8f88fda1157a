package function

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// Rollback makes the version that was live before the present one live again,
// or the one that to names, be it a build that never was live. Like a deploy it
// returns when calls go to that version, and on an error everything is as it
// was. The settings of the function stay. To roll back twice is to be where one
// was.
func (s *Set) Rollback(ctx context.Context, name, to string) (Deployment, error) {
	d, err := s.enliven(ctx, name, to, ByRollback)
	if d.Changed {
		s.opts.Log.Info("function rolled back", "function", d.Name, "version", d.Version, "previous", d.Previous)
	}
	return d, err
}

// Promote makes the version that ref, a reference without the name, names the
// live one, as Rollback does, and says in the history that it was published.
func (s *Set) Promote(ctx context.Context, name, ref string) (Deployment, error) {
	d, err := s.enliven(ctx, name, ref, ByPublish)
	if d.Changed {
		s.opts.Log.Info("published version made live", "function", d.Name, "version", d.Version, "previous", d.Previous)
	}
	return d, err
}

// enliven makes a version that is kept the live one.
func (s *Set) enliven(ctx context.Context, name, to, how string) (d Deployment, err error) {
	name = fullName(name)
	what := "roll back"
	if how == ByPublish {
		what = "make live"
	}
	err = s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		r := e.stored()
		version := r.previous()
		if to != "" {
			var err error
			if version, err = r.resolve(to); err != nil {
				return err
			}
		}
		switch version {
		case "":
			return runnel.Errorf(runnel.CodeConflict, "function %s has no version that was live before %s: say which one shall be", name, r.Live)
		case r.Live:
			d = Deployment{Name: name, Version: version, Live: version, Previous: version}
			return nil
		}
		defer s.cleanUp(e)
		def := r.definition(version)
		m, err := readManifest(s.versionDir(name, version))
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, name, err)
		}
		def.Runtime, def.Handler = m.Runtime, m.Handler
		if def.Source == "" {
			def.Inline = s.inlineOf(name, m)
		}
		j := s.builds.start(def, BuildForRestore)
		j.made(version)
		d, err = s.install(ctx, e, def, version, how, j)
		j.end(err, true)
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, name, err)
		}
		return nil
	})
	if err != nil {
		return Deployment{}, err
	}
	return d, nil
}

// Configure changes settings of a function: change gets its definition and
// returns it with others. The code stays, and is not part of it. As a deploy it
// returns when calls go to workers with the new settings, and on an error
// everything is as it was.
func (s *Set) Configure(ctx context.Context, name string, change func(def runnel.Function) runnel.Function) error {
	name = fullName(name)
	return s.change(ctx, name, false, func(ctx context.Context, e *entry) error {
		r := e.stored()
		before := r.Definition
		def := change(before)
		def.Name, def.Runtime, def.Handler, def.Transport, def.URL = before.Name, before.Runtime, before.Handler, before.Transport, before.URL
		def.Source, def.Inline = before.Source, before.Inline
		if err := def.Validate(); err != nil {
			return err
		}
		if same(def, before) {
			return nil
		}
		j := s.builds.start(def, BuildForRestore)
		j.made(r.Live)
		// The live version goes on under a definition that is not its own
		// deploy: it does not become the newest build.
		_, err := s.install(ctx, e, def, r.Live, ByRollback, j)
		j.end(err, true)
		if err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
		return nil
	})
}

// Code returns the files of the version of a function that ref, a reference
// without the name, names, and its hash. They are read while the version is
// kept.
func (s *Set) Code(name, ref string) (code fs.FS, hash string, err error) {
	v, err := s.Version(name, ref)
	if err != nil {
		return nil, "", err
	}
	return os.DirFS(filepath.Join(s.versionDir(fullName(name), v.Hash), codeDir)), v.Hash, nil
}

// inlineOf is the text of a version that is one file of the name that inline
// code has; empty where it is not.
func (s *Set) inlineOf(name string, m *manifest) string {
	if len(m.Files) != 1 || m.Files[0].Link != "" || m.Files[0].Size > maxInline {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(s.versionDir(name, m.Version), codeDir, filepath.FromSlash(m.Files[0].Name)))
	if err != nil || !utf8.Valid(text) {
		return ""
	}
	file, err := inlineName(runnel.Function{Runtime: m.Runtime, Handler: m.Handler, Inline: string(text)})
	if err != nil || file != m.Files[0].Name {
		return ""
	}
	return string(text)
}

// maxInline is the most that runnel.Function takes as inline code.
const maxInline = 256 << 10
