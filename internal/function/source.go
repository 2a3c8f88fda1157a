package function

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// The bounds of a function's source.
const (
	maxSourceBytes = 250 << 20
	maxSourceFiles = 50_000
)

// Ignored says whether a file or directory of this name, wherever it stands in
// a source, is no part of a function: version control, caches, dependencies
// (which are built), and the locks of editors.
func Ignored(name string) bool {
	switch name {
	case ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "__pycache__", "node_modules", ".venv", ".DS_Store":
		return true
	}
	return strings.HasPrefix(name, ".#")
}

// Source opens the source of a function at path: a directory, or a single
// file, which stands for a directory that holds it alone. An archive is
// unpacked first, with Unpack.
func Source(path string) (fs.FS, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, runnel.Errorf(runnel.CodeInvalid, "source %s does not exist", path)
	case err != nil:
		return nil, fmt.Errorf("open source: %w", err)
	case info.IsDir():
		return os.DirFS(path), nil
	case info.Mode().IsRegular():
		return single{os.DirFS(filepath.Dir(path)), info}, nil
	default:
		return nil, runnel.Errorf(runnel.CodeInvalid, "source %s is neither a directory nor a file", path)
	}
}

// single is a directory of which only one file can be seen.
type single struct {
	dir  fs.FS
	file fs.FileInfo
}

// Open opens the file, or the directory for Stat.
func (s single) Open(name string) (fs.File, error) {
	if name != "." && name != s.file.Name() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return s.dir.Open(name)
}

// ReadDir lists the one file.
func (s single) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(s.file)}, nil
}

// file is one file of a version.
type file struct {
	// Name is relative to the code, with slashes.
	Name string `json:"name"`
	// Exec is the one bit of the mode that counts.
	Exec bool `json:"exec,omitempty"`
	// Link is the target of a symbolic link, which has no size and no sum.
	Link string `json:"link,omitempty"`
	Size int64  `json:"size,omitempty"`
	Sum  string `json:"sha256,omitempty"`
}

// list returns the files of a source, sorted by name, without their sums.
func list(source fs.FS) ([]file, error) {
	var files []file
	var total int64
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case Ignored(d.Name()) && d.IsDir():
			return fs.SkipDir
		case Ignored(d.Name()) || d.IsDir():
			return nil
		}
		if len(files) == maxSourceFiles {
			return tooManyFiles()
		}
		if !utf8.ValidString(name) {
			return runnel.Errorf(runnel.CodeInvalid, "the name %q in the source is not UTF-8", name)
		}
		f := file{Name: name}
		if d.Type()&fs.ModeSymlink != 0 {
			if f.Link, err = fs.ReadLink(source, name); err != nil {
				return err
			}
			files = append(files, f)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return runnel.Errorf(runnel.CodeInvalid, "%s in the source is neither a file, nor a directory, nor a symbolic link", name)
		}
		f.Exec = info.Mode()&0o111 != 0
		if total += info.Size(); total > maxSourceBytes {
			return tooLarge()
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	if len(files) == 0 {
		return nil, runnel.Errorf(runnel.CodeInvalid, "the source has no files")
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

func tooManyFiles() error {
	return runnel.Errorf(runnel.CodeTooLarge, "the source has more than %d files", maxSourceFiles)
}

func tooLarge() error {
	return runnel.Errorf(runnel.CodeTooLarge, "the source is larger than %d MiB", maxSourceBytes>>20)
}

// copySource copies a source into the new directory dir and returns what it
// wrote. The files cannot be written to: they are what the version's name
// stands for.
func copySource(ctx context.Context, source fs.FS, dir string) ([]file, error) {
	files, err := list(source)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("copy the source: %w", err)
	}
	left := int64(maxSourceBytes)
	made := "."
	for i := range files {
		f := &files[i]
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("copy the source: %w", err)
		}
		if at := path.Dir(f.Name); at != made {
			if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(at)), 0o755); err != nil {
				return nil, fmt.Errorf("copy the source: %w", err)
			}
			made = at
		}
		if err := copyFile(source, f, filepath.Join(dir, filepath.FromSlash(f.Name)), left); err != nil {
			return nil, fmt.Errorf("copy the source: %w", err)
		}
		left -= f.Size
	}
	return files, checkLinks(dir, files)
}

// copyFile copies f, of at most most bytes, and sets its size and sum.
func copyFile(source fs.FS, f *file, to string, most int64) error {
	if f.Link != "" {
		return os.Symlink(filepath.FromSlash(f.Link), to)
	}
	in, err := source.Open(f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	mode := fs.FileMode(0o444)
	if f.Exec {
		mode = 0o555
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	sum := sha256.New()
	f.Size, err = io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, most+1))
	if err == nil && f.Size > most {
		err = tooLarge()
	}
	f.Sum = hex.EncodeToString(sum.Sum(nil))
	return errors.Join(err, out.Close())
}

// writeInline writes the only file of def into the new directory dir.
func writeInline(def runnel.Function, dir string) ([]file, error) {
	name, err := inlineName(def)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(path.Dir(name))), 0o755); err != nil {
		return nil, fmt.Errorf("write the inline code: %w", err)
	}
	f := file{Name: name, Exec: def.Runtime == runnel.RuntimeExec, Size: int64(len(def.Inline))}
	sum := sha256.Sum256([]byte(def.Inline))
	f.Sum = hex.EncodeToString(sum[:])
	mode := fs.FileMode(0o444)
	if f.Exec {
		mode = 0o555
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(def.Inline), mode); err != nil {
		return nil, fmt.Errorf("write the inline code: %w", err)
	}
	return []file{f}, nil
}

// inlineName is what the only file of def is called.
func inlineName(def runnel.Function) (string, error) {
	switch def.Runtime {
	case runnel.RuntimePython:
		return "main.py", nil
	case runnel.RuntimeNode:
		return "index.js", nil
	case runnel.RuntimeGo:
		return "main.go", nil
	default:
	}
	args, err := split(def.Handler)
	if err != nil {
		return "", err
	}
	if len(args) == 0 || !strings.HasPrefix(def.Inline, "#!") {
		return "", &runnel.FieldError{Path: "inline", Err: errors.New("is the program of the handler, and begins with its interpreter, as in #!/bin/sh")}
	}
	name := path.Clean(args[0])
	if !fs.ValidPath(name) || name == "." {
		return "", &runnel.FieldError{Path: "handler", Err: fmt.Errorf("%q cannot be the name of the inline program: want one such as ./worker", args[0])}
	}
	return name, nil
}

// checkLinks refuses links that lead out of dir, or nowhere. It follows them
// as the system does: a link may lead over another one.
func checkLinks(dir string, files []file) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("copy the source: %w", err)
	}
	defer root.Close()
	for _, f := range files {
		if f.Link == "" {
			continue
		}
		if _, err := root.Stat(f.Name); err != nil {
			return runnel.Errorf(runnel.CodeInvalid, "the symbolic link %s in the source leads to %q, which is not in the source", f.Name, f.Link)
		}
	}
	return nil
}
