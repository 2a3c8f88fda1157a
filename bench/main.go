// Command bench measures what this project promises, and writes what it found
// to bench/results. See bench/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// scenario is one file of this program.
type scenario struct {
	name  string
	about string
	long  bool // runs only if it is named
	run   func(ctx context.Context, b *bench) error
}

// scenarios in the order in which they run.
var scenarios = []scenario{
	{name: "engine", about: "queue sends against a plain fsynced log", run: engineScenario},
	{name: "backlog", about: "a million messages waiting against none; restart and memory", run: backlogScenario},
	{name: "fifo", about: "a million groups of one and one group of a million, against a standard queue", run: fifoScenario},
	{name: "wake", about: "from send to a waiting receive, over HTTP", run: wakeScenario},
	{name: "http", about: "batch sends and whole cycles over HTTP", run: httpScenario},
	{name: "bare", about: "calls over HTTP against a bare net/http server", run: bareScenario},
	{name: "around", about: "what a message costs beside a backlog, other queues, messages in flight", run: aroundScenario},
	{name: "idle", about: "500 long polls and nothing to receive", run: idleScenario},
	{name: "flow", about: "from a queue through a function to a queue", run: flowScenario},
	{name: "transport", about: "calls of workers, by transport, against a bare pipe loop", run: transportScenario},
	{name: "files", about: "hosted files over HTTP: 1 KB, 1 GiB, a listing of 100,000", run: filesScenario},
	{name: "algo", about: "calls of an algorithm over HTTP against a bare net/http echo", run: algoScenario},
	{name: "restart", about: "ten million messages and a new start", run: restartScenario, long: true},
	{name: "soak", about: "20 minutes at 80 % of the top rate", run: soakScenario, long: true},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if is, err := child(ctx, os.Args[1:]); is {
		exit(err)
	}
	exit(run(ctx, os.Args[1:]))
}

// child runs what this program starts itself for, if that is what it is asked
// for.
func child(ctx context.Context, args []string) (is bool, err error) {
	switch {
	case len(args) == 0:
	case args[0] == "appendlog":
		return true, appendLogCommand(args[1:], os.Stdout)
	case args[0] == "bare":
		return true, bareCommand(ctx, args[1:], os.Stdout)
	case args[0] == "transport":
		return true, transportCommand(ctx, args[1:], os.Stdout)
	case args[0] == "files":
		return true, filesCommand(ctx, args[1:], os.Stdout)
	case args[0] == "algo":
		return true, algoCommand(ctx, args[1:], os.Stdout)
	case args[0] == "echo":
		return true, echoCommand(ctx, os.Stdout)
	}
	return false, nil
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	only := flags.String("only", "", "run these scenarios only, separated by commas: "+strings.Join(names(), ", "))
	quick := flags.Bool("quick", false, "one short run of each, to see that it works; the results are printed and not kept")
	runs := flags.Int("runs", 5, "runs of each side")
	results := flags.String("results", filepath.Join("bench", "results"), "directory of the results")
	scratch := flags.String("scratch", "", "directory on the disk to measure, for data (default: the system's for temporary files)")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "go run ./bench measures, and writes what it found to bench/results.")
		flags.PrintDefaults()
		for _, s := range scenarios {
			about := s.about
			if s.long {
				about += " (only if it is named)"
			}
			fmt.Fprintf(flags.Output(), "  %-10s %s\n", s.name, about)
		}
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *runs < 1 {
		return fmt.Errorf("-runs %d: want at least 1", *runs)
	}
	b := &bench{pairs: *runs, scale: 1, results: *results}
	if *quick {
		b.pairs, b.quick, b.scale = 1, true, 5
	}
	if b.scratch, err = os.MkdirTemp(*scratch, "runnel-bench-"); err != nil {
		return fmt.Errorf("make a directory for data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	for _, s := range chosen {
		fmt.Fprintf(os.Stderr, "== %s: %s\n", s.name, s.about)
		b.begin(s)
		if err := s.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := b.finish(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// build builds what is measured.
func (b *bench) build(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.runnel = filepath.Join(b.scratch, "runnel")
	// The stamp of version control becomes the commit in the results.
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=auto", "-trimpath", "-o", b.runnel, "./cmd/runnel")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build runnel (from the root of the repository): %w", err)
	}
	return nil
}

func names() (out []string) {
	for _, s := range scenarios {
		out = append(out, s.name)
	}
	return out
}

// choose returns the scenarios of a list of names, all but the long ones for an
// empty one.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.long }), nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q: want %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}
