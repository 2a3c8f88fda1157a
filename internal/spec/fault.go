package spec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// Fault is one fault of a file. It is a runnel.CodeInvalid for
// runnel.CodeOf, and errors.As finds a *runnel.FieldError with its path in it.
type Fault struct {
	File string
	// Line counts from 1; 0 where the fault has none.
	Line int
	// Path is that of the key, as in "flows.resize.batch.size", with names as
	// the file writes them; empty for faults of the file as a whole.
	Path string
	Err  error
}

// Error returns FILE:LINE: PATH: what is wrong.
func (f *Fault) Error() string {
	text := f.File + ": "
	if f.Line > 0 {
		text = fmt.Sprintf("%s:%d: ", f.File, f.Line)
	}
	if f.Path != "" {
		text += f.Path + ": "
	}
	return text + f.Err.Error()
}

// Location returns where the fault stands, for doors that tell it in parts.
func (f *Fault) Location() (file string, line int, path string) { return f.File, f.Line, f.Path }

// Unwrap returns the code and the field error. The code comes first: the
// error of a hook may have another of its own.
func (f *Fault) Unwrap() []error {
	return []error{
		&runnel.Error{Code: runnel.CodeInvalid, Message: f.Error()},
		&runnel.FieldError{Path: f.Path, Err: f.Err},
	}
}

// Faults returns the faults in an error of Parse or File.Fault, by line.
func Faults(err error) []*Fault {
	if f, ok := err.(*Fault); ok { //nolint:errorlint // what is wrapped is looked at below
		return []*Fault{f}
	}
	var out []*Fault
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			out = append(out, Faults(one)...)
		}
	case interface{ Unwrap() error }:
		out = Faults(e.Unwrap())
	}
	slices.SortStableFunc(out, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	return out
}

// Line returns where a path stands, or else the nearest of its parents; 0 if
// none does. Functions may be called as the file does or by their full name:
// "functions.resize.source", "functions.default/resize.source".
func (f *File) Line(path string) int {
	path = f.asWritten(path)
	for path != "" {
		if line, ok := f.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

// asWritten replaces the complete name of a function in a path.
func (f *File) asWritten(path string) string {
	rest, ok := strings.CutPrefix(path, "functions.")
	if !ok {
		return path
	}
	full, inner, dot := strings.Cut(rest, ".")
	if name, ok := f.written[full]; ok {
		path = "functions." + name
		if dot {
			path += "." + inner
		}
	}
	return path
}

// Fault places an error at a path. Where err is, or joins, *runnel.FieldErrors,
// their paths are below this one, and each becomes a Fault of its own; the
// path "name" is that of the declared thing itself. A nil err stays nil.
func (f *File) Fault(path string, err error) error {
	faults := f.place(f.asWritten(path), err)
	if len(faults) == 0 {
		return nil
	}
	out := make([]error, len(faults))
	for i, one := range faults {
		out[i] = one
	}
	return errors.Join(out...)
}

func (f *File) place(path string, err error) []*Fault {
	switch e := err.(type) { //nolint:errorlint // what is wrapped keeps its text
	case nil:
		return nil
	case *Fault:
		return []*Fault{e}
	case *runnel.FieldError:
		at := path
		if e.Path != "name" && e.Path != "" {
			at = path + "." + e.Path
		}
		return []*Fault{{File: f.Name, Line: f.Line(at), Path: at, Err: e.Err}}
	case interface{ Unwrap() []error }:
		var out []*Fault
		for _, one := range e.Unwrap() {
			out = append(out, f.place(path, one)...)
		}
		return out
	}
	return []*Fault{{File: f.Name, Line: f.Line(path), Path: path, Err: err}}
}
