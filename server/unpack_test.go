package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// archive is a gzipped tar of entries; the content of a regular one is its
// Linkname.
func archive(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		var content string
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func link(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
}

func TestUnpack(t *testing.T) {
	tmp := t.TempDir()
	code, remove, err := server.Unpack(tmp, archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0123"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "lib/", Mode: 0o700},
		file("./main.py", "1"), file("lib/a.py", "2"), tar.Header{Typeflag: tar.TypeReg, Name: "run", Linkname: "3", Mode: 0o700}, link("lib/b.py", "a.py")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"main.py": "1", "lib/a.py": "2", "run": "3", "lib/b.py": "2"} {
		if got, err := fs.ReadFile(code, name); err != nil || string(got) != want {
			t.Errorf("%s: got %q %v, want %q", name, got, err, want)
		}
	}
	if info, err := fs.Stat(code, "run"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("run: got %v %v, want a program", info, err)
	}
	remove()
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("got %v %v, want nothing left", left, err)
	}
}

// TestUnpackHostile: nothing is written outside, nothing is left, and the error
// is the sender's, without a path of this machine.
func TestUnpackHostile(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	many := make([]tar.Header, 60_001)
	for i := range many {
		many[i] = tar.Header{Typeflag: tar.TypeDir, Name: "d/"}
	}
	bomb := archive(t, file("zeros", strings.Repeat("\x00", 1<<20)))
	for _, test := range []struct {
		name    string
		archive []byte
		code    runnel.Code
	}{
		{"not a gzip", []byte("PK"), runnel.CodeInvalid},
		{"cut off", bomb[:len(bomb)/2], runnel.CodeInvalid},
		{"parent", archive(t, file("../x", "1")), runnel.CodeInvalid},
		{"parent within", archive(t, file("a/../../x", "1")), runnel.CodeInvalid},
		{"absolute", archive(t, file(filepath.Join(outside, "x"), "1")), runnel.CodeInvalid},
		{"through a link", archive(t, link("a", outside), file("a/x", "1")), runnel.CodeInvalid},
		{"through two links", archive(t, link("a", "."), link("a/b", outside), file("b/x", "1")), runnel.CodeInvalid},
		{"over a link", archive(t, link("a", filepath.Join(outside, "x")), file("a", "1")), runnel.CodeInvalid},
		{"a relative link", archive(t, link("a", "../.."), file("a/x", "1")), runnel.CodeInvalid},
		{"twice", archive(t, file("a", "1"), file("a", "2")), runnel.CodeInvalid},
		{"below a file", archive(t, file("a", "1"), file("a/b", "2")), runnel.CodeInvalid},
		{"a device", archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), runnel.CodeInvalid},
		{"a hard link", archive(t, file("a", "1"), tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}), runnel.CodeInvalid},
		{"too many", archive(t, many...), runnel.CodeTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			tmp := t.TempDir()
			_, _, err := server.Unpack(tmp, test.archive)
			if runnel.CodeOf(err) != test.code {
				t.Fatalf("got %v, want %s", err, test.code)
			}
			if strings.Contains(strings.ReplaceAll(err.Error(), outside, ""), os.TempDir()) {
				t.Errorf("the error has a path of the server: %v", err)
			}
			for _, dir := range []string{tmp, outside} {
				if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
					t.Errorf("got %v %v in %s, want nothing", left, err, dir)
				}
			}
		})
	}
}
