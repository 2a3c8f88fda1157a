package function

import (
	"context"
	"errors"
	"time"

	"github.com/runnel-io/runnel"
)

// ErrDraining is what the error of Pool.Acquire wraps when the pool was told
// to drain: the caller looks for the pool that came after it.
var ErrDraining = errors.New("the workers are draining")

// Runner starts pools of workers.
type Runner interface {
	// Start returns when a first worker has loaded the code, or with the
	// reason why none does: a *runnel.FunctionError where the language said
	// so. ctx bounds the start and not the life of the pool.
	Start(ctx context.Context, p Program, w runnel.Workers) (Pool, error)
}

// Pool is the workers of one program. Resize, Stats and Limits do not wait for
// calls: they are made while Acquire is held up.
type Pool interface {
	// Acquire waits for a free worker; where one is free, it is given also if
	// ctx has ended. Release is called once, after the call. The error wraps
	// ErrDraining once Drain was called, also for those who wait already; else
	// it is that of ctx.
	Acquire(ctx context.Context) (call runnel.Invoker, release func(), err error)
	// Resize changes the bounds. Workers over Max end after their call.
	Resize(w runnel.Workers)
	// Drain lets the calls in flight end, and then the workers. When ctx ends
	// first it kills them and returns its error.
	Drain(ctx context.Context) error
	// Stats counts since the start of the pool, also after its end. It may read
	// something for each process: no lock is held over it.
	Stats() PoolStats
	// Limits says which limits are in force.
	Limits() []Limit
}

// Program is what a pool runs.
type Program struct {
	// Function and Version are for logs and for the handler's context.
	Function, Version string
	// Dir is the code, and the working directory.
	Dir string
	// Args are the program, as an absolute path, and its arguments.
	Args []string
	// Env is the whole environment, as NAME=VALUE.
	Env []string
	// Mask are the values of the environment that are the function's own:
	// they stand in no log line and in no error.
	Mask []string
	// Shim says that the program is one of Shims.
	Shim bool
	// Transport is how calls reach a worker; Concurrency how many may be in
	// flight on one.
	Transport   runnel.Transport
	Concurrency int
	// URL is the endpoint that takes the place of processes; empty: there are
	// processes.
	URL string
	// Memory is the most that a process may allocate, in bytes; 0: no limit.
	Memory int64
	// MaxInput is the largest payload, MaxOutput the largest returned value,
	// in bytes.
	MaxInput, MaxOutput int64
	// Limits are as the function says, zero meaning the runner's default.
	Limits runnel.ProcessLimits
	// Writable are directories that the workers may write to besides their
	// temporary ones.
	Writable []string
	// Network is what the workers can reach.
	Network runnel.Network
	// SQSEndpoint says that the workers want the variables by which an SQS
	// client in them finds Runnel.
	SQSEndpoint bool
	// Visible are the directories, besides the system's own, that the program
	// must be able to read.
	Visible []string
	// StartTimeout is how long a worker may take to load the code.
	StartTimeout time.Duration
}

// PoolStats are the numbers of a pool. Those of the first two lines are of this
// moment, the others sums.
type PoolStats struct {
	Min, Max                      int
	Idle, Busy, Starting, Waiting int // Waiting are calls; the others workers

	// Interrupted calls are not among Calls.
	Calls, Errors, Timeouts, Crashes, OutOfMemory, Interrupted, Starts uint64

	// Wait is how long calls waited for a place, Start how long workers took to
	// load the code, Run how long calls took.
	Wait, Start, Run runnel.Histogram
	// PeakMemory is the most that one worker ever occupied, in bytes.
	PeakMemory int64

	// LastError is why workers do not start at the moment; empty when they do.
	LastError string
}

// add adds the sums of t; of the peaks the higher one stays.
func (s *PoolStats) add(t *PoolStats) {
	s.Calls += t.Calls
	s.Errors += t.Errors
	s.Timeouts += t.Timeouts
	s.Crashes += t.Crashes
	s.OutOfMemory += t.OutOfMemory
	s.Interrupted += t.Interrupted
	s.Starts += t.Starts
	s.Wait.Add(&t.Wait)
	s.Start.Add(&t.Start)
	s.Run.Add(&t.Run)
	s.PeakMemory = max(s.PeakMemory, t.PeakMemory)
}

// Limit is one bound on the processes of a pool, and whether it holds here.
type Limit struct {
	Name    string `json:"name"`             // as in "memory"
	Wanted  string `json:"wanted,omitempty"` // as in "64MiB"
	InForce bool   `json:"in_force"`
	How     string `json:"how,omitempty"` // by what, or why not
}
