package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

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
		Live: info.Live, Deployed: info.Deployed, State: info.State, LastError: info.LastError,
		Workers: admin.WorkerCounts{Min: st.Min, Max: st.Max, Idle: st.Idle, Busy: st.Busy, Starting: st.Starting},
		Stats: admin.FunctionStats{
			Calls: st.Calls, Errors: st.Errors, Timeouts: st.Timeouts, Crashes: st.Crashes,
			OutOfMemory: st.OutOfMemory, Starts: st.Starts,
		},
		Versions: []admin.FunctionVersion{}, Limits: []admin.Limit{},
	}
	for _, v := range info.Versions {
		out.Versions = append(out.Versions, admin.FunctionVersion{Version: v.Hash, Created: v.Created, Runtime: string(v.Runtime)})
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
	def.Name = fullName(def.Name)
	a.one.Lock()
	defer a.one.Unlock()
	if a.functions.goHandler(def.Name) != nil {
		return admin.Function{}, runnel.Errorf(runnel.CodeConflict, "%s is a Go handler of the program that the server is part of", def.Name)
	}
	if err := a.owners.check(ctx, "function", def.Name, ""); err != nil {
		return admin.Function{}, err
	}
	code, done, err := unpack(a.tmp, archive)
	if err != nil {
		return admin.Function{}, err
	}
	defer done()
	if _, err := a.functions.set.Deploy(ctx, def, code); err != nil {
		return admin.Function{}, err
	}
	return a.Find(ctx, def.Name)
}

// Delete implements admin.Functions.
func (a functionAPI) Delete(ctx context.Context, name string) error {
	a.one.Lock()
	defer a.one.Unlock()
	if err := a.owners.check(ctx, "function", name, ""); err != nil {
		return err
	}
	if callers := a.flows.calls(name); len(callers) > 0 {
		return runnel.Errorf(runnel.CodeConflict, "function %s is called by the flows %s: delete them first", name, strings.Join(callers, ", "))
	}
	return a.functions.set.Delete(ctx, name)
}

// Apply implements admin.Applier.
func (a functionAPI) Apply(ctx context.Context, _ auth.Caller, in admin.Spec) ([]admin.Change, error) {
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
	file, err := spec.Parse(in.Name, []byte(in.Text), opt)
	if err != nil {
		return nil, err
	}
	// All archives are unpacked before anything changes.
	sources := make(map[string]fs.FS)
	var faults []error
	for _, f := range file.Functions {
		archive, ok := in.Archives[f.Name]
		if !ok {
			faults = append(faults, file.Fault("functions."+f.Name, fmt.Errorf("its source is not among the archives")))
			continue
		}
		code, done, err := unpack(a.tmp, archive)
		if err != nil {
			faults = append(faults, file.Fault("functions."+f.Name, err))
			continue
		}
		defer done()
		sources[f.Name] = code
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a.apply(ctx, file, in.Name, func(f runnel.Function) (fs.FS, error) { return sources[f.Name], nil }, in.DryRun)
}

// maxArchive bounds what an archive unpacks to, in bytes; internal/function
// has the exact limits.
const maxArchive = 300 << 20

// unpack unpacks a gzipped tar into a directory of its own, which done removes.
func unpack(tmp string, archive []byte) (_ fs.FS, done func(), err error) {
	dir, err := os.MkdirTemp(tmp, "source-")
	if err != nil {
		return nil, nil, fmt.Errorf("unpack the source: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			done()
		}
	}()
	bad := func(err error) error {
		return runnel.Errorf(runnel.CodeInvalid, "the source is not a gzipped tar of plain files and directories: %v", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, nil, bad(err)
	}
	left := int64(maxArchive)
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, bad(err)
		}
		name := filepath.FromSlash(strings.TrimPrefix(h.Name, "./"))
		if name == "" || name == "." {
			continue
		}
		if !filepath.IsLocal(name) {
			return nil, nil, bad(fmt.Errorf("%q is outside of it", h.Name))
		}
		path := filepath.Join(dir, name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			if left -= h.Size; left < 0 {
				return nil, nil, runnel.Errorf(runnel.CodeTooLarge, "the source unpacks to more than %d bytes", int64(maxArchive))
			}
			err = writeFile(path, tr, h.FileInfo().Mode()&0o111 != 0)
		case tar.TypeSymlink:
			// Where it leads is checked by internal/function.
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				err = os.Symlink(h.Linkname, path)
			}
		default:
			return nil, nil, bad(fmt.Errorf("%q is none", h.Name))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("unpack the source: %w", err)
		}
	}
	code, err := function.Source(dir)
	return code, done, err
}

func writeFile(path string, r io.Reader, exec bool) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}

// invokeWait is how long a caller waits for a worker.
const invokeWait = 10 * time.Second

// Invoke implements admin.Invocations.
func (a functionAPI) Invoke(ctx context.Context, account, ref string, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	slots := a.flows.slots(account)
	if !slots.TryTake() {
		return admin.InvokeAnswer{}, runnel.Errorf(runnel.CodeLimit, "all calls that the account may have under way are taken (--session-limit)")
	}
	defer slots.Give()
	out := admin.InvokeAnswer{Invocation: uuid.NewString()}
	if h := a.functions.goHandler(ref); h != nil {
		return a.invokeGo(ctx, h, out, in)
	}
	waiting, cancel := context.WithTimeout(ctx, invokeWait)
	place, err := a.functions.set.Acquire(waiting, ref)
	cancel()
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return out, runnel.Errorf(runnel.CodeLimit, "no worker was free within %s: %v", invokeWait, err)
		}
		return out, err
	}
	defer place.Release()
	out.Version = place.Version
	if place.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, place.Timeout)
		defer cancel()
	}
	answers, err := place.Call.Invoke(ctx, &runnel.Invocation{
		ID: out.Invocation, Format: in.Format,
		Items: []runnel.Item{{Payload: in.Payload, Message: runnel.MessageID(out.Invocation), Attempt: 1, Trace: in.Trace}},
	})
	switch {
	case err != nil:
		return out, err
	case len(answers) != 1:
		return out, fmt.Errorf("invoke %s: %d answers", ref, len(answers))
	case answers[0].Err != nil:
		return out, answers[0].Err
	}
	out.Format, out.Payload = answers[0].Format, answers[0].Payload
	return out, nil
}

// invokeGo calls a Go handler with a message.
func (a functionAPI) invokeGo(ctx context.Context, h runnel.Handler, out admin.InvokeAnswer, in admin.InvokeRequest) (admin.InvokeAnswer, error) {
	m := runnel.Message{ID: runnel.MessageID(out.Invocation), Body: in.Payload, Trace: in.Trace}
	ctx = runnel.WithCall(ctx, &runnel.Call{Message: m.ID, Attempt: 1, Attempts: []int{1}, Invocation: out.Invocation})
	results, err := h.Handle(ctx, []runnel.Message{m})
	switch {
	case err != nil:
		return out, goFailure(err)
	case len(results) != 1:
		return out, goFailure(fmt.Errorf("%d results for 1 message", len(results)))
	case results[0].Err != nil:
		return out, goFailure(results[0].Err)
	case len(results[0].Out) == 0:
		out.Format = runnel.FormatNone
	default:
		out.Format, out.Payload = runnel.FormatBytes, results[0].Out[0].Body
	}
	return out, nil
}

// goFailure is the error of a Go handler as a function's failure.
func goFailure(err error) error {
	var failure *runnel.FunctionError
	var again *runnel.RetryError
	var reject *runnel.RejectError
	if errors.As(err, &failure) || errors.As(err, &again) || errors.As(err, &reject) {
		return err
	}
	return &runnel.FunctionError{Kind: runnel.KindError, Message: err.Error()}
}
