package admin

import "strings"

// traceparent returns a W3C traceparent header in version 00's form, or "" if
// it is not valid: a broken trace is no reason to refuse a request.
//
// Trace Context, 3.2: VERSION "-" 32 hex "-" 16 hex "-" 2 hex, lower case; ids
// of zeros only and version ff are invalid. Later versions may append fields,
// which are cut off here.
func traceparent(header string) string {
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(header) < length {
		return ""
	}
	head, rest := header[:length], header[length:]
	version, traceID, parentID, flags := head[:2], head[3:35], head[36:52], head[53:]
	switch {
	case head[2] != '-' || head[35] != '-' || head[52] != '-',
		!lowerHex(version) || !lowerHex(traceID) || !lowerHex(parentID) || !lowerHex(flags),
		version == "ff",
		strings.Trim(traceID, "0") == "" || strings.Trim(parentID, "0") == "",
		version == "00" && rest != "",
		rest != "" && rest[0] != '-':
		return ""
	}
	return "00" + head[2:]
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
