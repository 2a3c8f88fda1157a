package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// Functions is what the API reads and does of functions. A name is
// OWNER/NAME. A function that does not exist is CodeNotFound.
type Functions interface {
	// List returns the functions of an owner, by name; all of them where
	// owner is empty.
	List(ctx context.Context, owner string) ([]Function, error)
	// Find returns one function.
	Find(ctx context.Context, name string) (Function, error)
	// Deploy makes a version of the source in archive, a zip or a gzipped tar,
	// and makes it live once it has loaded. There is no archive where the
	// definition says all. What the build or the language says
	// against it is CodeInvalid, in their words, and the version that was
	// live stays live. A function that a spec file owns is CodeConflict.
	Deploy(ctx context.Context, definition runnel.Function, archive []byte) (Function, error)
	// Delete removes a function and its versions. It is CodeConflict while a
	// flow calls it or a spec file owns it.
	Delete(ctx context.Context, name string) error
}

// Function is a function as it is deployed, and what its workers do.
type Function struct {
	Name       string             `json:"name" doc:"OWNER/NAME." example:"default/resize"`
	OwnerFile  string             `json:"owner_file" doc:"The spec file that owns the function; only an apply of it changes the function. Empty: none."`
	Definition FunctionDefinition `json:"definition" doc:"As it was deployed last. The values of env are shown as ***."`
	Live       string             `json:"live" doc:"The version that answers calls: the hash of its content. Empty: none yet."`
	Deployed   time.Time          `json:"deployed,omitzero" doc:"When the live version became live."`
	Previous   string             `json:"previous,omitempty" doc:"The version that a rollback makes live. Empty: there is none."`
	Versions   []FunctionVersion  `json:"versions" doc:"The versions that are kept, the last built first."`
	Aliases    map[string]string  `json:"aliases,omitempty" doc:"The hashes of versions by the names that they were given."`
	History    []LiveChange       `json:"history" doc:"Which versions were live, the present one first: at most 50."`
	State      string             `json:"state" enum:"ready,starting,failing,no workers" doc:"Whether a call would be answered now."`
	LastError  string             `json:"last_error" doc:"What a worker said when it last failed to start. Empty: none did since the version became live."`
	Workers    WorkerCounts       `json:"workers"`
	Stats      FunctionStats      `json:"stats"`
	Limits     []Limit            `json:"limits" doc:"The limits that were asked for, and whether this machine keeps them."`
}

// WorkerCounts are the processes of a function now.
type WorkerCounts struct {
	Min      int `json:"min" doc:"Kept warm."`
	Max      int `json:"max" doc:"The most at once."`
	Idle     int `json:"idle"`
	Busy     int `json:"busy"`
	Starting int `json:"starting"`
}

// FunctionStats count since the server started.
type FunctionStats struct {
	Calls       uint64 `json:"calls"`
	Errors      uint64 `json:"errors" doc:"Calls that failed, in whatever way; the next three are among them."`
	Timeouts    uint64 `json:"timeouts"`
	Crashes     uint64 `json:"crashes" doc:"Processes that ended by themselves, in a call or between calls."`
	OutOfMemory uint64 `json:"out_of_memory"`
	Interrupted uint64 `json:"interrupted" doc:"Calls that ended since their worker was drained, recycled, or killed for another call. They are not among calls."`
	Starts      uint64 `json:"starts" doc:"Processes that were started."`
	Waiting     int    `json:"waiting" doc:"Calls that wait for a place on a worker of the live version now."`

	Wait       Durations `json:"wait" doc:"How long calls waited for a place on a worker. The wait for the first worker of a version is not in it, but in start."`
	Start      Durations `json:"start" doc:"How long processes took to load the code."`
	Run        Durations `json:"run" doc:"How long calls took on a worker."`
	PeakMemory int64     `json:"peak_memory" doc:"The most bytes that one process ever occupied, of whatever version. 0: unknown, or none ran."`
}

// VersionStats count since the server started.
type VersionStats struct {
	Calls      uint64    `json:"calls"`
	Errors     uint64    `json:"errors" doc:"Calls that failed, in whatever way."`
	Run        Durations `json:"run" doc:"How long calls took on a worker."`
	PeakMemory int64     `json:"peak_memory" doc:"The most bytes that one process ever occupied. 0: unknown."`
}

// Durations is how long something took, in milliseconds. It is counted in
// buckets: a percentile is the upper bound of the one that it is in, and 60000
// where it is in one beyond half a minute.
type Durations struct {
	Count uint64  `json:"count" doc:"How often."`
	Mean  float64 `json:"mean_ms" doc:"The sum by the count, in milliseconds."`
	P50   float64 `json:"p50_ms" doc:"Half of all took at most this long: the upper bound of a bucket, in milliseconds. 60000: over half a minute."`
	P95   float64 `json:"p95_ms" doc:"The same of 95 in 100."`
	P99   float64 `json:"p99_ms" doc:"The same of 99 in 100."`
}

// NewDurations returns what a histogram says.
func NewDurations(h *runnel.Histogram) Durations {
	d := Durations{Count: h.Count(), P50: Milliseconds(h.Quantile(0.50)), P95: Milliseconds(h.Quantile(0.95)), P99: Milliseconds(h.Quantile(0.99))}
	if d.Count > 0 {
		d.Mean = Milliseconds(h.Sum / time.Duration(d.Count))
	}
	return d
}

// Milliseconds returns d in milliseconds, to a microsecond.
func Milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// Limit is one limit of a function's processes.
type Limit struct {
	Name    string `json:"name" example:"memory"`
	Wanted  string `json:"wanted" example:"64MiB"`
	InForce bool   `json:"in_force" doc:"Whether this machine enforces it."`
	How     string `json:"how" doc:"By what means, or why not." example:"RLIMIT_DATA"`
}

// hidden is shown in place of the values of an environment.
const hidden = "***"

// shown returns f as everybody may see it.
func (f Function) shown() Function {
	if f.Definition.Env != nil {
		env := make(map[string]string, len(f.Definition.Env))
		for name := range f.Definition.Env {
			env[name] = hidden
		}
		f.Definition.Env = env
	}
	f.Versions, f.History, f.Limits = filled(f.Versions), filled(f.History), filled(f.Limits)
	return f
}

// FunctionPath is the path of a function.
type FunctionPath struct {
	Owner string `path:"owner" doc:"The account that the function belongs to." example:"default"`
	Name  string `path:"name" doc:"The name of the function." example:"resize"`
}

// function returns OWNER/NAME if the caller may know of it. What is another
// account's does not exist for others than admins.
func (in *FunctionPath) function(caller auth.Caller) (string, error) {
	name := in.Owner + "/" + in.Name
	if !caller.Owns(in.Owner) {
		return "", runnel.Errorf(runnel.CodeNotFound, "there is no function %s", name)
	}
	return name, nil
}

type functionsAnswer struct {
	Body struct {
		Functions []Function `json:"functions"`
	}
}

func (d *Door) listFunctions(ctx context.Context, caller auth.Caller, _ *struct{}) (*functionsAnswer, error) {
	if d.Functions == nil {
		return nil, unsupported("functions")
	}
	fs, err := d.Functions.List(ctx, owned(caller))
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	out := new(functionsAnswer)
	out.Body.Functions = make([]Function, len(fs))
	for i, f := range fs {
		out.Body.Functions[i] = f.shown()
	}
	return out, nil
}

// owned returns the owner whose functions a caller may see; "" for all.
func owned(caller auth.Caller) string {
	if caller.Admin {
		return ""
	}
	return caller.Account
}

type functionAnswer struct{ Body Function }

func (d *Door) findFunction(ctx context.Context, caller auth.Caller, in *FunctionPath) (*functionAnswer, error) {
	if d.Functions == nil {
		return nil, unsupported("functions")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	f, err := d.Functions.Find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("find function: %w", err)
	}
	return &functionAnswer{f.shown()}, nil
}

type deployInput struct {
	FunctionPath
	Live string `query:"live" enum:"true,false" doc:"false: only build it. The version is the first in the answer, and answers those who name it. The settings of the function stay; those that are sent must be the same."`
	Body struct {
		Definition FunctionDefinition `json:"definition"`
		Archive    Base64             `json:"archive,omitempty" doc:"The source: a zip or a gzipped tar, in base64. None where the code is inline, and for runtime http."`
	}
}

func (d *Door) deploy(ctx context.Context, caller auth.Caller, in *deployInput) (*functionAnswer, error) {
	if d.Functions == nil {
		return nil, unsupported("functions")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	f := in.Body.Definition.Function()
	if err := errors.Join(checkDefinition(&f, name), adminOnly(caller, &f)); err != nil {
		return nil, err
	}
	deploy := d.Functions.Deploy
	switch {
	case in.Live == "false" && d.Versions == nil:
		return nil, unsupported("versions")
	case in.Live == "false":
		deploy = d.Versions.Build
	case in.Live != "" && in.Live != "true":
		return nil, runnel.Errorf(runnel.CodeInvalid, "live=%s: want true or false", in.Live)
	}
	deployed, err := deploy(ctx, f, in.Body.Archive)
	if err != nil {
		return nil, fmt.Errorf("deploy: %w", err)
	}
	return &functionAnswer{deployed.shown()}, nil
}

// checkDefinition says what is wrong with a definition that was sent for the
// function called name, and gives it its name.
func checkDefinition(f *runnel.Function, name string) error {
	faults := []error{named(&f.Name, name), f.Validate()}
	for _, variable := range slices.Sorted(maps.Keys(f.Env)) {
		if f.Env[variable] == hidden {
			faults = append(faults, &runnel.FieldError{Path: "env." + variable, Err: errors.New("*** is shown in place of a value: send the value")})
		}
	}
	return errors.Join(faults...)
}

// adminOnly says what in a definition needs an admin key: what reaches beyond the
// account on the server's machine.
func adminOnly(caller auth.Caller, f *runnel.Function) error {
	switch {
	case caller.Admin:
		return nil
	case len(f.Writable) > 0:
		return runnel.Errorf(runnel.CodeDenied, "writable needs an admin key: directories of the server's machine are the account's to write then")
	case f.URL != "":
		return runnel.Errorf(runnel.CodeDenied, "runtime http needs an admin key: the server would call %.100q from where it stands", f.URL)
	}
	return nil
}

func (d *Door) deleteFunction(ctx context.Context, caller auth.Caller, in *FunctionPath) (*struct{}, error) {
	if d.Functions == nil {
		return nil, unsupported("functions")
	}
	name, err := in.function(caller)
	if err != nil {
		return nil, err
	}
	if err := d.Functions.Delete(ctx, name); err != nil {
		return nil, fmt.Errorf("delete function: %w", err)
	}
	return nil, nil //nolint:nilnil // 204
}
