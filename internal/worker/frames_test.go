package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// FuzzFrames feeds the decoder what a worker could write. It must end, keep to
// its limits, take the same from a pipe that gives single bytes, and fail in
// words only.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"ready\n", "failed 2\n{}", "result a 1 json:2\n{}", "result a 3 none:0 text:1 error:2\nx{}", "error a 2\n{}",
		"log - info 3\nabc", "log a error 0\n", "result a 1 bytes:99999999999\n", "result a 0\n", "result  1 none:0\n",
		"result a 1 json:-1\n", "result a 1 none:1\nx", "ready \n\n", "log a loud 1\nx", "result a 1 json:2\n{", strings.Repeat("x", 70000),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := decodeAll(t, bytes.NewReader(data))
		single := decodeAll(t, iotest.OneByteReader(bytes.NewReader(data)))
		if whole != single {
			t.Errorf("in one piece: %s\nin single bytes: %s", whole, single)
		}
	})
}

// decodeAll returns what was read, as text.
func decodeAll(t *testing.T, r io.Reader) string {
	const most = 100
	var out strings.Builder
	d := newDecoder(r, &Program{MaxOutput: most})
	for {
		var h head
		err := d.next(&h)
		if err == nil {
			var answers []runnel.Answer
			switch h.verb {
			case verbResult:
				answers, err = d.answers(&h)
				for i := range answers {
					if len(answers[i].Payload) > most {
						t.Fatalf("a value of %d bytes", len(answers[i].Payload))
					}
					raw, _ := json.Marshal(answers[i])
					out.Write(raw)
				}
			case verbFailed, verbError:
				var text []byte
				if text, err = d.text(h.length, maxError); err == nil {
					_, err = decodeError(text, h.length)
				}
			case verbLog:
				_, err = d.text(h.length, maxText)
			}
		}
		if err != nil {
			var rule *broken
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &rule) {
				t.Fatalf("got %v", err)
			}
			out.WriteString(err.Error())
			return out.String()
		}
	}
}

// FuzzInvoke checks that what is sent can be read back, and that its meta is
// JSON that says the same.
func FuzzInvoke(f *testing.F) {
	f.Add("id", "flow", "key\x00\xff\u2028\"\\", "attribute", []byte("payload"), true)
	f.Fuzz(func(t *testing.T, id, flow, key, name string, payload []byte, list bool) {
		in := &runnel.Invocation{ID: id, Flow: flow, List: list, Items: []runnel.Item{
			{Payload: payload, Key: key, Attempt: 2, Attributes: []runnel.Attribute{{Name: name, Value: payload}}},
			{Payload: payload},
		}}
		frame, meta, err := appendInvoke(nil, nil, 12, in)
		if err != nil {
			if isWord(id) {
				t.Fatal(err)
			}
			return
		}
		var got struct {
			Flow  string
			Items []struct {
				Key        string
				Attempt    int
				Attributes map[string]string
			}
		}
		if err := json.Unmarshal(meta, &got); err != nil {
			t.Fatalf("%s: %v", meta, err)
		}
		valid := func(s string) string {
			var b strings.Builder
			for _, r := range s { // as for ranging: one replacement per byte
				b.WriteRune(r)
			}
			return b.String()
		}
		if got.Flow != valid(flow) || len(got.Items) != 2 || got.Items[0].Key != valid(key) || got.Items[0].Attributes[valid(name)] != valid(string(payload)) {
			t.Errorf("got %+v of %s", got, meta)
		}
		if !utf8.Valid(meta) {
			t.Errorf("meta is not UTF-8: %q", meta)
		}
		line, err := bufio.NewReader(bytes.NewReader(frame)).ReadString('\n')
		if err != nil || len(strings.Split(strings.TrimSuffix(line, "\n"), " ")) != 9 {
			t.Errorf("got the line %q", line)
		}
		if want := len(line) + len(meta) + 2*len(payload); len(frame) != want {
			t.Errorf("a frame of %d bytes, want %d", len(frame), want)
		}
	})
}
