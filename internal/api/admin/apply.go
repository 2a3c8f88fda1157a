package admin

import (
	"context"
	"fmt"

	"github.com/runnel-io/runnel/internal/auth"
)

// Applier makes a server what a spec file says.
type Applier interface {
	// Apply makes the changes, or with DryRun says what they would be.
	//
	// Everything is checked before anything changes: an error that joins
	// faults with a Location, or *runnel.FieldErrors, means that nothing was
	// changed. Functions, and other accounts, are for admins: else CodeDenied.
	Apply(ctx context.Context, caller auth.Caller, spec Spec) ([]Change, error)
}

// Reloader is a server with a spec file of its own.
type Reloader interface {
	// Reload reads the file again, and makes the server what it says. The
	// errors are those of Apply; CodeUnsupported where there is no file.
	Reload(ctx context.Context) ([]Change, error)
}

// Spec is a spec file with the sources that it names.
type Spec struct {
	// Name is how the owner of everything in it is called: the file's name.
	Name string
	// Text is the YAML.
	Text string
	// Archives are the sources of the functions that have one, zips or gzipped
	// tars, by OWNER/NAME.
	Archives map[string][]byte
	// Env and Files are what ${env:NAME} and ${file:PATH} in Text stand for:
	// values of the caller's machine, not of the server's.
	Env, Files map[string]string
	// DryRun changes nothing.
	DryRun bool
}

// Change is one thing that an apply changes.
type Change struct {
	Kind   string `json:"kind" enum:"function,queue,queue template,flow"`
	Name   string `json:"name"`
	Action string `json:"action" enum:"created,changed,removed,unchanged"`
	Detail string `json:"detail,omitempty" doc:"What changed." example:"3f9c -> 81aa"`
}

type applyInput struct {
	Body struct {
		Name     string            `json:"name" minLength:"1" doc:"The file's name: the owner of all that is in it." example:"runnel.yaml"`
		Spec     string            `json:"spec" doc:"The YAML."`
		Archives map[string]Base64 `json:"archives,omitempty" doc:"The sources of the functions by OWNER/NAME: zips or gzipped tars, in base64."`
		Env      map[string]string `json:"env,omitempty" doc:"What ${env:NAME} in the spec stands for."`
		Files    map[string]string `json:"files,omitempty" doc:"What ${file:PATH} in the spec stands for: the text of the files."`
		DryRun   bool              `json:"dry_run,omitempty" doc:"Change nothing, and say what would change."`
	}
}

type applyAnswer struct {
	Body struct {
		Changes []Change `json:"changes"`
	}
}

func (d *Door) apply(ctx context.Context, caller auth.Caller, in *applyInput) (*applyAnswer, error) {
	if d.Applier == nil {
		return nil, unsupported("spec files")
	}
	spec := Spec{
		Name: in.Body.Name, Text: in.Body.Spec, Archives: make(map[string][]byte, len(in.Body.Archives)),
		Env: in.Body.Env, Files: in.Body.Files, DryRun: in.Body.DryRun,
	}
	for name, archive := range in.Body.Archives {
		spec.Archives[name] = archive
	}
	changes, err := d.Applier.Apply(ctx, caller, spec)
	if err != nil {
		return nil, fmt.Errorf("apply: %w", err)
	}
	out := new(applyAnswer)
	out.Body.Changes = filled(changes)
	return out, nil
}

func (d *Door) reload(ctx context.Context, _ auth.Caller, _ *struct{}) (*applyAnswer, error) {
	if d.Reloader == nil {
		return nil, unsupported("spec files")
	}
	changes, err := d.Reloader.Reload(ctx)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	out := new(applyAnswer)
	out.Body.Changes = filled(changes)
	return out, nil
}
