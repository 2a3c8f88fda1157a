package worker

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	tree := map[string][]string{
		"/":                   {"usr", "var", "tmp"},
		"/var":                {"lib", "log"},
		"/var/lib":            {"runnel", "other"},
		"/proj":               {"main.py", ".runnel"},
		"/var/lib/runnel/v/a": {"code", "private"},
	}
	list := func(dir string) []string { return tree[dir] }
	for _, tt := range []struct {
		name             string
		hidden, readable []string
		want             []string
	}{
		{"outside", []string{"/var/lib/runnel"}, []string{"/usr/src"}, []string{"r:/usr", "r:/var/lib/other", "r:/var/log", "r:/tmp", "/tmp", "w:/dev", "/tmp/w"}},
		{"inside", []string{"/var/lib/runnel"}, []string{"/var/lib/runnel/v/b"}, []string{"r:/usr", "r:/var/lib/other", "r:/var/log", "r:/tmp", "/tmp", "w:/dev", "r:/var/lib/runnel/v/b", "/tmp/w"}},
		{"hidden again", []string{"/var/lib/runnel", "/var/lib/runnel/v/a/private"}, []string{"/var/lib/runnel/v/a"}, []string{"r:/usr", "r:/var/lib/other", "r:/var/log", "r:/tmp", "/tmp", "w:/dev", "r:/var/lib/runnel/v/a/code", "/tmp/w"}},
		{"above", []string{"/var/lib"}, []string{"/var"}, []string{"r:/usr", "r:/var/log", "r:/tmp", "/tmp", "w:/dev", "/tmp/w"}},
		{"two", []string{"/usr", "/var"}, nil, []string{"r:/tmp", "/tmp", "w:/dev", "/tmp/w"}},
		{"similar names", []string{"/va"}, nil, []string{"r:/usr", "r:/var", "r:/tmp", "/tmp", "w:/dev", "/tmp/w"}},
		{"all", []string{"/"}, []string{"/usr"}, []string{"r:/usr", "/tmp/w"}},
	} {
		got, err := rules(reach{hidden: tt.hidden, readable: tt.readable, writable: []string{"/tmp/w"}, shared: []rule{{"/tmp", accessAll}, {"/dev", accessWrite}}}, list)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var words []string
		for _, r := range got {
			words = append(words, []string{"", "r:", "w:"}[r.access]+r.path)
		}
		if diff := cmp.Diff(tt.want, words); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if slices.ContainsFunc(got, func(r rule) bool { return hasBelow(r.path, tt.hidden) || slices.Contains(tt.hidden, r.path) }) {
			t.Errorf("%s: a rule reaches what is hidden: %v", tt.name, got)
		}
	}
}
