package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"time"
)

// A record is one line in a segment:
//
//	marker 2, length of the body 4, CRC-32C of the body 4, body
//
// and its body
//
//	id 8, time in Unix nanoseconds 8, level 1,
//	version, worker, invocation, flow, message: each its length (a uvarint) and its bytes,
//	text: the rest
//
// All numbers are little-endian. Account and function are the segment's.
const (
	recordHead = 10
	bodyHead   = 17
	// maxBody is more than the largest line takes. A longer one is damage.
	maxBody = 1 << 20
)

// marker begins every record. It is not UTF-8, so that no text has it.
var marker = []byte{0xf7, 0xfe}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends a line.
func appendRecord(dst []byte, l *Line) []byte {
	start := len(dst)
	dst = append(dst, marker...)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, l.ID)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(l.Time.UnixNano()))
	dst = append(dst, byte(int8(max(-128, min(127, l.Level)))))
	for _, s := range [...]string{l.Version, l.Worker, l.Invocation, l.Flow, l.Message} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = append(dst, l.Text...)
	body := dst[start+recordHead:]
	binary.LittleEndian.PutUint32(dst[start+2:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[start+6:], crc32.Checksum(body, castagnoli))
	return dst
}

// record is the body of a record that is whole.
type record []byte

func (r record) id() uint64        { return binary.LittleEndian.Uint64(r) }
func (r record) time() int64       { return int64(binary.LittleEndian.Uint64(r[8:])) }
func (r record) level() slog.Level { return slog.Level(int8(r[16])) }

// The order of the fields in a record.
const (
	fieldVersion = iota
	fieldWorker
	fieldInvocation
	fieldFlow
	fieldMessage
	fieldText
	numFields
)

// fields returns the parts of a record by their order. A record that is whole
// and does not have them was not written by us: it has empty ones.
func (r record) fields() (out [numFields][]byte) {
	rest := []byte(r[bodyHead:])
	for i := range fieldText {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) {
			return out
		}
		out[i], rest = rest[w:w+int(n)], rest[w+int(n):]
	}
	out[fieldText] = rest
	return out
}

// line makes a line of a record of a series.
func (r record) line(account, function string) *Line {
	f := r.fields()
	return &Line{
		ID: r.id(), Time: time.Unix(0, r.time()).UTC(), Level: r.level(), Account: account, Function: function,
		Version: string(f[fieldVersion]), Worker: string(f[fieldWorker]), Invocation: string(f[fieldInvocation]),
		Flow: string(f[fieldFlow]), Message: string(f[fieldMessage]), Text: string(f[fieldText]),
	}
}

// readRecord returns the record at the start of data, with the bytes that it
// takes there, or false if none is whole.
func readRecord(data []byte) (r record, n int, ok bool) {
	if len(data) < recordHead+bodyHead || data[0] != marker[0] || data[1] != marker[1] {
		return nil, 0, false
	}
	size := binary.LittleEndian.Uint32(data[2:])
	if size < bodyHead || size > maxBody || int(size) > len(data)-recordHead {
		return nil, 0, false
	}
	body := data[recordHead : recordHead+int(size)]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[6:]) {
		return nil, 0, false
	}
	return body, recordHead + int(size), true
}

// walk calls fn with each record of data until fn returns false. end is where
// the last whole record ends; damaged says whether bytes before it are none of
// a record.
func walk(data []byte, fn func(record) bool) (end int, damaged bool) {
	skipped := false
	for at := 0; at < len(data); {
		r, n, ok := readRecord(data[at:])
		if !ok {
			skipped = true
			next := bytes.Index(data[at+1:], marker)
			if next < 0 {
				break
			}
			at += 1 + next
			continue
		}
		at += n
		end, damaged = at, damaged || skipped
		skipped = false
		if !fn(r) {
			break
		}
	}
	return end, damaged
}
