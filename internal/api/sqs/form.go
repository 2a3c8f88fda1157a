package sqs

import (
	"bytes"
	"slices"
	"strconv"
)

// Limits of a form. The largest that an action reads is a batch of ten
// messages, with ten attributes each.
const (
	maxParams   = 2000
	maxSegments = 10 // of a parameter's name
)

// param is one parameter of a form, or one segment of the names of several:
// of Tag.1.Key and Tag.1.Value there is Tag, in it 1, and in it Key and Value.
type param struct {
	name   []byte
	value  []byte // nil: it has none
	params []*param
	key    string // set on lists that stand for a map: what its names are called
}

// member returns the one of this name, or nil.
func (p *param) member(name string) *param {
	for _, m := range p.params {
		if string(m.name) == name {
			return m
		}
	}
	return nil
}

// elements returns the elements of a list, which are numbered, in their order.
// One that has no number (AttributeName=All) is taken for the first, as AWS
// does. A list without elements is sent as a parameter without a value.
func (p *param) elements() []*param {
	if len(p.params) == 0 {
		if len(p.value) == 0 {
			return nil
		}
		return []*param{p}
	}
	numbers := make(map[*param]int, len(p.params))
	for _, m := range p.params {
		n, err := strconv.Atoi(string(m.name))
		if err != nil {
			return []*param{p}
		}
		numbers[m] = n
	}
	slices.SortStableFunc(p.params, func(a, b *param) int { return numbers[a] - numbers[b] })
	return p.params
}

// flat is how the query protocol calls lists and maps, which it flattens.
type flat struct {
	name string // in the JSON protocol
	key  string // of a map: what its names are called; its values are Value
}

var flattened = map[string]flat{
	"ActionName":                 {name: "Actions"},
	"Attribute":                  {name: "Attributes", key: "Name"},
	"AttributeName":              {name: "AttributeNames"},
	"AWSAccountId":               {name: "AWSAccountIds"},
	"BinaryListValue":            {name: "BinaryListValues"},
	"MessageAttribute":           {name: "MessageAttributes", key: "Name"},
	"MessageAttributeName":       {name: "MessageAttributeNames"},
	"MessageSystemAttribute":     {name: "MessageSystemAttributes", key: "Name"},
	"MessageSystemAttributeName": {name: "MessageSystemAttributeNames"},
	"StringListValue":            {name: "StringListValues"},
	"Tag":                        {name: "Tags", key: "Key"},
	"TagKey":                     {name: "TagKeys"},

	"ChangeMessageVisibilityBatchRequestEntry": {name: "Entries"},
	"DeleteMessageBatchRequestEntry":           {name: "Entries"},
	"SendMessageBatchRequestEntry":             {name: "Entries"},
}

// form is parameters while they are read.
type form struct {
	root  *param
	count int
}

// add reads parameters, name=value&name=value, unescaped in place.
func (f *form) add(raw []byte) error {
	for len(raw) > 0 {
		var one []byte
		one, raw, _ = bytes.Cut(raw, []byte{'&'})
		if len(one) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(one, []byte{'='})
		name, ok := unescape(name)
		if value == nil {
			value = []byte{}
		}
		value, valueOK := unescape(value)
		if !ok || !valueOK {
			return malformedInput.says("The form is not well-formed: the parameter %.80q has a percent sign without two hexadecimal digits behind it.", name)
		}
		if f.count++; f.count > maxParams {
			return malformedInput.says("The form has more than %d parameters.", maxParams)
		}
		if err := f.set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (f *form) set(name, value []byte) error {
	p := f.root
	rest, more := name, true
	for depth := 0; more; depth++ {
		if depth == maxSegments {
			return malformedInput.says("The name of the parameter %.80q has more than %d segments.", name, maxSegments)
		}
		var segment []byte
		segment, rest, more = bytes.Cut(rest, []byte{'.'})
		m := p.member(string(segment))
		if m == nil {
			m = &param{name: segment}
			p.params = append(p.params, m)
		}
		p = m
	}
	if p.value != nil {
		return malformedInput.says("The parameter %.80q is given more than once.", name)
	}
	p.value = value
	return nil
}

// unescape undoes the escapes of a form, in place: %XX, and a plus for a
// space.
func unescape(s []byte) (out []byte, ok bool) {
	i := bytes.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	out = s[:i]
	for i < len(s) {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return s, false
			}
			hi, lo := digit(s[i+1]), digit(s[i+2])
			if hi < 0 || lo < 0 {
				return s, false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		out = append(out, c)
		i++
	}
	return out[:len(out):len(out)], true
}

// digit returns the value of a hexadecimal digit, or -1.
func digit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// decodeForm reads a form into in, by the same decoder as a JSON document: it
// has the shape of one once the flattened names are undone.
func decodeForm(root *param, in input) error {
	d := decoder{at: root, form: true}
	d.object(func(name []byte) { in.parameter(&d, name) })
	return d.err
}

// members is object for a form.
func (d *decoder) members(member func(name []byte)) {
	p := d.at
	defer func() { d.at = p }()
	if p.key != "" {
		for _, element := range p.elements() {
			name, value := element.member(p.key), element.member("Value")
			if name == nil {
				d.at = element
				d.fail("want it to have " + p.key + " and Value")
			}
			if d.err != nil {
				return
			}
			if value == nil {
				value = &param{name: element.name}
			}
			d.at = value
			member(name.value)
		}
		return
	}
	for _, m := range p.params {
		name := m.name
		if f, ok := flattened[string(name)]; ok {
			name, m.key = []byte(f.name), f.key
		}
		d.at = m
		if member(name); d.err != nil {
			return
		}
	}
}

// elements is list for a form.
func (d *decoder) elements(element func()) {
	p := d.at
	defer func() { d.at = p }()
	for _, d.at = range p.elements() {
		if element(); d.err != nil {
			return
		}
	}
}

// formNumber is number for a form.
func (d *decoder) formNumber() number {
	b := d.text()
	if b == nil {
		return number{}
	}
	n, err := strconv.ParseInt(string(b), 10, 32)
	if err != nil {
		d.fail("want an integer of 32 bits")
		return number{}
	}
	return number{int(n), true}
}
