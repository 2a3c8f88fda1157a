package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Versions is what the API does with the versions of functions. A name is
// OWNER/NAME, a version whatever may stand behind the @ of a reference. What
// does not exist is CodeNotFound.
//
// What a spec file owns is the definition and which code is deployed. The
// changes of this interface are allowed all the same, but for a build.
type Versions interface {
	// Build makes a version as Deploy does, proves that it loads, and leaves
	// everything else as it was. The version is the first of those in the
	// answer.
	Build(ctx context.Context, definition runnel.Function, archive []byte) (Function, error)
	// FindVersion returns one version with its notes and samples.
	FindVersion(ctx context.Context, name, version string) (VersionDetail, error)
	// Publish gives a version a number. One that has one already is
	// CodeConflict, unless it was private and shall be public.
	Publish(ctx context.Context, name string, p Publication) (VersionDetail, error)
	// RemoveVersion forgets a version. It is CodeConflict while it is live, has
	// an alias, or a flow calls it.
	RemoveVersion(ctx context.Context, name, version string) error
	// SetAlias makes alias a name of the version.
	SetAlias(ctx context.Context, name, alias, version string) (Function, error)
	// DeleteAlias removes a name. It is CodeConflict while a flow uses it.
	DeleteAlias(ctx context.Context, name, alias string) error
	// Rollback makes the version that was live before the present one live
	// again; to, if it is not empty, instead of that.
	Rollback(ctx context.Context, name, to string) (RolledBack, error)
}

// CallerFrom returns who makes the call that ctx is of.
func CallerFrom(ctx context.Context) (auth.Caller, bool) {
	req, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return auth.Caller{}, false
	}
	return req.caller, true
}

// FunctionVersion is one version of a function.
type FunctionVersion struct {
	Version   string    `json:"version" doc:"The hash of its content."`
	Created   time.Time `json:"created"`
	Runtime   string    `json:"runtime" doc:"python, node, exec, go, wasm or http."`
	Semantic  string    `json:"semantic_version,omitempty" doc:"The number that it is published under. Empty: it is not published." example:"1.2.0"`
	Public    bool      `json:"public,omitempty" doc:"Whether latest, and the beginning of a number, may mean it."`
	Published time.Time `json:"published,omitzero"`
	By        string    `json:"published_by,omitempty" doc:"The id of the key that published it."`
	Live      bool      `json:"live,omitempty" doc:"Whether it answers calls that name no version."`
	Aliases   []string  `json:"aliases,omitempty" doc:"The names that it has, sorted."`

	Stats *VersionStats `json:"stats,omitempty" doc:"What it did since the server started. None: it had no workers since then."`
}

// VersionDetail is a version with what it was published with.
type VersionDetail struct {
	FunctionVersion
	ReleaseNotes string `json:"release_notes,omitempty"`
	SampleInput  string `json:"sample_input,omitempty"`
	SampleOutput string `json:"sample_output,omitempty"`
}

// LiveChange is one time when a version became live.
type LiveChange struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	By      string    `json:"by,omitempty" doc:"The id of the key, or the spec file, that did it."`
	How     string    `json:"how" enum:"deploy,rollback,publish"`
}

// Publication asks for a version to be published.
type Publication struct {
	Version      string `json:"version,omitempty" doc:"Which one: a hash, the beginning of one, or an alias. Default: the newest build."`
	Type         string `json:"version_type,omitempty" doc:"Which part of the highest number so far grows: major, minor or revision. The first number is 1.0.0, 0.1.0 or 0.0.1. Not needed for a private version that becomes public: it keeps its number."`
	Private      bool   `json:"private,omitempty" doc:"Publish it for calls that name the number, or latestPrivate."`
	ReleaseNotes string `json:"release_notes,omitempty" doc:"To 64 KiB."`
	SampleInput  string `json:"sample_input,omitempty" doc:"A payload, as text, to 1 MiB."`
	SampleOutput string `json:"sample_output,omitempty" doc:"What is returned for it, as text, to 1 MiB."`
}

// RolledBack says what a rollback did.
type RolledBack struct {
	Live     string   `json:"live" doc:"The version that answers now."`
	Previous string   `json:"previous" doc:"The one that did before."`
	Changed  bool     `json:"changed" doc:"False: it was live already."`
	Warning  string   `json:"warning,omitempty" doc:"What will undo it."`
	Function Function `json:"function"`
}

type versionsAnswer struct {
	Body struct {
		Versions []FunctionVersion `json:"versions" doc:"The last built first."`
	}
}

func (d *Door) listVersions(ctx context.Context, caller auth.Caller, in *FunctionPath) (*versionsAnswer, error) {
	f, err := d.findFunction(ctx, caller, in)
	if err != nil {
		return nil, err
	}
	out := new(versionsAnswer)
	out.Body.Versions = f.Body.Versions
	return out, nil
}

// VersionPath is the path of a version.
type VersionPath struct {
	FunctionPath
	Version string `path:"version" doc:"A hash, the beginning of one, a semantic version or the beginning of one, an alias, live, latest or latestPrivate." example:"1.2"`
}

// versions returns what the calls below need, and OWNER/NAME.
func (d *Door) versions(caller auth.Caller, in *FunctionPath) (Versions, string, error) {
	if d.Versions == nil {
		return nil, "", unsupported("versions")
	}
	name, err := in.function(caller)
	return d.Versions, name, err
}

type versionDetailAnswer struct{ Body VersionDetail }

func (d *Door) findVersion(ctx context.Context, caller auth.Caller, in *VersionPath) (*versionDetailAnswer, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	v, err := vs.FindVersion(ctx, name, in.Version)
	if err != nil {
		return nil, fmt.Errorf("find version: %w", err)
	}
	return &versionDetailAnswer{v}, nil
}

type publishInput struct {
	FunctionPath
	Body Publication
}

func (d *Door) publish(ctx context.Context, caller auth.Caller, in *publishInput) (*versionDetailAnswer, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	v, err := vs.Publish(ctx, name, in.Body)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return &versionDetailAnswer{v}, nil
}

func (d *Door) removeVersion(ctx context.Context, caller auth.Caller, in *VersionPath) (*struct{}, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	if err := vs.RemoveVersion(ctx, name, in.Version); err != nil {
		return nil, fmt.Errorf("remove version: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

// AliasPath is the path of an alias.
type AliasPath struct {
	FunctionPath
	Alias string `path:"alias" doc:"1 to 32 lower-case letters, digits and hyphens, the first a letter. Not live, nor what reads as a hash." example:"stable"`
}

type aliasInput struct {
	AliasPath
	Body struct {
		Version string `json:"version" minLength:"1" doc:"A hash, the beginning of one, a semantic version, another alias, live or latest. What it means now is what the alias means from now on."`
	}
}

func (d *Door) setAlias(ctx context.Context, caller auth.Caller, in *aliasInput) (*functionAnswer, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	f, err := vs.SetAlias(ctx, name, in.Alias, in.Body.Version)
	if err != nil {
		return nil, fmt.Errorf("set alias: %w", err)
	}
	return &functionAnswer{f.shown()}, nil
}

func (d *Door) deleteAlias(ctx context.Context, caller auth.Caller, in *AliasPath) (*struct{}, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	if err := vs.DeleteAlias(ctx, name, in.Alias); err != nil {
		return nil, fmt.Errorf("delete alias: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}

type rollbackInput struct {
	FunctionPath
	Body *struct {
		To string `json:"to,omitempty" doc:"Any version that is kept, also one that never was live. Default: the one that was live before."`
	}
}

type rollbackAnswer struct{ Body RolledBack }

func (d *Door) rollback(ctx context.Context, caller auth.Caller, in *rollbackInput) (*rollbackAnswer, error) {
	vs, name, err := d.versions(caller, &in.FunctionPath)
	if err != nil {
		return nil, err
	}
	to := ""
	if in.Body != nil {
		to = in.Body.To
	}
	out, err := vs.Rollback(ctx, name, to)
	if err != nil {
		return nil, fmt.Errorf("roll back: %w", err)
	}
	out.Function = out.Function.shown()
	return &rollbackAnswer{out}, nil
}
