package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/server"
)

const (
	flowWarmUp    = 1000             // messages before those that are measured: workers start, code is compiled
	flowReceive   = 1000             // most results in a receive: the far end is to be cheap
	flowPatience  = 45 * time.Second // without a result, what is missing is lost: more than the visibility timeout
	flowConsumers = 2
)

// flowFigures is what figures say of a flow besides.
type flowFigures struct {
	Function    string   `json:"function"`
	Concurrency int      `json:"concurrency"`
	Workers     int      `json:"workers,omitempty"` // processes
	Ahead       int      `json:"ahead,omitempty"`
	SendBatch   int      `json:"send_batch"`
	Features    []string `json:"features,omitempty"`

	Result  *latency `json:"send_to_result_ms,omitempty"`
	Handler *latency `json:"send_to_handler_ms,omitempty"` // in Go only

	// WorkerCPU is of the worker processes; cpu_us_per_message is of the
	// server, with producers and consumers.
	WorkerCPU *float64 `json:"worker_cpu_us_per_message,omitempty"`
	Calls     uint64   `json:"calls"`
	// What became of the messages, the first ones included.
	Sent       int64  `json:"sent"`
	Results    int64  `json:"results"`
	Retried    uint64 `json:"retried"`
	Released   uint64 `json:"released"`
	LeaseLost  uint64 `json:"lease_lost"`
	Dead       int64  `json:"dead_lettered"`
	Duplicates int64  `json:"duplicates"`
	Lost       int64  `json:"lost"`
}

// completeFlow fills in what depends on other flags, and returns every fault,
// joined.
func (o *loadOptions) completeFlow(cmd *cobra.Command) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	flags := cmd.Flags()
	for _, name := range []string{"mode", "queue", "receive-batch", "round", "preload", "keep", "in-process", "leases", "settle", "url", "key"} {
		check(!flags.Changed(name), "--%s is not for --flow", name)
	}
	check(slices.Contains([]string{"go", "python", "node", "none"}, o.flow), "--flow %s: want go, python, node or none", o.flow)
	check(o.messages >= 0, "--messages %d: want 0 or more", o.messages)
	check(o.duration >= 0 && (o.messages > 0 || o.duration > 0), "say how long the load lasts: --messages or --duration")
	check(o.rate >= 0, "--rate %v: want 0 or more", o.rate)
	check(o.size >= flowBodyMin && o.size <= queue.MaxMessageBytes, "--size %d: want %d to %d bytes", o.size, flowBodyMin, queue.MaxMessageBytes)
	for name, v := range map[string]int{"batch": o.batch, "concurrency": o.concurrency, "workers": o.workers} {
		check(v >= 1 && v <= 1000, "--%s %d: want 1 to 1000", name, v)
	}
	check(o.sendBatch >= 0 && o.sendBatch <= 1000, "--send-batch %d: want 1 to 1000", o.sendBatch)
	check(o.ahead >= 0, "--ahead %d: want 1 or more", o.ahead)
	check(o.producers >= 1, "--producers %d: want at least 1", o.producers)
	check(o.consumers >= 1, "--consumers %d: want at least 1", o.consumers)
	if !flags.Changed("consumers") {
		o.consumers = flowConsumers
	}
	switch {
	case o.sendBatch == 0 && o.rate > 0:
		o.sendBatch = 1
	case o.sendBatch == 0:
		o.sendBatch = 10
	}
	if o.ahead == 0 {
		o.ahead = 8 * o.concurrency * o.batch
	}
	o.ahead = max(o.ahead, o.sendBatch)
	return errors.Join(errs...)
}

// flowLoad is a load on a flow, in a server of this process.
type flowLoad struct {
	opt     *loadOptions
	server  *server.Server
	client  *client
	in      runnel.Sink
	account *flowAccount

	start     time.Time // what the times in bodies count from
	next      atomic.Int64
	measured  atomic.Int64 // messages from this number on are measured
	room      *semaphore.Weighted
	handler   histogram
	results   histogram
	sendTimes histogram
}

// runFlow puts the load on a flow, and prints the figures.
func (o *loadOptions) runFlow(cmd *cobra.Command) (err error) {
	ctx, errOut := cmd.Context(), cmd.ErrOrStderr()
	temp, err := os.MkdirTemp("", "runnel-load-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := o.dir
	if dir == "" {
		dir = filepath.Join(temp, "data")
	}
	l := &flowLoad{opt: o, start: time.Now(), account: newFlowAccount(), room: semaphore.NewWeighted(int64(o.ahead))}
	spec, err := o.writeFlow(temp)
	if err != nil {
		return err
	}
	l.server, err = server.New(server.Config{
		Dir: dir, Dev: true, Addr: "127.0.0.1:0", Version: thisBuild().version, SpecFile: spec, SessionLimit: 1000,
		Handlers: map[string]runnel.Handler{"go": runnel.HandlerFunc(l.echo)},
		Log:      slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	l.client = &client{base: l.server.URL(), http: new(http.Client)}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	working, cancel := context.WithCancelCause(serving)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := l.server.Run(serving)
		cancel(err)
		ended <- err
	}()
	f, err := l.run(working, dir, errOut)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	if err := json.NewEncoder(cmd.OutOrStdout()).Encode(f); err != nil {
		return fmt.Errorf("print the figures: %w", err)
	}
	return f.Flow.loss()
}

// add puts in what became of all messages.
func (f *flowFigures) add(t flowTotals) {
	f.Sent, f.Results, f.Dead, f.Duplicates = t.sent, t.results, t.dead, t.duplicates
	f.Lost = t.sent - t.results - t.dead
}

// loss is the error of a run that lost messages.
func (f *flowFigures) loss() error {
	if f.Lost == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d messages were lost", f.Lost, f.Sent)
}

// writeFlow writes the spec file, and the code of its function.
func (o *loadOptions) writeFlow(dir string) (spec string, err error) {
	text := "queues: {load-in: , load-out: , load-dead: }\n"
	code := map[string][2]string{
		"python": {"main.py", "def handler(event):\n    return event\n"},
		"node":   {"index.js", "exports.handler = (event) => event;\n"},
	}[o.flow]
	if code[0] != "" {
		if err := os.WriteFile(filepath.Join(dir, code[0]), []byte(code[1]), 0o600); err != nil {
			return "", fmt.Errorf("write the function: %w", err)
		}
		text += fmt.Sprintf("functions: {%s: {runtime: %[1]s, source: %s, workers: {min: %d, max: %[3]d}}}\n", o.flow, code[0], o.workers)
	}
	if o.flow != "none" {
		text += fmt.Sprintf("flows: {load: {from: 'queue:load-in', call: %s, to: ['queue:load-out'], dead_letter: 'queue:load-dead', concurrency: %d, batch: {size: %d}}}\n",
			o.flow, o.concurrency, o.batch)
	}
	spec = filepath.Join(dir, "runnel.yaml")
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write the spec file: %w", err)
	}
	return spec, nil
}

// echo is the function in Go.
func (l *flowLoad) echo(_ context.Context, m runnel.Message) (runnel.Result, error) {
	n, due, err := readFlowBody(m.Body)
	if err != nil {
		return runnel.Result{}, err
	}
	if n >= l.measured.Load() {
		l.handler.record(time.Since(l.start) - due)
	}
	return runnel.Result{Out: []runnel.Message{{Body: m.Body}}}, nil
}

// run warms up, measures, and accounts for every message.
func (l *flowLoad) run(ctx context.Context, dir string, errOut io.Writer) (*figures, error) {
	o := l.opt
	if err := l.server.Reload(ctx); err != nil { // when it returns, the flow runs
		return nil, err
	}
	broker := l.server.Broker("default")
	var err error
	if l.in, err = broker.Sink("load-in"); err != nil {
		return nil, err
	}
	out, err := broker.Source("load-out")
	if err != nil {
		return nil, err
	}
	g, working := errgroup.WithContext(ctx)
	consuming, stop := context.WithCancel(working)
	defer stop()
	for range o.consumers {
		g.Go(func() error { return ended(consuming, l.consume(consuming, out)) })
	}
	dead, err := broker.Source("load-dead")
	if err != nil {
		return nil, err
	}
	g.Go(func() error { return ended(consuming, l.consumeDead(consuming, dead)) })
	if o.flow == "none" {
		if err := l.move(consuming, g, broker); err != nil {
			return nil, err
		}
	}
	f := &figures{
		Mode: "flow", InProcess: true, SizeBytes: o.size, Batch: o.batch, ReceiveBatch: flowReceive,
		Producers: o.producers, Consumers: o.consumers, RateAsked: o.rate,
		Flow:       &flowFigures{Function: o.flow, Concurrency: o.concurrency, SendBatch: o.sendBatch},
		Durability: "fsync before acknowledgement",
		Commit:     thisBuild().commit, Machine: thisMachine(), Time: time.Now().UTC().Truncate(time.Second),
	}
	if inMemory(dir) {
		f.Durability = "none: the data directory is on a filesystem in memory, where fsync does nothing"
	}
	if o.rate == 0 {
		f.Flow.Ahead = o.ahead
	}
	if o.flow == "python" || o.flow == "node" {
		f.Flow.Workers = o.workers
	}
	g.Go(func() error {
		defer stop()
		return l.measure(working, f, errOut)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return f, l.count(ctx, f)
}

// ended is the error of what was to go on until ctx ends.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// measure sends the messages, and waits for their results.
func (l *flowLoad) measure(ctx context.Context, f *figures, errOut io.Writer) error {
	o := l.opt
	l.measured.Store(flowWarmUp)
	if _, err := l.produce(ctx, &loadOptions{messages: flowWarmUp, batch: o.sendBatch}); err != nil {
		return err
	}
	if err := l.account.wait(ctx, flowPatience); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	warm := l.account.totals()
	stopProfile, err := o.profile()
	if err != nil {
		return err
	}
	stopProgress := l.reportProgress(errOut)
	defer stopProgress()
	begin, workers := usageNow(), childrenCPU()
	measured := *o
	measured.batch = o.sendBatch
	took, err := l.produce(ctx, &measured)
	if err == nil {
		err = l.account.wait(ctx, flowPatience)
	}
	if errors.Is(err, errFlowStuck) {
		err = nil // what is missing is in the figures
	}
	end, workersEnd := usageNow(), childrenCPU()
	if err := errors.Join(err, stopProfile()); err != nil {
		return err
	}
	total := l.account.totals()
	sent := total.sent - warm.sent
	f.Messages = total.results - warm.results
	if f.Messages <= 0 {
		return errors.New("no result came")
	}
	seconds := end.at.Sub(begin.at).Seconds()
	f.Seconds, f.Rate = rounded(seconds), rounded(float64(f.Messages)/seconds)
	f.Send = newPhase(sent, took, &l.sendTimes)
	if cpu := per(float64(end.cpu-begin.cpu)/1e3, f.Messages); cpu != nil {
		f.CPU = *cpu
	}
	if workers >= 0 && f.Flow.Workers > 0 {
		f.Flow.WorkerCPU = per(float64(workersEnd-workers)/1e3, f.Messages)
	}
	if begin.written >= 0 {
		f.WrittenBytes = per(float64(end.written-begin.written), f.Messages)
	}
	f.Allocs = per(float64(end.allocs-begin.allocs), f.Messages)
	f.AllocBytes = per(float64(end.allocBytes-begin.allocBytes), f.Messages)
	f.Flow.Result, f.Flow.Handler = l.results.latency(), l.handler.latency()
	now, most := residentBytes()
	f.RSS, f.PeakRSS = max(now, 0), max(most, 0)
	return nil
}

// count puts what became of all messages into the figures.
func (l *flowLoad) count(ctx context.Context, f *figures) error {
	f.Flow.add(l.account.totals())
	if l.opt.flow == "none" {
		return nil
	}
	var flow struct {
		Features []string
		Stats    struct {
			Calls, Retried, Released uint64
			LeaseLost                uint64 `json:"lease_lost"`
		}
	}
	if err := l.client.do(ctx, http.MethodGet, "/api/v1/flows/load", nil, &flow); err != nil {
		return fmt.Errorf("ask for the figures of the flow: %w", err)
	}
	f.Flow.Features = flow.Features
	f.Flow.Calls, f.Flow.Retried, f.Flow.Released, f.Flow.LeaseLost = flow.Stats.Calls, flow.Stats.Retried, flow.Stats.Released, flow.Stats.LeaseLost
	return nil
}
