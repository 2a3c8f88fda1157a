package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/worker"
)

// invokeWait is how long a caller waits for a worker.
const invokeWait = 10 * time.Second

// invokeTries is how many workers are given a call that none of them saw.
const invokeTries = 3

// Invoke implements admin.Invocations.
func (a functionAPI) Invoke(ctx context.Context, account, ref string, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	slots := a.flows.slots(account)
	if !slots.TryTake() {
		return admin.InvokeAnswer{}, runnel.Errorf(runnel.CodeLimit, "all calls that the account may have under way are taken (--session-limit)")
	}
	defer slots.Give()
	out := admin.InvokeAnswer{Invocation: uuid.NewString()}
	if h := a.functions.goHandler(ref); h != nil {
		return a.invokeGo(ctx, h, out, in)
	}
	for try := 1; ; try++ {
		// A worker that ends after an answer, as one that panicked does, may
		// have been given a call before it was known to be gone.
		err := a.invoke(ctx, ref, in, &out)
		if try == invokeTries || !errors.Is(err, worker.ErrNotBegun) {
			return out, err
		}
	}
}

// invoke makes one call, and notes what came of it.
func (a functionAPI) invoke(ctx context.Context, ref string, in admin.InvokeRequest, out *admin.InvokeAnswer) error {
	begun := time.Now()
	waiting, cancel := context.WithTimeout(ctx, invokeWait)
	place, err := a.functions.set.Acquire(waiting, ref)
	cancel()
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return runnel.Errorf(runnel.CodeLimit, "no worker was free within %s: %v", invokeWait, err)
		}
		return err
	}
	defer place.Release()
	taken := time.Now()
	out.Version, out.Wait = place.Version, out.Wait+taken.Sub(begun)
	if place.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, place.Timeout)
		defer cancel()
	}
	answers, err := place.Call.Invoke(ctx, &runnel.Invocation{
		ID: out.Invocation, Format: in.Format,
		Items: []runnel.Item{{Payload: in.Payload, Message: runnel.MessageID(out.Invocation), Attempt: 1, Trace: in.Trace}},
	})
	out.Run = time.Since(taken)
	switch {
	case err != nil:
		return err
	case len(answers) != 1:
		return fmt.Errorf("invoke %s: %d answers", ref, len(answers))
	case answers[0].Err != nil:
		return answers[0].Err
	}
	out.Format, out.Payload = answers[0].Format, answers[0].Payload
	return nil
}

// invokeGo calls a Go handler with a message.
func (a functionAPI) invokeGo(ctx context.Context, h runnel.Handler, out admin.InvokeAnswer, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	m := runnel.Message{ID: runnel.MessageID(out.Invocation), Body: in.Payload, Trace: in.Trace}
	ctx = runnel.WithCall(ctx, &runnel.Call{Message: m.ID, Attempt: 1, Attempts: []int{1}, Invocation: out.Invocation})
	begun := time.Now()
	results, err := handleGo(ctx, h, m)
	out.Run = time.Since(begun)
	switch {
	case err != nil:
		return out, goFailure(err)
	case len(results) != 1:
		return out, goFailure(fmt.Errorf("%d results for 1 message", len(results)))
	case results[0].Err != nil:
		return out, goFailure(results[0].Err)
	case len(results[0].Out) == 0:
		out.Format = runnel.FormatNone
	default:
		out.Format, out.Payload = runnel.FormatBytes, results[0].Out[0].Body
	}
	return out, nil
}

// handleGo calls a Go handler, whose panic is its failure.
func handleGo(ctx context.Context, h runnel.Handler, m runnel.Message) (_ []runnel.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &runnel.FunctionError{Kind: runnel.KindError, Name: "panic", Message: fmt.Sprint(p), Stack: string(debug.Stack())}
		}
	}()
	return h.Handle(ctx, []runnel.Message{m})
}

// goFailure is the error of a Go handler as a function's failure.
func goFailure(err error) error {
	var failure *runnel.FunctionError
	var again *runnel.RetryError
	var reject *runnel.RejectError
	if errors.As(err, &failure) || errors.As(err, &again) || errors.As(err, &reject) {
		return err
	}
	return &runnel.FunctionError{Kind: runnel.KindError, Message: err.Error()}
}
