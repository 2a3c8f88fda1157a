package algorithmia

// Algorithms: /v1/algorithms/OWNER, /v1/algorithms/OWNER/NAME and
// /v1/algorithms/UUID, and the list of an account's, /v1/users/USER/algorithms.
//
// An algorithm is a function with a label, settings and a working source. What
// was deployed by other means is one too, with what can be told of it.
//
// Differences: git_hash is our hash of a version, of 16 digits; callability is
// that of a version, and private until one is published publicly;
// pipeline_enabled, license and source_visibility are kept, and mean nothing
// here; royalty_microcredits is 0. environment gpu is refused. Names of what is
// below an algorithm (builds, source ...) are no names of algorithms.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
)

// Algorithms is what this part of the API wants of the server. A name is
// OWNER/NAME; errors with runnel.CodeNotFound, of what is not said otherwise,
// mean that there is no such algorithm.
type Algorithms interface {
	// Named returns the name of the algorithm with an id.
	Named(ctx context.Context, id string) (name string, ok bool, err error)
	// Access says whether there is an algorithm, and whether a version of it is
	// published for all.
	Access(ctx context.Context, name string) (exists, public bool, err error)

	// Create makes an algorithm, with a working source that can be built.
	// CodeConflict if the name is taken.
	Create(ctx context.Context, name string, in *CreateAlgorithm) (Algorithm, error)
	// Find describes an algorithm by its newest version, with public only by
	// the highest one that is published for all.
	Find(ctx context.Context, name string, public bool) (Algorithm, error)
	// List describes the algorithms of an account, a name or a UUID, by name.
	List(ctx context.Context, account string) ([]Algorithm, error)
	// Update changes what in says.
	Update(ctx context.Context, name string, in *ChangeAlgorithm) (Algorithm, error)
	// Delete removes an algorithm, and all that belongs to it.
	Delete(ctx context.Context, name string) error

	Builder
	Publisher
	Sources
	AlgorithmSecrets
	Environments
}

// Algorithm is one version of an algorithm, or one that has none yet.
type Algorithm struct {
	Owner string `json:"-"`
	// Created is when the version was made.
	Created time.Time `json:"-"`

	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Details      Details      `json:"details"`
	Settings     Settings     `json:"settings"`
	VersionInfo  *VersionInfo `json:"version_info,omitempty"`
	Build        *Build       `json:"build,omitempty"`
	Source       Source       `json:"source"`
	Compilation  *Compilation `json:"compilation,omitempty"`
	SelfLink     string       `json:"self_link,omitempty"`
	ResourceType string       `json:"resource_type"`
}

// Details are what an algorithm says of itself, to 64 KiB in all.
type Details struct {
	Label   string `json:"label"`
	Summary string `json:"summary"`
	Tagline string `json:"tagline"`
}

// Settings are those of an algorithm.
type Settings struct {
	Callability string `json:"algorithm_callability"`
	Visibility  string `json:"source_visibility"`
	Language    string `json:"language,omitempty"`
	Machine     string `json:"environment,omitempty"`
	PackageSet  string `json:"package_set,omitempty"`
	License     string `json:"license"`
	Network     string `json:"network_access"`
	Pipeline    bool   `json:"pipeline_enabled"`
	Insights    bool   `json:"insights_enabled"`
	Royalty     int    `json:"royalty_microcredits"`
	Environment string `json:"algorithm_environment,omitempty"`
}

// VersionInfo says which version it is.
type VersionInfo struct {
	Hash         string `json:"git_hash,omitempty"`
	Semantic     string `json:"semantic_version,omitempty"`
	UUID         string `json:"version_uuid,omitempty"`
	ReleaseNotes string `json:"release_notes,omitempty"`
	SampleInput  string `json:"sample_input,omitempty"`
	SampleOutput string `json:"sample_output,omitempty"`
}

// Source says where the source is kept: here, always.
type Source struct {
	SCM SCM `json:"scm"`
}

// CreateAlgorithm asks for a new algorithm.
type CreateAlgorithm struct {
	Name string `json:"name"`
	ChangeAlgorithm
	Source struct {
		SCM json.RawMessage `json:"scm"`
	} `json:"source"`
}

// ChangeAlgorithm says what is to be changed; nil stays as it is.
type ChangeAlgorithm struct {
	Details     ChangeDetails  `json:"details"`
	Settings    ChangeSettings `json:"settings"`
	VersionInfo ChangeVersion  `json:"version_info"`
}

// ChangeDetails are new details.
type ChangeDetails struct {
	Label   *string `json:"label"`
	Summary *string `json:"summary"`
	Tagline *string `json:"tagline"`
}

// ChangeSettings are new settings.
type ChangeSettings struct {
	Callability *string `json:"algorithm_callability"`
	Visibility  *string `json:"source_visibility"`
	Language    *string `json:"language"`
	Machine     *string `json:"environment"`
	PackageSet  *string `json:"package_set"`
	License     *string `json:"license"`
	Network     *string `json:"network_access"`
	Pipeline    *bool   `json:"pipeline_enabled"`
	Environment *string `json:"algorithm_environment"`
}

// ChangeVersion is what a version is published with. Samples are texts; JSON
// that is not is kept as it is written.
type ChangeVersion struct {
	Type         string `json:"version_type"`
	ReleaseNotes text   `json:"release_notes"`
	SampleInput  text   `json:"sample_input"`
	SampleOutput text   `json:"sample_output"`
}

// text is a string, or JSON as it is written.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(in []byte) error {
	var s string
	switch {
	case string(in) == "null":
		return nil
	case json.Unmarshal(in, &s) == nil:
		*t = text(s)
	default:
		*t = text(in)
	}
	return nil
}

// Numbers of errors about algorithms.
const (
	numberNameMissing      = 1001
	numberNameTaken        = 1002
	numberPublished        = 1007
	numberScmFailed        = 1008
	numberNoBuild          = 1010
	numberNoBuildLogs      = 1011
	numberNoVersion        = 1014
	numberNoUser           = 3000
	numberBadMarker        = 5002
	numberBadLimit         = 5003
	numberInputValidation  = 6001
	numberSecretMalformed  = 8000
	numberSecretConstraint = 8001
	numberSecretNoValue    = 8004
	numberNoProvider       = 8006
	numberNoSecret         = 8008
)

// below are the words that stand below an algorithm in a path.
var below = []string{"builds", "compile", "errors", "log", "scm", "secrets", "source", "version", "versions"}

var algorithmName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

const maxAlgorithmName = 30

func (d *Door) algorithmRoutes() []Route {
	routes := []Route{
		{Method: http.MethodPost, Pattern: "/v1/algorithms/{owner}", serve: d.createAlgorithm},
		{Method: http.MethodGet, Pattern: "/v1/users/{user}/algorithms", serve: d.listAlgorithms},
	}
	add := func(method, rest string, serve func(w http.ResponseWriter, r *request) error, change func(r *Route)) {
		for _, at := range []string{"/v1/algorithms/{owner}/{name}", "/v1/algorithms/{owner}"} {
			r := Route{Method: method, Pattern: at + rest, serve: serve}
			if word := strings.TrimPrefix(rest, "/"); at == "/v1/algorithms/{owner}" && method == http.MethodGet && slices.Contains(below, word) {
				r.serve = d.orNamed(word, serve)
			}
			if change != nil {
				change(&r)
			}
			routes = append(routes, r)
		}
	}
	add(http.MethodGet, "", d.findAlgorithm, nil)
	add(http.MethodPut, "", d.updateAlgorithm, nil)
	add(http.MethodDelete, "", d.deleteAlgorithm, nil)
	d.buildRoutes(add)
	d.versionRoutes(add)
	d.algorithmSecretRoutes(add)
	d.sourceRoutes(add)
	routes = append(routes, d.environmentRoutes()...)
	if d.Algorithms == nil {
		for i := range routes {
			routes[i].serve = func(http.ResponseWriter, *request) error { return unsupported("algorithms") }
		}
	}
	return routes
}

// orNamed serves UUID/word, and OWNER/word as the algorithm that is called so: a
// function that was deployed by other means may be.
func (d *Door) orNamed(word string, serve func(w http.ResponseWriter, r *request) error) func(w http.ResponseWriter, r *request) error {
	return func(w http.ResponseWriter, r *request) error {
		if isUUID(r.value("owner")) {
			return serve(w, r)
		}
		r.path["name"] = word
		return d.findAlgorithm(w, r)
	}
}

// access is what a caller wants of an algorithm.
type access int

const (
	// reading is for the owner, and for all if a version is published for all.
	reading access = iota
	// owning is for the owner.
	owning
	// managing is for a management key of the owner.
	managing
)

// errNoAlgorithm is the answer about what does not exist, which clients compare
// byte for byte.
var errNoAlgorithm = &failure{
	status: http.StatusNotFound, number: 1000, body: []byte(`{"error":"No such algorithm"}`),
	err: runnel.Errorf(runnel.CodeNotFound, "No such algorithm"),
}

// algorithm returns the name of the algorithm of a path, if the caller may do
// with it what it wants to, and whether it is the caller's own.
func (d *Door) algorithm(r *request, want access) (name string, own bool, err error) {
	owner, short := r.value("owner"), r.value("name")
	name = owner + "/" + short
	if short == "" {
		if !isUUID(owner) {
			return "", false, errNoAlgorithm
		}
		var ok bool
		if name, ok, err = d.Algorithms.Named(r.Context(), strings.ToLower(owner)); err != nil {
			return "", false, err
		}
		if !ok {
			return "", false, errNoAlgorithm
		}
		owner, _, _ = strings.Cut(name, "/")
	}
	exists, public, err := d.Algorithms.Access(r.Context(), name)
	own = owns(r, owner)
	switch {
	case err != nil:
		return "", false, err
	case !exists:
		return "", false, errNoAlgorithm
	case want == reading && (own || public), want == owning && own:
		return name, own, nil
	case want == managing && own:
		return name, own, d.manages(r, owner)
	}
	return "", false, runnel.Errorf(runnel.CodeDenied, "the algorithm is not the caller's, and this is not for others")
}

// owns says whether what is an account's is the caller's own. A worker acts for
// whoever called its function, whose algorithms are none of its business.
func owns(r *request, owner string) bool {
	return r.caller.Owns(owner) && (r.caller.Function == "" || strings.HasPrefix(r.caller.Function, owner+"/"))
}

// manages refuses a key that may not change the algorithms of an account.
func (d *Door) manages(r *request, owner string) error {
	switch {
	case r.caller.Manages(owner) && owns(r, owner):
		return nil
	case owns(r, owner):
		return runnel.Errorf(runnel.CodeDenied, "this needs a management key of %s, or an admin key", owner)
	}
	return runnel.Errorf(runnel.CodeDenied, "algorithms of %.64s are not the caller's to change", owner)
}

// isUUID says whether text is a UUID in the usual form.
func isUUID(text string) bool {
	_, err := uuid.Parse(text)
	return err == nil && len(text) == 36
}

// gone makes the error of a server for which an algorithm is not there what
// clients look for: it may be deleted meanwhile.
func gone(err error) error {
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return errNoAlgorithm
	}
	return invalid(err)
}

// invalid gives a fault of the input its number.
func invalid(err error) error {
	var own *failure
	if err != nil && runnel.CodeOf(err) == runnel.CodeInvalid && !errors.As(err, &own) {
		return fault(http.StatusBadRequest, numberInputValidation, err)
	}
	return fieldFault(err, numberInputValidation)
}

// fieldFault gives an error about fields a number.
func fieldFault(err error, number int) error {
	var own *failure
	var coded *runnel.Error
	var field *runnel.FieldError
	if errors.As(err, &field) && !errors.As(err, &own) && !errors.As(err, &coded) {
		return fault(http.StatusBadRequest, number, runnel.Errorf(runnel.CodeInvalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return err
}

func (d *Door) createAlgorithm(w http.ResponseWriter, r *request) error {
	owner := r.value("owner")
	if err := d.manages(r, owner); err != nil {
		return err
	}
	var in CreateAlgorithm
	if err := decode(r.body, &in); err != nil {
		return err
	}
	scm := strings.Trim(string(in.Source.SCM), `"`)
	switch {
	case in.Name == "":
		return fault(http.StatusBadRequest, numberNameMissing, runnel.Errorf(runnel.CodeInvalid, "name is missing"))
	case !algorithmName.MatchString(in.Name) || len(in.Name) > maxAlgorithmName:
		return fault(http.StatusBadRequest, numberInputValidation,
			runnel.Errorf(runnel.CodeInvalid, "name: %.64q is not of up to %d letters, digits and underscores, a letter first", in.Name, maxAlgorithmName))
	case slices.Contains(below, in.Name):
		return fault(http.StatusBadRequest, numberInputValidation, runnel.Errorf(runnel.CodeInvalid, "name: %q is reserved: paths of the API have it", in.Name))
	case scm != "" && scm != "null" && scm != internalSCM && !strings.Contains(scm, `"`+internalSCM+`"`):
		return fault(http.StatusBadRequest, numberScmFailed, runnel.Errorf(runnel.CodeInvalid, "source.scm: only %s is served: the source is kept here", internalSCM))
	}
	if err := in.ChangeAlgorithm.check(); err != nil {
		return err
	}
	a, err := d.Algorithms.Create(r.Context(), owner+"/"+in.Name, &in)
	switch runnel.CodeOf(err) {
	case "":
	case runnel.CodeConflict:
		return fault(http.StatusBadRequest, numberNameTaken, err)
	case runnel.CodeNotFound:
		return fault(http.StatusNotFound, numberNoUser, err)
	default:
		return invalid(err)
	}
	d.writeAlgorithm(w, r, http.StatusCreated, a)
	return nil
}

func (d *Door) findAlgorithm(w http.ResponseWriter, r *request) error {
	name, own, err := d.algorithm(r, reading)
	if err != nil {
		return err
	}
	a, err := d.Algorithms.Find(r.Context(), name, !own)
	if err != nil {
		return gone(err)
	}
	d.writeAlgorithm(w, r, http.StatusOK, a)
	return nil
}

// listed is an algorithm in a list.
type listed struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Name     string `json:"algoname"`
}

func (d *Door) listAlgorithms(w http.ResponseWriter, r *request) error {
	all, err := d.Algorithms.List(r.Context(), r.value("user"))
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return fault(http.StatusNotFound, numberNoUser, err)
	}
	if err != nil {
		return err
	}
	list := []listed{}
	for _, a := range all {
		if owns(r, a.Owner) || a.Settings.Callability == public {
			list = append(list, listed{a.ID, a.Owner, a.Name})
		}
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (d *Door) updateAlgorithm(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	var in ChangeAlgorithm
	// A Python client sends a dictionary as a form, which has only the names of
	// what it is to change.
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(r.body) > 0 && media != "application/x-www-form-urlencoded" {
		if err := decode(r.body, &in); err != nil {
			return err
		}
	}
	if err := in.check(); err != nil {
		return err
	}
	a, err := d.Algorithms.Update(r.Context(), name, &in)
	if err != nil {
		return gone(err)
	}
	d.writeAlgorithm(w, r, http.StatusOK, a)
	return nil
}

func (d *Door) deleteAlgorithm(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	if err := d.Algorithms.Delete(r.Context(), name); err != nil {
		return gone(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Words of settings.
const (
	public  = "public"
	private = "private"
)

// check says what is wrong with a change; what environments there are the
// server knows.
func (c *ChangeAlgorithm) check() error {
	var faults []string
	word := func(path string, value *string, words ...string) {
		if value != nil && *value != "" && !slices.Contains(words, *value) {
			faults = append(faults, fmt.Sprintf("%s: %.40q is none of %s", path, *value, strings.Join(words, ", ")))
		}
	}
	length := func(path string, value string, most int) {
		if len(value) > most {
			faults = append(faults, fmt.Sprintf("%s: has %d bytes, and at most %d are kept", path, len(value), most))
		}
	}
	word("settings.algorithm_callability", c.Settings.Callability, public, private)
	word("settings.source_visibility", c.Settings.Visibility, "open", "closed")
	word("settings.license", c.Settings.License, "apl", "apache2", "gpl3", "mit")
	word("settings.network_access", c.Settings.Network, "full", "isolated")
	word("settings.environment", c.Settings.Machine, "cpu")
	word("version_info.version_type", &c.VersionInfo.Type, "major", "minor", "revision", "patch")
	for path, value := range map[string]*string{"details.label": c.Details.Label, "details.tagline": c.Details.Tagline, "settings.package_set": c.Settings.PackageSet, "settings.language": c.Settings.Language} {
		if value != nil {
			length(path, *value, 256)
		}
	}
	if c.Details.Summary != nil {
		length("details.summary", *c.Details.Summary, 64<<10)
	}
	length("version_info.sample_input", string(c.VersionInfo.SampleInput), 256<<10)
	length("version_info.sample_output", string(c.VersionInfo.SampleOutput), 256<<10)
	length("version_info.release_notes", string(c.VersionInfo.ReleaseNotes), 64<<10)
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return fault(http.StatusBadRequest, numberInputValidation, runnel.Errorf(runnel.CodeInvalid, "%s", strings.Join(faults, "; ")))
}

// complete gives an algorithm what the door knows.
func (d *Door) complete(r *request, a *Algorithm) {
	a.ResourceType = "algorithm"
	a.Source = Source{SCM: theSCM}
	a.Source.SCM.Name = nil
	if a.VersionInfo != nil && a.VersionInfo.Hash != "" {
		a.SelfLink = d.base(r) + "/v1/algorithms/" + a.Owner + "/" + a.Name + "/versions/" + a.VersionInfo.Hash
	}
}

func (d *Door) writeAlgorithm(w http.ResponseWriter, r *request, status int, a Algorithm) {
	d.complete(r, &a)
	writeJSON(w, status, a)
}

// base is the URL by which the client reaches the server.
func (d *Door) base(r *request) string {
	if d.URL != nil {
		return d.URL(r.Request)
	}
	return "http://" + r.Host
}

// stamp is a time as clients read it: UTC, with milliseconds.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
