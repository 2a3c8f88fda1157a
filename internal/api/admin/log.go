package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel/internal/auth"
)

// Logs is what functions printed and what happened to them, as far as it is
// kept.
type Logs interface {
	// Tail returns the last lines that query wants, the oldest first.
	Tail(ctx context.Context, query LogQuery) []LogLine
	// Follow calls fn with the lines that Tail would return and then with
	// each new one, with none left out between the two, until ctx ends or fn
	// returns an error, which Follow returns. A slow fn holds up no function:
	// lines are dropped rather.
	Follow(ctx context.Context, query LogQuery, fn func(LogLine) error) error
}

// LogQuery says which lines are wanted. Empty fields want all.
type LogQuery struct {
	// Account is whose functions and flows.
	Account string
	// Function is OWNER/NAME, Flow the name of a flow.
	Function, Flow string
	// Level is the lowest that is wanted.
	Level slog.Level
	// Tail is how many of the lines that are kept, 0 to 1000.
	Tail int
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
}

const (
	defaultTail = 100
	maxTail     = 1000
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

type logsInput struct {
	Function string `query:"function" doc:"Only lines of this function, OWNER/NAME, or NAME in the caller's account."`
	Flow     string `query:"flow" doc:"Only lines of calls of this flow."`
	Level    level  `query:"level" doc:"The lowest level."`
	Tail     tail   `query:"tail" doc:"How many of the lines that are kept."`
	Follow   bool   `query:"follow" doc:"Go on with each new line, as server-sent events. Accept: text/event-stream says the same."`
	Accept   string `header:"Accept" hidden:"true"`
}

// logLines is what logs answers without follow.
type logLines struct {
	Lines []LogLine `json:"lines"`
}

func (d *Door) logs(ctx context.Context, caller auth.Caller, in *logsInput) (*huma.StreamResponse, error) {
	if d.Logs == nil {
		return nil, unsupported("logs")
	}
	query := LogQuery{Account: owned(caller), Function: in.Function, Flow: in.Flow, Level: in.Level.Level, Tail: defaultTail}
	if in.Tail.n != nil {
		query.Tail = *in.Tail.n
	}
	if query.Function != "" && !strings.Contains(query.Function, "/") {
		query.Function = caller.Account + "/" + query.Function
	}
	if !in.Follow && !strings.Contains(in.Accept, mediaEvents) {
		lines := filled(d.Logs.Tail(ctx, query))
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			_, w := humago.Unwrap(ctx)
			// Lines can always be encoded.
			_ = writeJSON(w, http.StatusOK, logLines{lines})
		}}, nil
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		d.follow(r.Context(), w, query)
	}}, nil
}

// follow streams until the client goes or the server stops.
func (d *Door) follow(ctx context.Context, w http.ResponseWriter, query LogQuery) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	w.Header().Set("Content-Type", mediaEvents)
	w.WriteHeader(http.StatusOK)
	events := &eventWriter{w: w, rc: http.NewResponseController(w)}
	if events.write(": runnel logs\n\n") != nil {
		return
	}
	var beats sync.WaitGroup
	beats.Go(func() {
		defer end()
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-d.Stopping:
				return
			case <-ticker.C:
				if events.write(": alive\n\n") != nil {
					return
				}
			}
		}
	})
	err := d.Logs.Follow(ctx, query, func(line LogLine) error {
		text, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("encode a line: %w", err)
		}
		return events.write("event: log\ndata: " + string(text) + "\n\n")
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errGone) {
		d.Log.Error("stream of logs ended", "err", err)
	}
	end()
	beats.Wait()
}

// errGone says that a client takes no more.
var errGone = errors.New("the client is gone")

// eventWriter writes to one client from two goroutines.
type eventWriter struct {
	mu sync.Mutex // held for one write
	w  io.Writer
	rc *http.ResponseController
}

func (e *eventWriter) write(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Not every ResponseWriter has deadlines.
	_ = e.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := io.WriteString(e.w, text); err != nil {
		return errGone
	}
	if err := e.rc.Flush(); err != nil {
		return errGone
	}
	return nil
}
