package sqs

// appendMember appends a member of an object: a comma unless it is the first,
// the name, which needs no escapes, and a colon.
func appendMember(b []byte, name string) []byte {
	if len(b) > 0 && b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// appendField appends a member of an object that is a string.
func appendField[T string | []byte](b []byte, name string, value T) []byte {
	return appendString(appendMember(b, name), value)
}

// appendList appends a member of an object that is a list of objects or
// strings, each appended by item. It is left out if it is empty, as AWS does:
// clients ask whether it is there.
func appendList(b []byte, name string, n int, item func(b []byte, i int) []byte) []byte {
	if n == 0 {
		return b
	}
	b = append(appendMember(b, name), '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, i)
	}
	return append(b, ']')
}

// appendPairs appends a member of an object that is an object of strings. It
// is left out if it is empty.
func appendPairs(b []byte, name string, pairs []pair) []byte {
	if len(pairs) == 0 {
		return b
	}
	b = append(appendMember(b, name), '{')
	for _, p := range pairs {
		b = appendField(b, p.name, p.value)
	}
	return append(b, '}')
}
