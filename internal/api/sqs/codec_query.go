package sqs

import (
	"encoding/xml"
	"strings"
)

// The query protocol: parameters as a form, in the body or the query string,
// and answers in XML. It is recognised and refused, in its own shape, so that
// an old SDK shows the reason.

// isQuery says whether a request is in the query protocol.
func (c *call) isQuery() bool {
	if len(c.r.Header["X-Amz-Target"]) > 0 {
		return false
	}
	return strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		strings.HasPrefix(c.r.URL.RawQuery, "Action=") || strings.Contains(c.r.URL.RawQuery, "&Action=")
}

// appendErrorXML appends an error's answer.
func appendErrorXML(b []byte, f *failure, requestID string) []byte {
	b = append(b, `<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>`...)
	b = append(b, f.fault()...)
	b = append(b, `</Type><Code>`...)
	b = append(b, f.query...)
	b = append(b, `</Code><Message>`...)
	var text strings.Builder
	_ = xml.EscapeText(&text, []byte(f.message)) // a Builder never fails
	b = append(b, text.String()...)
	b = append(b, `</Message><Detail/></Error><RequestId>`...)
	b = append(b, requestID...)
	return append(b, `</RequestId></ErrorResponse>`...)
}
