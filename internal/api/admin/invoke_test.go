package admin_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
)

func TestInvoke(t *testing.T) {
	const (
		mediaJSON  = "application/json"
		mediaText  = "text/plain"
		mediaBytes = "application/octet-stream"
	)
	f := start(t)
	for _, test := range []struct {
		name, function, contentType, body string
		key                               auth.Key
		status                            int
		wantType, want                    string // the whole body
	}{
		{"JSON", "echo", mediaJSON, `{"a": 1}`, standardKey, 200, mediaJSON, `{"a": 1}`},
		{"JSON unless said", "echo", "", `[1]`, standardKey, 200, mediaJSON, `[1]`},
		{"nothing", "echo", "", ``, standardKey, 200, mediaJSON, `null`},
		{"text", "echo", mediaText + "; charset=utf-8", "é", standardKey, 200, mediaText + "; charset=utf-8", "é"},
		{"bytes", "echo", mediaBytes, "\xff\x00", standardKey, 200, mediaBytes, "\xff\x00"},
		{"version", "echo?version=81aa", "", `1`, standardKey, 200, mediaJSON, `1`},
		{"none", "none", "", `1`, standardKey, 204, "", ``},
		{"no JSON", "echo", mediaJSON, `{"a"`, standardKey, 400, mediaJSON, `{"error":{"code":"invalid","message":"the body is not JSON: send other text as text/plain, bytes as application/octet-stream"}}`},
		{"no text", "echo", mediaText, "\xff", standardKey, 400, mediaJSON, `{"error":{"code":"invalid","message":"the body is not text in UTF-8: send bytes as application/octet-stream"}}`},
		{"a form", "echo", "application/x-www-form-urlencoded", `a=b`, standardKey, 400, mediaJSON, `{"error":{"code":"invalid","message":"Content-Type: application/x-www-form-urlencoded: want application/json, text/plain or application/octet-stream"}}`},
		{"fails", "fails", "", `1`, standardKey, 422, mediaJSON, `{"error":{"code":"function_failed","message":"ValueError: no size","function_error":{"kind":"error","name":"ValueError","message":"no size","stack":"main.py:3"}}}`},
		{"times out", "slow", "", `1`, standardKey, 504, mediaJSON, `{"error":{"code":"function_timeout","message":"timeout: no answer within 30s","function_error":{"kind":"timeout","message":"no answer within 30s"}}}`},
		{"rejects", "rejects", "", `1`, standardKey, 422, mediaJSON, `{"error":{"code":"function_failed","message":"rejected: not an image","function_error":{"kind":"rejected","message":"not an image"}}}`},
		{"wants another try", "later", "", `1`, standardKey, 503, mediaJSON, `{"error":{"code":"function_failed","message":"the function asks for another try after 1m30s","function_error":{"kind":"error","message":"retry after 1m30s"}}}`},
		{"busy", "busy", "", `1`, standardKey, 429, mediaJSON, `{"error":{"code":"limit","message":"no worker was free within 5s"}}`},
		{"no workers", "away", "", `1`, standardKey, 503, mediaJSON, `{"error":{"code":"unavailable","message":"no worker starts"}}`},
		{"interrupted", "recycled", "", `1`, standardKey, 503, mediaJSON, `{"error":{"code":"unavailable","message":"the call was interrupted: its worker is being replaced"}}`},
		{"fault of ours", "burns", "", `1`, standardKey, 500, mediaJSON, `{"error":{"code":"internal","message":"internal error: the server's log says more"}}`},
		{"no such function", "nothing", "", `1`, standardKey, 404, mediaJSON, `{"error":{"code":"not_found","message":"there is no function default/nothing"}}`},
		{"another's function", "echo", "", `1`, otherKey, 404, mediaJSON, `{"error":{"code":"not_found","message":"there is no function default/echo"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := "/api/v1/functions/default/" + test.function
			if name, query, ok := strings.Cut(path, "?"); ok {
				path = name + "/invoke?" + query
			} else {
				path += "/invoke"
			}
			var headers []string
			if test.contentType != "" {
				headers = []string{"Content-Type", test.contentType}
			}
			resp, body := f.call(t, "POST", path, test.key, test.body, headers...)
			if body = strings.TrimSuffix(body, "\n"); resp.StatusCode != test.status || body != test.want {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, body, test.status, test.want)
			}
			if got := resp.Header.Get("Content-Type"); got != test.wantType {
				t.Errorf("got Content-Type %q, want %q", got, test.wantType)
			}
			called := test.status < 300 || strings.Contains(test.want, "function_")
			if got := resp.Header.Get("Runnel-Version") + " " + resp.Header.Get("Runnel-Invocation"); called != (got == "3f9c inv-1") {
				t.Errorf("got version and invocation %q", got)
			}
			if got := resp.Header.Get("Retry-After"); (got != "") != (test.status == 429 || test.status == 503) {
				t.Errorf("got Retry-After %q with status %d", got, test.status)
			}
		})
	}
	if got := strings.Count(f.log.String(), "disk on fire"); got != 1 {
		t.Errorf("the log has %d lines of the internal error:\n%s", got, f.log)
	}
	if strings.Contains(f.log.String(), "ValueError") {
		t.Errorf("a failure of the function was logged:\n%s", f.log)
	}
}

func TestInvokeTrace(t *testing.T) {
	f := start(t)
	const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, test := range []struct{ header, want string }{
		{valid, valid},
		{"", ""},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", ""},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		{"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ""},
		{"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", ""},
		{"00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", ""},
		{valid + "-more", ""},
		{"cc" + valid[2:] + "-more", valid},
		{"cc" + valid[2:] + "more", ""},
	} {
		resp, body := f.call(t, "POST", "/api/v1/functions/default/echo/invoke", standardKey, "{}", "Traceparent", test.header)
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d %s", test.header, resp.StatusCode, body)
		}
		want := admin.InvokeRequest{
			Payload: []byte("{}"), Format: runnel.FormatJSON, Trace: test.want,
			Caller: &runnel.Principal{Account: "default", ID: "000000000000", Permissions: runnel.AllPermissions()},
		}
		if diff := cmp.Diff(want, f.invocations.last); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", test.header, diff)
		}
	}
}
