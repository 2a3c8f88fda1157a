package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// sources opens the code of functions. What it unpacks on the way stays until
// close.
type sources struct {
	tmp  string // where archives are unpacked
	dirs []string
}

// close removes what was unpacked.
func (s *sources) close() {
	for _, dir := range s.dirs {
		// The directory is emptied at the next start.
		_ = os.RemoveAll(dir)
	}
}

// unpack unpacks a zip or a gzipped tar.
func (s *sources) unpack(ctx context.Context, archive io.ReaderAt, size int64) (fs.FS, error) {
	dir, err := os.MkdirTemp(s.tmp, "source-")
	if err != nil {
		return nil, fmt.Errorf("unpack the source: %w", err)
	}
	s.dirs = append(s.dirs, dir)
	if err := function.Unpack(ctx, dir, archive, size); err != nil {
		return nil, err
	}
	return function.Source(dir)
}

// spool copies what is sent, of at most most bytes, to a file and unpacks it.
func (s *sources) spool(ctx context.Context, in io.Reader, most int64) (fs.FS, error) {
	f, err := os.CreateTemp(s.tmp, "upload-")
	if err != nil {
		return nil, fmt.Errorf("keep the upload: %w", err)
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	n, err := copyUpload(f, in, most)
	if err != nil {
		return nil, err
	}
	return s.unpack(ctx, f, n)
}

// copyUpload copies what is sent, of at most most bytes, to a file.
func copyUpload(f *os.File, in io.Reader, most int64) (int64, error) {
	n, err := io.Copy(f, io.LimitReader(in, most+1))
	var disk *fs.PathError
	switch {
	case errors.As(err, &disk):
		return n, fmt.Errorf("keep the upload: %w", err)
	case err != nil:
		return n, runnel.Errorf(runnel.CodeInvalid, "read the body: %w", err)
	case n > most:
		return n, runnel.Errorf(runnel.CodeTooLarge, "the body is over %d bytes", most)
	}
	return n, nil
}

// open opens the code of a function that a file in dir declares; nil where
// the declaration itself is all of it.
func (s *sources) open(ctx context.Context, dir string, f runnel.Function) (fs.FS, error) {
	if f.Source == "" {
		return nil, nil //nolint:nilnil // inline, or elsewhere
	}
	path := filepath.FromSlash(f.Source)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || !function.IsArchive(path) {
		return function.Source(path)
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open source: %w", err)
	}
	defer in.Close()
	return s.unpack(ctx, in, info.Size())
}
