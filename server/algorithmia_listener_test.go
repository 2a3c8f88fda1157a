package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// listeners is a server with accounts and Python, and the path of default's
// listeners.
type listeners struct {
	*app
	standard *running
	path     string
}

// newListeners runs a server with keys that has the algorithm default/store, in
// Python, which was published publicly once and privately once, and default/fresh,
// which was not.
func newListeners(t *testing.T) *listeners {
	t.Helper()
	needPython(t)
	cfg := config(t)
	cfg.Dev = false
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys := s.Keys()
	r := run(t, s)
	r.key = keys[0]
	l := &listeners{app: &app{t: t, running: r, dir: t.TempDir()}, path: "/v1/users/default/event-listeners"}
	standard := *r
	standard.key = keys[1]
	l.standard = &standard
	r.mustDeploy(t, "default/store", nil)
	if status, text := r.call(t, "POST", "/api/v1/functions/default/store/versions", map[string][]string{"Content-Type": {"application/json"}}, `{"version_type": "minor"}`); status/100 != 2 {
		t.Fatalf("publish: %d %s", status, text)
	}
	r.mustDeploy(t, "default/fresh", nil)
	return l
}

// json makes a call as an account, and decodes the answer.
func (r *running) json(t *testing.T, method, path, body string) (status int, out map[string]any, text string) {
	t.Helper()
	status, text = r.call(t, method, path, map[string][]string{"Content-Type": {"application/json"}}, body)
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return status, out, text
}

// listenerFields are the fields of a listener, in their order.
const listenerFields = "id sourceType sourceURI algoOwner algoName algoVersion algoTimeoutSeconds listenerOwner credentials " +
	"whenBusy requeueDelaySeconds ackMode maxReceives deadLetterQueue enabled flow"

func keysInOrder(text string) string {
	return strings.Join(fieldNames(text), " ")
}

func fieldNames(text string) (out []string) {
	for _, m := range regexp.MustCompile(`"([A-Za-z]+)":`).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestListener takes a listener through its life, by a standard key.
func TestListener(t *testing.T) {
	t.Parallel()
	l := newListeners(t)
	r := l.standard
	url := r.createQueue(t, "images")
	id := strings.Split(url, "/")[3]
	status, text := r.call(t, "GET", l.path, nil, "")
	if status != 200 || text != "[]" {
		t.Fatalf("no listeners: %d %s", status, text)
	}
	body := fmt.Sprintf(`{"sourceType":"AmazonSQS","sourceURI":%q,"algoOwner":"default","algoName":"store","credentials":"arn:aws:iam::1:role/R"}`, url)
	status, made, text := r.json(t, "POST", l.path, body)
	if status != 200 || keysInOrder(text) != listenerFields {
		t.Fatalf("create: %d %s", status, text)
	}
	listener := made["id"].(string)
	want := map[string]any{
		"id": listener, "sourceType": "AmazonSQS", "sourceURI": url, "algoOwner": "default", "algoName": "store", "algoVersion": "latest",
		"algoTimeoutSeconds": 420.0, "listenerOwner": "default", "credentials": "arn:aws:iam::1:role/R",
		"whenBusy": "wait", "requeueDelaySeconds": 300.0, "ackMode": "done", "maxReceives": 10.0,
		"deadLetterQueue": made["flow"].(string) + "-dead", "enabled": true, "flow": "store-" + listener[:8],
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	if ok, _ := regexp.MatchString(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`, listener); !ok {
		t.Errorf("the id is %s", listener)
	}
	one := l.path + "/" + listener
	for _, path := range []string{one, one + "/", strings.ToUpper(one[len(one)-36:])} {
		if !strings.HasPrefix(path, "/") {
			path = l.path + "/" + path
		}
		if status, got, text := r.json(t, "GET", path, ""); status != 200 || !cmp.Equal(got, want) {
			t.Errorf("GET %s: %d %s", path, status, text)
		}
	}
	status, text = r.call(t, "GET", l.path, nil, "")
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 || len(list) != 1 || !cmp.Equal(list[0], want) {
		t.Errorf("list: %d %s, %v", status, text, err)
	}

	// It works: the body is parsed, the answer is dropped, the message is gone.
	r.send(t, url, `"pid"`)
	l.until("it was called", func() bool {
		var f struct{ Stats flowStats }
		_, text := r.call(t, "GET", "/api/v1/flows/"+want["flow"].(string), nil, "")
		return json.Unmarshal([]byte(text), &f) == nil && f.Stats.Handled == 1
	})
	// It is a flow as others are.
	_, text = r.call(t, "GET", "/api/v1/flows", nil, "")
	for _, part := range []string{`"name":"store-`, `"payload":"algorithmia"`, `"call":"default/store@latest"`, `"timeout":"7m0s"`} {
		if !strings.Contains(text, part) {
			t.Errorf("the flows have no %s: %s", part, text)
		}
	}

	// PUT takes what GET answers, with changes.
	made["whenBusy"], made["requeueDelaySeconds"], made["ackMode"], made["maxReceives"] = "requeue", 60, "accepted", 3
	made["algoTimeoutSeconds"], made["algoVersion"], made["enabled"], made["credentials"] = 20, "0.1.0", false, ""
	change, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	status, changed, text := r.json(t, "PUT", one, string(change))
	maps.Copy(want, map[string]any{
		"whenBusy": "requeue", "requeueDelaySeconds": 60.0, "ackMode": "accepted", "maxReceives": 3.0,
		"algoTimeoutSeconds": 20.0, "algoVersion": "0.1.0", "enabled": false, "credentials": "",
	})
	if diff := cmp.Diff(want, changed); status != 200 || diff != "" {
		t.Fatalf("changed: %d %s (-want +got):\n%s", status, text, diff)
	}
	r.send(t, url, "x")
	if _, text := r.call(t, "GET", "/api/v1/flows/"+want["flow"].(string), nil, ""); !strings.Contains(text, `"state":"paused"`) {
		t.Errorf("a disabled one: %s", text)
	}
	// Whether it is enabled stays where nothing is said.
	if status, got, text := r.json(t, "PUT", one, body); status != 200 || got["enabled"] != false || got["ackMode"] != "done" || got["algoVersion"] != "latest" {
		t.Errorf("changed again: %d %s", status, text)
	}
	if status, got, text := r.json(t, "PUT", one, strings.Replace(body, "{", `{"enabled": true, `, 1)); status != 200 || got["enabled"] != true {
		t.Errorf("enabled: %d %s", status, text)
	}

	if status, text := r.call(t, "DELETE", one, nil, ""); status != 200 || text != "" {
		t.Errorf("delete: %d %q", status, text)
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if status, got, text := r.json(t, method, one, body); status != 404 || got["error"].(map[string]any)["code"] == nil {
			t.Errorf("%s of one that is gone: %d %s", method, status, text)
		}
	}
	if id != accountOf(t, l.running) {
		t.Errorf("the account's id is %s", id)
	}
}

// TestListenerRedrive: the queue's own redrive policy is the listener's, unless
// that says otherwise.
func TestListenerRedrive(t *testing.T) {
	t.Parallel()
	l := newListeners(t)
	r := l.standard
	for _, q := range []string{"in", "in-dead", "other"} {
		r.createQueue(t, q)
	}
	if status, out := r.ask(t, "PUT", "/api/v1/queues/in", map[string]any{"dead_letter": map[string]any{"queue": "in-dead", "max_receives": 4}}); status != 200 {
		t.Fatalf("%d %+v", status, out.Error)
	}
	for more, want := range map[string]string{
		``: "4 in-dead", `"maxReceives": 7,`: "7 in-dead", `"deadLetterQueue": "other",`: "4 other",
	} {
		status, got, text := r.json(t, "POST", l.path, `{`+more+`"sourceType":"AmazonSQS","sourceURI":"queue:in","algoOwner":"default","algoName":"store","credentials":""}`)
		if status != 200 || fmt.Sprint(got["maxReceives"], " ", got["deadLetterQueue"]) != want {
			t.Errorf("%s: %d %s, want %s", more, status, text, want)
		}
	}
}

// TestListenerFaults: each fault has its answer, and nothing is made.
func TestListenerFaults(t *testing.T) {
	t.Parallel()
	l := newListeners(t)
	r := l.standard
	url := r.createQueue(t, "images")
	id := strings.Split(url, "/")[3]
	other, err := r.AddAccount(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	theirs := *r
	theirs.key = other
	(&theirs).createQueue(t, "theirs")
	base := map[string]any{"sourceType": "AmazonSQS", "sourceURI": url, "algoOwner": "default", "algoName": "store", "credentials": "c"}
	with := func(pairs ...any) string {
		m := maps.Clone(base)
		for i := 0; i < len(pairs); i += 2 {
			if m[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
				delete(m, pairs[i].(string))
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, test := range []struct {
		name, body string
		code       float64
		want       string
	}{
		{"no JSON", `{`, 2013, "not JSON"},
		{"empty", ``, 2013, "not JSON"},
		{"list", `[]`, 2015, "does not fit"},
		{"wrong type", with("algoTimeoutSeconds", "7"), 2015, "algoTimeoutSeconds"},
		{"fraction", with("algoTimeoutSeconds", 1.5), 2015, "algoTimeoutSeconds"},
		{"unknown field", with("whenBusyy", "wait"), 2015, `unknown field "whenBusyy"`},
		{"nothing said", `{}`, 2015, "sourceType is missing; sourceURI is missing; algoOwner is missing; algoName is missing"},
		{"long", with("credentials", strings.Repeat("x", 256)), 2015, "credentials is longer than 255"},
		{"timeout 0", with("algoTimeoutSeconds", 0), 2015, "between 1 and 43200"},
		{"timeout", with("algoTimeoutSeconds", 43201), 2015, "between 1 and 43200"},
		{"delay", with("requeueDelaySeconds", -1), 2015, "requeueDelaySeconds"},
		{"receives", with("maxReceives", 1001), 2015, "between 1 and 1000"},
		{"busy", with("whenBusy", "drop"), 2015, "wait or requeue"},
		{"ack", with("ackMode", "never"), 2015, "done or accepted"},
		{"Azure", with("sourceType", "AzureSB"), 2015, "AzureSB is not in this release"},
		{"source type", with("sourceType", "Kafka"), 2015, "want AmazonSQS"},
		{"AWS", with("sourceURI", "https://sqs.us-west-2.amazonaws.com/1234/demo"), 2015, "Amazon's, which is not in this release"},
		{"China", with("sourceURI", "https://sqs.cn-north-1.amazonaws.com.cn/1234/demo"), 2015, "not in this release"},
		{"elsewhere", with("sourceURI", "https://example.com/"+id+"/images"), 2015, "neither this server"},
		{"no URL", with("sourceURI", "images"), 2015, "not the URL"},
		{"scheme", with("sourceURI", "file:///etc/passwd"), 2015, "not the URL"},
		{"no path", with("sourceURI", r.URL()+"/images"), 2015, "has no queue"},
		{"other account", with("sourceURI", r.URL()+"/999999999999/theirs"), 2015, "no queue of the account default"},
		{"other ARN", with("sourceURI", "arn:aws:sqs:us-east-1:999999999999:theirs"), 2015, "no queue of the account default"},
		{"ARN", with("sourceURI", "arn:aws:s3:::bucket"), 2015, "not the ARN of a queue"},
		{"no queue", with("sourceURI", "queue:nothing"), 2015, "nothing"},
		{"queue name", with("sourceURI", "queue:../x"), 2015, "not the name"},
		{"no algorithm", with("algoName", "nothing"), 2015, "no algorithm default/nothing"},
		{"algorithm name", with("algoName", "store@live"), 2015, "no algorithm"},
		{"never published", with("algoName", "fresh"), 2015, "a semantic version as in 0.1.0, the hash of a version, or latestPrivate"},
		{"not private", with("algoVersion", "latestPrivate"), 2015, "latestPrivate"},
		{"version", with("algoVersion", "9.9.9"), 2015, "9.9.9"},
		{"dead letters", with("deadLetterQueue", "nothing"), 2015, "nothing"},
		{"own dead letters", with("deadLetterQueue", "images"), 2015, "is the source"},
	} {
		status, got, text := r.json(t, "POST", l.path, test.body)
		failure, _ := got["error"].(map[string]any)
		if status != 400 || failure["code"] != test.code || !strings.Contains(fmt.Sprint(failure["message"]), test.want) || len(fmt.Sprint(failure["id"])) != 36 {
			t.Errorf("%s: %d %s, want code %v and %q", test.name, status, text, test.code, test.want)
		}
	}
	if _, text := r.call(t, "GET", l.path, nil, ""); text != "[]" {
		t.Errorf("there are listeners: %s", text)
	}

	// Who may not: the same for those that exist and those that do not.
	for _, test := range []struct {
		as     *running
		path   string
		status int
	}{
		{&theirs, l.path, 403}, {&theirs, "/v1/users/nobody/event-listeners", 403},
		{r, "/v1/users/other/event-listeners", 403}, {r, "/v1/admin/event-listeners", 403},
		{l.running, "/v1/users/nobody/event-listeners", 404}, {l.running, "/v1/users/other/event-listeners", 200},
		{l.running, "/v1/admin/event-listeners", 200},
		{&running{Server: r.Server, http: r.http}, l.path, 401},
	} {
		if status, text := test.as.call(t, "GET", test.path, nil, ""); status != test.status {
			t.Errorf("GET %s: %d %s, want %d", test.path, status, text, test.status)
		}
	}
	if status, text := theirs.call(t, "POST", "/v1/users/other/event-listeners", nil, with("sourceURI", "queue:theirs", "algoName", "fresh", "algoVersion", "live")); status != 400 || !strings.Contains(text, "no algorithm default/fresh") {
		t.Errorf("an algorithm of others that is not published: %d %s", status, text)
	}
	// A function acts for who called it, and must not connect what is theirs.
	inside := r.asToken(l.environmentOf(t, "default/fresh")["ALGORITHMIA_API_KEY"])
	for _, method := range []string{"GET", "POST"} {
		if status, text := inside.call(t, method, l.path, nil, with()); status != 403 || !strings.Contains(text, "function's own key") {
			t.Errorf("%s by a function: %d %s", method, status, text)
		}
	}
	// A public one is everybody's.
	if status, text := theirs.call(t, "POST", "/v1/users/other/event-listeners", nil, with("sourceURI", "queue:theirs")); status != 200 {
		t.Errorf("a public algorithm of others: %d %s", status, text)
	}
}

// TestListenersOfOthers: flows from other doors are listed, with ids that stay,
// and those of a file are changed there only; pages hold each once.
func TestListenersOfOthers(t *testing.T) {
	t.Parallel()
	l := newListeners(t)
	status, out := l.apply(t, "main", `
queues: {a: {}, b: {}}
flows:
  one: {from: queue:a, call: store@live}
`, nil, false)
	if status != 200 {
		t.Fatalf("apply: %d %+v", status, out.Error)
	}
	r := l.standard
	if status, out := r.ask(t, "PUT", "/api/v1/flows/two", map[string]any{"from": "queue:b", "call": "store", "concurrency": 3}); status != 200 {
		t.Fatalf("put: %d %+v", status, out.Error)
	}
	list := func(path string) (out []map[string]any) {
		t.Helper()
		status, text := l.call(t, "GET", path, nil, "")
		if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		return out
	}
	byFlow := map[any]map[string]any{}
	for _, one := range list(l.path) {
		byFlow[one["flow"]] = one
	}
	one, two := byFlow["one"], byFlow["two"]
	if len(byFlow) != 2 || one["sourceType"] != "RunnelQueue" || one["sourceURI"] != r.URL()+"/"+accountOf(t, l.running)+"/a" ||
		one["algoVersion"] != "live" || one["algoTimeoutSeconds"] != 30.0 || one["listenerOwner"] != "default" || one["maxReceives"] != 5.0 {
		t.Fatalf("listed: %+v", byFlow)
	}
	body := `{"sourceType":"RunnelQueue","sourceURI":"queue:b","algoOwner":"default","algoName":"store","credentials":""}`
	for _, method := range []string{"PUT", "DELETE"} {
		if status, _, text := r.json(t, method, l.path+"/"+one["id"].(string), body); status != 409 || !strings.Contains(text, "declared in main") {
			t.Errorf("%s of a file's: %d %s", method, status, text)
		}
	}
	if status, got, text := r.json(t, "PUT", l.path+"/"+two["id"].(string), body); status != 200 || got["id"] != two["id"] || got["flow"] != "two" || got["sourceURI"] != "queue:b" {
		t.Errorf("change: %d %s", status, text)
	}
	// By the other door it is the same flow still, and what is of no use any more
	// is not told.
	if status, out := r.ask(t, "PUT", "/api/v1/flows/two", map[string]any{"from": "queue:a", "call": "store@live", "concurrency": 4}); status != 200 {
		t.Fatalf("put: %d %+v", status, out.Error)
	}
	if status, got, text := r.json(t, "GET", l.path+"/"+two["id"].(string), ""); status != 200 || got["sourceType"] != "RunnelQueue" || !strings.HasSuffix(got["sourceURI"].(string), "/a") || got["algoVersion"] != "live" {
		t.Errorf("after a change: %d %s", status, text)
	}

	for range 5 {
		if status, _, text := r.json(t, "POST", l.path, body); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	var ids []string
	for path := "/v1/admin/event-listeners?limit=3"; path != ""; {
		status, got, text := l.json(t, "GET", path, "")
		if status != 200 || keysInOrder(text)[:len("marker next")] != "marker next" && !strings.HasPrefix(text, `{"marker":`) {
			t.Fatalf("page: %d %s", status, text)
		}
		results := got["results"].([]any)
		for _, one := range results {
			ids = append(ids, one.(map[string]any)["id"].(string))
		}
		path = ""
		if got["marker"] != nil {
			if len(results) != 3 {
				t.Errorf("a page of %d", len(results))
			}
			if path = strings.TrimPrefix(got["next_link"].(string), r.URL()); !strings.Contains(path, "limit=3") {
				t.Errorf("the next page is %s", path)
			}
		}
	}
	if all := list("/v1/admin/event-listeners"); len(ids) != 7 || len(all) != 7 || !slices.IsSorted(ids) || len(slices.Compact(ids)) != 7 {
		t.Errorf("pages have %d: %v", len(ids), ids)
	}
	for query, code := range map[string]string{"limit=0": "5003", "limit=x": "5003", "limit=1001": "5003", "marker=" + strings.Repeat("x", 65): "5002"} {
		if status, text := l.call(t, "GET", l.path+"?"+query, nil, ""); status != 400 || !strings.Contains(text, `"code":`+code) {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
}

// TestListenerCredentials: what was given for a source is sealed on the disk, and
// in no line of the log; and a listener is there after a restart.
func TestListenerCredentials(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	log := new(lockedBuffer)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Handlers = map[string]runnel.Handler{"f": handlerOf(strings.ToUpper)}
	a := &app{t: t, running: start(t, cfg)}
	a.createQueue(t, "in")
	const secret = "Endpoint=sb://x;SharedAccessKey=SESAME123"
	status, made, text := a.json(t, "POST", "/v1/users/default/event-listeners", `{"sourceType":"AmazonSQS","sourceURI":"queue:in","algoOwner":"default","algoName":"f","credentials":"`+secret+`"}`)
	if status != 200 || made["credentials"] != secret || made["algoVersion"] != "latest" {
		t.Fatalf("%d %s", status, text)
	}
	a.json(t, "POST", "/v1/users/default/event-listeners", `{"sourceType":"AmazonSQS","sourceURI":"queue:no","algoOwner":"default","algoName":"f","credentials":"`+secret+`"}`)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if got := holding(t, cfg.Dir, "SESAME123"); len(got) != 0 {
		t.Errorf("the credentials are in %q", got)
	}
	if strings.Contains(log.String(), "SESAME123") {
		t.Error("the credentials are in the log")
	}
	a.running = start(t, cfg)
	if status, got, text := a.json(t, "GET", "/v1/users/default/event-listeners/"+made["id"].(string), ""); status != 200 || !cmp.Equal(got, made) {
		t.Errorf("after a restart: %d %s", status, text)
	}
}
