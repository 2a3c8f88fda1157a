package main

import (
	"strings"

	"github.com/runnel-io/runnel/internal/spec"
)

// faultsError is a file, or another input, with faults: each a line of its
// own, and nothing was changed.
type faultsError struct {
	lines []string
	cause error // of the answer that told the faults; nil: they were found here
}

// fileFaults returns the faults of a file, nil if err is nil.
func fileFaults(err error) error {
	if err == nil {
		return nil
	}
	for _, one := range joined(err) {
		if len(spec.Faults(one)) == 0 {
			return err // something else is wrong besides
		}
	}
	return &faultsError{lines: faultLines(spec.Faults(err))}
}

func faultLines(faults []*spec.Fault) []string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.Error()
	}
	return lines
}

// Error returns all faults.
func (e *faultsError) Error() string { return strings.Join(e.lines, "\n") }

// Unwrap returns the error of the answer, with its code.
func (e *faultsError) Unwrap() error { return e.cause }

// summary is the last line.
func (e *faultsError) summary() string {
	text := plural(len(e.lines), "fault")
	if e.cause != nil {
		// It may have got as far as to deploy functions.
		return text + ": what has one is as it was"
	}
	return text + ", nothing was changed"
}

// joined returns the errors that err joins, or err itself.
func joined(err error) []error {
	switch e := err.(type) { //nolint:errorlint // what is wrapped keeps its text
	case nil:
		return nil
	case *spec.Fault:
		return []error{e}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return []error{err}
}
