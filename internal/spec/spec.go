package spec

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// DefaultAccount is the account of a file that names none.
const DefaultAccount = "default"

// File is what a file declares. What it declares twice stands once, as it was
// first.
type File struct {
	// Name is what the file is called in errors.
	Name string
	// Server are the entries of the section server, in their order.
	Server []Entry
	// Account owns what has a name without an owner.
	Account string
	// Functions, Queues and Flows are in the order of the file. The names of
	// functions, and those of Flow.Call, are complete: OWNER/NAME. Defaults
	// are not filled in, but for Flow.DeadLetter.
	Functions []runnel.Function
	Queues    []runnel.Queue
	Flows     []runnel.Flow
	// QueueTemplates are in the order of the file: the first that matches
	// counts.
	QueueTemplates []runnel.QueueTemplate
	// Implied names the queues at the end of Queues that the file does not
	// declare: dead-letter queues of flows that name none.
	Implied []string

	lines map[string]int
	// written is what the file calls a function, by its complete name.
	written map[string]string
}

// Entry is one key of the section server with a plain value (a string, number
// or boolean, as text), and where it stands.
type Entry struct {
	Key, Value string
	file       string
	line       int
}

// Fault places an error, which names the key, at the entry.
func (e Entry) Fault(err error) error { return &Fault{File: e.file, Line: e.line, Err: err} }

// Options are what Parse may know of the world. The zero value reads nothing
// and knows of nothing outside the file.
type Options struct {
	// Dir is the directory of the file: where relative paths begin.
	Dir string
	// Env and ReadFile answer ${env:NAME} and ${file:PATH}, as os.LookupEnv
	// and os.ReadFile do. nil: the reference is a fault.
	Env      func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
	// Stat looks for the source of functions, as os.Stat does. nil: it is not
	// looked for.
	Stat func(path string) (fs.FileInfo, error)
	// Open looks into the source of functions, as os.Open does. nil: it is not
	// looked into.
	Open func(path string) (fs.File, error)
	// Functions and Queues say what exists beside the file, so that its flows
	// may refer to it: Go handlers, and what runs already. Functions gets
	// OWNER/NAME. nil: nothing.
	Functions func(name string) bool
	Queues    func(name string) bool
	// DeadLetters returns the dead-letter queue of such a queue, "" if it has
	// none. nil: none has.
	DeadLetters func(queue string) string
	// CheckFilter compiles the filter of a flow. nil: filters are not looked
	// at.
	CheckFilter func(expression string) error
}

// sections of a file, and those to come.
var (
	sections = []string{"server", "account", "functions", "queues", "queue_templates", "flows"}
	later    = []string{"brokers", "pipelines"}
)

// Parse reads a file, which is called name in errors. An error joins *Faults,
// by line. The File with it holds what could be read, so that its reader can
// add the faults that it finds; it is never nil.
func Parse(name string, src []byte, opt Options) (*File, error) {
	f := &File{Name: name, Account: DefaultAccount, lines: make(map[string]int), written: make(map[string]string)}
	d := &decoder{File: f, opt: &opt, bad: make(map[string]bool)}
	b := &builder{file: name}
	if top := b.parse(src); top != nil {
		d.file(top)
		if d.values <= maxValues { // else what is missing may only not have been read
			d.check()
		}
	}
	faults := append(b.faults, d.faults...)
	slices.SortStableFunc(faults, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	out := make([]error, len(faults))
	for i, fault := range faults {
		out[i] = fault
	}
	return f, errors.Join(out...)
}

// file reads the sections. account comes first, whatever its place: the names
// in the others depend on it.
func (d *decoder) file(top *node) {
	if top.kind != mapping {
		if top.kind != nothing {
			d.fault(top.line, "", "the file is not a mapping: want section: ...")
		}
		return
	}
	found := make(map[string]pair)
	for _, p := range top.pairs {
		switch {
		case slices.Contains(sections, p.key):
			d.lines[p.key] = p.line
			found[p.key] = p
		case strings.HasPrefix(p.key, "x-"): // a place for anchors
		case slices.Contains(later, p.key):
			d.fault(p.line, "", "the section %s is not in this release", p.key)
		default:
			hint := ": this release has " + strings.Join(sections, ", ")
			if name := Closest(p.key, sections); name != "" {
				hint = ", did you mean " + name + "?"
			}
			d.fault(p.line, "", "there is no section %q%s", p.key, hint)
		}
	}
	if p, ok := found["account"]; ok {
		d.value(reflect.ValueOf(&d.Account).Elem(), p.key, "", p.line, p.value)
		if !isName(d.Account, 64) {
			d.fault(p.line, p.key, "%q is not a name: want 1 to 64 letters, digits, hyphens and underscores", d.Account)
			d.Account = DefaultAccount
		}
	}
	d.server(found["server"])
	for _, p := range d.section(found, "functions", "resize: {runtime: python, source: ./resize}") {
		d.function(p)
	}
	for _, p := range d.section(found, "queues", "images: {}") {
		q := runnel.Queue{Name: p.key}
		d.structure(reflect.ValueOf(&q).Elem(), "queues."+p.key, "", p.line, p.value)
		d.Queues = append(d.Queues, q)
	}
	d.queueTemplates(found["queue_templates"])
	for _, p := range d.section(found, "flows", "resize-images: {from: queue:images, call: resize}") {
		f := runnel.Flow{Name: p.key}
		d.structure(reflect.ValueOf(&f).Elem(), "flows."+p.key, "", p.line, p.value)
		d.Flows = append(d.Flows, f)
	}
}

func (d *decoder) section(found map[string]pair, name, example string) []pair {
	p, ok := found[name]
	if !ok {
		return nil
	}
	n := p.value
	if n.kind != mapping && n.kind != nothing {
		d.fault(p.line, name, "want a mapping such as %s, not %s", example, n.describe())
		return nil
	}
	return d.mapping(name, p.line, n, example)
}

// queueTemplates reads the section that is a list.
func (d *decoder) queueTemplates(p pair) {
	if p.value == nil || p.value.kind == nothing {
		return
	}
	if p.value.kind != list {
		d.fault(p.line, p.key, `want a list such as [{match: "celery*"}], not %s`, p.value.describe())
		return
	}
	for i, item := range p.value.items {
		if !d.count(item.line) {
			return
		}
		path := fmt.Sprintf("%s[%d]", p.key, i)
		d.lines[path] = item.line
		var t runnel.QueueTemplate
		d.structure(reflect.ValueOf(&t).Elem(), path, "", item.line, item)
		d.QueueTemplates = append(d.QueueTemplates, t)
	}
}

// server reads the section of plain values; null is none.
func (d *decoder) server(p pair) {
	if p.value == nil {
		return
	}
	for _, p := range d.mapping(p.key, p.line, p.value, "{addr: 127.0.0.1:7070}") {
		path := "server." + p.key
		if p.value.kind == nothing {
			d.fault(p.line, path, "want a plain value, not nothing")
			continue
		}
		if got, _, ok := d.scalar(path, p.line, "a plain value", p.value); ok {
			d.Server = append(d.Server, Entry{Key: p.key, Value: got.text, file: d.Name, line: p.line})
		}
	}
}

// function completes the name, which may so be declared twice.
func (d *decoder) function(p pair) {
	path := "functions." + p.key
	f := runnel.Function{Name: d.complete(p.key)}
	if first, ok := d.written[f.Name]; ok {
		d.fault(p.line, path, "is %s, which stands already on line %d", f.Name, d.lines["functions."+first])
		return
	}
	d.written[f.Name] = p.key
	d.structure(reflect.ValueOf(&f).Elem(), path, "", p.line, p.value)
	d.Functions = append(d.Functions, f)
}

// complete gives a bare name its owner.
func (f *File) complete(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return f.Account + "/" + name
}

func isName(name string, most int) bool {
	return name != "" && len(name) <= most && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// quoteList is "a, b and c".
func quoteList(words []string) string {
	last := len(words) - 1
	return fmt.Sprintf("%s and %s", strings.Join(words[:last], ", "), words[last])
}
