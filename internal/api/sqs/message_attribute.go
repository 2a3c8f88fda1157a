package sqs

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

const maxMessageAttributes = 10

// traceAttribute is the attribute of a stored message that is its
// AWSTraceHeader. Clients can neither send nor ask for an attribute that begins
// with "AWS.": it does not mix with theirs.
const traceAttribute = "AWS.TraceHeader"

// messageAttribute is one value of MessageAttributes or
// MessageSystemAttributes. A value that is nil was not given.
type messageAttribute struct {
	Name        string
	DataType    string
	StringValue []byte
	BinaryValue []byte
	lists       bool // it has StringListValues or BinaryListValues
}

// messageAttributes are the first ones of a request, and how many it has.
type messageAttributes struct {
	list  []messageAttribute
	count int
}

func (d *decoder) messageAttributes() (as messageAttributes) {
	d.object(func(name []byte) {
		if as.count++; as.count > maxMessageAttributes {
			d.skip()
			return
		}
		a := messageAttribute{Name: string(name)}
		d.object(func(name []byte) {
			switch string(name) {
			case "DataType":
				a.DataType = d.string()
			case "StringValue":
				a.StringValue = d.text()
			case "BinaryValue":
				a.BinaryValue = d.binary()
			case "StringListValues", "BinaryListValues":
				d.list(func() { a.lists = true; d.skip() })
			default:
				d.skip()
			}
		})
		as.list = append(as.list, a)
	})
	return as
}

// user returns the attributes as they are stored, by name, or refuses them.
//
// A name has 1 to 256 bytes. The API reference knows letters of ASCII only;
// Amazon takes those of any script, and so does this.
func (as *messageAttributes) user() ([]runnel.Attribute, error) {
	if as.count == 0 {
		return nil, nil
	}
	if as.count > maxMessageAttributes {
		return nil, invalidParameterValue.says("Number of message attributes [%d] exceeds the allowed maximum [%d].", as.count, maxMessageAttributes)
	}
	out := make([]runnel.Attribute, 0, len(as.list))
	for i := range as.list {
		a := &as.list[i]
		if err := checkAttributeName(a.Name); err != nil {
			return nil, err
		}
		value, err := a.value()
		if err != nil {
			return nil, err
		}
		out = append(out, runnel.Attribute{Name: a.Name, Type: a.DataType, Value: value})
	}
	slices.SortFunc(out, func(a, b runnel.Attribute) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			return nil, invalidParameterValue.says("The message (user) attribute '%s' is given more than once.", out[i].Name)
		}
	}
	return out, nil
}

// system returns the system attributes, as they are stored, or refuses them:
// there is AWSTraceHeader only.
func (as *messageAttributes) system() ([]runnel.Attribute, error) {
	var out []runnel.Attribute
	for i := range as.list {
		a := &as.list[i]
		if a.Name != "AWSTraceHeader" {
			return nil, invalidParameterValue.says("Message system attribute name '%.80s' is invalid.", a.Name)
		}
		value, err := a.value()
		if err != nil {
			return nil, err
		}
		if a.DataType != "String" {
			return nil, invalidParameterValue.says("The type of message system attribute 'AWSTraceHeader' is invalid. You must use only the type String.")
		}
		out = append(out[:0], runnel.Attribute{Name: traceAttribute, Type: a.DataType, Value: value})
	}
	return out, nil
}

func checkAttributeName(name string) error {
	switch {
	case name == "":
		return invalidParameterValue.says("The request must contain non-empty message (user) attribute names.")
	case len(name) > 256:
		return invalidParameterValue.says("Message (user) attribute name must be shorter than 256 bytes.")
	case reservedName(name):
		return invalidParameterValue.says("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use.")
	case name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, ".."):
		return invalidParameterValue.says("The message attribute name '%s' is invalid. Attribute name can not start or end with a period (.) or have successive periods.", name)
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' {
			return invalidParameterValue.says("The message attribute name '%.300s' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters.", strings.ToValidUTF8(name, "\uFFFD"))
		}
	}
	return nil
}

// reservedName says whether a name is one that only Amazon gives.
func reservedName(name string) bool {
	hasPrefix := func(prefix string) bool {
		return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
	}
	return hasPrefix("AWS.") || hasPrefix("Amazon.")
}

// isBinary says whether a data type's values are bytes.
func isBinary(dataType string) bool {
	return dataType == "Binary" || strings.HasPrefix(dataType, "Binary.")
}

// value returns the value, or refuses the attribute.
//
// A Number is a decimal number, with an exponent if it likes, of at most 38
// digits, and 0 or from 10^-128 to 10^126, either side of 0. It is kept as it
// was written.
func (a *messageAttribute) value() ([]byte, error) {
	base, _, _ := strings.Cut(a.DataType, ".")
	switch {
	case a.lists:
		return nil, unsupportedOperation.says("Message attribute list values in SendMessage operation are not supported.")
	case a.DataType == "" && a.StringValue == nil && a.BinaryValue == nil:
		return nil, invalidParameterValue.says("The message (user) attribute '%s' must contain a non-empty message attribute value.", a.Name)
	case a.DataType == "":
		return nil, invalidParameterValue.says("The message (user) attribute '%s' must contain a non-empty message attribute type.", a.Name)
	case len(a.DataType) > 256:
		return nil, invalidParameterValue.says("Message (user) attribute type must be shorter than 256 bytes.")
	case base != "String" && base != "Number" && base != "Binary", !isText(a.DataType):
		return nil, invalidParameterValue.says("The type of message (user) attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", a.Name)
	}
	value, other := a.StringValue, a.BinaryValue
	if base == "Binary" {
		value, other = other, value
	}
	switch {
	case len(value) == 0:
		return nil, invalidParameterValue.says("Message (user) attribute '%s' must contain a non-empty value of type '%s'.", a.Name, base)
	case len(other) > 0:
		return nil, invalidParameterValue.says("Message (user) attribute '%s' has a value of another type than '%s'.", a.Name, base)
	case base != "Binary" && !isText(value):
		return nil, invalidParameterValue.says(textCharacters)
	case base == "Number" && !isNumber(value):
		return nil, invalidParameterValue.says("Can't cast the value of message (user) attribute '%s' to a number.", a.Name)
	}
	return value, nil
}

// Limits of a Number: its digits, and the powers of ten that it lies between.
const (
	maxDigits    = 38
	minMagnitude = -128
	maxMagnitude = 126
)

// isNumber says whether s is a decimal number within the limits of a Number.
func isNumber(s []byte) bool {
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	mantissa, exponent := s, int64(0)
	if i := bytes.IndexAny(s, "eE"); i >= 0 {
		var err error
		mantissa = s[:i]
		// What has more than 32 bits is out of range.
		if exponent, err = strconv.ParseInt(string(s[i+1:]), 10, 32); err != nil {
			return false
		}
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	if len(whole)+len(fraction) == 0 {
		return false
	}
	digits := slices.Concat(whole, fraction)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	significant := bytes.TrimLeft(digits, "0")
	// The number is 0.significant times ten to the magnitude.
	magnitude := int(exponent) + len(whole) - (len(digits) - len(significant))
	significant = bytes.TrimRight(significant, "0")
	if len(significant) == 0 {
		return true
	}
	// 10^126 itself is 0.1 times 10^127.
	top := magnitude == maxMagnitude+1 && string(significant) == "1"
	return len(significant) <= maxDigits && magnitude > minMagnitude && (magnitude <= maxMagnitude || top)
}

// isText says whether s has only characters that a message may have: UTF-8,
// and of it #x9, #xA, #xD, #x20 to #xD7FF, #xE000 to #xFFFD and #x10000 to
// #x10FFFF.
func isText[T string | []byte](s T) bool {
	for {
		s = s[plainPrefix(s):]
		if len(s) == 0 {
			return true
		}
		size := runeOfText(s)
		if size == 0 {
			return false
		}
		s = s[size:]
	}
}

// runeOfText returns the bytes of the first character of s, which is not
// empty, or 0 if no message may have it.
func runeOfText[T string | []byte](s T) int {
	if c := s[0]; c < utf8.RuneSelf {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return 0
		}
		return 1
	}
	r, size := utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
	if r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
		return 0
	}
	return size
}

// digest is an MD5, in hex.
type digest [2 * md5.Size]byte

func digestOf(b []byte) (d digest) {
	sum := md5.Sum(b)
	hex.Encode(d[:], sum[:])
	return d
}

// attributesDigest is the MD5 of attributes, which are sorted by name: of each,
// name, type and value with their lengths in 4 bytes, big-endian, and before
// the value 1 for a string and 2 for bytes. Empty if there are none.
func attributesDigest(as []runnel.Attribute) string {
	if len(as) == 0 {
		return ""
	}
	var b []byte
	for i := range as {
		a := &as[i]
		name, transport := a.Name, byte(1)
		if name == traceAttribute {
			name = "AWSTraceHeader"
		}
		if isBinary(a.Type) {
			transport = 2
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(name))), name...)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a.Type))), a.Type...)
		b = append(b, transport)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a.Value))), a.Value...)
	}
	d := digestOf(b)
	return string(d[:])
}

// attributeFilter is the MessageAttributeNames of a ReceiveMessage: names,
// "All", or the beginning of names and ".*".
type attributeFilter []string

func (f attributeFilter) wants(name string) bool {
	for _, want := range f {
		if want == name || want == "All" || want == "*" {
			return true
		}
		if prefix, ok := strings.CutSuffix(want, ".*"); ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// filter returns the attributes that are wanted, by name, each once. Those of
// a flow's message can be in any order and occur twice; the first counts.
func (f attributeFilter) filter(as []runnel.Attribute) []runnel.Attribute {
	if len(f) == 0 || len(as) == 0 {
		return nil
	}
	out := make([]runnel.Attribute, 0, len(as))
	for _, a := range as {
		if reservedName(a.Name) || !f.wants(a.Name) {
			continue
		}
		if a.Type == "" {
			a.Type = "String"
		}
		if !isBinary(a.Type) {
			a.Value = bytes.ToValidUTF8(a.Value, []byte("\uFFFD"))
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b runnel.Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b runnel.Attribute) bool { return a.Name == b.Name })
}

// messageAttributes writes MessageAttributes, unless there are none.
func (e *encoder) messageAttributes(as []runnel.Attribute) {
	if len(as) == 0 {
		return
	}
	const name, each = "MessageAttributes", "MessageAttribute"
	if !e.xml {
		e.member(name)
		e.b = append(e.b, '{')
	}
	for i := range as {
		a := &as[i]
		switch {
		case e.xml:
			e.member(each)
			e.field("Name", a.Name)
			e.member("Value")
		default:
			if i > 0 {
				e.b = append(e.b, ',')
			}
			e.b = append(appendString(e.b, a.Name), ':', '{')
		}
		if isBinary(a.Type) {
			e.binary("BinaryValue", a.Value)
		} else {
			e.text("StringValue", a.Value)
		}
		e.field("DataType", a.Type)
		if e.xml {
			e.end("Value")
			e.end(each)
		} else {
			e.b = append(e.b, '}')
		}
	}
	if !e.xml {
		e.b = append(e.b, '}')
	}
}
