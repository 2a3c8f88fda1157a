package sqs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
)

// maxBody is the most bytes of a request's body. The texts of a request are at
// most 1 MiB; a client that writes each letter as \u0041 sends six times that.
const maxBody = 8 << 20

// maxKept is the largest buffer that is kept for the next request.
const maxKept = 1 << 20

// Accounts finds accounts by their ids. It is asked when an admin names an
// account that is not its own.
type Accounts interface {
	// AccountName returns the name of the account with this 12-digit id, or
	// an error with runnel.CodeNotFound.
	AccountName(ctx context.Context, id string) (string, error)
}

// Config is what a Door needs.
type Config struct {
	// Queues are the queues that it leads to. Needed.
	Queues *queue.Set
	// Auth says who calls. Needed.
	Auth *auth.Authenticator
	// Accounts finds the accounts of others. Default: there are none.
	Accounts Accounts
	// Region is the region in the ARNs of queues. Requests of any region are
	// served. Default us-east-1.
	Region string
	// PublicURL begins the URLs of queues, as in "https://queues.example.com".
	// Default: scheme and Host of the request that asks.
	PublicURL string
	// Guard is asked before the settings of a queue are changed, or the queue
	// is removed: what a spec file declares, or a flow uses, is not to be
	// changed by any client. Its error is the answer. Default: all may be.
	Guard func(ctx context.Context, queue queue.Name, remove bool) error
	// FirstUse is asked for a queue that does not exist when a client asks for
	// its URL or attributes, sends to it or receives from it. It may make the
	// queue, or return an error with runnel.CodeNotFound, as it is by default.
	FirstUse func(ctx context.Context, queue queue.Name) (*queue.Queue, error)
	// Log gets one line per request that failed by our fault. Default
	// slog.Default.
	Log *slog.Logger
}

// Door is the HTTP handler for POST / and POST /{account}/{queue}, and for GET
// in the query protocol. It stands
// behind a mux as its fallback: it answers everything else with an error of
// its own shape that says what is here.
type Door struct {
	queues    *queue.Set
	auth      *auth.Authenticator
	accounts  Accounts
	region    string
	publicURL string
	guard     func(ctx context.Context, queue queue.Name, remove bool) error
	firstUse  func(ctx context.Context, queue queue.Name) (*queue.Queue, error)
	log       *slog.Logger
	calls     sync.Pool // of *call
}

// New returns the door.
func New(c Config) *Door {
	d := &Door{
		queues: c.Queues, auth: c.Auth, accounts: c.Accounts, region: c.Region,
		publicURL: strings.TrimRight(c.PublicURL, "/"), guard: c.Guard, firstUse: c.FirstUse, log: c.Log,
	}
	if d.guard == nil {
		d.guard = func(context.Context, queue.Name, bool) error { return nil }
	}
	if d.firstUse == nil {
		d.firstUse = func(_ context.Context, name queue.Name) (*queue.Queue, error) { return d.queues.Queue(name) }
	}
	if d.region == "" {
		d.region = "us-east-1"
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	d.calls.New = func() any { return &call{door: d} }
	return d
}

// call is one request. It goes back to its pool when it is answered.
type call struct {
	door   *Door
	r      *http.Request
	action string // as the client wrote it
	caller auth.Caller
	id     string // of the request
	body   []byte
	query  bool   // it is in the query protocol
	form   *param // and these are its parameters
	enc    encoder
}

func (c *call) free() {
	if cap(c.body) > maxKept {
		c.body = nil
	}
	if cap(c.enc.b) > maxKept {
		c.enc.b = nil
	}
	*c = call{door: c.door, body: c.body[:0], enc: encoder{b: c.enc.b[:0]}}
	c.door.calls.Put(c)
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := d.calls.Get().(*call)
	defer c.free()
	c.r, c.id = r, newRequestID()
	out, err := c.serve()
	if err == nil {
		c.respond(w, out)
		return
	}
	if cause := context.Cause(r.Context()); cause != nil && errors.Is(err, cause) {
		// Mostly the client has gone, and nobody reads this. It is said all
		// the same: a handler that is silent has answered 200.
		err = serviceUnavailable.says("The request was cancelled.")
	}
	c.refuse(w, err)
}

// serve does what a request asks for. The caller is known before anything
// else is looked at that depends on what there is.
func (c *call) serve() (output, error) {
	err := c.route()
	if err != nil {
		return nil, err
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	if c.caller, err = c.door.auth.Verify(c.r, c.body, "sqs"); err != nil {
		return nil, err
	}
	if !c.caller.Queues() {
		return nil, accessDenied.says("The key %s may not use queues: its permissions do not have it.", c.caller.KeyID)
	}
	if c.query {
		if err := c.readForm(); err != nil {
			return nil, err
		}
	}
	run := actions[c.action]
	if run == nil {
		return nil, unknownOperation.says("The action %.80s is not valid for this endpoint.", c.action)
	}
	return run(c)
}

// read reads the body.
func (c *call) read() error {
	if c.r.ContentLength > maxBody {
		return tooLarge.says("The request has %d bytes, at most %d are taken.", c.r.ContentLength, maxBody)
	}
	if n := int(c.r.ContentLength); n > cap(c.body) {
		c.body = make([]byte, 0, n)
	}
	for {
		if len(c.body) == cap(c.body) {
			if int64(len(c.body)) == c.r.ContentLength {
				return nil
			}
			c.body = append(c.body, 0)[:len(c.body)]
		}
		n, err := c.r.Body.Read(c.body[len(c.body):cap(c.body)])
		c.body = c.body[:len(c.body)+n]
		if len(c.body) > maxBody {
			return tooLarge.says("The request has more than %d bytes.", maxBody)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformedInput.says("The request's body did not arrive whole.")
		}
	}
}
