package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runnel-io/runnel/internal/spec"
)

// usageError is a command line that means nothing.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "runnel",
		Short: "Runs your functions where the messages flow",
		Long: `Runnel runs your functions where the messages flow: a message on a queue calls a
function in Python, JavaScript, Go or any program, and what it returns goes
onward. The queues are durable, in this one binary, and Amazon SQS clients use
them unchanged.

Start with runnel demo. Or declare functions, queues and flows in a file, run
runnel dev -f runnel.yaml and, in another terminal, runnel send.`,
		Version:       thisBuild().version,
		SilenceUsage:  true, // an error is one line
		SilenceErrors: true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddGroup(&cobra.Group{ID: "server", Title: "Servers:"}, &cobra.Group{ID: "client", Title: "Clients (RUNNEL_URL and RUNNEL_KEY say of which server):"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("server", newDemoCommand(), newDevCommand(), newServeCommand())
	add("client", newSendCommand(), newReceiveCommand(), newQueueCommand(), newInvokeCommand(), newFunctionCommand(), newRollbackCommand(), newFlowCommand(), newDLQCommand(), newLogsCommand(), newSecretCommand(), newBuildsCommand(), newKeyCommand(), newAuditCommand(), newDataCommand())
	add("client", newApplyCommand(), newReloadCommand(), newWaitCommand(), newGetCommand(), newDescribeCommand(), newDeleteCommand(), newBackupCommand(), newLoadCommand())
	root.AddCommand(newCheckCommand())
	root.AddCommand(newVersionCommand())
	root.AddCommand(newWASMCommand())
	prepare(root)
	return root
}

// prepare makes a command, and those below it, refuse a wrong command line
// with one line that says what was perhaps meant.
func prepare(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		// Without Run, cobra shows the help for whatever stands there.
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &usageError{fmt.Sprintf("there is no command %q%s", args[0], meant(cmd, args[0]))}
		}
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{"wrong number of arguments, usage: " + cmd.UseLine()}
			}
			return nil
		}
	}
	cmd.SetFlagErrorFunc(flagError)
	for _, sub := range cmd.Commands() {
		prepare(sub)
	}
}

// meant suggests a command.
func meant(cmd *cobra.Command, typed string) string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if name := closest(typed, names); name != "" {
		return fmt.Sprintf(", did you mean %s?", name)
	}
	return fmt.Sprintf(": %s --help lists them", cmd.CommandPath())
}

// flagError says what is wrong with a flag, and suggests another.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &usageError{err.Error()}
	}
	if unknown.GetSpecifiedShortnames() != "" {
		return &usageError{fmt.Sprintf("there is no flag -%s: %s --help lists them", unknown.GetSpecifiedName(), cmd.CommandPath())}
	}
	typed := unknown.GetSpecifiedName()
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	hint := fmt.Sprintf(": %s --help lists them", cmd.CommandPath())
	if name := closest(typed, names); name != "" {
		hint = fmt.Sprintf(", did you mean --%s?", name)
	}
	return &usageError{fmt.Sprintf("there is no flag --%s%s", typed, hint)}
}

// closest returns the name that typed was perhaps meant to be, or "".
func closest(typed string, names []string) string { return spec.Closest(typed, names) }
