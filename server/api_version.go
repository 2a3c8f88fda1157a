package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/function"
)

// asCaller returns a context for a change that is recorded under the name of
// who makes the call.
func asCaller(ctx context.Context) context.Context {
	caller, ok := admin.CallerFrom(ctx)
	if !ok {
		caller, ok = algorithmia.CallerFrom(ctx)
	}
	switch {
	case !ok:
		return ctx
	case caller.KeyID == "": // a server without keys
		return function.By(ctx, caller.Account)
	}
	return function.By(ctx, caller.KeyID)
}

// change is one change of the versions of a function. A spec file that owns the
// function is no reason against it: it owns the definition. It does not wait
// for who applies a file, which may take minutes, since it takes nothing away
// that a flow could come to use meanwhile.
func (a functionAPI) change(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if a.functions.goHandler(name) != nil {
		return goHandlerError(name)
	}
	if err := f(asCaller(ctx)); err != nil {
		return err
	}
	// A flow may wait for the version that there is now.
	a.flows.wake()
	return nil
}

// takeAway is a change after which something is no more. No flow is put
// meanwhile.
func (a functionAPI) takeAway(ctx context.Context, name string, f func(ctx context.Context) error) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	return a.change(ctx, name, f)
}

func goHandlerError(name string) error {
	return runnel.Errorf(runnel.CodeConflict, "%s is a Go handler of the program that the server is part of: it has no versions", name)
}

// Build implements admin.Versions.
func (a functionAPI) Build(ctx context.Context, def runnel.Function, archive []byte) (admin.Function, error) {
	return a.put(ctx, def, archive, false)
}

// FindVersion implements admin.Versions.
func (a functionAPI) FindVersion(_ context.Context, name, version string) (admin.VersionDetail, error) {
	if a.functions.goHandler(name) != nil {
		return admin.VersionDetail{}, goHandlerError(name)
	}
	v, err := a.functions.set.Version(name, version)
	if err != nil {
		return admin.VersionDetail{}, err
	}
	out := detailOf(v)
	info, err := a.functions.set.Get(name)
	if err != nil {
		return admin.VersionDetail{}, err
	}
	out.Stats = versionStats(info, v.Hash)
	return out, nil
}

// Publish implements admin.Versions.
func (a functionAPI) Publish(ctx context.Context, name string, p admin.Publication) (out admin.VersionDetail, err error) {
	err = a.change(ctx, name, func(ctx context.Context) error {
		v, err := a.functions.set.Publish(ctx, name, function.Publication{
			Version: p.Version, Bump: p.Type, Private: p.Private,
			Notes: function.Notes{Release: p.ReleaseNotes, SampleInput: p.SampleInput, SampleOutput: p.SampleOutput},
		})
		out = detailOf(v)
		return err
	})
	return out, err
}

// RemoveVersion implements admin.Versions.
func (a functionAPI) RemoveVersion(ctx context.Context, name, version string) error {
	return a.takeAway(ctx, name, func(ctx context.Context) error { return a.functions.set.Remove(ctx, name, version) })
}

// SetAlias implements admin.Versions.
func (a functionAPI) SetAlias(ctx context.Context, name, alias, version string) (admin.Function, error) {
	err := a.change(ctx, name, func(ctx context.Context) error {
		_, err := a.functions.set.SetAlias(ctx, name, alias, version)
		return err
	})
	if err != nil {
		return admin.Function{}, err
	}
	return a.Find(ctx, name)
}

// DeleteAlias implements admin.Versions.
func (a functionAPI) DeleteAlias(ctx context.Context, name, alias string) error {
	return a.takeAway(ctx, name, func(ctx context.Context) error {
		records, err := a.flows.records(ctx)
		if err != nil {
			return err
		}
		var users []string
		for _, rec := range records {
			if rec.Flow.Call == name+"@"+alias {
				users = append(users, rec.Flow.Name)
			}
		}
		if len(users) > 0 {
			return runnel.Errorf(runnel.CodeConflict, "%s@%s is called by the flows %s: change them first", name, alias, strings.Join(users, ", "))
		}
		return a.functions.set.DeleteAlias(ctx, name, alias)
	})
}

// Rollback implements admin.Versions.
func (a functionAPI) Rollback(ctx context.Context, name, to string) (out admin.RolledBack, err error) {
	err = a.change(ctx, name, func(ctx context.Context) error {
		d, err := a.functions.set.Rollback(ctx, name, to)
		out = admin.RolledBack{Live: d.Live, Previous: d.Previous, Changed: d.Changed}
		return err
	})
	if err != nil {
		return out, err
	}
	if out.Function, err = a.Find(ctx, name); err != nil {
		return out, err
	}
	if file := out.Function.OwnerFile; file != "" && out.Changed {
		out.Warning = fmt.Sprintf("%s is declared in %s: the next apply of it deploys the code that it names then", name, file)
	}
	return out, nil
}

// pinned returns the references, without the name, by which flows call a
// function.
func (fs *flows) pinned(ctx context.Context, name string) ([]string, error) {
	records, err := fs.records(ctx)
	if err != nil {
		return nil, err
	}
	var refs []string
	for _, rec := range records {
		if called, ref, ok := strings.Cut(rec.Flow.Call, "@"); ok && fullName(called) == name {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// versionOf is a version as the native API shows it.
func versionOf(v function.Version) admin.FunctionVersion {
	out := admin.FunctionVersion{Version: v.Hash, Created: v.Created, Runtime: string(v.Runtime)}
	if r := v.Release; r != nil {
		out.Semantic, out.Public, out.Published, out.By = r.Version.String(), r.Public, r.Published, r.By
	}
	return out
}

// versionStats is what a version did, nil if it had no workers.
func versionStats(info function.Info, hash string) *admin.VersionStats {
	s, ran := info.Ran[hash]
	if !ran {
		return nil
	}
	return &admin.VersionStats{Calls: s.Calls, Errors: s.Errors, Run: admin.NewDurations(&s.Run), PeakMemory: s.PeakMemory}
}

func detailOf(v function.VersionInfo) admin.VersionDetail {
	out := admin.VersionDetail{
		FunctionVersion: versionOf(v.Version),
		ReleaseNotes:    v.Notes.Release, SampleInput: v.Notes.SampleInput, SampleOutput: v.Notes.SampleOutput,
	}
	out.Live, out.Aliases = v.Live, v.Aliases
	return out
}
