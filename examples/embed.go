// Package examples holds the examples: directories with a spec file, the
// functions that it declares, and a README that says what to try. Each runs as
// it is; examples_test.go runs all of them.
package examples

import "embed"

// Files are the examples whose functions have worker processes, as runnel demo
// writes them to a directory: thumbnails and greeting.
//
//go:embed thumbnails greeting
var Files embed.FS
