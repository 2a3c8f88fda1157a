package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/internal/seal"
)

// line is a key of n bytes of b, as a key file has it.
func line(b byte, n int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, n)) + "\n"
}

func ring(t testing.TB, text string) *seal.Ring {
	t.Helper()
	r, err := seal.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealAndOpen(t *testing.T) {
	r := ring(t, line(1, 32))
	for _, value := range []string{"", "s3cr3t", strings.Repeat("x", 64<<10), "\x00\xff"} {
		sealed := r.Seal([]byte(value), "default/f", "TOKEN")
		if value != "" && bytes.Contains(sealed, []byte(value)) {
			t.Errorf("the sealed value shows %.20q", value)
		}
		if got, err := r.Open(sealed, "default/f", "TOKEN"); err != nil || string(got) != value {
			t.Errorf("open: got %.20q, %v; want %.20q", got, err, value)
		}
		if again := r.Seal([]byte(value), "default/f", "TOKEN"); bytes.Equal(again, sealed) {
			t.Error("the same value is sealed to the same bytes twice")
		}
	}
}

// TestBound opens a sealed value for everything that it is not for.
func TestBound(t *testing.T) {
	r := ring(t, line(1, 32))
	sealed := r.Seal([]byte("s3cr3t"), "a/f", "TOKEN")
	for _, context := range [][]string{{"a/f", "OTHER"}, {"b/f", "TOKEN"}, {"a/f"}, {"a/fT", "OKEN"}, {"TOKEN", "a/f"}, {"a/f", "TOKEN", ""}, nil} {
		if got, err := r.Open(sealed, context...); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("opened for %q: got %q, %v", context, got, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if got, err := r.Open(changed, "a/f", "TOKEN"); !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrKey) {
			t.Errorf("byte %d changed: got %q, %v", i, got, err)
		}
		if got, err := r.Open(sealed[:i], "a/f", "TOKEN"); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("cut to %d bytes: got %q, %v", i, got, err)
		}
	}
}

// TestRotation puts a new key first, and later takes the old one away.
func TestRotation(t *testing.T) {
	old, both, now := ring(t, line(1, 32)), ring(t, "# new\n"+line(2, 32)+"\n"+line(1, 32)), ring(t, line(2, 32))
	sealed := old.Seal([]byte("s3cr3t"), "x")
	if got, err := both.Open(sealed, "x"); err != nil || string(got) != "s3cr3t" {
		t.Errorf("with both keys: got %q, %v", got, err)
	}
	if !old.Current(sealed) || both.Current(sealed) {
		t.Errorf("current: got %t with the old ring and %t with both, want true and false", old.Current(sealed), both.Current(sealed))
	}
	if _, err := now.Open(sealed, "x"); !errors.Is(err, seal.ErrKey) {
		t.Errorf("without its key: got %v, want ErrKey", err)
	}
	again := both.Seal([]byte("s3cr3t"), "x")
	if got, err := now.Open(again, "x"); err != nil || string(got) != "s3cr3t" {
		t.Errorf("sealed by the new key: got %q, %v", got, err)
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "no key"},
		{"# only a comment\n", "no key"},
		{line(1, 31), "line 1 is not 32 bytes"},
		{line(1, 33), "line 1 is not 32 bytes"},
		{line(1, 32) + "hello there\n", "line 2 is not 32 bytes"},
		{strings.Repeat(line(1, 32), 101), "more than 100 keys"},
	} {
		if _, err := seal.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hello") {
			t.Errorf("%.40q: got %v, want %q", test.text, err, test.want)
		}
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	if _, err := seal.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of nothing: got %v", err)
	}
	made, err := seal.LoadOrMake(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: got %v, %v; want mode 0600", info, err)
	}
	sealed := made.Seal([]byte("v"), "x")
	again, err := seal.LoadOrMake(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(sealed, "x"); err != nil || string(got) != "v" {
		t.Errorf("after another load: got %q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v beside the file", entries, err)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.LoadOrMake(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file without a key: got %v, want an error that names it", err)
	}
}

// FuzzOpen opens what nobody sealed: it is refused, or was sealed after all.
func FuzzOpen(f *testing.F) {
	r := ring(f, line(1, 32)+line(2, 32))
	// Of an earlier run: each run would seal it otherwise. It keeps the format,
	// too.
	known, err := hex.DecodeString("01a55185c983d1fd633459aa76fb7a24f713170f7757258ac1f6ed6851bca4806fb3e8e5e421c20849b01bf75c21dc5fdece63a0f9e9f9a891039bcaa9293b")
	if err != nil {
		f.Fatal(err)
	}
	if got, err := r.Open(known, "a/f", "TOKEN"); err != nil || string(got) != "s3cr3t" {
		f.Fatalf("the value of an earlier run opens to %q, %v", got, err)
	}
	f.Add(known, "a/f", "TOKEN")
	f.Add(known[:40], "a/f", "TOKEN")
	f.Add([]byte{}, "", "")
	f.Fuzz(func(t *testing.T, sealed []byte, function, name string) {
		value, err := r.Open(sealed, function, name)
		switch {
		case err == nil && !(bytes.Equal(sealed, known) && function == "a/f" && name == "TOKEN"):
			t.Errorf("%x opens to %q", sealed, value)
		case err != nil && !errors.Is(err, seal.ErrKey) && !errors.Is(err, seal.ErrDamaged):
			t.Errorf("got %v, want ErrKey or ErrDamaged", err)
		}
		if got, err := r.Open(r.Seal(sealed, function, name), function, name); err != nil || !bytes.Equal(got, sealed) {
			t.Errorf("%x: opens to %x, %v", sealed, got, err)
		}
	})
}
