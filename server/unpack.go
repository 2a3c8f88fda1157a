package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// Bounds of what an archive unpacks to: bytes, and files with directories.
// internal/function has the exact limits of a source.
const (
	maxArchive        = 300 << 20
	maxArchiveEntries = 60_000
)

// unpack unpacks a gzipped tar into a directory of its own, which remove
// removes. Nothing is written outside of it, whatever the archive says: os.Root
// follows no link that leads out.
func unpack(tmp string, archive []byte) (_ fs.FS, remove func(), err error) {
	dir, err := os.MkdirTemp(tmp, "source-")
	if err != nil {
		return nil, nil, fmt.Errorf("unpack the source: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("unpack the source: %w", err)
	}
	defer root.Close()
	if err := unpackInto(root, archive); err != nil {
		return nil, nil, err
	}
	code, err := function.Source(dir)
	return code, remove, err
}

func unpackInto(root *os.Root, archive []byte) error {
	bad := func(format string, args ...any) error {
		return runnel.Errorf(runnel.CodeInvalid, "the source is not a gzipped tar of files and directories: %s", fmt.Sprintf(format, args...))
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return bad("%v", err)
	}
	// What is read is bounded too, whatever the headers say: 512 bytes of
	// header to each entry, and padding.
	tr := tar.NewReader(io.LimitReader(z, maxArchive+maxArchiveEntries*2048))
	left := int64(maxArchive)
	for entries := 0; ; entries++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("%v", err)
		}
		if left -= max(h.Size, 0); left < 0 || entries == maxArchiveEntries {
			return runnel.Errorf(runnel.CodeTooLarge, "the source unpacks to more than %d bytes or %d files", int64(maxArchive), maxArchiveEntries)
		}
		name := path.Clean(strings.TrimSuffix(h.Name, "/"))
		if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if !fs.ValidPath(name) {
			return bad("%q is outside of it", h.Name)
		}
		if err := unpackEntry(root, h, name, tr); err != nil {
			var at *fs.PathError
			var link *os.LinkError
			switch {
			case errors.Is(err, syscall.ENOSPC):
				return fmt.Errorf("unpack the source: %w", err)
			case errors.Is(err, fs.ErrExist):
				return bad("%q stands in it twice", h.Name)
			case errors.As(err, &at):
				return bad("%q: %v", h.Name, at.Err)
			case errors.As(err, &link):
				return bad("%q: %v", h.Name, link.Err)
			}
			return bad("%q: %v", h.Name, err)
		}
	}
}

// unpackEntry makes one file, directory or link. Where a link of a source leads
// is checked by internal/function: here it is only not followed out.
func unpackEntry(root *os.Root, h *tar.Header, name string, content io.Reader) (err error) {
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		mode := fs.FileMode(0o644)
		if h.FileInfo().Mode()&0o111 != 0 {
			mode = 0o755
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		_, err = io.Copy(f, content)
		return err
	}
	return errors.New("is neither a file, nor a directory, nor a symbolic link")
}
