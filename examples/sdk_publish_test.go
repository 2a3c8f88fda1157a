package examples_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// boto3 returns a Python that has boto3: the one of conformance/install.
func boto3(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("RUNNEL_CONFORMANCE_DIR")
	if dir == "" {
		cache := os.Getenv("XDG_CACHE_HOME")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Fatal(err)
			}
			cache = filepath.Join(home, ".cache")
		}
		dir = filepath.Join(cache, "runnel-conformance")
	}
	python := filepath.Join(dir, "boto3", "bin", "python")
	_, err := os.Stat(filepath.Join(dir, "boto3", "stamp")) // is written last
	switch {
	case errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "":
		t.Skipf("%s is not installed: run conformance/install boto3", python)
	case err != nil:
		t.Fatalf("run conformance/install boto3 first: %v", err)
	}
	return python
}

// TestSDKPublish runs the example with a Python that has its requirements
// already, so that it needs no registry.
func TestSDKPublish(t *testing.T) {
	t.Setenv("RUNNEL_PYTHON", boto3(t))
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("sdk-publish")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "publish", "requirements.txt")); err != nil {
		t.Fatal(err)
	}
	b := serve(t, filepath.Join(dir, "runnel.yaml"))
	send(t, b, "orders", `{"id": 7, "items": ["book", "lamp"]}`)
	if diff := cmp.Diff([]string{`{"order":7,"parcels":2}`}, bodies(receive(t, b, "receipts", 1))); diff != "" {
		t.Errorf("receipts (-want +got):\n%s", diff)
	}
	got := bodies(receive(t, b, "parcels", 2))
	slices.Sort(got)
	if diff := cmp.Diff([]string{`{"order": 7, "item": "book"}`, `{"order": 7, "item": "lamp"}`}, got); diff != "" {
		t.Errorf("parcels (-want +got):\n%s", diff)
	}
}
