package admin_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
)

var (
	adminKey    = auth.NewKey("default", "000000000000", true, time.Unix(0, 0))
	standardKey = auth.NewKey("default", "000000000000", false, time.Unix(0, 0))
	// managementKey manages functions, bareKey may do nothing.
	managementKey = keyWith(runnel.Permissions{Algorithms: []string{"algo://*"}, Queues: true, Management: true})
	bareKey       = keyWith(runnel.Permissions{})
	otherKey      = auth.NewKey("other", "000000000001", false, time.Unix(0, 0))
)

// keys are the keys by id.
type keys map[string]auth.Key

// keyWith is a key of the default account with permissions.
func keyWith(p runnel.Permissions) auth.Key {
	k := auth.NewKey("default", "000000000000", false, time.Unix(0, 0))
	k.Permissions = p
	return k
}

func (k keys) Key(_ context.Context, id string) (auth.Key, error) {
	if key, ok := k[id]; ok {
		return key, nil
	}
	return auth.Key{}, runnel.Errorf(runnel.CodeNotFound, "there is no key %s", id)
}

// queues is one queue, "images" of the account default, with ten messages.
type queues struct{ purged int }

func (q *queues) List(_ context.Context, account string) []admin.Queue {
	if account != "default" {
		return nil
	}
	return []admin.Queue{{
		Account: account, Name: "images", Visible: 9, InFlight: 1,
		Settings: admin.Settings{VisibilityTimeout: admin.Duration(90 * time.Second), MaxMessageBytes: 1 << 20},
		Stats:    admin.QueueStats{Sent: 10},
	}}
}

func (q *queues) check(account, queue string) error {
	switch {
	case queue == "broken":
		return errors.New("disk on fire")
	case queue == "closed":
		return fmt.Errorf("read: %w", runnel.ErrClosed)
	case account == "default" && queue == "images-dead":
		return nil
	case account != "default" || queue != "images":
		return runnel.Errorf(runnel.CodeNotFound, "there is no queue %s/%s", account, queue)
	}
	return nil
}

func (q *queues) Peek(account, queue string, position int64, most int) (ms []admin.Message, more bool, err error) {
	if err := q.check(account, queue); err != nil {
		return nil, false, err
	}
	if queue == "images-dead" {
		return peekDead(position, most)
	}
	for ; position < 10; position++ {
		if len(ms) == most {
			return ms, true, nil
		}
		body := []byte("text")
		if position == 1 {
			body = []byte{0xff, 0x00}
		}
		ms = append(ms, admin.Message{
			Position: position, ID: "id", State: "visible", Sent: time.Unix(1, 0).UTC(), Payload: admin.NewPayload(body),
			Attributes: []admin.Attribute{
				admin.NewAttribute(runnel.Attribute{Name: "a", Value: []byte("x")}),
				admin.NewAttribute(runnel.Attribute{Name: "b", Type: "Binary", Value: []byte{0xfe}}),
			},
		})
	}
	return ms, false, nil
}

// Search finds messages by their positions: a body of a search is one.
func (q *queues) Search(_ context.Context, account, queue string, position int64, s *admin.Search, most int) (page admin.SearchPage, err error) {
	if s.Body == "nothing yet" {
		return admin.SearchPage{More: true, Last: 500}, nil
	}
	ms, more, err := q.Peek(account, queue, position, most)
	if s.Body != "" {
		ms = slices.DeleteFunc(ms, func(m admin.Message) bool { return fmt.Sprint(m.Position) != s.Body })
	}
	page = admin.SearchPage{Messages: ms, More: more}
	if more && len(ms) > 0 {
		page.Last = ms[len(ms)-1].Position
	}
	return page, err
}

// deadLetters are in the queue images-dead. It returns few of them at once.
const deadLetters = 2500

func peekDead(position int64, most int) (ms []admin.Message, more bool, err error) {
	for ; position < deadLetters; position++ {
		if len(ms) == min(most, 7) {
			return ms, true, nil
		}
		reason := &runnel.DeadLetter{Type: "error", Message: "ValueError: no size", Function: "default/resize", Version: "3f9c", Attempts: 5}
		if position%2 == 1 {
			reason.Type = "timeout"
		}
		body := admin.NewPayload(fmt.Appendf(nil, `{"size": %d, "tags": ["a", "b"]}`, position))
		if position == 0 {
			body = admin.NewPayload([]byte("no JSON"))
		}
		ms = append(ms, admin.Message{Position: position, ID: fmt.Sprintf("id-%d", position), State: "visible", Key: "k", Payload: body, DeadLetter: reason})
	}
	return ms, false, nil
}

func (q *queues) Purge(account, queue string) error {
	if err := q.check(account, queue); err != nil {
		return err
	}
	if q.purged++; q.purged > 1 {
		return runnel.Errorf(runnel.CodeLimit, "once a minute")
	}
	return nil
}

// backups copies files.
type backups struct {
	files   fs.FS
	removed int
}

func (b *backups) Backup() (admin.Copy, error) {
	return admin.Copy{Files: b.files, Remove: func() error { b.removed++; return nil }}, nil
}

type fixture struct {
	server  *httptest.Server
	backups *backups
	log     *strings.Builder

	changes     *changes
	functions   *functions
	invocations *invocations
	logs        *logs
	stopping    chan struct{}
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{backups: &backups{files: fstest.MapFS{
		"FORMAT":      {Data: []byte("format 1\n")},
		"db/MANIFEST": {Data: []byte("engine")},
		"db/empty":    {Mode: fs.ModeDir},
	}}, log: new(strings.Builder)}
	f.changes = &changes{made: map[string]runnel.Queue{"default/out": {Name: "out"}}, sent: make(map[string][]runnel.Message)}
	f.functions = &functions{deployed: map[string]runnel.Function{
		"default/resize": {Name: "default/resize", Runtime: runnel.RuntimePython, Timeout: time.Minute, Env: map[string]string{"TOKEN": "secret"}},
		"other/greet":    {Name: "other/greet", Runtime: runnel.RuntimeNode},
	}}
	f.invocations = new(invocations)
	f.logs = &logs{lines: make(chan admin.LogLine), following: make(chan admin.LogQuery, 1), left: make(chan struct{})}
	f.stopping = make(chan struct{})
	door := admin.Door{
		Queues:  &queues{},
		Backups: f.backups,

		QueueChanges: f.changes, Functions: f.functions, Versions: f.functions, Secrets: &secrets{}, Invocations: f.invocations,
		Flows: &flows{paused: make(map[string]bool), made: map[string]runnel.Flow{
			"default/resize-images": {Name: "resize-images", From: "queue:images", Call: "resize", RequeueDelay: 30 * time.Second},
		}},
		DeadLetters: dead{}, Applier: applier{}, Reloader: applier{}, Logs: f.logs, Stopping: f.stopping,
	}
	f.serve(t, door)
	return f
}

// startDoor serves a door of which the caller says what it has.
func startDoor(t *testing.T, door admin.Door) *fixture {
	t.Helper()
	f := &fixture{log: new(strings.Builder)}
	f.serve(t, door)
	return f
}

func (f *fixture) serve(t *testing.T, door admin.Door) {
	door.Auth = &auth.Authenticator{Keys: keys{adminKey.ID: adminKey, standardKey.ID: standardKey, otherKey.ID: otherKey, managementKey.ID: managementKey, bareKey.ID: bareKey}}
	door.Version = "v1.2.3"
	door.Log = slog.New(slog.NewTextHandler(f.log, nil))
	f.server = httptest.NewUnstartedServer(door.Handler())
	f.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.server.Start()
	t.Cleanup(f.server.Close)
}

func (f *fixture) call(t *testing.T, method, path string, key auth.Key, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key.ID != "" {
		req.Header.Set("Authorization", "Bearer "+key.Token())
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := f.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestAnswers(t *testing.T) {
	forged := adminKey
	forged.Secret = strings.Repeat("x", len(forged.Secret))
	f := start(t)
	for _, test := range []struct {
		name, method, path string
		key                auth.Key
		status             int
		want               string // part of the body
	}{
		{"version", "GET", "/api/v1/version", standardKey, 200, `"version":"v1.2.3"`},
		{"no key", "GET", "/api/v1/version", auth.Key{}, 401, `{"error":{"code":"denied","message":"`},
		{"wrong secret", "GET", "/api/v1/queues", forged, 401, `"code":"denied"`},
		{"no key, no such call", "GET", "/api/v1/nothing", auth.Key{}, 401, `"code":"denied"`},
		{"no such call", "GET", "/api/v1/nothing", standardKey, 404, `{"error":{"code":"not_found","message":"the API has no GET /api/v1/nothing"}}`},
		{"wrong method", "DELETE", "/api/v1/queues", standardKey, 404, `the API has no DELETE /api/v1/queues`},
		{"queues", "GET", "/api/v1/queues", standardKey, 200, `{"queues":[{"account":"default","name":"images","visible":9,"in_flight":1,"delayed":0,"settings":{"visibility_timeout":"1m30s"`},
		{"queues of an account without any", "GET", "/api/v1/queues", otherKey, 200, `{"queues":[]}`},
		{"peek first", "GET", "/api/v1/queues/images/messages?limit=1", standardKey, 200, `"attributes":[{"name":"a","type":"String","value":"x"},{"name":"b","type":"Binary","value_base64":"/g=="}]}],"next":0}`},
		{"peek text", "GET", "/api/v1/queues/images/messages?limit=1", standardKey, 200, `"body":"text"`},
		{"peek binary", "GET", "/api/v1/queues/images/messages?after=0&limit=1", standardKey, 200, `"body_base64":"/wA="`},
		{"peek last", "GET", "/api/v1/queues/images/messages?after=8", standardKey, 200, `"position":9`},
		{"peek behind the end", "GET", "/api/v1/queues/images/messages?after=9", standardKey, 200, `{"messages":[]}`},
		{"peek at no queue", "GET", "/api/v1/queues/nothing/messages", standardKey, 404, `"message":"there is no queue default/nothing"`},
		{"peek at another's queue", "GET", "/api/v1/queues/images/messages", otherKey, 404, `"message":"there is no queue other/images"`},
		{"peek limit", "GET", "/api/v1/queues/images/messages?limit=101", standardKey, 400, `"message":"limit=101: want a number from 1 to 100"`},
		{"peek limit of none", "GET", "/api/v1/queues/images/messages?limit=0", standardKey, 400, `"code":"invalid"`},
		{"peek after words", "GET", "/api/v1/queues/images/messages?after=x", standardKey, 400, `"code":"invalid"`},
		{"peek after the last number", "GET", "/api/v1/queues/images/messages?after=9223372036854775807", standardKey, 400, `"code":"invalid"`},
		{"search", "GET", "/api/v1/queues/images/messages?body=3&ignore_case=true&attribute=a&attribute=b%3D1&state=visible&state=in_flight", standardKey, 200, `{"messages":[{"position":3,`},
		{"search that goes on", "GET", "/api/v1/queues/images/messages?body=nothing+yet", standardKey, 200, `{"messages":[],"next":500}`},
		{"search no state", "GET", "/api/v1/queues/images/messages?state=lost", standardKey, 400, `"message":"state=lost: want visible, in_flight or delayed"`},
		{"search no attribute", "GET", "/api/v1/queues/images/messages?attribute=%3Dv", standardKey, 400, `"message":"attribute==v: want NAME, or NAME=VALUE"`},
		{"search perhaps", "GET", "/api/v1/queues/images/messages?ignore_case=perhaps", standardKey, 400, `"message":"ignore_case=perhaps: `},
		{"purge", "POST", "/api/v1/queues/images/purge", standardKey, 204, ``},
		{"purge again", "POST", "/api/v1/queues/images/purge", standardKey, 429, `"code":"limit"`},
		{"fault of ours", "POST", "/api/v1/queues/broken/purge", standardKey, 500, `{"error":{"code":"internal","message":"internal error: the server's log says more"}}`},
		{"stopping", "POST", "/api/v1/queues/closed/purge", standardKey, 503, `{"error":{"code":"unavailable","message":"the server is stopping"}}`},
		{"backup with a standard key", "GET", "/api/v1/backup", standardKey, 403, `this needs an admin key`},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := f.call(t, test.method, test.path, test.key, "")
			if resp.StatusCode != test.status || !strings.Contains(body, test.want) {
				t.Errorf("got %d %s\nwant %d %s", resp.StatusCode, body, test.status, test.want)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
				t.Errorf("got WWW-Authenticate %q with status %d", challenge, test.status)
			}
		})
	}
	if !strings.Contains(f.log.String(), "disk on fire") {
		t.Errorf("the log does not have the cause of the internal error:\n%s", f.log)
	}
}

// TestSigned checks that a signature is held against the body that the call
// then sees.
func TestSigned(t *testing.T) {
	f := start(t)
	const body = `{"messages":[{"body":"a"}]}`
	signed := func(sent string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "POST", f.server.URL+"/api/v1/queues/out/messages", strings.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		auth.Sign(req, []byte(body), auth.Credentials{ID: standardKey.ID, Secret: standardKey.Secret}, "us-east-1", "runnel", time.Now())
		resp, err := f.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := signed(body); resp.StatusCode != 200 || len(f.changes.sent["default/out"]) != 1 {
		t.Errorf("got %s", resp.Status)
	}
	if resp := signed(strings.Replace(body, "a", "b", 1)); resp.StatusCode != 401 || len(f.changes.sent["default/out"]) != 1 {
		t.Errorf("with another body than was signed: got %s", resp.Status)
	}
}

func TestBodyOverTheLimit(t *testing.T) {
	f := start(t)
	resp, body := f.call(t, "POST", "/api/v1/queues/images/purge", standardKey, strings.Repeat("x", 64<<10+1))
	if resp.StatusCode != 413 || !strings.Contains(body, `"code":"too_large"`) {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

func TestPeekPages(t *testing.T) {
	f := start(t)
	var got []int64
	for path := "/api/v1/queues/images/messages?limit=4"; path != ""; {
		resp, body := f.call(t, "GET", path, standardKey, "")
		var page struct {
			Messages []struct{ Position int64 }
			Next     *int64
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %d %s, %v", resp.StatusCode, body, err)
		}
		for _, m := range page.Messages {
			got = append(got, m.Position)
		}
		path = ""
		if page.Next != nil {
			path = fmt.Sprintf("/api/v1/queues/images/messages?limit=4&after=%d", *page.Next)
		}
	}
	if diff := cmp.Diff([]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
}

func TestBackup(t *testing.T) {
	f := start(t)
	resp, body := f.call(t, "GET", "/api/v1/backup", adminKey, "")
	if resp.StatusCode != 200 {
		t.Fatalf("got %d %s", resp.StatusCode, body)
	}
	var got []string
	var manifest admin.Manifest
	sums := make(map[string]string)
	for tr := tar.NewReader(strings.NewReader(body)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == admin.ManifestName {
			if err := json.Unmarshal(data, &manifest); err != nil {
				t.Fatal(err)
			}
		} else if h.Typeflag == tar.TypeReg {
			sum := sha256.Sum256(data)
			sums[h.Name] = hex.EncodeToString(sum[:])
		}
	}
	if diff := cmp.Diff([]string{"FORMAT", "db/", "db/MANIFEST", "db/empty/", admin.ManifestName}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	want := []admin.ManifestFile{
		{Name: "FORMAT", Size: 9, SHA256: sums["FORMAT"]},
		{Name: "db/MANIFEST", Size: 6, SHA256: sums["db/MANIFEST"]},
	}
	if diff := cmp.Diff(want, manifest.Files); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	f.server.Close() // the handler has returned
	if f.backups.removed != 1 {
		t.Errorf("the copy was removed %d times", f.backups.removed)
	}
}

func escape(s string) string { return url.QueryEscape(s) }

// unreadable has files of which one cannot be read to its end.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	f, err := u.MapFS.Open(name)
	if name == "db/MANIFEST" && err == nil {
		return brokenFile{f}, nil
	}
	return f, err
}

type brokenFile struct{ fs.File }

func (brokenFile) Read([]byte) (int, error) { return 0, errors.New("bad sector") }

// TestBackupCutOff checks that a client cannot take a backup for whole during
// which a file could not be read.
func TestBackupCutOff(t *testing.T) {
	f := start(t)
	f.backups.files = unreadable{f.backups.files.(fstest.MapFS)}
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.server.URL+"/api/v1/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey.Token())
	resp, err := f.server.Client().Do(req)
	if err == nil {
		defer resp.Body.Close()
		var body []byte
		body, err = io.ReadAll(resp.Body)
		if slices.Contains(strings.Split(string(body), "\x00"), admin.ManifestName) {
			t.Error("the stream has a manifest")
		}
	}
	if err == nil {
		t.Error("the stream ended without an error")
	}
	f.server.Close()
	if f.backups.removed != 1 {
		t.Errorf("the copy was removed %d times", f.backups.removed)
	}
	if !strings.Contains(f.log.String(), "bad sector") {
		t.Errorf("the log does not say why:\n%s", f.log)
	}
}
