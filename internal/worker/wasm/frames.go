package wasm

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// call is one invoke frame.
type call struct {
	id     string
	list   bool
	format string
	items  [][]byte
}

// readCall reads frames up to the next call. It returns nil when there are no
// more, and start's number of calls at once where the frame is a start.
func readCall(in *bufio.Reader) (c *call, start int, err error) {
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil, 0, nil
		}
		if err != nil {
			return nil, 0, err
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			return nil, 0, errors.New("an empty line where a frame was expected")
		case words[0] == "drain":
			return nil, 0, nil
		case words[0] == "start":
			n := 1
			if len(words) > 1 {
				if n, err = strconv.Atoi(words[1]); err != nil || n < 1 {
					return nil, 0, fmt.Errorf("%q: want start N", line)
				}
			}
			return nil, n, nil
		case words[0] == "invoke" && len(words) >= 8:
			c, err := readInvoke(in, words)
			return c, 0, err
		}
		// cancel, and what later hosts may say: the host ends what does not end.
	}
}

// readInvoke reads what follows the line
// invoke ID DEADLINE MODE FORMAT META N LEN1 ... LENN.
func readInvoke(in *bufio.Reader, words []string) (*call, error) {
	c := &call{id: words[1], list: words[3] == "list", format: words[4]}
	for i, word := range append(words[5:6:6], words[7:]...) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not the length of a payload", word)
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(in, part); err != nil {
			return nil, fmt.Errorf("read a payload: %w", err)
		}
		if i > 0 { // the first is what a context would say
			c.items = append(c.items, part)
		}
	}
	return c, nil
}

// answer is a value of a result frame, or an error.
type answer struct {
	kind string
	body []byte
}

// failure is the JSON of an error.
func failure(kind, name, message, stack string) answer {
	text, err := json.Marshal(map[string]string{"kind": kind, "name": name, "message": message, "stack": stack})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return answer{"error", text}
}

// valueOf finds out what a module wrote.
func valueOf(out []byte) answer {
	switch {
	case len(out) == 0:
		return answer{kind: "none"}
	case json.Valid(out):
		return answer{"json", out}
	case utf8.Valid(out):
		return answer{"text", out}
	default:
		return answer{"bytes", out}
	}
}

// frames writes frames, of which each is written whole.
type frames struct {
	mu  sync.Mutex
	out io.Writer
}

// say writes a line and its body.
func (f *frames) say(line string, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.out.Write(append([]byte(line+"\n"), body...))
	return err
}

// failed says that the module does not load.
func (f *frames) failed(name, message string) error {
	body := failure("error", name, message, "").body
	return f.say("failed "+strconv.Itoa(len(body)), body)
}

// result says what became of a call.
func (f *frames) result(id string, answers []answer) error {
	line := "result " + id + " " + strconv.Itoa(len(answers))
	var body []byte
	for _, a := range answers {
		line += " " + a.kind + ":" + strconv.Itoa(len(a.body))
		body = append(body, a.body...)
	}
	return f.say(line, body)
}

// asList makes one payload of all, in JSON.
func (c *call) asList() ([]byte, error) {
	values := make([]json.RawMessage, len(c.items))
	for i, item := range c.items {
		switch c.format {
		case "json":
			values[i] = item
		case "bytes":
			values[i] = strconv.AppendQuote(nil, base64.StdEncoding.EncodeToString(item))
		default:
			text, err := json.Marshal(string(item))
			if err != nil {
				return nil, err
			}
			values[i] = text
		}
	}
	return json.Marshal(values)
}

// fromList takes the answer to a list apart.
func (c *call) fromList(a answer) ([]answer, answer) {
	if a.kind == "error" {
		return nil, a
	}
	var values []json.RawMessage
	if a.kind != "json" || json.Unmarshal(a.body, &values) != nil || len(values) != len(c.items) {
		return nil, failure("output", "", fmt.Sprintf("the module was given a list of %d, and did not answer with a list of as many", len(c.items)), "")
	}
	out := make([]answer, len(values))
	for i, v := range values {
		out[i] = answer{"json", v}
		if string(v) == "null" {
			out[i] = answer{kind: "none"}
		}
	}
	return out, answer{}
}
