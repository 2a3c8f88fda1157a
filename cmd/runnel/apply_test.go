package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/function"
)

// localTime is a time as commands print it.
func localTime(t *testing.T, text string) string {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at.Local().Format(time.DateTime)
}

// writeFiles writes files below a new directory, and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if strings.HasPrefix(text, "#!") {
			mode = 0o700
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// unpack lists an archive: names, with modes, and what is in them.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Mode&0o111 != 0 {
			name += "*"
		}
		out[name] = string(text) + h.Linkname
	}
}

func TestPack(t *testing.T) {
	files := map[string]string{
		"main.py": "def handler(e): pass\n", "lib/a.py": "a", "run.sh": "#!/bin/sh\n", ".env.example": "x",
		".git/HEAD": "x", "lib/__pycache__/a.pyc": "x", "node_modules/x/index.js": "x", ".venv/bin/python": "x", "lib/.#a.py": "x",
	}
	dir := writeFiles(t, files)
	if err := os.Symlink("a.py", filepath.Join(dir, "lib/b.py")); err != nil {
		t.Fatal(err)
	}
	first, err := pack(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"main.py": "def handler(e): pass\n", "lib/a.py": "a", "lib/b.py": "a.py", "run.sh*": "#!/bin/sh\n", ".env.example": "x"}
	if diff := cmp.Diff(want, unpack(t, first)); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	// Elsewhere and later it is the same.
	other := writeFiles(t, files)
	if err := os.Symlink("a.py", filepath.Join(other, "lib/b.py")); err != nil {
		t.Fatal(err)
	}
	if second, err := pack(other); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same source is packed in another way, %v", err)
	}
	if one, err := pack(filepath.Join(dir, "lib/a.py")); err != nil || !cmp.Equal(unpack(t, one), map[string]string{"a.py": "a"}) {
		t.Errorf("a single file: %v, %v", unpack(t, one), err)
	}
	if _, err := pack(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a source that is not there is packed")
	}
	if _, err := pack(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there are no files") {
		t.Errorf("an empty source: %v", err)
	}
}

// TestIgnored compares the list with the server's.
func TestIgnored(t *testing.T) {
	for _, name := range []string{
		".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "__pycache__", "node_modules", ".venv", ".DS_Store", ".#main.py",
		"venv", ".env", "main.py", ".gitignore", "dist", ".mypy_cache", ".idea", "target", "vendor",
	} {
		if got, want := ignored(name), function.Ignored(name); got != want {
			t.Errorf("ignored(%q) = %v, the server has %v", name, got, want)
		}
	}
}

const specText = `functions:
  resize: {runtime: python, source: ./resize, env: {TOKEN: "${env:RESIZE_TOKEN}", SECRET: "${file:secret.txt}"}}
queues:
  thumbs: {}
flows:
  resize-images: {from: queue:images, call: resize, to: [queue:thumbs]}
`

func TestApply(t *testing.T) {
	by := resources()
	const call = "POST /api/v1/apply"
	by[call] = `{"changes": [{"kind": "function", "name": "default/resize", "action": "changed", "detail": "3f9c -> 81aa"},
		{"kind": "queue", "name": "thumbs", "action": "created"}, {"kind": "flow", "name": "resize-images", "action": "unchanged"}, {"kind": "queue", "name": "old", "action": "unchanged", "detail": "kept: it holds messages"}]}`
	f := startAPI(t, by)
	t.Setenv("RESIZE_TOKEN", "t0ken")
	dir := writeFiles(t, map[string]string{"runnel.yaml": specText, "secret.txt": "hush\n", "resize/main.py": "def handler(e): pass\n"})
	out := mustRun(t, "", "apply", "-f", filepath.Join(dir, "runnel.yaml"))
	want := []string{"function  default/resize  changed    3f9c -> 81aa", "queue     thumbs          created", "queue     old             unchanged  kept: it holds messages"}
	if diff := cmp.Diff(want, out.lines()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if got := out.stderr.String(); got != "2 changed, 2 unchanged\n" {
		t.Errorf("summary %q", got)
	}
	mustRun(t, "", "apply", "-f", filepath.Join(dir, "runnel.yaml"), "--dry-run", "--name", "mine.yaml")
	var got [2]applyRequest
	for i, text := range f.sent(call) {
		if err := json.Unmarshal([]byte(text), &got[i]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"main.py": "def handler(e): pass\n"}, unpack(t, got[0].Archives["default/resize"])); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
	got[0].Archives, got[1].Archives = nil, nil
	request := applyRequest{Name: "runnel.yaml", Spec: specText, Env: map[string]string{"RESIZE_TOKEN": "t0ken"}, Files: map[string]string{"secret.txt": "hush\n"}}
	dry := request
	dry.Name, dry.DryRun = "mine.yaml", true
	if diff := cmp.Diff([2]applyRequest{request, dry}, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

const wrongText = `functions:
  resize: {runtime: pyton, source: ./resize}
  shrink: {runtime: python, source: ./nothing}
flows:
  f: {from: queue:elsewhere, call: rezise}
`

func TestApplyFaults(t *testing.T) {
	f := startAPI(t, resources())
	dir := writeFiles(t, map[string]string{"wrong.yaml": wrongText, "resize/main.py": "x"})
	t.Chdir(dir)
	check := func(url string, want ...string) {
		t.Helper()
		got, text := status(t, "apply", "-f", "wrong.yaml", "--url", url)
		if got != exitUsage {
			t.Errorf("status %d, want %d", got, exitUsage)
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != len(want) {
			t.Fatalf("got\n%s\nwant %d lines", text, len(want))
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("line %d is %q, want %q", i+1, lines[i], want[i])
			}
		}
	}
	check(f.url, "wrong.yaml:2: functions.resize.runtime: ", "wrong.yaml:3: functions.shrink.source: there is no ./nothing",
		"wrong.yaml:5: flows.f.from: there is no queue elsewhere", "wrong.yaml:5: flows.f.call: there is no function default/rezise, did you mean resize?", "runnel: 4 faults, nothing was changed")
	// Without a server all faults are told that it is not needed for.
	check("http://127.0.0.1:1", "wrong.yaml:2: functions.resize.runtime: ", "wrong.yaml:3: functions.shrink.source: ", "runnel: 2 faults, nothing was changed")
	if n := f.count("POST /api/v1/apply"); n != 0 {
		t.Errorf("a file with faults was sent %d times", n)
	}

	// A function may call what the server has already.
	dir = writeFiles(t, map[string]string{"runnel.yaml": "flows: {f: {from: queue:images, call: team/shrink}}\n"})
	t.Chdir(dir)
	if got, text := status(t, "apply", "-f", "runnel.yaml"); got != exitFailed || !strings.Contains(text, "the API has no POST /api/v1/apply") {
		t.Errorf("status %d, %s", got, text)
	}
	if got, text := status(t, "apply", "-f", "runnel.yaml", "--url", "http://127.0.0.1:1"); got != exitFailed || !strings.Contains(text, "no server answers") {
		t.Errorf("without a server: status %d, %s", got, text)
	}
	if got, text := status(t, "apply", "-f", "none.yaml"); got != exitFailed || !strings.Contains(text, "none.yaml: no such file") {
		t.Errorf("without a file: status %d, %s", got, text)
	}
	if got, _ := status(t, "apply"); got != exitUsage {
		t.Errorf("without -f: status %d", got)
	}
}

// TestApplyRefused has faults that only the server finds.
func TestApplyRefused(t *testing.T) {
	by := resources()
	by["POST /api/v1/apply"] = `400 {"error": {"code": "invalid", "message": "2 faults, the first: ...", "faults": [
		{"file": "runnel.yaml", "line": 1, "path": "flows.f.filter", "message": "unknown name bdy"}, {"path": "functions.resize", "message": "SyntaxError:\nline 2"}]}}`
	startAPI(t, by)
	t.Chdir(writeFiles(t, map[string]string{"runnel.yaml": "queues: {a: {}}\n"}))
	got, text := status(t, "apply", "-f", "runnel.yaml")
	want := "runnel.yaml:1: flows.f.filter: unknown name bdy\nfunctions.resize: SyntaxError:\n    line 2\nrunnel: 2 faults: what has one is as it was\n"
	if got != exitUsage || text != want {
		t.Errorf("status %d, got\n%swant\n%s", got, text, want)
	}
}

func TestCheck(t *testing.T) {
	noEnvironment(t)
	t.Setenv("RESIZE_TOKEN", "x")
	t.Chdir(writeFiles(t, map[string]string{
		"runnel.yaml": "server: {addr: 127.0.0.1:0, drain_timeout: 3s}\n" + strings.Replace(specText, "queues:\n", "queues:\n  images: {}\n", 1),
		"wrong.yaml":  "server: {adress: x, drain_timeout: soon, tls_cert: cert.pem}\n" + wrongText,
		"secret.txt":  "x", "resize/main.py": "x",
	}))
	// One queue is that of the dead letters.
	if got := mustRun(t, "", "check", "-f", "runnel.yaml").stdout.String(); got != "runnel.yaml: 1 function, 3 queues and 1 flow, no faults\n" {
		t.Errorf("got %q", got)
	}
	got, text := status(t, "check", "-f", "wrong.yaml")
	if got != exitUsage {
		t.Errorf("status %d, want %d", got, exitUsage)
	}
	for _, want := range []string{
		"wrong.yaml:1: there is no key \"adress\", did you mean addr?\n", "wrong.yaml:1: drain_timeout: \"soon\" is not a duration", "wrong.yaml:1: tls_cert: ",
		"wrong.yaml:3: functions.resize.runtime: ", "wrong.yaml:4: functions.shrink.source: ", "wrong.yaml:6: flows.f.from: ", "wrong.yaml:6: flows.f.call: ", "\nrunnel: 7 faults, nothing was changed\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%swant %q in it", text, want)
		}
	}
}
