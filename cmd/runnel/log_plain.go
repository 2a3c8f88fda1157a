package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// plainLog is a log for a person at a terminal: the time of day, the message,
// and its attributes; what a language says on several lines stays on several.
type plainLog struct {
	level slog.Leveler
	attrs []slog.Attr

	out *plainOutput
}

type plainOutput struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func newPlainLog(w io.Writer, level slog.Leveler) *plainLog {
	return &plainLog{level: level, out: &plainOutput{w: w}}
}

// Enabled implements slog.Handler.
func (p *plainLog) Enabled(_ context.Context, level slog.Level) bool { return level >= p.level.Level() }

// Handle implements slog.Handler.
func (p *plainLog) Handle(_ context.Context, r slog.Record) error {
	var line, below strings.Builder
	line.WriteString(r.Time.Format("15:04:05 "))
	if r.Level != slog.LevelInfo {
		line.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	line.WriteString(printable(r.Message))
	note := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		switch {
		case value == "":
		case strings.Contains(value, "\n"):
			below.WriteString("    " + strings.ReplaceAll(strings.TrimSpace(printable(value)), "\n", "\n    ") + "\n")
		default:
			line.WriteString("  " + a.Key + "=" + printable(value))
		}
		return true
	}
	for _, a := range p.attrs {
		note(a)
	}
	r.Attrs(note)
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	_, err := io.WriteString(p.out.w, line.String()+"\n"+below.String())
	return err
}

// WithAttrs implements slog.Handler.
func (p *plainLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &plainLog{level: p.level, attrs: append(slices.Clip(p.attrs), attrs...), out: p.out}
}

// WithGroup implements slog.Handler. Nothing here logs groups: their names are
// left out.
func (p *plainLog) WithGroup(string) slog.Handler { return p }
