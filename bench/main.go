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
	run   func(ctx context.Context, b *bench) error
}

// scenarios in the order in which they run.
var scenarios = []scenario{
	{"engine", "queue sends against a plain fsynced log", engineScenario},
	{"backlog", "a million messages waiting against none; restart and memory", backlogScenario},
	{"wake", "from send to a waiting receive, over HTTP", wakeScenario},
	{"http", "batch sends and whole cycles over HTTP", httpScenario},
	{"bare", "calls over HTTP against a bare net/http server", bareScenario},
	{"flow", "from a queue through a function to a queue", flowScenario},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "appendlog" {
		exit(appendLogCommand(os.Args[2:], os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "bare" {
		exit(bareCommand(ctx, os.Args[2:], os.Stdout))
	}
	exit(run(ctx, os.Args[1:]))
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
			fmt.Fprintf(flags.Output(), "  %-10s %s\n", s.name, s.about)
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
	b := &bench{pairs: *runs, quick: *quick, results: *results}
	if b.quick {
		b.pairs = 1
	}
	if b.scratch, err = os.MkdirTemp(*scratch, "runnel-bench-"); err != nil {
		return fmt.Errorf("make a directory for data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
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

func names() (out []string) {
	for _, s := range scenarios {
		out = append(out, s.name)
	}
	return out
}

// choose returns the scenarios of a list of names, all for an empty one.
func choose(only string) ([]scenario, error) {
	if only == "" {
		return scenarios, nil
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
