package algorithmia

// Builds: .../compile, .../builds, .../builds/ID, .../builds/ID/logs.
//
// compile builds what is saved as the source, and answers when it is done: 200
// also for a build that fails, which changes nothing else. The body is not
// looked at: there is no commit to name. The last 20 builds are kept.

import (
	"context"
	"net/http"
	"time"

	"github.com/runnel-io/runnel"
)

// Builder builds algorithms.
type Builder interface {
	// Compile builds the working source.
	Compile(ctx context.Context, name string) (Algorithm, error)
	// Builds returns the builds that are kept, the newest first.
	Builds(ctx context.Context, name string) ([]Build, error)
	// FindBuild returns one, or CodeNotFound.
	FindBuild(ctx context.Context, name, id string) (Build, error)
	// BuildLog returns what was printed.
	BuildLog(ctx context.Context, name, id string) (string, error)
}

// Build is one build.
type Build struct {
	ID       string `json:"build_id"`
	Status   string `json:"status"` // in-progress, succeeded, failed
	Commit   string `json:"commit_sha"`
	Started  Time   `json:"started_at"`
	Finished Time   `json:"finished_at,omitzero"`
	// Version is nil unless it is published: generated clients want no other.
	Version  *BuildVersion `json:"version_info,omitempty"`
	Resource string        `json:"resource_type"`
}

// BuildVersion is what a build is published as.
type BuildVersion struct {
	Semantic string `json:"semantic_version"`
}

// buildInProgress is the status of a build that runs.
const buildInProgress = "in-progress"

// Compilation says how the last build ended.
type Compilation struct {
	Successful bool   `json:"successful"`
	Output     string `json:"output"`
}

// Time is a time that is written as clients read it.
type Time struct{ time.Time }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(stamp(t.Time)), nil }

// MarshalJSON goes before that of time.Time.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + stamp(t.Time) + `"`), nil }

func (d *Door) buildRoutes(add func(method, rest string, serve func(w http.ResponseWriter, r *request) error, change func(r *Route))) {
	add(http.MethodPost, "/compile", d.compile, nil)
	add(http.MethodGet, "/builds", d.builds, nil)
	add(http.MethodGet, "/builds/{build}", d.findBuild, nil)
	add(http.MethodGet, "/builds/{build}/logs", d.buildLogs, nil)
}

func (d *Door) compile(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	a, err := d.Algorithms.Compile(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	d.writeAlgorithm(w, r, http.StatusOK, a)
	return nil
}

func (d *Door) builds(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	all, err := d.Algorithms.Builds(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	page, err := paged(d, r, "build", all, highestFirst, func(b Build) string { return b.ID })
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

// build returns the build of a path.
func (d *Door) build(r *request) (name string, b Build, err error) {
	if name, _, err = d.algorithm(r, owning); err != nil {
		return "", b, err
	}
	b, err = d.Algorithms.FindBuild(r.Context(), name, r.value("build"))
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		err = fault(http.StatusNotFound, numberNoBuild, err)
	}
	return name, b, err
}

func (d *Door) findBuild(w http.ResponseWriter, r *request) error {
	_, b, err := d.build(r)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, b)
	return nil
}

func (d *Door) buildLogs(w http.ResponseWriter, r *request) error {
	name, b, err := d.build(r)
	if err != nil {
		return err
	}
	if b.Status == buildInProgress {
		return fault(http.StatusNotFound, numberNoBuildLogs, runnel.Errorf(runnel.CodeNotFound, "the build %s is in progress: its log is there when it has ended", b.ID))
	}
	text, err := d.Algorithms.BuildLog(r.Context(), name, b.ID)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		err = fault(http.StatusNotFound, numberNoBuildLogs, err)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Logs string `json:"logs"`
	}{"Beginning container customization\n" + text})
	return nil
}
