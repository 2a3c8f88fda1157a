// Package spec reads the file that declares what a server is and runs. Every
// fault in it is reported at once, each with its line.
//
// In this release the file has one section, server, whose keys are the flags
// of runnel serve. Functions, queues, brokers and flows are its other sections
// to come.
package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/runnel-io/runnel"
)

// File is what a file declares.
type File struct {
	// Server are the entries of the section server, in their order.
	Server []Entry
}

// Entry is one key with a plain value (a string, number or boolean, as text),
// and where it stands.
type Entry struct {
	Key, Value string
	at         place
}

// Fault is the error of an entry, with the place where it stands.
func (e Entry) Fault(err error) error { return e.at.fault(err) }

// place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) fault(err error) error {
	return runnel.Errorf(runnel.CodeInvalid, "%s:%d: %w", p.file, p.line, err)
}

// sections are those of this release, and later those that a file written for
// the next one may have.
const section = "server"

var later = []string{"account", "functions", "queues", "brokers", "flows", "pipelines"}

// Parse reads a file, which is called name in errors. With an error it returns
// what could be read, so that its reader can add the faults that it finds.
func Parse(name string, text []byte) (*File, error) {
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxError(name, err)
	}
	out := new(File)
	var faults []error
	stands := 0 // the line of the section
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue // an empty file declares nothing
		}
		top, err := mapping(name, doc.Body, "the file", "section: ...")
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for _, v := range top {
			at := place{name, v.Key.GetToken().Position.Line}
			key := v.Key.GetToken().Value
			switch {
			case key == section && stands > 0:
				faults = append(faults, at.fault(fmt.Errorf("the section %s stands twice, first on line %d", section, stands)))
			case key == section:
				stands = at.line
				entries, err := entries(name, v)
				out.Server = append(out.Server, entries...)
				faults = append(faults, err)
			case slices.Contains(later, key):
				faults = append(faults, at.fault(fmt.Errorf("the section %s is not in this release", key)))
			default:
				faults = append(faults, at.fault(fmt.Errorf("there is no section %q: this release has %s", key, section)))
			}
		}
	}
	return out, errors.Join(faults...)
}

// entries reads a section of plain values.
func entries(name string, v *ast.MappingValueNode) ([]Entry, error) {
	if v.Value.Type() == ast.NullType {
		return nil, nil
	}
	values, err := mapping(name, v.Value, "the section "+section, "key: value")
	if err != nil {
		return nil, err
	}
	var out []Entry
	var faults []error
	lines := map[string]int{}
	for _, v := range values {
		t := v.Key.GetToken()
		e := Entry{Key: t.Value, at: place{name, t.Position.Line}}
		if first, ok := lines[e.Key]; ok {
			faults = append(faults, e.Fault(fmt.Errorf("%s stands twice, first on line %d", e.Key, first)))
			continue
		}
		lines[e.Key] = e.at.line
		switch v.Value.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			e.Value = v.Value.GetToken().Value
			out = append(out, e)
		default:
			faults = append(faults, e.Fault(fmt.Errorf("%s: want a plain value", e.Key)))
		}
	}
	return out, errors.Join(faults...)
}

// mapping returns the entries of a node that must be a mapping.
func mapping(name string, n ast.Node, what, want string) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, place{name, n.GetToken().Position.Line}.fault(fmt.Errorf("%s is not a mapping: want %s", what, want))
}

// syntaxError is one line about what the parser said on several.
func syntaxError(name string, err error) error {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil {
		return place{name, syntax.Token.Position.Line}.fault(errors.New(syntax.Message))
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return runnel.Errorf(runnel.CodeInvalid, "%s: %s", name, first)
}
