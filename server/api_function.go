package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/spec"
)

// functionAPI is the functions as the native API reads and changes them.
type functionAPI struct {
	*applier
	tmp string // where archives are unpacked
}

// List implements admin.Functions.
func (a functionAPI) List(ctx context.Context, owner string) ([]admin.Function, error) {
	var out []admin.Function
	for _, info := range a.functions.set.List() {
		if owner != "" && !strings.HasPrefix(info.Name, owner+"/") {
			continue
		}
		f, err := a.describe(ctx, info)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// Find implements admin.Functions.
func (a functionAPI) Find(ctx context.Context, name string) (admin.Function, error) {
	info, err := a.functions.set.Get(name)
	if err != nil {
		return admin.Function{}, err
	}
	return a.describe(ctx, info)
}

func (a functionAPI) describe(ctx context.Context, info function.Info) (admin.Function, error) {
	file, err := a.owners.of(ctx, "function", info.Name)
	if err != nil {
		return admin.Function{}, err
	}
	st := info.Stats
	out := admin.Function{
		Name: info.Name, OwnerFile: file, Definition: admin.NewFunctionDefinition(info.Definition),
		Live: info.Live, Deployed: info.Deployed, Previous: info.Previous, Aliases: info.Aliases,
		State: info.State, LastError: info.LastError,
		Workers: admin.WorkerCounts{Min: st.Min, Max: st.Max, Idle: st.Idle, Busy: st.Busy, Starting: st.Starting},
		Stats: admin.FunctionStats{
			Calls: st.Calls, Errors: st.Errors, Timeouts: st.Timeouts, Crashes: st.Crashes,
			OutOfMemory: st.OutOfMemory, Interrupted: st.Interrupted, Starts: st.Starts, Waiting: st.Waiting,
			Wait: admin.NewDurations(&st.Wait), Start: admin.NewDurations(&st.Start), Run: admin.NewDurations(&st.Run),
			PeakMemory: st.PeakMemory,
		},
		Versions: []admin.FunctionVersion{}, Limits: []admin.Limit{},
	}
	for _, v := range info.Versions {
		one := versionOf(v)
		one.Live, one.Stats = v.Hash == info.Live, versionStats(info, v.Hash)
		for _, alias := range slices.Sorted(maps.Keys(info.Aliases)) {
			if info.Aliases[alias] == v.Hash {
				one.Aliases = append(one.Aliases, alias)
			}
		}
		out.Versions = append(out.Versions, one)
	}
	for _, c := range info.History {
		out.History = append(out.History, admin.LiveChange(c))
	}
	for _, l := range info.Limits {
		if l.Wanted == "" {
			continue // none was asked for
		}
		out.Limits = append(out.Limits, admin.Limit(l))
	}
	return out, nil
}

// Deploy implements admin.Functions.
func (a functionAPI) Deploy(ctx context.Context, def runnel.Function, archive []byte) (admin.Function, error) {
	return a.put(ctx, def, archive, true)
}

// put makes a version of the code in archive, and makes it live, which a file
// that owns the function does not allow.
func (a functionAPI) put(ctx context.Context, def runnel.Function, archive []byte, live bool) (admin.Function, error) {
	def.Name = fullName(def.Name)
	done, err := a.take(ctx)
	if err != nil {
		return admin.Function{}, err
	}
	defer done()
	if a.functions.goHandler(def.Name) != nil {
		return admin.Function{}, goHandlerError(def.Name)
	}
	install := a.functions.set.Build
	if live {
		install = a.functions.set.Deploy
		if err := a.owners.check(ctx, "function", def.Name, ""); err != nil {
			return admin.Function{}, err
		}
	}
	sources := sources{tmp: a.tmp}
	defer sources.close()
	var code fs.FS
	if len(archive) > 0 {
		if code, err = sources.unpack(ctx, bytes.NewReader(archive), int64(len(archive))); err != nil {
			return admin.Function{}, err
		}
	}
	if _, err := install(asCaller(ctx), def, code); err != nil {
		return admin.Function{}, err
	}
	a.flows.wake()
	return a.Find(ctx, def.Name)
}

// Delete implements admin.Functions.
func (a functionAPI) Delete(ctx context.Context, name string) error {
	done, err := a.take(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := a.owners.check(ctx, "function", name, ""); err != nil {
		return err
	}
	records, err := a.flows.records(ctx)
	if err != nil {
		return err
	}
	if callers := callersOf(name, records); len(callers) > 0 {
		return runnel.Errorf(runnel.CodeConflict, "function %s is called by the flows %s: delete them first", name, strings.Join(callers, ", "))
	}
	return a.functions.set.Delete(ctx, name)
}

// Apply implements admin.Applier.
func (a functionAPI) Apply(ctx context.Context, caller auth.Caller, in admin.Spec) ([]admin.Change, error) {
	if filepath.IsAbs(in.Name) {
		return nil, at("name", errors.New("an absolute path is the name of the file that the server was started with"))
	}
	done, err := a.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	opt := a.options("")
	opt.Env = func(name string) (string, bool) { v, ok := in.Env[name]; return v, ok }
	opt.ReadFile = func(path string) ([]byte, error) {
		if text, ok := in.Files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	// The account decides which queues exist beside the file.
	account := spec.DefaultAccount
	if first, _ := spec.Parse(in.Name, []byte(in.Text), spec.Options{}); first.Account != "" {
		account = first.Account
	}
	known := a.options(account)
	opt.Queues, opt.DeadLetters = known.Queues, known.DeadLetters
	if !caller.Admin { // functions of others do not exist
		opt.Functions = func(name string) bool { return ownerOf(name) == caller.Account && known.Functions(name) }
	}
	file, err := spec.Parse(in.Name, []byte(in.Text), opt)
	if err != nil {
		return nil, err
	}
	if err := a.allowed(ctx, caller, file, in.Name); err != nil {
		return nil, err
	}
	if err := a.leaves(ctx, file, in.Name); err != nil {
		return nil, err
	}
	// All archives are unpacked before anything changes.
	unpacked := sources{tmp: a.tmp}
	defer unpacked.close()
	code := make(map[string]fs.FS)
	var faults []error
	for _, f := range file.Functions {
		if f.Source == "" {
			continue // the file says all
		}
		archive, ok := in.Archives[f.Name]
		if !ok {
			faults = append(faults, file.Fault("functions."+f.Name, errors.New("its source is not among the archives")))
			continue
		}
		if code[f.Name], err = unpacked.unpack(ctx, bytes.NewReader(archive), int64(len(archive))); err != nil {
			faults = append(faults, placed(file, "functions."+f.Name, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a.apply(ctx, file, in.Name, func(f runnel.Function) (fs.FS, error) { return code[f.Name], nil }, in.DryRun)
}
