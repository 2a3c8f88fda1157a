package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
)

// A record is a message as it is stored, written once:
//
//	version  1 byte: recordV2 with flagTrace or flagWay, recordV1 otherwise
//	flags    1 byte
//	sent     8 bytes, Unix milliseconds, big-endian
//	id       16 bytes (a UUID), or with flagTextID a string
//	with flagKey, flagDedup, flagSender: a string each
//	with flagDead: a string of JSON, runnel.DeadLetter
//	with flagTrace: a string
//	with flagWay: two counts, hops and steps
//	with flagAttributes: a count, then name, type and value of each, as strings
//	body     the rest
//
// A string is its length as an unsigned varint, then its bytes; a count is such
// a varint. Version 2 is what readers of version 1 would misread; most records
// are of version 1, and an older Runnel can read those.
const (
	recordV1 = 1
	recordV2 = 2

	flagTextID     = 1 << 0
	flagKey        = 1 << 1
	flagDedup      = 1 << 2
	flagSender     = 1 << 3
	flagDead       = 1 << 4
	flagAttributes = 1 << 5
	flagTrace      = 1 << 6
	flagWay        = 1 << 7
)

var errRecord = errors.New("damaged record")

func encodeRecord(m *runnel.Message, id uuid.UUID) ([]byte, error) {
	size := 26 + len(m.Body) + len(m.Key) + len(m.DedupID) + len(m.Sender) + len(m.Trace) + 24
	for i := range m.Attributes {
		a := &m.Attributes[i]
		size += len(a.Name) + len(a.Type) + len(a.Value) + 6
	}
	var dead []byte
	if m.DeadLetter != nil {
		var err error
		if dead, err = json.Marshal(m.DeadLetter); err != nil {
			return nil, fmt.Errorf("encode dead letter: %w", err)
		}
		size += len(dead) + 4
	}
	rec := make([]byte, 2, size)
	rec[0] = recordV1
	rec = binary.BigEndian.AppendUint64(rec, uint64(m.Sent.UnixMilli()))
	if m.ID == "" {
		rec = append(rec, id[:]...)
	} else if parsed, err := uuid.Parse(string(m.ID)); err == nil && parsed.String() == string(m.ID) {
		rec = append(rec, parsed[:]...)
	} else {
		rec[1] |= flagTextID
		rec = appendString(rec, string(m.ID))
	}
	for _, f := range [...]struct {
		flag byte
		s    string
	}{{flagKey, m.Key}, {flagDedup, m.DedupID}, {flagSender, m.Sender}, {flagDead, string(dead)}, {flagTrace, m.Trace}} {
		if f.s != "" {
			rec[1] |= f.flag
			rec = appendString(rec, f.s)
		}
	}
	if m.Hops > 0 || m.Steps > 0 {
		rec[1] |= flagWay
		rec = binary.AppendUvarint(rec, uint64(min(max(m.Hops, 0), math.MaxInt32)))
		rec = binary.AppendUvarint(rec, uint64(min(max(m.Steps, 0), math.MaxInt32)))
	}
	if rec[1]&(flagTrace|flagWay) != 0 {
		rec[0] = recordV2
	}
	if len(m.Attributes) > 0 {
		rec[1] |= flagAttributes
		rec = binary.AppendUvarint(rec, uint64(len(m.Attributes)))
		for i := range m.Attributes {
			a := &m.Attributes[i]
			rec = appendString(rec, a.Name)
			rec = appendString(rec, a.Type)
			rec = binary.AppendUvarint(rec, uint64(len(a.Value)))
			rec = append(rec, a.Value...)
		}
	}
	return append(rec, m.Body...), nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// recordSent returns when the message in rec was sent, in Unix milliseconds.
func recordSent(rec []byte) int64 {
	if len(rec) < 10 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(rec[2:]))
}

// recordKey returns the key of the message in rec, empty if it has none.
func recordKey(rec []byte) []byte {
	if len(rec) < 10 || rec[1]&flagKey == 0 {
		return nil
	}
	r := reader{b: rec[10:]}
	if rec[1]&flagTextID != 0 {
		r.next()
	} else {
		r.take(16)
	}
	return r.next()
}

// decodeRecord fills m. Body and attribute values are parts of rec.
func decodeRecord(rec []byte, m *runnel.Message) error {
	if len(rec) < 10 {
		return errRecord
	}
	flags := rec[1]
	switch rec[0] {
	case recordV1:
		if flags&(flagTrace|flagWay) != 0 {
			return errRecord
		}
	case recordV2:
	default:
		return errRecord
	}
	m.Sent = time.UnixMilli(recordSent(rec))
	r := reader{b: rec[10:]}
	if flags&flagTextID != 0 {
		m.ID = runnel.MessageID(r.next())
	} else {
		var id uuid.UUID
		copy(id[:], r.take(16))
		m.ID = runnel.MessageID(id.String())
	}
	if flags&flagKey != 0 {
		m.Key = string(r.next())
	}
	if flags&flagDedup != 0 {
		m.DedupID = string(r.next())
	}
	if flags&flagSender != 0 {
		m.Sender = string(r.next())
	}
	if flags&flagDead != 0 {
		m.DeadLetter = new(runnel.DeadLetter)
		if err := json.Unmarshal(r.next(), m.DeadLetter); err != nil {
			return fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	if flags&flagTrace != 0 {
		m.Trace = string(r.next())
	}
	if flags&flagWay != 0 {
		m.Hops, m.Steps = r.count(), r.count()
	}
	if flags&flagAttributes != 0 {
		n := r.uvarint()
		if n > uint64(len(r.b)) {
			return errRecord
		}
		m.Attributes = make([]runnel.Attribute, n)
		for i := range m.Attributes {
			m.Attributes[i] = runnel.Attribute{Name: string(r.next()), Type: string(r.next()), Value: r.next()}
		}
	}
	if r.bad {
		return errRecord
	}
	m.Body = r.b
	return nil
}

// reader takes a record apart. After a fault, bad is set and all is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number that fits an int everywhere.
func (r *reader) count() int {
	n := r.uvarint()
	if n > math.MaxInt32 {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) next() []byte { return r.take(r.uvarint()) }

// messageBytes is a message's size as SQS counts it: the body, and of each
// attribute its name, type and value, but for system attributes, which the SQS
// door names "AWS.".
func messageBytes(m *runnel.Message) int {
	n := len(m.Body)
	for i := range m.Attributes {
		a := &m.Attributes[i]
		if strings.HasPrefix(a.Name, "AWS.") {
			continue
		}
		n += len(a.Name) + len(a.Type) + len(a.Value)
	}
	return n
}

// A mark is the state of an exception as it is stored beside the record:
//
//	version   1 byte, markV1
//	state     1 byte, and markTwin
//	due       8 bytes, Unix milliseconds: visible from then on
//	nonce     8 bytes, of the receipt handle
//	receives  4 bytes
//	failures  4 bytes
//	first     8 bytes, Unix milliseconds of the first receive, or 0
//	sent      8 bytes, Unix milliseconds
//	leased    8 bytes, Unix milliseconds of the last receive, or 0
//	size      4 bytes, of the record
//
// Version 2 is for messages that have a group, and has 16 bytes more: the group.
const (
	// markTwin is set in the state of a message that was delivered twice.
	markTwin = 0x80

	markV1     = 1
	markV2     = 2
	markSize   = 54
	markV2Size = markSize + len(groupKey{})
)

type mark struct {
	state              state
	twin               bool
	due                int64
	nonce              uint64
	receives, failures uint32
	first, sent        int64
	leased             int64
	size               uint32
	group              *groupKey // nil: none
}

func (m mark) encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 2, markV2Size)
	b[0], b[1] = markV1, byte(m.state)
	b = be.AppendUint64(b, uint64(m.due))
	b = be.AppendUint64(b, m.nonce)
	b = be.AppendUint32(b, m.receives)
	b = be.AppendUint32(b, m.failures)
	b = be.AppendUint64(b, uint64(m.first))
	b = be.AppendUint64(b, uint64(m.sent))
	b = be.AppendUint64(b, uint64(m.leased))
	b = be.AppendUint32(b, m.size)
	if m.twin {
		b[1] |= markTwin
	}
	if m.group != nil {
		b[0] = markV2
		b = append(b, m.group[:]...)
	}
	return b
}

var errMark = errors.New("damaged mark")

func decodeMark(b []byte) (mark, error) {
	var group *groupKey
	switch {
	case len(b) == markSize && b[0] == markV1:
	case len(b) == markV2Size && b[0] == markV2:
		g := groupKey(b[markSize:])
		group = &g
	default:
		return mark{}, errMark
	}
	if b[1]&^markTwin > byte(returned) {
		return mark{}, errMark
	}
	be := binary.BigEndian
	return mark{
		state:    state(b[1] &^ markTwin),
		twin:     b[1]&markTwin != 0,
		due:      int64(be.Uint64(b[2:])),
		nonce:    be.Uint64(b[10:]),
		receives: be.Uint32(b[18:]),
		failures: be.Uint32(b[22:]),
		first:    int64(be.Uint64(b[26:])),
		sent:     int64(be.Uint64(b[34:])),
		leased:   int64(be.Uint64(b[42:])),
		size:     be.Uint32(b[50:]),
		group:    group,
	}, nil
}
