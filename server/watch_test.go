package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runnel-io/runnel/server"
)

// TestWatch edits files as editors do.
func TestWatch(t *testing.T) {
	t.Parallel()
	code := func(n int) string { return fmt.Sprintf("def handler(event):\n    return %d\n", n) }
	spec := "functions: {f: {runtime: python, source: ./main}}\nqueues: {in: {}, out: {}}\nflows: {f: {from: queue:in, call: f, to: [queue:out]}}\n"
	a := newApp(t, map[string]string{"main/main.py": code(1), "runnel.yaml": spec}, func(cfg *server.Config) { cfg.Watch = true })
	answers := func(want string) {
		t.Helper()
		a.until("the answer is "+want, func() bool {
			_, text := a.call(t, "POST", "/api/v1/functions/default/f/invoke", nil, "0")
			return text == want
		})
	}
	answers("1")
	// By a rename, as editors save.
	a.write("main/.main.py.tmp", code(2))
	if err := os.Rename(filepath.Join(a.dir, "main/.main.py.tmp"), filepath.Join(a.dir, "main/main.py")); err != nil {
		t.Fatal(err)
	}
	answers("2")
	// A spec that is broken, and then gone, in between: what runs goes on, and
	// code that changed meanwhile is taken when the spec is whole again.
	a.write("runnel.yaml", "functions: {f: {runtime: pyton")
	a.write("main/main.py", code(3))
	if err := os.Remove(filepath.Join(a.dir, "runnel.yaml")); err != nil {
		t.Fatal(err)
	}
	a.write("runnel.yaml", spec)
	answers("3")
	// Code that does not load is tried again with the next change.
	a.write("main/main.py", "def handler(\n")
	a.write("main/main.py", code(4))
	answers("4")
}

// TestWatcherLooks: what makes a difference, and what does not.
func TestWatcherLooks(t *testing.T) {
	a := &app{t: t, dir: t.TempDir()}
	spec := "functions:\n  f: {runtime: python, source: ./link, env: {A: \"${file:value.txt}\"}}\n"
	a.write("runnel.yaml", spec)
	a.write("real/main.py", "1")
	a.write("value.txt", "1")
	if err := os.Symlink("real", filepath.Join(a.dir, "link")); err != nil {
		t.Fatal(err)
	}
	w := server.NewWatcher(filepath.Join(a.dir, "runnel.yaml"))
	for _, test := range []struct {
		name, file, text string
		differs          bool
	}{
		{"nothing", "", "", false},
		{"code", "real/main.py", "22", true},
		{"a new file", "real/b.py", "1", true},
		{"dependencies", "real/node_modules/x/index.js", "1", false},
		{"caches", "real/__pycache__/main.pyc", "1", false},
		{"an editor's lock", "real/.#main.py", "1", false},
		{"a value from a file", "value.txt", "22", true},
		{"a file beside", "README", "1", false},
		{"a spec with a fault", "runnel.yaml", spec + "flows: [", true},
		{"code while it has", "real/main.py", "333", true},
		{"the spec", "runnel.yaml", spec, true},
	} {
		before := w.Look()
		if test.file != "" {
			a.write(test.file, test.text)
		}
		if got := w.Look() != before; got != test.differs {
			t.Errorf("%s: a difference: %v, want %v", test.name, got, test.differs)
		}
	}
}

// TestWatcherIsCheap measures a look at a large source.
func TestWatcherIsCheap(t *testing.T) {
	a := &app{t: t, dir: t.TempDir()}
	a.write("runnel.yaml", "functions: {f: {runtime: python, source: ./main}}\n")
	for i := range 1000 {
		a.write(fmt.Sprintf("main/p%d/m%d.py", i/50, i), "1")
	}
	w := server.NewWatcher(filepath.Join(a.dir, "runnel.yaml"))
	const looks = 5
	begun := time.Now()
	for range looks {
		w.Look()
	}
	took := time.Since(begun) / looks
	t.Logf("a look at 1000 files takes %v", took)
	if took > time.Second {
		t.Errorf("a look at 1000 files takes %v", took)
	}
}
