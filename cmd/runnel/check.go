package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/internal/spec"
	"github.com/runnel-io/runnel/server"
)

func newCheckCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check -f FILE",
		Short: "Find the faults of a file without a server",
		Long: `Check a file as runnel serve -f does before it listens: every key and value,
references between functions, queues and flows, whether the sources are there,
what ${env:NAME} and ${file:PATH} stand for, filters, and the settings of the
server. No server is asked, nothing is changed.

Every fault is printed, one in a line, as FILE:LINE: PATH: what is wrong. The
exit status is 2 if there is one.`,
		Example: `  runnel check -f runnel.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return &usageError{"which file? Want runnel check -f runnel.yaml"}
			}
			file, err := checkFile(path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s and %s, no faults\n", path,
				plural(len(file.Functions), "function"), plural(len(file.Queues), "queue"), plural(len(file.Flows), "flow"))
			return err
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", "`file` to check")
	return cmd
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkFile finds every fault of a file, as serve does.
func checkFile(path string) (*spec.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the file of -f: %w", err)
	}
	cfg := server.Config{}
	cmd := &cobra.Command{Use: "serve"}
	addServeFlags(cmd, &cfg, new(logFlags))
	set, err := applyFile(cmd, path)
	faults := new(faultsError)
	if err != nil && !errors.As(err, &faults) {
		return nil, err
	}
	for _, err := range joined(server.Check(cfg)) {
		// A setting that the file does not have is one that it should.
		faults.lines = append(faults.lines, settingFaults(err, set).Error())
	}
	if len(faults.lines) > 0 {
		return nil, faults
	}
	return spec.Parse(path, text, spec.Options{Dir: filepath.Dir(path), Env: os.LookupEnv, ReadFile: os.ReadFile})
}
