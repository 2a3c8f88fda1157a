package admin_test

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
)

// stream opens a stream of logs and returns its lines.
func (f *fixture) stream(t *testing.T, ctx context.Context, query string, key auth.Key) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", f.server.URL+"/api/v1/logs"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key.Token())
	req.Header.Set("Accept", "text/event-stream")
	resp, err := f.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("got %d %s", resp.StatusCode, got)
	}
	return bufio.NewScanner(resp.Body)
}

// read returns the next n lines that are not empty.
func read(t *testing.T, s *bufio.Scanner, n int) (out []string) {
	t.Helper()
	for len(out) < n && s.Scan() {
		if s.Text() != "" {
			out = append(out, s.Text())
		}
	}
	if len(out) < n {
		t.Fatalf("the stream ended after %q: %v", out, s.Err())
	}
	return out
}

// wait waits for c, to be sent on or closed.
func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for %s", what)
	}
	return v
}

func TestFollow(t *testing.T) {
	f := start(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := f.stream(t, ctx, "?function=resize&flow=resize-images&level=debug&tail=1", standardKey)
	want := []string{
		": runnel logs",
		"event: log",
		`data: {"time":"1970-01-01T00:00:02Z","level":"info","function":"default/resize","flow":"resize-images","text":"a\nb"}`,
	}
	if diff := cmp.Diff(want, read(t, s, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	query := admin.LogQuery{Account: "default", Function: "default/resize", Flow: "resize-images", Level: slog.LevelDebug, Limit: 1}
	if diff := cmp.Diff(query, wait(t, f.logs.following, "the stream to follow")); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	f.logs.lines <- admin.LogLine{Level: "warn", Text: "more"}
	if diff := cmp.Diff([]string{"event: log", `data: {"time":"0001-01-01T00:00:00Z","level":"warn","text":"more"}`}, read(t, s, 2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	leave()
	wait(t, f.logs.left, "the follower to end when the client left")
	if f.server.Close(); f.log.String() != "" {
		t.Errorf("a client that left was logged:\n%s", f.log)
	}
}

// TestSearchLogs gives each parameter.
func TestSearchLogs(t *testing.T) {
	f := start(t)
	f.logs.searched = make(chan admin.LogQuery, 1)
	before := time.Now()
	resp, body := f.call(t, "GET", "/api/v1/logs?function=resize&version=v&invocation=i&message=m&worker=w&flow=x&level=warn&since=15m&until=2036-01-02T03:04:05.5Z&text=a+b&limit=1&cursor=99", standardKey, "")
	if want := `{"lines":[{"time":"1970-01-01T00:00:02Z","level":"info","function":"default/resize","flow":"resize-images","text":"a\nb"}]}`; resp.StatusCode != 200 || strings.TrimSpace(body) != want {
		t.Errorf("got %d %s, want %s", resp.StatusCode, body, want)
	}
	got := wait(t, f.logs.searched, "the search")
	if ago := before.Sub(got.Since); ago < 14*time.Minute || ago > 15*time.Minute {
		t.Errorf("since is %v ago", ago)
	}
	got.Since = time.Time{}
	want := admin.LogQuery{
		Account: "default", Function: "default/resize", Version: "v", Worker: "w", Invocation: "i", Flow: "x", Message: "m", Level: slog.LevelWarn,
		Until: time.Date(2036, 1, 2, 3, 4, 5, 5e8, time.UTC), Text: "a b", Limit: 1, Before: 99,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, body := f.call(t, "GET", "/api/v1/logs?limit=1&level=debug", adminKey, ""); !strings.HasSuffix(strings.TrimSpace(body), `"next":"17"}`) {
		t.Errorf("got %s", body)
	}
	if got := wait(t, f.logs.searched, "the search"); got.Account != "" {
		t.Errorf("an admin searches %+v", got)
	}
}

func TestLogsRefused(t *testing.T) {
	f := start(t)
	for query, want := range map[string]string{
		"limit=0":                           "want a number from 1 to 1000",
		"limit=1001":                        "want a number from 1 to 1000",
		"tail=1001":                         "want a number from 0 to 1000",
		"limit=1&tail=1":                    "limit and tail are the same",
		"since=yesterday":                   "want a time as in 2026-01-02T15:04:05Z, or how long ago as in 15m or 7d",
		"since=-15m":                        "want a time as in",
		"since=1h&until=2h":                 "since is after until",
		"cursor=x":                          "is not one that was answered here",
		"cursor=0":                          "is not one that was answered here",
		"after=1":                           "after is for follow",
		"follow=true&until=1h":              "leave them out to follow",
		"follow=true&cursor=1":              "leave them out to follow",
		"level=loud":                        "want debug, info, warn or error",
		"text=" + strings.Repeat("x", 1001): "text has 1001 bytes",
	} {
		resp, body := f.call(t, "GET", "/api/v1/logs?"+query, standardKey, "")
		if resp.StatusCode != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s", query, resp.StatusCode, body)
		}
	}
}

// TestFollowGoesOn: events have ids, and a client that comes again says the last.
func TestFollowGoesOn(t *testing.T) {
	f := start(t)
	s := f.stream(t, t.Context(), "?after=41&tail=0", standardKey)
	if query := wait(t, f.logs.following, "the stream to follow"); query.After != 41 || query.Limit != 0 {
		t.Errorf("got %+v", query)
	}
	f.logs.lines <- admin.LogLine{ID: "42", Level: "info", Text: "more"}
	if diff := cmp.Diff([]string{": runnel logs", "id: 42", "event: log", `data: {"time":"0001-01-01T00:00:00Z","level":"info","text":"more","id":"42"}`}, read(t, s, 4)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	close(f.stopping)
	wait(t, f.logs.left, "the follower to end")
}

func TestFollowEndsWithServer(t *testing.T) {
	f := start(t)
	s := f.stream(t, t.Context(), "", adminKey)
	if query := wait(t, f.logs.following, "the stream to follow"); query.Account != "" || query.Limit != 100 {
		t.Errorf("an admin follows %+v", query)
	}
	close(f.stopping)
	wait(t, f.logs.left, "the follower to end")
	for s.Scan() {
	}
	if err := s.Err(); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestFollowStandardKeySeesItsAccount(t *testing.T) {
	f := start(t)
	f.stream(t, t.Context(), "?follow=true", otherKey)
	if query := wait(t, f.logs.following, "the stream to follow"); query.Account != "other" {
		t.Errorf("got %+v", query)
	}
	close(f.stopping)
	wait(t, f.logs.left, "the follower to end")
}

// TestFollowHeartbeat checks that a silent stream says that it is alive.
func TestFollowHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logs{lines: make(chan admin.LogLine), following: make(chan admin.LogQuery, 1), left: make(chan struct{})}
		stopping := make(chan struct{})
		door := admin.Door{
			Auth: &auth.Authenticator{Any: true}, Queues: &queues{}, Logs: l, Stopping: stopping,
			Log: slog.New(slog.DiscardHandler),
		}
		resp := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			defer close(done)
			door.Handler().ServeHTTP(resp, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/logs?follow=true&tail=0", nil))
		}()
		synctest.Wait()
		time.Sleep(46 * time.Second) //nolint:forbidigo // the bubble's clock
		close(stopping)
		<-done
		if got := strings.Count(resp.Body.String(), ": alive\n\n"); got != 3 {
			t.Errorf("got %d heartbeats in 46 s:\n%s", got, resp.Body)
		}
	})
}
