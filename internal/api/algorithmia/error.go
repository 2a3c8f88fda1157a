package algorithmia

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
)

// statuses has the HTTP status of each code.
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
}

// Algorithmia's numbers of errors that do not depend on the part of the API.
const (
	numberNotAuthorized    = 2001
	numberNotAuthenticated = 2002
	numberMalformedJSON    = 2013
	numberInvalidRequest   = 2015
	numberInternal         = 5001
)

// unrecognised says that the credentials are not those of a key. Its text is
// meant for the caller.
type unrecognised struct{ err error }

func (e *unrecognised) Error() string { return e.err.Error() }

func (e *unrecognised) Unwrap() error { return e.err }

// failure is an error with what the API says of it, where that is not what its
// runnel.Code says: {"error":{"id":UUID,"code":number,"message":text}}.
type failure struct {
	status int
	number int
	// body replaces the whole answer, if it is not nil.
	body []byte
	err  error
}

func (e *failure) Error() string { return e.err.Error() }

func (e *failure) Unwrap() error { return e.err }

// fault returns err as one with a number of Algorithmia's.
func fault(status, number int, err error) error {
	return &failure{status: status, number: number, err: err}
}

// errorBody is how errors are answered.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	ID      string `json:"id"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// fail answers with err, and logs what is a fault of ours.
func (d *Door) fail(w http.ResponseWriter, r *http.Request, route *Route, err error) {
	status, number, message := told(err)
	id := uuid.NewString()
	if status >= http.StatusInternalServerError && runnel.CodeOf(err) != runnel.CodeUnsupported {
		pattern := ""
		if route != nil {
			pattern = route.Pattern
		}
		d.Log.Error("request failed", "method", r.Method, "route", pattern, "error_id", id, "err", err)
	}
	h := w.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("Www-Authenticate", `Bearer realm="runnel"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			retryIn(w, time.Second)
		}
	}
	h.Set("X-Error-Message", header(message))
	var own *failure
	if errors.As(err, &own) && own.body != nil {
		h.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(own.body) // a client that left is not told
		return
	}
	writeJSON(w, status, errorBody{errorDetail{ID: id, Code: number, Message: message}})
}

// told is what of an error is said: the causes of coded errors, and all of
// those without a code, are not.
func told(err error) (status, number int, message string) {
	var own *failure
	var unknown *unrecognised
	var coded *runnel.Error
	var field *runnel.FieldError
	switch {
	case errors.As(err, &own):
		_, _, message = told(own.err)
		return own.status, own.number, message
	case errors.As(err, &unknown):
		return http.StatusUnauthorized, numberNotAuthenticated, "authorization required: " + unknown.Error()
	case errors.Is(err, errNoRoute):
		var none *noRoute
		if errors.As(err, &none) && none.known {
			return http.StatusMethodNotAllowed, numberInvalidRequest, none.Error()
		}
		return http.StatusNotFound, numberInvalidRequest, err.Error()
	case errors.As(err, &coded):
		status, message = statuses[coded.Code], coded.Message
	case errors.As(err, &field):
		return http.StatusBadRequest, numberInvalidRequest, field.Error()
	case errors.Is(err, runnel.ErrClosed):
		return http.StatusServiceUnavailable, numberInternal, "the server is stopping"
	}
	switch {
	case status == 0 || status == http.StatusInternalServerError:
		return http.StatusInternalServerError, numberInternal, "internal error: the server's log says more"
	case status == http.StatusForbidden:
		return status, numberNotAuthorized, message
	case status > http.StatusInternalServerError:
		return status, numberInternal, message
	}
	return status, numberInvalidRequest, message
}

// header returns text as the value of a header.
func header(text string) string {
	out := []byte(text)
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = ' '
		}
	}
	return string(out[:min(len(out), 512)])
}

// retryIn asks the client to come again after wait, at least a second.
func retryIn(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second))))
}

// writeJSON answers with v, compact and without a newline at the end.
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // what we answer with can be encoded
		status, text = http.StatusInternalServerError, []byte(`{"error":{"code":5001,"message":"internal error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that left is not told
}

// decode reads a body of JSON.
func decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return fault(http.StatusBadRequest, numberInvalidRequest, runnel.Errorf(runnel.CodeInvalid, "%s: %s does not fit", kind.Field, kind.Value))
		}
		return fault(http.StatusBadRequest, numberMalformedJSON, runnel.Errorf(runnel.CodeInvalid, "the body is not JSON"))
	}
	return nil
}
