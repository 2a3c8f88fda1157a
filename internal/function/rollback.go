package function

import (
	"context"
	"fmt"
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
func (s *Set) Rollback(ctx context.Context, name, to string) (d Deployment, err error) {
	name = fullName(name)
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
			return fmt.Errorf("roll back %s: %w", name, err)
		}
		def.Runtime, def.Handler = m.Runtime, m.Handler
		if def.Source == "" {
			def.Inline = s.inlineOf(name, m)
		}
		j := s.builds.start(def, BuildForRestore)
		j.made(version)
		d, err = s.install(ctx, e, def, version, ByRollback, j)
		j.end(err, true)
		if err != nil {
			return fmt.Errorf("roll back %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return Deployment{}, err
	}
	if d.Changed {
		s.opts.Log.Info("function rolled back", "function", d.Name, "version", d.Version, "previous", d.Previous)
	}
	return d, nil
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
