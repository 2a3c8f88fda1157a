package function

import (
	"context"
	"errors"
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
	// Versions are those that are kept, the last built first.
	Versions []Version `json:"versions"`
	// Aliases are the hashes of versions by the names that users gave them.
	// The map is replaced, never changed.
	Aliases map[string]string `json:"aliases,omitempty"`
	// Numbered is the highest semantic version that was ever given, also if
	// that version is no more.
	Numbered Semantic `json:"numbered,omitzero"`
	// History says which versions were live, the present one first. Records of
	// releases that had no rollback have none: see history.
	History []Change `json:"history,omitempty"`
}

// Version is one state of a function's code.
type Version struct {
	// Hash is the first 16 hexadecimal digits of the SHA-256 of the runtime,
	// the handler and the files.
	Hash    string         `json:"version"`
	Created time.Time      `json:"created"`
	Runtime runnel.Runtime `json:"runtime"`
	// What else of the definition is the version's. Older records have none of
	// it.
	Handler   string           `json:"handler,omitempty"`
	Transport runnel.Transport `json:"transport,omitempty"`
	URL       string           `json:"url,omitempty"`
	Source    string           `json:"source,omitempty"`
	// Release is nil unless the version is published. What it points to never
	// changes.
	Release *Release `json:"release,omitempty"`
}

// Release is what makes a version a published one. Its notes and samples lie in
// a file.
type Release struct {
	Version Semantic `json:"semantic_version"`
	// Public is whether latest, and the beginning of a semantic version, may
	// mean it.
	Public    bool      `json:"public"`
	Published time.Time `json:"published"`
	// By is who did it, "" if that is not known.
	By string `json:"by,omitempty"`
}

// Change is one time when a version became live.
type Change struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	// By is who did it, "" if that is not known.
	By string `json:"by,omitempty"`
	// How is ByDeploy, ByRollback or ByPublish.
	How string `json:"how"`
}

// How a version became live.
const (
	ByDeploy   = "deploy"
	ByRollback = "rollback"
	ByPublish  = "publish"
)

// keptHistory is how many changes of the live version are remembered.
const keptHistory = 50

// has says whether the version is kept.
func (r *Record) has(hash string) bool { return r.version(hash) != nil }

// version returns a version that is kept, or nil.
func (r *Record) version(hash string) *Version {
	for i := range r.Versions {
		if r.Versions[i].Hash == hash {
			return &r.Versions[i]
		}
	}
	return nil
}

// newest returns the version that was built last.
func (r *Record) newest() string {
	if len(r.Versions) == 0 {
		return r.Live
	}
	return r.Versions[0].Hash
}

// history returns History, or what is known of it in an older record: there
// every version that is kept was live once.
func (r *Record) history() []Change {
	if len(r.History) > 0 || r.Live == "" {
		return r.History
	}
	out := []Change{{Version: r.Live, Time: r.Deployed, How: ByDeploy}}
	for _, v := range r.Versions {
		if v.Hash != r.Live {
			out = append(out, Change{Version: v.Hash, Time: v.Created, How: ByDeploy})
		}
	}
	return out
}

// previous returns the version that was live before the present one and is
// kept, or "".
func (r *Record) previous() string {
	for _, c := range r.history() {
		if c.Version != r.Live && r.has(c.Version) {
			return c.Version
		}
	}
	return ""
}

// enliven makes a version the live one of the record.
func (r *Record) enliven(c Change) {
	r.History = append([]Change{c}, r.history()...)
	r.History = slices.Clip(r.History[:min(len(r.History), keptHistory)])
	r.Live, r.Deployed = c.Version, c.Time
}

// add makes a version the newest build of the record.
func (r *Record) add(next Version) {
	versions := []Version{next}
	for _, v := range r.Versions {
		if v.Hash != next.Hash {
			versions = append(versions, v)
			continue
		}
		versions[0].Created, versions[0].Release = v.Created, v.Release
	}
	r.Versions = versions
}

// keptVersions is how many versions are kept that are neither published nor
// named.
const keptVersions = 10

// trim forgets old versions. Those stay that are published or named, the live
// one, the one before it, for a rollback, and those that are in use.
func (r *Record) trim(named map[string]bool, busy func(hash string) bool) {
	previous, spare := r.previous(), 0
	r.Versions = slices.DeleteFunc(slices.Clone(r.Versions), func(v Version) bool {
		if v.Release != nil || named[v.Hash] {
			return false
		}
		spare++
		return spare > keptVersions && v.Hash != r.Live && v.Hash != previous && !busy(v.Hash)
	})
	r.Versions = slices.Clip(r.Versions)
}

// named returns the versions that may be called at any time although they are
// not live: those that an alias, latest, or one of refs names.
func (r *Record) named(refs []string) map[string]bool {
	named := make(map[string]bool)
	for _, hash := range r.Aliases {
		named[hash] = true
	}
	for _, ref := range append([]string{latest, latestPrivate}, refs...) {
		if ref == live {
			continue
		}
		if hash, err := r.resolve(ref); err == nil {
			named[hash] = true
		}
	}
	return named
}

// versionOf is def as one of its versions.
func versionOf(def runnel.Function, hash string, now time.Time) Version {
	return Version{
		Hash: hash, Created: now, Runtime: def.Runtime,
		Handler: def.Handler, Transport: def.Transport, URL: def.URL, Source: def.Source,
	}
}

// definition returns what the workers of a version are started with: the
// function's settings, and what is the version's own.
func (r *Record) definition(hash string) runnel.Function {
	def := r.Definition
	v := r.version(hash)
	if hash == r.Live || v == nil {
		return def
	}
	def.Runtime, def.Transport, def.URL, def.Source, def.Inline = v.Runtime, v.Transport, v.URL, v.Source, ""
	if v.Handler != "" { // else its directory says it
		def.Handler = v.Handler
	}
	return def
}

// rebuilt returns def with the settings of the function, which a build does not
// change: those that def says must be the same.
func (r *Record) rebuilt(def runnel.Function) (runnel.Function, error) {
	given, have := reflect.ValueOf(settings(def)), reflect.ValueOf(settings(r.Definition))
	var faults []error
	for i := range given.NumField() {
		field := given.Type().Field(i)
		if f := given.Field(i); f.IsZero() || f.Kind() == reflect.Map && f.Len() == 0 || reflect.DeepEqual(given.Field(i).Interface(), have.Field(i).Interface()) {
			continue
		}
		path, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		faults = append(faults, &runnel.FieldError{Path: path, Err: errors.New("is not what the function has: a build keeps the settings of the function, leave it out")})
	}
	next := r.Definition
	next.Runtime, next.Handler, next.Transport, next.URL = def.Runtime, def.Handler, def.Transport, def.URL
	next.Source, next.Inline = def.Source, def.Inline
	return next, errors.Join(faults...)
}

// settings is what of a definition is the function's, and the same for all of
// its versions.
func settings(f runnel.Function) runnel.Function {
	f.Name, f.Runtime, f.Handler, f.Transport, f.URL, f.Source, f.Inline = "", "", "", "", "", "", ""
	return f
}

// sameSettings says whether the workers of other versions may stay when a
// takes the place of b.
func sameSettings(a, b runnel.Function) bool {
	return reflect.DeepEqual(started(settings(a)), started(settings(b)))
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
	return bounds(r.Definition, version == r.Live)
}

func bounds(def runnel.Function, live bool) runnel.Workers {
	w := def.Workers
	if w.Max == 0 {
		w.Max = max(runtime.NumCPU(), w.Min)
		if def.Runtime == runnel.RuntimeHTTP {
			w.Max = defaultRequests // they use no core here
		}
	}
	if w.Idle == 0 {
		w.Idle = defaultIdle
	}
	if !live {
		w.Min = 0
	}
	return w
}
