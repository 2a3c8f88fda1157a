package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
	"github.com/runnel-io/runnel/internal/function"
)

// code returns the files of the newest build of an algorithm that has no
// working source, nil where there is neither.
func (a algorithmAPI) code(k *knownAlgorithm) (fs.FS, error) {
	if !k.built() {
		return nil, nil //nolint:nilnil // nothing
	}
	code, _, err := a.functions.set.Code(k.name, k.newest().Hash)
	return code, err
}

// SourceFiles implements algorithmia.Sources. What was deployed by other means
// has the files of its newest build.
func (a algorithmAPI) SourceFiles(ctx context.Context, name string) ([]algorithmia.SourceFile, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return nil, err
	}
	var files []workingFile
	if a.source(&k) {
		files, err = a.working.list(name)
	} else {
		code, failed := a.code(&k)
		if err = failed; err == nil && code != nil {
			files, err = listFiles(code)
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([]algorithmia.SourceFile, len(files))
	for i, f := range files {
		out[i] = sourceFile(f)
	}
	return out, nil
}

func sourceFile(f workingFile) algorithmia.SourceFile {
	return algorithmia.SourceFile{Name: f.name, Size: f.size, Modified: algorithmia.Time{Time: f.modified}}
}

// ReadSource implements algorithmia.Sources.
func (a algorithmAPI) ReadSource(ctx context.Context, name, path string) ([]byte, error) {
	k, err := a.must(ctx, name)
	if err != nil {
		return nil, err
	}
	if a.source(&k) {
		return a.working.read(name, path)
	}
	if err := workingPath(path); err != nil {
		return nil, err
	}
	code, err := a.code(&k)
	if err != nil {
		return nil, err
	}
	if code == nil {
		return nil, noFile(path)
	}
	return readFile(code, path)
}

// edit prepares an algorithm for a change of its source. What was deployed by
// other means gets a document, and with keep the files of its newest build,
// unless a file declares it.
func (a algorithmAPI) edit(ctx context.Context, name string, keep bool) error {
	k, err := a.must(ctx, name)
	if err != nil {
		return err
	}
	if err := a.owners.check(ctx, "function", name, ""); err != nil || a.source(&k) {
		return err
	}
	done, err := a.algorithms.take(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	if k, err = a.must(ctx, name); err != nil {
		return err
	}
	if k.version == 0 || k.Runtime == "" {
		v := k.newest()
		if v.Runtime == runnel.RuntimeHTTP {
			return runnel.Errorf(runnel.CodeConflict, "%s is an endpoint elsewhere: its code is not here", name)
		}
		k.Runtime, k.Handler, k.Transport = v.Runtime, v.Handler, v.Transport
		k.Isolated = k.info.Definition.Network == runnel.NetworkIsolated
		if err := a.store(ctx, &k); err != nil {
			return err
		}
	}
	if keep && !a.source(&k) {
		return a.seed(ctx, &k)
	}
	return nil
}

// seed makes the newest build the working source.
func (a algorithmAPI) seed(ctx context.Context, k *knownAlgorithm) error {
	code, err := a.code(k)
	if err != nil || code == nil {
		return err
	}
	return a.working.replace(ctx, k.name, func(_ context.Context, dir string) error {
		if err := os.CopyFS(dir, code); err != nil {
			return fmt.Errorf("copy the newest build: %w", err)
		}
		return nil
	})
}

// WriteSource implements algorithmia.Sources.
func (a algorithmAPI) WriteSource(ctx context.Context, name, path string, body io.Reader) (algorithmia.SourceFile, bool, error) {
	none := algorithmia.SourceFile{}
	if err := workingPath(path); err != nil {
		return none, false, err
	}
	if err := a.edit(ctx, name, true); err != nil {
		return none, false, err
	}
	f, made, err := a.working.write(name, path, body)
	if err != nil {
		return none, false, err
	}
	return sourceFile(f), made, nil
}

// RemoveSource implements algorithmia.Sources.
func (a algorithmAPI) RemoveSource(ctx context.Context, name, path string) error {
	if err := a.edit(ctx, name, true); err != nil {
		return err
	}
	return a.working.remove(name, path)
}

// ReplaceSource implements algorithmia.Sources.
func (a algorithmAPI) ReplaceSource(ctx context.Context, name string, archive io.Reader) ([]algorithmia.SourceFile, error) {
	f, err := os.CreateTemp(a.tmp, "upload-")
	if err != nil {
		return nil, fmt.Errorf("keep the upload: %w", err)
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	n, err := copyUpload(f, archive, algorithmia.MaxSourceArchive)
	if err != nil {
		return nil, err
	}
	if err := a.edit(ctx, name, false); err != nil {
		return nil, err
	}
	err = a.working.replace(ctx, name, func(ctx context.Context, dir string) error { return function.Unpack(ctx, dir, f, n) })
	if err != nil {
		return nil, err
	}
	return a.SourceFiles(ctx, name)
}
