package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// A segment grows to a quarter of what its series has, so that little is
	// lost at once where little is there, within these and 1/32 of all.
	minSegment = 64 << 10
	maxSegment = 8 << 20
	// ageParts is in how many segments of time the lines are kept at least.
	ageParts = 8
	// maxOpen files are kept open for writing.
	maxOpen = 32
)

// key is whose a series is.
type key struct{ account, function string }

// series are the segments of an account's function, the oldest first. The last
// may be one that grows.
type series struct {
	key
	segments []*segment
	bytes    int64
}

// shelf is the directory of segments. The writer alone changes it.
type shelf struct {
	dir  string
	opt  *Options
	last uint64 // the largest id when it was opened
	uses uint64 // a clock of the writer's uses of files
	open int    // files

	mu      sync.Mutex // guards all below, and the segments' extents
	series  map[key]*series
	bytes   int64
	failing bool // the last write did not work
}

// openShelf reads the directory. What cannot be read is left as it is.
func openShelf(dir string, opt *Options) *shelf {
	s := &shelf{dir: dir, opt: opt, series: make(map[key]*series)}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		s.failed(err)
		return s
	}
	for _, e := range entries { // by name, which is by first id
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		g, err := openSegment(filepath.Join(dir, e.Name()))
		if err != nil {
			opt.Log.Warn("a file of logs cannot be read, its lines are left out", "file", e.Name(), "err", err)
			continue
		}
		if g == nil {
			continue
		}
		if g.damaged.Load() {
			s.tellDamage(g)
		}
		s.last = max(s.last, g.last)
		s.hold(g)
	}
	s.expire()
	s.evict()
	return s
}

// tellDamage says once that lines of a segment are gone.
func (s *shelf) tellDamage(g *segment) {
	s.opt.Log.Warn("a file of logs is damaged, the lines that were hit are lost", "file", filepath.Base(g.path), "function", g.function)
}

// hold adds a segment as the newest of its series.
func (s *shelf) hold(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{g.account, g.function}
	if s.series[k] == nil {
		s.series[k] = &series{key: k}
	}
	s.series[k].segments = append(s.series[k].segments, g)
	s.series[k].bytes += g.size + g.footer
	s.bytes += g.size + g.footer
}

// append writes lines, each to the segment of its function. After an error the
// same lines are given again: those that were written are left out then.
func (s *shelf) append(batch []*Line) error {
	by := make(map[key][]*Line)
	var order []key
	for _, l := range batch {
		k := key{l.Account, l.Function}
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], l)
	}
	var faults []error
	for _, k := range order {
		if err := s.appendTo(k, by[k]); err != nil {
			faults = append(faults, err)
			break // the others will not fare better
		}
	}
	s.evict()
	return errors.Join(faults...)
}

func (s *shelf) appendTo(k key, lines []*Line) error {
	if series := s.series[k]; series != nil {
		last := series.segments[len(series.segments)-1].last
		lines = slices.DeleteFunc(lines, func(l *Line) bool { return l.ID <= last })
	}
	if len(lines) == 0 {
		return nil
	}
	g, err := s.growing(k, lines[0])
	if err != nil || g == nil {
		return err
	}
	var buf []byte
	for _, l := range lines {
		buf = appendRecord(buf, l)
	}
	// Not by O_APPEND: what an earlier write left in part is written over.
	if _, err := g.file.WriteAt(buf, g.size); err != nil {
		if g.lines == 0 { // a new one, which is not on the shelf
			s.closeFile(g)
			_ = os.Remove(g.path)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := g.lines == 0
	for _, l := range lines {
		g.note(l.ID, l.Time.UnixNano())
	}
	g.size += int64(len(buf))
	s.bytes += int64(len(buf))
	if s.series[k] == nil {
		s.series[k] = &series{key: k}
	}
	s.series[k].bytes += int64(len(buf))
	if fresh {
		s.series[k].segments = append(s.series[k].segments, g)
	}
	return nil
}

// growing returns the segment that the lines of a series go to, with its file
// open. A new one is not yet on the shelf. It is nil where the names are too
// long for a file.
func (s *shelf) growing(k key, first *Line) (*segment, error) {
	var g *segment
	var limit int64
	if series := s.series[k]; series != nil {
		g = series.segments[len(series.segments)-1]
		most := min(maxSegment, s.opt.Bytes/32)
		limit = min(max(minSegment, series.bytes/4), most)
	}
	if g != nil && g.footer == 0 {
		if err := s.openFile(g, 0); err != nil {
			return nil, err
		}
		if g.size < limit && s.opt.Now().Sub(time.Unix(0, g.oldest)) < s.opt.Age/ageParts {
			return g, nil
		}
		if err := s.seal(g); err != nil {
			return nil, err
		}
	}
	name, ok := fileName(first.ID, k.account, k.function)
	if !ok {
		return nil, nil
	}
	g = newSegment(filepath.Join(s.dir, name), k)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	return g, s.openFile(g, os.O_CREATE|os.O_TRUNC)
}

// openFile opens the file of a segment for the writer, and closes the one that
// was used the longest time ago where there are too many.
func (s *shelf) openFile(g *segment, flag int) (err error) {
	s.uses++
	g.used = s.uses
	if g.file != nil {
		return nil
	}
	if s.open >= maxOpen {
		var oldest *segment
		for _, series := range s.series {
			last := series.segments[len(series.segments)-1]
			if last.file != nil && (oldest == nil || last.used < oldest.used) {
				oldest = last
			}
		}
		if oldest != nil {
			s.closeFile(oldest)
		}
	}
	if g.file, err = os.OpenFile(g.path, os.O_RDWR|flag, 0o600); err != nil {
		return err
	}
	s.open++
	return nil
}

func (s *shelf) closeFile(g *segment) {
	if g.file != nil {
		_ = g.file.Close() // nothing is buffered
		g.file = nil
		s.open--
	}
}

// seal ends a segment whose file is open.
func (s *shelf) seal(g *segment) error {
	footer, err := g.seal(g.file)
	if err != nil {
		return err
	}
	s.closeFile(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.footer = footer
	s.bytes += footer
	s.series[key{g.account, g.function}].bytes += footer
	return nil
}

// evict makes the total fit: the oldest segment goes of the series that has
// most, until it does. So a series that has less than an equal share keeps all.
func (s *shelf) evict() {
	for s.bytes > s.opt.Bytes {
		var most *series
		for _, series := range s.series {
			if most == nil || series.bytes > most.bytes {
				most = series
			}
		}
		if most == nil {
			return
		}
		s.drop(most)
	}
}

// expire drops the segments in which all is too old.
func (s *shelf) expire() {
	since := s.opt.Now().Add(-s.opt.Age).UnixNano()
	for _, series := range s.series {
		for len(series.segments) > 0 && series.segments[0].newest < since {
			s.drop(series)
		}
	}
}

// drop removes the oldest segment of a series.
func (s *shelf) drop(series *series) {
	g := series.segments[0]
	s.closeFile(g)
	if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opt.Log.Warn("a file of logs cannot be removed, it is left", "file", filepath.Base(g.path), "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	series.segments = series.segments[1:]
	series.bytes -= g.size + g.footer
	s.bytes -= g.size + g.footer
	if len(series.segments) == 0 {
		delete(s.series, series.key)
	}
}

// close closes the files.
func (s *shelf) close() {
	for _, series := range s.series {
		for _, g := range series.segments {
			s.closeFile(g)
		}
	}
}

// failed says once that lines are in memory only from now on.
func (s *shelf) failed(err error) {
	s.mu.Lock()
	first := !s.failing
	s.failing = true
	s.mu.Unlock()
	if first {
		s.opt.Log.Warn("logs of functions cannot be written to disk, they are in memory only until they can", "err", fmt.Errorf("write logs: %w", err))
	}
}

// worked says so when it is over.
func (s *shelf) worked() {
	s.mu.Lock()
	failing := s.failing
	s.failing = false
	s.mu.Unlock()
	if failing {
		s.opt.Log.Info("logs of functions are written to disk again")
	}
}

func (s *shelf) stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{DiskBytes: s.bytes, Failing: s.failing}
	for _, series := range s.series {
		out.Segments += len(series.segments)
	}
	return out
}

// find returns copies of the segments that may have lines of a query with ids
// from from to before to.
func (s *shelf) find(q *Query, from, to uint64) []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*segment
	for k, series := range s.series {
		if q.Account != "" && k.account != q.Account || q.Function != "" && k.function != q.Function {
			continue
		}
		for _, g := range series.segments {
			if g.last < from || g.first >= to || g.newest < q.since || g.oldest >= q.until {
				continue
			}
			found := newSegment(g.path, k)
			found.extent, found.damaged = g.extent, g.damaged
			out = append(out, found)
		}
	}
	return out
}
