package worker

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// maxLine is the longest line of a frame, its newline included.
const maxLine = 64 << 10

// appendInvoke appends the frame of a call. deadline is in Unix milliseconds;
// 0 means none. meta is scratch space, returned for the next call.
func appendInvoke(dst, meta []byte, deadline int64, in *runnel.Invocation) (frame, scratch []byte, err error) {
	if !isWord(in.ID) {
		return dst, meta, badID(in.ID)
	}
	if len(in.Items) == 0 {
		return dst, meta, fmt.Errorf("invocation %s: no items", in.ID)
	}
	if in.Format == runnel.FormatNone {
		return dst, meta, fmt.Errorf("invocation %s: format none is for answers", in.ID)
	}
	meta = appendMeta(meta[:0], in)
	size := len(meta) + len(in.ID) + 64 + 12*len(in.Items)
	for i := range in.Items {
		size += len(in.Items[i].Payload)
	}
	dst = slices.Grow(dst, size)
	dst = append(dst, "invoke "...)
	dst = append(dst, in.ID...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, deadline, 10)
	if in.List {
		dst = append(dst, " list "...)
	} else {
		dst = append(dst, " each "...)
	}
	dst = append(dst, in.Format.String()...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(meta)), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(in.Items)), 10)
	for i := range in.Items {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(len(in.Items[i].Payload)), 10)
	}
	dst = append(dst, '\n')
	if len(dst) > maxLine {
		return dst, meta, fmt.Errorf("invocation %s: %d items do not fit into the line of a frame", in.ID, len(in.Items))
	}
	dst = append(dst, meta...)
	for i := range in.Items {
		dst = append(dst, in.Items[i].Payload...)
	}
	return dst, meta, nil
}

func badID(id string) error {
	return fmt.Errorf("invocation id %q: want 1 to 256 printable characters without spaces", id)
}

// isWord says whether id can stand in a frame's line.
func isWord(id string) bool {
	if id == "" || len(id) > 256 {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendMeta appends the JSON for a handler's context. Fields without a value
// are left out.
func appendMeta(dst []byte, in *runnel.Invocation) []byte {
	dst = append(dst, `{"flow":`...)
	dst = appendString(dst, in.Flow)
	dst = append(dst, `,"items":[`...)
	for i := range in.Items {
		item := &in.Items[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"message":`...)
		dst = appendString(dst, string(item.Message))
		dst = append(dst, `,"attempt":`...)
		dst = strconv.AppendInt(dst, int64(item.Attempt), 10)
		if item.Key != "" {
			dst = append(dst, `,"key":`...)
			dst = appendString(dst, item.Key)
		}
		if item.Trace != "" {
			dst = append(dst, `,"trace":`...)
			dst = appendString(dst, item.Trace)
		}
		if len(item.Attributes) > 0 {
			dst = append(dst, `,"attributes":{`...)
			dst = appendAttributes(dst, item.Attributes)
			dst = append(dst, '}')
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

// appendAttributes appends the members of an object. Of a name that occurs
// twice the first counts, as with Message.Attribute. Values of a Binary type
// are base64, all others text.
func appendAttributes(dst []byte, attributes []runnel.Attribute) []byte {
	first := true
next:
	for i := range attributes {
		a := &attributes[i]
		for j := range i {
			if attributes[j].Name == a.Name {
				continue next
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendString(dst, a.Name)
		dst = append(dst, ':')
		if strings.HasPrefix(a.Type, "Binary") {
			dst = append(dst, '"')
			dst = base64.StdEncoding.AppendEncode(dst, a.Value)
			dst = append(dst, '"')
		} else {
			dst = appendString(dst, a.Value)
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become
// the replacement character.
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}
