package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// TestWritable: a function writes where its definition says, if the user of its
// workers may, and nowhere else.
func TestWritable(t *testing.T) {
	t.Parallel()
	needPython(t)
	const code = `
def handler(event):
    try:
        open(event, "w").write("x")
        return "written"
    except OSError as e:
        return type(e).__name__
`
	// Not below /tmp, which workers may have as a directory of their own.
	home, err := os.UserHomeDir()
	if err != nil || strings.HasPrefix(home, os.TempDir()) {
		t.Skipf("no directory outside of %s: home is %q, %v", os.TempDir(), home, err)
	}
	root, err := os.MkdirTemp(home, "runnel-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	open, closed := filepath.Join(root, "open"), filepath.Join(root, "closed")
	for _, dir := range []string{open, closed} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil { // past the umask
			t.Fatal(err)
		}
	}
	for _, user := range []string{server.WorkerUserOwn, server.WorkerUserServer} {
		cfg := config(t)
		cfg.WorkerUser = user
		r := start(t, cfg)
		definition := map[string]any{"runtime": "python", "writable": []string{open}}
		if status, out := r.ask(t, "PUT", "/api/v1/functions/default/f", map[string]any{"definition": definition, "archive": archive(t, file("main.py", code))}); status != 200 {
			t.Fatalf("deploy: %d %+v", status, out.Error)
		}
		for path, want := range map[string]string{
			filepath.Join(open, user): `"written"`, filepath.Join(closed, user): `"PermissionError"`,
		} {
			if _, text := r.called(t, "default/f", `"`+path+`"`); text != want {
				t.Errorf("%s: %s: got %s, want %s", user, path, text, want)
			}
		}
	}
}
