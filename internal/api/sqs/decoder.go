package sqs

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Limits of a document, beside maxBody. Nothing that an action reads has more.
const (
	maxDepth    = 64
	maxElements = 1000 // of a list or a map that is kept
)

// decoder reads the parameters of an action: one JSON document, front to back,
// without a picture of it, or a form (form.go). Each value is read by who knows
// what it should be. After a fault err is set, and all that is read later is
// empty.
//
// Texts are parts of the buffer, unescaped in place. They need not be valid
// UTF-8: half a surrogate pair (\ud800) becomes three bytes that are not, and
// whoever keeps a text checks it.
type decoder struct {
	buf   []byte
	pos   int
	depth int
	err   error

	form bool
	at   *param // of a form, what is read next
}

// decode reads a body, which it changes, into in. An empty body is an empty
// object.
func decode(body []byte, in input) error {
	d := decoder{buf: body}
	if d.peek() == 0 && d.pos == len(body) {
		return nil
	}
	if c := d.peek(); c != '{' {
		d.fail("want an object")
	}
	d.object(func(name []byte) {
		if !in.parameter(&d, name) {
			d.skip()
		}
	})
	if d.peek(); d.err == nil && d.pos < len(d.buf) {
		d.fail("want nothing behind the object")
	}
	return d.err
}

// fail notes a fault, unless there is one, at the place of reading.
func (d *decoder) fail(what string) {
	if d.err == nil && d.form {
		d.err = malformedInput.says("The value of the parameter %.80s is not as expected: %s.", d.at.name, what)
	}
	if d.err == nil {
		d.err = malformedInput.says("The request's body is not as expected at byte %d: %s.", d.pos, what)
	}
	d.pos = len(d.buf)
}

// peek passes white space and returns the next byte, or 0 at the end.
func (d *decoder) peek() byte {
	for d.pos < len(d.buf) {
		switch c := d.buf[d.pos]; c {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}

// take passes c if it is next.
func (d *decoder) take(c byte) bool {
	if d.peek() != c || d.pos == len(d.buf) {
		return false
	}
	d.pos++
	return true
}

// word passes a literal if it is next.
func (d *decoder) word(s string) bool {
	d.peek()
	if rest := d.buf[d.pos:]; len(rest) >= len(s) && string(rest[:len(s)]) == s {
		d.pos += len(s)
		return true
	}
	return false
}

func (d *decoder) enter() bool {
	d.depth++
	if d.depth > maxDepth {
		d.fail("it is nested too deeply")
	}
	return d.err == nil
}

// object reads an object, or null: member reads the value of each member.
func (d *decoder) object(member func(name []byte)) {
	if d.form {
		d.members(member)
		return
	}
	if d.word("null") {
		return
	}
	if !d.take('{') {
		d.fail("want an object")
	}
	if !d.enter() {
		return
	}
	for first := true; d.err == nil && !d.take('}'); first = false {
		if !first && !d.take(',') {
			d.fail("want a comma or the end of the object")
			return
		}
		if d.peek() != '"' {
			d.fail("want a name in quotes")
			return
		}
		name := d.quoted()
		if !d.take(':') {
			d.fail("want a colon")
			return
		}
		member(name)
	}
	d.depth--
}

// list reads a list, or null: element reads each element.
func (d *decoder) list(element func()) {
	if d.form {
		d.elements(element)
		return
	}
	if d.word("null") {
		return
	}
	if !d.take('[') {
		d.fail("want a list")
	}
	if !d.enter() {
		return
	}
	for first := true; d.err == nil && !d.take(']'); first = false {
		if !first && !d.take(',') {
			d.fail("want a comma or the end of the list")
			return
		}
		element()
	}
	d.depth--
}

// skip passes any value.
func (d *decoder) skip() {
	if d.form {
		return
	}
	switch d.peek() {
	case '{':
		d.object(func([]byte) { d.skip() })
	case '[':
		d.list(d.skip)
	default:
		d.text()
	}
}

// text reads a string, and nil for null. Like AWS it takes a number or a
// boolean for one, as it is written.
func (d *decoder) text() []byte {
	if d.form {
		if d.at.value == nil && len(d.at.params) > 0 {
			d.fail("want a text")
		}
		return d.at.value
	}
	switch c := d.peek(); {
	case c == '"':
		return d.quoted()
	case c == '{' || c == '[':
		d.fail("Start of structure or map found where not expected")
	case c == '-' || '0' <= c && c <= '9':
		return d.digits()
	case d.word("null"):
		return nil
	case d.word("true"):
		return d.buf[d.pos-4 : d.pos]
	case d.word("false"):
		return d.buf[d.pos-5 : d.pos]
	default:
		d.fail("want a value")
	}
	return nil
}

// string reads a string, empty for null.
func (d *decoder) string() string { return string(d.text()) }

// optional reads a string, nil for null.
func (d *decoder) optional() *string {
	b := d.text()
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

// binary reads a string of base64, nil for null.
func (d *decoder) binary() []byte {
	b := d.text()
	if b == nil {
		return nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(out, b)
	if err != nil {
		d.fail("want base64")
		return nil
	}
	return out[:n]
}

// number is an integer parameter.
type number struct {
	n     int
	given bool
}

// number reads an integer of 32 bits; null is not given.
func (d *decoder) number() number {
	if d.form {
		return d.formNumber()
	}
	switch c := d.peek(); {
	case c == '"':
		d.fail("STRING_VALUE can not be converted to an Integer")
	case c == '-' || '0' <= c && c <= '9':
		n, err := strconv.ParseInt(string(d.digits()), 10, 32)
		if err != nil {
			d.fail("want an integer of 32 bits")
			return number{}
		}
		return number{int(n), true}
	case d.word("null"):
	default:
		d.fail("want an integer")
	}
	return number{}
}

// digits passes a number and returns it as it is written.
func (d *decoder) digits() []byte {
	start := d.pos
	some := func() bool {
		from := d.pos
		for d.pos < len(d.buf) && '0' <= d.buf[d.pos] && d.buf[d.pos] <= '9' {
			d.pos++
		}
		return d.pos > from
	}
	at := func(set string) bool {
		if d.pos < len(d.buf) && strings.IndexByte(set, d.buf[d.pos]) >= 0 {
			d.pos++
			return true
		}
		return false
	}
	at("-")
	ok := at("0") || some()
	if at(".") {
		ok = ok && some()
	}
	if at("eE") {
		at("+-")
		ok = ok && some()
	}
	if !ok {
		d.fail("want a number")
		return nil
	}
	return d.buf[start:d.pos]
}

// strings reads a list of strings.
func (d *decoder) strings() []string {
	var out []string
	d.list(func() {
		if len(out) == maxElements {
			d.fail("the list is too long")
			return
		}
		out = append(out, d.string())
	})
	return out
}

// pair is one element of a map.
type pair struct{ name, value string }

// pairs reads an object whose values are strings. Those that are null are
// left out; given is false if the whole is null.
func (d *decoder) pairs() (out []pair, given bool) {
	given = d.form || d.peek() == '{'
	d.object(func(name []byte) {
		if len(out) == maxElements {
			d.fail("the map is too large")
			return
		}
		if value := d.text(); value != nil {
			out = append(out, pair{string(name), string(value)})
		}
	})
	return out, given
}
