package function

import (
	"context"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// Records keeps what must survive the process.
type Records interface {
	// List returns all records.
	List(ctx context.Context) ([]Record, error)
	// Put stores a record in place of the one with the same name. It is
	// durable when Put returns nil.
	Put(ctx context.Context, r Record) error
	// Delete removes a record; that there is none is no error.
	Delete(ctx context.Context, name string) error
}

// Record is a function as it is stored. It holds the values of its
// environment, which are secrets.
type Record struct {
	// Name is OWNER/NAME.
	Name string `json:"name"`
	// Definition is as it was deployed, with the full name and the handler.
	Definition runnel.Function `json:"definition"`
	// Live is the version that answers, Deployed since when.
	Live     string    `json:"live"`
	Deployed time.Time `json:"deployed"`
	// Versions are those that are kept, the last deployed first.
	Versions []Version `json:"versions"`
}

// Version is one state of a function's code.
type Version struct {
	// Hash is the first 16 hexadecimal digits of the SHA-256 of the runtime,
	// the handler and the files.
	Hash    string         `json:"version"`
	Created time.Time      `json:"created"`
	Runtime runnel.Runtime `json:"runtime"`
}

// has says whether the version is kept.
func (r *Record) has(hash string) bool {
	return slices.ContainsFunc(r.Versions, func(v Version) bool { return v.Hash == hash })
}

// The defaults of runnel.Function.
const (
	defaultTimeout   = 30 * time.Second
	defaultMaxInput  = 10 << 20
	defaultMaxOutput = 15_000_000
	defaultIdle      = 5 * time.Minute
	defaultRequests  = 64
)

// named checks def and gives it what makes it an identity: the full name and
// the handler.
func named(def runnel.Function) (runnel.Function, error) {
	if err := def.Validate(); err != nil {
		return def, err
	}
	if !strings.Contains(def.Name, "/") {
		def.Name = "default/" + def.Name
	}
	if def.Handler == "" {
		switch def.Runtime {
		case runnel.RuntimePython:
			def.Handler = "main.handler"
		case runnel.RuntimeNode:
			def.Handler = "index.handler"
		case runnel.RuntimeGo:
			def.Handler = "."
		case runnel.RuntimeWASM:
			def.Handler = "main.wasm"
		default:
		}
	}
	def.Env = maps.Clone(def.Env)
	return def, nil
}

// samePool says whether workers started for a can answer for b, the version
// being the same.
func samePool(a, b runnel.Function) bool {
	return reflect.DeepEqual(started(a), started(b))
}

// started returns what of a definition its workers are started with. The rest
// can change while they run.
func started(f runnel.Function) runnel.Function {
	f.StartTimeout, f.MaxInput, f.MaxOutput = startTimeout(f), runnel.Size(maxInput(f)), runnel.Size(maxOutput(f))
	f.Concurrency = max(f.Concurrency, 1)
	f.Source, f.Inline, f.Timeout, f.Workers = "", "", 0, runnel.Workers{}
	if len(f.Env) == 0 {
		f.Env = nil
	}
	return f
}

// same says whether nothing at all differs.
func same(a, b runnel.Function) bool {
	return a.Source == b.Source && a.Inline == b.Inline && a.Timeout == b.Timeout && a.Workers == b.Workers && samePool(a, b)
}

func timeout(def runnel.Function) time.Duration {
	if def.Timeout == 0 {
		return defaultTimeout
	}
	return def.Timeout
}

func startTimeout(def runnel.Function) time.Duration {
	if def.StartTimeout == 0 {
		return defaultTimeout
	}
	return def.StartTimeout
}

func maxInput(def runnel.Function) int64 {
	if def.MaxInput == 0 {
		return defaultMaxInput
	}
	return int64(def.MaxInput)
}

func maxOutput(def runnel.Function) int64 {
	if def.MaxOutput == 0 {
		return defaultMaxOutput
	}
	return int64(def.MaxOutput)
}

// workers returns the bounds of a version's pool: only the live one is kept
// warm.
func (r *Record) workers(version string) runnel.Workers {
	w := r.Definition.Workers
	if w.Max == 0 {
		w.Max = max(runtime.NumCPU(), w.Min)
		if r.Definition.Runtime == runnel.RuntimeHTTP {
			w.Max = defaultRequests // they use no core here
		}
	}
	if w.Idle == 0 {
		w.Idle = defaultIdle
	}
	if version != r.Live {
		w.Min = 0
	}
	return w
}
