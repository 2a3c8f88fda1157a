package conformance_test

import (
	"path/filepath"
	"testing"
)

// TestAlgorithmiaManagement is a session of Algorithmia's client that makes,
// builds, publishes and removes an algorithm.
func TestAlgorithmiaManagement(t *testing.T) {
	t.Parallel()
	python := installed(t, "algorithmia", "bin", "python")
	for _, m := range modes() {
		if m == foreign {
			continue // it has queues only
		}
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			e := startServer(t, m)
			version := runScript(t, e, "algorithmia", python, filepath.Join("algorithmia", "management.py"), e.url, e.id+"."+e.secret)
			if want := pinned(t, filepath.Join("algorithmia", "requirements.txt"), "algorithmia"); version != want {
				t.Errorf("version: got algorithmia %s, want %s as pinned: run conformance/install", version, want)
			}
		})
	}
}
