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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

// The waits between two tries to reach a server whose stream has ended: the
// first, which doubles, and the last.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

const (
	maxTail    = 1000    // lines in one answer: the server's limit
	maxLogLine = 1 << 20 // bytes of one line of a stream
)

func newLogsCommand() *cobra.Command {
	l := logReader{retry: firstRetry}
	var level, output string
	var tail int
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print what functions print, and what happens to them",
		Long: `Print the last lines that functions have printed, and what happened to their
workers: when, how grave, which function, in which flow, and the text. The server
keeps a bounded number of lines, in memory.

With -f it goes on until Ctrl-C, and connects again when the connection is lost:
no line is printed twice, and none is left out that the server still has.
With -o json each line is an object, with version, worker, invocation and
message id too.`,
		Example: `  runnel logs -f
  runnel logs --function resize --level error --tail 20
  runnel logs -f --flow resize-images -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tail < 0 || tail > maxTail {
				return &usageError{fmt.Sprintf("--tail is a number from 0 to %d", maxTail)}
			}
			switch level {
			case "", "debug", "info", "warn", "error":
			default:
				return &usageError{fmt.Sprintf("--level is debug, info, warn or error, not %q", level)}
			}
			var err error
			if l.json, err = asJSON(output, "text"); err != nil {
				return err
			}
			if l.client, err = newClient(cmd); err != nil {
				return err
			}
			l.out, l.errOut = cmd.OutOrStdout(), cmd.ErrOrStderr()
			l.query = url.Values{"tail": {strconv.Itoa(tail)}}
			if l.function != "" {
				name, err := l.client.functionName(cmd.Context(), l.function)
				if err != nil {
					return err
				}
				l.query.Set("function", name)
			}
			if l.flow != "" {
				l.query.Set("flow", l.flow)
			}
			if level != "" {
				l.query.Set("level", level)
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
	f.StringVar(&l.function, "function", "", "only lines of this function, NAME or OWNER/NAME")
	f.StringVar(&l.flow, "flow", "", "only lines of calls by this flow")
	f.StringVar(&level, "level", "", "only lines from this level on: debug, info, warn or error (default info)")
	f.IntVar(&tail, "tail", 100, "begin with so many of the lines that are kept")
	f.StringVarP(&output, "output", "o", "", "`format` of the output: text or json")
	return cmd
}

// logReader prints the lines of a log.
type logReader struct {
	client         *client
	function, flow string
	follow, json   bool
	retry          time.Duration // the first wait before another connection
	query          url.Values
	out, errOut    io.Writer

	// What was printed last, to tell what comes again on a new connection:
	// all lines of the latest time.
	latest  time.Time
	printed map[string]bool
}

// logLine is what is read of a line.
type logLine struct {
	Time     time.Time `json:"time"`
	Level    string    `json:"level"`
	Function string    `json:"function"`
	Flow     string    `json:"flow"`
	Text     string    `json:"text"`
}

// last prints the lines that are there.
func (l *logReader) last(ctx context.Context) error {
	var answer struct{ Lines []json.RawMessage }
	if err := l.client.do(ctx, "GET", "/api/v1/logs?"+l.query.Encode(), nil, &answer); err != nil {
		return err
	}
	for _, raw := range answer.Lines {
		if err := l.print(raw); err != nil {
			return err
		}
	}
	return nil
}

// run follows the log until ctx ends, or until it cannot be had.
func (l *logReader) run(ctx context.Context) error {
	l.query.Set("follow", "true")
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
		// What was written meanwhile is among the last lines.
		l.query.Set("tail", strconv.Itoa(maxTail))
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
	return true, readEvents(resp.Body, func(event, data string) error {
		if event != "log" {
			return nil
		}
		return l.print(json.RawMessage(data))
	})
}

// readEvents calls fn with each of the server-sent events until the stream
// ends.
func readEvents(in io.Reader, fn func(event, data string) error) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxLogLine)
	event, data := "", []string(nil)
	for scanner.Scan() {
		line := scanner.Text()
		if line == "" { // the end of an event
			if data != nil {
				if err := fn(event, strings.Join(data, "\n")); err != nil {
					return err
				}
			}
			event, data = "", nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			event = value
		case "data":
			data = append(data, value)
		}
	}
	return scanner.Err()
}

// print prints a line, unless it was printed already.
func (l *logReader) print(raw json.RawMessage) error {
	var line logLine
	if err := json.Unmarshal(raw, &line); err != nil {
		return fmt.Errorf("read a line of the log: %w", err)
	}
	if l.seen(line.Time, string(raw)) {
		return nil
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

// seen says whether a line was printed already, and takes note of it. Two
// lines of one time that are alike to the invocation are one.
func (l *logReader) seen(at time.Time, raw string) bool {
	if !l.follow {
		return false
	}
	switch {
	case at.Before(l.latest):
		return true
	case at.After(l.latest):
		l.latest, l.printed = at, make(map[string]bool)
	}
	if l.printed[raw] {
		return true
	}
	if l.printed == nil {
		l.printed = make(map[string]bool)
	}
	l.printed[raw] = true
	return false
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
