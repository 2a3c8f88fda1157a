package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/server"
)

// wasmWorker is the word that makes this program a worker.
const wasmWorker = "wasm-worker"

// wasmCommand starts a worker for a WASI module.
func wasmCommand() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, which runs wasm modules: %w", err)
	}
	return []string{self, wasmWorker}, nil
}

// newWASMCommand is for servers, not for people.
func newWASMCommand() *cobra.Command {
	return &cobra.Command{
		Use: wasmWorker, Hidden: true, DisableFlagParsing: true,
		Short: "Run a WASI module as a worker, spoken with by frames",
		RunE: func(cmd *cobra.Command, args []string) error {
			os.Exit(server.RunWASM(cmd.Context(), args))
			return nil
		},
	}
}
