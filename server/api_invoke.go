package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
)

// Invoke implements admin.Invocations.
func (a functionAPI) Invoke(ctx context.Context, account, ref string, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	c := call{id: uuid.NewString(), ref: ref, caller: in.Caller, payload: in.Payload, format: in.Format, trace: in.Trace, wait: invokeWait}
	if c.caller == nil {
		id, err := accountID(ctx, a.flows.catalog, account)
		if err != nil {
			return admin.InvokeAnswer{}, err
		}
		c.caller = &runnel.Principal{Account: account, ID: id, Permissions: runnel.AllPermissions()}
	}
	release, err := c.begin(a.flows)
	if err != nil {
		return admin.InvokeAnswer{}, err
	}
	defer release()
	got, err := c.make(ctx, a.functions)
	return admin.InvokeAnswer{
		Version: got.version, Invocation: c.id, Wait: got.wait, Run: got.run, Format: got.format, Payload: got.payload,
	}, err
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
