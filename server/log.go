package server

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/journal"
)

// logsDir is where the lines of logs are in the data directory.
const logsDir = "logs"

// logs keeps what functions print and what flows decide: a journal as the API
// wants it.
type logs struct{ *journal.Journal }

// openLogs opens the logs of a data directory. They leave the reserve of the disk
// to the store, which must write in order to make room.
func openLogs(cfg *Config, room func() error) *logs {
	return &logs{journal.Open(filepath.Join(cfg.Dir, logsDir), journal.Options{
		Bytes: int64(cfg.LogBytes), Age: cfg.LogAge, Room: room, Log: cfg.Log,
	})}
}

// add keeps a line of an account. It never blocks.
func (l *logs) add(account string, line admin.LogLine) {
	l.Add(journal.Line{
		Account: account, Time: line.Time, Level: levelOf(line.Level), Function: line.Function, Version: line.Version,
		Worker: line.Worker, Invocation: line.Invocation, Flow: line.Flow, Message: line.Message, Text: line.Text,
	})
}

// Search implements admin.Logs.
func (l *logs) Search(ctx context.Context, query admin.LogQuery) (admin.LogPage, error) {
	page, err := l.Journal.Search(ctx, journalQuery(query))
	if err != nil {
		return admin.LogPage{}, err
	}
	out := admin.LogPage{Lines: make([]admin.LogLine, len(page.Lines)), Next: page.Next}
	for i := range page.Lines {
		out.Lines[i] = shownLine(&page.Lines[i])
	}
	return out, nil
}

// Follow implements admin.Logs.
func (l *logs) Follow(ctx context.Context, query admin.LogQuery, fn func(admin.LogLine) error) error {
	return l.Journal.Follow(ctx, journalQuery(query), query.After, func(line journal.Line) error { return fn(shownLine(&line)) })
}

// journalQuery is a query of the API. Lines of functions are their owners',
// whoever's flow called them; those of flows their own accounts'.
func journalQuery(q admin.LogQuery) journal.Query {
	return journal.Query{
		Account: q.Account, Function: q.Function, Version: q.Version, Worker: q.Worker, Invocation: q.Invocation,
		Flow: q.Flow, Message: q.Message, Level: q.Level, Since: q.Since, Until: q.Until, Text: q.Text,
		Limit: q.Limit, Before: q.Before,
	}
}

func shownLine(l *journal.Line) admin.LogLine {
	out := admin.LogLine{
		Time: l.Time, Level: strings.ToLower(l.Level.String()), Function: l.Function, Version: l.Version,
		Worker: l.Worker, Invocation: l.Invocation, Flow: l.Flow, Message: l.Message, Text: l.Text,
	}
	if l.ID > 0 {
		out.ID = strconv.FormatUint(l.ID, 10)
	}
	return out
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
	line := admin.LogLine{Time: r.Time, Level: r.Level.String()}
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
