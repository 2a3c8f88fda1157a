package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// transportScenario measures what a call of a worker costs, by each transport:
// 1 KB of JSON that the worker decodes, encodes again and sends back; alone, as
// a call of 10, and of 100; on one worker and on four, with as many callers.
// Every call has a deadline.
//
// The bare pipe loop is what is least possible: a line of JSON into a process
// and a line back, no ids, deadlines, logs, limits or errors. A batch there is
// one array on one line.
func transportScenario(ctx context.Context, b *bench) error {
	lambda := filepath.Join(b.scratch, "lambda")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", lambda, "./bench/lambda")
	guest := filepath.Join(b.scratch, "reactor.wasm")
	wasm := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildmode=c-shared", "-o", guest, "./internal/worker/wasm/testdata/reactor")
	wasm.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	for _, cmd := range []*exec.Cmd{build, wasm} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build what is called: %w\n%s", err, out)
		}
	}
	sides := []string{"pipe-python", "frames-python", "pipe-node", "frames-node", "runtime-go", "http-go", "frames-wasm"}
	batches, workers := []string{"1", "10", "100"}, []string{"1", "4"}
	got := make(map[string][]figures)
	for run := 1; run <= b.pairs; run++ {
		for _, w := range workers {
			for _, n := range batches {
				for _, side := range sides {
					label := side + ", " + w + " workers, batch " + n
					f, err := b.child(ctx, label, run, b.self, "transport", "-side", side, "-workers", w, "-batch", n,
						"-seconds", b.seconds(2), "-lambda", lambda, "-wasm", guest, "-scratch", b.scratch, "-runnel", b.runnel)
					if err != nil {
						return err
					}
					got[side+w+n] = append(got[side+w+n], f)
				}
			}
		}
	}
	rate := func(f *figures) float64 { return f.Rate }
	rows := [][]string{{"calls/s, 1 KB echo", "w1, 1", "10", "100", "w4, 1", "10", "100", "p50/p99 us", "CPU us: host", "worker"}}
	for _, side := range sides {
		row := []string{side}
		for _, w := range workers {
			for _, n := range batches {
				row = append(row, fmt.Sprintf("%.0f", of(got[side+w+n], rate).median()))
			}
		}
		one := got[side+"11"]
		row = append(row,
			fmt.Sprintf("%.0f/%.0f", 1000*of(one, func(f *figures) float64 { return f.Wake.P50 }).median(), 1000*of(one, func(f *figures) float64 { return f.Wake.P99 }).median()),
			fmt.Sprintf("%.0f", of(one, func(f *figures) float64 { return f.CPU }).median()),
			fmt.Sprintf("%.0f", of(one, func(f *figures) float64 { return f.ServerCPU }).median()))
		rows = append(rows, row)
	}
	b.table(rows...)
	b.printf("Medians of %d runs; p50, p99 and CPU are those of one worker and single calls.\n\n", b.pairs)

	met := true
	rows = [][]string{{"frames against the bare pipe loop", "workers", "batch", "ratio, median", "goal 60 %", "each pair"}}
	for _, lang := range []string{"python", "node"} {
		for _, w := range workers {
			for _, n := range batches {
				ratio := of(got["frames-"+lang+w+n], rate).over(of(got["pipe-"+lang+w+n], rate))
				good := ratio.median() >= 0.6
				met = met && good
				rows = append(rows, []string{lang, w, n, fmt.Sprintf("%.0f %%", 100*ratio.median()), verdict(good), ratio.list("%.2f")})
			}
		}
	}
	b.table(rows...)
	b.printf("Goal of frames, at least 60 %% everywhere: %s.\n\n", verdict(met))
	lambdaRate := max(of(got["runtime-go11"], rate).median(), of(got["runtime-go41"], rate).median())
	b.printf("Goal of the Runtime API, at least 3,000 single calls/s: %.0f on one worker, %.0f on four: %s.\n\n",
		of(got["runtime-go11"], rate).median(), of(got["runtime-go41"], rate).median(), verdict(lambdaRate >= 3000))
	return b.inProcess(ctx)
}

// inProcess measures what dispatch adds to a Go handler that does nothing.
func (b *bench) inProcess(ctx context.Context) error {
	var costs series
	for range b.pairs {
		out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkGoHandler$", "-cpu", "1", "-benchtime", "1s", "./internal/dispatch").CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test -bench BenchmarkGoHandler: %w\n%s", err, out)
		}
		us, err := benchFigure(string(out), "cpu-us/call")
		if err != nil {
			return err
		}
		costs = append(costs, us)
	}
	b.printf("In-process Go, `go test -run '^$' -bench '^BenchmarkGoHandler$' -cpu 1 ./internal/dispatch`: %.2f us of CPU a call, deadline included (%s); goal at most 3: %s.\n",
		costs.median(), costs.list("%.2f"), verdict(costs.median() <= 3))
	return nil
}

// benchFigure finds a figure in what go test -bench printed.
func benchFigure(out, unit string) (float64, error) {
	words := strings.Fields(out)
	for i, w := range words {
		if w == unit && i > 0 {
			return strconv.ParseFloat(words[i-1], 64)
		}
	}
	return 0, errors.New("there is no " + unit + " in:\n" + out)
}
