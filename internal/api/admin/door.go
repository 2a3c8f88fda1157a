package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// service is what a signature for this API is scoped to.
const service = "runnel"

// How many bytes of a request are read, by call. A signature covers the body
// of calls too that make nothing of it.
const (
	smallBody   = 64 << 10
	secretBody  = 512 << 10 // a value may be escaped to six times its length
	messageBody = 16 << 20  // what sends and calls carry
	archiveBody = 64 << 20  // with the sources of functions, in base64
)

// Door is the native API. The fields of the first group are needed; the calls
// that a nil one of the second group is for answer CodeUnsupported.
type Door struct {
	Auth    *auth.Authenticator
	Queues  Queues
	Backups Backups
	Version string
	Log     *slog.Logger

	QueueChanges QueueChanges
	Functions    Functions
	Secrets      Secrets
	Versions     Versions
	Builds       Builds
	Invocations  Invocations
	Flows        Flows
	DeadLetters  DeadLetters
	Applier      Applier
	Reloader     Reloader
	Logs         Logs

	// Stopping is closed when the server begins to stop: it ends the streams
	// of logs, which else would hold it up. nil: it never does.
	Stopping <-chan struct{}
}

// Handler returns the handler of everything below /api/.
func (d *Door) Handler() http.Handler { return newAPI(d) }

// Routes returns the method and the path of every call, sorted.
func (d *Door) Routes() []string { return slices.Sorted(maps.Keys(newAPI(d).rules)) }

// request is what a call knows of the request that it answers.
type request struct {
	caller       auth.Caller
	method, path string
	body         []byte
	// upload is a body that is not read yet, of a call that streams it.
	upload io.Reader
}

type requestKey struct{}

// requestFrom returns the request that a call's context belongs to.
func requestFrom(ctx context.Context) *request {
	return ctx.Value(requestKey{}).(*request)
}

// ServeHTTP recognises the caller before anything else is said, and hands
// calls to the mux.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, pattern := a.mux.Handler(r)
	rule, known := a.rules[pattern]
	if rule.open {
		a.mux.ServeHTTP(w, r)
		return
	}
	if !known {
		rule.maxBody = smallBody
	}
	w.Header().Set("Cache-Control", "no-store")
	req, err := a.door.admit(w, r, rule)
	if err == nil && !known {
		err = runnel.Errorf(runnel.CodeNotFound, "the API has no %s %s", r.Method, r.URL.Path)
	}
	if err != nil {
		a.door.refuse(r.Method, r.URL.Path, err).write(w)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, req))
	if req.upload == nil {
		r.Body = io.NopCloser(bytes.NewReader(req.body))
	}
	a.mux.ServeHTTP(w, r)
}

// admit recognises the caller and reads the body: after that for a token, so
// that only who is known can make us read much, and before for a signature,
// which covers the body.
func (d *Door) admit(w http.ResponseWriter, r *http.Request, rule rule) (*request, error) {
	req := &request{method: r.Method, path: r.URL.Path}
	signed := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-")
	var err error
	if signed {
		if req.body, err = readBody(w, r, rule.maxBody, false); err != nil {
			return nil, err
		}
	}
	req.caller, err = d.Auth.Verify(r, req.body, service)
	switch {
	case runnel.CodeOf(err) == runnel.CodeDenied:
		return nil, &unrecognised{err}
	case err != nil:
		return nil, fmt.Errorf("verify the credentials: %w", err)
	case rule.admin && !req.caller.Admin:
		return nil, runnel.Errorf(runnel.CodeDenied, "this needs an admin key, %s is a standard one", req.caller.KeyID)
	}
	if rule.streams {
		req.upload = bytes.NewReader(req.body)
		if !signed {
			req.upload = r.Body // bounded by who reads it
		}
	} else if !signed {
		if req.body, err = readBody(w, r, rule.maxBody, true); err != nil {
			return nil, err
		}
	}
	// The deadline for reading a request ends here: a call may take longer,
	// and would be cancelled by it. Not every ResponseWriter has deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return req, nil
}

// readBody reads up to most bytes. It makes room for as many as are announced
// by a caller who is known.
func readBody(w http.ResponseWriter, r *http.Request, most int64, known bool) ([]byte, error) {
	var body bytes.Buffer
	var err error
	if r.ContentLength <= most {
		if known && r.ContentLength > 0 {
			body.Grow(int(r.ContentLength) + bytes.MinRead)
		}
		_, err = body.ReadFrom(http.MaxBytesReader(w, r.Body, most))
	}
	var tooLarge *http.MaxBytesError
	if r.ContentLength > most || errors.As(err, &tooLarge) {
		return nil, runnel.Errorf(runnel.CodeTooLarge, "the body is over %d bytes", most)
	}
	if err != nil {
		return nil, runnel.Errorf(runnel.CodeInvalid, "read the body: %w", err)
	}
	return body.Bytes(), nil
}

// versionAnswer is what the server is.
type versionAnswer struct {
	Body struct {
		Version string `json:"version" doc:"Of Runnel." example:"v0.3.0"`
		Go      string `json:"go" doc:"What it was built with." example:"go1.26.0"`
	}
}

func (d *Door) version(context.Context, auth.Caller, *struct{}) (*versionAnswer, error) {
	out := new(versionAnswer)
	out.Body.Version, out.Body.Go = d.Version, runtime.Version()
	return out, nil
}

// writeJSON answers with v. It returns an error only while nothing was written.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that left is not told
	return nil
}
