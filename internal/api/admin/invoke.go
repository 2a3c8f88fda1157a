package admin

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Invocations calls functions for callers who wait for the answer.
type Invocations interface {
	// Invoke calls the function that ref names, OWNER/NAME or
	// OWNER/NAME@VERSION, on behalf of account.
	//
	// The error of a handler is a *runnel.FunctionError, or that of
	// runnel.RetryAfter or runnel.Reject; the answer then still says Version
	// and Invocation. Where no worker was free in time it is CodeLimit; where
	// there are none, CodeUnavailable or runnel.ErrInterrupted.
	Invoke(ctx context.Context, account, ref string, in InvokeRequest) (InvokeAnswer, error)
}

// InvokeRequest is one call of a function.
type InvokeRequest struct {
	Payload []byte
	// Format is how the handler sees it: FormatJSON, FormatText or FormatBytes.
	Format runnel.Format
	// Trace is a valid W3C traceparent, or empty.
	Trace string
	// Caller is whom the call is made for.
	Caller *runnel.Principal
}

// InvokeAnswer is what a function returned.
type InvokeAnswer struct {
	// Version is what answered, Invocation the id of the call.
	Version, Invocation string
	// Wait is how long the call waited for a worker, Run how long it took on
	// it; zero where there was none.
	Wait, Run time.Duration
	Format    runnel.Format
	Payload   []byte
}

// How long a client is asked to wait where there was no place for its call.
const (
	retryWhenBusy    = time.Second
	retryWhenStopped = 5 * time.Second
)

// writeTimeout is how long a client may take for one write of an answer or a
// stream: a client that stopped reading gives its place back.
const writeTimeout = 30 * time.Second

// The media types of payloads.
const (
	mediaText  = "text/plain"
	mediaBytes = "application/octet-stream"
)

type invokeInput struct {
	FunctionPath
	Version     string `query:"version" doc:"A version or an alias. Default: the live one."`
	ContentType string `header:"Content-Type" hidden:"true"`
	Traceparent string `header:"Traceparent" doc:"A W3C trace context that the call belongs to. One that is not valid is ignored."`
}

func (d *Door) invoke(ctx context.Context, caller auth.Caller, in *invokeInput) (*huma.StreamResponse, error) {
	if d.Invocations == nil {
		return nil, unsupported("functions")
	}
	ref, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	if !caller.Calls(ref) {
		return nil, runnel.Errorf(runnel.CodeDenied, "the key %s may not call %s: its permissions do not have it", caller.KeyID, ref)
	}
	if in.Version != "" {
		ref += "@" + in.Version
	}
	call := InvokeRequest{Payload: requestFrom(ctx).body, Trace: traceparent(in.Traceparent), Caller: caller.Principal()}
	if call.Format, err = formatOf(in.ContentType); err != nil {
		return nil, err
	}
	switch {
	case call.Format == runnel.FormatJSON && len(call.Payload) == 0:
		call.Payload = []byte("null")
	case call.Format == runnel.FormatJSON && !json.Valid(call.Payload):
		return nil, runnel.Errorf(runnel.CodeInvalid, "the body is not JSON: send other text as %s, bytes as %s", mediaText, mediaBytes)
	case call.Format == runnel.FormatText && !utf8.Valid(call.Payload):
		return nil, runnel.Errorf(runnel.CodeInvalid, "the body is not text in UTF-8: send bytes as %s", mediaBytes)
	}
	answer, err := d.Invocations.Invoke(ctx, caller.Account, ref, call)
	headers := make(http.Header)
	if answer.Version != "" {
		headers.Set("Runnel-Version", answer.Version)
	}
	if answer.Invocation != "" {
		headers.Set("Runnel-Invocation", answer.Invocation)
	}
	if answer.Run > 0 {
		headers.Set("Runnel-Wait-Ms", strconv.FormatFloat(Milliseconds(answer.Wait), 'f', -1, 64))
		headers.Set("Runnel-Run-Ms", strconv.FormatFloat(Milliseconds(answer.Run), 'f', -1, 64))
	}
	if err != nil {
		return nil, refusalOfInvoke(err, headers)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		for name, values := range headers {
			w.Header()[name] = values
		}
		writeAnswer(w, answer)
	}}, nil
}

// formatOf returns how a body of a media type is seen; JSON where none is said.
func formatOf(contentType string) (runnel.Format, error) {
	if contentType == "" {
		return runnel.FormatJSON, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == mediaJSON:
		return runnel.FormatJSON, nil
	case err == nil && media == mediaText:
		return runnel.FormatText, nil
	case err == nil && media == mediaBytes:
		return runnel.FormatBytes, nil
	}
	return 0, runnel.Errorf(runnel.CodeInvalid, "Content-Type: %s: want %s, %s or %s", contentType, mediaJSON, mediaText, mediaBytes)
}

func writeAnswer(w http.ResponseWriter, answer InvokeAnswer) {
	// Not every ResponseWriter has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	switch answer.Format {
	case runnel.FormatNone:
		w.WriteHeader(http.StatusNoContent)
		return
	case runnel.FormatText:
		w.Header().Set("Content-Type", mediaText+"; charset=utf-8")
	case runnel.FormatBytes:
		w.Header().Set("Content-Type", mediaBytes)
	case runnel.FormatJSON:
		w.Header().Set("Content-Type", mediaJSON)
	}
	_, _ = w.Write(answer.Payload) // a client that left is not told
}

// refusalOfInvoke tells a function's failures from those of the call.
func refusalOfInvoke(err error, headers http.Header) *refusal {
	var failed *runnel.FunctionError
	var rejected *runnel.RejectError
	var later *runnel.RetryError
	var out *refusal
	switch {
	case errors.As(err, &failed) && failed.Kind == runnel.KindTimeout:
		out = refuse(codeFunctionTimeout, "%s", failed.Error())
		out.Fault.FunctionError = failed
	case errors.As(err, &failed):
		out = refuse(codeFunctionFailed, "%s", failed.Error())
		out.Fault.FunctionError = failed
	case errors.As(err, &rejected):
		out = refuse(codeFunctionFailed, "%s", rejected.Error())
		out.Fault.FunctionError = &runnel.FunctionError{Kind: runnel.KindRejected, Message: rejected.Reason}
	case errors.As(err, &later):
		// The function's own wish: it failed, and may succeed then.
		out = refuse(codeFunctionFailed, "the function asks for another try after %s", later.After).retryIn(later.After)
		out.status = http.StatusServiceUnavailable
		out.Fault.FunctionError = &runnel.FunctionError{Kind: runnel.KindError, Message: later.Error()}
	case errors.Is(err, runnel.ErrInterrupted):
		// What follows the sentinel says why: the workers were being replaced,
		// an endpoint is away.
		_, why, found := strings.Cut(err.Error(), runnel.ErrInterrupted.Error()+": ")
		if !found {
			why = "its worker is being replaced"
		}
		out = refuse(runnel.CodeUnavailable, "the call was interrupted: %s", why).retryIn(retryWhenBusy)
	default:
		out = refusalOf(err)
		out.err = err
		switch out.status {
		case http.StatusTooManyRequests:
			out = out.retryIn(retryWhenBusy)
		case http.StatusServiceUnavailable:
			out = out.retryIn(retryWhenStopped)
		}
	}
	for name, values := range out.headers {
		headers[name] = values
	}
	out.headers = headers
	return out
}
