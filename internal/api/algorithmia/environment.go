package algorithmia

// Environments: /v1/algorithm-environments/edge/languages,
// .../languages/LANGUAGE/environments and
// .../environment-specifications/ID/template; and /v1/scms.
//
// There is one environment for each language that this machine runs, and its
// name says in which version. The only keeper of sources is the server itself,
// so that there is nothing to authorise.

import (
	"context"
	"net/http"

	"github.com/runnel-io/runnel"
)

// Environments are what algorithms can be made for.
type Environments interface {
	Environments(ctx context.Context) []Environment
	// Template returns the gzipped tar of a first source, by the id of an
	// environment or of its specification, or CodeNotFound.
	Template(ctx context.Context, id string) ([]byte, error)
}

// Environment is a language in the version that this machine has.
type Environment struct {
	ID            string   `json:"id"`
	Specification string   `json:"environment_specification_id"`
	Display       string   `json:"display_name"`
	Description   string   `json:"description"`
	Created       string   `json:"created_at"`
	Language      Language `json:"language"`
	Machine       string   `json:"machine_type"`
}

// Language is a language of algorithms.
type Language struct {
	Name    string `json:"name"`
	Display string `json:"display_name"`
	// Configuration is JSON in a text.
	Configuration string `json:"configuration"`
}

// SCM is a keeper of sources.
type SCM struct {
	ID       string  `json:"id"`
	Name     *string `json:"name,omitempty"`
	Provider string  `json:"provider"`
	Default  bool    `json:"default"`
	Enabled  bool    `json:"enabled"`
}

const internalSCM = "internal"

var theSCM = SCM{ID: internalSCM, Name: new(string), Provider: internalSCM, Default: true, Enabled: true}

func (d *Door) environmentRoutes() []Route {
	const environments = "/v1/algorithm-environments/edge"
	return []Route{
		{Method: http.MethodGet, Pattern: environments + "/languages", serve: d.languages},
		{Method: http.MethodGet, Pattern: environments + "/languages/{language}/environments", serve: d.environments},
		{Method: http.MethodGet, Pattern: environments + "/environment-specifications/{id}/template", serve: d.template},
		{Method: http.MethodGet, Pattern: "/v1/secret-provider", serve: d.secretProviders},
		{Method: http.MethodGet, Pattern: "/v1/scms", serve: d.scms},
		{Method: http.MethodGet, Pattern: "/v1/scms/{scm}", serve: d.findSCM},
		{Method: http.MethodGet, Pattern: "/v1/scms/{scm}/oauth/status", serve: d.scmAuthorization},
		{Method: http.MethodGet, Pattern: "/v1/scms/{scm}/token/status", serve: d.scmAuthorization},
	}
}

func (d *Door) languages(w http.ResponseWriter, r *request) error {
	list := []Language{}
	for _, e := range d.Algorithms.Environments(r.Context()) {
		list = append(list, e.Language)
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (d *Door) environments(w http.ResponseWriter, r *request) error {
	list := []Environment{}
	for _, e := range d.Algorithms.Environments(r.Context()) {
		if e.Language.Name == r.value("language") {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return runnel.Errorf(runnel.CodeNotFound, "there are no environments for the language %.40q: see the list of languages", r.value("language"))
	}
	writeJSON(w, http.StatusOK, struct {
		Environments []Environment `json:"environments"`
	}{list})
	return nil
}

func (d *Door) template(w http.ResponseWriter, r *request) error {
	archive, err := d.Algorithms.Template(r.Context(), r.value("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", `attachment; filename="template.tar.gz"`)
	_, _ = w.Write(archive) // a client that left is not told
	return nil
}

func (d *Door) scms(w http.ResponseWriter, _ *request) error {
	writeJSON(w, http.StatusOK, struct {
		Results []SCM `json:"results"`
	}{[]SCM{theSCM}})
	return nil
}

// scm refuses any but the one that there is.
func scm(r *request) error {
	if r.value("scm") != internalSCM {
		return runnel.Errorf(runnel.CodeNotFound, "the only keeper of sources is %s", internalSCM)
	}
	return nil
}

func (d *Door) findSCM(w http.ResponseWriter, r *request) error {
	if err := scm(r); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, theSCM)
	return nil
}

// scmAuthorization is what clients expect of a keeper that needs none.
func (d *Door) scmAuthorization(w http.ResponseWriter, r *request) error {
	if err := scm(r); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"authorization_status"`
	}{"unauthorized"})
	return nil
}
