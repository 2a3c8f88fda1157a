package server_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/server"
)

// answer is what the data API says.
type answer struct {
	status int
	header http.Header
	body   string
}

// data asks the data API. Headers are pairs.
func (r *running) data(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	return r.dataFrom(t, method, path, strings.NewReader(body), header...)
}

func (r *running) dataFrom(t testing.TB, method, path string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+"/v1/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if r.key.Token != "" {
		req.Header.Set("Authorization", "Simple "+r.key.Token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// keyed is a server with keys, and the keys of the accounts default and team.
func keyed(t *testing.T, change ...func(*server.Config)) (admin, standard, team *running) {
	t.Helper()
	cfg := config(t)
	cfg.Dev = false
	for _, c := range change {
		c(&cfg)
	}
	r := start(t, cfg)
	key, err := r.AddAccount(t.Context(), "team")
	if err != nil {
		t.Fatal(err)
	}
	as := func(k server.Key) *running {
		out := *r
		out.key = k
		return &out
	}
	return as(r.Keys()[0]), as(r.Keys()[1]), as(key)
}

// TestDataExact has the bodies that clients compare byte for byte.
func TestDataExact(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	before := time.Now().UTC().Truncate(time.Millisecond)
	for i, step := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", "data/", "", nil, 200, `{"folders":[{"name":"default"}],"files":[]}`},
		{"GET", "data/.my", "", nil, 200, `{"folders":[],"files":[]}`},
		{"POST", "data/.my/", `{"name":"things","acl":{"read":["user://*"]}}`, []string{"Content-Type", "application/json"}, 200, `{"result":"data://default/things"}`},
		{"POST", "data/default", "bare", []string{"Content-Type", "text/plain"}, 200, `{"result":"data://default/bare"}`},
		{"POST", "connector/data/default", `{"name":"more","acl":{"read":[]}}`, nil, 200, `{"result":"data://default/more"}`},
		{"GET", "data/default/", "", nil, 200, `{"folders":[{"name":"bare"},{"name":"more"},{"name":"things"}],"files":[]}`},
		{"GET", "data/.my/things/?acl=True", "", nil, 200, `{"folders":[],"files":[],"acl":{"read":["user://*"]}}`},
		{"GET", "data/.my/bare?acl=true", "", nil, 200, `{"folders":[],"files":[],"acl":{"read":["algo://.my/*"]}}`},
		{"GET", "connector/data+mine/default/more?acl=1", "", nil, 200, `{"folders":[],"files":[],"acl":{"read":[]}}`},
		{"PATCH", "data/.my/more/", `{"acl":{"read":["algo://.my/*"]}}`, nil, 200, ``},
		{"GET", "data/.my/more?acl=true", "", nil, 200, `{"folders":[],"files":[],"acl":{"read":["algo://.my/*"]}}`},
		{"PUT", "data/.my/things/a%20b.txt", "nah dawg", nil, 200, `{"result":"data://default/things/a b.txt"}`},
		{"PUT", "data/default/things/j/", `{"a":1}`, []string{"Content-Type", "application/json"}, 200, `{"result":"data://default/things/j"}`},
		{"PUT", "connector/data/default/things/empty", "", nil, 200, `{"result":"data://default/things/empty"}`},
		{"GET", "data/.my/things/a%20b.txt/", "", nil, 200, `nah dawg`},
		{"GET", "data/.my/things/empty", "", nil, 200, ``},
		{"DELETE", "data/.my/things", "", nil, 409, `the collection default/things has files: delete them first, or force it`},
		{"DELETE", "data/.my/things/?force=false", "", nil, 409, `the collection default/things has files: delete them first, or force it`},
		{"DELETE", "data/.my/things/empty", "", nil, 200, `{"result":{"deleted":1}}`},
		{"DELETE", "data/.my/things/empty", "", nil, 404, `data://default/things/empty is not there, or not to be read by this key`},
		{"DELETE", "data/.my/bare?force=true", "", nil, 200, `{"result":{"deleted":1}}`},
		{"DELETE", "data/.my/more", "", nil, 200, `{"result":{"deleted":1}}`},
		{"DELETE", "data/.my/things?force=TRUE", "", nil, 200, `{"result":{"deleted":3}}`},
		{"GET", "data/.my/things", "", nil, 404, `data://default/things is not there, or not to be read by this key`},
		{"PUT", "data/.my/things/f", "x", nil, 404, `data://default/things/f is not there, or not to be read by this key`},
		{"POST", "data/.my", `"quoted"`, nil, 200, `{"result":"data://default/quoted"}`},
		{"POST", "data/.my", `"quoted"`, nil, 409, `the collection default/quoted exists already`},
	} {
		got := r.data(t, step.method, step.path, step.body, step.header...)
		text := got.body
		if got.status >= 400 {
			var out struct {
				Error struct {
					ID, Message string
					Code        int
				}
			}
			if err := json.Unmarshal([]byte(text), &out); err != nil || out.Error.ID == "" || out.Error.Code == 0 || strings.HasSuffix(text, "\n") {
				t.Errorf("%d: the error is %q", i, text)
			}
			text = out.Error.Message
			if got.header.Get("X-Error-Message") != text {
				t.Errorf("%d: X-Error-Message is %q", i, got.header.Get("X-Error-Message"))
			}
		}
		if got.status != step.status || text != step.want {
			t.Errorf("%d: %s %s: got %d %s\nwant %d %s", i, step.method, step.path, got.status, text, step.status, step.want)
		}
		if i == 11 { // a listing with a time
			_, rest, _ := strings.Cut(r.data(t, "GET", "data/.my/things", "").body, `{"folders":[],"files":[{"filename":"a b.txt","size":8,"last_modified":"`)
			at, err := time.Parse("2006-01-02T15:04:05.000Z", strings.TrimSuffix(rest, `"}]}`))
			if err != nil || at.Before(before) || time.Since(at) > time.Minute {
				t.Errorf("listed: %q, %v", rest, err)
			}
		}
	}
}

func TestDataHeaders(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	r.data(t, "POST", "data/.my", "c")
	const text = `{"a":"grüße"}`
	r.data(t, "PUT", "data/.my/c/f", text)
	r.data(t, "PUT", "data/.my/c/binary", "\x00\xff")
	large := strings.Repeat("0123456789", 20_000)
	r.data(t, "PUT", "data/.my/c/large", large)
	sum := sha256.Sum256([]byte(text))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, test := range []struct {
		method, path string
		header       []string
		status       int
		body         string
		want         map[string]string
	}{
		{"GET", "c/f", []string{"Accept", "text/plain"}, 200, text, map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Data-Type": "file", "Etag": etag, "Content-Length": "15"}},
		{"GET", "c/f", []string{"Accept", "application/json"}, 200, text, map[string]string{"Content-Type": "application/json"}},
		{"GET", "c/f", []string{"Accept", "application/json, text/plain, */*"}, 200, text, map[string]string{"Content-Type": "application/json"}},
		{"GET", "c/f", []string{"Accept", "application/octet-stream"}, 200, text, map[string]string{"Content-Type": "application/octet-stream"}},
		{"GET", "c/f", []string{"Accept", "*/*"}, 200, text, map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{"GET", "c/binary", []string{"Accept", "text/html"}, 200, "\x00\xff", map[string]string{"Content-Type": "application/octet-stream"}},
		{"HEAD", "c/f", nil, 200, "", map[string]string{"X-Data-Type": "file", "Content-Length": "15"}},
		{"HEAD", "c", nil, 200, "", map[string]string{"X-Data-Type": "directory"}},
		{"HEAD", "c/", nil, 200, "", map[string]string{"X-Data-Type": "directory"}},
		{"HEAD", "", nil, 200, "", map[string]string{"X-Data-Type": "directory"}},
		{"HEAD", "c/none", nil, 404, "", map[string]string{"X-Data-Type": "", "X-Error-Message": "data://default/c/none is not there, or not to be read by this key"}},
		{"HEAD", "none", nil, 404, "", map[string]string{"X-Data-Type": ""}},
		{"GET", "c", nil, 200, "?", map[string]string{"Content-Type": "application/json", "X-Data-Type": "directory"}},
		{"GET", "c/large", []string{"Range", "bytes=10-14"}, 206, "01234", map[string]string{"Content-Range": "bytes 10-14/200000", "X-Data-Type": "file"}},
		{"GET", "c/large", []string{"Range", "bytes=-3"}, 206, "789", nil},
		{"GET", "c/large", []string{"Range", "bytes=199998-"}, 206, "89", nil},
		{"GET", "c/f", []string{"Range", "bytes=0-1"}, 206, `{"`, nil},
		{"GET", "c/f", []string{"Range", "bytes=0-1", "If-Range", etag}, 206, `{"`, nil},
		{"GET", "c/f", []string{"Range", "bytes=0-1", "If-Range", `"other"`}, 200, text, nil},
		{"GET", "c/f", []string{"If-None-Match", etag}, 304, "", nil},
		{"GET", "c/f", []string{"Range", "bytes=15-"}, 416, "?", map[string]string{"Content-Range": "bytes */15", "Content-Type": "application/json", "X-Error-Message": `the file has 15 bytes, and none of the range "bytes=15-"`}},
		{"GET", "c/f", []string{"Range", "nonsense"}, 416, "?", nil},
	} {
		got := r.data(t, test.method, "data/.my/"+test.path, "", test.header...)
		if got.status != test.status || test.body != "?" && got.body != test.body {
			t.Errorf("%s %s %q: got %d %q", test.method, test.path, test.header, got.status, got.body)
		}
		for name, want := range test.want {
			if got := got.header.Get(name); got != want {
				t.Errorf("%s %s %q: %s is %q, want %q", test.method, test.path, test.header, name, got, want)
			}
		}
	}
	if got := r.data(t, "GET", "data/.my/c/large", ""); got.body != large {
		t.Error("the large file is not what was put")
	}
}

// TestDataRefused has what is wrong with requests.
func TestDataRefused(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t, func(c *server.Config) { c.FileBytes = 1 << 20 })
	r.data(t, "POST", "data/.my", "c")
	r.data(t, "PUT", "data/.my/c/f", "before")
	long := strings.Repeat("n", 256)
	for _, test := range []struct {
		method, path, body string
		header             []string
		status             int
	}{
		{"GET", "connector/s3/bucket/f", "", nil, 404},
		{"GET", "connector/dropbox+work", "", nil, 404},
		{"GET", "data/.my/c/d/f", "", nil, 404},
		{"PUT", "data/.my/c/d/f", "", nil, 404},
		{"POST", "data/.my/c", "d", nil, 400},
		{"POST", "data", "d", nil, 400},
		{"POST", "data/.my", "", nil, 400},
		{"POST", "data/.my", "{}", nil, 400},
		{"POST", "data/.my", `{"name":7}`, nil, 400},
		{"POST", "data/.my", `{"name":"x"`, nil, 400},
		{"POST", "data/.my", `{"name":"x","acl":{"read":["user://demo"]}}`, nil, 400},
		{"POST", "data/.my", ".algo", nil, 400},
		{"POST", "data/.my", "a/b", nil, 400},
		{"POST", "data/.my", long, nil, 400},
		{"POST", "data/nobody", "c", nil, 404},
		{"PATCH", "data/.my/c", `{}`, nil, 400},
		{"PATCH", "data/.my/c", `x`, nil, 400},
		{"PATCH", "data/.my", `{"acl":{"read":[]}}`, nil, 400},
		{"PATCH", "data/.my/c/f", `{"acl":{"read":[]}}`, nil, 400},
		{"PATCH", "data/.my/none", `{"acl":{"read":[]}}`, nil, 404},
		{"DELETE", "data/.my", "", nil, 400},
		{"DELETE", "data", "", nil, 400},
		{"PUT", "data/.my", "", nil, 400},
		{"PUT", "data/.my/c", "", nil, 400},
		{"PUT", "data/.my/c/" + long, "", nil, 400},
		{"PUT", "data/.my/c/a%2Fb", "", nil, 400},
		{"PUT", "data/.my/c/%2e%2e", "", nil, 400},
		{"PUT", "data/.my/c/a%0Ab", "", nil, 400},
		{"PUT", "data/.my/c/%ff", "", nil, 400},
		{"PUT", "data/.my/c/f", "x", []string{"Content-MD5", "x"}, 400},
		{"PUT", "data/.my/c/f", "x", []string{"Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="}, 400},
		{"PUT", "data/.my/c/f", strings.Repeat("x", 1<<20+1), nil, 413},
		{"GET", "data/.session/f", "", nil, 404},
		{"PUT", "data/.session/f", "", nil, 404},
		{"PUT", "data/.algo/temp/f", "", nil, 404},
		{"PUT", "data/.algo/o/n/other/f", "", nil, 404},
		{"GET", "data/.algo", "", nil, 404},
		{"GET", "data/.my/c?marker=%25", "", nil, 400},
		{"GET", "data/.my/c?marker=gA", "", nil, 400},
		{"OPTIONS", "data/.my/c", "", nil, 405},
	} {
		got := r.data(t, test.method, test.path, test.body, test.header...)
		if got.status != test.status || !strings.HasPrefix(got.body, `{"error":{"id":"`) {
			t.Errorf("%s %.60s %.40s: got %d %s, want %d", test.method, test.path, test.body, got.status, got.body, test.status)
		}
	}
	if got := r.data(t, "GET", "data/.my/c/f", ""); got.body != "before" {
		t.Errorf("the file is now %.40q", got.body)
	}
	sum := md5.Sum([]byte("after"))
	if got := r.data(t, "PUT", "data/.my/c/f", "after", "Content-MD5", base64.StdEncoding.EncodeToString(sum[:])); got.status != 200 {
		t.Errorf("with its sum: got %d %s", got.status, got.body)
	}
	// Without a length, and too large.
	if got := r.dataFrom(t, "PUT", "data/.my/c/f", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), strings.NewReader("x"))); got.status != 413 {
		t.Errorf("too large, in chunks: got %d %s", got.status, got.body)
	}
	if got := r.dataFrom(t, "PUT", "data/.my/c/f", io.MultiReader(strings.NewReader("in "), strings.NewReader("chunks"))); got.status != 200 {
		t.Errorf("in chunks: got %d %s", got.status, got.body)
	}
	if got := r.data(t, "GET", "data/.my/c/f", ""); got.body != "in chunks" {
		t.Errorf("the file is now %.40q", got.body)
	}
}

// TestDataCutOff: a client that leaves in the middle leaves what was there.
func TestDataCutOff(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	r.data(t, "POST", "data/.my", "c")
	for _, old := range []string{"before", strings.Repeat("before", 100_000)} {
		r.data(t, "PUT", "data/.my/c/f", old)
		for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
			conn, err := net.Dial("tcp", r.Addr())
			if err != nil {
				t.Fatal(err)
			}
			_, err = fmt.Fprintf(conn, "PUT /v1/data/.my/c/f HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n%s\r\n\r\n30D40\r\n%s", r.key.Token, framing, strings.Repeat("x", 200_000))
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			// It answers when it has given up.
			said, err := io.ReadAll(conn)
			if err != nil || !bytes.Contains(said, []byte(" 400 ")) {
				t.Errorf("%s: got %.200q, %v", framing, said, err)
			}
			_ = conn.Close()
			if got := r.data(t, "GET", "data/.my/c/f", ""); got.body != old {
				t.Errorf("%s: the file is now %.40q", framing, got.body)
			}
		}
	}
}

// TestDataAccess is who may what: accounts, access lists, functions, keys.
func TestDataAccess(t *testing.T) {
	t.Parallel()
	admin, r, team := keyed(t)
	nobody := &running{Server: r.Server, http: r.http}
	for _, acl := range []string{"private", "algorithms", "public"} {
		read := map[string]string{"private": "[]", "algorithms": `["algo://.my/*"]`, "public": `["user://*"]`}[acl]
		r.data(t, "POST", "data/.my", `{"name":"`+acl+`","acl":{"read":`+read+`}}`)
		r.data(t, "PUT", "data/.my/"+acl+"/f", acl)
	}
	for _, test := range []struct {
		who          string
		as           *running
		method, path string
		status       int
	}{
		{"nobody", nobody, "GET", "data/default/public/f", 401},
		{"nobody", nobody, "GET", "data/", 401},
		{"team", team, "GET", "data/default/private/f", 404},
		{"team", team, "GET", "data/default/private", 404},
		{"team", team, "HEAD", "data/default/private/f", 404},
		{"team", team, "PUT", "data/default/private/f", 404},
		{"team", team, "DELETE", "data/default/private/f", 404},
		{"team", team, "PATCH", "data/default/private", 404},
		{"team", team, "POST", "data/default", 404},
		{"team", team, "GET", "data/default/algorithms/f", 404},
		{"team", team, "GET", "data/default/public/f", 200},
		{"team", team, "GET", "data/default/public", 200},
		{"team", team, "PUT", "data/default/public/f", 403},
		{"team", team, "DELETE", "data/default/public/f", 403},
		{"team", team, "DELETE", "data/default/public?force=true", 403},
		{"team", team, "PATCH", "data/default/public", 403},
		{"team", team, "GET", "data/.my", 200},
		{"admin", admin, "GET", "data/default/private/f", 200},
		{"admin", admin, "PUT", "data/default/private/f", 200},
		{"admin", admin, "GET", "data/team", 200},
		{"admin", admin, "GET", "data/none", 404},
		{"owner", r, "GET", "data/default/private/f", 200},
		{"owner", r, "GET", "data/team", 404},
		{"owner", r, "GET", "data/none", 404},
		// What a function keeps for whoever calls it is that account's.
		{"owner", r, "PUT", "data/.algo/acme/resize/perm/f", 200},
		{"owner", r, "GET", "data/.algo/acme/resize/perm/f", 200},
		{"owner", r, "GET", "data/.algo/acme/resize/perm", 200},
		{"owner", r, "GET", "data/.algo/acme/resize/temp", 200},
		{"owner", r, "GET", "data/.algo/acme/resize/temp/f", 404},
		{"team", team, "GET", "data/.algo/acme/resize/perm/f", 404},
		{"owner", r, "DELETE", "data/.algo/acme/resize/temp", 200},
		{"owner", r, "DELETE", "data/.algo/acme/resize/perm", 409},
		{"owner", r, "PATCH", "data/.algo/acme/resize/perm", 400},
		{"owner", r, "POST", "data/.algo/acme/resize/perm", 400},
	} {
		body := ""
		if test.method == "PATCH" || test.method == "POST" {
			body = `{"name":"x","acl":{"read":[]}}`
		}
		if got := test.as.data(t, test.method, test.path, body); got.status != test.status {
			t.Errorf("%s: %s %s: got %d %s, want %d", test.who, test.method, test.path, got.status, got.body, test.status)
		}
	}
	if got := team.data(t, "GET", "data/default", ""); got.body != `{"folders":[{"name":"public"}],"files":[]}` {
		t.Errorf("another account's directory: %d %s", got.status, got.body)
	}
	if got := admin.data(t, "GET", "data/", ""); got.body != `{"folders":[{"name":"default"},{"name":"team"}],"files":[]}` {
		t.Errorf("all accounts: %s", got.body)
	}
	if got := team.data(t, "GET", "data/", ""); got.body != `{"folders":[{"name":"team"}],"files":[]}` {
		t.Errorf("one's own: %s", got.body)
	}
}

// TestDataOfCallers asks as callers do whom a request does not make.
func TestDataOfCallers(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	for _, acl := range []string{"private", "algorithms"} {
		read := map[string]string{"private": "[]", "algorithms": `["algo://.my/*"]`}[acl]
		r.data(t, "POST", "data/.my", `{"name":"`+acl+`","acl":{"read":`+read+`}}`)
		r.data(t, "PUT", "data/.my/"+acl+"/f", acl)
	}
	all := runnel.AllPermissions()
	team := auth.Caller{Account: "team", Permissions: all}
	inside := func(function, session string) auth.Caller {
		c := team
		c.Function, c.Session, c.Invocation = function, session, "i"
		return c
	}
	readsOnly := auth.Caller{Account: "default", Permissions: runnel.Permissions{Data: true}}
	writesOnly := auth.Caller{Account: "default", Permissions: runnel.Permissions{DataWrite: true}}
	member := auth.Caller{Account: "ann", Permissions: all, Organizations: []string{"default"}}
	mine, theirs := inside("default/f@1", "s1"), inside("other/f@1", "s1")
	for _, test := range []struct {
		who          string
		by           auth.Caller
		method, path string
		status       int
	}{
		{"the owner's function", mine, "GET", "default/algorithms/f", 200},
		{"the owner's function", mine, "GET", "default/algorithms", 200},
		{"the owner's function", mine, "GET", "default/private/f", 404},
		{"the owner's function", mine, "PUT", "default/algorithms/f", 403},
		{"another's function", theirs, "GET", "default/algorithms/f", 404},
		{"the caller", team, "GET", "default/algorithms/f", 404},
		{"a function", theirs, "POST", ".my", 200},
		{"a function", theirs, "PUT", ".my/new/f", 200},
		{"the caller", team, "GET", "team/new/f", 200},
		{"a function", theirs, "PUT", ".session/f", 200},
		{"another of the session", mine, "GET", ".session/f", 200},
		{"another of the session", mine, "GET", ".session", 200},
		{"another session", inside("other/f@1", "s2"), "GET", ".session/f", 404},
		{"the caller", team, "GET", ".session/f", 404},
		{"a function", theirs, "PUT", ".algo/temp/f", 200},
		{"a function", theirs, "PUT", ".algo/perm/f", 200},
		{"its next version", inside("other/f@2", "s2"), "GET", ".algo/perm/f", 200},
		{"a function", theirs, "GET", ".algo/other/f/temp/f", 200},
		{"the caller", team, "GET", ".algo/other/f/temp/f", 200},
		{"another function", mine, "GET", ".algo/other/f/temp/f", 404},
		{"another function", mine, "GET", ".algo/temp/f", 404},
		{"a key that reads", readsOnly, "GET", "default/private/f", 200},
		{"a key that reads", readsOnly, "PUT", "default/private/f", 403},
		{"a key that reads", readsOnly, "POST", "default", 403},
		{"a key that reads", readsOnly, "DELETE", "default/private/f", 403},
		{"a key that reads", readsOnly, "DELETE", "default/private?force=true", 403},
		{"a key that reads", readsOnly, "PATCH", "default/private", 403},
		{"a key that writes", writesOnly, "GET", "default/private/f", 403},
		{"a key that writes", writesOnly, "HEAD", "default/private", 403},
		{"a key that writes", writesOnly, "GET", "", 403},
		{"a key that writes", writesOnly, "GET", "default", 403},
		{"a key that writes", writesOnly, "PUT", "default/private/f", 200},
		{"a member", member, "GET", "default/private/f", 200},
		{"a member", member, "PUT", "default/private/f", 200},
	} {
		body := ""
		if test.method == "PATCH" || test.method == "POST" {
			body = `{"name":"new","acl":{"read":[]}}`
		}
		if status, text := r.DataAs(test.by, test.method, test.path, body); status != test.status {
			t.Errorf("%s: %s %s: got %d %s, want %d", test.who, test.method, test.path, status, text, test.status)
		}
	}
	if _, text := r.DataAs(member, "GET", "", ""); text != `{"folders":[{"name":"ann"},{"name":"default"}],"files":[]}` {
		t.Errorf("a member lists %s", text)
	}
}

// TestDataPages lists more files than a page has, by the marker.
func TestDataPages(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	r.data(t, "POST", "data/.my", "c")
	by := auth.Caller{Account: "default", Permissions: runnel.AllPermissions()}
	const n = 2001
	// Beside the listener: it is quicker, and no other way.
	done := make(chan error)
	for worker := range 16 {
		go func() {
			var err error
			for i := worker; i < n && err == nil; i += 16 {
				err = r.PutData(by, algorithmia.Place{Owner: "default", Collection: "c", File: fmt.Sprintf("%04dü", i)}, "x")
			}
			done <- err
		}()
	}
	for range 16 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	var got, sizes []int
	marker := ""
	for {
		var page struct {
			Files  []struct{ Filename string }
			Marker string
		}
		text := r.data(t, "GET", "data/.my/c?marker="+marker, "").body
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatalf("%v: %.200s", err, text)
		}
		sizes = append(sizes, len(page.Files))
		for _, f := range page.Files {
			var i int
			if _, err := fmt.Sscanf(f.Filename, "%dü", &i); err != nil {
				t.Fatal(err)
			}
			got = append(got, i)
		}
		if marker = page.Marker; marker == "" {
			break
		}
	}
	for i, x := range got {
		if i != x {
			t.Fatalf("place %d has file %d", i, x)
		}
	}
	if diff := cmp.Diff([]int{1000, 1000, 1}, sizes); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

// TestBackupHasFiles: small and large ones, also one that is replaced while the
// copy is there, and nothing of an upload under way.
func TestBackupHasFiles(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := start(t, cfg)
	large := strings.Repeat("0123456789", 100_000)
	r.data(t, "POST", "data/.my", "c")
	r.data(t, "PUT", "data/.my/c/small", "small")
	r.data(t, "PUT", "data/.my/c/large", large)
	// An upload whose client waits.
	arrived, rest := make(chan struct{}), make(chan struct{})
	uploaded := make(chan answer, 1)
	go func() {
		uploaded <- r.dataFrom(t, "PUT", "data/.my/c/late", io.MultiReader(strings.NewReader(large), readerFunc(func([]byte) (int, error) {
			close(arrived)
			<-rest
			return 0, io.EOF
		})))
	}()
	<-arrived
	status, stream := r.call(t, "GET", "/api/v1/backup", nil, "")
	if status != 200 {
		t.Fatalf("got %d %s", status, stream)
	}
	close(rest)
	if got := <-uploaded; got.status != 200 {
		t.Errorf("the upload: got %d %s", got.status, got.body)
	}
	r.data(t, "PUT", "data/.my/c/large", "replaced")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	restored := config(t)
	restored.Dir = t.TempDir()
	extract(t, stream, restored.Dir)
	again := start(t, restored)
	if got := again.data(t, "GET", "data/.my/c/large", ""); got.body != large {
		t.Errorf("large: got %d %.60q", got.status, got.body)
	}
	if got := again.data(t, "GET", "data/.my/c/small", ""); got.body != "small" {
		t.Errorf("small: got %d %.60q", got.status, got.body)
	}
	if got := again.data(t, "GET", "data/.my/c/late", ""); got.status != 404 {
		t.Errorf("late: got %d %.60q", got.status, got.body)
	}
	blobs, err := filepath.Glob(filepath.Join(restored.Dir, "blobs", "*", "*"))
	if err != nil || len(blobs) != 1 {
		t.Errorf("the restored server has %d blobs, %v", len(blobs), err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "backup.tmp")); err == nil {
		t.Error("the copy is still there")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestDataWithinFunction uses Runnel's own client of the API, as an algorithm
// does, with the key of its worker.
func TestDataWithinFunction(t *testing.T) {
	t.Parallel()
	needPython(t)
	_, r, _ := keyed(t)
	r.key = r.Keys()[0]
	const source = `
import os, tempfile
import Algorithmia
from Algorithmia.acl import AclType, ReadAcl

client = Algorithmia.client()

def handler(event):
    things = client.dir("data://.my/things")
    seen = [things.exists()]
    things.create(ReadAcl.private)
    seen += [things.exists(), things.get_permissions().read_acl is AclType.private, things.update_permissions(ReadAcl.public)]
    things.file("t").put("grüße").put("text")
    things.file("j").putJson({"a": 1})
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"x" * 300000)
        f.flush()
        things.file("large").putFile(f.name)
    file = client.file("data://default/things/j")
    seen += [things.file("t").getString(), file.getJson(), len(things.file("large").getBytes()), file.getName(), file.getFile().read()]
    seen += [[(f.getName(), f.size, f.last_modified.year > 2000) for f in things.files()]]
    client.file("data://.algo/temp/f").put("kept")
    seen += [client.file("data://.algo/default/f/temp/f").getString(), client.file("data://.algo/perm/f").exists()]
    try:
        things.delete()
    except Exception as e:
        seen += [type(e).__name__, str(e)]
    try:
        client.file("data://.algo/default/other/temp/f").getString()
    except Exception as e:
        seen += [type(e).__name__]
    seen += [file.delete(), file.exists(), things.delete(True), things.exists(), [d.path for d in client.dir("").dirs()], client.username()]
    return seen
`
	def := map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": archive(t, file("main.py", source))}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", def); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	status, got := r.called(t, "default/f", "1")
	want := `[false,true,true,true,"text",{"a":1},300000,"j","{\"a\": 1}",[["j",8,true],["large",300000,true],["t",4,true]],"kept",false,` +
		`"DataApiError","the collection default/things has files: delete them first, or force it","DataApiError",true,false,true,false,["default"],"default"]`
	if status != 200 || got != want {
		t.Errorf("got %d %s\nwant %s", status, got, want)
	}
	if got := r.data(t, "GET", "data/.algo/default/f/temp/f", ""); got.body != "kept" {
		t.Errorf("what it kept for its caller: %d %s", got.status, got.body)
	}
}

// TestDataNonsense makes requests of parts that have gone wrong before, and
// looks that none is a fault of the server's.
func TestDataNonsense(t *testing.T) {
	t.Parallel()
	_, r, _ := keyed(t)
	random := rand.New(rand.NewPCG(6, 24))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	by := auth.Caller{Account: "default", Permissions: runnel.AllPermissions()}
	inside := by
	inside.Function, inside.Session = "default/f@1", "s"
	counts := make(map[int]int)
	for range 6_000 {
		path := "/v1/" + one("data", "connector/data", "connector/data+l", "connector/s3", "connector/%2e%2e")
		for range random.IntN(5) {
			path += "/" + one(".my", "default", "c", "f", ".session", ".algo", "temp", "perm", "..", "%2e%2e", "", "%2f", "%00", "%ff", "%5c", "%0a", "a%20b", "ü", "%c3%bc",
				strings.Repeat("x", 255), strings.Repeat("x", 256), "%F0%9F%98%80", "~", "%25", "+", "default/c")
		}
		path += one("", "", "/", "?", "?acl=true", "?force=true", "?marker=", "?marker=Zg", "?marker=%00", "?force=true&acl=x&marker=", "?%")
		body := one("", "", "c", "{}", `{"name":"c"}`, `{"name":"c","acl":{"read":["user://*"]}}`, `{"acl":{"read":[]}}`, `{"acl":{"read":null}}`, `{"acl":7}`, `[]`, "null", `"c"`, "\x00\xff", strings.Repeat("x", 100_000))
		method := one("GET", "HEAD", "PUT", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
		header := http.Header{one("Range", "Accept", "Content-MD5", "If-Range", "If-None-Match"): {one("bytes=0-", "bytes=-1,0-", "bytes=9-1", "text/plain;q", "*/*", "", "\"", ";;,", "AAAAAAAAAAAAAAAAAAAAAA==")}}
		caller := by
		if random.IntN(2) == 0 {
			caller = inside
		}
		status, text, made := r.RequestAs(caller, method, path, body, header)
		if !made {
			continue // no such request can be made
		}
		counts[status/100]++
		if status >= 500 {
			t.Errorf("%s %.200s %q: %d %s", method, path, body[:min(len(body), 60)], status, text)
		}
	}
	if counts[2] < 200 || counts[4] < 200 {
		t.Errorf("the requests were of one sort: %v", counts)
	}
}
