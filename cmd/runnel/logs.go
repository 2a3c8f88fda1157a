package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
)

// The waits between two tries to reach a server whose stream has ended: the
// first, which doubles, and the last.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

const (
	maxLogPage = 1000    // lines in one answer: the server's limit
	maxLogs    = 100_000 // lines that one command prints
	maxLogLine = 1 << 20 // bytes of one line of a stream
)

func newLogsCommand() *cobra.Command {
	l := logReader{retry: firstRetry}
	var output string
	cmd := &cobra.Command{
		Use:   "logs [NAME[@VERSION]]",
		Short: "Print what functions print, and what happens to them",
		Long: `Print the last lines that functions have printed, and what happened to their
workers: when, how grave, which function, in which flow, and the text. The server
keeps them for some days (serve --log-age) and up to some size (--log-bytes).

Lines are searched by function, and how its version begins, by invocation,
message, flow and worker, by time and by text: what is given must all fit. --since
and --until are times as in 2026-01-02T15:04:05Z, or how long ago: 15m, 7d.

With -f it goes on until Ctrl-C, and connects again when the connection is lost:
no line is printed twice, and none is left out that the server still has.
With --json each line is an object, with version, worker, invocation and
message id too.`,
		Example: `  runnel logs -f
  runnel logs resize --level error -n 20
  runnel logs resize --since 2h --until 1h --grep 'cat.png'
  runnel logs --invocation 0b9a0e0e-7e6e-4b0a-9c56-6f1f6f1d2a11
  runnel logs -f --flow resize-images --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := l.check(cmd, args); err != nil {
				return err
			}
			if l.json {
				output = "json"
			}
			if l.json, err = asJSON(output, "text"); err != nil {
				return err
			}
			if l.client, err = newClient(cmd); err != nil {
				return err
			}
			l.out, l.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if l.query, err = l.values(cmd.Context()); err != nil {
				return err
			}
			if !l.follow {
				return l.last(cmd.Context())
			}
			err = l.run(cmd.Context())
			if cmd.Context().Err() != nil {
				return nil // the interrupt is how it ends
			}
			return err
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on until interrupted")
	f.StringVar(&l.function, "function", "", "only lines of this function, `NAME` or OWNER/NAME: the same as the argument")
	f.StringVar(&l.invocation, "invocation", "", "only lines of the call with this `ID`")
	f.StringVar(&l.message, "message", "", "only lines about the message with this `ID`")
	f.StringVar(&l.flow, "flow", "", "only lines of calls by this flow")
	f.StringVar(&l.worker, "worker", "", "only lines of this process of a function")
	f.StringVar(&l.since, "since", "", "only lines from this `TIME` on, or from so long ago on")
	f.StringVar(&l.until, "until", "", "only lines before this `TIME`, or from before so long ago")
	f.StringVar(&l.grep, "grep", "", "only lines with this `TEXT`; case counts")
	f.StringVar(&l.level, "level", "", "only lines from this level on: debug, info, warn or error (default info)")
	f.IntVarP(&l.tail, "tail", "n", 100, "print so many `lines`, the last ones; with -f: begin with them")
	f.StringVarP(&output, "output", "o", "", "`format` of the output: text or json")
	f.BoolVar(&l.json, "json", false, "the same as -o json")
	return cmd
}

// check finds what the command line lacks before a server is asked.
func (l *logReader) check(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		if l.function != "" {
			return &usageError{"the function is given twice: as argument and as --function"}
		}
		l.function = args[0]
	}
	var named bool
	if l.function, l.version, named = strings.Cut(l.function, "@"); named && (l.function == "" || l.version == "") {
		return &usageError{"want NAME, or NAME@VERSION"}
	}
	most := maxLogs
	if l.follow {
		most = maxLogPage
	}
	if l.tail < 0 || l.tail > most {
		return &usageError{fmt.Sprintf("--tail is a number from 0 to %d", most)}
	}
	switch l.level {
	case "", "debug", "info", "warn", "error":
	default:
		return &usageError{fmt.Sprintf("--level is debug, info, warn or error, not %q", l.level)}
	}
	if l.follow && l.until != "" {
		return &usageError{"--until is about what is past: leave it out, or -f"}
	}
	for _, name := range []string{"invocation", "message", "flow", "worker", "since", "until", "grep"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return &usageError{fmt.Sprintf("--%s is empty: leave it out, or say which", name)}
		}
	}
	for name, text := range map[string]string{"since": l.since, "until": l.until} {
		if text != "" && !isMoment(text) {
			return &usageError{fmt.Sprintf("--%s %s: want a time as in 2026-01-02T15:04:05Z, or how long ago as in 15m or 7d", name, text)}
		}
	}
	return nil
}

// isMoment says whether the server will know a time, or how long ago it was.
func isMoment(text string) bool {
	if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return true
	}
	ago, err := spec.ParseDuration(text)
	return err == nil && ago >= 0
}

// values is the query of the command line.
func (l *logReader) values(ctx context.Context) (url.Values, error) {
	q := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	if l.function != "" {
		name, err := l.client.functionName(ctx, l.function)
		if err != nil {
			return nil, err
		}
		q.Set("function", name)
		version, err := l.versionOf(ctx, name)
		if err != nil {
			return nil, err
		}
		set("version", version)
	}
	set("invocation", l.invocation)
	set("message", l.message)
	set("flow", l.flow)
	set("worker", l.worker)
	set("since", l.since)
	set("until", l.until)
	set("text", l.grep)
	set("level", l.level)
	return q, nil
}

// versionOf is what lines have of the version that was named: of live, which one
// that is now.
func (l *logReader) versionOf(ctx context.Context, name string) (string, error) {
	if l.version != "live" {
		return l.version, nil
	}
	path, err := l.client.path(ctx, functionKind, name)
	if err != nil {
		return "", err
	}
	var f struct{ Live string }
	if err := l.client.do(ctx, http.MethodGet, path, nil, &f); err != nil {
		return "", l.client.suggest(ctx, functionKind, name, err)
	}
	if f.Live == "" {
		return "", runnel.Errorf(runnel.CodeNotFound, "%s has no live version", name)
	}
	return f.Live, nil
}

// logReader prints the lines of a log.
type logReader struct {
	client            *client
	function, version string
	invocation        string
	message           string
	flow, worker      string
	since, until      string
	grep, level       string
	tail              int
	follow, json      bool
	retry             time.Duration // the first wait before another connection
	query             url.Values    // without how many
	out, errOut       io.Writer

	after string // the id of the line that was printed last
}

// logLine is what is read of a line.
type logLine struct {
	Time     time.Time `json:"time"`
	Level    string    `json:"level"`
	Function string    `json:"function"`
	Flow     string    `json:"flow"`
	Text     string    `json:"text"`
}

// last prints the lines that are there. The server answers in pages, the newest
// first.
func (l *logReader) last(ctx context.Context) error {
	var pages [][]json.RawMessage
	for left := l.tail; left > 0; {
		var answer struct {
			Lines []json.RawMessage
			Next  string
		}
		l.query.Set("limit", strconv.Itoa(min(left, maxLogPage)))
		if err := l.client.do(ctx, "GET", "/api/v1/logs?"+l.query.Encode(), nil, &answer); err != nil {
			return err
		}
		pages = append(pages, answer.Lines)
		left -= len(answer.Lines)
		if answer.Next == "" {
			break
		}
		l.query.Set("cursor", answer.Next)
	}
	for _, page := range slices.Backward(pages) {
		for _, raw := range page {
			if err := l.print(raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// run follows the log until ctx ends, or until it cannot be had.
func (l *logReader) run(ctx context.Context) error {
	l.query.Set("follow", "true")
	l.query.Set("tail", strconv.Itoa(l.tail))
	wait := l.retry
	for connected := false; ; {
		began, err := l.connect(ctx)
		connected = connected || began
		var fatal *writeError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &fatal):
			return err
		case !connected || refused(err):
			return err
		}
		if began {
			wait = l.retry
			fmt.Fprintf(l.errOut, "the connection to %s is lost: trying again until Ctrl-C\n", l.client.base)
		}
		switch { // all that was written meanwhile, however long it was
		case l.after != "":
			l.query.Set("after", l.after)
			l.query.Del("since")
		case l.tail > 0: // there was none: each is new
			l.query.Set("tail", strconv.Itoa(maxLogPage))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait = min(2*wait, lastRetry)
	}
}

// refused says whether an answer will be the same when asked again.
func refused(err error) bool {
	var e *runnel.Error
	return errors.As(err, &e) && e.Code != runnel.CodeUnavailable && e.Code != runnel.CodeLimit && e.Code != runnel.CodeInternal
}

// writeError says that a line could not be printed.
type writeError struct{ err error }

func (e *writeError) Error() string { return "print: " + e.err.Error() }

func (e *writeError) Unwrap() error { return e.err }

// connect follows one stream to its end. began says whether there was one.
func (l *logReader) connect(ctx context.Context) (began bool, err error) {
	resp, err := l.client.request(ctx, http.MethodGet, "/api/v1/logs?"+l.query.Encode(), "", nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if media := resp.Header.Get("Content-Type"); !strings.HasPrefix(media, "text/event-stream") {
		return false, runnel.Errorf(runnel.CodeUnsupported, "%s answers with %s, not with a stream of events", l.client.base, media)
	}
	return true, readEvents(resp.Body, func(event, id, data string) error {
		if event != "log" {
			return nil
		}
		if err := l.print(json.RawMessage(data)); err != nil {
			return err
		}
		if id != "" {
			l.after = id
		}
		return nil
	})
}

// readEvents calls fn with each of the server-sent events until the stream
// ends.
func readEvents(in io.Reader, fn func(event, id, data string) error) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLogLine)
	event, id, data := "", "", []string(nil)
	for scanner.Scan() {
		line := scanner.Text()
		if line == "" { // the end of an event
			if data != nil {
				if err := fn(event, id, strings.Join(data, "\n")); err != nil {
					return err
				}
			}
			event, id, data = "", "", nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "id":
			id = value
		case "data":
			data = append(data, value)
		}
	}
	return scanner.Err()
}

// print prints a line.
func (l *logReader) print(raw json.RawMessage) error {
	var line logLine
	if err := json.Unmarshal(raw, &line); err != nil {
		return fmt.Errorf("read a line of the log: %w", err)
	}
	text := string(raw) + "\n"
	if !l.json {
		text = line.String()
	}
	if _, err := io.WriteString(l.out, text); err != nil {
		return &writeError{err}
	}
	return nil
}

// String is the line for people. What follows a line end is indented.
func (l logLine) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %-5s", l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Level)
	if l.Function != "" {
		out.WriteString(" " + l.Function)
	}
	if l.Flow != "" {
		out.WriteString(" [" + l.Flow + "]")
	}
	out.WriteString(" " + strings.ReplaceAll(strings.TrimRight(printable(l.Text), "\n"), "\n", "\n  ") + "\n")
	return out.String()
}
