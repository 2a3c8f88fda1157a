package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// api is a Door with its calls: huma decodes, checks and describes them.
//
// huma's global variables are left as they are, since a program that embeds
// Runnel may use huma itself: what its errors look like is changed by a
// transformer, and the status by a context of ours.
type api struct {
	door *Door
	mux  *http.ServeMux
	huma huma.API
	// rules are those of each pattern of mux.
	rules map[string]rule
	// durations has the names of the fields that hold durations.
	durations map[string]bool
}

// rule is what a request must be to reach a call.
type rule struct {
	open  bool // needs no key
	admin bool // needs an admin key
	// manages: needs a key that manages functions of the owner in the path.
	manages bool
	queues  bool // needs a key that may use queues
	// maxBody bounds the body, where it is read before the call.
	maxBody int64
	streams bool // the call reads the body, unless a signature covers it
}

// The rules that calls have.
var (
	anyKey      = rule{maxBody: smallBody}
	anyKeySends = rule{maxBody: messageBody}
	anyUploads  = rule{maxBody: archiveBody}
	adminKey    = rule{maxBody: smallBody, admin: true}

	manages        = rule{maxBody: smallBody, manages: true}
	managesSends   = rule{maxBody: messageBody, manages: true}
	managesUploads = rule{maxBody: archiveBody, manages: true}
	managesSecret  = rule{maxBody: secretBody, manages: true}
	managesStreams = rule{maxBody: archiveBody, manages: true, streams: true}

	queueKey   = rule{maxBody: smallBody, queues: true}
	queueSends = rule{maxBody: messageBody, queues: true}
)

// allows says whether a caller's key is enough for a call of a path.
func (r rule) allows(caller auth.Caller, path string) error {
	if r.admin && !caller.Admin {
		return runnel.Errorf(runnel.CodeDenied, "this needs an admin key, %s is a %s one", caller.KeyID, caller.Type())
	}
	if r.queues && !caller.Queues() {
		return runnel.Errorf(runnel.CodeDenied, "the key %s may not use queues and flows: its permissions do not have it", caller.KeyID)
	}
	owner, _, _ := strings.Cut(strings.TrimPrefix(path, functionsPath), "/")
	if r.manages && !caller.Manages(owner) {
		return runnel.Errorf(runnel.CodeDenied, "this needs an admin key, or a management key of %.80s, %s is a %s one of %s", owner, caller.KeyID, caller.Type(), caller.Account)
	}
	return nil
}

// functionsPath begins the paths of functions, before the owner.
const functionsPath = "/api/v1/functions/"

func newAPI(d *Door) *api {
	a := &api{door: d, mux: http.NewServeMux(), rules: make(map[string]rule)}
	config := huma.Config{
		OpenAPI:       document(),
		Formats:       map[string]huma.Format{mediaJSON: format, "json": format}, // "json" is for media types ending in +json
		DefaultFormat: mediaJSON,
		Transformers:  []huma.Transformer{a.transform},
	}
	a.huma = humago.New(a.mux, config)
	a.huma.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { next(&answer{humaContext: ctx}) })
	a.calls()
	a.finishDocument()
	return a
}

// call adds a call. Its errors are answered as refusals.
func call[I, O any](a *api, op huma.Operation, rule rule, f func(context.Context, auth.Caller, *I) (*O, error)) {
	a.rules[op.Method+" "+op.Path] = rule
	// The body was read and bounded before huma sees it, and parameters check
	// themselves, in their own words.
	op.MaxBodyBytes, op.BodyReadTimeout, op.SkipValidateParams = -1, -1, true
	a.describe(&op, rule)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		req := requestFrom(ctx)
		out, err := f(ctx, req.caller, in)
		if err != nil {
			return nil, a.door.refuse(req.method, req.path, err)
		}
		return out, nil
	})
}

// unsupported is what a call answers whose part this server does not have.
func unsupported(what string) error {
	return runnel.Errorf(runnel.CodeUnsupported, "this server has no %s", what)
}

// humaContext is huma.Context under a name that can be embedded beside its
// method Context.
type humaContext huma.Context

// answer is a huma.Context whose status a transformer can still change.
type answer struct {
	humaContext
	status int // 0: as huma says
}

// Unwrap returns the context of the adapter.
func (c *answer) Unwrap() huma.Context { return c.humaContext }

// SetStatus sends the headers.
func (c *answer) SetStatus(code int) {
	if c.status != 0 {
		code = c.status
	}
	c.humaContext.SetStatus(code)
}

// transform gives huma's own errors the shape of ours, and every answer that
// huma encodes its one media type, whatever was asked for.
func (a *api) transform(ctx huma.Context, _ string, v any) (any, error) {
	ctx.SetHeader("Content-Type", mediaJSON)
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	out := a.refusalOfHuma(model)
	if out.status >= http.StatusInternalServerError {
		a.door.Log.Error("request failed", "method", ctx.Method(), "path", ctx.URL().Path, "err", errors.Join(errors.New(model.Detail), errors.Join(detailErrors(model)...)))
	}
	if c, ok := ctx.(*answer); ok {
		c.status = out.status
	}
	return out, nil
}

func detailErrors(model *huma.ErrorModel) []error {
	out := make([]error, len(model.Errors))
	for i, e := range model.Errors {
		out[i] = e
	}
	return out
}

// refusalOfHuma never repeats what was sent but for parameters: it may be
// secret.
func (a *api) refusalOfHuma(model *huma.ErrorModel) *refusal {
	switch {
	case model.Status >= http.StatusInternalServerError:
		return refuse(runnel.CodeInternal, "internal error: the server's log says more")
	case model.Status == http.StatusUnsupportedMediaType:
		return refuse(runnel.CodeInvalid, "want a body in JSON, with Content-Type: application/json")
	case len(model.Errors) == 0:
		return refuse(runnel.CodeInvalid, "%s", model.Detail)
	}
	var faults []Fault
	for _, e := range model.Errors {
		where, path, _ := strings.Cut(e.Location, ".")
		text := e.Message
		switch {
		case where == "query" || where == "path" || where == "header":
			faults = append(faults, Fault{Message: fmt.Sprintf("%s=%v: %s", path, e.Value, strings.TrimPrefix(text, "invalid value: "))})
			continue
		case text == "unexpected property":
			text = "there is no such field"
		case strings.HasPrefix(text, "expected string") && a.durations[path[strings.LastIndex(path, ".")+1:]]:
			text = errDuration.Error()
		}
		faults = append(faults, Fault{Path: path, Message: text})
	}
	return refusalOfFaults(nil, faults)
}

const mediaJSON = "application/json"

var format = huma.Format{Marshal: encode, Unmarshal: decode}

// encode writes v whole or not at all. A client that left is not told.
func encode(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, _ = w.Write(append(text, '\n'))
	return nil
}

// decode reads JSON. Its errors are in the caller's terms, not in Go's.
func decode(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is not JSON, at byte %d: %s", syntax.Offset, strings.TrimPrefix(syntax.Error(), "json: "))
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s does not fit", kind.Field, kind.Value)
	}
	return err
}

// schemaName names a type in the document. The root's DeadLetter would
// collide with the one of a queue's settings.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[runnel.DeadLetter]():
		return "DeadLetterReason"
	case reflect.TypeFor[refusal]():
		return "Error"
	}
	return huma.DefaultSchemaNamer(t, hint)
}
