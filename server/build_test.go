package server_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// zipOf is a zip of files.
func zipOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// build is what the API says of one.
type build struct {
	ID, Function, For, Status, Version, Error string
}

func (r *running) builds(t *testing.T, name string) []build {
	t.Helper()
	status, text := r.call(t, "GET", "/api/v1/functions/default/"+name+"/builds", nil, "")
	var out struct{ Builds []build }
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
		t.Fatalf("got %d %s", status, text)
	}
	return out.Builds
}

// TestUploads deploys archives, and reads the builds.
func TestUploads(t *testing.T) {
	t.Parallel()
	needs(t, "python3")
	cfg := config(t)
	r := start(t, cfg)
	const path = "/api/v1/functions/default/echo"
	upload := func(definition, archive string) (int, build, string) {
		t.Helper()
		header := http.Header{"Content-Type": {"application/zip"}}
		if definition != "" {
			header.Set("Runnel-Definition", definition)
		}
		status, text := r.call(t, "POST", path+"/builds", header, archive)
		var b build
		if status != 200 {
			return status, b, text
		}
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return status, b, text
	}
	good := zipOf(t, map[string]string{"main.py": echo, ".git/config": "x"})
	if status, _, text := upload("", good); status != 404 {
		t.Errorf("got %d %s for a function that there is not, want 404", status, text)
	}
	for _, definition := range []string{"{", `{"runtime": "python"} x`, `{"runtim": "python"}`, `{"runtime": "cobol"}`, `{"runtime": "python", "env": {"A": "***"}}`} {
		if status, _, text := upload(definition, good); status != 400 {
			t.Errorf("%s: got %d %s, want 400", definition, status, text)
		}
	}
	status, first, text := upload(`{"runtime": "python"}`, good)
	if status != 200 || first.Status != "succeeded" || first.Version == "" || first.Function != "default/echo" {
		t.Fatalf("got %d %s", status, text)
	}
	if status, same, text := upload("", good); status != 200 || same.Status != "unchanged" || same.Version != first.Version {
		t.Errorf("got %d %s for the same, want unchanged", status, text)
	}
	if status, _, text := upload("", "hello"); status != 400 || !strings.Contains(text, "neither a zip") {
		t.Errorf("got %d %s for something else", status, text)
	}
	if status, _, text := upload("", zipOf(t, map[string]string{"main.py": "def handler(event)"})); status != 400 || !strings.Contains(text, "SyntaxError") {
		t.Errorf("got %d %s for code that does not load", status, text)
	}
	if status, text := r.call(t, "POST", path+"/invoke", http.Header{"Content-Type": {"application/json"}}, `{"a":1}`); status != 200 || text != `{"a":1}` {
		t.Errorf("got %d %s of the version before", status, text)
	}
	check := func() {
		t.Helper()
		all := r.builds(t, "echo")
		if len(all) != 2 || all[0].Status != "failed" || !strings.Contains(all[0].Error, "SyntaxError") || all[1] != first {
			t.Fatalf("got %+v, want one that failed after %+v", all, first)
		}
		status, text := r.call(t, "GET", path+"/builds/"+first.ID, nil, "")
		if status != 200 || !strings.Contains(text, first.Version) {
			t.Errorf("got %d %s of one build", status, text)
		}
		status, text = r.call(t, "GET", path+"/builds/"+all[0].ID+"/log", nil, "")
		if status != 200 || !strings.Contains(text, "Python 3.") || !strings.Contains(text, "SyntaxError") {
			t.Errorf("got %d and the log %s", status, text)
		}
		status, text = r.call(t, "GET", path+"/builds/"+first.ID+"/log?follow=true", nil, "")
		if status != 200 || !strings.Contains(text, "event: log\ndata: {\"text\":\"succeeded\"}\n\nevent: build\ndata: {\"id\":\""+first.ID) {
			t.Errorf("got %d and the events %s", status, text)
		}
	}
	check()
	for _, gone := range []string{path + "/builds/0123456789abcdef", path + "/builds/x/log", path + "x/builds", "/api/v1/functions/other/echo/builds"} {
		if status, text := r.call(t, "GET", gone, nil, ""); status != 404 {
			t.Errorf("%s: got %d %s, want 404", gone, status, text)
		}
	}
	// Nothing of what was sent stays, and all that is told is there again.
	left, err := filepath.Glob(filepath.Join(cfg.Dir, "workers", "*load-*"))
	if more, _ := filepath.Glob(filepath.Join(cfg.Dir, "workers", "source-*")); err != nil || len(left)+len(more) != 0 {
		t.Errorf("got %v and %v left", left, more)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	check()
}

// TestSourcesOfAFile runs the functions that docs/spec.md shows inside a file,
// and one of an archive.
func TestSourcesOfAFile(t *testing.T) {
	t.Parallel()
	needs(t, "python3", "node")
	guide, err := os.ReadFile("../docs/spec.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(guide), "```yaml\nfunctions:\n  greet:")
	text, _, ok2 := strings.Cut(text, "```")
	if !ok || !ok2 {
		t.Fatal("docs/spec.md has no inline code")
	}
	cfg := config(t)
	dir := t.TempDir()
	cfg.SpecFile = filepath.Join(dir, "runnel.yaml")
	write(t, cfg.SpecFile, "functions:\n  greet:"+text+"  packed: {runtime: python, source: packed.zip}\n")
	write(t, filepath.Join(dir, "packed.zip"), zipOf(t, map[string]string{"main.py": echo}))
	r := start(t, cfg)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"greet": `"hello you"`, "shout": `"YOU!"`, "packed": `{"name":"you"}`} {
		status, got := r.call(t, "POST", "/api/v1/functions/default/"+name+"/invoke", http.Header{"Content-Type": {"application/json"}}, `{"name":"you"}`)
		if status != 200 || got != want {
			t.Errorf("%s: got %d %s, want %s", name, status, got, want)
		}
	}
}

// needs skips a test for which a program is missing; not in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", p)
			}
			t.Skipf("%s is missing", p)
		}
	}
}
