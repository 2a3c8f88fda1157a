package spec

import (
	"cmp"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/runnel-io/runnel"
)

// checkSource says what is missing of a function's code. It looks for the
// files that the worker will load, and not far into them.
func (o *Options) checkSource(f runnel.Function) error {
	switch {
	case f.Runtime == runnel.RuntimeHTTP:
		return nil
	case f.Inline != "":
		return checkInline(f)
	case f.Source == "":
		return field("source", "is missing: want the directory of the code, its only file or an archive, as in ./resize, or else inline: the code itself")
	case o.Stat == nil:
		return nil
	}
	c, err := o.code(f.Source)
	if err != nil {
		return field("source", "%w", err)
	}
	// Where no handler is named, it is not to blame.
	key := "handler"
	if f.Handler == "" {
		key = "source"
	}
	switch f.Runtime {
	case runnel.RuntimeExec:
		return o.checkProgram(f.Handler, c)
	case runnel.RuntimePython:
		return c.checkModule(key, cmp.Or(f.Handler, "main.handler"), f.Runtime)
	case runnel.RuntimeNode:
		return c.checkModule(key, cmp.Or(f.Handler, "index.handler"), f.Runtime)
	case runnel.RuntimeGo:
		return c.checkGo(key, cmp.Or(f.Handler, "."))
	case runnel.RuntimeWASM:
		return c.checkWASM(key, cmp.Or(f.Handler, "main.wasm"))
	default:
		return nil // a fault already
	}
}

// checkInline says whether the handler is in the one file that there is.
func checkInline(f runnel.Function) error {
	module, file := "", ""
	switch f.Runtime {
	case runnel.RuntimePython:
		module, file = "main", "main.py"
	case runnel.RuntimeNode:
		module, file = "index", "index.js"
	case runnel.RuntimeGo:
		if f.Handler != "" && path.Clean(f.Handler) != "." {
			return field("handler", "%s is not there: inline code is one file, of the package .", f.Handler)
		}
	case runnel.RuntimeExec:
		words := strings.Fields(f.Handler)
		if len(words) == 0 {
			return nil // a fault already
		}
		if !strings.HasPrefix(f.Inline, "#!") {
			return field("inline", "is the program %s, and begins with its interpreter, as in #!/bin/sh", words[0])
		}
		if name := path.Clean(words[0]); !fs.ValidPath(name) || name == "." {
			return field("handler", "%s cannot be the name of the inline program: want one such as ./worker", words[0])
		}
	default: // a fault already
	}
	if got, _ := cutLast(f.Handler, "."); got != "" && module != "" && got != module {
		return field("handler", "inline code is the file %s: want %s.FUNCTION", file, module)
	}
	return nil
}

// code is the source of a function.
type code struct {
	source string // as the file says it
	// dir is what the names are relative to, only the one file that there is.
	dir, only string
	// stat looks at a file, open opens one; nil: it is not looked into.
	stat func(name string) (fs.FileInfo, error)
	open func(name string) (fs.File, error)
	// in is set for an archive, which cannot be opened here.
	in *archive
}

// code finds the source called name.
func (o *Options) code(name string) (*code, error) {
	info, err := o.Stat(o.path(name))
	if err != nil {
		return nil, missing(name, err)
	}
	c := &code{source: name, dir: filepath.ToSlash(name)}
	// A single file stands for a directory that holds it alone.
	if !info.IsDir() {
		if isArchive(name) {
			return c, c.list(o, info.Size())
		}
		c.dir, c.only = path.Split(c.dir)
	}
	c.stat = func(name string) (fs.FileInfo, error) { return o.Stat(o.path(path.Join(c.dir, name))) }
	if o.Open != nil {
		c.open = func(name string) (fs.File, error) { return o.Open(o.path(path.Join(c.dir, name))) }
	}
	return c, nil
}

// list reads the names in an archive.
func (c *code) list(o *Options, size int64) error {
	c.stat = func(string) (fs.FileInfo, error) { return nil, nil } //nolint:nilnil // not looked into
	if o.Open == nil {
		return nil
	}
	f, err := o.Open(o.path(c.source))
	if err != nil {
		return missing(c.source, err)
	}
	defer f.Close()
	if c.in, err = readArchive(f, size); err != nil {
		return fmt.Errorf("%s: %w", c.source, err)
	}
	c.stat = c.in.stat
	return nil
}

// is says whether there is a file of this name, and only returns false where
// that is known.
func (c *code) is(name string) bool {
	if c.only != "" && name != c.only {
		return false
	}
	info, err := c.stat(name)
	return err == nil && (info == nil || !info.IsDir())
}

// where is how a file is called in errors.
func (c *code) where(name string) string {
	if c.in != nil {
		return name + " in " + c.source
	}
	return path.Join(c.dir, name)
}

// checkModule looks for the module of a handler.
func (c *code) checkModule(key, handler string, r runnel.Runtime) error {
	module, _ := cutLast(handler, ".")
	if module == "" {
		return nil // a fault already
	}
	ends := []string{".js", ".mjs", ".cjs", "/index.js", "/index.mjs", "/index.cjs"}
	modules := []string{module}
	if r == runnel.RuntimePython {
		module = strings.ReplaceAll(module, ".", "/")
		modules[0] = module
		ends = []string{".py", "/__init__.py"}
		if module == "main" && c.is("algorithmia.conf") {
			return nil // it names the module, which the worker finds
		}
	} else {
		// An export may be below another one, as in index.handlers.create.
		dir, file := path.Split(module)
		first, _, _ := strings.Cut(file, ".")
		modules = append(modules, dir+first)
	}
	for _, m := range modules {
		for _, end := range ends {
			if c.is(path.Clean(m + end)) {
				return nil
			}
		}
	}
	if c.only != "" {
		stem, _ := cutLast(c.only, ".")
		return field(key, "the handler is in %s, and the source is %s alone: want handler: %s.FUNCTION", module+ends[0], c.only, stem)
	}
	return field(key, "there is no %s", c.where(module+ends[0]))
}

// checkGo looks for a package main.
func (c *code) checkGo(key, handler string) error {
	pkg := path.Clean(handler)
	if !filepath.IsLocal(filepath.FromSlash(pkg)) {
		return field(key, "the package %s is outside the source", handler)
	}
	if c.only != "" && pkg != "." {
		return field(key, "there is no package %s: the source is %s alone", handler, c.only)
	}
	var files []string
	switch {
	case c.only != "":
		files = []string{c.only}
	case c.in != nil:
		files = c.in.children(pkg)
	case c.open == nil:
		return nil
	default:
		dir, err := c.open(pkg)
		if err != nil {
			return field(key, "there is no package %s", c.where(pkg))
		}
		defer dir.Close()
		if d, ok := dir.(fs.ReadDirFile); ok {
			entries, _ := d.ReadDir(-1)
			for _, e := range entries {
				files = append(files, path.Join(pkg, e.Name()))
			}
		}
	}
	name := ""
	for _, file := range files {
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			continue
		}
		if c.open == nil {
			return nil // it may be
		}
		text, err := c.read(file, maxGoFile)
		if err != nil {
			return field(key, "%w", err)
		}
		// What does not parse is for the compiler to tell.
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.PackageClauseOnly)
		if err != nil || parsed.Name.Name == "main" {
			return nil
		}
		name = parsed.Name.Name
	}
	if name == "" {
		return field(key, "there is no Go file in %s", c.where(pkg))
	}
	return field(key, "%s is package %s: want a package main", c.where(pkg), name)
}

// maxGoFile is how much of a Go file is read for its package.
const maxGoFile = 1 << 20

// checkWASM looks for a module of WebAssembly.
func (c *code) checkWASM(key, handler string) error {
	name := path.Clean(handler)
	switch {
	case !filepath.IsLocal(filepath.FromSlash(name)):
		return field(key, "the module %s is outside the source", handler)
	case !c.is(name) && c.only != "":
		return field(key, "the module is %s, and the source is %s alone: want handler: %s", name, c.only, c.only)
	case !c.is(name):
		return field(key, "there is no %s", c.where(name))
	case c.open == nil:
		return nil
	}
	head, err := c.read(name, 4)
	if err != nil {
		return field(key, "%w", err)
	}
	if string(head) != "\x00asm" {
		return field(key, "%s is not a WebAssembly module", c.where(name))
	}
	return nil
}

// read returns the beginning of a file.
func (c *code) read(name string, most int64) ([]byte, error) {
	f, err := c.open(name)
	if err != nil {
		return nil, missing(c.where(name), err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, missing(c.where(name), err)
	}
	return text, nil
}

// checkProgram looks for the program of an exec function. A bare word may be
// one of the system's, as in "ruby worker.rb", and is not looked for.
func (o *Options) checkProgram(handler string, c *code) error {
	words := strings.Fields(handler)
	if len(words) == 0 || !strings.Contains(words[0], "/") || strings.ContainsAny(words[0], `"'\\`) {
		return nil // none, not ours, or written with quotes
	}
	name := words[0]
	stat, shown := c.stat, name
	if path.IsAbs(name) {
		stat = func(name string) (fs.FileInfo, error) { return o.Stat(o.path(name)) }
	} else {
		name = path.Clean(name)
		if !filepath.IsLocal(filepath.FromSlash(name)) || c.only != "" && name != c.only {
			return field("handler", "%s is outside the source", words[0])
		}
		shown = c.where(name)
	}
	info, err := stat(name)
	switch {
	case err != nil:
		return field("handler", "%w", missing(shown, err))
	case info == nil:
		return nil
	case info.IsDir():
		return field("handler", "%s is a directory, not a program", shown)
	case info.Mode()&0o111 == 0:
		return field("handler", "%s is not executable: chmod +x makes it so", shown)
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
