package main

import (
	"context"
	"time"
)

// loadTarget is what a load is put on: a server, or the engine in this process.
type loadTarget interface {
	// worker returns what one goroutine calls.
	worker() loadWorker
	// depth returns how many messages could be received now.
	depth(ctx context.Context) (int64, error)
	// before and after measure what only the target knows of a run, and put
	// it into the figures of its messages.
	before(ctx context.Context, f *figures) error
	after(ctx context.Context, f *figures) error
	// sample measures what can be seen of the target at any time.
	sample(ctx context.Context) sample
	// serverCPU is the processor time of another process that serves so far,
	// or -1.
	serverCPU() time.Duration
	// close ends the target. A queue that the run made goes, unless keep.
	close(ctx context.Context, keep bool) error
}

// loadWorker makes the calls of one goroutine.
type loadWorker interface {
	// send stores messages and returns when they are confirmed. The bodies
	// are the caller's again then.
	send(ctx context.Context, bodies [][]byte) error
	// receive adds 1 to most messages to into, or none after wait. Bodies are
	// good until the next receive.
	receive(ctx context.Context, most int, wait time.Duration, into []taken) ([]taken, error)
	// remove deletes messages that this or another worker received.
	remove(ctx context.Context, ts []taken) error
}

// taken is a received message.
type taken struct {
	body   []byte
	handle any // the target's own
}

// loadLease is the visibility timeout of what a load receives: longer than any
// run keeps a message, so that none is received twice.
const loadLease = 5 * time.Minute
