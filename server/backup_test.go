package server_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// extract writes the files of a backup into a directory and returns the names
// of its entries.
func extract(t *testing.T, stream, dir string) (names []string) {
	t.Helper()
	for tr := tar.NewReader(strings.NewReader(stream)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(name, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		write(t, name, string(data))
	}
}

func TestBackupRestores(t *testing.T) {
	cfg := config(t)
	r := start(t, cfg)
	url := r.createQueue(t, "images")
	r.send(t, url, "one", "two")
	deleted := r.receive(t, url)
	r.sqs(t, "DeleteMessage", map[string]string{"QueueUrl": url, "ReceiptHandle": deleted[0].ReceiptHandle}, nil)
	r.send(t, url, "three")
	status, stream := r.call(t, "GET", "/api/v1/backup", nil, "")
	if status != 200 {
		t.Fatalf("got %d %s", status, stream)
	}
	r.send(t, url, "after the backup")
	if err := r.stop(); err != nil { // also ends the handler of the backup
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "backup.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}

	restored := config(t)
	restored.Dir = t.TempDir()
	names := extract(t, stream, restored.Dir)
	if last := names[len(names)-1]; last != "runnel-backup.json" {
		t.Errorf("the last entry is %s", last)
	}
	again := start(t, restored)
	url = again.URL() + "/000000000000/images"
	if got := bodies(again.receive(t, url)); !cmp.Equal(got, []string{"three"}) {
		t.Errorf("visible in the backup: got %q, want three", got)
	}
	if _, text := again.call(t, "GET", "/api/v1/queues", nil, ""); !strings.Contains(text, `"visible":0,"in_flight":2,`) {
		t.Errorf("the message that was in flight is not: %s", text)
	}
}

// TestLeftCopyIsRemoved: a process that was killed during a backup leaves its
// copy, whose files nobody would ever free.
func TestLeftCopyIsRemoved(t *testing.T) {
	cfg := config(t)
	first := start(t, cfg)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(cfg.Dir, "backup.tmp", "db")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(left, "000001.sst"), "old")
	start(t, cfg)
	if _, err := os.Stat(filepath.Dir(left)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is still there: %v", err)
	}
}

func TestPeekReadsInParts(t *testing.T) {
	r := start(t, config(t))
	url := r.createQueue(t, "images")
	large := strings.Repeat("x", 1<<20)
	for range 6 {
		r.send(t, url, large)
	}
	for range 30 {
		r.send(t, url, "small")
	}
	count := func(query string) (messages int, more bool) {
		status, text := r.call(t, "GET", "/api/v1/queues/images/messages?"+query, nil, "")
		if status != 200 {
			t.Fatalf("got %d %.200s", status, text)
		}
		return strings.Count(text, `"position":`), strings.Contains(text, `"next":`)
	}
	for _, test := range []struct {
		query    string
		messages int
		more     bool
	}{
		{"limit=100", 4, true}, // 4 MiB
		{"limit=100&after=3", 32, false},
		{"limit=5&after=5", 5, true},
		{"limit=30&after=5", 30, false},
		{"limit=20&after=5", 20, true},
		{"after=35", 0, false},
	} {
		if messages, more := count(test.query); messages != test.messages || more != test.more {
			t.Errorf("%s: got %d messages and more %v, want %d and %v", test.query, messages, more, test.messages, test.more)
		}
	}
}
