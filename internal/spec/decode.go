package spec

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// maxValues bounds what aliases make of a file: values are counted as often
// as they are used.
const maxValues = 200_000

// decoder fills the root's structs. Their json tags are the keys.
type decoder struct {
	*File
	opt    *Options
	faults []*Fault
	// bad are the paths with a fault of their own: what their struct then
	// lacks is no second one.
	bad    map[string]bool
	values int
}

// zeros are the keys whose zero value says something. Elsewhere zero is the
// default, which who writes a zero does not mean.
var zeros = []string{"batch.window", "workers.min", "memory", "duplicate"}

func (d *decoder) fault(line int, path, format string, args ...any) {
	d.faultErr(line, path, fmt.Errorf(format, args...))
}

func (d *decoder) faultErr(line int, path string, err error) {
	d.bad[path] = true
	d.faults = append(d.faults, &Fault{File: d.Name, Line: line, Path: path, Err: err})
}

// add places err, which may be several, as File.Fault does, but for what
// follows from a fault already there.
func (d *decoder) add(path string, err error) {
	for _, f := range d.place(path, err) {
		if !d.isBad(f.Path) {
			d.faults = append(d.faults, f)
		}
	}
}

// isBad says whether a path, or one above or below it, has a fault already.
func (d *decoder) isBad(path string) bool {
	for p := path; p != ""; p = p[:max(strings.LastIndexAny(p, ".["), 0)] {
		if d.bad[p] {
			return true
		}
	}
	return false
}

// count says whether there may be one more value.
func (d *decoder) count(line int) bool {
	d.values++
	if d.values == maxValues+1 {
		d.faults = append(d.faults, &Fault{File: d.Name, Line: line, Err: fmt.Errorf("with its aliases the file has more than %d values", maxValues)})
	}
	return d.values <= maxValues
}

// mapping returns the pairs of a node, none for null, and notes their lines.
func (d *decoder) mapping(path string, line int, n *node, example string) []pair {
	switch n.kind {
	case nothing:
		return nil
	case mapping:
	default:
		d.fault(line, path, "want a mapping such as %s, not %s", example, n.describe())
		return nil
	}
	for i, p := range n.pairs {
		if !d.count(p.line) {
			return n.pairs[:i]
		}
		d.lines[below(path, p.key)] = p.line
	}
	return n.pairs
}

// structure fills a struct. inner is the path below the declared thing: empty
// for the thing itself, "*" where it does not matter.
func (d *decoder) structure(v reflect.Value, path, inner string, line int, n *node) {
	fields := keysOf(v.Type(), inner == "")
	var names []string
	for _, f := range fields {
		names = append(names, f.key)
	}
	example := fmt.Sprintf("{%s: ...}", names[0])
	for _, p := range d.mapping(path, line, n, example) {
		at := below(path, p.key)
		i := slices.Index(names, p.key)
		if i < 0 {
			hint := ": the keys are " + strings.Join(names, ", ")
			if name := Closest(p.key, names); name != "" {
				hint = ", did you mean " + name + "?"
				d.bad[below(path, name)] = true // not missing, only misspelt
			}
			d.fault(p.line, at, "there is no such key%s", hint)
			continue
		}
		d.value(v.FieldByIndex(fields[i].index), at, below(inner, p.key), p.line, p.value)
	}
}

type structField struct {
	key   string
	index []int
}

// keysOf returns the keys of a struct in their order, with those of structs that
// it embeds. The name of a declared thing is the key that it stands under.
func keysOf(t reflect.Type, declared bool) []structField {
	var out []structField
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if key != "" && key != "-" && (key != "name" || !declared) {
			out = append(out, structField{key, f.Index})
		}
	}
	return out
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[runnel.Size]()
)

// value fills v from a node. Null leaves it as it is. An empty inner says that
// zero is a value like others.
func (d *decoder) value(v reflect.Value, path, inner string, line int, n *node) {
	if n.kind == nothing || !d.count(line) {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
		inner = "" // can be told from no value, whatever it is
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(v, path, cmp.Or(inner, "*"), line, n)
		return
	case reflect.Slice:
		d.list(v, path, line, n)
		return
	case reflect.Map:
		d.environment(v, path, line, n)
		return
	default:
	}
	want := "text"
	switch {
	case v.Type() == durationType:
		want = "a duration such as 30s"
	case v.Type() == sizeType:
		want = "a size such as 64MiB"
	case v.Kind() == reflect.Int:
		want = "a whole number"
	case v.Kind() == reflect.Float64:
		want = "a number such as 0.01"
	case v.Kind() == reflect.Bool:
		want = "true or false"
	}
	if inner == "inline" && n.kind == text {
		v.SetString(n.text) // code has ${...} of its own
		return
	}
	got, expanded, ok := d.scalar(path, line, want, n)
	if !ok {
		return
	}
	if err := set(v, got, expanded, want); err != nil {
		if expanded {
			// Not the value: it may be a secret.
			err = fmt.Errorf("want %s: what %s stands for is none", want, n.text)
		}
		d.faultErr(line, path, err)
		return
	}
	if v.IsZero() && inner != "" && v.Kind() != reflect.String && v.Kind() != reflect.Bool && !slices.Contains(zeros, inner) {
		d.fault(line, path, "%s is not a value that it can have: leave it out for the default", got.text)
	}
}

// scalar returns a scalar node with its references replaced.
func (d *decoder) scalar(path string, line int, want string, n *node) (got *node, expanded, ok bool) {
	if n.kind == list || n.kind == mapping {
		d.fault(line, path, "want %s, not %s", want, n.describe())
		return nil, false, false
	}
	if n.kind != text {
		return n, false, true
	}
	out, expanded, err := d.opt.expand(n.text)
	if err != nil {
		if joined, is := err.(interface{ Unwrap() []error }); is { //nolint:errorlint // what expand joined itself
			for _, one := range joined.Unwrap() {
				d.faultErr(line, path, one)
			}
		} else {
			d.faultErr(line, path, err)
		}
		return nil, false, false
	}
	return &node{kind: text, line: n.line, text: out}, expanded, true
}

// set gives v the value of a scalar. A number may be text where it is from a
// reference.
func set(v reflect.Value, n *node, expanded bool, want string) error {
	wrong := fmt.Errorf("want %s, not %s", want, n.describe())
	number := n.kind == integer || n.kind == decimal
	switch {
	case v.Kind() == reflect.String:
		v.SetString(n.text) // numbers and such as they are written
	case v.Type() == durationType:
		if number && n.text != "0" || n.kind == truth {
			return wrong
		}
		got, err := parseDuration(n.text)
		if err != nil {
			return err
		}
		v.SetInt(int64(got))
	case v.Type() == sizeType:
		if n.kind == integer {
			return setInt(v, n.int)
		}
		if n.kind != text {
			return wrong
		}
		got, err := parseSize(n.text)
		if err != nil {
			return err
		}
		v.SetInt(int64(got))
	case v.Kind() == reflect.Int:
		if n.kind == text && expanded {
			var got int64
			if _, err := fmt.Sscanf(n.text+"\n", "%d\n", &got); err != nil {
				return wrong
			}
			return setInt(v, got)
		}
		if n.kind != integer {
			return wrong
		}
		return setInt(v, n.int)
	case v.Kind() == reflect.Float64:
		got, err := strconv.ParseFloat(n.text, 64)
		if err != nil || math.IsNaN(got) || math.IsInf(got, 0) || !number && !expanded {
			return wrong
		}
		v.SetFloat(got)
	case v.Kind() == reflect.Bool:
		if n.kind != truth && (!expanded || n.text != "true" && n.text != "false") {
			return wrong
		}
		v.SetBool(strings.EqualFold(n.text, "true"))
	default:
		panic("spec: no way to read a " + v.Type().String())
	}
	return nil
}

func setInt(v reflect.Value, n any) error {
	switch n := n.(type) {
	case int64:
		v.SetInt(n)
		if v.Int() == n {
			return nil
		}
	case uint64:
		if n <= 1<<63-1 {
			return setInt(v, int64(n))
		}
	}
	return fmt.Errorf("%v is too large", n)
}

// list fills a slice of texts.
func (d *decoder) list(v reflect.Value, path string, line int, n *node) {
	if n.kind != list {
		d.fault(line, path, "want a list such as [queue:images], not %s", n.describe())
		return
	}
	for i, item := range n.items {
		if !d.count(item.line) {
			return
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.line
		one := reflect.New(v.Type().Elem()).Elem()
		if item.kind == nothing {
			d.fault(item.line, at, "is empty")
		} else {
			d.value(one, at, "", item.line, item)
		}
		v.Set(reflect.Append(v, one))
	}
}

// environment fills a map of texts, in which nothing is not a value.
func (d *decoder) environment(v reflect.Value, path string, line int, n *node) {
	out := make(map[string]string)
	for _, p := range d.mapping(path, line, n, "{NAME: value}") {
		at := below(path, p.key)
		if p.value.kind == nothing {
			d.fault(p.line, at, `is empty: want a value, or "" for an empty one`)
			continue
		}
		got, _, ok := d.scalar(at, p.line, "text", p.value)
		switch {
		case !ok:
		case strings.ContainsRune(got.text, 0):
			d.fault(p.line, at, "has a zero byte, which no environment can hold")
		default:
			out[p.key] = got.text
		}
	}
	if len(out) > 0 {
		v.Set(reflect.ValueOf(out))
	}
}
