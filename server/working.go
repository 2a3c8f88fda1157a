package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// working are the working sources of algorithms: what people edit, and what a
// build takes a copy of. They lie in
//
//	dir/OWNER/NAME       the files
//	dir/OWNER/.old-NAME  those of before, while all are replaced
//	dir/.tmp             what is being written; emptied at each start
//
// A file is replaced by a rename, and never written to, so that a hard link is
// a copy. There are no links and no devices.
type working struct {
	dir string
	// room says why the disk takes no more, or nil.
	room func() error

	mu sync.RWMutex // held while files are looked at, or get their names
}

// The bounds of a working source.
const (
	maxWorkingFile  = 16 << 20
	maxWorkingBytes = 64 << 20
	maxWorkingFiles = 2000
	maxWorkingPath  = 255
)

const (
	workingDir = "sources" // of the data directory
	workingTmp = ".tmp"
	workingOld = ".old-"
)

// workingFile is one file.
type workingFile struct {
	name     string
	size     int64
	modified time.Time
}

// openWorking opens the sources of a data directory. exists says whether there
// is an algorithm: what belongs to none is removed.
func openWorking(dir string, room func() error, exists func(name string) bool) (*working, error) {
	w := &working{dir: dir, room: room}
	if err := os.RemoveAll(filepath.Join(dir, workingTmp)); err != nil {
		return nil, fmt.Errorf("open the sources: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, workingTmp), 0o700); err != nil {
		return nil, fmt.Errorf("open the sources: %w", err)
	}
	owners, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the sources: %w", err)
	}
	for _, owner := range owners {
		if owner.Name() == workingTmp || !owner.IsDir() {
			continue
		}
		if err := w.mend(owner.Name(), exists); err != nil {
			return nil, fmt.Errorf("open the sources: %w", err)
		}
	}
	return w, nil
}

// mend ends what a crash cut off, in the directory of an owner.
func (w *working) mend(owner string, exists func(name string) bool) error {
	home := filepath.Join(w.dir, owner)
	entries, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.Join(home, e.Name())
		name, old := strings.CutPrefix(e.Name(), workingOld)
		switch _, err := os.Stat(filepath.Join(home, name)); {
		case !exists(owner + "/" + name), old && err == nil:
			if err := os.RemoveAll(at); err != nil {
				return err
			}
		case old:
			if err := os.Rename(at, filepath.Join(home, name)); err != nil {
				return err
			}
		}
	}
	_ = os.Remove(home) // the last one's
	return nil
}

func (w *working) home(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// has says whether there is a working source.
func (w *working) has(name string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, err := os.Stat(w.home(name))
	return err == nil
}

// workingPath refuses what is no name of a file.
func workingPath(name string) error {
	no := func(format string, args ...any) error {
		return runnel.Errorf(runnel.CodeInvalid, "the name of a file: %s", fmt.Sprintf(format, args...))
	}
	switch {
	case len(name) > maxWorkingPath:
		return no("has %d bytes, and may have %d", len(name), maxWorkingPath)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, `\`):
		return no("%.80q is not of plain text with slashes", name)
	case !fs.ValidPath(name) || name == ".":
		return no("%.80q is not relative, as in src/hello.py", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if function.Ignored(part) {
			return no("%.80q: %s is no part of a function", name, part)
		}
	}
	return nil
}

func noFile(name string) error {
	return runnel.Errorf(runnel.CodeNotFound, "the source has no file %.255q", name)
}

// list returns the files, by name; none where there is no source.
func (w *working) list(name string) ([]workingFile, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return listFiles(os.DirFS(w.home(name)))
}

// listFiles lists the files of a directory, which need not be there.
func listFiles(dir fs.FS) ([]workingFile, error) {
	var files []workingFile
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == "." {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files = append(files, workingFile{name, info.Size(), info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the source: %w", err)
	}
	slices.SortFunc(files, func(a, b workingFile) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// read returns a file.
func (w *working) read(name, file string) ([]byte, error) {
	if err := workingPath(file); err != nil {
		return nil, err
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	return readFile(os.DirFS(w.home(name)), file)
}

// readFile reads a regular file of a directory.
func readFile(dir fs.FS, file string) ([]byte, error) {
	info, err := fs.Stat(dir, file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), err == nil && !info.Mode().IsRegular():
		return nil, noFile(file)
	case err != nil:
		return nil, fmt.Errorf("read the source: %w", err)
	case info.Size() > maxWorkingFile:
		return nil, runnel.Errorf(runnel.CodeTooLarge, "the file %s has %d bytes, and at most %d are shown", file, info.Size(), maxWorkingFile)
	}
	text, err := fs.ReadFile(dir, file)
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	return text, nil
}

// write writes a file, and the directories that it is in.
func (w *working) write(name, file string, body io.Reader) (f workingFile, made bool, err error) {
	if err := workingPath(file); err != nil {
		return f, false, err
	}
	if err := w.hasRoom(); err != nil {
		return f, false, err
	}
	tmp, err := os.CreateTemp(filepath.Join(w.dir, workingTmp), "file-")
	if err != nil {
		return f, false, fmt.Errorf("write the source: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it has another name by then
	n, err := copyBody(tmp, body, maxWorkingFile)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return f, false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	before, err := listFiles(os.DirFS(w.home(name)))
	if err != nil {
		return f, false, err
	}
	count, total := len(before)+1, n
	mode := fs.FileMode(0o644)
	made = true
	for _, b := range before {
		total += b.size
		switch {
		case b.name == file:
			count, total, made = count-1, total-b.size, false
			if info, err := os.Stat(filepath.Join(w.home(name), filepath.FromSlash(file))); err == nil {
				mode = info.Mode().Perm()
			}
		case strings.HasPrefix(b.name, file+"/"):
			return f, false, runnel.Errorf(runnel.CodeConflict, "%s is a directory of the source: delete %s first", file, b.name)
		case strings.HasPrefix(file, b.name+"/"):
			return f, false, runnel.Errorf(runnel.CodeConflict, "%s is a file of the source, and no directory: delete it first", b.name)
		}
	}
	if err := bounded(count, total); err != nil {
		return f, false, err
	}
	to := filepath.Join(w.home(name), filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return f, false, fmt.Errorf("write the source: %w", err)
	}
	if err := errors.Join(os.Chmod(tmp.Name(), mode), os.Rename(tmp.Name(), to)); err != nil {
		return f, false, fmt.Errorf("write the source: %w", err)
	}
	// The directories may be new, up to the owner's.
	for dir := filepath.Dir(to); len(dir) >= len(w.dir); dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil {
			return f, false, fmt.Errorf("write the source: %w", err)
		}
	}
	info, err := os.Stat(to)
	if err != nil {
		return f, false, fmt.Errorf("write the source: %w", err)
	}
	return workingFile{file, n, info.ModTime()}, made, nil
}

// copyBody copies at most most bytes of a body to a file, and makes them
// durable.
func copyBody(to *os.File, body io.Reader, most int64) (int64, error) {
	n, err := copyUpload(to, body, most)
	if err != nil {
		return n, err
	}
	if err := to.Sync(); err != nil {
		return n, fmt.Errorf("write the source: %w", err)
	}
	return n, nil
}

func bounded(files int, bytes int64) error {
	switch {
	case files > maxWorkingFiles:
		return runnel.Errorf(runnel.CodeTooLarge, "a source has at most %d files", maxWorkingFiles)
	case bytes > maxWorkingBytes:
		return runnel.Errorf(runnel.CodeTooLarge, "the files of a source have at most %d MiB together", maxWorkingBytes>>20)
	}
	return nil
}

func (w *working) hasRoom() error {
	if err := w.room(); err != nil {
		return runnel.Errorf(runnel.CodeUnavailable, "the disk of the server is nearly full: %w", err)
	}
	return nil
}

// remove removes a file, and the directories that are empty then.
func (w *working) remove(name, file string) error {
	if err := workingPath(file); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	home := w.home(name)
	at := filepath.Join(home, filepath.FromSlash(file))
	info, err := os.Lstat(at)
	if err != nil || !info.Mode().IsRegular() {
		return noFile(file)
	}
	if err := os.Remove(at); err != nil {
		return fmt.Errorf("remove a file of the source: %w", err)
	}
	dir := filepath.Dir(at)
	for ; len(dir) > len(home); dir = filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil {
			break // it is not empty
		}
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("remove a file of the source: %w", err)
	}
	return nil
}

// replace puts what fill writes into a new directory in place of all files.
func (w *working) replace(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) error {
	if err := w.hasRoom(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Join(w.dir, workingTmp), "all-")
	if err != nil {
		return fmt.Errorf("write the source: %w", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // the next start empties the directory
	if err := fill(ctx, tmp); err != nil {
		return err
	}
	if err := settle(tmp); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	home := w.home(name)
	old := filepath.Join(filepath.Dir(home), workingOld+filepath.Base(home))
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		return fmt.Errorf("write the source: %w", err)
	}
	// A crash between the two renames is mended at the next start.
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("write the source: %w", err)
	}
	if err := os.Rename(home, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the source: %w", err)
	}
	if err := os.Rename(tmp, home); err != nil {
		return fmt.Errorf("write the source: %w", errors.Join(err, os.Rename(old, home)))
	}
	if err := errors.Join(syncDir(filepath.Dir(home)), syncDir(w.dir), os.RemoveAll(old)); err != nil {
		return fmt.Errorf("write the source: %w", err)
	}
	return nil
}

// settle checks that a directory can be a working source, and makes it durable.
func settle(dir string) error {
	count, total := 0, int64(0)
	err := filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("write the source: %w", err)
		}
		if e.IsDir() {
			return errors.Join(os.Chmod(at, 0o755), syncDir(at))
		}
		name, err := filepath.Rel(dir, at)
		if err != nil {
			return fmt.Errorf("write the source: %w", err)
		}
		if err := workingPath(filepath.ToSlash(name)); err != nil {
			return err
		}
		info, err := e.Info()
		switch {
		case err != nil:
			return fmt.Errorf("write the source: %w", err)
		case !info.Mode().IsRegular():
			return runnel.Errorf(runnel.CodeInvalid, "%s is no regular file: a working source has no links", filepath.ToSlash(name))
		case info.Size() > maxWorkingFile:
			return runnel.Errorf(runnel.CodeTooLarge, "%s: a file of a source has at most %d bytes", filepath.ToSlash(name), maxWorkingFile)
		}
		count, total = count+1, total+info.Size()
		if err := bounded(count, total); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		return errors.Join(os.Chmod(at, mode), syncDir(at))
	})
	return err
}

// syncDir makes a directory, or a file, durable.
func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copyTo copies all files to the empty directory dir.
func (w *working) copyTo(name, dir string) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if err := os.CopyFS(dir, os.DirFS(w.home(name))); err != nil {
		return fmt.Errorf("copy the source: %w", err)
	}
	return nil
}

// drop removes a source, if there is one.
func (w *working) drop(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	home := w.home(name)
	if err := os.RemoveAll(home); err != nil {
		return fmt.Errorf("remove the source: %w", err)
	}
	_ = os.Remove(filepath.Dir(home)) // the last one's
	return nil
}

// linkAll puts a copy of all sources, of hard links where it can, into the
// directory dest.
func (w *working) linkAll(dest string) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	err := filepath.WalkDir(w.dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, at)
		if err != nil {
			return err
		}
		to := filepath.Join(dest, name)
		switch {
		case e.IsDir() && name == workingTmp, e.IsDir() && strings.HasPrefix(e.Name(), workingOld):
			return fs.SkipDir
		case e.IsDir():
			return os.MkdirAll(to, 0o755)
		}
		if os.Link(at, to) == nil {
			return nil
		}
		// Not every filesystem has links.
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
	if err != nil {
		return fmt.Errorf("copy the sources: %w", err)
	}
	return nil
}

// writeFiles fills a directory with texts by their names.
func writeFiles(files map[string]string) func(ctx context.Context, dir string) error {
	return func(_ context.Context, dir string) error {
		for name, text := range files {
			at := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(path.Dir(name))), 0o755); err != nil {
				return fmt.Errorf("write the source: %w", err)
			}
			if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
				return fmt.Errorf("write the source: %w", err)
			}
		}
		return nil
	}
}
