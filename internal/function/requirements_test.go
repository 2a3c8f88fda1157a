package function_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/function"
)

func TestRequirements(t *testing.T) {
	lines, _ := function.Requirements("\uFEFF# a comment\r\n\r\n  numpy == 2.0 # the newest\r\nrequests>=2 \\\n  --hash=sha256:ab\n#x\n\t\n")
	if diff := cmp.Diff([]string{"numpy == 2.0", "requests>=2    --hash=sha256:ab"}, lines); diff != "" {
		t.Errorf("the lines (-want +got):\n%s", diff)
	}
}

// A line that reads the source must not share an environment with another
// source.
func TestRequirementsThatMeanTheSameEverywhere(t *testing.T) {
	for line, want := range map[string]bool{
		"numpy":          true,
		"numpy==2.0":     true,
		"Flask[async]>3": true,
		"zope.interface": true,
		"requests >= 2.8.1, == 2.8.* ; python_version < '2.7'": true,
		"numpy==2.0 --hash=sha256:ab":                          true,
		"pip @ https://host/pip-1.zip":                         true,
		"x @ git+https://host/x.git@v1":                        true,
		"--index-url https://host/simple":                      true,
		"--pre":                                                true,
		"./pkg":                                                false,
		"../pkg":                                               false,
		"pkg/sub":                                              false,
		"pkg/":                                                 false,
		"/srv/pkg":                                             false,
		"pkg-1.0-py3-none-any.whl":                             false,
		"pkg-1.0.tar.gz":                                       false,
		"pkg.zip[extra]":                                       false,
		"pkg @ file:///srv/pkg":                                false,
		"pkg @ ./pkg":                                          false,
		"file:pkg":                                             false,
		"-r other.txt":                                         false,
		"-rother.txt":                                          false,
		"--requirement other.txt":                              false,
		"-c constraints.txt":                                   false,
		"--find-links wheels":                                  false,
		"-f wheels":                                            false,
	} {
		if _, same := function.Requirements(line); len(same) != 1 || same[0] != want {
			t.Errorf("%q: got %v, want %t", line, same, want)
		}
	}
}

func TestLinesOfABuild(t *testing.T) {
	all := function.Lines("a\r\nb", "c\n\n", strings.Repeat("x", 2500), "\nno end \xff")
	want := []string{"a", "bc", "", strings.Repeat("x", 1000), strings.Repeat("x", 1000), strings.Repeat("x", 500), "no end \uFFFD"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("the lines (-want +got):\n%s", diff)
	}
}
