package algorithmia

// Versions: .../versions (also .../version, for publishing), .../versions/HASH,
// .../log, .../errors, .../scm/status.
//
// Publishing gives the newest build a number; its callability is private unless
// settings say public; version_type is minor unless it is said, patch means
// revision. A version may be named by its hash, the beginning of that, or its
// number. Who does not own the algorithm sees public versions only.

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// Publisher publishes and lists versions.
type Publisher interface {
	// Publish publishes the newest build: CodeConflict if that is published
	// already, CodeNotFound if there is none.
	Publish(ctx context.Context, name string, in *ChangeAlgorithm) (Algorithm, error)
	// Versions describes all versions that are kept.
	Versions(ctx context.Context, name string) ([]Algorithm, error)
	// FindVersion describes one, or CodeNotFound.
	FindVersion(ctx context.Context, name, version string) (Algorithm, error)
	// Errors returns the last failures.
	Errors(ctx context.Context, name string) ([]AlgorithmError, error)
}

// AlgorithmError is one failure, as it stands in the log.
type AlgorithmError struct {
	Created int64  `json:"created_at"` // milliseconds
	Request string `json:"request_id"`
	Owner   string `json:"username"`
	Name    string `json:"algoname"`
	Version string `json:"algoversion"`
	Input   string `json:"input"`
	Error   string `json:"error"`
	Type    string `json:"error_type"`
	Billed  string `json:"billable_to"`
	Worker  string `json:"worker"`
}

// commit is a version as a commit of a repository.
type commit struct {
	ID      string `json:"id"`
	Short   string `json:"short_message"`
	Message string `json:"message"`
	Author  string `json:"author"`
}

func (d *Door) versionRoutes(add func(method, rest string, serve func(w http.ResponseWriter, r *request) error, change func(r *Route))) {
	large := func(r *Route) { r.MaxBody = 4 << 20 }
	add(http.MethodPost, "/versions", d.publish, large)
	add(http.MethodPost, "/version", d.publish, large)
	add(http.MethodGet, "/versions", d.versions, nil)
	add(http.MethodGet, "/versions/{version}", d.findVersion, nil)
	add(http.MethodGet, "/log", d.commits, nil)
	add(http.MethodGet, "/errors", d.algorithmErrors, nil)
	add(http.MethodGet, "/scm/status", d.scmStatus, nil)
}

func (d *Door) publish(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	var in ChangeAlgorithm
	if len(r.body) > 0 {
		if err := decode(r.body, &in); err != nil {
			return err
		}
	}
	if err := in.check(); err != nil {
		return err
	}
	a, err := d.Algorithms.Publish(r.Context(), name, &in)
	switch runnel.CodeOf(err) {
	case "":
	case runnel.CodeConflict:
		return fault(http.StatusBadRequest, numberPublished, err)
	case runnel.CodeNotFound:
		return fault(http.StatusBadRequest, numberNoBuild, err)
	default:
		return invalid(err)
	}
	d.writeAlgorithm(w, r, http.StatusOK, a)
	return nil
}

func (d *Door) versions(w http.ResponseWriter, r *request) error {
	name, own, err := d.algorithm(r, reading)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	all, err := d.Algorithms.Versions(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	// published is about what has a number, callable about who may call it; what
	// is false asks for nothing.
	published := r.flag("published")
	onlyPublic, onlyPrivate := r.flag("callable") || query.Get("callable") == public, query.Get("callable") == private
	all = slices.DeleteFunc(all, func(a Algorithm) bool {
		isPublic := a.Settings.Callability == public
		return !isPublic && (!own || onlyPublic) || isPublic && onlyPrivate || published && a.VersionInfo.Semantic == ""
	})
	at := func(a Algorithm) string { return fmt.Sprintf("%020d%s", a.Created.UnixNano(), a.VersionInfo.Hash) }
	slices.SortFunc(all, func(a, b Algorithm) int { return strings.Compare(at(b), at(a)) })
	for i := range all {
		d.complete(r, &all[i])
	}
	page, err := paged(d, r, "version", all, highestFirst, at)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func (d *Door) findVersion(w http.ResponseWriter, r *request) error {
	name, own, err := d.algorithm(r, reading)
	if err != nil {
		return err
	}
	a, err := d.Algorithms.FindVersion(r.Context(), name, r.value("version"))
	if err == nil && !own && a.Settings.Callability != public {
		err = runnel.Errorf(runnel.CodeNotFound, "the algorithm has no public version %.64q", r.value("version"))
	}
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return fault(http.StatusNotFound, numberNoVersion, err)
	}
	if err != nil {
		return invalid(err)
	}
	d.writeAlgorithm(w, r, http.StatusOK, a)
	return nil
}

// commits are the versions that are kept.
func (d *Door) commits(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	all, err := d.Algorithms.Versions(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	owner, _, _ := strings.Cut(name, "/")
	list := []commit{}
	for _, a := range all {
		short := "built " + stamp(a.Created)
		if v := a.VersionInfo.Semantic; v != "" {
			short = "published as " + v
		}
		message := short
		if a.VersionInfo.ReleaseNotes != "" {
			message += "\n\n" + a.VersionInfo.ReleaseNotes
		}
		list = append(list, commit{ID: a.VersionInfo.Hash, Short: short, Message: message, Author: owner})
	}
	writeJSON(w, http.StatusOK, struct {
		Commits []commit `json:"commits"`
	}{list})
	return nil
}

func (d *Door) algorithmErrors(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	list, err := d.Algorithms.Errors(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	writeJSON(w, http.StatusOK, append([]AlgorithmError{}, list...))
	return nil
}

func (d *Door) scmStatus(w http.ResponseWriter, r *request) error {
	if _, _, err := d.algorithm(r, owning); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"scm_connection_status"`
	}{"active"})
	return nil
}
