package algorithmia

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// service is what a signature for this API is scoped to.
const service = "runnel"

// smallBody is how much of a request is read where a route says nothing else.
const smallBody = 1 << 20

// Door is the Algorithmia API. Auth and Log are needed; the routes of a part
// that is nil answer 501.
type Door struct {
	Auth Verifier
	Log  *slog.Logger
	// URL returns the URL by which the sender of a request reaches the server,
	// for links. Nil: http and the Host of the request.
	URL func(r *http.Request) string

	Calls      Calls
	Algorithms Algorithms
	Data       Data
	Accounts   Accounts
	Listeners  Listeners

	table *table
}

// Verifier recognises callers, as auth.Authenticator does.
type Verifier interface {
	Verify(r *http.Request, body []byte, service string) (auth.Caller, error)
}

// Routes returns every route of the door.
func (d *Door) Routes() []Route {
	var all []Route
	for _, part := range [][]Route{d.callRoutes(), d.algorithmRoutes(), d.dataRoutes(), d.accountRoutes(), d.listenerRoutes()} {
		all = append(all, part...)
	}
	return all
}

// Handler returns the handler of everything below /v1/.
func (d *Door) Handler() http.Handler {
	d.table = newTable(d.Routes())
	return d
}

// request is a request that was let in.
type request struct {
	*http.Request
	caller auth.Caller
	// path are the values of the pattern's names.
	path map[string]string
	// body is what was read, nil where the route streams it: see stream.
	body []byte
}

// value returns what the path has at a name of the pattern.
func (r *request) value(name string) string { return r.path[name] }

// flag reads a boolean of the query, as clients write it: true, True, TRUE, 1.
func (r *request) flag(name string) bool {
	v := r.URL.Query().Get(name)
	return strings.EqualFold(v, "true") || v == "1"
}

// ServeHTTP recognises the caller before anything else is said.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	route, path, err := d.table.find(r)
	if err != nil && !errors.Is(err, errNoRoute) {
		d.fail(w, r, route, err)
		return
	}
	req := &request{Request: r, path: path}
	if admitted := d.admit(w, req, route); admitted != nil {
		d.fail(w, r, route, admitted)
		return
	}
	if err != nil {
		d.fail(w, r, route, err)
		return
	}
	req.Request = req.WithContext(context.WithValue(req.Context(), callerKey{}, req.caller))
	if err := route.serve(w, req); err != nil {
		d.fail(w, r, route, err)
	}
}

// admit recognises the caller and reads the body: after that for a token, so
// that only who is known can make us read much, and before for a signature,
// which covers the body.
func (d *Door) admit(w http.ResponseWriter, req *request, route *Route) error {
	most := int64(smallBody)
	streams := false
	if route != nil {
		streams = route.Streams
		if route.MaxBody > 0 {
			most = route.MaxBody
		}
		if route.Open {
			body, err := readBody(w, req.Request, most)
			req.body = body
			return err
		}
	}
	signed := strings.HasPrefix(req.Header.Get("Authorization"), "AWS4-")
	var err error
	if signed {
		if req.body, err = readBody(w, req.Request, most); err != nil {
			return err
		}
	}
	req.caller, err = d.Auth.Verify(req.Request, req.body, service)
	switch {
	case runnel.CodeOf(err) == runnel.CodeDenied:
		return &unrecognised{err}
	case err != nil:
		return fmt.Errorf("verify the credentials: %w", err)
	case route == nil:
		return nil
	case route.Admin && !req.caller.Admin:
		return runnel.Errorf(runnel.CodeDenied, "this needs an admin key")
	}
	switch {
	case streams && signed:
		req.Body = io.NopCloser(bytes.NewReader(req.body))
	case streams: // bounded by who reads it
	case !signed:
		if req.body, err = readBody(w, req.Request, most); err != nil {
			return err
		}
	}
	// The deadline for reading a request ends here: a call may take longer, and
	// would be cancelled by it. Not every ResponseWriter has deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return nil
}

// readBody reads up to most bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	if r.ContentLength > most {
		return nil, runnel.Errorf(runnel.CodeTooLarge, "the body is over %d bytes", most)
	}
	var body bytes.Buffer
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, runnel.Errorf(runnel.CodeTooLarge, "the body is over %d bytes", most)
	case err != nil:
		return nil, runnel.Errorf(runnel.CodeInvalid, "read the body: %w", err)
	}
	return body.Bytes(), nil
}

// unsupported is what a route answers whose part this server does not have.
func unsupported(what string) error {
	return runnel.Errorf(runnel.CodeUnsupported, "this server has no %s", what)
}

// callerKey is the key of the caller in a context.
type callerKey struct{}

// CallerFrom returns who made the request that a context belongs to: the parts
// of the server that a door calls find it there.
func CallerFrom(ctx context.Context) (auth.Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(auth.Caller)
	return c, ok
}
