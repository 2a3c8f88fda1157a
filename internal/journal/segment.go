package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// A segment is a file of records of one account's function. When it is full it
// is sealed with a footer, which says what is in it:
//
//	lines 8, first and last id 8 each, oldest and newest time 8 each,
//	filter of invocation ids: the rest,
//	CRC-32C of these 4, where the footer begins 8, "RJ01"
//
// A segment without one is read through when the journal is opened.
type segment struct {
	extent
	path              string
	account, function string
	damaged           *atomic.Bool // that it is was told
	file              *os.File     // the writer's, while it grows; may be nil
	used              uint64       // when the writer last used the file
}

// extent is what is in a segment.
type extent struct {
	lines          uint64
	first, last    uint64 // ids
	oldest, newest int64  // times
	size           int64  // of the records
	footer         int64  // bytes after them; 0: not sealed
}

const (
	summaryBytes = 40
	trailerBytes = 16
	sealed       = "RJ01"
	suffix       = ".log"
	// maxName is what file systems allow.
	maxName = 255
)

// fileName is the name of a segment: its first id, account and function. None
// is empty if it would be too long for a file.
func fileName(first uint64, account, function string) (name string, ok bool) {
	name = fmt.Sprintf("%016x.%s.%s%s", first, escape(account), escape(function), suffix)
	return name, len(name) <= maxName
}

// parseName is the reverse.
func parseName(name string) (first uint64, account, function string, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, suffix), ".")
	if len(parts) != 3 || !strings.HasSuffix(name, suffix) || len(parts[0]) != 16 {
		return 0, "", "", false
	}
	first, err := strconv.ParseUint(parts[0], 16, 64)
	account, okAccount := unescape(parts[1])
	function, okFunction := unescape(parts[2])
	return first, account, function, err == nil && okAccount && okFunction
}

// escape leaves letters, digits, hyphens and underscores as they are, writes a
// slash as + and any other byte as % with two digits.
func escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			out.WriteByte(c)
		case c == '/':
			out.WriteByte('+')
		default:
			fmt.Fprintf(&out, "%%%02x", c)
		}
	}
	return out.String()
}

func unescape(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			out.WriteByte('/')
		case '%':
			if i+3 > len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			out.WriteByte(byte(n))
			i += 2
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), true
}

func newSegment(path string, k key) *segment {
	return &segment{path: path, account: k.account, function: k.function, damaged: new(atomic.Bool)}
}

// openSegment reads what is in a file of an earlier process. It is nil for a
// file that has no line.
func openSegment(path string) (*segment, error) {
	first, account, function, ok := parseName(filepath.Base(path))
	if !ok {
		return nil, nil
	}
	g := newSegment(path, key{account, function})
	g.first = first
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if g.readFooter(f, info.Size()) != nil {
		return g, nil
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	end, damaged := walk(data, func(r record) bool {
		g.note(r.id(), r.time())
		return true
	})
	g.size = int64(end)
	g.damaged.Store(damaged)
	// What a crash cut off, or was no footer.
	if g.size < info.Size() {
		if err := f.Truncate(g.size); err != nil {
			return nil, err
		}
	}
	if g.lines == 0 {
		return nil, os.Remove(path)
	}
	return g, nil
}

// note counts a record.
func (g *segment) note(id uint64, at int64) {
	if g.lines == 0 {
		g.first, g.oldest, g.newest = id, at, at
	}
	g.lines++
	g.last, g.oldest, g.newest = id, min(g.oldest, at), max(g.newest, at)
}

// seal writes the footer of a segment that is full. Its fields are changed by
// the caller, under the lock.
func (g *segment) seal(f *os.File) (footer int64, err error) {
	data := make([]byte, g.size)
	if _, err := f.ReadAt(data, 0); err != nil {
		return 0, fmt.Errorf("read %s: %w", g.path, err)
	}
	seen := make(map[uint64]struct{})
	walk(data, func(r record) bool {
		if id := r.fields()[fieldInvocation]; len(id) > 0 {
			seen[hash(id)] = struct{}{}
		}
		return true
	})
	var out []byte
	for _, n := range []uint64{g.lines, g.first, g.last, uint64(g.oldest), uint64(g.newest)} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	filter := newFilter(len(seen))
	for h := range seen {
		filter.add(h)
	}
	out = append(out, filter...)
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	out = binary.LittleEndian.AppendUint64(out, uint64(g.size))
	out = append(out, sealed...)
	if _, err := f.WriteAt(out, g.size); err != nil {
		return 0, err
	}
	return int64(len(out)), nil
}

// readFooter reads the footer of a file of some size into g, and returns the
// filter, or nil if there is no whole footer.
func (g *segment) readFooter(f *os.File, size int64) filter {
	var trailer [trailerBytes]byte
	if size < summaryBytes+trailerBytes {
		return nil
	}
	if _, err := f.ReadAt(trailer[:], size-trailerBytes); err != nil || !bytes.Equal(trailer[12:], []byte(sealed)) {
		return nil
	}
	at := int64(binary.LittleEndian.Uint64(trailer[4:]))
	if at < 0 || at >= size-summaryBytes-trailerBytes || size-at > maxSegment {
		return nil
	}
	body := make([]byte, size-trailerBytes-at)
	if _, err := f.ReadAt(body, at); err != nil || crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(trailer[:]) {
		return nil
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(body[8*i:]) }
	g.lines, g.first, g.last, g.oldest, g.newest = n(0), n(1), n(2), int64(n(3)), int64(n(4))
	g.size, g.footer = at, size-at
	return filter(body[summaryBytes:])
}

// filter is a Bloom filter: 10 bits for each id, of which 5 are set, so that
// one of a hundred other ids seems to be in it.
type filter []byte

const (
	filterBits   = 10
	filterHashes = 5
)

func newFilter(n int) filter { return make(filter, max(8, (n*filterBits+7)/8)) }

func (f filter) add(h uint64) {
	for i := range uint64(filterHashes) {
		bit := (h + i*(h>>32|1)) % uint64(len(f)*8)
		f[bit/8] |= 1 << (bit % 8)
	}
}

func (f filter) has(h uint64) bool {
	for i := range uint64(filterHashes) {
		bit := (h + i*(h>>32|1)) % uint64(len(f)*8)
		if f[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// hash is FNV-1a with its bits mixed once more. It is in files: it stays.
func hash[T string | []byte](s T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
