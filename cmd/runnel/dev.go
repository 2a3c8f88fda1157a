package main

import (
	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/server"
)

func newDevCommand() *cobra.Command {
	cfg := server.Config{Dev: true, Version: thisBuild().version}
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a server on loopback that takes any credentials",
		Long: `Run a server for the programs of this machine: it listens on loopback only, takes
any credentials or none, and refuses requests whose Host or Origin is foreign,
so that no web page reaches it through a browser.

Everybody who can run a program on this machine can do everything with it. What
is acknowledged is durable, as with runnel serve, in .runnel of the current
directory.

With -f it runs the functions and flows of a spec file, and takes every change of
that file, and of the functions' sources, at once.`,
		Example: `  runnel dev
  runnel dev -f runnel.yaml
  runnel dev --addr 127.0.0.1:9324 --dir /tmp/queues`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			fromFile, err := applyFile(cmd, cfg.SpecFile)
			if err != nil {
				return err
			}
			cfg.Watch = cfg.SpecFile != ""
			if cfg.Log, err = logs.logger(cmd.ErrOrStderr()); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, fromFile, cmd.OutOrStdout())
		},
	}
	addServerFlags(cmd, &cfg, &logs, ".runnel", "plain")
	addFileFlag(cmd, &cfg.SpecFile)
	return cmd
}
