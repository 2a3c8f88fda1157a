package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The bounds of a function's source, which are the server's.
const (
	maxSourceBytes = 250 << 20
	maxSourceFiles = 50_000
)

// ignored says whether a file or directory of this name is no part of a
// function, wherever it stands in a source: version control, caches, what is
// installed (the server does that), the locks of editors. The server has the
// same list.
func ignored(name string) bool {
	switch name {
	case ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "__pycache__", "node_modules", ".venv", ".DS_Store":
		return true
	}
	return strings.HasPrefix(name, ".#")
}

// isArchive says whether a source of this name is packed already.
func isArchive(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".zip") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// pack makes a gzipped tar of a function's source: a directory, or a single
// file. The same source gives the same bytes, whoever packs it and when. An
// archive is what it is.
func pack(source string) ([]byte, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if !info.IsDir() && isArchive(source) {
		if info.Size() > maxUpload {
			return nil, fmt.Errorf("pack %s: it is larger than %d MiB: POST /api/v1/functions/OWNER/NAME/builds takes it", source, maxUpload>>20)
		}
		return os.ReadFile(source)
	}
	dir, only := source, ""
	if !info.IsDir() {
		dir, only = filepath.Split(source)
		if dir == "" {
			dir = "."
		}
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	p := packer{tar: tar.NewWriter(zip), from: os.DirFS(dir)}
	if only != "" {
		err = p.file(only, info)
	} else {
		err = fs.WalkDir(p.from, ".", p.add)
	}
	if err == nil && p.files == 0 {
		err = errors.New("there are no files")
	}
	if err := errors.Join(err, p.tar.Close(), zip.Close()); err != nil {
		// The first of them is the cause.
		return nil, fmt.Errorf("pack %s: %w", source, joined(err)[0])
	}
	return out.Bytes(), nil
}

type packer struct {
	tar   *tar.Writer
	from  fs.FS
	files int
	bytes int64
}

// add is called for everything below the source, in the order of names.
func (p *packer) add(name string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case name == ".":
		return nil
	case ignored(d.Name()) && d.IsDir():
		return fs.SkipDir
	case ignored(d.Name()) || d.IsDir():
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return err
	}
	return p.file(name, info)
}

// file adds a file or a symbolic link. Of the mode only the one bit counts.
func (p *packer) file(name string, info fs.FileInfo) error {
	if p.files++; p.files > maxSourceFiles {
		return fmt.Errorf("there are more than %d files: name the directory of the code alone", maxSourceFiles)
	}
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := fs.ReadLink(p.from, name)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, filepath.ToSlash(to)
		return p.tar.WriteHeader(h)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file, nor a directory, nor a symbolic link", name)
	}
	if info.Mode()&0o111 != 0 {
		h.Mode = 0o755
	}
	h.Size = info.Size()
	if p.bytes += h.Size; p.bytes > maxSourceBytes {
		return fmt.Errorf("it is larger than %d MiB", maxSourceBytes>>20)
	}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	in, err := p.from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if n, err := io.Copy(p.tar, in); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	} else if n != h.Size {
		return fmt.Errorf("%s is being changed: try again", name)
	}
	return nil
}
