package server

import (
	"context"

	"github.com/runnel-io/runnel/internal/worker/wasm"
)

// RunWASM is the program of workers that run WASI modules. The command of
// Config.WASM calls it with what follows that command, and exits with the
// status that it returns.
func RunWASM(ctx context.Context, args []string) int { return wasm.Main(ctx, args) }
