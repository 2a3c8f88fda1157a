package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is a command line that means nothing.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "runnel",
		Short: "Durable queues that Amazon SQS clients use unchanged",
		Long: `Runnel is a durable queue in one binary that Amazon SQS clients use unchanged.

Start with runnel demo, or with runnel dev and, in another terminal, runnel send
and runnel receive.`,
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
	add("client", newSendCommand(), newReceiveCommand(), newQueueCommand(), newBackupCommand(), newLoadCommand())
	root.AddCommand(newVersionCommand())
	prepare(root)
	return root
}

// prepare makes a command, and those below it, refuse a wrong command line
// with one line that says what was perhaps meant.
func prepare(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		// Without Run, cobra shows the help for whatever stands there.
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
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

// closest returns the name that typed was perhaps meant to be: the one with
// the fewest letters to change, if these are about a third at most; "" if there
// is none. One may be an abbreviation of the other, with the same first letter.
func closest(typed string, names []string) string {
	typed = strings.ToLower(typed)
	best, least := "", (len(typed)+1)/3+1
	for _, name := range names {
		d := distance(typed, name)
		if n := min(len(typed), len(name)); n > 2 && typed[0] == name[0] {
			d = min(d, distance(typed[:n], name[:n]))
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters must be changed, added, left out, or exchanged
// with their neighbour to make a from b.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, twoAbove := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], twoAbove[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
