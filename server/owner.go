package server

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/catalog"
)

// owners say which spec file owns a function or a queue. (Flows say it
// themselves.) What a file owns only an apply of that file changes; what nobody
// owns, since it was made through the API, the first file takes that declares
// it.
//
// A file that comes through the API is known by the name that it comes with.
// The file that the server itself was given (Config.SpecFile) is known by its
// absolute path, which names of the API cannot be. There is one such file, so
// whatever one of them owns is the next one's: a file may be moved.
type owners struct{ catalog *catalog.Catalog }

// kindOwner is the catalog's kind of owners; names are KIND/OWNER/NAME.
const kindOwner = "owner"

// owner is a stored owner.
type owner struct {
	File string `json:"file"`
}

// of returns the file that owns a thing, or "".
func (o owners) of(ctx context.Context, kind, name string) (string, error) {
	d, err := o.catalog.Get(ctx, kindOwner, kind+"/"+name)
	if runnel.CodeOf(err) == runnel.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var rec owner
	if err := json.Unmarshal(d.Value, &rec); err != nil {
		return "", fmt.Errorf("read the owner of %s %s: %w", kind, name, err)
	}
	return rec.File, nil
}

// set makes a file the owner of a thing; "" means none.
func (o owners) set(ctx context.Context, kind, name, file string) error {
	now, err := o.of(ctx, kind, name)
	if err != nil || now == file {
		return err
	}
	name = kind + "/" + name
	if file == "" {
		return deleteDocument(ctx, o.catalog, kindOwner, name)
	}
	value, err := json.Marshal(owner{file})
	if err != nil {
		return fmt.Errorf("encode the owner of %s: %w", name, err)
	}
	version, err := documentVersion(ctx, o.catalog, kindOwner, name)
	if err != nil {
		return err
	}
	_, err = o.catalog.Put(ctx, kindOwner, name, value, version)
	return err
}

// owned returns the names of the things of a kind that a file owns.
func (o owners) owned(ctx context.Context, kind, file string) ([]string, error) {
	documents, err := o.catalog.List(ctx, kindOwner)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range documents {
		var rec owner
		if err := json.Unmarshal(d.Value, &rec); err != nil {
			return nil, fmt.Errorf("read the owner of %s: %w", d.Name, err)
		}
		if name, ok := cutKind(d.Name, kind); ok && sameOwner(rec.File, file) {
			out = append(out, name)
		}
	}
	return out, nil
}

func cutKind(name, kind string) (string, bool) {
	if len(name) > len(kind) && name[:len(kind)] == kind && name[len(kind)] == '/' {
		return name[len(kind)+1:], true
	}
	return "", false
}

// check refuses a change by anybody but the owner.
func (o owners) check(ctx context.Context, kind, name, by string) error {
	file, err := o.of(ctx, kind, name)
	if err != nil {
		return err
	}
	return ownedBy(kind, name, file, by)
}

// sameOwner says whether two names of files are of one owner.
func sameOwner(a, b string) bool { return a == b || filepath.IsAbs(a) && filepath.IsAbs(b) }

func ownedBy(kind, name, file, by string) error {
	if file == "" || sameOwner(file, by) {
		return nil
	}
	if flow, ok := strings.CutPrefix(file, ownerFlow); ok {
		return runnel.Errorf(runnel.CodeConflict, "the %s %s holds what the flow %s has accepted, and goes with it", kind, name, flow)
	}
	return runnel.Errorf(runnel.CodeConflict, "the %s %s is declared in %s: change it there", kind, name, file)
}
