package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAlgorithmiaData has a session of hosted files with the real client, and
// the same with the one that workers have where that is not installed.
func TestAlgorithmiaData(t *testing.T) {
	t.Parallel()
	if program == "" {
		t.Skip("files are ours")
	}
	for _, real := range []bool{true, false} {
		name := "worker's client"
		if real {
			name = "real client"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			python, packages := "python3", ""
			if real {
				python = installed(t, "algorithmia", "bin", "python")
			} else {
				var err error
				if packages, err = filepath.Abs("../internal/worker/shim/python/lib"); err != nil {
					t.Fatal(err)
				}
			}
			e := startServer(t, serve)
			cmd := exec.CommandContext(t.Context(), python, filepath.Join("algorithmia", "data_session.py"))
			cmd.Env = append(os.Environ(), "ALGORITHMIA_API="+e.url, "ALGORITHMIA_API_KEY="+e.id+"."+e.secret,
				"PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8")
			if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
