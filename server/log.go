package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel/internal/api/admin"
)

// keptLines is how many lines of all functions and flows together are kept
// for who asks later, in memory.
const keptLines = 10_000

// behindLines is how many lines one who follows may be behind before lines are
// dropped for him.
const behindLines = 1000

// logs keeps what functions print and what flows decide.
type logs struct {
	mu        sync.Mutex      // guards all below
	lines     []admin.LogLine // a ring once it is full
	next      int             // where the next line goes
	followers map[chan admin.LogLine]admin.LogQuery
}

// add keeps a line and hands it to those who follow. It never blocks.
func (l *logs) add(line admin.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) < keptLines {
		l.lines = append(l.lines, line)
	} else {
		l.lines[l.next] = line
	}
	l.next = (l.next + 1) % keptLines
	for ch, query := range l.followers {
		if !wants(query, line) {
			continue
		}
		select {
		case ch <- line:
		default: // too slow: it misses lines
		}
	}
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
	for i := 1; i <= len(l.lines) && len(out) < query.Tail; i++ {
		line := l.lines[(l.next-i+len(l.lines))%len(l.lines)]
		if len(l.lines) < keptLines {
			line = l.lines[len(l.lines)-i]
		}
		if wants(query, line) {
			out = append(out, line)
		}
	}
	slices.Reverse(out)
	return out
}

// Follow implements admin.Logs.
func (l *logs) Follow(ctx context.Context, query admin.LogQuery, fn func(admin.LogLine) error) error {
	ch := make(chan admin.LogLine, behindLines) // never closed
	l.mu.Lock()
	past := l.tail(query)
	if l.followers == nil {
		l.followers = make(map[chan admin.LogLine]admin.LogQuery)
	}
	l.followers[ch] = query
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.followers, ch)
	}()
	for _, line := range past {
		if err := fn(line); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line := <-ch:
			if err := fn(line); err != nil {
				return err
			}
		}
	}
}

// wants says whether a line is of a query. Lines of flows name their account's
// functions in full.
func wants(q admin.LogQuery, line admin.LogLine) bool {
	return (q.Function == "" || line.Function == q.Function) && (q.Flow == "" || line.Flow == q.Flow) && levelOf(line.Level) >= q.Level
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
	logs  *logs
	attrs []slog.Attr
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
		t.logs.add(line)
	}
	if !t.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return t.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (t *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &tee{Handler: t.Handler.WithAttrs(attrs), logs: t.logs, attrs: append(slices.Clip(t.attrs), attrs...)}
}

// since is a time rounded for people.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }
