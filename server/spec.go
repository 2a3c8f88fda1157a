package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/dispatch"
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
	opt.Open = func(path string) (fs.File, error) { return os.Open(path) }
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
// one at a time. It is called while the server runs; where ctx ends, functions
// that were deployed by then stay.
func (s *Server) Reload(ctx context.Context) error {
	_, err := s.reload(ctx)
	return err
}

// reloader is Reload for the native API.
type reloader struct{ *Server }

// Reload implements admin.Reloader.
func (r reloader) Reload(ctx context.Context) ([]admin.Change, error) { return r.reload(ctx) }

func (s *Server) reload(ctx context.Context) ([]admin.Change, error) {
	if s.cfg.SpecFile == "" {
		return nil, runnel.Errorf(runnel.CodeUnsupported, "the server has no spec file")
	}
	path, err := filepath.Abs(s.cfg.SpecFile)
	if err != nil {
		return nil, fmt.Errorf("read the spec file: %w", err)
	}
	// The file is read in the turn: the last one read is the last applied.
	select {
	case <-s.reloads:
		defer func() { s.reloads <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	file, err := readSpec(s.cfg.SpecFile, spec.Options{Functions: func(name string) bool { return s.functions.goHandler(name) != nil }})
	if err != nil {
		return nil, err
	}
	start := time.Now()
	done, err := s.applier.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	ctx = catalog.By(ctx, "spec file "+path)
	code := sources{tmp: filepath.Join(s.cfg.Dir, workersDir)}
	defer code.close()
	changes, err := s.applier.apply(ctx, file, path, func(f runnel.Function) (fs.FS, error) { return code.open(ctx, filepath.Dir(path), f) }, false)
	for _, c := range changes {
		if c.Action != unchanged || c.Detail != "" {
			s.log.Info(c.Kind+" "+c.Action, "name", c.Name, "detail", c.Detail)
		}
	}
	if err != nil {
		return changes, err
	}
	s.log.Info("spec applied", "file", s.cfg.SpecFile, "after", since(start))
	return changes, nil
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
