package algorithmia

// The working source of an algorithm, which Algorithmia had as a repository and
// an editor: .../source, .../source/PATH. No client of its has these calls.
//
//	GET    source        the files: names, sizes, times
//	PUT    source        a zip or a gzipped tar, whose files replace all others
//	GET    source/PATH   a file, as it is
//	PUT    source/PATH   writes it: 201 if it is new, else 200
//	DELETE source/PATH   removes it: 204
//
// compile builds what is saved. A change is whole or not made, and on the disk
// when it is answered.

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// Sources are the working sources of algorithms.
type Sources interface {
	// SourceFiles lists the files, by name.
	SourceFiles(ctx context.Context, name string) ([]SourceFile, error)
	// ReadSource returns a file, or CodeNotFound.
	ReadSource(ctx context.Context, name, path string) ([]byte, error)
	// WriteSource writes a file; made says that there was none.
	WriteSource(ctx context.Context, name, path string, body io.Reader) (file SourceFile, made bool, err error)
	// RemoveSource removes a file, or CodeNotFound.
	RemoveSource(ctx context.Context, name, path string) error
	// ReplaceSource puts the files of an archive in place of all.
	ReplaceSource(ctx context.Context, name string, archive io.Reader) ([]SourceFile, error)
}

// SourceFile is one file of a source.
type SourceFile struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Modified Time   `json:"last_modified"`
}

// MaxSourceFile is the most bytes of a file of a working source, MaxSourceArchive
// of an archive.
const (
	MaxSourceFile    = 16 << 20
	MaxSourceArchive = 64 << 20
)

func (d *Door) sourceRoutes(add func(method, rest string, serve func(w http.ResponseWriter, r *request) error, change func(r *Route))) {
	streams := func(most int64) func(r *Route) { return func(r *Route) { r.Streams, r.MaxBody = true, most } }
	add(http.MethodGet, "/source", d.sourceFiles, nil)
	add(http.MethodPut, "/source", d.replaceSource, streams(MaxSourceArchive))
	add(http.MethodGet, "/source/{path...}", d.readSource, nil)
	add(http.MethodPut, "/source/{path...}", d.writeSource, streams(MaxSourceArchive))
	add(http.MethodDelete, "/source/{path...}", d.removeSource, nil)
}

type sourceList struct {
	Results []SourceFile `json:"results"`
}

func (d *Door) sourceFiles(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	files, err := d.Algorithms.SourceFiles(r.Context(), name)
	if err != nil {
		return gone(err)
	}
	writeJSON(w, http.StatusOK, sourceList{append([]SourceFile{}, files...)})
	return nil
}

func (d *Door) replaceSource(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	d.slowBody(w)
	files, err := d.Algorithms.ReplaceSource(r.Context(), name, r.Body)
	if err != nil {
		return gone(err)
	}
	writeJSON(w, http.StatusOK, sourceList{append([]SourceFile{}, files...)})
	return nil
}

// sourceTime is how long a source may take to arrive.
const sourceTime = 10 * time.Minute

// slowBody bounds how long a body may take that is read by the piece.
func (d *Door) slowBody(w http.ResponseWriter) {
	// Not every ResponseWriter has deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(sourceTime))
}

func (d *Door) readSource(w http.ResponseWriter, r *request) error {
	path := r.value("path")
	if path == "" {
		return d.sourceFiles(w, r)
	}
	name, _, err := d.algorithm(r, owning)
	if err != nil {
		return err
	}
	text, err := d.Algorithms.ReadSource(r.Context(), name, path)
	if err != nil {
		return invalid(err)
	}
	media := "application/octet-stream"
	if utf8.Valid(text) {
		media = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a client that left is not told
	return nil
}

func (d *Door) writeSource(w http.ResponseWriter, r *request) error {
	path := r.value("path")
	if path == "" {
		return d.replaceSource(w, r)
	}
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	if r.ContentLength > MaxSourceFile {
		return runnel.Errorf(runnel.CodeTooLarge, "a file of a source has at most %d bytes", MaxSourceFile)
	}
	d.slowBody(w)
	file, made, err := d.Algorithms.WriteSource(r.Context(), name, path, r.Body)
	if err != nil {
		return invalid(err)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	writeJSON(w, status, file)
	return nil
}

func (d *Door) removeSource(w http.ResponseWriter, r *request) error {
	name, _, err := d.algorithm(r, managing)
	if err != nil {
		return err
	}
	if err := d.Algorithms.RemoveSource(r.Context(), name, r.value("path")); err != nil {
		return invalid(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
