package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The format file says what the directory is and which release may open it.
// It is read before anything else, since a later release may use an engine
// that this one cannot open.
const (
	formatFile    = "FORMAT"
	formatVersion = 1
	formatText    = "runnel data directory, format %d\n"
)

func openFormat(f FS, dir string) error {
	path := f.PathJoin(dir, formatFile)
	file, err := f.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createFormat(f, dir, path)
	case err != nil:
		return fmt.Errorf("open data directory: %w", err)
	}
	buf := make([]byte, 256)
	n, readErr := file.Read(buf)
	if err := file.Close(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var version int
	if _, err := fmt.Sscanf(string(buf[:n]), formatText, &version); err != nil {
		return errors.Join(fmt.Errorf("%s: %w (its FORMAT file reads %q)", dir, ErrNotStore, buf[:n]), ignoreEOF(readErr))
	}
	if version > formatVersion {
		return fmt.Errorf("data directory %s has format %d, this release knows up to %d: %w; use that release, or another directory",
			dir, version, formatVersion, ErrNewerFormat)
	}
	if version < 1 {
		return fmt.Errorf("%s: %w (its FORMAT file names format %d)", dir, ErrNotStore, version)
	}
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func createFormat(f FS, dir, path string) error {
	names, err := f.List(dir)
	if err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	for _, name := range names {
		if name != formatFile+".new" {
			return fmt.Errorf("%s: %w: it has no FORMAT file, but holds %q; choose an empty directory", dir, ErrNotStore, name)
		}
	}
	file, err := f.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("the data directory %s cannot be written: %w: choose another, or give it to this user", dir, err)
	}
	_, err = fmt.Fprintf(file, formatText, formatVersion)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	if err := f.Rename(path+".new", path); err != nil {
		return fmt.Errorf("create data directory: %w", err)
	}
	return syncDir(f, dir)
}

// Backup writes a copy of the store, as of now, into the new directory dest.
// It can be opened as a data directory. On one filesystem most of the copy is
// hard links. The store goes on working.
func (s *Store) Backup(dest string) error {
	f := s.opt.FS
	if _, err := f.Stat(dest); err == nil {
		return fmt.Errorf("back up to %s: it exists already", dest)
	}
	if err := makeDir(f, dest); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := createFormat(f, dest, f.PathJoin(dest, formatFile)); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if err := s.db.Checkpoint(f.PathJoin(dest, "db"), pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return syncDir(f, dest)
}
