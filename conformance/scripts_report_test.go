package conformance_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A session that breaks off, or skips a step, must not look like a good one.
func TestParseReport(t *testing.T) {
	const noEnd = `no last line "done N"`
	a, b := step{name: "a"}, step{"b-c", "got 1, want 2"}
	tests := []struct {
		report  string
		version string
		steps   []step
		faults  []string
	}{
		{"version 1.2\nok a\nFAIL b-c: got 1, want 2\ndone 2\n", "1.2", []step{a, b}, nil},
		{"", "", nil, []string{noEnd}},
		{"version 1.2\nok a\n", "1.2", []step{a}, []string{noEnd}},
		{"ok a\ndone 2\n", "", []step{a}, []string{"the last line says 2 steps, the report has 1"}},
		{"done 0\n", "", nil, []string{"the last line says 0 steps, the report has 0"}},
		{"ok a\nTraceback\ndone 1\n", "", []step{a}, []string{`line of the session's report: "Traceback"`}},
	}
	for _, tt := range tests {
		version, steps, faults := parseReport(tt.report)
		if version != tt.version {
			t.Errorf("%q: version: got %q, want %q", tt.report, version, tt.version)
		}
		if diff := cmp.Diff(tt.steps, steps, cmp.AllowUnexported(step{})); diff != "" {
			t.Errorf("%q: steps (-want +got):\n%s", tt.report, diff)
		}
		if diff := cmp.Diff(tt.faults, faults); diff != "" {
			t.Errorf("%q: faults (-want +got):\n%s", tt.report, diff)
		}
	}
}
