package function_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// copied returns the files of a version, with the target of links.
func copied(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(name)
			files[rel] = "-> " + to
			return err
		}
		text, err := os.ReadFile(name)
		files[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tree writes files, or links where the text begins with "-> ", and opens
// them as a source.
func tree(t *testing.T, files map[string]string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	source, err := function.Source(dir)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && len(text) > 3 && text[:3] == "-> " {
			err = os.Symlink(text[3:], name)
		} else if err == nil {
			err = os.WriteFile(name, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCopyOfTheSource(t *testing.T) {
	b := newBench(t)
	files := map[string]string{
		"worker": "x", "text": "one", "lib/a/b.txt": "b",
		"lib/link": "-> a/b.txt", "up": "-> lib/../text", "dir": "-> lib/a",
	}
	all := map[string]string{
		".git/config": "x", "lib/.hg/x": "x", "lib/__pycache__/x.pyc": "x", "node_modules/x/index.js": "x",
		".venv/bin/python": "x", ".#text": "-> somebody@somewhere", "lib/.DS_Store": "x",
	}
	for name, text := range files {
		all[name] = text
	}
	first := b.deploy(echo(), tree(t, all))
	if diff := cmp.Diff(files, copied(t, b.runner.started()[0].Dir)); diff != "" {
		t.Errorf("the files (-want +got):\n%s", diff)
	}
	if again := b.deploy(echo(), tree(t, files)); again.Version != first.Version {
		t.Errorf("got version %s without what is ignored, want %s", again.Version, first.Version)
	}
}

func TestVersionIsOfRuntimeHandlerAndFiles(t *testing.T) {
	b := newBench(t)
	old := time.Unix(1, 0)
	first := b.deploy(echo(), code("one")).Version
	for _, test := range []struct {
		name string
		same bool
		edit func(def *runnel.Function, files fstest.MapFS)
	}{
		{"nothing", true, func(*runnel.Function, fstest.MapFS) {}},
		{"times", true, func(_ *runnel.Function, f fstest.MapFS) { f["text"].ModTime = old }},
		{"other bits of the mode", true, func(_ *runnel.Function, f fstest.MapFS) { f["text"].Mode = 0o600 }},
		{"settings", true, func(d *runnel.Function, _ fstest.MapFS) {
			d.Timeout, d.Source, d.Env = time.Hour, "x", map[string]string{"A": "b"}
		}},
		{"exec bit", false, func(_ *runnel.Function, f fstest.MapFS) { f["text"].Mode = 0o755 }},
		{"content", false, func(_ *runnel.Function, f fstest.MapFS) { f["text"].Data = []byte("two") }},
		{"name", false, func(_ *runnel.Function, f fstest.MapFS) { f["text2"] = f["text"]; delete(f, "text") }},
		{"one more", false, func(_ *runnel.Function, f fstest.MapFS) { f["empty"] = &fstest.MapFile{} }},
		{"handler", false, func(d *runnel.Function, _ fstest.MapFS) { d.Handler = "./worker x" }},
	} {
		def, files := echo(), code("one")
		test.edit(&def, files)
		if got := b.deploy(def, files).Version; (got == first) != test.same {
			t.Errorf("%s: got version %s after %s, want the same: %t", test.name, got, first, test.same)
		}
	}
}

func TestSourceThatIsRefused(t *testing.T) {
	many := fstest.MapFS{"worker": {Mode: 0o755}}
	for i := range 50_000 {
		many[fmt.Sprintf("d%d/f%d", i%500, i)] = &fstest.MapFile{}
	}
	large := t.TempDir()
	write(t, large, map[string]string{"worker": "x", "big": ""})
	// Without blocks: it is refused before it is read.
	if err := os.Truncate(filepath.Join(large, "big"), 250<<20); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		source fs.FS
		code   runnel.Code
		text   string
	}{
		{"empty", fstest.MapFS{}, runnel.CodeInvalid, "no files"},
		{"only ignored", tree(t, map[string]string{".git/x": "x"}), runnel.CodeInvalid, "no files"},
		{"too many", many, runnel.CodeTooLarge, "more than 50000 files"},
		{"too large", os.DirFS(large), runnel.CodeTooLarge, "larger than 250 MiB"},
		{"device", fstest.MapFS{"tty": {Mode: fs.ModeDevice}}, runnel.CodeInvalid, "tty"},
		{"absolute link", tree(t, map[string]string{"worker": "x", "l": "-> " + outside}), runnel.CodeInvalid, "link l "},
		{"link out", tree(t, map[string]string{"worker": "x", "d/l": "-> ../../x"}), runnel.CodeInvalid, "link d/l "},
		{"link nowhere", tree(t, map[string]string{"worker": "x", "l": "-> x"}), runnel.CodeInvalid, "link l "},
		{"link to what is ignored", tree(t, map[string]string{"worker": "x", ".git/x": "x", "l": "-> .git/x"}), runnel.CodeInvalid, "link l "},
		// As text it stays inside; the system goes out over the other link.
		{"link over a link", tree(t, map[string]string{
			"worker": "x", "d/e/f/up": "-> ../../..", "l": "-> d/e/f/up/../d", "d/x": "x",
		}), runnel.CodeInvalid, "link l "},
		{"link in a circle", tree(t, map[string]string{"worker": "x", "a": "-> b", "b": "-> a"}), runnel.CodeInvalid, "link a "},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.set.Deploy(t.Context(), echo(), test.source)
			wantCode(t, err, test.code, test.text)
			if got := b.versions(); len(got) != 0 {
				t.Errorf("got the directories %v, want none", got)
			}
		})
	}
}

func TestSourceOfOneFile(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"worker": "x", "other": "y"})
	source, err := function.Source(filepath.Join(dir, "worker"))
	if err != nil {
		t.Fatal(err)
	}
	b.deploy(echo(), source)
	if diff := cmp.Diff(map[string]string{"worker": "x"}, copied(t, b.runner.started()[0].Dir)); diff != "" {
		t.Errorf("the files (-want +got):\n%s", diff)
	}
	_, err = function.Source(filepath.Join(dir, "none"))
	wantCode(t, err, runnel.CodeInvalid, "does not exist")
}

// What a program writes beside its code does no harm to the version.
func TestFilesBesideTheCode(t *testing.T) {
	b := newBench(t)
	d := b.deploy(echo(), code("one"))
	b.close()
	write(t, filepath.Join(b.dir, "functions", "demo", "echo", d.Version, "code"), map[string]string{"cache/x": "x"})
	b.open()
	if got, want := b.call("demo/echo"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := b.versions(), []string{d.Version}; !slices.Equal(got, want) {
		t.Errorf("got the directories %v, want %v", got, want)
	}
}
