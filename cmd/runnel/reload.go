package main

import (
	"github.com/spf13/cobra"
)

func newReloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a server read its spec file again, now",
		Long: `Have a server read the file of its -f again, and the code that it names, and make
itself what it says. It returns when that is done, with a line for each change;
what cannot be changed runs on as it was, and is told, with exit status 2.

runnel dev does so by itself, a moment after a file has changed; reload waits for
it. For runnel serve it is SIGHUP with an answer, and needs an admin key.`,
		Example: `  vi hello/main.py && runnel reload`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			var answer struct{ Changes []change }
			if err := c.do(cmd.Context(), "POST", "/api/v1/reload", nil, &answer); err != nil {
				return err
			}
			return report(cmd, answer.Changes, false)
		},
	}
	addClientFlags(cmd)
	return cmd
}
