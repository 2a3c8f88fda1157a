package worker

import (
	"fmt"
	"path/filepath"
	"strings"
)

// access is what a process may do below a directory.
type access uint8

const (
	accessAll   access = iota // all that its user may
	accessRead                // read, list and execute
	accessWrite               // that, and write files that are there
)

// rule allows access to a directory and all below it, or to a file.
type rule struct {
	path   string
	access access
}

// reach is what the rules of a process shall come to.
type reach struct {
	hidden   []string // not at all, but for what follows
	readable []string
	writable []string // all that its user may, hidden or not
	shared   []rule   // what is not hidden of it
}

// rules returns what to allow so that everything can be read but what is
// hidden, and nothing be written but what is said to be.
//
// The kernel only knows rules that allow, and what a rule allows holds for all
// below: so the directories on the way to a hidden one have no rule, and each
// of their other entries has one. A process cannot list those directories, nor
// reach what is created in them later. list returns the entries of a directory
// that are not symbolic links.
func rules(r reach, list func(dir string) []string) ([]rule, error) {
	var out []rule
	var walk func(path string, a access)
	walk = func(path string, a access) {
		if isOneOf(path, r.hidden) {
			return
		}
		if !hasBelow(path, r.hidden) {
			out = append(out, rule{path, a})
			return
		}
		for _, name := range list(path) {
			walk(filepath.Join(path, name), a)
		}
	}
	walk("/", accessRead)
	for _, s := range r.shared {
		if !isBelowOne(s.path, r.hidden) {
			walk(s.path, s.access)
		}
	}
	for _, path := range r.readable {
		if isOneOf(path, r.hidden) {
			return nil, fmt.Errorf("%s is both hidden from the worker and needed by it", path)
		}
		if isBelowOne(path, r.hidden) {
			walk(path, accessRead)
		}
	}
	for _, path := range r.writable {
		if isOneOf(path, r.hidden) {
			return nil, fmt.Errorf("%s is both hidden from the worker and needed by it", path)
		}
		out = append(out, rule{path, accessAll})
	}
	return out, nil
}

func isOneOf(path string, dirs []string) bool {
	for _, d := range dirs {
		if d == path {
			return true
		}
	}
	return false
}

func isBelow(path, dir string) bool {
	return path != dir && strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func isBelowOne(path string, dirs []string) bool {
	for _, d := range dirs {
		if isBelow(path, d) {
			return true
		}
	}
	return false
}

func hasBelow(path string, dirs []string) bool {
	for _, d := range dirs {
		if isBelow(d, path) {
			return true
		}
	}
	return false
}

func hiddenWords(prog *Program) string { return strings.Join(prog.Hidden, ", ") }
