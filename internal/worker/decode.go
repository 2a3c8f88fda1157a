package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

const (
	// maxAnswer bounds the values of one answer together: no batch makes the
	// host keep more, however many items it has.
	maxAnswer = 64 << 20
	// maxError bounds the JSON of one error, maxText the text of one log
	// frame. What is longer is read and dropped.
	maxError = 256 << 10
	maxText  = 64 << 10
	// maxLength is the longest length that a frame may claim.
	maxLength = 1 << 40
)

// broken is a rule of the protocol that a worker broke.
type broken struct{ rule string }

func (b *broken) Error() string { return b.rule }

func breaks(format string, args ...any) error { return &broken{fmt.Sprintf(format, args...)} }

// verb is the first word of a frame from a worker.
type verb uint8

const (
	verbReady verb = iota
	verbFailed
	verbResult
	verbError
	verbLog
)

// kindError marks a value that is the JSON of an error; the other kinds are
// runnel's formats.
const kindError = runnel.Format(255)

// value is the head of one value of a result.
type value struct {
	kind   runnel.Format
	length int64
}

// head is the line of a frame. What follows it is still to be read.
type head struct {
	verb   verb
	id     []byte // good until the next read
	level  string
	length int64   // of failed, error and log
	values []value // of result
}

// decoder reads frames. It keeps no more than one line and what its limits
// allow of one answer.
type decoder struct {
	in        *bufio.Reader
	maxOutput int64 // of one value
	shim      bool  // what it calls JSON is JSON
	values    []value
	id        []byte
}

func newDecoder(r io.Reader, prog *Program) *decoder {
	return &decoder{in: bufio.NewReaderSize(r, maxLine), maxOutput: prog.MaxOutput, shim: prog.Shim}
}

// next reads a line. The error is io.EOF at a clean end, io.ErrUnexpectedEOF
// in the middle of a line, a *broken, or that of the reader.
func (d *decoder) next(h *head) error {
	line, err := d.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return breaks("a line is longer than %d bytes; it begins with %s", maxLine, excerpt(line))
	case err != nil && len(line) > 0 && errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	return d.parse(h, line[:len(line)-1])
}

func (d *decoder) parse(h *head, line []byte) error {
	*h = head{}
	words := line
	name := cut(&words)
	switch string(name) {
	case "ready":
		h.verb = verbReady
	case "failed":
		h.verb = verbFailed
	case "result":
		h.verb = verbResult
	case "error":
		h.verb = verbError
	case "log":
		h.verb = verbLog
	default:
		return breaks("%s is not a frame; what is printed goes to standard output, not to descriptor 4", excerpt(line))
	}
	ok := true
	if h.verb == verbResult || h.verb == verbError || h.verb == verbLog {
		// Kept apart: reading on overwrites the line.
		d.id = append(d.id[:0], cut(&words)...)
		h.id = d.id
		ok = len(h.id) > 0
	}
	switch h.verb {
	case verbLog:
		if h.level = levelOf(cut(&words)); h.level == "" {
			return breaks("%s: the level is not debug, info, warn or error", excerpt(line))
		}
		h.length, ok = length(cut(&words), ok)
	case verbFailed, verbError:
		h.length, ok = length(cut(&words), ok)
	case verbResult:
		return d.parseValues(h, line, words)
	}
	if !ok || len(words) > 0 {
		return breaks("%s: wrong words for such a frame", excerpt(line))
	}
	return nil
}

// parseValues reads the N KIND:LEN words of a result.
func (d *decoder) parseValues(h *head, line, words []byte) error {
	n, ok := length(cut(&words), true)
	if !ok || len(h.id) == 0 {
		return breaks("%s: want result ID N KIND:LENGTH ...", excerpt(line))
	}
	d.values = d.values[:0]
	for len(words) > 0 {
		word := cut(&words)
		name, digits, ok := bytes.Cut(word, []byte{':'})
		var v value
		if v.length, ok = length(digits, ok); !ok {
			return breaks("result: %s is not KIND:LENGTH", excerpt(word))
		}
		switch string(name) {
		case "json":
			v.kind = runnel.FormatJSON
		case "text":
			v.kind = runnel.FormatText
		case "bytes":
			v.kind = runnel.FormatBytes
		case "none":
			v.kind = runnel.FormatNone
			if v.length != 0 {
				return breaks("result: %s: a value of kind none has no bytes", excerpt(word))
			}
		case "error":
			v.kind = kindError
		default:
			return breaks("result: the kind of %s is not json, text, bytes, none or error", excerpt(word))
		}
		d.values = append(d.values, v)
	}
	if int64(len(d.values)) != n {
		return breaks("result: %d values where %d were announced", len(d.values), n)
	}
	h.values = d.values
	return nil
}

// answers reads the values of a result. Those over a limit are dropped, and
// have an error instead.
func (d *decoder) answers(h *head) ([]runnel.Answer, error) {
	var keep int64
	for i := range h.values {
		if v := &h.values[i]; v.kind != kindError && v.length <= d.maxOutput && keep+v.length <= maxAnswer {
			keep += v.length
		}
	}
	out := make([]runnel.Answer, len(h.values))
	room := make([]byte, keep)
	keep = 0
	for i := range h.values {
		v := &h.values[i]
		a := &out[i]
		if v.kind == kindError {
			text, err := d.text(v.length, maxError)
			if err != nil {
				return nil, err
			}
			if a.Err, err = decodeError(text, v.length); err != nil {
				return nil, err
			}
			continue
		}
		if v.length > d.maxOutput || keep+v.length > maxAnswer {
			if err := d.skip(v.length); err != nil {
				return nil, err
			}
			a.Err = d.tooLarge(v.length)
			continue
		}
		a.Format = v.kind
		a.Payload = room[keep : keep+v.length : keep+v.length]
		keep += v.length
		if _, err := io.ReadFull(d.in, a.Payload); err != nil {
			return nil, unexpected(err)
		}
		if d.shim && a.Format != runnel.FormatNone {
			continue
		}
		if fault := faultOf(a); fault != nil {
			*a = runnel.Answer{Err: fault}
		}
	}
	return out, nil
}

// outputTooLarge is the failure of a function whose answer was not read to its
// end.
func outputTooLarge(most int64) error {
	return &runnel.FunctionError{Kind: runnel.KindOutput, Message: fmt.Sprintf("the function returned more than %d bytes (max_output)", most)}
}

func (d *decoder) tooLarge(length int64) error {
	if length > d.maxOutput {
		return &runnel.FunctionError{
			Kind:    runnel.KindOutput,
			Message: fmt.Sprintf("the handler returned %d bytes, and max_output is %d", length, d.maxOutput),
		}
	}
	return &runnel.FunctionError{
		Kind:    runnel.KindOutput,
		Message: fmt.Sprintf("the values of this batch are more than %d bytes together: want smaller batches", maxAnswer),
	}
}

// faultOf says why a value is not what its kind promises, or nil.
func faultOf(a *runnel.Answer) error {
	switch {
	case a.Format == runnel.FormatJSON && !json.Valid(a.Payload):
		return &runnel.FunctionError{Kind: runnel.KindOutput, Message: "the value that the worker calls JSON is not: " + excerpt(a.Payload)}
	case a.Format == runnel.FormatText && !utf8.Valid(a.Payload):
		return &runnel.FunctionError{Kind: runnel.KindOutput, Message: "the value that the worker calls text is not UTF-8"}
	case a.Format == runnel.FormatNone:
		a.Payload = nil
	}
	return nil
}

// text reads n bytes and returns the first most of them.
func (d *decoder) text(n, most int64) ([]byte, error) {
	text := make([]byte, min(n, most))
	if _, err := io.ReadFull(d.in, text); err != nil {
		return nil, unexpected(err)
	}
	return text, d.skip(n - int64(len(text)))
}

func (d *decoder) skip(n int64) error {
	for n > 0 {
		m, err := d.in.Discard(int(min(n, 1<<30)))
		if err != nil {
			return unexpected(err)
		}
		n -= int64(m)
	}
	return nil
}

// decodeError turns the JSON of an error into the error it means. length is
// how long it was before it was cut.
func decodeError(text []byte, length int64) (error, error) {
	if int64(len(text)) < length {
		return &runnel.FunctionError{Kind: runnel.KindError, Message: fmt.Sprintf("an error whose description has %d bytes: %s", length, excerpt(text))}, nil
	}
	var e struct {
		Kind, Name, Message, Stack string
		After                      float64
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, breaks("the description of an error is not the JSON that it should be (%v): %s", err, excerpt(text))
	}
	switch e.Kind {
	case runnel.KindRejected:
		return runnel.Reject(e.Message), nil
	case "retry":
		after := min(max(e.After, 0), (12 * time.Hour).Seconds())
		return &runnel.RetryError{After: time.Duration(after * float64(time.Second)), Reason: e.Message}, nil
	case runnel.KindOutOfMemory, runnel.KindOutput, runnel.KindUndecodable:
	default:
		e.Kind = runnel.KindError
	}
	return &runnel.FunctionError{Kind: e.Kind, Name: e.Name, Message: e.Message, Stack: e.Stack}, nil
}

// unexpected makes an end of input one in the middle of a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cut returns the bytes up to the next space, and moves words behind it.
func cut(words *[]byte) []byte {
	word, rest, _ := bytes.Cut(*words, []byte{' '})
	*words = rest
	return word
}

// length reads a number of bytes: digits only.
func length(word []byte, ok bool) (int64, bool) {
	if !ok || len(word) == 0 || len(word) > 13 {
		return 0, false
	}
	var n int64
	for _, c := range word {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= maxLength
}

func levelOf(word []byte) string {
	switch string(word) {
	case "debug":
		return "debug"
	case "info":
		return "info"
	case "warn":
		return "warn"
	case "error":
		return "error"
	default:
		return ""
	}
}

// excerpt quotes the first bytes of what a worker sent.
func excerpt(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}
