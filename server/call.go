package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker"
)

const (
	// invokeWait is how long a caller waits for a worker.
	invokeWait = 10 * time.Second
	// invokeTries is how many workers are given a call that none of them saw.
	invokeTries = 3
	// maxDepth is how many calls there may be before one in a chain of calls,
	// each made by the function that the one before it called.
	maxDepth = 32
)

// call is one call of a function, for who wants the answer: what the doors
// without messages have in common.
type call struct {
	id, ref string
	caller  *runnel.Principal
	payload []byte
	format  runnel.Format
	trace   string
	// wait is how long to wait for a worker, timeout how long it may take; 0:
	// as the function says.
	wait, timeout time.Duration
}

// answer is what came of a call, also of one that failed.
type answer struct {
	version string
	// wait and run are how long it waited for a worker, and took on it.
	wait, run time.Duration
	format    runnel.Format
	payload   []byte
}

// begin takes the place among its account's calls that a call holds until
// release. CodeLimit says that there is none. That the chain of calls is too long
// is a failure of the function that calls: clients lose the words of other errors.
func (c *call) begin(fs *flows) (release func(), err error) {
	if c.caller.Depth >= maxDepth {
		return nil, &runnel.FunctionError{Kind: runnel.KindError, Message: fmt.Sprintf(
			"%s was not called: there are %d calls before this one, each made by the function that the one before it called, and that is the most; does one call itself?", c.ref, c.caller.Depth)}
	}
	slots := fs.slots(c.caller.Account)
	if !slots.TryTake() {
		return nil, runnel.Errorf(runnel.CodeLimit, "all calls that the account may have under way are taken (--session-limit)")
	}
	return slots.Give, nil
}

// make makes the call.
func (c *call) make(ctx context.Context, f *functions) (answer, error) {
	if h := f.goHandler(c.ref); h != nil {
		return c.makeGo(ctx, h)
	}
	var out answer
	for try := 1; ; try++ {
		// A worker that ends after an answer, as one that panicked does, may
		// have been given a call before it was known to be gone.
		err := c.try(ctx, f, &out)
		if try == invokeTries || !errors.Is(err, worker.ErrNotBegun) {
			return out, err
		}
	}
}

// try makes one call, and notes what came of it.
func (c *call) try(ctx context.Context, f *functions, out *answer) error {
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, c.wait)
	place, err := f.set.Acquire(waiting, c.ref)
	cancel()
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && runnel.CodeOf(err) != runnel.CodeInvalid {
			if why := f.broken(c.ref); why != "" {
				return runnel.Errorf(runnel.CodeInvalid, "the code does not load: %s", why)
			}
			return runnel.Errorf(runnel.CodeLimit, "no worker was free within %s: %v", c.wait, err)
		}
		return err
	}
	defer place.Release()
	taken := time.Now()
	out.version, out.wait = place.Version, out.wait+taken.Sub(begun)
	limit := place.Timeout
	if limit == 0 || c.timeout > 0 && c.timeout < limit {
		limit = c.timeout
	}
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	answers, err := place.Call.Invoke(ctx, &runnel.Invocation{
		ID: c.id, Caller: c.caller, Format: c.format,
		Items: []runnel.Item{{Payload: c.payload, Message: runnel.MessageID(c.id), Attempt: 1, Trace: c.trace}},
	})
	out.run = time.Since(taken)
	switch {
	case err != nil:
		return err
	case len(answers) != 1:
		return fmt.Errorf("invoke %s: %d answers", c.ref, len(answers))
	case answers[0].Err != nil:
		return answers[0].Err
	}
	out.format, out.payload = answers[0].Format, answers[0].Payload
	return nil
}

// broken says why no worker of the version that ref names starts; empty where some
// run, or start.
func (f *functions) broken(ref string) string {
	name, v, err := f.set.Find(ref)
	if err != nil {
		return ""
	}
	info, err := f.set.Get(name)
	if ran := info.Ran[v.Hash]; err == nil && ran.Idle+ran.Busy == 0 {
		return ran.LastError
	}
	return ""
}

// makeGo calls a Go handler with a message.
func (c *call) makeGo(ctx context.Context, h runnel.Handler) (out answer, err error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	m := runnel.Message{ID: runnel.MessageID(c.id), Body: c.payload, Trace: c.trace}
	ctx = runnel.WithCall(ctx, &runnel.Call{Message: m.ID, Attempt: 1, Attempts: []int{1}, Invocation: c.id})
	begun := time.Now()
	results, err := handleGo(ctx, h, m)
	out.run = time.Since(begun)
	switch {
	case err != nil:
		return out, goFailure(err)
	case len(results) != 1:
		return out, goFailure(fmt.Errorf("%d results for 1 message", len(results)))
	case results[0].Err != nil:
		return out, goFailure(results[0].Err)
	case len(results[0].Out) == 0:
		out.format = runnel.FormatNone
	default:
		out.format, out.payload = runnel.FormatBytes, results[0].Out[0].Body
	}
	return out, nil
}
