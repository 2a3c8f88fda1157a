package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/server"
)

// logged are the lines of a query.
func (r *running) logged(t *testing.T, query string) []admin.LogLine {
	t.Helper()
	status, text := r.call(t, "GET", "/api/v1/logs?"+query, nil, "")
	var out struct{ Lines []admin.LogLine }
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
		t.Fatalf("logs?%s: %d %s", query, status, text)
	}
	return out.Lines
}

func textsOf(lines []admin.LogLine) (out []string) {
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}

// TestLogs has a function print, and a flow give up a message, and finds the
// lines by what is in them, before and after a restart.
func TestLogs(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	cfg.Dev = false
	r := start(t, cfg)
	adminKey, standard := r.Keys()[0], r.Keys()[1]
	r.key = adminKey
	for _, name := range []string{"default/mine", "team/spy"} {
		code := archive(t, file("main.py", "def handler(event):\n    print('of "+name+"', event)\n    assert event != 'bad'\n"))
		if status, out := r.ask(t, "PUT", "/api/v1/functions/"+name, map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": code}); status != 200 {
			t.Fatalf("deploy: %d %+v", status, out.Error)
		}
	}
	invoke := func(name, payload string) string {
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.URL()+"/api/v1/functions/"+name+"/invoke", strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+r.key.Token)
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != 204 {
			t.Fatalf("invoke: %d", resp.StatusCode)
		}
		return resp.Header.Get("Runnel-Invocation")
	}
	first, second := invoke("default/mine", "1"), invoke("default/mine", "2")
	invoke("team/spy", "3")
	for _, queue := range []string{"in", "dead"} {
		if status, out := r.ask(t, "PUT", "/api/v1/queues/"+queue, map[string]any{}); status != 200 {
			t.Fatalf("put a queue: %d %+v", status, out.Error)
		}
	}
	flow := map[string]any{"from": "queue:in", "call": "mine", "dead_letter": "queue:dead", "retry": map[string]any{"max_attempts": 1}}
	if status, out := r.ask(t, "PUT", "/api/v1/flows/f", flow); status != 200 {
		t.Fatalf("put a flow: %d %+v", status, out.Error)
	}
	if status, out := r.ask(t, "POST", "/api/v1/queues/in/messages", map[string]any{"messages": []any{map[string]any{"body": `"bad"`}}}); status != 200 {
		t.Fatalf("send: %d %+v", status, out.Error)
	}
	a := &app{t: t, running: r}
	var failed []admin.LogLine
	a.until("the flow tells of the message", func() bool {
		failed = r.logged(t, "flow=f&level=warn&text=dead")
		return len(failed) > 0
	})

	look := func() {
		t.Helper()
		r.key = adminKey
		for query, want := range map[string][]string{
			"function=mine&invocation=" + first:                             {"of default/mine 1"},
			"invocation=" + second:                                          {"of default/mine 2"},
			"text=of+team&function=team/spy":                                {"of team/spy 3"},
			"function=mine&flow=f&level=info&text=of+":                      {"of default/mine bad"},
			"message=" + url.QueryEscape(failed[0].Message) + "&level=warn": textsOf(failed),
			"function=mine&text=of+&until=1h":                               nil,
			"function=mine&text=of+&since=1h&limit=1":                       {"of default/mine bad"},
			"function=mine&text=of+&worker=nobody":                          nil,
		} {
			if diff := cmp.Diff(want, textsOf(r.logged(t, query))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", query, diff)
			}
		}
		line := r.logged(t, "invocation="+first)[0]
		if got := r.logged(t, "text=of+&function=mine&version="+line.Version[:8]); len(got) != 3 {
			t.Errorf("of the version are %q", textsOf(got))
		}
		r.key = standard
		for _, query := range []string{"", "function=team/spy", "text=spy"} {
			if got := textsOf(r.logged(t, query)); strings.Contains(strings.Join(got, "\n"), "team/spy") {
				t.Errorf("another account sees %q", got)
			}
		}
		r.key = adminKey
	}
	look()
	known := r.logged(t, "function=mine&limit=1")[0]
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, server.Config{Dir: cfg.Dir, Addr: cfg.Addr, Log: cfg.Log})
	look()

	// A client of before goes on where it was.
	invoke("default/mine", "4")
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.URL()+"/api/v1/logs?follow=true&function=mine&text=of+", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key.Token)
	req.Header.Set("Last-Event-ID", known.ID)
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var data string
	for buf := make([]byte, 4096); !strings.Contains(data, "mine 4"); {
		n, err := resp.Body.Read(buf)
		if data += string(buf[:n]); err != nil {
			t.Fatalf("%v after %s", err, data)
		}
	}
	if strings.Count(data, "event: log") != 1 {
		t.Errorf("got %s, want the one line that is new", data)
	}

	_, metrics := r.call(t, "GET", "/metrics", nil, "")
	for _, want := range []string{
		`runnel_log_lines_total{function="default/mine"} `, `runnel_log_lines_dropped_total{function="default/mine"} 0`,
		"runnel_log_disk_failing 0", "runnel_log_lines_unwritten_total 0", "runnel_log_functions_left_out 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if strings.Contains(metrics, "runnel_log_disk_bytes 0") {
		t.Error("nothing is on disk")
	}
}

// TestLogSettings are refused where nothing could be kept.
func TestLogSettings(t *testing.T) {
	cfg := config(t)
	cfg.LogBytes, cfg.LogAge = 1000, 1
	err := cfg.Validate()
	if err == nil || !strings.Contains(err.Error(), "log_bytes: 1000 is too little: want at least 1MiB") || !strings.Contains(err.Error(), "log_age: 1ns is too short") {
		t.Errorf("got %v", err)
	}
}
