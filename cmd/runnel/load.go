package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// loadOptions are the flags of runnel load.
type loadOptions struct {
	mode         string
	queue        string
	messages     int64
	duration     time.Duration
	rate         float64
	size         int
	batch        int
	receiveBatch int
	producers    int
	consumers    int
	round        int
	preload      int64
	hold         int64
	fifo         bool
	groups       int64
	keep         bool
	every        time.Duration
	serverPID    int

	inProcess  bool
	dir        string
	leases     bool
	settle     bool
	cpuProfile string
	memProfile string

	flow        string // the function of a flow; "": none of what follows
	concurrency int
	workers     int
	ahead       int
	sendBatch   int
}

func newLoadCommand() *cobra.Command {
	var opt loadOptions
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put a load on a server, or on the engine in this process, and measure it",
		Long: `Put a load on a server, or with --in-process on the engine alone, and print the
figures as one line of JSON. Progress goes to standard error.

Modes:
  send     producers send.
  receive  consumers receive and delete until the queue is empty.
  cycle    producers send while consumers receive and delete, until all is gone.
  loop     each producer sends a message, receives one and deletes it, in turn.
  phases   rounds of --round messages: all are sent, then all received, then all
           deleted, and the processor time of each is counted apart.
  poll     consumers wait in long polls of 20 s, and nothing is sent.

With --flow, a server in this process runs a flow from a queue to another one;
producers send in process, a consumer takes the results. FUNCTION is go, python
or node, each of which returns what it gets, or none: messages are moved in one
commit by a loop without a flow, which is what the queues alone cost. --batch is
then messages in a call. Producers are at most --ahead messages before the
results, or follow --rate. Every message is accounted for, and the status is not
0 if one was lost.

With --rate, sends have a schedule, and latencies count from the scheduled time:
a stall is charged to every message that it holds up.`,
		Example: `  runnel load --rate 200 --duration 10s --consumers 4
  runnel load --flow python --batch 10 --concurrency 16
  runnel load --flow go --rate 50
  runnel load --in-process --mode send --producers 64 --duration 5s
  runnel load --in-process --preload 1000000 --mode phases --messages 20000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("duration") && (opt.messages > 0 || opt.mode == "receive") {
				opt.duration = 0
			}
			if opt.flow != "" {
				if err := opt.completeFlow(cmd); err != nil {
					return err
				}
				return opt.runFlow(cmd)
			}
			if err := opt.validate(); err != nil {
				return err
			}
			return opt.run(cmd)
		},
	}
	addClientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&opt.mode, "mode", "cycle", "send, receive, cycle, loop, phases or poll")
	f.StringVar(&opt.queue, "queue", "load", "name of the queue; it is made if there is none, and then deleted at the end")
	f.Int64Var(&opt.messages, "messages", 0, "how many messages")
	f.DurationVar(&opt.duration, "duration", 10*time.Second, "for how long messages are sent, if --messages does not say how many")
	f.Float64Var(&opt.rate, "rate", 0, "messages to send per second; 0: as many as it takes")
	f.IntVar(&opt.size, "size", 1024, "bytes of a message")
	f.IntVar(&opt.batch, "batch", 1, "messages in a send; with --flow, in a call")
	f.IntVar(&opt.receiveBatch, "receive-batch", 10, "most messages in a receive, and in a delete")
	f.IntVar(&opt.producers, "producers", 16, "how many send at once")
	f.IntVar(&opt.consumers, "consumers", 4, "how many receive at once")
	f.IntVar(&opt.round, "round", 2000, "messages of a round, in mode phases")
	f.Int64Var(&opt.preload, "preload", 0, "send so many messages first; they stay as a backlog")
	f.Int64Var(&opt.hold, "hold", 0, "send and receive so many messages first; they stay in flight")
	f.BoolVar(&opt.fifo, "fifo", false, "use a FIFO queue: .fifo is added to its name")
	f.Int64Var(&opt.groups, "groups", 1, "message groups that sends go to in turn, with --fifo")
	f.BoolVar(&opt.keep, "keep", false, "do not delete what is received, nor the queue")
	f.DurationVar(&opt.every, "every", 0, "put figures of each such time into the line, for a graph; 0: none")
	f.IntVar(&opt.serverPID, "server-pid", 0, "process of the server, if it is on this machine: its processor time is then exact, and known of each phase")
	f.BoolVar(&opt.inProcess, "in-process", false, "use the engine in this process, without HTTP")
	f.StringVar(&opt.dir, "dir", "", "data directory of the engine (default: a new one, removed at the end)")
	f.BoolVar(&opt.leases, "leases", false, "receive as a flow does, by leases in memory; in process only")
	f.BoolVar(&opt.settle, "settle", false, "wait until the engine has nothing to do in the background before measuring; in process only")
	f.StringVar(&opt.cpuProfile, "cpuprofile", "", "write a CPU profile of the measured part to `FILE`; in process only")
	f.StringVar(&opt.memProfile, "memprofile", "", "write a profile of the memory in use at the end to `FILE`; in process only")
	f.StringVar(&opt.flow, "flow", "", "measure a flow that calls `FUNCTION`: go, python, node, or none")
	f.IntVar(&opt.concurrency, "concurrency", 16, "calls in flight; with --flow")
	f.IntVar(&opt.workers, "workers", runtime.NumCPU(), "processes of the function; with --flow")
	f.IntVar(&opt.ahead, "ahead", 0, "most messages between send and result (default 8 x concurrency x batch); with --flow")
	f.IntVar(&opt.sendBatch, "send-batch", 0, "messages in a send (default 10, or 1 with --rate); with --flow")
	return cmd
}

// validate returns every fault, joined.
func (o *loadOptions) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, &usageError{fmt.Sprintf(format, args...)})
		}
	}
	switch o.mode {
	case "send", "receive", "cycle", "loop", "phases", "poll":
	default:
		check(false, "--mode %s: want send, receive, cycle, loop, phases or poll", o.mode)
	}
	check(o.messages >= 0, "--messages %d: want 0 or more", o.messages)
	check(o.preload >= 0, "--preload %d: want 0 or more", o.preload)
	check(o.groups >= 1, "--groups %d: want at least 1", o.groups)
	check(o.groups == 1 || o.fifo, "--groups needs --fifo")
	check(o.hold >= 0, "--hold %d: want 0 or more", o.hold)
	check(o.mode != "poll" || o.duration > 0, "--mode poll needs --duration")
	check(o.every >= 0, "--every %v: want 0 or more", o.every)
	check(!o.inProcess || o.serverPID == 0, "--server-pid is not for --in-process")
	check(o.duration >= 0, "--duration %v: want 0 or more", o.duration)
	check(o.messages > 0 || o.duration > 0 || o.mode == "receive", "say how long the load lasts: --messages or --duration")
	check(o.rate >= 0, "--rate %v: want 0 or more", o.rate)
	check(o.rate == 0 || o.mode == "send" || o.mode == "cycle", "--rate is for the modes send and cycle")
	check(o.size >= 1 && o.size <= queue.MaxMessageBytes, "--size %d: want 1 to %d bytes", o.size, queue.MaxMessageBytes)
	most := maxBatchEntries
	if o.inProcess {
		most = 1000
	}
	check(o.batch >= 1 && o.batch <= most, "--batch %d: want 1 to %d", o.batch, most)
	check(o.inProcess || o.batch <= 1 || o.batch*o.size <= maxBatchBytes, "--batch %d of --size %d: a batch holds at most 1 MiB", o.batch, o.size)
	check(o.receiveBatch >= 1 && o.receiveBatch <= most, "--receive-batch %d: want 1 to %d", o.receiveBatch, most)
	check(o.producers >= 1, "--producers %d: want at least 1", o.producers)
	check(o.consumers >= 1, "--consumers %d: want at least 1", o.consumers)
	check(o.round >= 1, "--round %d: want at least 1", o.round)
	check(!o.keep || o.mode != "loop", "--keep is not for the mode loop")
	for _, f := range []struct {
		name string
		set  bool
	}{{"dir", o.dir != ""}, {"leases", o.leases}, {"settle", o.settle}, {"cpuprofile", o.cpuProfile != ""}, {"memprofile", o.memProfile != ""}} {
		check(o.inProcess || !f.set, "--%s needs --in-process", f.name)
	}
	return errors.Join(errs...)
}

// run puts the load on its target and prints the figures.
func (o *loadOptions) run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.fifo && !strings.HasSuffix(o.queue, runnel.FIFOSuffix) {
		o.queue += runnel.FIFOSuffix
	}
	var order *ordered
	if o.fifo {
		order = newOrdered(o.groups)
	}
	var target loadTarget
	var settle func(context.Context) error
	if o.inProcess {
		engine, err := openEngine(ctx, o, order, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		target = engine
		if o.settle {
			settle = engine.settle
		}
	} else {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		if target, err = openHTTP(ctx, c, o.queue, order, max(o.producers, o.consumers)*2, o.serverPID); err != nil {
			return err
		}
	}
	defer func() {
		// The end of ctx is no reason to leave the queue behind.
		err = errors.Join(err, target.close(context.WithoutCancel(ctx), o.keep))
	}()
	r := newLoadRun(o, target)
	stopProgress := r.reportProgress(cmd.ErrOrStderr())
	defer stopProgress()
	if err := r.preload(ctx); err != nil {
		return err
	}
	if err := r.holdFirst(ctx); err != nil {
		return err
	}
	if settle != nil {
		if err := settle(ctx); err != nil {
			return err
		}
	}
	stopProfile, err := o.profile()
	if err != nil {
		return err
	}
	f, err := r.run(ctx)
	if err := errors.Join(err, stopProfile()); err != nil {
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(f)
}

// profile starts the CPU profile that was asked for. The returned function
// ends it and writes the memory profile.
func (o *loadOptions) profile() (stop func() error, err error) {
	var cpu *os.File
	if o.cpuProfile != "" {
		if cpu, err = os.Create(o.cpuProfile); err != nil {
			return nil, fmt.Errorf("write the CPU profile: %w", err)
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(fmt.Errorf("write the CPU profile: %w", err), cpu.Close())
		}
	}
	return func() error {
		if cpu != nil {
			pprof.StopCPUProfile()
			if err := cpu.Close(); err != nil {
				return fmt.Errorf("write the CPU profile: %w", err)
			}
		}
		if o.memProfile == "" {
			return nil
		}
		mem, err := os.Create(o.memProfile)
		if err != nil {
			return fmt.Errorf("write the memory profile: %w", err)
		}
		runtime.GC() // what is in use is known as of the last collection
		if err := errors.Join(pprof.WriteHeapProfile(mem), mem.Close()); err != nil {
			return fmt.Errorf("write the memory profile: %w", err)
		}
		return nil
	}, nil
}
