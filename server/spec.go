package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/dispatch"
	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/spec"
)

// readSpec reads a spec file, with what opt says exists beside it. Everything
// else that the file may refer to is looked for on this machine.
func readSpec(path string, opt spec.Options) (*spec.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the spec file: %w", err)
	}
	opt.Dir = filepath.Dir(path)
	opt.Env, opt.ReadFile, opt.Stat = os.LookupEnv, os.ReadFile, os.Stat
	opt.CheckFilter = dispatch.CheckFilter
	file, err := spec.Parse(path, text, opt)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// CheckFilter says what is wrong with the filter of a flow.
func CheckFilter(expression string) error { return dispatch.CheckFilter(expression) }

// CheckSpec returns every fault of a spec file, joined, each with its file and
// line. handlers are the Go handlers that it may call. It opens no socket, and
// neither reads nor changes data: what an earlier apply made does not count.
func CheckSpec(path string, handlers map[string]runnel.Handler) error {
	names := make(map[string]bool)
	for name := range handlers {
		names[fullName(name)] = true
	}
	_, err := readSpec(path, spec.Options{Functions: func(name string) bool { return names[name] }})
	return err
}

// Reload reads the spec file again and makes the server what it says now. On
// an error everything that could not be changed runs on as it was. Reloads run
// one at a time.
func (s *Server) Reload(ctx context.Context) error {
	if s.cfg.SpecFile == "" {
		return errors.New("the server has no spec file")
	}
	path, err := filepath.Abs(s.cfg.SpecFile)
	if err != nil {
		return fmt.Errorf("read the spec file: %w", err)
	}
	file, err := readSpec(s.cfg.SpecFile, spec.Options{Functions: func(name string) bool { return s.functions.goHandler(name) != nil }})
	if err != nil {
		return err
	}
	start := time.Now()
	changes, err := s.applier.apply(ctx, file, path, func(f runnel.Function) (fs.FS, error) { return sourceOf(filepath.Dir(path), f) }, false)
	for _, c := range changes {
		if c.Action != unchanged || c.Detail != "" {
			s.log.Info(c.Kind+" "+c.Action, "name", c.Name, "detail", c.Detail)
		}
	}
	if err != nil {
		return err
	}
	s.log.Info("spec applied", "file", s.cfg.SpecFile, "after", since(start))
	return nil
}

// watchEvery is how often Watch looks at the spec file and the sources.
const watchEvery = 300 * time.Millisecond

// watch reloads when the spec file, or the source of a function, has changed.
// A change is taken when nothing has changed any more for one look: editors
// write several files, or one in several steps.
func (s *Server) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	applied := s.fingerprint()
	last := applied
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := s.fingerprint()
		settled := now == last
		last = now
		if !settled || now == applied {
			continue
		}
		applied = now
		if err := s.Reload(ctx); err != nil && ctx.Err() == nil {
			s.logFaults(err)
		}
	}
}

// logFaults logs each fault of a spec file in a line of its own.
func (s *Server) logFaults(err error) {
	var joined interface{ Unwrap() []error }
	if faults := spec.Faults(err); len(faults) > 0 {
		for _, f := range faults {
			s.log.Error("spec not applied, what runs goes on", "err", f)
		}
	} else if errors.As(err, &joined) {
		for _, one := range joined.Unwrap() {
			s.log.Error("spec not applied, what runs goes on", "err", one)
		}
	} else {
		s.log.Error("spec not applied, what runs goes on", "err", err)
	}
}

// fingerprint tells whether the spec file or a source that it names has
// changed: names, sizes and times of all their files.
func (s *Server) fingerprint() string {
	var b strings.Builder
	note := func(path string, info fs.FileInfo) {
		fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	if info, err := os.Stat(s.cfg.SpecFile); err == nil {
		note(s.cfg.SpecFile, info)
	}
	text, err := os.ReadFile(s.cfg.SpecFile)
	if err != nil {
		return b.String()
	}
	file, _ := spec.Parse(s.cfg.SpecFile, text, spec.Options{Env: os.LookupEnv, ReadFile: os.ReadFile}) // its faults are told by Reload
	for _, f := range file.Functions {
		root := f.Source
		if !filepath.IsAbs(root) {
			root = filepath.Join(filepath.Dir(s.cfg.SpecFile), root)
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what is missing is told by Reload
			switch {
			case err != nil:
				return nil //nolint:nilerr // it is on its way
			case d.IsDir() && path != root && function.Ignored(d.Name()):
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			if info, err := d.Info(); err == nil {
				note(path, info)
			}
			return nil
		})
	}
	return b.String()
}
