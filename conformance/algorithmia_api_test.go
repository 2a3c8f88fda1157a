package conformance_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAlgorithmiaAPI is a session of Algorithmia's client for Python, and its
// command, against the server's own data, algorithms, accounts and flows.
func TestAlgorithmiaAPI(t *testing.T) {
	t.Parallel()
	python := installed(t, "algorithmia", "bin", "python")
	for _, m := range ownModes(t) {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), "algorithmia", python, filepath.Join("algorithmia", "session.py"))
			if want := "algorithmia " + pinned(t, filepath.Join("algorithmia", "requirements.txt"), "algorithmia"); version != want {
				t.Errorf("version: got %s, want %s as pinned: run conformance/install", version, want)
			}
		})
	}
}

// TestAlgorithmiaNode is a session of its client for Node.
func TestAlgorithmiaNode(t *testing.T) {
	t.Parallel()
	folder := installed(t, "js")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err) // it was there for conformance/install
	}
	for _, m := range ownModes(t) {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			version := runScript(t, startServer(t, m), "algorithmia-node", node, filepath.Join("js", "algorithmia.js"), folder)
			if want := manifest(t).Dependencies["algorithmia"]; version != want {
				t.Errorf("version: got %s, want %s as pinned: run conformance/install", version, want)
			}
		})
	}
}

// ownModes are the modes of our server; another one has no Algorithmia API.
func ownModes(t *testing.T) []mode {
	t.Helper()
	if program == "" {
		t.Skip("the API is ours")
	}
	return modes()
}
