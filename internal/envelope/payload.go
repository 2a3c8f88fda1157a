package envelope

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// payload returns what the function gets for message i.
func (c *call) payload(of *runnel.Call, i int, m *runnel.Message) ([]byte, error) {
	switch c.cfg.Payload {
	case runnel.PayloadBytes:
		return m.Body, nil
	case runnel.PayloadText:
		return m.Body, validText(m.Body)
	case runnel.PayloadSQSMessage:
		if err := validText(m.Body); err != nil {
			return nil, err
		}
		return c.appendMessage(make([]byte, 0, recordBytes(m)), of, i, m), nil
	case runnel.PayloadAlgorithm:
		return m.Body, nil
	default:
		return m.Body, validJSON(m.Body)
	}
}

// formOf is how Algorithmia's clients would have sent a body.
func formOf(body []byte) runnel.Format {
	switch {
	case !utf8.Valid(body):
		return runnel.FormatBytes
	case json.Valid(body):
		return runnel.FormatJSON
	}
	return runnel.FormatText
}

func failure(kind, format string, args ...any) error {
	return &runnel.FunctionError{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// validText says why a body is no text.
func validText(body []byte) error {
	if utf8.Valid(body) {
		return nil
	}
	at := invalidUTF8(body)
	return failure(runnel.KindUndecodable, "the body is not UTF-8 at byte %d (%#02x): use payload: bytes for such messages", at, body[at])
}

// invalidUTF8 is where the first byte is that is not UTF-8.
func invalidUTF8(b []byte) int {
	at := 0
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// validJSON says why a body is not JSON, and at which byte, counted from 0.
func validJSON(body []byte) error {
	switch {
	case len(body) == 0:
		return failure(runnel.KindUndecodable, "the body is empty, which is not JSON: use payload: text for such messages")
	case !json.Valid(body):
		var raw json.RawMessage
		err := json.Unmarshal(body, &raw)
		at := int64(len(body))
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			// Offset counts the bytes read, the faulty one included, if there
			// is one: a body can also just end.
			if at = syntax.Offset; at < int64(len(body)) || err.Error() != "unexpected end of JSON input" {
				at = max(at-1, 0)
			}
		}
		return failure(runnel.KindUndecodable, "the body is not JSON at byte %d: %v; use payload: text or bytes for such messages", at, err)
	case !utf8.Valid(body):
		at := invalidUTF8(body)
		return failure(runnel.KindUndecodable, "the body is not JSON at byte %d (%#02x): it is not UTF-8", at, body[at])
	default:
		return nil
	}
}
