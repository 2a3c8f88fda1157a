package server

import (
	"context"
	"io"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/function"
)

// maxUploaded bounds an archive that is sent by itself.
const maxUploaded = 250 << 20

// Builds implements admin.Builds.
func (a functionAPI) Builds(_ context.Context, name string) ([]admin.Build, error) {
	found, err := a.functions.set.Builds(name)
	out := make([]admin.Build, len(found))
	for i, b := range found {
		out[i] = buildOf(b)
	}
	return out, err
}

// FindBuild implements admin.Builds.
func (a functionAPI) FindBuild(_ context.Context, name, id string) (admin.Build, error) {
	b, err := a.functions.set.FindBuild(name, id)
	return buildOf(b), err
}

// BuildLog implements admin.Builds.
func (a functionAPI) BuildLog(ctx context.Context, name, id string, follow bool, fn func(line string) error) error {
	return a.functions.set.BuildLog(ctx, name, id, follow, fn)
}

// Upload implements admin.Builds.
func (a functionAPI) Upload(ctx context.Context, name string, def *runnel.Function, archive io.Reader) (admin.Build, error) {
	if a.functions.goHandler(name) != nil {
		return admin.Build{}, runnel.Errorf(runnel.CodeConflict, "%s is a Go handler of the program that the server is part of", name)
	}
	if err := a.owners.check(ctx, "function", name, ""); err != nil {
		return admin.Build{}, err
	}
	// An upload may be slow, and holds up nobody meanwhile.
	sources := sources{tmp: a.tmp}
	defer sources.close()
	code, err := sources.spool(ctx, archive, maxUploaded)
	if err != nil {
		return admin.Build{}, err
	}
	done, err := a.take(ctx)
	if err != nil {
		return admin.Build{}, err
	}
	defer done()
	if err := a.owners.check(ctx, "function", name, ""); err != nil {
		return admin.Build{}, err
	}
	d, err := a.functions.set.DeployCode(asCaller(ctx), name, def, code)
	if err != nil {
		return admin.Build{}, err
	}
	a.flows.wake()
	if d.Build == "" {
		return admin.Build{Function: d.Name, Version: d.Version, Status: admin.BuildUnchanged}, nil
	}
	return a.FindBuild(ctx, name, d.Build)
}

func buildOf(b function.Build) admin.Build {
	return admin.Build{
		ID: b.ID, Function: b.Function, For: b.For, Status: b.Status,
		Started: b.Started, Finished: b.Finished, Version: b.Version, Error: b.Error,
	}
}
