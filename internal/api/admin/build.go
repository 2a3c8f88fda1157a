package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Builds is what the API reads and does of the builds of functions. A name is
// OWNER/NAME. What does not exist is CodeNotFound.
type Builds interface {
	// Builds returns those of a function that are kept, the newest first.
	Builds(ctx context.Context, name string) ([]Build, error)
	// FindBuild returns one.
	FindBuild(ctx context.Context, name, id string) (Build, error)
	// BuildLog calls fn with each line of a log; with follow it goes on with
	// new ones until the build or ctx ends. A slow fn holds up no build.
	BuildLog(ctx context.Context, name, id string, follow bool, fn func(line string) error) error
	// Upload deploys a function as Functions.Deploy does, with the archive
	// read from a stream, in the settings of definition, or where that is nil
	// in those that it has.
	Upload(ctx context.Context, name string, definition *runnel.Function, archive io.Reader) (Build, error)
}

// BuildUnchanged is the status that answers an upload of what is live already.
const BuildUnchanged = "unchanged"

// Build is one time that a version was made of a function's source.
type Build struct {
	ID       string    `json:"id,omitempty" doc:"Orders the builds of a function by their start. An upload that is unchanged has none." example:"01932b6f1c02a3f9"`
	Function string    `json:"function" doc:"OWNER/NAME." example:"default/resize"`
	For      string    `json:"for,omitempty" enum:"deploy,restore" doc:"restore: what had been built was gone when it was needed again."`
	Status   string    `json:"status" enum:"in-progress,succeeded,failed,unchanged" doc:"unchanged answers an upload of what is live already."`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Version  string    `json:"version,omitempty" doc:"The hash of what was built, as soon as it is known."`
	Error    string    `json:"error,omitempty" doc:"One line that says why it failed."`
}

type buildsAnswer struct {
	Body struct {
		Builds []Build `json:"builds"`
	}
}

func (d *Door) listBuilds(ctx context.Context, caller auth.Caller, in *FunctionPath) (*buildsAnswer, error) {
	if d.Builds == nil {
		return nil, unsupported("builds")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	builds, err := d.Builds.Builds(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list builds: %w", err)
	}
	out := new(buildsAnswer)
	out.Body.Builds = filled(builds)
	return out, nil
}

// BuildPath is the path of a build.
type BuildPath struct {
	FunctionPath
	Build string `path:"build" doc:"The id of the build." example:"01932b6f1c02a3f9"`
}

type buildAnswer struct{ Body Build }

func (d *Door) findBuild(ctx context.Context, caller auth.Caller, in *BuildPath) (*buildAnswer, error) {
	if d.Builds == nil {
		return nil, unsupported("builds")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	b, err := d.Builds.FindBuild(ctx, name, in.Build)
	if err != nil {
		return nil, fmt.Errorf("find build: %w", err)
	}
	return &buildAnswer{b}, nil
}

type buildLogInput struct {
	BuildPath
	Follow bool `query:"follow" doc:"Go on with each new line until the build ends, as server-sent events: log, with the text of a line, and at the end build."`
}

func (d *Door) buildLog(ctx context.Context, caller auth.Caller, in *buildLogInput) (*huma.StreamResponse, error) {
	if d.Builds == nil {
		return nil, unsupported("builds")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	if _, err := d.Builds.FindBuild(ctx, name, in.Build); err != nil {
		return nil, fmt.Errorf("find build: %w", err)
	}
	if in.Follow {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			d.followBuild(r.Context(), w, name, in.Build)
		}}, nil
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", mediaText+"; charset=utf-8")
		out := bufio.NewWriter(&patientWriter{w: w, rc: http.NewResponseController(w)})
		err := d.Builds.BuildLog(r.Context(), name, in.Build, false, func(line string) error {
			_, err := out.WriteString(line + "\n")
			return err
		})
		if err := errors.Join(err, out.Flush()); err != nil {
			panic(http.ErrAbortHandler) // the client must not take it for an end
		}
	}}, nil
}

// followBuild streams until the build ends, the client goes or the server
// stops.
func (d *Door) followBuild(ctx context.Context, w http.ResponseWriter, name, id string) {
	d.stream(ctx, w, "build", func(ctx context.Context, event func(id, kind string, v any) error) error {
		err := d.Builds.BuildLog(ctx, name, id, true, func(line string) error {
			return event("", "log", struct {
				Text string `json:"text"`
			}{line})
		})
		if err != nil {
			return err
		}
		b, err := d.Builds.FindBuild(ctx, name, id)
		if err != nil {
			return err
		}
		return event("", "build", b)
	})
}

type uploadInput struct {
	FunctionPath
	Definition string `header:"Runnel-Definition" doc:"The definition, as JSON of a FunctionDefinition. Left out: the function's own."`
}

// Media types of archives.
const (
	mediaZip  = "application/zip"
	mediaGzip = "application/gzip"
)

// uploadOp describes the one call whose body is no JSON.
func (a *api) uploadOp(path string) huma.Operation {
	out := op(http.MethodPost, path, "upload-build", tagFunctions, "Deploy a function with an archive as the body")
	binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	out.RequestBody = &huma.RequestBody{
		Description: "The source: a zip or a gzipped tar, of at most 250 MiB; signed, of at most 64 MiB.",
		Required:    true,
		Content:     map[string]*huma.MediaType{mediaZip: binary, mediaGzip: binary},
	}
	return out
}

func (d *Door) upload(ctx context.Context, caller auth.Caller, in *uploadInput) (*buildAnswer, error) {
	if d.Builds == nil {
		return nil, unsupported("builds")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	var definition *runnel.Function
	if in.Definition != "" {
		var sent FunctionDefinition
		if err := decodeStrictly(in.Definition, &sent); err != nil {
			return nil, runnel.Errorf(runnel.CodeInvalid, "the header Runnel-Definition: %v", err)
		}
		f := sent.Function()
		if err := errors.Join(checkDefinition(&f, name), adminOnly(caller, &f)); err != nil {
			return nil, err
		}
		definition = &f
	}
	b, err := d.Builds.Upload(ctx, name, definition, requestFrom(ctx).upload)
	if err != nil {
		return nil, fmt.Errorf("deploy: %w", err)
	}
	return &buildAnswer{b}, nil
}

// decodeStrictly reads JSON, in which every field must be known.
func decodeStrictly(text string, v any) error {
	in := json.NewDecoder(strings.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(v); err != nil {
		return err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the object")
	}
	return nil
}
