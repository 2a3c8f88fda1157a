package admin_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
)

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestCalls makes the calls one after the other, on one server.
func TestCalls(t *testing.T) {
	f := start(t)
	archive := base64Of("tar")
	for _, test := range []struct {
		name, method, path, body string
		key                      auth.Key
		status                   int
		want                     string // part of the body
	}{
		{"stats", "GET", "stats", "", standardKey, 200, `{"flows":[{"name":"resize-images","stats":{"received":3,`},
		{"stats of functions", "GET", "stats", "", standardKey, 200, `"functions":[{"name":"default/resize","stats":{"calls":7,`},
		{"stats of queues", "GET", "stats", "", standardKey, 200, `"queues":[{"name":"images","stats":{"sent":10,`},

		{"functions of the account", "GET", "functions", "", otherKey, 200, `{"functions":[{"name":"other/greet","owner_file":"","definition":{"name":"other/greet","runtime":"node"},"live":"3f9c","versions":[],"history":[],"state":"ready",`},
		{"functions of all", "GET", "functions", "", adminKey, 200, `{"functions":[{"name":"default/resize",`},
		{"function", "GET", "functions/default/resize", "", standardKey, 200, `"timeout":"1m0s","env":{"TOKEN":"***"}`},
		{"another's function", "GET", "functions/default/resize", "", otherKey, 404, `"message":"there is no function default/resize"`},
		{"deploy", "PUT", "functions/default/new", `{"definition":{"runtime":"python","timeout":"90s"},"archive":"` + archive + `"}`, adminKey, 200, `{"name":"default/new","owner_file":"","definition":{"name":"default/new","runtime":"python","timeout":"1m30s"}`},
		{"deploy with a standard key", "PUT", "functions/default/new", `{}`, standardKey, 403, `this needs an admin key`},
		{"deploy what does not load", "PUT", "functions/default/new", `{"definition":{"runtime":"python"},"archive":"` + base64Of("broken") + `"}`, adminKey, 400, `"message":"SyntaxError: invalid syntax (main.py, line 1)"`},
		{"deploy under another name", "PUT", "functions/default/new", `{"definition":{"name":"default/old","runtime":"python"},"archive":""}`, adminKey, 400, `"faults":[{"path":"name","message":"\"default/old\" is not the name in the path, \"default/new\": leave it out"}]`},
		{"deploy what was shown", "PUT", "functions/default/new", `{"definition":{"runtime":"python","env":{"A":"***"}},"archive":""}`, adminKey, 400, `"path":"env.A"`},
		{"build", "PUT", "functions/default/new?live=false", `{"definition":{"runtime":"python"},"archive":"` + archive + `"}`, adminKey, 200, `"versions":[{"version":"b111","created":"0001-01-01T00:00:00Z","runtime":"python"},`},
		{"build with a standard key", "PUT", "functions/default/new?live=false", `{}`, standardKey, 403, `this needs an admin key`},
		{"build what does not load", "PUT", "functions/default/new?live=false", `{"definition":{"runtime":"python"},"archive":"` + base64Of("broken") + `"}`, adminKey, 400, `SyntaxError`},
		{"build perhaps", "PUT", "functions/default/new?live=perhaps", `{"definition":{"runtime":"python"},"archive":""}`, adminKey, 400, `"message":"live=perhaps: `},
		{"deploy live", "PUT", "functions/default/new?live=true", `{"definition":{"runtime":"python","timeout":"90s"},"archive":"` + archive + `"}`, adminKey, 200, `"versions":[]`},
		{"versions", "GET", "functions/default/resize/versions", "", standardKey, 200, `{"versions":[]}`},
		{"versions of another's", "GET", "functions/default/resize/versions", "", otherKey, 404, `"message":"there is no function default/resize"`},
		{"version", "GET", "functions/default/resize/versions/1.2.*", "", standardKey, 200, `{"version":"3f9c","created":"0001-01-01T00:00:00Z","runtime":"python","live":true,"aliases":["stable"]}`},
		{"version of another's", "GET", "functions/default/resize/versions/3f9c", "", otherKey, 404, `"message":"there is no function default/resize"`},
		{"no version", "GET", "functions/default/resize/versions/2", "", standardKey, 404, `has no version \"2\"`},
		{"publish", "POST", "functions/default/resize/versions", `{"version_type":"minor","private":true,"release_notes":"n","sample_input":"{}","sample_output":"` + strings.Repeat("o", 1<<20) + `"}`, adminKey, 200, `"semantic_version":"minor","published_by":"default","live":true,"aliases":["stable"],"release_notes":"n","sample_input":"{}","sample_output":"1048576"}`},
		{"publish another", "POST", "functions/default/resize/versions", `{"version":"2","version_type":"minor"}`, adminKey, 404, `has no version`},
		{"publish with a standard key", "POST", "functions/default/resize/versions", `{"version_type":"minor"}`, standardKey, 403, `this needs an admin key`},
		{"publish as a patch", "POST", "functions/default/resize/versions", `{"version_type":"patch"}`, adminKey, 400, `"faults":[{"path":"version_type","message":"want major, minor or revision"}]`},
		{"publish again", "POST", "functions/default/resize/versions", `{}`, adminKey, 409, `is published already, as 1.0.0`},
		{"publish something else", "POST", "functions/default/resize/versions", `{"type":"minor"}`, adminKey, 400, `"path":"type","message":"there is no such field"`},
		{"remove a version", "DELETE", "functions/default/resize/versions/3f9c", "", adminKey, 204, ``},
		{"remove a version with a standard key", "DELETE", "functions/default/resize/versions/3f9c", "", standardKey, 403, `this needs an admin key`},
		{"remove no version", "DELETE", "functions/default/resize/versions/9", "", adminKey, 404, `has no version`},
		{"set an alias", "PUT", "functions/default/resize/aliases/stable", `{"version":"1.2.*"}`, adminKey, 200, `"aliases":{"stable":"3f9c"}`},
		{"set an alias with a standard key", "PUT", "functions/default/resize/aliases/stable", `{"version":"3f9c"}`, standardKey, 403, `this needs an admin key`},
		{"set live", "PUT", "functions/default/resize/aliases/live", `{"version":"3f9c"}`, adminKey, 400, `moves by a deploy`},
		{"set an alias to nothing", "PUT", "functions/default/resize/aliases/stable", `{"version":""}`, adminKey, 400, `"path":"version"`},
		{"set an alias to no version", "PUT", "functions/default/resize/aliases/stable", `{"version":"9"}`, adminKey, 404, `has no version`},
		{"delete an alias", "DELETE", "functions/default/resize/aliases/stable", "", adminKey, 204, ``},
		{"delete an alias with a standard key", "DELETE", "functions/default/resize/aliases/stable", "", standardKey, 403, `this needs an admin key`},
		{"delete an alias that is used", "DELETE", "functions/default/resize/aliases/used", "", adminKey, 409, `default/resize@used is called by the flows a, b`},
		{"roll back", "POST", "functions/default/resize/rollback", ``, adminKey, 200, `{"live":"3f9c","previous":"81aa","changed":true,"warning":"in a file","function":{"name":"default/resize",`},
		{"roll back to", "POST", "functions/default/resize/rollback", `{"to":"3f9c"}`, adminKey, 200, `"env":{"TOKEN":"***"}`},
		{"roll back to no version", "POST", "functions/default/resize/rollback", `{"to":"9"}`, adminKey, 404, `has no version`},
		{"roll back with a standard key", "POST", "functions/default/resize/rollback", `{}`, standardKey, 403, `this needs an admin key`},
		{"roll back another's", "POST", "functions/nobody/resize/rollback", `{}`, adminKey, 404, `there is no function nobody/resize`},
		{"deploy with faults", "PUT", "functions/default/new", `{"definition":{"runtime":"cobol","timeout":"13h"},"archive":""}`, adminKey, 400, `"message":"2 faults, the first: runtime: \"cobol\" is not one of python, node, exec, go, wasm, http","faults":[{"path":"runtime",`},
		{"set a secret", "PUT", "functions/default/resize/secrets/TOKEN", `{"value":"s3cr3t","description":"of the store"}`, adminKey, 200, `{"name":"TOKEN","description":"of the store","updated":"2026-01-31T00:00:00Z"}`},
		{"set a secret with a standard key", "PUT", "functions/default/resize/secrets/TOKEN", `{"value":"s3cr3t"}`, standardKey, 403, `this needs an admin key`},
		{"set a secret to what was shown", "PUT", "functions/default/resize/secrets/TOKEN", `{"value":"***"}`, adminKey, 400, `"path":"value"`},
		{"set a secret without a value", "PUT", "functions/default/resize/secrets/TOKEN", `{}`, adminKey, 400, `expected required property value to be present`},
		{"secrets", "GET", "functions/default/resize/secrets", "", standardKey, 200, `{"secrets":[{"name":"TOKEN","description":"of the store","updated":"2026-01-31T00:00:00Z"}]}`},
		{"no secrets", "GET", "functions/other/greet/secrets", "", otherKey, 200, `{"secrets":[]}`},
		{"another's secrets", "GET", "functions/default/resize/secrets", "", otherKey, 404, `"message":"there is no function default/resize"`},
		{"delete a secret", "DELETE", "functions/default/resize/secrets/TOKEN", "", adminKey, 204, ``},
		{"delete it again", "DELETE", "functions/default/resize/secrets/TOKEN", "", adminKey, 404, `"code":"not_found"`},
		{"delete a function in use", "DELETE", "functions/default/resize", "", adminKey, 409, `"message":"flow resize-images calls default/resize"`},
		{"delete a function", "DELETE", "functions/default/new", "", adminKey, 204, ``},
		{"function that was deleted", "GET", "functions/default/new", "", adminKey, 404, `"code":"not_found"`},

		{"flows", "GET", "flows", "", standardKey, 200, `{"flows":[{"name":"resize-images","from":"queue:images","call":"resize","concurrency":8,"parked":32,"batch":{"size":1,"as":"each"},"payload":"json","retry":{"max_attempts":5,"initial":"1s","max":"5m0s"},"when_busy":"wait","requeue_delay":"30s","ack":"done","max_steps":1000,"owner_file":"","state":"running",`},
		{"flows of another", "GET", "flows", "", otherKey, 200, `{"flows":[]}`},
		{"flow", "GET", "flows/resize-images", "", standardKey, 200, `"features":[],"stats":{"received":3,"calls":0,"handled":0,"published":0,"filtered":0,"retried":0,"released":0,"dead_lettered":0,"lease_lost":0,"in_flight":0,"parked":0,"waiting":0,"stage_seconds":{"wait":0,"run":0,"publish":0}}`},
		{"no flow", "GET", "flows/nothing", "", standardKey, 404, `"message":"there is no flow default/nothing"`},
		{"put a flow", "PUT", "flows/thumbs", `{"from":"queue:a","to":["queue:b"],"call":"resize","batch":{"size":10,"window":"100ms"}}`, standardKey, 200, `{"name":"thumbs","from":"queue:a","call":"resize","to":["queue:b"],"concurrency":8,"parked":320,"batch":{"size":10,"window":"100ms","as":"each"}`},
		{"put a flow with faults", "PUT", "flows/thumbs", `{"from":"a","call":"x","batch":{"size":1001}}`, standardKey, 400, `"faults":[{"path":"from","message":"reference \"a\": want KIND:NAME, for example queue:images"},{"path":"batch.size","message":"1001 is not between 1 and 1000"}]`},
		{"put a flow of a file", "PUT", "flows/owned", `{"from":"queue:a","call":"x"}`, standardKey, 409, `apply that`},
		{"pause", "POST", "flows/thumbs/pause", "", standardKey, 200, `"state":"paused"`},
		{"resume", "POST", "flows/thumbs/resume", "", standardKey, 200, `"state":"running"`},
		{"explain", "GET", "flows/thumbs/explain", "", standardKey, 200, `{"state":"idle","summary":"the queue is empty","reasons":[{"code":"empty","count":0,"text":"nothing to receive"}]}`},
		{"delete a flow", "DELETE", "flows/thumbs", "", standardKey, 204, ``},
		{"delete it again", "DELETE", "flows/thumbs", "", standardKey, 404, `"code":"not_found"`},

		{"put a queue", "PUT", "queues/in", `{"visibility_timeout":"90s","retention":"14d"}`, standardKey, 200, `"settings":{"visibility_timeout":"1m30s"`},
		{"put a queue out of limits", "PUT", "queues/in", `{"visibility_timeout":"13h"}`, standardKey, 400, `"message":"visibility_timeout: is over 12h"`},
		{"queue", "GET", "queues/in", "", standardKey, 200, `"name":"in"`},
		{"pause a queue", "POST", "queues/in/pause", "", standardKey, 200, `"paused":true`},
		{"resume a queue", "POST", "queues/in/resume", "", standardKey, 200, `"paused":false`},
		{"delivery", "PUT", "queues/in/delivery", `{"delivery":"shuffle","duplicate":0.01}`, standardKey, 200, `"delivery":"shuffle","duplicate":0.01`},
		{"delivery out of limits", "PUT", "queues/in/delivery", `{"duplicate":2}`, standardKey, 400, `"faults":[{"path":"duplicate","message":"is over 1"}]`},
		{"move", "POST", "queues/in/move", `{"to":"out","positions":[3,4]}`, standardKey, 200, `{"done":[3,4],"skipped":0,"failed":[]}`},
		{"copy what is found", "POST", "queues/in/copy", `{"to":"out","search":{"states":["in_flight"]},"after":7,"before":90,"dry_run":true,"group":"g"}`, standardKey, 200, `{"done":[],"skipped":100,"failed":[{"position":1,"message":"true true [\"in flight\"] to out as g"}],"next":8,"before":90}`},
		{"move nothing", "POST", "queues/in/move", `{"to":"out"}`, standardKey, 400, `"path":"positions","message":"want either positions or a search; the search {} is all messages"`},
		{"move both", "POST", "queues/in/move", `{"to":"out","positions":[1],"search":{}}`, standardKey, 400, `"path":"positions"`},
		{"move positions after", "POST", "queues/in/move", `{"to":"out","positions":[1],"limit":1}`, standardKey, 400, `"path":"search","message":"is missing: after, before and limit are for a search"`},
		{"move nowhere", "POST", "queues/in/move", `{"positions":[1]}`, standardKey, 400, `"message":"expected required property to to be present"`},
		{"move in no state", "POST", "queues/in/move", `{"to":"out","search":{"states":["lost"]}}`, standardKey, 400, `"path":"search.states","message":"\"lost\": want visible, in_flight or delayed"`},
		{"pause no queue", "POST", "queues/nothing/pause", "", standardKey, 404, `"message":"there is no queue default/nothing"`},
		{"send", "POST", "queues/in/messages", `{"messages":[{"body":"a"},{"body_base64":"/wA=","key":"k","delay":"0s","attributes":[{"name":"n","type":"Number","value":"1"}]}]}`, standardKey, 200, `{"ids":["id-0","id-1"]}`},
		{"send partly", "POST", "queues/in/messages", `{"messages":[{"body":"a"},{"body":"refuse"}]}`, standardKey, 413, `{"error":{"code":"too_large","message":"1 of 2 messages were not stored, the others were","faults":[{"path":"messages[1]","message":"the message is too large"}]}}`},
		{"send what the disk refuses", "POST", "queues/in/messages", `{"messages":[{"body":"burn"}]}`, standardKey, 500, `"faults":[{"path":"messages[0]","message":"internal error: the server's log says more"}]`},
		{"send nothing", "POST", "queues/in/messages", `{"messages":[]}`, standardKey, 400, `"path":"messages"`},
		{"send no body", "POST", "queues/in/messages", `{"messages":[{"key":"a"},{"body":"a","body_base64":"YQ==","delay":"-1s"}]}`, standardKey, 400, `"faults":[{"path":"messages[0]","message":"has neither body nor body_base64: want one"},{"path":"messages[1]","message":"has both body and body_base64: want one"},{"path":"messages[1].delay","message":"is negative"}]`},
		{"send to no queue", "POST", "queues/nothing/messages", `{"messages":[{"body":"a"}]}`, standardKey, 404, `"message":"there is no queue default/nothing"`},
		{"delete a queue with messages", "DELETE", "queues/in", "", standardKey, 409, `"message":"queue in holds 3 messages"`},
		{"delete it with a word", "DELETE", "queues/in?force=perhaps", "", standardKey, 400, `"message":"force=perhaps: `},
		{"delete it by force", "DELETE", "queues/in?force=true", "", standardKey, 204, ``},

		{"dead letters", "GET", "dead-letters", "", standardKey, 200, `{"queues":[{"queue":"images","visible":9,"in_flight":0,"flows":["resize-images"]}]}`},
		{"dead letters of another", "GET", "dead-letters", "", otherKey, 200, `{"queues":[]}`},
		{"read dead letters", "GET", "dead-letters/images-dead?limit=1&after=0", "", standardKey, 200, `"dead_letter":{"type":"timeout","message":"ValueError: no size","function":"default/resize","version":"3f9c","attempts":5}}],"next":1}`},
		{"redrive", "POST", "dead-letters/images-dead/redrive", `{"positions":[1,10]}`, standardKey, 200, `{"moved":[1],"failed":[{"position":10,"message":"there is no message"}]}`},
		{"redrive none", "POST", "dead-letters/images-dead/redrive", `{"positions":[]}`, standardKey, 400, `"path":"positions"`},

		{"apply", "POST", "apply", `{"name":"runnel.yaml","spec":"flows:","archives":{"default/resize":"` + archive + `"}}`, adminKey, 200, `{"changes":[{"kind":"function","name":"default/resize","action":"created","detail":"3 bytes"}]}`},
		{"apply dry", "POST", "apply", `{"name":"runnel.yaml","spec":"flows:","dry_run":true}`, adminKey, 200, `"action":"unchanged"`},
		{"apply of functions with a standard key", "POST", "apply", `{"name":"runnel.yaml","spec":"","archives":{"default/resize":"` + archive + `"}}`, standardKey, 403, `"code":"denied"`},
		{"apply with a standard key", "POST", "apply", `{"name":"runnel.yaml","spec":""}`, standardKey, 200, `"changes":[`},
		{"reload", "POST", "reload", ``, adminKey, 200, `{"changes":[{"kind":"flow","name":"x","action":"changed"}]}`},
		{"reload with a standard key", "POST", "reload", ``, standardKey, 403, `"code":"denied"`},
		{"apply with values", "POST", "apply", `{"name":"runnel.yaml","spec":"env","env":{"A":"a"},"files":{"f":"text"}}`, adminKey, 200, `{"changes":[{"kind":"queue","name":"a","action":"created","detail":"text"}]}`},
		{"apply faults", "POST", "apply", `{"name":"runnel.yaml","spec":"faults"}`, adminKey, 400, `{"error":{"code":"invalid","message":"2 faults, the first: runnel.yaml:12: flows.x.batch.size: 1001 is not between 1 and 1000","faults":[{"path":"flows.x.batch.size","file":"runnel.yaml","line":12,"message":"1001 is not between 1 and 1000"},{"path":"flows.x.from","file":"runnel.yaml","line":14,"message":"there is no queue images"}]}}`},
		{"apply one fault", "POST", "apply", `{"name":"runnel.yaml","spec":"one fault"}`, adminKey, 400, `"message":"runnel.yaml:3: flows.x: is not a flow","faults":[{"path":"flows.x","file":"runnel.yaml","line":3,"message":"is not a flow"}]`},
		{"apply burns", "POST", "apply", `{"name":"runnel.yaml","spec":"burns"}`, adminKey, 500, `{"error":{"code":"internal","message":"internal error: the server's log says more"}}`},

		{"logs", "GET", "logs", "", standardKey, 200, `{"lines":[{"time":"1970-01-01T00:00:02Z","level":"info","function":"default/resize","flow":"resize-images","text":"a\nb"}]}`},
		{"logs of a level", "GET", "logs?level=debug&tail=2", "", standardKey, 200, `"text":"started"`},
		{"logs of no level", "GET", "logs?level=loud", "", standardKey, 400, `"message":"level=loud: want debug, info, warn or error"`},
		{"too many logs", "GET", "logs?tail=1001", "", standardKey, 400, `"message":"tail=1001: want a number from 0 to 1000"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := f.call(t, test.method, "/api/v1/"+test.path, test.key, test.body)
			if resp.StatusCode != test.status || !strings.Contains(body, test.want) {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, body, test.status, test.want)
			}
			if got := resp.Header.Get("Content-Type"); body != "" && got != "application/json" {
				t.Errorf("got Content-Type %q", got)
			}
			if got := resp.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q", got)
			}
		})
	}
	if got := strings.Count(f.log.String(), "disk on fire"); got != 2 {
		t.Errorf("the log has %d lines of the two internal errors:\n%s", got, f.log)
	}
}

// TestSent checks what a message that was sent has become.
func TestSent(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f := start(t)
	body := `{"messages":[{"body":"a","delay":"0s"},{"body_base64":"/wA=","key":"k","delay":"5s","attributes":[{"name":"n","type":"Number","value":"1"},{"name":"b","value_base64":"/w=="}]}]}`
	if resp, text := f.call(t, "POST", "/api/v1/queues/out/messages", standardKey, body, "Traceparent", trace); resp.StatusCode != 200 {
		t.Fatal(resp.Status, text)
	}
	want := []runnel.Message{
		{Body: []byte("a"), Delay: -1, Sender: "000000000000", Trace: trace},
		{
			Body: []byte{0xff, 0}, Key: "k", Delay: 5 * time.Second, Sender: "000000000000", Trace: trace,
			Attributes: []runnel.Attribute{{Name: "n", Type: "Number", Value: []byte("1")}, {Name: "b", Value: []byte{0xff}}},
		},
	}
	if diff := cmp.Diff(want, f.changes.sent["default/out"]); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// TestWrongInput checks that what huma finds wrong is said in our shape.
func TestWrongInput(t *testing.T) {
	f := start(t)
	for _, test := range []struct {
		name, path, body, contentType string
		want                          string // the whole body
	}{
		{"unknown field", "flows/x", `{"from":"queue:a","call":"x","batch":{"siez":3}}`, "", `{"error":{"code":"invalid","message":"batch.siez: there is no such field","faults":[{"path":"batch.siez","message":"there is no such field"}]}}`},
		{"duration as number", "flows/x", `{"from":"queue:a","call":"x","requeue_delay":30}`, "", `{"error":{"code":"invalid","message":"requeue_delay: want a duration as text with its unit, as in \"30s\", \"1m30s\" or \"14d\"","faults":[{"path":"requeue_delay","message":"want a duration as text with its unit, as in \"30s\", \"1m30s\" or \"14d\""}]}}`},
		{"duration without unit", "flows/x", `{"from":"queue:a","call":"x","requeue_delay":"30"}`, "", `{"error":{"code":"invalid","message":"requeue_delay: want a duration`},
		{"wrong types", "flows/x", `{"from":1,"call":"x","concurrency":"many","secret":"hunter2"}`, "", `{"error":{"code":"invalid","message":"3 faults, the first: `},
		{"missing", "flows/x", `{"call":"x"}`, "", `{"error":{"code":"invalid","message":"expected required property from to be present"}}`},
		{"no JSON", "flows/x", `{"from"`, "", `{"error":{"code":"invalid","message":"the body is not JSON, at byte 7: unexpected end of JSON input"}}`},
		{"two values", "flows/x", `{} {}`, "", `{"error":{"code":"invalid","message":"the body is not JSON, at byte 4: invalid character '{' after top-level value"}}`},
		{"no body", "flows/x", ``, "", `{"error":{"code":"invalid","message":"request body is required"}}`},
		{"a form", "flows/x", `a=b`, "application/x-www-form-urlencoded", `{"error":{"code":"invalid","message":"want a body in JSON, with Content-Type: application/json"}}`},
		{"too large a number", "flows/x", `{"from":"queue:a","call":"x","concurrency":1e30}`, "", `{"error":{"code":"invalid","message":"concurrency: number 1e30 does not fit"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			if test.contentType != "" {
				headers = []string{"Content-Type", test.contentType}
			}
			resp, body := f.call(t, "PUT", "/api/v1/"+test.path, standardKey, test.body, headers...)
			if resp.StatusCode != 400 || !strings.HasPrefix(body, test.want) {
				t.Errorf("got %d %s\nwant 400 %s", resp.StatusCode, body, test.want)
			}
			if strings.Contains(body, "hunter2") {
				t.Error("the answer repeats what was sent")
			}
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("got Content-Type %q", got)
			}
		})
	}
}

// TestBodyLimits checks how much each kind of call reads.
func TestBodyLimits(t *testing.T) {
	f := start(t)
	// A client that waits to be asked for the body hears of the refusal
	// without sending it.
	f.server.Client().Transport.(*http.Transport).ExpectContinueTimeout = 10 * time.Second
	for _, test := range []struct {
		method, path string
		limit        int
	}{
		{"PUT", "flows/x", 64 << 10},
		{"POST", "functions/default/echo/invoke", 16 << 20},
		{"POST", "queues/out/messages", 16 << 20},
		{"PUT", "functions/default/x", 64 << 20},
		{"PUT", "functions/default/x/secrets/A", 512 << 10},
		{"POST", "apply", 64 << 20},
	} {
		t.Run(test.path, func(t *testing.T) {
			resp, body := f.call(t, test.method, "/api/v1/"+test.path, adminKey, strings.Repeat(" ", test.limit+1), "Expect", "100-continue")
			if want := fmt.Sprintf(`"the body is over %d bytes"`, test.limit); resp.StatusCode != 413 || !strings.Contains(body, want) {
				t.Errorf("got %d %.200s, want 413 %s", resp.StatusCode, body, want)
			}
			resp, body = f.call(t, test.method, "/api/v1/"+test.path, adminKey, "x"+strings.Repeat(" ", test.limit-1), "Expect", "100-continue")
			if resp.StatusCode != 400 {
				t.Errorf("got %d %.200s for the largest body", resp.StatusCode, body)
			}
		})
	}
}

// TestFilter checks filtered pages of dead letters.
func TestFilter(t *testing.T) {
	f := start(t)
	read := func(query string) (status int, positions []int64, next *int64, unfit int, text string) {
		resp, text := f.call(t, "GET", "/api/v1/dead-letters/images-dead?"+query, standardKey, "")
		var page struct {
			Messages []struct{ Position int64 }
			Next     *int64
			Unfit    int
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, m := range page.Messages {
			positions = append(positions, m.Position)
		}
		return resp.StatusCode, positions, page.Next, page.Unfit, text
	}
	for _, test := range []struct {
		name, query string
		want        []int64
		next        int64 // -1: none
	}{
		{"none", "limit=3", []int64{0, 1, 2}, 2},
		{"by type", "limit=3&filter=type%20==%20'timeout'", []int64{1, 3, 5}, 5},
		{"by body", "limit=3&filter=body.size%20>%201995%20and%20body.size%20<%201997&after=1900", []int64{1996}, -1},
		{"many scanned", "limit=1&filter=body.size%20==%201500", nil, 999},
		{"go on", "limit=1&filter=body.size%20==%201500&after=999", []int64{1500}, 1500},
		{"to the end", "filter=body.size%20>%202497&after=2400", []int64{2498, 2499}, -1},
		{"a loop", "limit=1&filter=any(body.tags,%20%23%20==%20'b')%20and%20message%20matches%20'Value.*'%20and%20key%20==%20'k'&after=0", []int64{1}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, got, next, _, text := read(strings.ReplaceAll(strings.ReplaceAll(test.query, ">", "%3E"), "<", "%3C"))
			if status != 200 {
				t.Fatalf("got %d %s", status, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("positions (-want +got):\n%s", diff)
			}
			if (next == nil) != (test.next < 0) || next != nil && *next != test.next {
				t.Errorf("got next in %.300s, want %d", text, test.next)
			}
		})
	}
	if _, got, _, unfit, text := read("limit=1&filter=body.size%20==%201"); len(got) != 1 || unfit != 1 || !strings.Contains(text, `"why":`) {
		t.Errorf("a body that has no fields: got %s", text)
	}
	for _, test := range []struct{ name, filter, want string }{
		{"wrong", "type == ", `"code":"invalid","message":"filter: column 8: unexpected token EOF"`},
		{"unknown name", "colour == 'red'", `filter: column 1: unknown name colour`},
		{"wrong type", "attempts == 'many'", `filter: column 10: `},
		{"no truth", "attempts", `filter: `},
		{"a loop in a loop", "any(body.a, any(#.b, # == 1))", `filter: column 22: a loop within a loop`},
		{"the body in a loop", "any(body.a, # in body.b)", `filter: column 18: body cannot be used within a loop`},
		{"a range", "any(1..1000000, # == 1)", `filter: column 6: the operator .. cannot`},
		{"text that grows", "len(id + id) > 3", `filter: column 8: the operator + cannot`},
		{"a variable", "let a = id; a == ''", `filter: column 5: want one expression`},
		{"a function that grows text", "repeat(id, 1000000) == ''", `filter: `},
		{"a search for each letter", "trim(key, key) == ''", `filter: `},
		{"a sum of a loop", "reduce(body, #acc, 1) == 1", `filter: `},
		{"a pattern from a message", "id matches body", `matches wants its pattern as text`},
		{"too long", strings.Repeat(" ", 1001), `filter: longer than 1000 bytes`},
		{"too many parts", strings.Repeat("not ", 101) + "true", `filter: `},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := "/api/v1/dead-letters/images-dead?filter=" + escape(test.filter)
			resp, body := f.call(t, "GET", req, standardKey, "")
			if resp.StatusCode != 400 || !strings.Contains(body, test.want) {
				t.Errorf("got %d %s\nwant 400 %s", resp.StatusCode, body, test.want)
			}
		})
	}
}

// TestUnsupported checks a server that has queues only.
func TestUnsupported(t *testing.T) {
	f := startDoor(t, admin.Door{Queues: &queues{}})
	for _, path := range []string{"GET functions", "GET functions/a/b", "GET functions/a/b/secrets", "DELETE functions/a/b/secrets/c", "POST functions/default/echo/invoke", "GET flows", "GET flows/x", "GET queues/x", "GET dead-letters", "GET logs"} {
		method, path, _ := strings.Cut(path, " ")
		resp, body := f.call(t, method, "/api/v1/"+path, adminKey, "")
		if resp.StatusCode != http.StatusNotImplemented || !strings.Contains(body, `"code":"unsupported"`) {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
	}
	if _, body := f.call(t, "GET", "/api/v1/stats", adminKey, ""); !strings.HasPrefix(body, `{"flows":[],"functions":[],"queues":[{"name":"images",`) {
		t.Errorf("stats: got %s", body)
	}
	if _, body := f.call(t, "GET", "/api/v1/queues", adminKey, ""); !strings.Contains(body, "images") {
		t.Errorf("queues: got %s", body)
	}
	if f.log.String() != "" {
		t.Errorf("what a server does not have was logged:\n%s", f.log)
	}
}
