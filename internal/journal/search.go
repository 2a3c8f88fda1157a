package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxPageBytes of text are in one page, so that an answer in any encoding
	// stays below 32 MiB.
	maxPageBytes = 4 << 20
	// maxSearches read the disk at a time; each holds a segment in memory.
	maxSearches = 2
	// searchTime is after what time a page ends where it is.
	searchTime = 2 * time.Second
)

// Query says which lines are wanted. Empty fields want all.
type Query struct {
	Account string
	// Function is OWNER/NAME. Version is how the version begins. The others
	// must be equal.
	Function, Version, Worker, Invocation, Flow, Message string
	// Level is the lowest that is wanted.
	Level slog.Level
	// Since is the first time that is wanted, Until the first after it that is
	// not.
	Since, Until time.Time
	// Text is a part of the text.
	Text string
	// Limit is how many lines.
	Limit int
	// Before wants lines with smaller ids only; 0: all.
	Before uint64

	since, until                          int64
	text, invocation, message, versionKey []byte
}

// prepare fills what is derived. Lines that are too old are not found, though
// they may still be on disk.
func (q *Query) prepare(now time.Time, age time.Duration) {
	q.since, q.until = now.Add(-age).UnixNano(), math.MaxInt64
	if !q.Since.IsZero() {
		q.since = max(q.since, q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		q.until = q.Until.UnixNano()
	}
	q.text, q.invocation, q.message, q.versionKey = []byte(q.Text), []byte(q.Invocation), []byte(q.Message), []byte(q.Version)
}

// wants says whether a line is of a prepared query.
func (q *Query) wants(l *Line) bool {
	at := l.Time.UnixNano()
	return (q.Account == "" || l.Account == q.Account) && (q.Function == "" || l.Function == q.Function) &&
		l.Level >= q.Level && at >= q.since && at < q.until &&
		(q.Flow == "" || l.Flow == q.Flow) && (q.Worker == "" || l.Worker == q.Worker) &&
		(q.Invocation == "" || l.Invocation == q.Invocation) && (q.Message == "" || l.Message == q.Message) &&
		strings.HasPrefix(l.Version, q.Version) && strings.Contains(l.Text, q.Text)
}

// wantsRecord is wants for a record of a series that fits.
func (q *Query) wantsRecord(r record) bool {
	if at := r.time(); at < q.since || at >= q.until || r.level() < q.Level {
		return false
	}
	if q.Flow == "" && q.Worker == "" && q.Invocation == "" && q.Message == "" && q.Version == "" && q.Text == "" {
		return true
	}
	f := r.fields()
	return (q.Flow == "" || string(f[fieldFlow]) == q.Flow) && (q.Worker == "" || string(f[fieldWorker]) == q.Worker) &&
		(q.Invocation == "" || string(f[fieldInvocation]) == q.Invocation) && (q.Message == "" || string(f[fieldMessage]) == q.Message) &&
		bytes.HasPrefix(f[fieldVersion], q.versionKey) && bytes.Contains(f[fieldText], q.text)
}

// Page are lines of a query, the oldest first.
type Page struct {
	Lines []Line
	// Next is the Before of the page before this one; 0: there is none. A page
	// may have few lines, or none, and a Next: it ends after 2 s, or 4 MiB of
	// text.
	Next uint64
}

// Search returns the newest lines of a query.
func (j *Journal) Search(ctx context.Context, q Query) (Page, error) {
	q.prepare(j.opt.Now(), j.opt.Age)
	to := q.Before
	if to == 0 {
		to = math.MaxUint64
	}
	p, err := j.pick(ctx, &q, 0, to, false)
	if err != nil || q.Limit <= 0 {
		return Page{}, err
	}
	out := Page{Lines: make([]Line, len(p.lines)), Next: p.rest}
	for i, l := range p.lines {
		out.Lines[i] = *l
	}
	return out, nil
}

// pick are the lines of a page while it is looked for them: of those that were
// found, the ones that are nearest to where the page begins, which is at the
// oldest if it goes forward, and else at the newest.
type pick struct {
	query   *Query
	forward bool
	lines   []*Line // by id
	full    bool    // what is farther than all lines is not wanted
	cut     bool    // such were left out
	// lost is how many lines, of all functions, could not be looked at: they
	// were gone before they were written.
	lost uint64
	// rest is where the next page begins: going forward all below it, going
	// backward all from it on were looked at. 0: all.
	rest uint64
}

// pick looks for lines with ids from from to before to.
func (j *Journal) pick(ctx context.Context, q *Query, from, to uint64, forward bool) (*pick, error) {
	p := &pick{query: q, forward: forward}
	memory, gaps, end := j.inMemory(from, to)
	if forward {
		to = min(to, end) // what comes meanwhile is another page's
	}
	onDisk := to
	if len(memory) > 0 {
		onDisk = min(to, memory[0].ID)
	}
	if !forward {
		p.offer(j.wanted(q, memory))
	}
	if err := j.pickFromDisk(ctx, p, from, onDisk); err != nil {
		return nil, err
	}
	if forward && p.rest == 0 {
		if p.full { // of memory nothing was looked at
			p.cut = true
		} else {
			p.offer(j.wanted(q, memory))
		}
	}
	if p.rest == 0 && p.cut && len(p.lines) > 0 {
		p.rest = p.lines[0].ID
		if forward {
			p.rest = p.lines[len(p.lines)-1].ID + 1
		}
	}
	if p.rest == 0 && forward {
		p.rest = to
	}
	for _, g := range gaps {
		if last, first := min(g.to, p.rest), max(g.from, from); forward && first < last {
			p.lost += last - first
		}
	}
	return p, nil
}

// inMemory returns the lines with ids from from to before to that are in
// memory, the ids of those that are nowhere, and the id of the next line. They
// are those that were dropped from memory while they are written, and then the
// others.
func (j *Journal) inMemory(from, to uint64) (lines []*Line, gaps []gap, end uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := j.first()
	gaps = append(slices.Clone(j.gaps), gap{j.unwritten + uint64(len(j.flight)), first})
	for _, l := range j.flight {
		if l.ID < first && l.ID >= from && l.ID < to {
			lines = append(lines, l)
		}
	}
	if to > first {
		at := max(from, first)
		if last := min(to, j.next); at < last {
			lines = append(lines, j.lines[at-first:last-first]...)
		}
	}
	return lines, gaps, j.next
}

func (j *Journal) wanted(q *Query, lines []*Line) (out []*Line) {
	for _, l := range lines {
		if q.wants(l) {
			out = append(out, l)
		}
	}
	return out
}

// offer adds lines, which are in the order of their ids, and forgets what is
// then too far.
func (p *pick) offer(lines []*Line) {
	if len(lines) == 0 {
		return
	}
	p.lines = append(p.lines, lines...)
	slices.SortFunc(p.lines, func(a, b *Line) int { return cmp.Compare(a.ID, b.ID) })
	n, size := 0, 0
	for ; n < len(p.lines) && n < p.query.Limit; n++ {
		l := p.lines[n]
		if !p.forward {
			l = p.lines[len(p.lines)-1-n]
		}
		// The first is taken whatever its size: a page goes on.
		if size += len(l.Text); n > 0 && size > maxPageBytes {
			break
		}
	}
	if n < len(p.lines) {
		p.cut, p.full = true, true
	} else if n == p.query.Limit {
		p.full = true
	}
	if p.forward {
		p.lines = p.lines[:n]
	} else {
		p.lines = p.lines[len(p.lines)-n:]
	}
}

// pickFromDisk goes through the segments that can have lines of the page, the
// nearest first.
func (j *Journal) pickFromDisk(ctx context.Context, p *pick, from, to uint64) error {
	if from >= to || p.query.Limit <= 0 {
		return nil
	}
	segments := j.shelf.find(p.query, from, to)
	if len(segments) == 0 {
		return nil
	}
	select {
	case j.searches <- struct{}{}:
		defer func() { <-j.searches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	slices.SortFunc(segments, func(a, b *segment) int {
		if p.forward {
			return cmp.Compare(a.first, b.first)
		}
		return cmp.Compare(b.last, a.last)
	})
	began := j.opt.Now()
	for _, g := range segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.full {
			if p.forward && g.first > p.lines[len(p.lines)-1].ID || !p.forward && g.last < p.lines[0].ID {
				p.cut = true
				return nil
			}
		} else if j.opt.Now().Sub(began) > searchTime && p.pause(g, from, to) {
			return nil
		}
		if err := j.pickFrom(p, g, from, to); err != nil {
			return err
		}
	}
	return nil
}

// pause ends a page before a segment that was not looked at, and says whether
// the page has come forward by then.
func (p *pick) pause(g *segment, from, to uint64) bool {
	if p.forward {
		if g.first <= from {
			return false
		}
		p.rest = g.first
		p.lines = slices.DeleteFunc(p.lines, func(l *Line) bool { return l.ID >= p.rest })
		return true
	}
	if g.last+1 >= to {
		return false
	}
	p.rest = g.last + 1
	p.lines = slices.DeleteFunc(p.lines, func(l *Line) bool { return l.ID < p.rest })
	return true
}

// buffers are for segments while they are searched.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// pickFrom looks through one segment. One that was removed meanwhile is
// empty.
func (j *Journal) pickFrom(p *pick, g *segment, from, to uint64) error {
	q := p.query
	f, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("search logs: %w", err)
	}
	defer f.Close()
	if g.footer > 0 && q.Invocation != "" {
		if filter := new(segment).readFooter(f, g.size+g.footer); filter != nil && !filter.has(hash(q.Invocation)) {
			return nil
		}
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	*buffer = slices.Grow((*buffer)[:0], int(g.size))
	data := (*buffer)[:g.size]
	if _, err := f.ReadAt(data, 0); err != nil {
		j.opt.Log.Warn("a file of logs cannot be read, its lines are left out", "file", filepath.Base(g.path), "err", err)
		return nil
	}
	for _, part := range [][]byte{q.invocation, q.message, q.text} {
		if !bytes.Contains(data, part) {
			return nil
		}
	}
	var hits []record
	stopped := false
	end, damaged := walk(data, func(r record) bool {
		id := r.id()
		if id >= to {
			stopped = true
			return false
		}
		if id < from || !q.wantsRecord(r) {
			return true
		}
		hits = append(hits, r)
		if p.forward {
			stopped = len(hits) > q.Limit
			return !stopped
		}
		if len(hits) > 2*q.Limit+1000 { // the last are wanted, and one that says there are more
			hits = hits[:copy(hits, hits[len(hits)-q.Limit-1:])]
		}
		return true
	})
	if (damaged || !stopped && end < len(data)) && !g.damaged.Swap(true) {
		j.shelf.tellDamage(g)
	}
	p.offer(p.lineOf(hits, g))
	return nil
}

// lineOf makes lines of the records that are near enough.
func (p *pick) lineOf(hits []record, g *segment) []*Line {
	if len(hits) > p.query.Limit+1 {
		if p.forward {
			hits = hits[:p.query.Limit+1]
		} else {
			hits = hits[len(hits)-p.query.Limit-1:]
		}
	}
	// More text than a page has need not be copied.
	size, n := 0, 0
	for n < len(hits) && size <= maxPageBytes {
		if p.forward {
			size += len(hits[n])
		} else {
			size += len(hits[len(hits)-1-n])
		}
		n++
	}
	if p.forward {
		hits = hits[:n]
	} else {
		hits = hits[len(hits)-n:]
	}
	out := make([]*Line, len(hits))
	for i, r := range hits {
		out[i] = r.line(g.account, g.function)
	}
	return out
}
