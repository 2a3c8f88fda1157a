package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/runnel-io/runnel"
)

// checkSource says what is missing of a function's code. It looks for the
// files that the worker will load, and into none of them.
func (o *Options) checkSource(f runnel.Function) error {
	if f.Source == "" {
		return field("source", "is missing: want the directory of the code, or its only file, as in ./resize")
	}
	if o.Stat == nil {
		return nil
	}
	info, err := o.Stat(o.path(f.Source))
	if err != nil {
		return field("source", "%w", missing(f.Source, err))
	}
	// A single file stands for a directory that holds it alone.
	dir, only := filepath.ToSlash(f.Source), ""
	if !info.IsDir() {
		dir, only = path.Split(dir)
	}
	if f.Runtime == runnel.RuntimeExec {
		return o.checkProgram(f.Handler, dir, only)
	}
	module, _ := cutLast(f.Handler, ".")
	key := "handler"
	var ends []string
	switch f.Runtime {
	case runnel.RuntimePython:
		if f.Handler == "" {
			module, key = "main", "source"
		}
		module = strings.ReplaceAll(module, ".", "/")
		ends = []string{".py", "/__init__.py"}
	case runnel.RuntimeNode:
		if f.Handler == "" {
			module, key = "index", "source"
		}
		ends = []string{".js", ".mjs", ".cjs", "/index.js", "/index.mjs", "/index.cjs"}
	}
	if module == "" || ends == nil {
		return nil // a fault already
	}
	for _, end := range ends {
		name := path.Clean(module + end)
		if only != "" && name != only {
			continue
		}
		if info, err := o.Stat(o.path(path.Join(dir, name))); err == nil && !info.IsDir() {
			return nil
		}
	}
	if only != "" {
		stem, _ := cutLast(only, ".")
		return field(key, "the handler is in %s, and the source is %s alone: want handler: %s.FUNCTION", module+ends[0], only, stem)
	}
	return field(key, "there is no %s", path.Join(dir, module+ends[0]))
}

// checkProgram looks for the program of an exec function. A bare word may be
// one of the system's, as in "ruby worker.rb", and is not looked for.
func (o *Options) checkProgram(handler, dir, only string) error {
	words := strings.Fields(handler)
	if len(words) == 0 || !strings.Contains(words[0], "/") || strings.ContainsAny(words[0], `"'\\`) {
		return nil // none, not ours, or written with quotes
	}
	name := words[0]
	if !path.IsAbs(name) {
		name = path.Clean(name)
		if !filepath.IsLocal(filepath.FromSlash(name)) || only != "" && name != only {
			return field("handler", "%s is outside the source", words[0])
		}
		name = path.Join(dir, name)
	}
	info, err := o.Stat(o.path(name))
	switch {
	case err != nil:
		return field("handler", "%w", missing(name, err))
	case info.IsDir():
		return field("handler", "%s is a directory, not a program", name)
	case info.Mode()&0o111 == 0:
		return field("handler", "%s is not executable: chmod +x makes it so", name)
	}
	return nil
}

// missing is an error of Stat without the full path, which is not what the
// file says.
func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s", name)
	}
	var of *fs.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("look at %s: %w", name, err)
}

func field(at, format string, args ...any) error {
	return &runnel.FieldError{Path: at, Err: fmt.Errorf(format, args...)}
}

// cutLast slices s around the last sep; before is empty if there is none.
func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return "", s
}
