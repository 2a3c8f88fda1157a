package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/runnel-io/runnel"
)

// The codes of this API that are not the root's: failures of a function, which
// are no faults of the request.
const (
	codeFunctionFailed  runnel.Code = "function_failed"
	codeFunctionTimeout runnel.Code = "function_timeout"
)

// statuses has the HTTP status of each code. A request without a key that we
// know is CodeDenied too, with 401.
var statuses = map[runnel.Code]int{
	runnel.CodeInvalid:     http.StatusBadRequest,
	runnel.CodeNotFound:    http.StatusNotFound,
	runnel.CodeConflict:    http.StatusConflict,
	runnel.CodeDenied:      http.StatusForbidden,
	runnel.CodeTooLarge:    http.StatusRequestEntityTooLarge,
	runnel.CodeLimit:       http.StatusTooManyRequests,
	runnel.CodeUnsupported: http.StatusNotImplemented,
	runnel.CodeUnavailable: http.StatusServiceUnavailable,
	runnel.CodeInternal:    http.StatusInternalServerError,
	codeFunctionFailed:     http.StatusUnprocessableEntity,
	codeFunctionTimeout:    http.StatusGatewayTimeout,
}

// maxFaults are told in one answer.
const maxFaults = 100

// unrecognised says that the credentials are not those of a key. Its text is
// meant for the caller.
type unrecognised struct{ err error }

func (e *unrecognised) Error() string { return e.err.Error() }

func (e *unrecognised) Unwrap() error { return e.err }

// refusal is an error as it is answered. For huma it is an error with a status
// and headers.
type refusal struct {
	status  int
	headers http.Header
	err     error     // the cause, for the log
	Fault   ErrorBody `json:"error"`
}

// ErrorBody is what every error answer says.
type ErrorBody struct {
	Code          runnel.Code           `json:"code" enum:"invalid,not_found,conflict,denied,too_large,limit,unsupported,unavailable,internal,function_failed,function_timeout" doc:"What programs branch on."`
	Message       string                `json:"message" doc:"A sentence for people."`
	Faults        []Fault               `json:"faults,omitempty" doc:"The faults of single fields, where there are any: at most 100."`
	FunctionError *runnel.FunctionError `json:"function_error,omitempty" doc:"With function_failed and function_timeout: the failure in the function's words."`
}

// Fault is one thing that is wrong with what was sent.
type Fault struct {
	Path    string `json:"path,omitempty" doc:"The field." example:"flows.resize.batch.size"`
	File    string `json:"file,omitempty" doc:"The file, where the fault is in one." example:"runnel.yaml"`
	Line    int    `json:"line,omitempty" doc:"The line of the file, from 1."`
	Message string `json:"message"`
}

// Error returns the sentence and the cause, for the log.
func (e *refusal) Error() string {
	if e.err == nil {
		return e.Fault.Message
	}
	return e.Fault.Message + ": " + e.err.Error()
}

// Unwrap returns the cause.
func (e *refusal) Unwrap() error { return e.err }

// GetStatus returns the HTTP status.
func (e *refusal) GetStatus() int { return e.status }

// GetHeaders returns headers of the answer.
func (e *refusal) GetHeaders() http.Header { return e.headers }

func refuse(code runnel.Code, format string, args ...any) *refusal {
	return &refusal{status: statuses[code], Fault: ErrorBody{Code: code, Message: fmt.Sprintf(format, args...)}}
}

// refusalOf returns err as it is answered. What the caller may not see is left
// out: the causes of coded errors, and all of those without a code.
func refusalOf(err error) *refusal {
	var done *refusal
	if errors.As(err, &done) {
		return done
	}
	var unknown *unrecognised
	if errors.As(err, &unknown) {
		out := refuse(runnel.CodeDenied, "%s", unknown.Error())
		out.status = http.StatusUnauthorized
		out.headers = http.Header{"Www-Authenticate": {`Bearer realm="runnel"`}}
		return out
	}
	if faults := faultsOf(err, nil); len(faults) > 0 {
		return refusalOfFaults(codedAbove(err), faults)
	}
	var coded *runnel.Error
	switch {
	case errors.As(err, &coded):
		out := refuse(coded.Code, "%s", coded.Message)
		if out.status == 0 {
			out.status = http.StatusInternalServerError
		}
		return out
	case errors.Is(err, runnel.ErrClosed):
		return refuse(runnel.CodeUnavailable, "the server is stopping")
	}
	return refuse(runnel.CodeInternal, "internal error: the server's log says more")
}

// refusalOfFaults says what the first fault is, unless coded has a sentence of
// its own. One fault without a field or a line needs no list.
func refusalOfFaults(coded *runnel.Error, faults []Fault) *refusal {
	first := faults[0].Message
	if faults[0].Path != "" {
		first = faults[0].Path + ": " + first
	}
	if faults[0].Line > 0 {
		first = fmt.Sprintf("%s:%d: %s", faults[0].File, faults[0].Line, first)
	}
	out := refuse(runnel.CodeInvalid, "%s", first)
	if len(faults) > 1 {
		out.Fault.Message = fmt.Sprintf("%d faults, the first: %s", len(faults), first)
	}
	if coded != nil {
		out.Fault.Code, out.Fault.Message = coded.Code, coded.Message
		if out.status = statuses[coded.Code]; out.status == 0 {
			out.status = http.StatusInternalServerError
		}
	}
	if len(faults) > 1 || faults[0] != (Fault{Message: faults[0].Message}) {
		out.Fault.Faults = faults[:min(len(faults), maxFaults)]
	}
	return out
}

// located is a fault in a file.
type located interface {
	Location() (file string, line int, path string)
}

// faultsOf adds the faults that err wraps, in their order.
func faultsOf(err error, to []Fault) []Fault {
	if at, ok := err.(located); ok {
		fault := Fault{Message: err.Error()}
		fault.File, fault.Line, fault.Path = at.Location()
		// Without what the other fields say.
		var field *runnel.FieldError
		if cause := errors.Unwrap(err); cause != nil {
			fault.Message = cause.Error()
		} else if errors.As(err, &field) {
			fault.Message = field.Err.Error()
		}
		return append(to, fault)
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked node by node
	case *runnel.FieldError:
		return append(to, Fault{Path: e.Path, Message: e.Err.Error()})
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			to = faultsOf(err, to)
		}
	case interface{ Unwrap() error }:
		return faultsOf(e.Unwrap(), to)
	}
	return to
}

// codedAbove returns the coded error in err's chain above the faults, if any:
// the faults themselves may have codes, which are theirs alone.
func codedAbove(err error) *runnel.Error {
	for err != nil {
		if coded, ok := err.(*runnel.Error); ok { //nolint:errorlint // stops at a fault, which As would look into
			return coded
		}
		if _, ok := err.(located); ok {
			return nil
		}
		if _, ok := err.(*runnel.FieldError); ok { //nolint:errorlint // as above
			return nil
		}
		err = errors.Unwrap(err)
	}
	return nil
}

// retryIn asks the client to come again after wait, at least a second.
func (e *refusal) retryIn(wait time.Duration) *refusal {
	if e.headers == nil {
		e.headers = make(http.Header)
	}
	e.headers.Set("Retry-After", strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second))))
	return e
}

// refuse returns err as it is answered, and logs what is a fault of ours or
// keeps the server from its work.
func (d *Door) refuse(method, path string, err error) *refusal {
	out := refusalOf(err)
	if out.status >= http.StatusInternalServerError && out.Fault.FunctionError == nil && out.Fault.Code != runnel.CodeUnsupported {
		d.Log.Error("request failed", "method", method, "path", path, "err", err)
	}
	return out
}

// write answers with e. It is for answers that huma does not write.
func (e *refusal) write(w http.ResponseWriter) {
	for name, values := range e.headers {
		w.Header()[name] = values
	}
	// A refusal can always be encoded.
	_ = writeJSON(w, e.status, e)
}
