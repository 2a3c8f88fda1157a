package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/worker"
)

// shell is a command that runs a script.
func shell(t *testing.T, script string) worker.RunCommand {
	t.Helper()
	return worker.RunCommand{Args: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(), TempDir: t.TempDir()}
}

func TestRun(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	c := shell(t, `cat; echo one; echo two >&2; printf three; echo "$A-$SECRET" > new; mkdir sub; echo x > sub/file; chmod 0 sub/file; echo y > $TMPDIR/z`)
	c.Env, c.Writable = []string{"A=b"}, []string{c.Dir}
	var lines []string
	c.Output = func(line string) { lines = append(lines, line) }
	if err := worker.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, lines); diff != "" {
		t.Error(diff)
	}
	raw, err := os.ReadFile(filepath.Join(c.Dir, "new"))
	if err != nil || string(raw) != "b-\n" {
		t.Errorf("what it wrote: got %q, %v", raw, err)
	}
	for _, path := range []string{c.Dir, filepath.Join(c.Dir, "new"), filepath.Join(c.Dir, "sub", "file")} {
		stat, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if owner := stat.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
			t.Errorf("%s belongs to user %d", path, owner)
		}
	}
	if left, err := os.ReadDir(c.TempDir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRunFails(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(secret, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, script string
		set          func(*worker.RunCommand)
		want         string
	}{
		{"status", "echo why; echo; exit 3", nil, "sh: exit status 3: why"},
		{"signal", "kill -9 $$", nil, "sh: signal killed"},
		{"no program", "", func(c *worker.RunCommand) { c.Args[0] = "/no/such/program" }, "starting program: exec: \"/no/such/program\""},
		{"hidden", "echo x > " + secret + "/x", func(c *worker.RunCommand) { c.Hidden = []string{secret} }, "ermission denied"},
		{"file size", "exec head -c 2000000 /dev/zero > $TMPDIR/x", func(c *worker.RunCommand) { c.FileBytes = 1 << 20 }, "ended by a limit: file size: it wrote to a file beyond 1MiB"},
		{"space", `i=0; while :; do head -c 100000 /dev/zero > w$i; i=$((i+1)); done`, func(c *worker.RunCommand) { c.TempBytes, c.Writable = 4<<20, []string{c.Dir} }, "ended by a limit: temporary space: it wrote more than 4MiB"},
		{"processor", "while :; do :; done", func(c *worker.RunCommand) { c.CPU = time.Second }, "ended by a limit: cpu time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := shell(t, tt.script)
			if tt.set != nil {
				tt.set(&c)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var lines []string
			c.Output = func(line string) { lines = append(lines, line) }
			err := worker.Run(ctx, c)
			if err == nil || !strings.Contains(err.Error()+strings.Join(lines, "\n"), tt.want) {
				t.Errorf("got %v, %q, want %q", err, lines, tt.want)
			}
			if left, err := os.ReadDir(c.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A command that is given up ends with all that it started.
func TestRunIsKilled(t *testing.T) {
	c := shell(t, `perl -MPOSIX -e 'fork and exit; setsid; fork and exit; $| = 1; print "$$\n"; sleep 600'; sleep 600`)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("nobody wants it")
	orphan := 0
	c.Output = func(line string) {
		orphan, _ = strconv.Atoi(line)
		cancel(gone)
	}
	begun := time.Now()
	err := worker.Run(ctx, c)
	if !errors.Is(err, gone) || !strings.HasPrefix(fmt.Sprint(err), "sh was killed") {
		t.Errorf("got %v, want that it was killed since %v", err, gone)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if orphan == 0 || running(orphan) {
		t.Errorf("process %d is still there", orphan)
	}
	if err := worker.Run(ctx, c); !errors.Is(err, gone) {
		t.Errorf("a context that has ended: got %v", err)
	}
}
