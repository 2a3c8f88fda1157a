package envelope

import (
	"bytes"
	"encoding/json"

	"github.com/runnel-io/runnel"
)

// publish makes results of answers: the first is of the first message whose
// result has no error yet, and so on.
//
// That a JSON answer is JSON is the Invoker's promise; only a list that is
// split is read here.
func (c *call) publish(in []runnel.Message, answers []runnel.Answer, results []runnel.Result) {
	room := make([]runnel.Message, 0, len(answers)) // of all outputs, mostly one each
	next := 0
	for i := range results {
		r := &results[i]
		if r.Err != nil {
			continue
		}
		a := &answers[next]
		next++
		switch {
		case a.Err != nil:
			r.Err = a.Err
		case c.cfg.Split:
			r.Out, r.Err = c.split(&in[i], a)
		case nothing(a):
		case a.Format > runnel.FormatNone:
			r.Err = failure(runnel.KindOutput, "the answer has the unknown format %d", a.Format)
		default:
			room = append(room, output(&in[i], a.Payload))
			r.Out = room[len(room)-1 : len(room) : len(room)]
		}
	}
}

// output is a message made of m. It stays in m's order, tenancy and trace.
func output(m *runnel.Message, body []byte) runnel.Message {
	return runnel.Message{Body: body, Key: m.Key, Trace: m.Trace}
}

// nothing says whether there is nothing to publish.
func nothing(a *runnel.Answer) bool {
	return a.Format == runnel.FormatNone || a.Format == runnel.FormatJSON && isNull(a.Payload)
}

func isNull(v []byte) bool { return string(bytes.TrimSpace(v)) == "null" }

// split makes a message of each element of a list.
func (c *call) split(m *runnel.Message, a *runnel.Answer) ([]runnel.Message, error) {
	if nothing(a) {
		return nil, nil
	}
	list := bytes.TrimSpace(a.Payload)
	if a.Format != runnel.FormatJSON {
		return nil, failure(runnel.KindOutput, "the flow splits lists, and the function returned %s", a.Format)
	}
	if len(list) == 0 || list[0] != '[' {
		return nil, failure(runnel.KindOutput, "the flow splits lists, and the function returned %s", kindOf(list))
	}
	if !json.Valid(list) {
		return nil, failure(runnel.KindOutput, "the flow splits lists, and what the function returned is not JSON")
	}
	n := 0
	for range elements(list) {
		n++
	}
	if n > c.cfg.MaxOutputs {
		return nil, failure(runnel.KindOutput, "the function returned a list of %d, at most %d can be published of one answer", n, c.cfg.MaxOutputs)
	}
	out := make([]runnel.Message, 0, n)
	for e := range elements(list) {
		if !isNull(e) {
			out = append(out, output(m, e))
		}
	}
	return out, nil
}

// elements yields the elements of a list, which must be valid JSON without
// space around it. They are parts of the list.
func elements(list []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		depth, start := 0, 1
		for i := 0; i < len(list); i++ {
			switch list[i] {
			case '"':
				for i++; list[i] != '"'; i++ {
					if list[i] == '\\' {
						i++
					}
				}
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			if end := depth == 0; end || depth == 1 && list[i] == ',' {
				e := bytes.TrimSpace(list[start:i:i])
				if len(e) > 0 && !yield(e) { // empty: so is the list
					return
				}
				start = i + 1
			}
		}
	}
}

// kindOf names what kind of JSON v is, for who wrote the function.
func kindOf(v []byte) string {
	if len(v) == 0 {
		return "nothing that is JSON"
	}
	switch v[0] {
	case '{':
		return "an object"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case '[':
		return "a list"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
