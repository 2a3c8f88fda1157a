package admin

import (
	"errors"
	"net/http"

	"github.com/runnel-io/runnel"
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
}

// unrecognised says that the credentials are not those of a key. Its text is
// meant for the caller.
type unrecognised struct{ err error }

func (e *unrecognised) Error() string { return e.err.Error() }

func (e *unrecognised) Unwrap() error { return e.err }

type errorBody struct {
	Code    runnel.Code `json:"code"`
	Message string      `json:"message"`
}

func (d *Door) writeError(w http.ResponseWriter, r *http.Request, err error) {
	body := errorBody{Code: runnel.CodeOf(err)}
	var coded *runnel.Error
	var unknown *unrecognised
	switch {
	case errors.As(err, &unknown):
		body.Message = unknown.Error()
	case errors.As(err, &coded):
		body.Message = coded.Message
	case errors.Is(err, runnel.ErrClosed):
		body = errorBody{runnel.CodeUnavailable, "the server is stopping"}
	default:
		body.Message = "internal error: the server's log says more"
	}
	status, ok := statuses[body.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	if unknown != nil {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="runnel"`)
	}
	if status >= http.StatusInternalServerError {
		d.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	// An errorBody can always be encoded.
	_ = writeJSON(w, status, map[string]errorBody{"error": body})
}
