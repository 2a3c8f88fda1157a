package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
)

// logged is a line as the API has it.
func logged(second int, text string) string {
	quoted, _ := json.Marshal(text) // a string always can
	return fmt.Sprintf(`{"time":"2026-01-02T03:04:%02dZ","level":"info","function":"default/resize","flow":"resize-images","text":%s}`, second, quoted)
}

func TestLogs(t *testing.T) {
	by := resources()
	by["GET /api/v1/logs?function=default%2Fresize&level=warn&limit=2"] = `{"lines": [` + logged(1, "one\u001b[31m\nmore") + `, {"time":"2026-01-02T03:04:02Z","level":"error","text":"two"}], "next": "17"}`
	startAPI(t, by)
	at := localTime(t, "2026-01-02T03:04:01Z")
	want := []string{
		at + ".000 info  default/resize [resize-images] one\uFFFD[31m", "  more",
		localTime(t, "2026-01-02T03:04:02Z") + ".000 error two",
	}
	args := []string{"logs", "--function", "resize", "--tail", "2", "--level", "warn"}
	if diff := cmp.Diff(want, mustRun(t, "", args...).lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got := mustRun(t, "", append(args, "-o", "json")...).lines(); len(got) != 2 || !strings.HasPrefix(got[1], `{"time":`) {
		t.Errorf("as JSON: %q", got)
	}
	for args, want := range map[string]string{
		"-n 100001":         "--tail is a number from 0 to 100000",
		"-f -n 1001":        "--tail is a number from 0 to 1000",
		"-n -1":             "--tail is a number from 0 to 100000",
		"--level loud":      `--level is debug, info, warn or error, not "loud"`,
		"-o yaml":           "yaml",
		"-f --until 1m":     "leave it out, or -f",
		"--since yesterday": "--since yesterday: want a time as in 2026-01-02T15:04:05Z, or how long ago as in 15m or 7d",
		"--until -1m":       "--until -1m: want a time",
		"--invocation=":     "--invocation is empty",
		"a --function b":    "given twice",
		"@v1":               "want NAME, or NAME@VERSION",
		"resize@":           "want NAME, or NAME@VERSION",
	} {
		if got, line := status(t, append([]string{"logs"}, strings.Fields(args)...)...); got != exitUsage || !strings.Contains(line, want) {
			t.Errorf("runnel logs %s: status %d, %s", args, got, line)
		}
	}
}

// TestLogsQuery gives each flag, and prints more than one page, the oldest
// first.
func TestLogsQuery(t *testing.T) {
	by := resources()
	by["GET /api/v1/logs?flow=x&function=default%2Fresize&invocation=i&level=info&limit=1000&message=m&since=15m&text=a+b&until=2026-01-02T03%3A04%3A05Z&version=0ab&worker=w1"] = `{"lines": [` + logged(2, "two") + `,` + logged(3, "three") + `], "next": "17"}`
	by["GET /api/v1/logs?cursor=17&flow=x&function=default%2Fresize&invocation=i&level=info&limit=1000&message=m&since=15m&text=a+b&until=2026-01-02T03%3A04%3A05Z&version=0ab&worker=w1"] = `{"lines": [], "next": "9"}`
	by["GET /api/v1/logs?cursor=9&flow=x&function=default%2Fresize&invocation=i&level=info&limit=1000&message=m&since=15m&text=a+b&until=2026-01-02T03%3A04%3A05Z&version=0ab&worker=w1"] = `{"lines": [` + logged(1, "one") + `]}`
	startAPI(t, by)
	got := mustRun(t, "", "logs", "resize@0ab", "-n", "1500", "--flow", "x", "--invocation", "i", "--level", "info", "--message", "m", "--worker", "w1",
		"--since", "15m", "--until", "2026-01-02T03:04:05Z", "--grep", "a b", "--json").lines()
	if diff := cmp.Diff([]string{logged(1, "one"), logged(2, "two"), logged(3, "three")}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// lineWriter takes note of lines and calls seen for each write.
type lineWriter struct {
	text bytes.Buffer
	seen func(all string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	w.seen(w.text.String())
	return n, err
}

// TestFollow loses the connection twice: it goes on after the line that it
// printed last, and the end is the interrupt's.
func TestFollow(t *testing.T) {
	streams := []string{
		": runnel logs\n\n", // none is there yet
		"id: 7\nevent: log\ndata: " + logged(1, "one") + "\n\nid: 8\nevent: log\ndata: " + logged(2, "two") + "\n\n: alive\n\n",
		"status 503",
		// A notice has no id.
		"id: 9\nevent: log\ndata: " + logged(2, "two again") + "\n\nevent: log\ndata: " + logged(2, "notice") + "\n\nevent: other\ndata: {}\n\n",
		"id: 10\nevent: log\ndata: " + logged(3, "three") + "\n\n",
	}
	var queries []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := len(queries)
		queries = append(queries, r.URL.RawQuery)
		if n < len(streams) && streams[n] == "status 503" {
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"error": {"code": "unavailable", "message": "the server is stopping"}}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if n < len(streams) {
			_, _ = io.WriteString(w, streams[n])
		}
	}))
	defer s.Close()
	ctx, stop := context.WithTimeout(t.Context(), deadline)
	defer stop()
	out := &lineWriter{seen: func(all string) {
		if strings.HasSuffix(all, "three\n") {
			stop()
		}
	}}
	var errOut bytes.Buffer
	l := logReader{client: clientOf(s.URL), follow: true, retry: time.Millisecond, tail: 7, query: url.Values{"since": {"1m"}}, out: out, errOut: &errOut}
	if err := l.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("run = %v, want that it was interrupted", err)
	}
	var got []string
	for line := range strings.Lines(out.text.String()) {
		got = append(got, strings.TrimSpace(line[strings.LastIndex(line, "]")+1:]))
	}
	if diff := cmp.Diff([]string{"one", "two", "two again", "notice", "three"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"follow=true&since=1m&tail=7", "follow=true&since=1m&tail=1000",
		"after=8&follow=true&tail=1000", "after=8&follow=true&tail=1000", "after=9&follow=true&tail=1000",
	}, queries); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	if !strings.Contains(errOut.String(), "is lost") {
		t.Errorf("standard error has %q", &errOut)
	}
}

// TestFollowRefused ends at answers that would be the same again.
func TestFollowRefused(t *testing.T) {
	noEnvironment(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, `{"error": {"code": "denied", "message": "not yours"}}`)
	}))
	defer s.Close()
	if _, err := try(t.Context(), nil, "logs", "-f", "--url", s.URL); runnel.CodeOf(err) != runnel.CodeDenied {
		t.Errorf("got %v", err)
	}
	if line := mustFail(t, "", "logs", "-f", "--url", "http://127.0.0.1:1"); !strings.Contains(line, "no server answers") {
		t.Errorf("got %s", line)
	}
}

func TestReadEvents(t *testing.T) {
	var got []string
	in := ": comment\n\nevent: log\ndata: a\ndata: b\nid: 7\n\ndata:c\r\n\r\nevent: log\n\ndata: cut off"
	err := readEvents(strings.NewReader(in), func(event, id, data string) error {
		got = append(got, event+id+"="+data)
		return nil
	})
	if diff := cmp.Diff([]string{"log7=a\nb", "=c"}, got); diff != "" || err != nil {
		t.Errorf("events (-want +got), %v:\n%s", err, diff)
	}
}
