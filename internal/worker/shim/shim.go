package shim

import (
	"embed"
	"io/fs"
	"path/filepath"

	"github.com/runnel-io/runnel"
)

//go:embed python node python/lib/Algorithmia/__init__.py
var files embed.FS

// Files returns the shims, to be written out to a directory that every worker
// can read. Nobody but the server should be able to write there: it is code
// that all functions run.
func Files() fs.FS {
	return files
}

// Command returns the arguments, the program first, that start a worker.
// The interpreter is the path of the language's own; shimDir is where Files
// were written to, absolute since workers start in the directory of their code.
// It returns nil for a runtime that has no shim.
func Command(runtime runnel.Runtime, interpreter, shimDir string) []string {
	switch runtime {
	case runnel.RuntimePython:
		// Text is UTF-8 whatever the locale, which is empty in a worker.
		return []string{interpreter, "-X", "utf8", filepath.Join(shimDir, "python", "worker.py")}
	case runnel.RuntimeNode:
		return []string{interpreter, filepath.Join(shimDir, "node", "worker.cjs")}
	default:
		return nil
	}
}
