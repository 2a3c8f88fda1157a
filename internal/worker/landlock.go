package worker

import (
	"fmt"
	"path/filepath"
	"strings"
)

// access is what a process may do below a directory.
type access uint8

const (
	accessAll  access = iota // all that the server's user may
	accessRead               // read, list and execute
)

// rule allows access to a directory and all below it, or to a file.
type rule struct {
	path   string
	access access
}

// rules returns what to allow so that nothing in hidden can be reached but for
// the read-only directories and temp.
//
// The kernel only knows rules that allow, and what a rule allows holds for all
// below: so the directories on the way to a hidden one have no rule, and each
// of their other entries has one. A process cannot list those directories, nor
// reach what is created in them later. list returns the entries of a directory
// that are not symbolic links.
func rules(hidden, readable []string, temp string, list func(dir string) []string) ([]rule, error) {
	var out []rule
	var walk func(path string, a access)
	walk = func(path string, a access) {
		if isOneOf(path, hidden) {
			return
		}
		if !hasBelow(path, hidden) {
			out = append(out, rule{path, a})
			return
		}
		for _, name := range list(path) {
			walk(filepath.Join(path, name), a)
		}
	}
	walk("/", accessAll)
	for _, path := range readable {
		if isOneOf(path, hidden) {
			return nil, fmt.Errorf("%s is both hidden from the worker and needed by it", path)
		}
		if isBelowOne(path, hidden) {
			walk(path, accessRead)
		}
	}
	return append(out, rule{temp, accessAll}), nil
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
