package server

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/spec"
)

const (
	// watchEvery is how often Watch looks at the spec file and the sources.
	watchEvery = 300 * time.Millisecond
	// watchShare bounds what looking takes of one core, where there is much to
	// look at: the next look is at least so many times as far as one took.
	watchShare = 20
)

// watch reloads when the spec file, or a file that it names, has changed. A
// change is taken when nothing has changed any more for one look: editors write
// several files, or one in several steps. What failed is tried again with the
// next change.
func (s *Server) watch(ctx context.Context, w *watcher) {
	last := w.applied
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		now := w.look()
		timer.Reset(max(watchEvery, watchShare*time.Since(start)))
		settled := now == last
		if last = now; !settled || now == w.applied {
			continue
		}
		w.applied = now
		if err := s.Reload(ctx); err != nil && ctx.Err() == nil {
			s.logFaults(err)
		}
	}
}

// watcher knows which files make a difference.
type watcher struct {
	path    string
	applied string // what look returned before the last reload

	read  string   // of the spec file, when it was parsed
	paths []string // sources, and files that the spec takes values from
}

func newWatcher(path string) *watcher {
	w := &watcher{path: path}
	w.applied = w.look()
	return w
}

// look tells by names, sizes, times and modes whether any of the files has
// changed.
func (w *watcher) look() string {
	var b strings.Builder
	note := func(path string, info fs.FileInfo) {
		fmt.Fprintf(&b, "%s %d %d %o\n", path, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	if info, err := os.Stat(w.path); err == nil {
		note(w.path, info)
	}
	if b.String() != w.read {
		w.parse()
		w.read = b.String()
	}
	for _, root := range w.paths {
		// WalkDir does not follow the link that a source may be.
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what is missing is told by Reload
			switch {
			case err != nil:
				return nil //nolint:nilerr // it is on its way
			case d.IsDir() && path != root && function.Ignored(d.Name()):
				return fs.SkipDir
			case d.IsDir() || path != root && function.Ignored(d.Name()):
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

// parse finds the files that the spec names. Where it cannot be read, the last
// ones are still looked at: its faults are told by Reload.
func (w *watcher) parse() {
	text, err := os.ReadFile(w.path)
	if err != nil {
		return
	}
	var paths []string
	dir := filepath.Dir(w.path)
	file, err := spec.Parse(w.path, text, spec.Options{
		Dir: dir, Env: os.LookupEnv,
		ReadFile: func(path string) ([]byte, error) {
			paths = append(paths, path)
			return os.ReadFile(path)
		},
	})
	for _, f := range file.Functions {
		if f.Source == "" {
			continue // the file itself says all
		}
		root := f.Source
		if !filepath.IsAbs(root) {
			root = filepath.Join(dir, root)
		}
		paths = append(paths, root)
	}
	if err != nil {
		paths = append(paths, w.paths...)
	}
	slices.Sort(paths)
	w.paths = slices.Compact(paths)
}
