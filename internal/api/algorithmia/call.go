package algorithmia

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Calls of algorithms: POST /v1/algo/OWNER/NAME[/VERSION] and
// /v1/algo/ID[/VERSION].
//
//	timeout  seconds, 1 to 3000; default 300. The function's own bounds it.
//	stdout   true adds metadata.stdout, for who owns the algorithm
//	output   raw: the bare result; void: answered before the algorithm is called
//
// The input is of type application/json, text/plain, application/text, or
// application/octet-stream, where it may have Content-Encoding: base64; 10 MiB
// at most. What goes wrong in the algorithm is answered with status 200 and an
// error, since the clients lose the message of others; but with output=raw,
// where they take any body of a 200 for the result, with 422. What goes wrong
// before is answered with its status. Differences to the original: docs/calls.md.

// Calls is what this part of the API wants of the server.
type Calls interface {
	// Named returns the OWNER/NAME of the algorithm with an id. CodeNotFound if
	// there is none.
	Named(ctx context.Context, id string) (string, error)
	// Call calls an algorithm and waits for its answer.
	//
	// An error of the algorithm is a *runnel.FunctionError, or that of
	// runnel.RetryAfter or runnel.Reject; it wraps runnel.ErrInterrupted if the
	// worker was taken away from under the call. Where it is CodeLimit,
	// CodeNotFound, CodeDenied or CodeUnavailable, nothing was called.
	Call(ctx context.Context, caller auth.Caller, in CallRequest) (CallAnswer, error)
	// Begin accepts a call, and makes it when it has returned. An error says
	// that it was not accepted.
	Begin(ctx context.Context, caller auth.Caller, in CallRequest) error
}

// CallRequest is one call of an algorithm.
type CallRequest struct {
	// ID is that of the call, in answers and log lines.
	ID string
	// Algorithm is OWNER/NAME; Version as Algorithmia has them, "" for the
	// latest that is published publicly.
	Algorithm, Version string
	Payload            []byte
	// Format is what the algorithm gets: FormatJSON, FormatText, FormatBytes.
	Format runnel.Format
	// Timeout is how long the algorithm may take.
	Timeout time.Duration
	// Stdout asks for what the algorithm prints, which its owner is told.
	Stdout bool
	// Trace is a W3C traceparent, or empty.
	Trace string
}

// CallAnswer is what an algorithm returned. What is not its result is there
// also if it failed.
type CallAnswer struct {
	Format   runnel.Format
	Payload  []byte
	Duration time.Duration
	// Stdout is nil unless it was asked for, and may be told.
	Stdout *string
}

const (
	maxInput       = 10 << 20
	defaultTimeout = 300
	maxTimeout     = 3000
	// writeTimeout is how long a client may take for an answer.
	writeTimeout = 30 * time.Second
)

func (d *Door) callRoutes() []Route {
	// Of a body in base64 more is read than it stands for.
	const most = maxInput/3*4 + 1024
	return []Route{
		{Method: http.MethodPost, Pattern: "/v1/algo/{owner}", MaxBody: most, serve: d.call},
		{Method: http.MethodPost, Pattern: "/v1/algo/{owner}/{name}", MaxBody: most, serve: d.call},
		{Method: http.MethodPost, Pattern: "/v1/algo/{owner}/{name}/{version}", MaxBody: most, serve: d.call},
	}
}

func (d *Door) call(w http.ResponseWriter, r *request) error {
	if d.Calls == nil {
		return unsupported("calls")
	}
	in, output, err := d.callRequest(r)
	if err != nil {
		return err
	}
	w.Header().Set("X-Request-Id", in.ID)
	if output == "void" {
		if err := d.Calls.Begin(r.Context(), r.caller, in); err != nil {
			return callFault(err)
		}
		writeJSON(w, http.StatusOK, struct {
			Async    string `json:"async"`
			Protocol string `json:"async_protocol"`
			ID       string `json:"request_id"`
		}{"void", "void", in.ID})
		return nil
	}
	answer, err := d.Calls.Call(r.Context(), r.caller, in)
	// Not every ResponseWriter has deadlines.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil {
		failed := failureOf(err)
		if failed == nil {
			return callFault(err)
		}
		status := http.StatusOK
		if output == "raw" {
			status = http.StatusUnprocessableEntity
		}
		writeJSON(w, status, failed)
		return nil
	}
	writeCall(w, answer, output == "raw")
	return nil
}

// callRequest reads a request, and what it wants for output.
func (d *Door) callRequest(r *request) (in CallRequest, output string, err error) {
	if err := r.caller.Web(r.Request); err != nil {
		return in, "", err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return in, "", runnel.Errorf(runnel.CodeInvalid, "the query is not one of a URL")
	}
	seconds := defaultTimeout
	if text := query.Get("timeout"); text != "" {
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 1 || seconds > maxTimeout {
			return in, "", runnel.Errorf(runnel.CodeInvalid, "timeout=%.40s: want 1 to %d seconds", text, maxTimeout)
		}
	}
	switch output = query.Get("output"); output {
	case "", "raw", "void":
	default:
		return in, "", runnel.Errorf(runnel.CodeInvalid, "output=%.40s: want raw or void, or none", output)
	}
	stdout := query.Get("stdout")
	in = CallRequest{
		ID: "req-" + uuid.NewString(), Version: r.value("version"), Timeout: time.Duration(seconds) * time.Second,
		Stdout: strings.EqualFold(stdout, "true") || stdout == "1",
	}
	if in.Format, in.Payload, err = input(r.Header, r.body); err != nil {
		return in, "", err
	}
	owner, name := r.value("owner"), r.value("name")
	if len(owner) == 36 && in.Version == "" && uuid.Validate(owner) == nil {
		in.Version = name
		in.Algorithm, err = d.Calls.Named(r.Context(), owner)
		return in, output, err
	}
	if name == "" {
		return in, "", runnel.Errorf(runnel.CodeInvalid, "want /v1/algo/OWNER/NAME, with a version behind it or none, or the id of an algorithm")
	}
	in.Algorithm = owner + "/" + name
	return in, output, nil
}

// input returns what the algorithm is given.
func input(h http.Header, body []byte) (runnel.Format, []byte, error) {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		media = ""
	}
	encoding := strings.ToLower(h.Get("Content-Encoding"))
	switch {
	case encoding == "" || encoding == "identity":
	case encoding == "base64" && media == "application/octet-stream":
		decoded := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
		n, err := base64.StdEncoding.Decode(decoded, body)
		if err != nil {
			return 0, nil, runnel.Errorf(runnel.CodeInvalid, "the body is not base64, as its Content-Encoding says")
		}
		body = decoded[:n]
	default:
		return 0, nil, runnel.Errorf(runnel.CodeInvalid, "Content-Encoding: %.40s: want none, or base64 for application/octet-stream", encoding)
	}
	if len(body) > maxInput {
		return 0, nil, runnel.Errorf(runnel.CodeTooLarge, "the input is over %d bytes", maxInput)
	}
	switch media {
	case "application/json":
		if len(body) == 0 {
			return runnel.FormatJSON, []byte("null"), nil
		}
		if !json.Valid(body) {
			return 0, nil, fault(http.StatusBadRequest, numberMalformedJSON, runnel.Errorf(runnel.CodeInvalid, "the body is not JSON: send text as text/plain"))
		}
		return runnel.FormatJSON, body, nil
	case "text/plain", "application/text":
		if !utf8.Valid(body) {
			return 0, nil, runnel.Errorf(runnel.CodeInvalid, "the body is not text in UTF-8: send bytes as application/octet-stream")
		}
		return runnel.FormatText, body, nil
	case "application/octet-stream":
		return runnel.FormatBytes, body, nil
	}
	return 0, nil, runnel.Errorf(runnel.CodeInvalid, "Content-Type: %.80s: want application/json, text/plain or application/octet-stream", h.Get("Content-Type"))
}

// writeCall answers with the result of an algorithm.
func writeCall(w http.ResponseWriter, a CallAnswer, raw bool) {
	if raw {
		switch a.Format {
		case runnel.FormatText:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		case runnel.FormatJSON:
			w.Header().Set("Content-Type", "application/json")
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.Payload) // a client that left is not told
		return
	}
	body := make([]byte, 0, len(a.Payload)*4/3+128)
	body = append(body, `{"result":`...)
	kind := "void"
	switch a.Format {
	case runnel.FormatText:
		kind = "text"
		body = appendString(body, string(a.Payload))
	case runnel.FormatJSON:
		kind = "json"
		body = append(body, a.Payload...)
	case runnel.FormatBytes:
		kind = "binary"
		body = append(body, '"')
		body = base64.StdEncoding.AppendEncode(body, a.Payload)
		body = append(body, '"')
	default:
		body = append(body, "null"...)
	}
	body = append(body, `,"metadata":{"content_type":"`...)
	body = append(body, kind...)
	body = append(body, `","duration":`...)
	body = strconv.AppendFloat(body, a.Duration.Seconds(), 'f', -1, 64)
	if a.Stdout != nil {
		body = append(body, `,"stdout":`...)
		body = appendString(body, *a.Stdout)
	}
	body = append(body, "}}"...)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // a client that left is not told
}

// appendString appends text as JSON. What it has of HTML stays as it is.
func appendString(to []byte, text string) []byte {
	quoted := appendTo(to)
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can be encoded
	return quoted[:len(quoted)-1]
}

// appendTo is a writer that appends.
type appendTo []byte

func (b *appendTo) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// callError is how the failure of an algorithm is answered. The key of the stack
// is the one that is documented, and the one that the Python client looks for.
type callError struct {
	Error struct {
		Message    string `json:"message"`
		Stacktrace string `json:"stacktrace,omitempty"`
		StackTrace string `json:"stack_trace,omitempty"`
		Type       string `json:"error_type"`
	} `json:"error"`
}

// errorTypes are those that an algorithm may raise; what it raises besides is
// an AlgorithmError.
var errorTypes = []string{
	"AlgorithmError", "InputError", "UnsupportedError", "InitializationError", "OutOfMemoryError", "OutOfGpuMemoryError", "LanguageError",
	"TooLargeError", "ParsingError", "EntityNotFoundError", "ThirdPartyCredentialError", "LoadingError",
}

// failureOf returns the answer to an error of an algorithm; nil for others.
func failureOf(err error) *callError {
	var failed *runnel.FunctionError
	var again *runnel.RetryError
	var reject *runnel.RejectError
	if runnel.CodeOf(err) == runnel.CodeUnavailable {
		return nil
	}
	out := new(callError)
	e := &out.Error
	switch {
	case errors.As(err, &failed):
		e.Message, e.Stacktrace, e.StackTrace, e.Type = failed.Message, failed.Stack, failed.Stack, "AlgorithmError"
		switch failed.Kind {
		case runnel.KindTimeout:
			e.Type = "TimeoutError"
		case runnel.KindCrash:
			e.Type = "SystemExit"
		case runnel.KindOutOfMemory:
			e.Type = "OutOfMemoryError"
		case runnel.KindUndecodable:
			e.Type = "InputError"
		default:
			if slices.Contains(errorTypes, failed.Name) {
				e.Type = failed.Name
			}
		}
	case errors.As(err, &again):
		e.Message, e.Type = again.Error(), "AlgorithmError"
	case errors.As(err, &reject):
		e.Message, e.Type = reject.Error(), "AlgorithmError"
	case errors.Is(err, runnel.ErrInterrupted):
		e.Message, e.Type = fmt.Sprintf("the call was interrupted: %v", err), "SystemError"
	case runnel.CodeOf(err) == runnel.CodeInvalid:
		// The call was read and the algorithm found: it is its code.
		var coded *runnel.Error
		errors.As(err, &coded)
		e.Message, e.Type = coded.Message, "LoadingError"
	default:
		return nil
	}
	return out
}

// callFault gives an error that nothing was called for its number.
func callFault(err error) error {
	const numberNotFound = 1000 // AlgorithmNotFound
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return fault(http.StatusNotFound, numberNotFound, err)
	}
	return err
}
