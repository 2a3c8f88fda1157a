package server

import (
	"context"
	"slices"
	"strings"

	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/worker"
)

// The limits of a step of a build: what compilers and package managers need,
// and no more.
const (
	stepMemory    = 4 << 30 // of each process
	stepProcesses = 4096
	stepFiles     = 16 << 10
)

// runStep runs a step of a build in the confinement of a worker. It has the
// user of the server, since what it shares with other builds, the caches, is
// that user's, and no right to write anywhere but where it says.
func runStep(ctx context.Context, s function.Step, temp string, secret []string) error {
	env := slices.DeleteFunc(slices.Clone(s.Env), func(v string) bool { return strings.HasPrefix(v, "TMPDIR=") })
	return worker.Run(ctx, worker.RunCommand{
		Args: s.Args, Env: env, Dir: s.Dir, Writable: s.Writable, Shared: s.Shared, Hidden: slices.Concat(secret, s.Hidden), Visible: s.Readable,
		TempDir: temp, SameUser: true,
		Memory: stepMemory, Processes: stepProcesses, Files: stepFiles,
		Output: s.Log,
	})
}
