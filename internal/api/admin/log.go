package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Logs is what functions printed and what happened to them, as far as it is
// kept.
type Logs interface {
	// Search returns the last lines that query wants, the oldest first, as many
	// as fit into one answer: it is bounded in time and in bytes.
	Search(ctx context.Context, query LogQuery) (LogPage, error)
	// Follow calls fn with the lines that Search would return, or with all after
	// query.After, and then with each new one, with none left out between the
	// two, until ctx ends or fn returns an error, which Follow returns. A slow fn
	// holds up no function: lines are dropped rather.
	Follow(ctx context.Context, query LogQuery, fn func(LogLine) error) error
}

// LogQuery says which lines are wanted. Empty fields want all.
type LogQuery struct {
	// Account is whose functions and flows.
	Account string
	// Function is OWNER/NAME, Version the beginning of a version, and the
	// others are whole.
	Function, Version, Worker, Invocation, Flow, Message string
	// Level is the lowest that is wanted.
	Level slog.Level
	// Since is the first time that is wanted, Until the first after it that is
	// not.
	Since, Until time.Time
	// Text is a part of the text.
	Text string
	// Limit is how many of the last lines, 0 to 1000.
	Limit int
	// Before wants lines before that of this id only; 0: all.
	Before uint64
	// After, for Follow, is the id of the last line that is known; 0: none is.
	After uint64
}

// LogPage is some lines, the oldest first. Next is the Before of the page before
// them, 0 if there is none.
type LogPage struct {
	Lines []LogLine
	Next  uint64
}

// LogLine is one line of a log.
type LogLine struct {
	Time       time.Time `json:"time"`
	Level      string    `json:"level" enum:"debug,info,warn,error"`
	Function   string    `json:"function,omitempty" doc:"OWNER/NAME."`
	Version    string    `json:"version,omitempty"`
	Worker     string    `json:"worker,omitempty" doc:"The process, unique within the server."`
	Invocation string    `json:"invocation,omitempty" doc:"The call it was printed in."`
	Flow       string    `json:"flow,omitempty"`
	Message    string    `json:"message,omitempty" doc:"The id of the message that the call was for."`
	Text       string    `json:"text"`
	ID         string    `json:"id,omitempty" doc:"A number that grows from line to line, across restarts too. A notice in a stream has none."`
}

const (
	defaultTail = 100
	maxTail     = 1000
	maxLogText  = 1000 // bytes of a text that is searched for
	mediaEvents = "text/event-stream"
)

// heartbeat is how often a stream without lines says that it is alive, so that
// proxies keep it open and we notice a client that left.
const heartbeat = 15 * time.Second

// tail is the parameter of that name; nil where nothing is said.
type tail struct{ n *int }

// UnmarshalText reads a number of lines.
func (t *tail) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > maxTail {
		return fmt.Errorf("want a number from 0 to %d", maxTail)
	}
	t.n = &n
	return nil
}

// Schema describes the parameter.
func (tail) Schema(huma.Registry) *huma.Schema {
	least, most := 0.0, float64(maxTail)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultTail}
}

// level is the parameter of that name.
type level struct{ slog.Level }

// UnmarshalText reads one of four words.
func (l *level) UnmarshalText(text []byte) error {
	if !slices.Contains(levelWords, any(string(text))) {
		return errors.New("want debug, info, warn or error")
	}
	return l.Level.UnmarshalText(text)
}

var levelWords = []any{"debug", "info", "warn", "error"}

// Schema describes the parameter.
func (level) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: levelWords, Default: "info"}
}

// lines is the parameter limit; nil where nothing is said.
type lines struct{ n *int }

// UnmarshalText reads a number of lines.
func (l *lines) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxTail {
		return fmt.Errorf("want a number from 1 to %d", maxTail)
	}
	l.n = &n
	return nil
}

// Schema describes the parameter.
func (lines) Schema(huma.Registry) *huma.Schema {
	least, most := 1.0, float64(maxTail)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultTail}
}

// moment is a parameter that is a time, or how long ago it was.
type moment struct {
	time time.Time
	ago  time.Duration
	set  bool
}

// UnmarshalText reads either.
func (m *moment) UnmarshalText(text []byte) (err error) {
	m.set = true
	if m.time, err = time.Parse(time.RFC3339Nano, string(text)); err == nil {
		return nil
	}
	var ago Duration
	if err := ago.UnmarshalText(text); err != nil || ago < 0 {
		return errors.New("want a time as in 2026-01-02T15:04:05Z, or how long ago as in 15m or 7d")
	}
	m.ago = time.Duration(ago)
	return nil
}

// at is the time that is meant; none is the zero time.
func (m moment) at(now time.Time) time.Time {
	if m.set && m.time.IsZero() {
		return now.Add(-m.ago)
	}
	return m.time
}

// Schema describes the parameter.
func (moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: []any{"15m"}}
}

// place is the id of a line, or a cursor, which is the same to us. To clients
// it is text that they were given.
type place struct{ id uint64 }

// UnmarshalText reads one.
func (p *place) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n == 0 {
		return errors.New("is not one that was answered here")
	}
	p.id = n
	return nil
}

// Schema describes the parameter.
func (place) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeString} }

type logsInput struct {
	Function   string `query:"function" doc:"Only lines of this function, OWNER/NAME, or NAME in the caller's account."`
	Version    string `query:"version" doc:"Only lines of versions that begin so."`
	Invocation string `query:"invocation" doc:"Only lines of this call."`
	Flow       string `query:"flow" doc:"Only lines of calls of this flow."`
	Message    string `query:"message" doc:"Only lines about the message with this id."`
	Worker     string `query:"worker" doc:"Only lines of this process."`
	Level      level  `query:"level" doc:"The lowest level."`
	Since      moment `query:"since" doc:"Only lines from this time on: RFC 3339, or how long ago."`
	Until      moment `query:"until" doc:"Only lines before this time: RFC 3339, or how long ago. Not with follow."`
	Text       string `query:"text" doc:"Only lines with this text in theirs. Case counts."`
	Limit      lines  `query:"limit" doc:"How many lines, the last ones. An answer may have fewer and a next: it ends after 2 s, or 4 MiB of text."`
	Tail       tail   `query:"tail" doc:"The same as limit, and 0 to follow without any that are past."`
	Cursor     place  `query:"cursor" doc:"The next of an answer: the lines before those. Not with follow."`
	Follow     bool   `query:"follow" doc:"Go on with each new line, as server-sent events. Accept: text/event-stream says the same."`
	After      place  `query:"after" doc:"With follow: begin after the line with this id. Last-Event-ID says the same."`
	LastEvent  place  `header:"Last-Event-ID" doc:"What an event source sends when it connects again."`
	Accept     string `header:"Accept" hidden:"true"`
}

// logLines is what logs answers without follow.
type logLines struct {
	Lines []LogLine `json:"lines" doc:"The oldest first."`
	Next  string    `json:"next,omitempty" doc:"The cursor of the lines before these. Missing: there are none."`
}

// query is what is asked for, or what is wrong with it.
func (in *logsInput) query(caller auth.Caller, follow bool, now time.Time) (LogQuery, error) {
	refused := func(format string, args ...any) (LogQuery, error) {
		return LogQuery{}, runnel.Errorf(runnel.CodeInvalid, format, args...)
	}
	q := LogQuery{
		Account: owned(caller), Function: in.Function, Version: in.Version, Worker: in.Worker, Invocation: in.Invocation,
		Flow: in.Flow, Message: in.Message, Level: in.Level.Level, Since: in.Since.at(now), Until: in.Until.at(now), Text: in.Text,
		Limit: defaultTail, Before: in.Cursor.id, After: max(in.After.id, in.LastEvent.id),
	}
	switch {
	case in.Limit.n != nil && in.Tail.n != nil:
		return refused("limit and tail are the same: leave one out")
	case in.Limit.n != nil:
		q.Limit = *in.Limit.n
	case in.Tail.n != nil:
		q.Limit = *in.Tail.n
	}
	if q.Function != "" && !strings.Contains(q.Function, "/") {
		q.Function = caller.Account + "/" + q.Function
	}
	switch {
	case len(q.Text) > maxLogText:
		return refused("text has %d bytes: at most %d are searched for", len(q.Text), maxLogText)
	case follow && (in.Until.set || in.Cursor.id > 0):
		return refused("until and cursor are about what is past: leave them out to follow")
	case !follow && q.After > 0:
		return refused("after is for follow: since and cursor are for what is past")
	case !q.Until.IsZero() && q.Since.After(q.Until):
		return refused("since is after until: nothing is between them")
	}
	return q, nil
}

func (d *Door) logs(ctx context.Context, caller auth.Caller, in *logsInput) (*huma.StreamResponse, error) {
	if d.Logs == nil {
		return nil, unsupported("logs")
	}
	follow := in.Follow || strings.Contains(in.Accept, mediaEvents)
	query, err := in.query(caller, follow, time.Now())
	if err != nil {
		return nil, err
	}
	if !follow {
		page, err := d.Logs.Search(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("search logs: %w", err)
		}
		out := logLines{Lines: filled(page.Lines)}
		if page.Next > 0 {
			out.Next = strconv.FormatUint(page.Next, 10)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			_, w := humago.Unwrap(ctx)
			// Lines can always be encoded.
			_ = writeJSON(w, http.StatusOK, out)
		}}, nil
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		d.follow(r.Context(), w, query)
	}}, nil
}

// follow streams until the client goes or the server stops.
func (d *Door) follow(ctx context.Context, w http.ResponseWriter, query LogQuery) {
	d.stream(ctx, w, "logs", func(ctx context.Context, event func(id, kind string, v any) error) error {
		return d.Logs.Follow(ctx, query, func(line LogLine) error { return event(line.ID, "log", line) })
	})
}
