package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/function"
)

// maxOutput is how much of the log of a build that failed is told as its
// output: the end of it.
const maxOutput = 64 << 10

// Compile implements algorithmia.Builder. The version is not live, unless it is
// the first one: a function always has a live version.
func (a algorithmAPI) Compile(ctx context.Context, name string) (algorithmia.Algorithm, error) {
	none := algorithmia.Algorithm{}
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return none, err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return none, err
	}
	if !a.source(&k) {
		if !k.built() {
			return none, runnel.Errorf(runnel.CodeInvalid, "the algorithm has no source: PUT one")
		}
		return a.shown(ctx, &k, k.newest()) // what was deployed is built
	}
	dir, err := os.MkdirTemp(a.tmp, "source-")
	if err != nil {
		return none, fmt.Errorf("copy the source: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the directory is emptied at the next start
	if err := a.working.copyTo(name, dir); err != nil {
		return none, err
	}
	def := runnel.Function{Name: name, Runtime: k.Runtime, Handler: k.Handler, Transport: k.Transport}
	if !k.built() { // else the settings are the function's
		def.Timeout, def.StartTimeout, def.Network = algorithmTimeout, algorithmStart, network(k.Isolated)
	}
	started := time.Now()
	var made function.Deployment
	err = a.change(ctx, name, func(ctx context.Context) error {
		made, err = a.functions.set.Build(ctx, def, os.DirFS(dir))
		return err
	})
	failed, err := a.failed(ctx, name, started, err)
	if err != nil {
		return none, err
	}
	kept := context.WithoutCancel(ctx) // what was built is there
	if k, err = a.must(kept, name); err != nil {
		return none, err
	}
	if k.Failed != failed.ID {
		k.Failed = failed.ID
		if err := a.store(kept, &k); err != nil {
			return none, err
		}
	}
	if failed.ID == "" {
		builds, err := a.allBuilds(&k)
		if err != nil {
			return none, err
		}
		for i := range k.info.Versions {
			if v := &k.info.Versions[i]; v.Hash == made.Version {
				return a.version(&k, v, madeBy(builds, v.Hash))
			}
		}
		return none, runnel.Errorf(runnel.CodeConflict, "version %s of %s was removed meanwhile", made.Version, name)
	}
	out, err := a.shown(kept, &k, k.newest())
	if err != nil {
		return none, err
	}
	out.VersionInfo = &algorithmia.VersionInfo{Hash: failed.Version, SampleInput: k.Sample}
	return out, nil
}

// failed returns the record of a build that failed with err, which is returned
// where there is none: there it is not the source that failed.
func (a algorithmAPI) failed(ctx context.Context, name string, since time.Time, err error) (function.Build, error) {
	none := function.Build{}
	if err == nil || ctx.Err() != nil || runnel.CodeOf(err) == runnel.CodeUnavailable || errors.Is(err, runnel.ErrClosed) {
		return none, err
	}
	builds, failed := a.functions.set.Builds(name)
	if failed != nil {
		return none, err
	}
	for _, b := range builds {
		if b.For == function.BuildForDeploy && b.Status == function.BuildFailed && !b.Started.Before(since.Truncate(time.Millisecond)) {
			return b, nil
		}
	}
	return none, err
}

// allBuilds returns the builds of an algorithm, the newest first: those of
// another one that had the name before are not its own.
func (a algorithmAPI) allBuilds(k *knownAlgorithm) ([]algorithmia.Build, error) {
	found, err := a.functions.set.Builds(k.name)
	if err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
		return nil, err
	}
	var out []algorithmia.Build
	for _, b := range found {
		if b.For != function.BuildForDeploy || k.version > 0 && !k.built() && b.Started.Before(k.Created.Truncate(time.Millisecond)) {
			continue
		}
		one := algorithmia.Build{
			ID: b.ID, Status: b.Status, Commit: b.Version, Resource: "algorithm_build",
			Started: algorithmia.Time{Time: b.Started}, Finished: algorithmia.Time{Time: b.Finished},
		}
		for _, v := range k.info.Versions {
			if v.Hash == b.Version && v.Release != nil {
				one.Version = &algorithmia.BuildVersion{Semantic: v.Release.Version.String()}
			}
		}
		out = append(out, one)
	}
	return out, nil
}

// madeBy returns the last build that made a version, nil if it is not kept.
func madeBy(builds []algorithmia.Build, hash string) *algorithmia.Build {
	for i := range builds {
		if builds[i].Commit == hash && builds[i].Status == function.BuildSucceeded {
			return &builds[i]
		}
	}
	return nil
}

// failure returns the build of the last compilation if it failed, and nothing
// was built since.
func (k *knownAlgorithm) failure(builds []algorithmia.Build) *algorithmia.Build {
	if k.Failed == "" {
		return nil
	}
	for i := range builds {
		switch {
		case builds[i].ID == k.Failed:
			return &builds[i]
		case builds[i].Status == function.BuildSucceeded:
			return nil
		}
	}
	return nil
}

// output returns the end of the log of a build.
func (a algorithmAPI) output(ctx context.Context, name, id string) string {
	text, err := a.BuildLog(ctx, name, id)
	if err != nil {
		a.flows.log.Warn("the log of a build is lost", "function", name, "err", err)
	}
	if len(text) > maxOutput {
		text = strings.ToValidUTF8(text[len(text)-maxOutput:], "")
	}
	return text
}

// Builds implements algorithmia.Builder.
func (a algorithmAPI) Builds(ctx context.Context, name string) ([]algorithmia.Build, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return nil, err
	}
	return a.allBuilds(&k)
}

// FindBuild implements algorithmia.Builder.
func (a algorithmAPI) FindBuild(ctx context.Context, name, id string) (algorithmia.Build, error) {
	builds, err := a.Builds(ctx, name)
	if err != nil {
		return algorithmia.Build{}, err
	}
	for _, b := range builds {
		if b.ID == id {
			return b, nil
		}
	}
	return algorithmia.Build{}, runnel.Errorf(runnel.CodeNotFound, "the algorithm has no build %.40q: the last 20 are kept", id)
}

// BuildLog implements algorithmia.Builder.
func (a algorithmAPI) BuildLog(ctx context.Context, name, id string) (string, error) {
	var text strings.Builder
	err := a.functions.set.BuildLog(ctx, name, id, false, func(line string) error {
		text.WriteString(line + "\n")
		return nil
	})
	return text.String(), err
}

// Publish implements algorithmia.Publisher. What is published is live from then
// on, unless a file says what is.
func (a algorithmAPI) Publish(ctx context.Context, name string, in *algorithmia.ChangeAlgorithm) (algorithmia.Algorithm, error) {
	none := algorithmia.Algorithm{}
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return none, err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return none, err
	}
	builds, err := a.allBuilds(&k)
	switch {
	case err != nil:
		return none, err
	case k.failure(builds) != nil:
		return none, runnel.Errorf(runnel.CodeInvalid, "the last build failed: mend the source and compile it")
	case !k.built():
		return none, runnel.Errorf(runnel.CodeNotFound, "the algorithm has no build: compile it first")
	}
	p := function.Publication{
		Version: k.newest().Hash, Bump: in.VersionInfo.Type, Private: true,
		Notes: function.Notes{
			Release: string(in.VersionInfo.ReleaseNotes), SampleInput: string(in.VersionInfo.SampleInput), SampleOutput: string(in.VersionInfo.SampleOutput),
		},
	}
	switch p.Bump {
	case "":
		p.Bump = function.BumpMinor
	case "patch":
		p.Bump = function.BumpRevision
	}
	if c := in.Settings.Callability; c != nil && *c == "public" {
		p.Private = false
	}
	if p.SampleInput == "" {
		p.SampleInput = k.Sample
	}
	// What else is said first: a publication cannot be taken back.
	if err := a.adopt(ctx, &k, in); runnel.CodeOf(err) == runnel.CodeConflict {
		return none, runnel.Errorf(runnel.CodeInvalid, "settings: %v", err) // a conflict says that it is published
	} else if err != nil {
		return none, err
	}
	err = a.change(ctx, name, func(ctx context.Context) error {
		v, err := a.functions.set.Publish(ctx, name, p)
		if err != nil {
			return err
		}
		file, err := a.owners.of(ctx, "function", name)
		if err != nil || file != "" {
			return err
		}
		if _, err := a.functions.set.Promote(ctx, name, v.Hash); err != nil {
			return fmt.Errorf("version %s is published, but not live: %w", v.Release.Version, err)
		}
		return nil
	})
	if err != nil {
		return none, err
	}
	if k, err = a.must(ctx, name); err != nil {
		return none, err
	}
	return a.FindVersion(ctx, name, p.Version)
}

// Versions implements algorithmia.Publisher.
func (a algorithmAPI) Versions(ctx context.Context, name string) ([]algorithmia.Algorithm, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return nil, err
	}
	builds, err := a.allBuilds(&k)
	if err != nil {
		return nil, err
	}
	var out []algorithmia.Algorithm
	for i := range k.info.Versions {
		v := &k.info.Versions[i]
		one, err := a.version(&k, v, madeBy(builds, v.Hash))
		if runnel.CodeOf(err) == runnel.CodeNotFound {
			continue // it was removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// FindVersion implements algorithmia.Publisher.
func (a algorithmAPI) FindVersion(ctx context.Context, name, version string) (algorithmia.Algorithm, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return algorithmia.Algorithm{}, err
	}
	v, err := a.functions.set.Version(name, version)
	if err != nil {
		return algorithmia.Algorithm{}, err
	}
	builds, err := a.allBuilds(&k)
	if err != nil {
		return algorithmia.Algorithm{}, err
	}
	return a.version(&k, &v.Version, madeBy(builds, v.Hash))
}

// shownErrors is how many failures are told.
const shownErrors = 50

// Errors implements algorithmia.Publisher: the last lines of the level error.
func (a algorithmAPI) Errors(ctx context.Context, name string) ([]algorithmia.AlgorithmError, error) {
	owner, short, _ := strings.Cut(name, "/")
	page, err := a.logs.Search(ctx, admin.LogQuery{Account: owner, Function: name, Level: slog.LevelError, Limit: shownErrors})
	if err != nil {
		return nil, err
	}
	var out []algorithmia.AlgorithmError
	for _, l := range page.Lines {
		out = append(out, algorithmia.AlgorithmError{
			Created: l.Time.UnixMilli(), Request: l.Invocation, Owner: owner, Name: short, Version: l.Version,
			Error: l.Text, Type: "AlgorithmError", Billed: owner, Worker: l.Worker,
		})
	}
	return out, nil
}
