package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bench runs the children of the scenarios and keeps what they say. Every
// measured thing is a process of its own, so that memory and processor time
// are those of one run.
type bench struct {
	pairs   int // runs of each side
	quick   bool
	scale   int // runs are so many times shorter; 1 if not quick
	results string
	scratch string
	self    string // this program
	runnel  string // the program that is measured

	// Of the scenario that is running.
	scenario scenario
	lines    []line
	text     strings.Builder
	load     string // on the machine, when it began
	dirs     int
}

func (b *bench) begin(s scenario) {
	b.scenario, b.lines, b.load = s, nil, loadAverage()
	b.text.Reset()
}

// seconds is how long a run takes: as long as is said, or shorter if it is to be
// quick.
func (b *bench) seconds(s int) string {
	return (time.Duration(s) * time.Second / time.Duration(b.scale)).String()
}

// count is how many messages a run has, or fewer if it is to be quick.
func (b *bench) count(n int) string {
	if b.quick {
		n = max(n/b.scale/4, 1)
	}
	return strconv.Itoa(n)
}

// dir makes a new directory for data.
func (b *bench) dir() (string, error) {
	b.dirs++
	dir := filepath.Join(b.scratch, fmt.Sprintf("data-%d", b.dirs))
	return dir, os.Mkdir(dir, 0o700)
}

// remove removes a directory that dir made.
func (b *bench) remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the data: %w", err)
	}
	return nil
}

// child runs a program that prints figures.
func (b *bench) child(ctx context.Context, label string, run int, program string, args ...string) (figures, error) {
	return b.childIn(ctx, nil, label, run, program, args...)
}

// childIn is child with an environment of its own; nil: that of this program.
func (b *bench) childIn(ctx context.Context, env []string, label string, run int, program string, args ...string) (figures, error) {
	var f figures
	var out, messages bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = &out, &messages
	command := b.display(program, args)
	fmt.Fprintf(os.Stderr, "%s, run %d: %s\n", label, run, command)
	if err := cmd.Run(); err != nil {
		return f, fmt.Errorf("%s: %w\n%s", command, err, bytes.TrimSpace(messages.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return f, fmt.Errorf("%s: read the figures: %w", command, err)
	}
	b.lines = append(b.lines, line{Label: label, Run: run, Command: command, Figures: bytes.TrimSpace(out.Bytes())})
	return f, nil
}

// engine runs runnel load --in-process on a data directory, or on a new one
// that is removed afterwards.
func (b *bench) engine(ctx context.Context, label string, run int, dir string, args ...string) (f figures, err error) {
	if dir == "" {
		if dir, err = b.dir(); err != nil {
			return f, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	return b.child(ctx, label, run, b.runnel, append([]string{"load", "--in-process", "--dir", dir}, args...)...)
}

// display is a command as a reader would type it: the directories and ports of
// this machine say nothing to them.
func (b *bench) display(program string, args []string) string {
	words := []string{"runnel"}
	if program == b.self {
		words[0] = "bench"
	}
	for i, a := range args {
		switch {
		case i > 0 && (args[i-1] == "--url" || args[i-1] == "-url"):
			a = "URL"
		case i > 0 && args[i-1] == "-key":
			a = "KEY"
		case i > 0 && (args[i-1] == "--server-pid" || args[i-1] == "-pid"):
			a = "PID"
		case strings.HasSuffix(a, ".prof"):
			a = "FILE"
		case strings.HasPrefix(a, b.scratch):
			a = "DIR"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// printf adds to the report.
func (b *bench) printf(format string, args ...any) { fmt.Fprintf(&b.text, format, args...) }

// table adds a table: a row of headings and rows of cells.
func (b *bench) table(rows ...[]string) {
	for i, row := range rows {
		b.printf("| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.printf("|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	b.printf("\n")
}

// verdict says whether a goal was met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// finish writes NAME.md, for people, and NAME.json, the lines of all runs; or
// prints the first, if it was quick.
func (b *bench) finish() error {
	var head strings.Builder
	fmt.Fprintf(&head, "# %s: %s\n\n", b.scenario.name, b.scenario.about)
	var f figures
	for _, l := range b.lines {
		// The log says nothing of the commit.
		if err := json.Unmarshal(l.Figures, &f); err != nil {
			return err
		}
		if f.Commit != "" {
			break
		}
	}
	fmt.Fprintf(&head, "- commit: %s\n- machine: %s, %d cores, %s, %s; load average at the start %s\n- command: `go run ./bench -only %s`; %d runs of each side\n- durability: %s\n- date: %s\n\n",
		f.Commit, f.Machine.CPU, f.Machine.Cores, f.Machine.Kernel, f.Machine.Go, b.load, b.scenario.name, b.pairs, f.Durability, time.Now().UTC().Format(time.DateOnly))
	text := head.String() + b.text.String()
	if b.quick {
		fmt.Println(text)
		return nil
	}
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	for _, l := range b.lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return errors.Join(b.write(b.scenario.name+".md", []byte(text)), b.write(b.scenario.name+".json", raw.Bytes()))
}

// write writes one file of the results.
func (b *bench) write(name string, data []byte) error {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(b.results, name), data, 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
