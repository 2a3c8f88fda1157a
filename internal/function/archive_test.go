package function_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// entry is one entry of an archive. The text of a link is where it leads.
type entry struct {
	name, text string
	mode       fs.FileMode
}

func file(name, text string) entry   { return entry{name, text, 0o644} }
func link(name, target string) entry { return entry{name, target, fs.ModeSymlink | 0o777} }

func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(e.mode)
		w, err := z.CreateHeader(h)
		if err == nil && !strings.HasSuffix(e.name, "/") {
			_, err = w.Write([]byte(e.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: int64(e.mode.Perm())}
		text := e.text
		switch {
		case e.mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname, text = tar.TypeSymlink, text, ""
		case e.mode&fs.ModeCharDevice != 0:
			h.Typeflag = tar.TypeChar
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		h.Size = int64(len(text))
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(ctx context.Context, dir string, archive []byte) error {
	return function.Unpack(ctx, dir, bytes.NewReader(archive), int64(len(archive)))
}

// kinds are the two kinds of archives.
var kinds = map[string]func(testing.TB, ...entry) []byte{"zip": zipped, "tar.gz": tarred}

func TestUnpack(t *testing.T) {
	for kind, pack := range kinds {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			err := unpack(t.Context(), dir, pack(t, file("./main.py", "1"), entry{"lib/", "", fs.ModeDir | 0o700}, file("lib/a.py", "2"),
				entry{"bin/run", "3", 0o700}, link("lib/b.py", "a.py"), file("node_modules/x/y.js", "4"), file("lib/__pycache__/a.pyc", "5"),
				file(strings.Repeat("deep/", 30)+"x", "6"), file("grüße", "7")))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"main.py": "1", "lib/a.py": "2", "bin/run": "3", "lib/b.py": "-> a.py", strings.Repeat("deep/", 30) + "x": "6", "grüße": "7"}
			if diff := cmp.Diff(want, copied(t, dir)); diff != "" {
				t.Errorf("unpacked (-want +got):\n%s", diff)
			}
			for name, want := range map[string]bool{"main.py": false, "bin/run": true} {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode()&0o111 != 0 != want {
					t.Errorf("%s: got %v, %v; want a program: %t", name, info.Mode(), err, want)
				}
			}
		})
	}
}

// TestUnpackHostile: nothing is written outside, and the error says what is
// wrong, without a path of this machine.
func TestUnpackHostile(t *testing.T) {
	outside := t.TempDir()
	many := make([]entry, 50_001)
	for i := range many {
		many[i] = file(fmt.Sprintf("d/%d", i), "")
	}
	dirs := make([]entry, 60_001)
	for i := range dirs {
		dirs[i] = entry{"d/", "", fs.ModeDir | 0o755}
	}
	for kind, pack := range kinds {
		big := file("zeros", strings.Repeat("\x00", 130<<20))
		for _, test := range []struct {
			name    string
			archive []byte
			code    runnel.Code
			text    string
		}{
			{"parent", pack(t, file("../x", "1")), runnel.CodeInvalid, "outside"},
			{"parent within", pack(t, file("a/../../x", "1")), runnel.CodeInvalid, "outside"},
			{"absolute", pack(t, file(filepath.Join(outside, "x"), "1")), runnel.CodeInvalid, "outside"},
			{"backslash", pack(t, file(`..\x`, "1")), runnel.CodeInvalid, "slashes"},
			{"no name", pack(t, file("a\xff", "1")), runnel.CodeInvalid, "UTF-8"},
			{"through a link", pack(t, link("a", outside), file("a/x", "1")), runnel.CodeInvalid, "a/x"},
			{"through two links", pack(t, link("a", "."), link("a/b", outside), file("b/x", "1")), runnel.CodeInvalid, "b/x"},
			{"over a link", pack(t, link("a", filepath.Join(outside, "x")), file("a", "1")), runnel.CodeInvalid, "twice"},
			{"a link up", pack(t, link("a", "../.."), file("a/x", "1")), runnel.CodeInvalid, "a/x"},
			{"twice", pack(t, file("a", "1"), file("./a", "2")), runnel.CodeInvalid, "twice"},
			{"below a file", pack(t, file("a", "1"), file("a/b", "2")), runnel.CodeInvalid, "a/b"},
			{"a device", pack(t, entry{"null", "", fs.ModeDevice | fs.ModeCharDevice | 0o666}), runnel.CodeInvalid, "neither a file"},
			{"too many files", pack(t, many...), runnel.CodeTooLarge, "50000 files"},
			{"too many directories", pack(t, dirs...), runnel.CodeTooLarge, "60000"},
			{"a bomb", pack(t, big, entry{"more", big.text, 0o644}), runnel.CodeTooLarge, "250 MiB"},
			{"something else", []byte("hello"), runnel.CodeInvalid, "neither a zip"},
			{"nothing", nil, runnel.CodeInvalid, "neither a zip"},
			{"cut off", pack(t, file("a", strings.Repeat("abc", 1000)))[:60], runnel.CodeInvalid, "archive"},
		} {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				err := unpack(t.Context(), t.TempDir(), test.archive)
				wantCode(t, err, test.code, test.text)
				if strings.Contains(strings.ReplaceAll(err.Error(), outside, ""), os.TempDir()) {
					t.Errorf("the error has a path of this machine: %v", err)
				}
				if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
					t.Errorf("got %v, %v outside", left, err)
				}
			})
		}
	}
}

// TestUnpackDamaged has archives of which only a part is wrong.
func TestUnpackDamaged(t *testing.T) {
	text := strings.Repeat("the quick brown fox ", 100)
	good := zipped(t, file("main.py", text))
	flipped := bytes.Clone(good)
	at := bytes.Index(flipped, []byte("main.py")) + 40
	flipped[at] ^= 0x55
	encrypted := bytes.Clone(good)
	for _, head := range []string{"PK\x03\x04", "PK\x01\x02"} {
		at := bytes.Index(encrypted, []byte(head)) + 6
		if head == "PK\x01\x02" {
			at += 2
		}
		encrypted[at] |= 1
	}
	var lying bytes.Buffer
	z := zip.NewWriter(&lying)
	var data bytes.Buffer
	stored := &zip.FileHeader{Name: "x", Method: zip.Store, CompressedSize64: 1000, UncompressedSize64: 10}
	w, err := z.CreateRaw(stored)
	if err == nil {
		_, err = w.Write(bytes.Repeat([]byte("x"), 1000))
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	sum := tarred(t, file("a", text))
	sum[len(sum)-8] ^= 0x55
	gz := gzip.NewWriter(&data)
	_, err = gz.Write([]byte("this is no tar at all"))
	if err := errors.Join(err, gz.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		archive []byte
		text    string
	}{
		{"flipped bit", flipped, "main.py"},
		{"encrypted", encrypted, "encrypted"},
		{"a size that lies", lying.Bytes(), "x"},
		{"no directory", good[:len(good)-30], "not a valid zip"},
		{"checksum of the stream", sum, "checksum"},
		{"a gzip without a tar", data.Bytes(), "archive"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantCode(t, unpack(t.Context(), t.TempDir(), test.archive), runnel.CodeInvalid, test.text)
		})
	}
}

// TestUnpackDirectoryOfAZip: what is read into memory is bounded.
func TestUnpackDirectoryOfAZip(t *testing.T) {
	entries := make([]entry, 1000)
	for i := range entries {
		entries[i] = file(fmt.Sprintf("%s%d", strings.Repeat("long-name/", 2000), i), "")
	}
	wantCode(t, unpack(t.Context(), t.TempDir(), zipped(t, entries...)), runnel.CodeTooLarge, "too many entries")
}

func TestUnpackEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := unpack(ctx, t.TempDir(), zipped(t, file("a", "1"))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

// FuzzUnpack: whatever an archive says, nothing is written outside of the
// directory, and what is in it is what a source may be.
func FuzzUnpack(f *testing.F) {
	for _, pack := range kinds {
		f.Add(pack(f, file("main.py", "1"), file("a/b", "2"), link("l", "a/b")))
		f.Add(pack(f, file("../x", "1")))
		f.Add(pack(f, link("a", ".."), file("a/x", "1")))
		f.Add(pack(f))
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		err := unpack(t.Context(), dir, archive)
		if err != nil && runnel.CodeOf(err) == runnel.CodeInternal {
			t.Errorf("got %v, want an error of who sent it", err)
		}
		if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
			t.Errorf("got %v, %v above, want the directory alone", left, err)
		}
		err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() && d.Type()&fs.ModeSymlink == 0 {
				t.Errorf("%s is %v", name, d.Type())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
