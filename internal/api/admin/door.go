package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// service is what a signature for this API is scoped to.
const service = "runnel"

// maxBodyBytes of a request are read: no call has a body that means anything
// yet, but a signature covers it.
const maxBodyBytes = 64 << 10

// Door is the native API. All fields are needed.
type Door struct {
	Auth    *auth.Authenticator
	Queues  Queues
	Backups Backups
	Version string
	Log     *slog.Logger
}

// Handler returns the handler of everything below /api/.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/version", d.handle(d.version))
	mux.HandleFunc("GET /api/v1/queues", d.handle(d.listQueues))
	mux.HandleFunc("GET /api/v1/queues/{queue}/messages", d.handle(d.peek))
	mux.HandleFunc("POST /api/v1/queues/{queue}/purge", d.handle(d.purge))
	mux.HandleFunc("GET /api/v1/backup", d.handle(d.backup))
	mux.HandleFunc("/", d.handle(func(_ http.ResponseWriter, r *http.Request, _ auth.Caller) error {
		return runnel.Errorf(runnel.CodeNotFound, "the API has no %s %s", r.Method, r.URL.Path)
	}))
	return mux
}

// call is the answer to one request of a caller who was recognised. What it
// returns is answered as an error, so it writes either all or nothing.
type call func(w http.ResponseWriter, r *http.Request, caller auth.Caller) error

func (d *Door) handle(f call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := d.caller(w, r)
		if err == nil {
			err = f(w, r, caller)
		}
		if err != nil {
			d.writeError(w, r, err)
		}
	}
}

func (d *Door) caller(w http.ResponseWriter, r *http.Request) (auth.Caller, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return auth.Caller{}, runnel.Errorf(runnel.CodeTooLarge, "the body is over %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return auth.Caller{}, runnel.Errorf(runnel.CodeInvalid, "read the body: %w", err)
	}
	caller, err := d.Auth.Verify(r, body, service)
	if runnel.CodeOf(err) == runnel.CodeDenied {
		return auth.Caller{}, &unrecognised{err}
	}
	if err != nil {
		return auth.Caller{}, fmt.Errorf("verify the credentials: %w", err)
	}
	return caller, nil
}

// admins refuses everybody else.
func admins(caller auth.Caller) error {
	if caller.Admin {
		return nil
	}
	return runnel.Errorf(runnel.CodeDenied, "this needs an admin key, %s is a standard one", caller.KeyID)
}

func (d *Door) version(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	return writeJSON(w, http.StatusOK, map[string]string{"version": d.Version, "go": runtime.Version()})
}

// writeJSON answers with v. It returns an error only while nothing was written.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that left is not told
	return nil
}
