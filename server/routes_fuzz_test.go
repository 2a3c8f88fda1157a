package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// routeRequests is how many requests TestRoutesWithstand makes; RUNNEL_ROUTES
// sets another number.
const routeRequests = 4000

// What no answer and no line of the log may have: the file beside the data
// directory, and a secret of a function.
const (
	besideText = "text-beside-the-data-directory"
	secretText = "text-of-a-secret-of-a-function"
)

// TestRoutesWithstand sends requests of all shapes to every route, as nobody, as
// a user and as an admin: no answer is 500, nothing panics, nothing outside of
// the data directory is touched or told, and no secret is in a line of the log.
func TestRoutesWithstand(t *testing.T) {
	t.Parallel()
	needPython(t)
	count := routeRequests
	if text := os.Getenv("RUNNEL_ROUTES"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatalf("RUNNEL_ROUTES=%s: %v", text, err)
		}
	} else if testing.Short() {
		count /= 10
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("RUNNEL_ROUTES_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("RUNNEL_ROUTES_SEED=%s: %v", text, err)
		}
	}
	t.Logf("seed %d", seed)

	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "beside"), []byte(besideText), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Dir, cfg.Dev = filepath.Join(outside, "data"), false
	var log lockedBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, cfg)
	r.key = r.Keys()[0]
	r.mustDeploy(t, "default/f", nil)
	r.setSecret(t, "default/f", "SECRET", secretText)
	r.createQueue(t, "q")
	if status, out := r.ask(t, "PUT", "/api/v1/flows/w", map[string]any{"from": "queue:q", "call": "default/f"}); status != http.StatusOK {
		t.Fatalf("put a flow: %d %+v", status, out.Error)
	}
	other, err := r.AddAccount(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	before := tree(t, outside, cfg.Dir)

	g := &shaper{
		Rand: rand.New(rand.NewPCG(seed, 0)), host: r.Addr(), routes: r.Routes(),
		tokens: []string{r.Keys()[0].Token, r.Keys()[0].Token, r.Keys()[1].Token, other.Token},
	}
	statuses := make(map[int]int)
	c := &wire{addr: r.Addr()}
	defer c.close()
	for i := range count {
		text, whole := g.request()
		status, body, err := c.exchange(text, whole)
		if err != nil {
			t.Fatalf("request %d: %v\n%.2000q", i, err, text)
		}
		statuses[status]++
		head, _, _ := bytes.Cut(text, []byte("\r\n\r\n"))
		switch {
		case status == http.StatusInternalServerError:
			t.Errorf("request %d: got 500 %s\n%.2000q", i, body, text)
		case bytes.Contains(body, []byte(besideText)):
			t.Errorf("request %d: tells a file outside of the data directory\n%.2000q", i, head)
		case bytes.Contains(body, []byte(secretText)):
			t.Errorf("request %d: tells a secret\n%.2000q", i, head)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("answers by status: %v", statuses)
	if status, text := r.call(t, "GET", "/api/v1/functions", nil, ""); status != http.StatusOK {
		t.Errorf("the admin's key after all: got %d %s", status, text)
	}
	if good := statuses[200] + statuses[201] + statuses[204]; good < count/100 {
		t.Errorf("only %d of %d requests did anything: the test does not do what it is for", good, count)
	}
	if diff := cmp.Diff(before, tree(t, outside, cfg.Dir)); diff != "" {
		t.Errorf("outside of the data directory (-before +after):\n%s", diff)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	lines := log.String()
	for _, secret := range append(secretsOf(r), other.Secret, secretText, besideText) {
		if i := strings.Index(lines, secret); i >= 0 {
			t.Errorf("a secret in the log: %q", lines[max(0, i-300):min(len(lines), i+100)])
		}
	}
	for _, word := range []string{"panic", "goroutine "} {
		if i := strings.Index(lines, word); i >= 0 {
			t.Errorf("in the log: %q", lines[max(0, i-300):min(len(lines), i+3000)])
		}
	}
}

func secretsOf(r *running) (out []string) {
	for _, k := range r.Keys() {
		out = append(out, k.Secret)
	}
	return out
}

// tree is what is in a directory, but for what is below one of its folders:
// names, and what is in files.
func tree(t *testing.T, dir, but string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == but:
			return fs.SkipDir
		case d.IsDir():
			found[path] = "directory"
			return nil
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wire sends requests as they are, on a connection that it keeps while it can.
type wire struct {
	addr string
	conn net.Conn
	read *bufio.Reader
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// patience is how long an answer may take: a stream that follows a log is left
// after the head of it.
const patience = 30 * time.Second

// exchange sends a request and returns the answer; status 0 where the server
// closed the connection, which it may where a request is not whole.
func (w *wire) exchange(text []byte, whole bool) (status int, body []byte, err error) {
	for try := range 2 {
		fresh := w.conn == nil
		if fresh {
			if w.conn, err = net.Dial("tcp", w.addr); err != nil {
				return 0, nil, err
			}
			w.read = bufio.NewReader(w.conn)
		}
		if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return 0, nil, err
		}
		// The server may answer and close before it has read all.
		_, wrote := w.conn.Write(text)
		if !whole {
			_ = w.conn.(*net.TCPConn).CloseWrite()
		}
		method, _, _ := bytes.Cut(text, []byte(" "))
		asked := &http.Request{Method: string(method)}
		resp, err := http.ReadResponse(w.read, asked)
		for err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(w.read, asked)
		}
		if err != nil {
			w.close()
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				return 0, nil, fmt.Errorf("no answer within %s", patience)
			case !fresh && try == 0:
				continue // the server had closed it before
			case whole && wrote == nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
				return 0, nil, err
			}
			return 0, nil, nil
		}
		stream := strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")
		if !stream {
			body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		}
		_ = resp.Body.Close()
		if err != nil || stream || !whole || resp.Close || len(body) == 1<<20 {
			w.close()
		}
		return resp.StatusCode, body, nil
	}
	return 0, nil, nil
}

// shaper makes requests, good ones and others.
type shaper struct {
	*rand.Rand
	host   string
	routes []string
	tokens []string
}

func pick[T any](g *shaper, of []T) T { return of[g.IntN(len(of))] }

func (g *shaper) chance(percent int) bool { return g.IntN(100) < percent }

// odd are the segments and values that programs stumble over. The names of
// things that exist come first.
var (
	known = []string{
		"default", "other", "f", "q", "w", ".my", "c", "a.txt", "live", "latest", "0.1.0", "data", "python3", "src",
		"00000000-0000-0000-0000-000000000000", "5f0c54b0-1c1b-4c5b-9a51-3d7f1a1f6b2e",
	}
	odd = []string{
		"..", ".", "%2e%2e", "%2e%2e%2f%2e%2e%2fbeside", "..%2fbeside", "%2F", "%5c", "%00", "%", "%zz", "%ff%fe", "a%0d%0aX: y",
		"...", "~", "*", "@", "a@b", "a/b", "//", "?", "#", ";", "+", "%20", "%C3%BC", "%F0%9F%90%87", "null", "-1", "1e9",
		"99999999999999999999", ".session", ".algo", ".algo/default/f/temp", "__proto__", "${env:HOME}", "{owner}", "default%2Ff",
		strings.Repeat("a", 300), strings.Repeat("%41", 200),
	}
	fields = []string{
		"name", "from", "call", "to", "batch", "definition", "archive", "runtime", "handler", "env", "payload", "messages", "body", "ids",
		"details", "settings", "version_info", "version_type", "algorithm_environment", "acl", "read", "sourceType", "sourceURI", "algoOwner",
		"algoName", "algoVersion", "algoTimeoutSeconds", "credentials", "username", "email", "key_label", "key_type", "permissions", "algo_acl",
		"value", "label", "session_limit", "organization", "account", "QueueUrl", "MessageBody", "secret_key", "secret_value", "short_name",
	}
	words = []string{"python", "queue:q", "default/f", "f", "major", "private", "AmazonSQS", "algo://*", "user://*", "AlgorithmKey", "minor", "1s", ""}
)

func (g *shaper) segment() string {
	if g.chance(70) {
		return pick(g, known)
	}
	return pick(g, odd)
}

// request returns a request, and whether it is one that has all that it says.
func (g *shaper) request() (text []byte, whole bool) {
	method, pattern, _ := strings.Cut(pick(g, g.routes), " ")
	if g.chance(10) {
		method = pick(g, []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "M-SEARCH"})
	}
	var path []string
	for _, s := range strings.Split(strings.TrimPrefix(pattern, "/"), "/") {
		switch {
		case strings.HasSuffix(s, "...}"):
			for range g.IntN(4) {
				path = append(path, g.segment())
			}
		case strings.HasPrefix(s, "{") || g.chance(3):
			path = append(path, g.segment())
		default:
			path = append(path, s)
		}
	}
	target := "/" + strings.Join(path, "/")
	if g.chance(15) {
		target += pick(g, []string{"/", "//", "/..", "/../../../beside", "/.", "%00", "/" + pick(g, odd)})
	}
	if g.chance(30) {
		target += "?" + g.query()
	}
	target = strings.NewReplacer(" ", "%20", "\r", "", "\n", "").Replace(target)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, g.host)
	switch {
	case g.chance(85):
		fmt.Fprintf(&b, "Authorization: %s%s\r\n", pick(g, []string{"", "Bearer ", "Simple ", "simple "}), pick(g, g.tokens))
	case g.chance(70):
		fmt.Fprintf(&b, "Authorization: %s\r\n", pick(g, []string{
			"Bearer", "Simple ", "Basic YTpi", "Bearer .", "Bearer a.b", "AWS4-HMAC-SHA256 Credential=", "Bearer " + strings.Repeat("x", 5000), "\xff\xfe",
			g.tokens[0][:21] + "wrong",
		}))
	}
	for range g.IntN(3) {
		b.WriteString(pick(g, []string{
			"Accept: text/plain\r\n", "Accept: application/json\r\n", "Accept: */*;q=0\r\n", "Range: bytes=0-1\r\n", "Range: bytes=-\r\n", "Range: bytes=9-1\r\n",
			"If-Range: \"x\"\r\n", "If-None-Match: *\r\n", "Content-Encoding: base64\r\n", "Content-Encoding: gzip\r\n", "Expect: 100-continue\r\n",
			"Referer: https://example.com/\r\n", "Origin: null\r\n", "X-Forwarded-For: ::1, x\r\n", "Traceparent: 00-zz\r\n", "X-Amz-Target: AmazonSQS.\r\n",
			"X-Long: " + strings.Repeat("l", 30<<10) + "\r\n", "X-Longer: " + strings.Repeat("l", 80<<10) + "\r\n",
		}))
	}
	body := g.body(&b)
	whole = true
	switch {
	case method == "GET" && g.chance(90):
		body = nil
	case g.chance(4): // more is said than comes
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body)+1+g.IntN(1000))
		b.Write(body)
		return b.Bytes(), false
	case g.chance(4):
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		fmt.Fprintf(&b, "%x\r\n%s\r\n%s", len(body)+1, body, pick(g, []string{"", "zz\r\n", "0\r\n\r\n"}))
		return b.Bytes(), false
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	return b.Bytes(), whole
}

func (g *shaper) query() string {
	var parts []string
	for range 1 + g.IntN(3) {
		name := pick(g, []string{"limit", "marker", "acl", "force", "timeout", "stdout", "output", "version", "tail", "since", "account", "published", "name", "dry_run", "Action", "X-Amz-Signature", "type"})
		value := pick(g, []string{"", "1", "0", "-1", "true", "True", "9999999999999999999", "raw", "void", "1s", "%00", "%ff", "..", "a&a", "ZGVhZA", "2026-01-01T00:00:00Z"})
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, "&")
}

// body writes the header of a type, and returns a body which may be of it.
func (g *shaper) body(b *bytes.Buffer) []byte {
	kind := pick(g, []string{
		"application/json", "application/json", "application/json", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded",
		"application/x-amz-json-1.0", "application/zip", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "text/", "\"", "",
	})
	if kind != "" {
		fmt.Fprintf(b, "Content-Type: %s\r\n", kind)
	}
	switch {
	case g.chance(10):
		return nil
	case g.chance(10):
		return []byte(pick(g, []string{"{", "[", "\"", "nul", "{\"a\":}", "\xff\xfe\x00", "{}{}", strings.Repeat("[", 20000), "a=b&c=%", "PK\x03\x04", "\x1f\x8b\x08"}))
	case g.chance(2):
		return bytes.Repeat([]byte("x"), 1<<20+1)
	}
	var out bytes.Buffer
	g.json(&out, 0)
	if g.chance(5) {
		out.Truncate(out.Len() / 2)
	}
	return out.Bytes()
}

func (g *shaper) json(out *bytes.Buffer, depth int) {
	switch n := g.IntN(10); {
	case n < 5 && depth < 4 || depth == 0 && n < 9:
		out.WriteByte('{')
		names := make(map[string]bool)
		for range g.IntN(6) {
			names[pick(g, fields)] = true
		}
		for i, name := range slices.Sorted(maps.Keys(names)) {
			if i > 0 {
				out.WriteByte(',')
			}
			fmt.Fprintf(out, "%q:", name)
			g.json(out, depth+1)
		}
		out.WriteByte('}')
	case n == 5 && depth < 4:
		out.WriteByte('[')
		for i := range g.IntN(4) {
			if i > 0 {
				out.WriteByte(',')
			}
			g.json(out, depth+1)
		}
		out.WriteByte(']')
	case n == 6:
		out.WriteString(pick(g, []string{"0", "-1", "1.5", "1e400", "9223372036854775808", "true", "false", "null"}))
	case n == 7:
		fmt.Fprintf(out, "%q", pick(g, odd))
	case n == 8:
		fmt.Fprintf(out, "%q", pick(g, known))
	default:
		fmt.Fprintf(out, "%q", pick(g, words))
	}
}
