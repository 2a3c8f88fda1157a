package spec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string // key=value
	}{
		{"empty", "", nil},
		{"comment only", "# nothing\n", nil},
		{"empty section", "server:\n", nil},
		{"one key", "server: {addr: '127.0.0.1:0'}", []string{"addr=127.0.0.1:0"}},
		{"keys", "server:\n  # where\n  addr: :7070\n  insecure: true\n  drain_timeout: 5s\n  dir: \"a b\"\n", []string{"addr=:7070", "insecure=true", "drain_timeout=5s", "dir=a b"}},
	} {
		f, err := spec.Parse("runnel.yaml", []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, e := range f.Server {
			got = append(got, e.Key+"="+e.Value)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestParseFaults(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string // lines
	}{
		{"syntax", "server:\n  addr: [1\n", []string{"runnel.yaml:2: "}},
		{"a list", "- a\n", []string{"runnel.yaml:1: the file is not a mapping: want section: ..."}},
		{"all at once", "servers: {}\nqueues: {}\nserver:\n  dir: a\n  addr: [x]\n  dir: b\n", []string{
			`runnel.yaml:1: there is no section "servers": this release has server`,
			"runnel.yaml:2: the section queues is not in this release",
			"runnel.yaml:5: addr: want a plain value",
			"runnel.yaml:6: dir stands twice, first on line 4",
		}},
		{"a section twice", "server: {dir: a}\nserver: {dir: b}\n", []string{"runnel.yaml:2: the section server stands twice, first on line 1"}},
		{"section of a wrong kind", "server: 5\n", []string{"runnel.yaml:1: the section server is not a mapping: want key: value"}},
	} {
		_, err := spec.Parse("runnel.yaml", []byte(test.text))
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for i, want := range test.want {
			if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s: got %q, want line %d to begin with %q", test.name, lines, i, want)
			}
		}
		if len(lines) != len(test.want) {
			t.Errorf("%s: got %q, want %d lines", test.name, lines, len(test.want))
		}
		if code := runnel.CodeOf(err); test.name == "syntax" && code != runnel.CodeInvalid {
			t.Errorf("code: got %s", code)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("server:\n  addr: :7070\n"))
	f.Add([]byte("server: {a: [1, 2], b: &x y, c: *x}\n---\nserver:\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _ = spec.Parse("f", text) // must neither panic nor hang
	})
}
