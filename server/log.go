package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/internal/api/admin"
)

// How much of what functions print and flows decide is kept in memory, of all
// accounts together, for who asks later: the oldest goes first.
const (
	keptLines = 10_000
	keptBytes = 32 << 20
	// maxText is where a line is cut.
	maxText = 64 << 10
	// lineOverhead is about what a line takes besides its text.
	lineOverhead = 400
)

// logs keeps what functions print and what flows decide.
type logs struct {
	mu        sync.Mutex // guards all below
	lines     []kept     // the oldest first
	bytes     int        // of lines
	added     uint64     // lines that there ever were
	followers map[*follower]struct{}
}

// kept is a line with whose it is.
type kept struct {
	admin.LogLine
	account string
}

func (k kept) bytes() int { return len(k.Text) + lineOverhead }

// follower is one who wants new lines. They are not kept for him: he reads
// them from those of all, and misses what is gone before he comes.
type follower struct {
	query  admin.LogQuery
	next   uint64        // the number of the line that he reads next
	missed int           // wanted lines that are gone
	more   chan struct{} // capacity 1: there are new lines; never closed
}

// add keeps a line of an account, and tells those who follow. It never blocks.
func (l *logs) add(account string, line admin.LogLine) {
	if len(line.Text) > maxText {
		line.Text = strings.ToValidUTF8(line.Text[:maxText], "") + " [cut]"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := kept{line, account}
	l.lines = append(l.lines, k)
	l.bytes += k.bytes()
	l.added++
	for len(l.lines) > keptLines || l.bytes > keptBytes {
		l.drop()
	}
	for f := range l.followers {
		if wants(f.query, k) {
			select {
			case f.more <- struct{}{}:
			default:
			}
		}
	}
}

// drop forgets the oldest line. Caller holds mu.
func (l *logs) drop() {
	oldest, number := l.lines[0], l.added-uint64(len(l.lines))
	for f := range l.followers {
		if f.next <= number && wants(f.query, oldest) {
			f.missed++
		}
	}
	l.bytes -= oldest.bytes()
	l.lines[0] = kept{} // append copies only what is left, in time
	l.lines = l.lines[1:]
}

// Tail implements admin.Logs.
func (l *logs) Tail(_ context.Context, query admin.LogQuery) []admin.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail(query)
}

// tail returns the last lines of a query. Caller holds mu.
func (l *logs) tail(query admin.LogQuery) []admin.LogLine {
	var out []admin.LogLine
	for i := len(l.lines) - 1; i >= 0 && len(out) < query.Tail; i-- {
		if wants(query, l.lines[i]) {
			out = append(out, l.lines[i].LogLine)
		}
	}
	slices.Reverse(out)
	return out
}

// Follow implements admin.Logs. One who is so slow that lines are gone before
// he takes them is told how many.
func (l *logs) Follow(ctx context.Context, query admin.LogQuery, fn func(admin.LogLine) error) error {
	f := &follower{query: query, more: make(chan struct{}, 1)}
	l.mu.Lock()
	lines := l.tail(query)
	f.next = l.added
	if l.followers == nil {
		l.followers = make(map[*follower]struct{})
	}
	l.followers[f] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.followers, f)
	}()
	for {
		for _, line := range lines {
			if err := fn(line); err != nil {
				return err
			}
		}
		if lines = l.read(f); len(lines) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.more:
		}
	}
}

// readPart is how many lines a follower takes at once.
const readPart = 100

// read returns the next lines of a follower, none if there are none yet.
func (l *logs) read(f *follower) []admin.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []admin.LogLine
	if f.missed > 0 {
		out = append(out, admin.LogLine{
			Time: time.Now(), Level: "warn",
			Text: fmt.Sprintf("%d lines are left out here: they came faster than they were read", f.missed),
		})
		f.missed = 0
	}
	first := l.added - uint64(len(l.lines))
	f.next = max(f.next, first)
	for ; f.next < l.added && len(out) < readPart; f.next++ {
		if k := l.lines[f.next-first]; wants(f.query, k) {
			out = append(out, k.LogLine)
		}
	}
	return out
}

// wants says whether a line is of a query. Lines of functions are their
// owners', whoever's flow called them; those of flows their own accounts'.
func wants(q admin.LogQuery, k kept) bool {
	return (q.Account == "" || k.account == q.Account) && (q.Function == "" || k.Function == q.Function) &&
		(q.Flow == "" || k.Flow == q.Flow) && levelOf(k.Level) >= q.Level
}

func levelOf(word string) slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// tee is a slog handler that also keeps, as lines, what flows log.
type tee struct {
	slog.Handler
	logs    *logs
	account string // whose lines they are
	attrs   []slog.Attr
}

// Enabled implements slog.Handler: lines are kept from Info on, whatever the
// log of the server shows.
func (t *tee) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || t.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (t *tee) Handle(ctx context.Context, r slog.Record) error {
	line := admin.LogLine{Time: r.Time, Level: strings.ToLower(r.Level.String())}
	var text strings.Builder
	text.WriteString(r.Message)
	note := func(a slog.Attr) bool {
		value := a.Value.String()
		switch a.Key {
		case "flow":
			line.Flow = value
		case "function":
			line.Function, _, _ = strings.Cut(value, "@")
		case "version":
			line.Version = value
		case "message":
			line.Message = value
		default:
			text.WriteString(" " + a.Key + "=" + value)
		}
		return true
	}
	for _, a := range t.attrs {
		note(a)
	}
	r.Attrs(note)
	line.Text = text.String()
	if r.Level >= slog.LevelInfo {
		t.logs.add(t.account, line)
	}
	if !t.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{Handler: t.Handler.WithAttrs(attrs), logs: t.logs, account: t.account, attrs: append(slices.Clip(t.attrs), attrs...)}
}

// WithGroup implements slog.Handler. Lines have no groups.
func (t *tee) WithGroup(name string) slog.Handler {
	return &tee{Handler: t.Handler.WithGroup(name), logs: t.logs, account: t.account, attrs: t.attrs}
}

// since is a time rounded for people.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
