package sqs

import "unicode/utf8"

// plainXML are the bytes that stand for themselves in the text of an element,
// as far as one byte can say. A carriage return is not one of them: a parser
// would make a line feed of it.
var plainXML = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '<' && c != '>' && c != '&' && c != '"' && c != '\''
	}
	t['\t'], t['\n'] = true, true
	return t
}()

// xmlText returns s with U+FFFD in the place of what XML cannot hold: what a
// parser makes of what appendXML writes.
func xmlText(s []byte) []byte {
	if isText(s) {
		return s
	}
	var out []byte
	for len(s) > 0 {
		size := runeOfText(s)
		if size > 0 {
			out = append(out, s[:size]...)
		} else {
			out = append(out, "\uFFFD"...)
			size = notText(s)
		}
		s = s[size:]
	}
	return out
}

// notText returns the bytes of the character, or of what is none, at the start
// of s, which XML cannot hold.
func notText[T string | []byte](s T) int {
	_, size := utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
	return size
}

// appendXML appends s as the text of an element. What XML cannot hold, not
// even as a reference (what is not UTF-8, control characters, U+FFFE and
// U+FFFF), becomes U+FFFD.
func appendXML[T string | []byte](b []byte, s T) []byte {
	for {
		n := 0
		for n < len(s) && plainXML[s[n]] {
			n++
		}
		b = append(b, s[:n]...)
		s = s[n:]
		if len(s) == 0 {
			return b
		}
		size := 1
		switch s[0] {
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '&':
			b = append(b, "&amp;"...)
		case '"':
			b = append(b, "&quot;"...)
		case '\'':
			b = append(b, "&apos;"...)
		case '\r':
			b = append(b, "&#xD;"...)
		default:
			if size = runeOfText(s); size > 0 {
				b = append(b, s[:size]...)
			} else {
				size = notText(s)
				b = append(b, "\uFFFD"...)
			}
		}
		s = s[size:]
	}
}
