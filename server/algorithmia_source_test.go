package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// sourceOf lists the files of a source, with what they hold.
func (r *running) sourceOf(t *testing.T, name string) map[string]string {
	t.Helper()
	status, text := r.v1(t, "GET", "algorithms/default/"+name+"/source", "")
	var list struct {
		Results []struct {
			Name string
			Size int
		}
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 {
		t.Fatalf("the source of %s: %d %s", name, status, text)
	}
	out := make(map[string]string)
	for _, f := range list.Results {
		status, text := r.v1(t, "GET", "algorithms/default/"+name+"/source/"+f.Name, "")
		if status != 200 || len(text) != f.Size {
			t.Errorf("%s: got %d and %d bytes, want %d", f.Name, status, len(text), f.Size)
		}
		out[f.Name] = text
	}
	return out
}

// TestAlgorithmSource: files are read, written, removed and replaced, and
// nothing that is wrong changes anything.
func TestAlgorithmSource(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	r.made(t, 201, "POST", "default", `{"name": "edited"}`)
	at := "algorithms/default/edited/source"
	want := r.sourceOf(t, "edited")
	same := func(step string) {
		t.Helper()
		got := r.sourceOf(t, "edited")
		if len(got) != len(want) {
			t.Errorf("%s: the files are %q, want %q", step, got, want)
		}
		for name, text := range want {
			if got[name] != text {
				t.Errorf("%s: %s is %q, want %q", step, name, got[name], text)
			}
		}
	}
	for _, step := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "/data/words.txt", "one\r\ntwo", 201},
		{"PUT", "/data/words.txt", "", 200},
		{"PUT", "/data/raw.bin", "\x00\xff", 201},
		{"PUT", "/a%20b/c%25d+ü.txt", "odd names", 201},
		{"DELETE", "/data/words.txt", "", 204},
		{"DELETE", "/data/words.txt", "", 404},
		{"GET", "/data/words.txt", "", 404},
		{"GET", "/data", "", 404},
		{"GET", "/data/raw.bin/x", "", 404},
		{"DELETE", "/data", "", 404},
		{"PUT", "/data", "a file where a directory is", 409},
		{"PUT", "/data/raw.bin/x", "a directory where a file is", 409},
		{"PUT", "/../x", "", 400},
		{"PUT", "/a/..%2f..%2fx", "", 400},
		{"PUT", "/a/../../x", "", 400},
		{"PUT", "/a//x", "", 400},
		{"PUT", "/a%5Cx", "", 400},
		{"PUT", "/a%00x", "", 400},
		{"PUT", "/a%0Ax", "", 400},
		{"PUT", "/a%FFx", "", 400},
		{"PUT", "/.git/config", "", 400},
		{"PUT", "/x/node_modules/y.js", "", 400},
		{"PUT", "/" + strings.Repeat("d/", 150) + "x", "", 400},
		{"GET", "/.git/config", "", 400},
		{"PUT", "/large", strings.Repeat("x", 16<<20+1), 413},
		{"PUT", "", "neither a zip nor a tar", 400},
		{"PUT", "", string(archive(t, file("a", "1"), link("b", "a"))), 400},
		{"PUT", "", string(archive(t, file("../a", "1"))), 400},
		{"PUT", "", zipOf(t, map[string]string{"large": strings.Repeat("x", 16<<20+1)}), 413},
	} {
		status, text := r.v1(t, step.method, at+step.path, step.body)
		if status != step.status {
			t.Errorf("%s %.60s: got %d %s, want %d", step.method, step.path, status, text, step.status)
		}
	}
	want["data/raw.bin"], want["a b/c%d+ü.txt"] = "\x00\xff", "odd names"
	if got := r.sourceOf2(t, at); got != 6 {
		t.Errorf("%d files, want 6", got)
	}
	delete(want, "a b/c%d+ü.txt") // its name is escaped in a path
	if status, _ := r.v1(t, "DELETE", at+"/a%20b/c%25d+%C3%BC.txt", ""); status != 204 {
		t.Errorf("delete it: %d", status)
	}
	same("after files")

	status, text := r.v1(t, "PUT", at, zipOf(t, map[string]string{"src/edited.py": "x = 1\n", "algorithmia.conf": "{}", ".git/config": "left out"}))
	if status != 200 {
		t.Fatalf("a zip: %d %s", status, text)
	}
	want = map[string]string{"src/edited.py": "x = 1\n", "algorithmia.conf": "{}"}
	same("a zip")
	many := make(map[string]string)
	for i := range 2001 {
		many[fmt.Sprintf("f%d", i)] = ""
	}
	if status, text := r.v1(t, "PUT", at, zipOf(t, many)); status != 413 {
		t.Errorf("too many files: %d %s", status, text)
	}
	same("too many files")

	// Who writes at once does not mix.
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			text := strings.Repeat(fmt.Sprint(i), 100_000)
			if status, out := r.v1(t, "PUT", at+"/race", text); status != 200 && status != 201 {
				t.Errorf("write: %d %s", status, out)
			}
		})
	}
	group.Wait()
	if got := r.sourceOf(t, "edited")["race"]; got != strings.Repeat(got[:1], 100_000) {
		t.Error("a file is of several writers")
	}
}

// sourceOf2 counts the files of a source.
func (r *running) sourceOf2(t *testing.T, at string) int {
	t.Helper()
	_, text := r.v1(t, "GET", at, "")
	return strings.Count(text, `"name"`)
}

// TestAlgorithmSourceStays: over a restart, in a backup, and where a crash came
// between two steps; and no longer than the algorithm.
func TestAlgorithmSourceStays(t *testing.T) {
	t.Parallel()
	needPython(t)
	cfg := config(t)
	r := start(t, cfg)
	for _, name := range []string{"kept", "cut", "gone"} {
		r.made(t, 201, "POST", "default", `{"name": "`+name+`"}`)
		r.made(t, 201, "PUT", "default/"+name+"/source/mine.txt", name)
	}
	id := r.made(t, 200, "GET", "default/kept", "").ID
	built := r.made(t, 200, "POST", "default/gone/compile", "")
	status, stream := r.call(t, "GET", "/api/v1/backup", nil, "")
	if status != 200 {
		t.Fatalf("back up: %d", status)
	}
	// Not by this API: all of it goes with the function.
	if status, text := r.call(t, "DELETE", "/api/v1/functions/default/gone", nil, ""); status != 204 {
		t.Fatalf("delete: %d %s", status, text)
	}
	if status, _ := r.v1(t, "GET", "algorithms/"+built.ID, ""); status != 404 {
		t.Errorf("a function that was deleted is an algorithm: %d", status)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "sources", "default", "gone")); err == nil {
		t.Error("its source is still there")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	// As a crash leaves it while all files are replaced.
	dir := filepath.Join(cfg.Dir, "sources")
	if err := os.Rename(filepath.Join(dir, "default", "cut"), filepath.Join(dir, "default", ".old-cut")); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"default/.old-kept", "nobody/left"} {
		if err := os.MkdirAll(filepath.Join(dir, made), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "default", ".old-kept", "mine.txt"), "old")
	write(t, filepath.Join(dir, ".tmp", "file-1"), "half")
	write(t, filepath.Join(dir, "nobody", "left", "mine.txt"), "of no algorithm")

	r = start(t, cfg)
	for _, name := range []string{"kept", "cut"} {
		if got := r.sourceOf(t, name)["mine.txt"]; got != name {
			t.Errorf("%s: got %q after the restart", name, got)
		}
	}
	if got := r.made(t, 200, "GET", "default/kept", "").ID; got != id {
		t.Errorf("the id is %s, was %s", got, id)
	}
	for _, gone := range []string{"default/gone", "default/.old-kept", "default/.old-cut", "nobody", ".tmp/file-1"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}

	restored := config(t)
	restored.Dir = t.TempDir()
	names := strings.Join(extract(t, stream, restored.Dir), "\n")
	if !strings.Contains(names, "sources/default/kept/mine.txt") {
		t.Errorf("the backup has only %s", names)
	}
	again := start(t, restored)
	for _, name := range []string{"kept", "gone"} {
		if got := again.sourceOf(t, name)["mine.txt"]; got != name {
			t.Errorf("%s: got %q of the backup", name, got)
		}
	}
	// The code of versions is not in a backup; the source makes it again.
	if out := again.made(t, 200, "POST", "default/gone/compile", ""); out.Version.Hash != built.Version.Hash {
		t.Errorf("built of the backup: %+v, want %s", out, built.Version.Hash)
	}
}

// TestAlgorithmOfFunction: what was deployed by other means is an algorithm, and
// can be worked on unless a file declares it.
func TestAlgorithmOfFunction(t *testing.T) {
	t.Parallel()
	needPython(t)
	r := start(t, config(t))
	const code = "def go(event):\n    return 'version %d'\n"
	deploy := map[string]any{
		"definition": map[string]any{"runtime": "python", "handler": "app.go", "timeout": "7s", "network": "isolated"},
		"archive":    archive(t, file("app.py", fmt.Sprintf(code, 1))),
	}
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/native", deploy); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	got := r.made(t, 200, "GET", "default/native", "")
	if got.ID == "" || got.Details.Label != "native" || got.Settings.Callability != "private" || got.Settings.Network != "isolated" || got.Settings.Language != "python3" || got.Version.Hash == "" || !got.Compilation.Successful {
		t.Errorf("as an algorithm: %+v", got)
	}
	if again := r.made(t, 200, "GET", got.ID, ""); again.Name != "native" {
		t.Errorf("by its id: %+v", again)
	}
	if name, ok := r.AlgorithmName(t.Context(), got.ID); name != "default/native" || !ok {
		t.Errorf("the id names %q", name)
	}
	if src := r.sourceOf(t, "native"); len(src) != 1 || src["app.py"] != fmt.Sprintf(code, 1) {
		t.Errorf("the source: %q", src)
	}
	if out := r.made(t, 200, "POST", "default/native/compile", ""); out.Version.Hash != got.Version.Hash {
		t.Errorf("compiled: %+v", out)
	}
	// A change makes a working source of the newest build; the settings stay.
	r.made(t, 201, "PUT", "default/native/source/more.txt", "more")
	if src := r.sourceOf(t, "native"); len(src) != 2 || src["app.py"] != fmt.Sprintf(code, 1) {
		t.Errorf("the working source: %q", src)
	}
	r.made(t, 200, "PUT", "default/native/source/app.py", fmt.Sprintf(code, 2))
	out := r.made(t, 200, "POST", "default/native/compile", "")
	if out.ID != got.ID || out.Version.Hash == got.Version.Hash || !out.Compilation.Successful {
		t.Errorf("compiled: %+v", out)
	}
	if status, text := r.called(t, "default/native", "1"); status != 200 || strings.Trim(text, `"`) != "version 1" {
		t.Errorf("what is live: %d %s", status, text)
	}
	r.made(t, 200, "POST", "default/native/versions", `{"details": {"label": "Native"}}`)
	if status, text := r.called(t, "default/native", "1"); status != 200 || strings.Trim(text, `"`) != "version 2" {
		t.Errorf("what is published: %d %s", status, text)
	}
	if out := r.made(t, 200, "GET", "default/native", ""); out.Details.Label != "Native" || out.Settings.Network != "isolated" {
		t.Errorf("at the end: %+v", out)
	}
	// A name that paths have has its id.
	if status, out := r.ask(t, "PUT", "/api/v1/functions/default/builds", deploy); status != 200 {
		t.Fatalf("deploy: %d %+v", status, out.Error)
	}
	odd := r.made(t, 200, "GET", "default/builds", "")
	if status, _ := r.v1(t, "GET", "algorithms/"+odd.ID+"/builds", ""); status != 200 {
		t.Errorf("the builds of builds: %d", status)
	}

	a := newApp(t, map[string]string{
		"runnel.yaml":  "functions: {declared: {runtime: python, source: code}}\n",
		"code/main.py": "def handler(event):\n    return 1\n",
	}, func(c *server.Config) {})
	declared := a.made(t, 200, "GET", "default/declared", "")
	for _, change := range []struct{ method, path, body string }{
		{"PUT", "default/declared/source/main.py", "x"},
		{"DELETE", "default/declared/source/main.py", ""},
		{"DELETE", "default/declared", ""},
		{"PUT", "default/declared", `{"settings": {"network_access": "isolated"}}`},
	} {
		if status, out := a.algorithm(t, change.method, change.path, change.body); status != 409 || !strings.Contains(string(out.Error), "runnel.yaml") {
			t.Errorf("%s %s of what a file declares: %d %s", change.method, change.path, status, out.Error)
		}
	}
	// Its versions are published as any other's.
	if out := a.made(t, 200, "POST", "default/declared/versions", `{"settings": {"algorithm_callability": "public"}}`); out.Version.Semantic != "0.1.0" || out.Version.Hash != declared.Version.Hash {
		t.Errorf("published: %+v", out)
	}
	if status, text := a.call(t, "GET", "/v1/algorithms/default/declared", http.Header{}, ""); status != 200 || !strings.Contains(text, `"algorithm_callability":"public"`) {
		t.Errorf("%d %s", status, text)
	}
}
