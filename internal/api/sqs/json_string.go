package sqs

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// plainPrefix returns how many of the first bytes of b stand for themselves in
// a JSON string: ASCII but for control characters, quote and backslash. It
// looks at eight at a time.
func plainPrefix[T string | []byte](b T) int {
	const (
		ones = 0x0101010101010101
		high = 0x8080808080808080
	)
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64([]byte(b[i : i+8]))
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// The lowest bit that is set is right; a borrow may set higher ones.
		found := (x | (x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & high
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// appendString appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendString[T string | []byte](b []byte, s T) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for {
		n := plainPrefix(s)
		b = append(b, s[:n]...)
		s = s[n:]
		if len(s) == 0 {
			return append(b, '"')
		}
		c := s[0]
		size := 1
		switch {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
			if r == utf8.RuneError && size == 1 {
				b = append(b, "\uFFFD"...)
			} else {
				b = append(b, s[:size]...)
			}
		}
		s = s[size:]
	}
}

// quoted reads a string, whose quote is next.
func (d *decoder) quoted() []byte {
	d.pos++
	start := d.pos
	out := -1 // where the unescaped text ends; -1: it is the text as it stands
	for {
		n := plainPrefix(d.buf[d.pos:])
		if out >= 0 {
			out += copy(d.buf[out:], d.buf[d.pos:d.pos+n])
		}
		d.pos += n
		if d.pos == len(d.buf) {
			d.fail("the string has no end")
			return nil
		}
		switch c := d.buf[d.pos]; {
		case c == '"':
			end := d.pos
			if out >= 0 {
				end = out
			}
			d.pos++
			return d.buf[start:end:end]
		case c == '\\':
			if out < 0 {
				out = d.pos
			}
			if out = d.escape(out); d.err != nil {
				return nil
			}
		case c < ' ':
			d.fail("a control character in a string")
			return nil
		default: // a byte of UTF-8
			if out >= 0 {
				d.buf[out] = c
				out++
			}
			d.pos++
		}
	}
}

// escape reads an escape sequence, which is next, and writes what it stands
// for to out, which is never behind the place of reading. It returns where
// that ends.
func (d *decoder) escape(out int) int {
	if d.pos+1 >= len(d.buf) {
		d.fail("the string has no end")
		return out
	}
	c := d.buf[d.pos+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return d.unicode(out)
	default:
		d.fail("no escape sequence")
		return out
	}
	d.pos += 2
	d.buf[out] = c
	return out + 1
}

// unicode is escape for \uXXXX.
func (d *decoder) unicode(out int) int {
	r := d.hex(d.pos)
	if r < 0 {
		d.fail("no escape sequence")
		return out
	}
	d.pos += 6
	if utf16.IsSurrogate(r) {
		if pair := utf16.DecodeRune(r, d.hex(d.pos)); pair != utf8.RuneError {
			d.pos += 6
			r = pair
		} else { // as UTF-8 would have it if it had such
			d.buf[out] = 0xe0 | byte(r>>12)
			d.buf[out+1] = 0x80 | byte(r>>6)&0x3f
			d.buf[out+2] = 0x80 | byte(r)&0x3f
			return out + 3
		}
	}
	return out + utf8.EncodeRune(d.buf[out:], r)
}

// hex returns the value of the escape sequence \uXXXX at pos, or -1.
func (d *decoder) hex(pos int) rune {
	if pos+6 > len(d.buf) || d.buf[pos] != '\\' || d.buf[pos+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range d.buf[pos+2 : pos+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
