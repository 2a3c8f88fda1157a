package journal

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Line is one line of a log.
type Line struct {
	// ID is given by Add. That of a line is larger than those of all before
	// it; 0 is of a notice to one follower, which is not kept.
	ID    uint64
	Time  time.Time
	Level slog.Level
	// Account is whose line it is.
	Account string
	// Function is OWNER/NAME, or empty.
	Function, Version, Worker, Invocation, Flow, Message string
	Text                                                 string
}

const (
	// maxText is where a line is cut.
	maxText = 64 << 10
	// maxField is where any other part of it is.
	maxField = 1 << 10
	// lineOverhead is about what a line takes in memory besides its text.
	lineOverhead = 400
)

func (l *Line) bytes() int { return len(l.Text) + lineOverhead }

// gap are ids of lines that are neither in memory nor on disk: from from to
// before to.
type gap struct{ from, to uint64 }

// maxGaps are remembered.
const maxGaps = 64

// Options configure a journal. The zero value is the default.
type Options struct {
	// Bytes is how much of the disk the lines may take. Default 256 MiB.
	Bytes int64
	// Age is how long lines are kept. Default 7 days.
	Age time.Duration
	// MemoryLines and MemoryBytes bound what is in memory. Default 10,000 and
	// 32 MiB.
	MemoryLines, MemoryBytes int
	// LinesPerSecond and BytesPerSecond are what one function may add, all its
	// workers together, and twice as much at once; for what is said about it,
	// as much again. Default 2,000 and 4 MiB.
	LinesPerSecond, BytesPerSecond int
	// Room says why the disk should not be written now: what is left of it is
	// for others. Default: it may always be.
	Room func() error
	// Log gets what an operator must know of. Default slog.Default.
	Log *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

func (o *Options) setDefaults() {
	if o.Bytes <= 0 {
		o.Bytes = 256 << 20
	}
	if o.Age <= 0 {
		o.Age = 7 * 24 * time.Hour
	}
	if o.MemoryLines <= 0 {
		o.MemoryLines = 10_000
	}
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 32 << 20
	}
	if o.LinesPerSecond <= 0 {
		o.LinesPerSecond = 2000
	}
	if o.BytesPerSecond <= 0 {
		o.BytesPerSecond = 4 << 20
	}
	if o.Room == nil {
		o.Room = func() error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Journal keeps lines. Its methods may be called by several goroutines at once.
type Journal struct {
	opt      Options
	shelf    *shelf
	searches chan struct{} // holds one token for each search of the disk under way

	work   chan struct{} // capacity 1: there is something for the writer; never closed
	stop   chan struct{} // closed by Close
	once   sync.Once
	closed chan struct{} // closed when the writer has ended

	mu        sync.Mutex // guards all below
	lines     []*Line    // the newest, the oldest of them first, with ids that are one apart; a line is never changed
	bytes     int        // of lines
	next      uint64     // the id of the next line
	unwritten uint64     // the first id that the writer has not taken, or not brought to the disk
	flight    []*Line    // what the writer has taken
	lost      uint64     // lines that were gone from memory before they were written
	unsaid    uint64     // of lost, those that no line tells of yet
	gaps      []gap      // the last of lost
	meters    map[source]*meter
	silenced  []*meter // those that have dropped lines which no line tells of yet
	followers map[*follower]struct{}
}

// Open opens the journal of a directory, which it makes. What is wrong with the
// directory is logged and no error: then lines are in memory only, until it can
// be written. The caller calls Close.
func Open(dir string, opt Options) *Journal {
	opt.setDefaults()
	j := &Journal{
		opt: opt, searches: make(chan struct{}, maxSearches),
		work: make(chan struct{}, 1), stop: make(chan struct{}), closed: make(chan struct{}),
		meters: make(map[source]*meter), followers: make(map[*follower]struct{}),
	}
	j.shelf = openShelf(dir, &j.opt)
	// Ids of lines that a crash took from the disk were told to followers: the
	// clock is ahead of them, at less than a million lines a second.
	j.next = max(j.shelf.last+1, uint64(opt.Now().UnixMicro()))
	j.unwritten = j.next
	go j.write()
	return j
}

// Close writes what is not yet written and ends. Lines that are added later are
// in memory only.
func (j *Journal) Close() {
	j.once.Do(func() { close(j.stop) })
	<-j.closed
}

// Add keeps a line, or drops it where its function adds too many. It never
// blocks on the disk.
func (j *Journal) Add(l Line) {
	if len(l.Text) > maxText {
		l.Text = strings.ToValidUTF8(l.Text[:maxText], "") + " [cut]"
	}
	for _, field := range []*string{&l.Version, &l.Worker, &l.Invocation, &l.Flow, &l.Message} {
		if len(*field) > maxField {
			*field = strings.ToValidUTF8((*field)[:maxField], "")
		}
	}
	l.Text = strings.ToValidUTF8(l.Text, "\uFFFD")
	now := j.opt.Now()
	if l.Time.IsZero() {
		l.Time = now
	}
	// As it comes back from the disk, so that a line is always the same.
	l.Time = time.Unix(0, l.Time.UnixNano()).UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.allow(&l, now) {
		j.keep(&l)
	}
}

// keep appends a line, and tells those who follow and the writer. Caller holds
// mu.
func (j *Journal) keep(l *Line) {
	l.ID = j.next
	j.next++
	j.lines = append(j.lines, l)
	j.bytes += l.bytes()
	for len(j.lines) > j.opt.MemoryLines || j.bytes > j.opt.MemoryBytes {
		j.drop()
	}
	for f := range j.followers {
		if f.query.wants(l) {
			select {
			case f.more <- struct{}{}:
			default:
			}
		}
	}
	j.wake()
}

// drop forgets the oldest line in memory. Caller holds mu.
func (j *Journal) drop() {
	oldest := j.lines[0]
	for f := range j.followers {
		if f.next <= oldest.ID && f.query.wants(oldest) {
			f.missed++
		}
	}
	j.bytes -= oldest.bytes()
	j.lines[0] = nil // append copies only what is left, in time
	j.lines = j.lines[1:]
}

// first is the id of the oldest line in memory. Caller holds mu.
func (j *Journal) first() uint64 { return j.next - uint64(len(j.lines)) }

// wake tells the writer that there is something to do.
func (j *Journal) wake() {
	select {
	case j.work <- struct{}{}:
	default:
	}
}
