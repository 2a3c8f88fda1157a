package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/function"
)

// algorithms is what the server keeps of functions for Algorithmia's API: their
// working sources, and a document of each that was made, or changed, by it.
type algorithms struct {
	working *working

	mu sync.Mutex // guards the fields below
	// names are those of algorithms by id, as far as they were asked for.
	names map[string]string
	// turns have an element while an algorithm is changed or built.
	turns map[string]chan struct{}
}

// kindAlgorithm is the catalog's kind of these documents; names are OWNER/NAME.
const kindAlgorithm = "algorithm"

// algorithm is the document of an algorithm.
type algorithm struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`

	Label   string `json:"label,omitempty"`
	Summary string `json:"summary,omitempty"`
	Tagline string `json:"tagline,omitempty"`

	Visibility string `json:"source_visibility,omitempty"`
	License    string `json:"license,omitempty"`
	Isolated   bool   `json:"isolated,omitempty"` // until the function is there, which says it then
	NoPipeline bool   `json:"no_pipeline,omitempty"`
	PackageSet string `json:"package_set,omitempty"`
	Sample     string `json:"sample_input,omitempty"`

	// Runtime, Handler and Transport are what the working source is built with.
	Runtime   runnel.Runtime   `json:"runtime,omitempty"`
	Handler   string           `json:"handler,omitempty"`
	Transport runnel.Transport `json:"transport,omitempty"`

	// Failed is the build of what was compiled last, if it failed.
	Failed string `json:"failed,omitempty"`
	// Secrets are the short names of secrets, by key.
	Secrets map[string]secretLabel `json:"secrets,omitempty"`
}

// secretLabel is what the vault does not keep of a secret.
type secretLabel struct {
	ShortName string    `json:"short_name,omitempty"`
	Created   time.Time `json:"created,omitzero"`
}

// algorithmTimeout is how long a call of an algorithm may take: the most that a
// caller may ask for. algorithmStart is how long it may take to load.
const (
	algorithmTimeout = 3000 * time.Second
	algorithmStart   = 5 * time.Minute
)

// openAlgorithms opens what is kept in a data directory.
func openAlgorithms(dir string, room func() error, c *catalog.Catalog) (*algorithms, error) {
	exists := func(name string) bool {
		_, err := c.Get(context.Background(), kindAlgorithm, name)
		return err == nil
	}
	w, err := openWorking(dir, room, exists)
	if err != nil {
		return nil, err
	}
	return &algorithms{working: w, names: make(map[string]string), turns: make(map[string]chan struct{})}, nil
}

// take waits for the turn to change an algorithm; done ends it.
func (a *algorithms) take(ctx context.Context, name string) (done func(), err error) {
	a.mu.Lock()
	turn := a.turns[name]
	if turn == nil {
		turn = make(chan struct{}, 1)
		a.turns[name] = turn
	}
	a.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, runnel.Errorf(runnel.CodeUnavailable, "another change of %s is under way: %w", name, context.Cause(ctx))
	}
}

// algorithmAPI is functions as Algorithmia's API has them.
type algorithmAPI struct {
	functionAPI
	*algorithms
	catalog *catalog.Catalog
	logs    *logs
}

// knownAlgorithm is what there is of an algorithm: a document, a function, or both.
type knownAlgorithm struct {
	name string
	algorithm
	version uint64        // of the document; 0: there is none
	info    function.Info // Name is "" where nothing was built
}

// source says whether there is a working source.
func (a algorithmAPI) source(k *knownAlgorithm) bool { return k.version > 0 && a.working.has(k.name) }

func (k *knownAlgorithm) exists() bool { return k.version > 0 || k.built() }
func (k *knownAlgorithm) built() bool  { return k.info.Name != "" }

// known returns what there is under a name.
func (a algorithmAPI) known(ctx context.Context, name string) (knownAlgorithm, error) {
	k := knownAlgorithm{name: name}
	d, err := a.catalog.Get(ctx, kindAlgorithm, name)
	switch {
	case err == nil:
		if err := json.Unmarshal(d.Value, &k.algorithm); err != nil {
			return k, fmt.Errorf("read the algorithm %s: %w", name, err)
		}
		k.version = d.Version
	case runnel.CodeOf(err) != runnel.CodeNotFound:
		return k, err
	default:
		k.ID = idOf("function", name)
	}
	info, err := a.functions.set.Get(name)
	if err != nil && runnel.CodeOf(err) != runnel.CodeNotFound {
		return k, err
	}
	k.info = info
	return k, nil
}

// must is known, of what exists.
func (a algorithmAPI) must(ctx context.Context, name string) (knownAlgorithm, error) {
	k, err := a.known(ctx, name)
	if err == nil && !k.exists() {
		err = runnel.Errorf(runnel.CodeNotFound, "there is no algorithm %s", name)
	}
	return k, err
}

// store writes the document. Of a function that had none it is the first: a
// source that is there is another one's.
func (a algorithmAPI) store(ctx context.Context, k *knownAlgorithm) error {
	if k.version == 0 {
		if err := a.working.drop(k.name); err != nil {
			return err
		}
		if k.Created.IsZero() {
			k.Created = time.Now().UTC()
		}
	}
	value, err := json.Marshal(k.algorithm)
	if err != nil {
		return fmt.Errorf("encode the algorithm %s: %w", k.name, err)
	}
	k.version, err = a.catalog.Put(ctx, kindAlgorithm, k.name, value, k.version)
	return err
}

// Named implements algorithmia.Algorithms.
func (a algorithmAPI) Named(ctx context.Context, id string) (string, bool, error) {
	a.mu.Lock()
	name, ok := a.names[id]
	a.mu.Unlock()
	if ok {
		if k, err := a.known(ctx, name); err != nil || k.exists() && k.ID == id {
			return name, err == nil, err
		}
	}
	// It was never asked for, or is another's by now.
	found := make(map[string]string)
	documents, err := a.catalog.List(ctx, kindAlgorithm)
	if err != nil {
		return "", false, err
	}
	stored := make(map[string]bool)
	for _, d := range documents {
		var doc algorithm
		if err := json.Unmarshal(d.Value, &doc); err != nil {
			return "", false, fmt.Errorf("read the algorithm %s: %w", d.Name, err)
		}
		found[doc.ID], stored[d.Name] = d.Name, true
	}
	for _, info := range a.functions.set.List() {
		if !stored[info.Name] {
			found[idOf("function", info.Name)] = info.Name
		}
	}
	a.mu.Lock()
	a.names = found
	a.mu.Unlock()
	name, ok = found[id]
	return name, ok, nil
}

// algorithmName returns the name, OWNER/NAME, of the algorithm with an id.
func (a algorithmAPI) algorithmName(ctx context.Context, id string) (name string, ok bool) {
	name, ok, err := a.Named(ctx, strings.ToLower(id))
	return name, ok && err == nil
}

// Access implements algorithmia.Algorithms.
func (a algorithmAPI) Access(ctx context.Context, name string) (exists, public bool, err error) {
	k, err := a.known(ctx, name)
	return k.exists(), k.public() != nil, err
}

// public returns the highest version that is published for all, or nil.
func (k *knownAlgorithm) public() *function.Version {
	var best *function.Version
	for i := range k.info.Versions {
		v := &k.info.Versions[i]
		if v.Release != nil && v.Release.Public && (best == nil || best.Release.Version.Less(v.Release.Version)) {
			best = v
		}
	}
	return best
}

// newest returns the version that was built last, or nil.
func (k *knownAlgorithm) newest() *function.Version {
	if len(k.info.Versions) == 0 {
		return nil
	}
	return &k.info.Versions[0]
}

// Create implements algorithmia.Algorithms.
func (a algorithmAPI) Create(ctx context.Context, name string, in *algorithmia.CreateAlgorithm) (algorithmia.Algorithm, error) {
	none := algorithmia.Algorithm{}
	owner, short, _ := strings.Cut(name, "/")
	owner, err := a.account(ctx, owner)
	if err != nil {
		return none, err
	}
	name = owner + "/" + short
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return none, err
	}
	defer done()
	k, err := a.known(ctx, name)
	switch {
	case err != nil:
		return none, err
	case k.exists() || a.functions.goHandler(name) != nil:
		return none, runnel.Errorf(runnel.CodeConflict, "there is an algorithm %s already", name)
	}
	l, err := a.chosen(ctx, &in.Settings)
	if err != nil {
		return none, err
	}
	k.algorithm = algorithm{ID: uuid.NewString(), Created: time.Now().UTC(), Label: short, Runtime: l.runtime}
	k.change(&in.ChangeAlgorithm)
	// The document comes first: what has none is removed at a start.
	if err := a.store(ctx, &k); err != nil {
		return none, err
	}
	if err := a.working.replace(ctx, name, writeFiles(l.files(short))); err != nil {
		return none, errors.Join(err, deleteDocument(context.WithoutCancel(ctx), a.catalog, kindAlgorithm, name))
	}
	a.flows.log.Info("algorithm created", "function", name)
	return a.shown(ctx, &k, nil)
}

// change puts what in says into the document.
func (k *knownAlgorithm) change(in *algorithmia.ChangeAlgorithm) {
	for to, from := range map[*string]*string{
		&k.Label: in.Details.Label, &k.Summary: in.Details.Summary, &k.Tagline: in.Details.Tagline,
		&k.Visibility: in.Settings.Visibility, &k.License: in.Settings.License, &k.PackageSet: in.Settings.PackageSet,
	} {
		if from != nil {
			*to = *from
		}
	}
	if n := in.Settings.Network; n != nil && *n != "" {
		k.Isolated = *n == string(runnel.NetworkIsolated)
	}
	if p := in.Settings.Pipeline; p != nil {
		k.NoPipeline = !*p
	}
	if in.VersionInfo.SampleInput != "" {
		k.Sample = string(in.VersionInfo.SampleInput)
	}
}

// Update implements algorithmia.Algorithms.
func (a algorithmAPI) Update(ctx context.Context, name string, in *algorithmia.ChangeAlgorithm) (algorithmia.Algorithm, error) {
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
	if err := a.adopt(ctx, &k, in); err != nil {
		return none, err
	}
	return a.shown(ctx, &k, k.newest())
}

// adopt changes an algorithm as in says. The caller has its turn.
func (a algorithmAPI) adopt(ctx context.Context, k *knownAlgorithm, in *algorithmia.ChangeAlgorithm) error {
	before := k.algorithm
	k.change(in)
	if s := in.Settings; s.Environment != nil || s.Language != nil || s.PackageSet != nil {
		l, err := a.chosen(ctx, &s)
		if err != nil {
			return err
		}
		if k.Runtime != l.runtime && (k.version > 0 || k.built() && k.info.Versions[0].Runtime != l.runtime) {
			k.Runtime, k.Handler, k.Transport = l.runtime, "", ""
		}
	}
	if k.built() && in.Settings.Network != nil && k.Isolated != (k.info.Definition.Network == runnel.NetworkIsolated) {
		if err := a.owners.check(ctx, "function", k.name, ""); err != nil {
			return err
		}
		err := a.change(ctx, k.name, func(ctx context.Context) error {
			return a.functions.set.Configure(ctx, k.name, func(def runnel.Function) runnel.Function {
				def.Network = network(k.Isolated)
				return def
			})
		})
		if err != nil {
			return err
		}
		if k.info, err = a.functions.set.Get(k.name); err != nil {
			return err
		}
	}
	if same(before, k.algorithm) {
		return nil
	}
	return a.store(ctx, k)
}

func network(isolated bool) runnel.Network {
	if isolated {
		return runnel.NetworkIsolated
	}
	return ""
}

// Delete implements algorithmia.Algorithms.
func (a algorithmAPI) Delete(ctx context.Context, name string) error {
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	k, err := a.must(ctx, name)
	if err != nil {
		return err
	}
	if k.built() {
		// Its records go with it: the document and the secrets.
		if err := a.functionAPI.Delete(asCaller(ctx), name); err != nil {
			return err
		}
	} else if err := errors.Join(a.functions.vault.removeAll(ctx, name), deleteDocument(ctx, a.catalog, kindAlgorithm, name)); err != nil {
		return err
	}
	a.flows.log.Info("algorithm deleted", "function", name)
	return a.working.drop(name)
}

// List implements algorithmia.Algorithms.
func (a algorithmAPI) List(ctx context.Context, account string) ([]algorithmia.Algorithm, error) {
	owner, err := a.account(ctx, account)
	if err != nil {
		return nil, err
	}
	documents, err := a.catalog.List(ctx, kindAlgorithm)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for _, d := range documents {
		names[d.Name] = strings.HasPrefix(d.Name, owner+"/")
	}
	for _, info := range a.functions.set.List() {
		names[info.Name] = strings.HasPrefix(info.Name, owner+"/")
	}
	var out []algorithmia.Algorithm
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !names[name] {
			continue
		}
		k, err := a.known(ctx, name)
		if err != nil {
			return nil, err
		}
		if !k.exists() {
			continue // it was deleted meanwhile
		}
		one := k.describe(nil)
		if k.public() != nil {
			one.Settings.Callability = "public"
		}
		out = append(out, one)
	}
	return out, nil
}

// account returns the name of an account that is called by it, or by its UUID.
func (a algorithmAPI) account(ctx context.Context, called string) (string, error) {
	if caller, ok := algorithmia.CallerFrom(ctx); ok && caller.Account == called {
		return called, nil // a server without keys has no accounts
	}
	found, err := a.catalog.Account(ctx, called)
	if runnel.CodeOf(err) != runnel.CodeNotFound {
		return found.Name, err
	}
	all, failed := a.catalog.Accounts(ctx)
	if failed != nil {
		return "", failed
	}
	for _, one := range all {
		if one.UUID != "" && strings.EqualFold(one.UUID, called) {
			return one.Name, nil
		}
	}
	return "", err
}

// Find implements algorithmia.Algorithms.
func (a algorithmAPI) Find(ctx context.Context, name string, public bool) (algorithmia.Algorithm, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return algorithmia.Algorithm{}, err
	}
	if public {
		return a.version(&k, k.public(), nil)
	}
	return a.shown(ctx, &k, k.newest())
}

// describe is an algorithm without a build, in the callability of a version.
func (k *knownAlgorithm) describe(v *function.Version) algorithmia.Algorithm {
	owner, short, _ := strings.Cut(k.name, "/")
	out := algorithmia.Algorithm{Owner: owner, ID: k.ID, Name: short}
	out.Details = algorithmia.Details{Label: k.Label, Summary: k.Summary, Tagline: k.Tagline}
	if out.Details.Label == "" {
		out.Details.Label = short
	}
	s := &out.Settings
	s.Callability, s.Visibility, s.License, s.Network = "private", "closed", "apl", string(runnel.NetworkFull)
	if v != nil && v.Release != nil && v.Release.Public {
		s.Callability = "public"
	}
	if k.Visibility != "" {
		s.Visibility = k.Visibility
	}
	if k.License != "" {
		s.License = k.License
	}
	if k.built() && k.info.Definition.Network == runnel.NetworkIsolated || !k.built() && k.Isolated {
		s.Network = string(runnel.NetworkIsolated)
	}
	s.PackageSet, s.Machine, s.Pipeline = k.PackageSet, "cpu", !k.NoPipeline
	runtime := k.Runtime
	if v != nil {
		runtime = v.Runtime
	} else if runtime == "" && k.newest() != nil {
		runtime = k.newest().Runtime
	}
	s.Language = string(runtime)
	if l := languageOf(runtime); l != nil {
		s.Language, s.Environment = l.name, l.id()
	}
	if v == nil && k.Sample != "" {
		out.VersionInfo = &algorithmia.VersionInfo{SampleInput: k.Sample}
	}
	return out
}

// version describes a version, by the build that made it if that is given.
func (a algorithmAPI) version(k *knownAlgorithm, v *function.Version, build *algorithmia.Build) (algorithmia.Algorithm, error) {
	out := k.describe(v)
	if v == nil {
		return out, nil
	}
	out.Created = v.Created
	out.VersionInfo = &algorithmia.VersionInfo{Hash: v.Hash, UUID: idOf("version", k.ID+"/"+v.Hash), SampleInput: k.Sample}
	if v.Release != nil {
		full, err := a.functions.set.Version(k.name, v.Hash)
		if err != nil {
			return out, err
		}
		i := out.VersionInfo
		i.Semantic, i.ReleaseNotes, i.SampleInput, i.SampleOutput = v.Release.Version.String(), full.Notes.Release, full.Notes.SampleInput, full.Notes.SampleOutput
	}
	out.Build, out.Compilation = build, &algorithmia.Compilation{Successful: true}
	return out, nil
}

// shown describes an algorithm by a version, and by how the last compilation of
// it ended.
func (a algorithmAPI) shown(ctx context.Context, k *knownAlgorithm, v *function.Version) (algorithmia.Algorithm, error) {
	builds, err := a.allBuilds(k)
	if err != nil {
		return algorithmia.Algorithm{}, err
	}
	var own *algorithmia.Build
	if v != nil {
		own = madeBy(builds, v.Hash)
	}
	out, err := a.version(k, v, own)
	if err != nil {
		return out, err
	}
	if failed := k.failure(builds); failed != nil {
		if out.VersionInfo == nil || out.VersionInfo.Hash == "" {
			out.VersionInfo = &algorithmia.VersionInfo{SampleInput: k.Sample, Hash: failed.Commit}
		}
		out.Build = failed
		out.Compilation = &algorithmia.Compilation{Output: a.output(ctx, k.name, failed.ID)}
	}
	return out, nil
}
