package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// letter is a dead letter as the API has it.
func letter(position int, body string) string {
	return fmt.Sprintf(`{"position": %d, "id": "id-%d", "state": "visible", "sent": "2026-01-02T03:00:00Z", "receives": 5, "body": %q, "attributes": [{"name": "a", "type": "String", "value": "x\u001b"}],
		"dead_letter": {"source": "queue:images", "type": "error", "message": "ValueError: no\nimage", "stack": "Traceback:\n  line 2\n", "flow": "resize-images", "function": "default/resize", "version": "3f9c",
		"attempts": 5, "first": "2026-01-02T03:04:05Z", "last": "2026-01-02T03:05:05Z"}}`, position, position, body)
}

const deadPath = "GET /api/v1/dead-letters/images-dead?"

// query is the path of a list with these parameters.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return deadPath + values.Encode()
}

func TestDLQLs(t *testing.T) {
	by := resources()
	// A page that a filter leaves nothing of is not the end.
	by[query("limit", "100")] = `{"messages": [` + letter(3, "{}") + `], "next": 3}`
	by[query("limit", "100", "after", "3")] = `{"messages": [], "next": 9}`
	by[query("limit", "100", "after", "9")] = `{"messages": [` + letter(12, "{}") + `]}`
	by[query("limit", "1")] = by[query("limit", "100")]
	by[query("limit", "1", "after", "3")] = by[query("limit", "100", "after", "9")]
	by[query("limit", "100", "filter", `type == "x"`)] = `{"messages": [], "unfit": 2, "why": "no field x"}`
	by["GET /api/v1/dead-letters/old?limit=100"] = `{"messages": []}`
	startAPI(t, by)
	last := strings.ReplaceAll(localTime(t, "2026-01-02T03:05:05Z"), " ", "T")
	want := []string{
		"position  id     last                 attempts  type   message",
		"3         id-3   " + last + "  5         error  ValueError: no image",
		"12        id-12  " + last + "  5         error  ValueError: no image",
	}
	for _, name := range []string{"images-dead", "resize-images", "queue:images-dead"} { // the flow will do
		if diff := cmp.Diff(want, mustRun(t, "", "dlq", "ls", name).lines()); diff != "" {
			t.Errorf("dlq ls %s (-want +got):\n%s", name, diff)
		}
	}
	out := mustRun(t, "", "dlq", "ls", "images-dead", "--limit", "1", "-o", "json")
	if len(out.lines()) == 0 || !strings.Contains(out.stdout.String(), `"id-3"`) || strings.Contains(out.stdout.String(), `"id-12"`) || !strings.Contains(out.stderr.String(), "there are more") {
		t.Errorf("one of two as JSON: %q, %q", &out.stdout, &out.stderr)
	}
	if out = mustRun(t, "", "dlq", "ls", "images-dead", "--filter", `type == "x"`); out.stdout.Len() > 0 || out.stderr.String() != "left out: 2 messages for which the filter cannot be computed, as in: no field x\nno such dead letters in images-dead\n" {
		t.Errorf("none: %q, %q", &out.stdout, &out.stderr)
	}
	// A queue that is no dead-letter queue any more will do too.
	if out = mustRun(t, "", "dlq", "ls", "old"); out.stderr.String() != "no dead letters in old\n" {
		t.Errorf("another queue: %q, %q", &out.stdout, &out.stderr)
	}
	if got, _ := status(t, "dlq", "ls", "--filter", "true"); got != exitUsage {
		t.Errorf("a filter without a queue: status %d", got)
	}
}

func TestDLQShow(t *testing.T) {
	by := resources()
	by[query("limit", "1", "after", "2")] = `{"messages": [` + letter(3, `{"b": 1, "a": [2]}`) + `], "next": 3}`
	by[query("limit", "1", "filter", `id == "id-3"`)] = by[query("limit", "1", "after", "2")]
	by[query("limit", "1", "after", "3")] = `{"messages": [` + letter(12, "{}") + `]}`
	by[query("limit", "1", "filter", `id == "none"`)] = `{"messages": []}`
	by[query("limit", "10")] = `{"messages": [{"position": 0, "id": "x", "state": "visible", "body_base64": "/wA="}, ` + letter(3, "plain\ntext") + `]}`
	startAPI(t, by)
	want := []string{
		"message       id-3",
		"position      3, visible",
		"sent          " + localTime(t, "2026-01-02T03:00:00Z"),
		"reason        error",
		"error         ValueError: no",
		"              image",
		"attempts      5",
		"first         " + localTime(t, "2026-01-02T03:04:05Z"),
		"last          " + localTime(t, "2026-01-02T03:05:05Z"),
		"flow          resize-images",
		"function      default/resize",
		"version       3f9c",
		"came from     queue:images",
		"stack:",
		"  Traceback:",
		"    line 2",
		"attributes:",
		"  a (String): x\uFFFD",
		"payload:",
		"  {",
		`    "b": 1,`,
		`    "a": [`,
		"      2",
		"    ]",
		"  }",
	}
	for _, which := range []string{"3", "id-3"} {
		if diff := cmp.Diff(want, mustRun(t, "", "dlq", "show", "resize-images", which).lines()); diff != "" {
			t.Errorf("dlq show %s (-want +got):\n%s", which, diff)
		}
	}
	all := mustRun(t, "", "dlq", "show", "images-dead").stdout.String()
	for _, want := range []string{"none is known: somebody sent it here\n", "2 bytes that are not text", "\n\nmessage       id-3\n", "payload:\n  plain\n  text\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("got\n%s\nwant %q in it", all, want)
		}
	}
	for _, which := range []string{"4", "none"} {
		if got, want := mustFail(t, "", "dlq", "show", "images-dead", which), "there is no message "+which+" in images-dead: runnel dlq ls images-dead lists them"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

const redriveCall = "POST /api/v1/dead-letters/images-dead/redrive"

func TestRedrive(t *testing.T) {
	by := resources()
	by[query("limit", "100")] = `{"messages": [` + letter(3, "{}") + `], "next": 3}`
	by[query("limit", "100", "after", "3")] = `{"messages": [` + letter(12, "{}") + `, ` + letter(13, "{}") + `]}`
	by[query("limit", "100", "filter", `id in ["id-12","gone"]`)] = `{"messages": [` + letter(12, "{}") + `]}`
	by[query("limit", "100", "filter", "false")] = `{"messages": []}`
	by[redriveCall] = `{"moved": [3, 12], "failed": [{"position": 13, "message": "it is in flight"}]}`
	f := startAPI(t, by)

	got, text := status(t, "dlq", "redrive", "resize-images", "--all", "--to", "queue:slow")
	if got != exitFailed || text != "runnel: 1 message not moved\n" {
		t.Errorf("status %d, %q", got, text)
	}
	out, err := try(t.Context(), nil, "dlq", "redrive", "images-dead", "--id", "7", "--id", "id-12", "--id", "gone")
	if err == nil || out.stdout.String() != "moved 2, failed 2\n" ||
		out.stderr.String() != "gone is not moved: it is not there: runnel dlq ls images-dead lists what is\n13 is not moved: it is in flight\n" {
		t.Errorf("got %v, %q, %q", err, &out.stdout, &out.stderr)
	}
	out = mustRun(t, "", "dlq", "redrive", "images-dead", "--filter", "false")
	if out.stdout.String() != "moved 0, failed 0\n" || out.stderr.String() != "no such dead letters in images-dead\n" {
		t.Errorf("none: %q, %q", &out.stdout, &out.stderr)
	}
	if diff := cmp.Diff([]string{`{"positions":[3,12,13],"to":"slow"}`, `{"positions":[7,12]}`}, f.sent(redriveCall)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	for _, args := range []string{"", "--all --filter true", "--id 1 --all", "--filter=", "--all --rate fast", "--all --rate 0/s", "--all --rate 1/y"} {
		if got, text := status(t, append([]string{"dlq", "redrive", "images-dead"}, strings.Fields(args)...)...); got != exitUsage {
			t.Errorf("redrive %s: status %d, %s", args, got, text)
		}
	}
}

// TestRedriveRate moves one message in a call, no sooner than the rate has it.
func TestRedriveRate(t *testing.T) {
	by := resources()
	by[query("limit", "100")] = `{"messages": [` + letter(1, "{}") + `, ` + letter(2, "{}") + `, ` + letter(3, "{}") + `]}`
	by[redriveCall] = `{"moved": [1], "failed": []}`
	f := startAPI(t, by)
	start := time.Now()
	mustRun(t, "", "dlq", "redrive", "images-dead", "--all", "--rate", "10/s")
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("3 messages took %v, at 10 in a second", took)
	}
	if diff := cmp.Diff([]string{`{"positions":[1]}`, `{"positions":[2]}`, `{"positions":[3]}`}, f.sent(redriveCall)); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "50/s": 20 * time.Millisecond, "50": 20 * time.Millisecond, "120/m": 500 * time.Millisecond, "0.5/s": 2 * time.Second, "1/h": time.Hour, "1000000/s": time.Microsecond,
	} {
		if got, err := parseRate(text); got != want || err != nil {
			t.Errorf("parseRate(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}
