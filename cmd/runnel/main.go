// Runnel is the command: servers, and their clients. One file per subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit statuses.
const (
	exitFailed      = 1   // it was tried and did not work
	exitUsage       = 2   // no such command, flag or argument, or a file with faults: nothing was changed
	exitInterrupted = 130 // as the shell has it for a program that SIGINT ended
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to end well. From then on the next one has its
	// usual effect, and ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// apart sets what follows the first line apart: the words of a language about
// code that it does not load.
func apart(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// run does one command and returns the exit status. An error is one line on
// stderr, and those of a traceback if it has one; the faults of a file come
// before it.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "runnel: interrupted")
		return exitInterrupted
	}
	var faults *faultsError
	if errors.As(err, &faults) {
		for _, line := range faults.lines {
			fmt.Fprintln(stderr, apart(line))
		}
		fmt.Fprintln(stderr, "runnel: "+faults.summary())
		return exitUsage
	}
	fmt.Fprintln(stderr, apart("runnel: "+err.Error()))
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}
