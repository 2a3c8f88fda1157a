package worker

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

const (
	// masked stands in the place of a value.
	masked = "***"
	// minMasked is the shortest value that is masked, in bytes: shorter ones
	// would take words apart, and are no secrets.
	minMasked = 8
)

// mask finds values in texts in one pass, however many values there are. nil
// masks nothing.
//
// What it cannot find is a value that a program prints in two lines, or in
// another spelling: in base64, say, or with escapes.
type mask struct {
	// first has a bit for the hash of the first bytes of each value: nearly
	// every place in a text is done with after a look at it.
	first [1 << 12 / 64]uint64
	// values are those that begin with the same bytes, the longest first.
	values map[uint64][]string
}

// newMask returns what masks the values. Of one with several lines each is
// masked, since programs are read by lines.
func newMask(values []string) *mask {
	m := &mask{values: make(map[uint64][]string)}
	for _, value := range values {
		m.add(value)
		if strings.Contains(value, "\n") {
			for line := range strings.Lines(value) {
				m.add(strings.TrimRight(line, "\r\n"))
			}
		}
	}
	if len(m.values) == 0 {
		return nil
	}
	for _, same := range m.values {
		slices.SortFunc(same, func(a, b string) int { return len(b) - len(a) })
	}
	return m
}

func (m *mask) add(value string) {
	if len(value) < minMasked {
		return
	}
	head := binary.BigEndian.Uint64([]byte(value[:minMasked]))
	if !slices.Contains(m.values[head], value) {
		m.values[head] = append(m.values[head], value)
		m.first[bit(head)/64] |= 1 << (bit(head) % 64)
	}
}

// bit is the place of some first bytes in mask.first.
func bit(head uint64) uint64 { return head * 0x9E3779B97F4A7C15 >> (64 - 12) }

// text returns s with each value in it replaced. Values that overlap are
// replaced together.
func (m *mask) text(s string) string {
	if m == nil || len(s) < minMasked {
		return s
	}
	var out []byte
	var head uint64
	done, hidden := 0, 0 // s[:done] is in out; s up to hidden is of a value
	for i := range len(s) {
		head = head<<8 | uint64(s[i])
		at := i + 1 - minMasked
		if at < 0 || m.first[bit(head)/64]&(1<<(bit(head)%64)) == 0 {
			continue
		}
		for _, value := range m.values[head] {
			if !strings.HasPrefix(s[at:], value) {
				continue
			}
			if at >= hidden {
				out = append(append(out, s[done:at]...), masked...)
			}
			hidden = max(hidden, at+len(value))
			done = hidden
			break
		}
	}
	if done == 0 {
		return s
	}
	return string(append(out, s[done:]...))
}

// err masks what a function, or its process, says of a failure.
func (m *mask) err(err error) error {
	if m == nil || err == nil {
		return err
	}
	var failed *runnel.FunctionError
	var again *runnel.RetryError
	var reject *runnel.RejectError
	switch {
	case errors.As(err, &failed):
		failed.Name, failed.Message, failed.Stack = m.text(failed.Name), m.text(failed.Message), m.text(failed.Stack)
	case errors.As(err, &again):
		again.Reason = m.text(again.Reason)
	case errors.As(err, &reject):
		reject.Reason = m.text(reject.Reason)
	}
	return err
}

// outcome masks the failures of a call. What a function returns is its own.
func (m *mask) outcome(o *outcome) {
	if m == nil {
		return
	}
	o.err = m.err(o.err)
	for i := range o.answers {
		o.answers[i].Err = m.err(o.answers[i].Err)
	}
}
