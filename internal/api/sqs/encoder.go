package sqs

import (
	"encoding/base64"
	"strconv"
)

// encoder writes the answer of an action, in the codec of its request. An
// output describes itself once, in the words of both: where they differ (the
// query protocol has flattened lists, with names of their own) the name of the
// JSON protocol comes first.
type encoder struct {
	b   []byte
	xml bool
}

// object writes an output as a whole, in JSON.
func (e *encoder) object(out output) {
	e.b = append(e.b, '{')
	out.encode(e)
	e.b = append(e.b, '}')
}

// member begins a member of an object. In JSON that is a comma unless it is
// the first, the name, which needs no escapes, and a colon.
func (e *encoder) member(name string) {
	if e.xml {
		e.b = append(append(append(e.b, '<'), name...), '>')
		return
	}
	if n := len(e.b); n > 0 && e.b[n-1] != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(append(append(e.b, '"'), name...), '"', ':')
}

// end ends it.
func (e *encoder) end(name string) {
	if e.xml {
		e.b = append(append(append(e.b, '<', '/'), name...), '>')
	}
}

// field writes a member that is a string.
func (e *encoder) field(name, value string) {
	e.member(name)
	if e.xml {
		e.b = appendXML(e.b, value)
	} else {
		e.b = appendString(e.b, value)
	}
	e.end(name)
}

// text is field for bytes.
func (e *encoder) text(name string, value []byte) {
	e.member(name)
	if e.xml {
		e.b = appendXML(e.b, value)
	} else {
		e.b = appendString(e.b, value)
	}
	e.end(name)
}

// optional is field for a value that is left out if it is empty.
func (e *encoder) optional(name, value string) {
	if value != "" {
		e.field(name, value)
	}
}

// binary writes a member that is bytes, in base64.
func (e *encoder) binary(name string, value []byte) {
	e.member(name)
	if !e.xml {
		e.b = append(e.b, '"')
	}
	e.b = base64.StdEncoding.AppendEncode(e.b, value)
	if !e.xml {
		e.b = append(e.b, '"')
	}
	e.end(name)
}

// number writes a member that is an integer.
func (e *encoder) number(name string, n int64) {
	e.member(name)
	e.b = strconv.AppendInt(e.b, n, 10)
	e.end(name)
}

// truth writes a member that is a boolean.
func (e *encoder) truth(name string, v bool) {
	e.member(name)
	e.b = strconv.AppendBool(e.b, v)
	e.end(name)
}

// list writes a member that is a list of objects, whose members item writes.
// In XML it is one element called each per item. It is left out if it is
// empty, as AWS does: clients ask whether it is there.
func (e *encoder) list(name, each string, n int, item func(i int)) {
	if n == 0 {
		return
	}
	if !e.xml {
		e.member(name)
		e.b = append(e.b, '[')
	}
	for i := range n {
		switch {
		case e.xml:
			e.member(each)
		case i > 0:
			e.b = append(e.b, ',', '{')
		default:
			e.b = append(e.b, '{')
		}
		item(i)
		if e.xml {
			e.end(each)
		} else {
			e.b = append(e.b, '}')
		}
	}
	if !e.xml {
		e.b = append(e.b, ']')
	}
}

// strings is list for strings.
func (e *encoder) strings(name, each string, values []string) {
	if e.xml {
		for _, v := range values {
			e.field(each, v)
		}
		return
	}
	if len(values) == 0 {
		return
	}
	e.member(name)
	e.b = append(e.b, '[')
	for i, v := range values {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.b = appendString(e.b, v)
	}
	e.b = append(e.b, ']')
}

// pairs writes a member that is a map of strings: an object in JSON, and in
// XML one element called each per pair, in which key is what the name is
// called. It is left out if it is empty.
func (e *encoder) pairs(name, each, key string, pairs []pair) {
	if e.xml {
		for _, p := range pairs {
			e.member(each)
			e.field(key, p.name)
			e.field("Value", p.value)
			e.end(each)
		}
		return
	}
	if len(pairs) == 0 {
		return
	}
	e.member(name)
	e.b = append(e.b, '{')
	for _, p := range pairs {
		if n := len(e.b); e.b[n-1] != '{' {
			e.b = append(e.b, ',')
		}
		e.b = append(appendString(e.b, p.name), ':')
		e.b = appendString(e.b, p.value)
	}
	e.b = append(e.b, '}')
}
