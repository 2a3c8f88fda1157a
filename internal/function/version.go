package function

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel"
)

// The names in the directory of a version.
const (
	codeDir      = "code"
	manifestFile = "version.json"
	venvLink     = "venv"
	modulesLink  = "node_modules"
	binaryLink   = "bin"
	compiledLink = "wasm"
)

// links are those of a version into the cache.
var links = []string{venvLink, modulesLink, binaryLink, compiledLink}

// unfinished begins the names of what is being written. Nobody reads it, and
// it is removed at the next start.
const unfinished = "tmp-"

// manifest says what a version consists of.
type manifest struct {
	Version string         `json:"version"`
	Runtime runnel.Runtime `json:"runtime"`
	Handler string         `json:"handler"`
	URL     string         `json:"url,omitempty"`
	// Transport is there if it is not the runtime's default.
	Transport runnel.Transport `json:"transport,omitempty"`
	Files     []file           `json:"files"`
}

// hash returns the name of the version: the first 16 digits of the SHA-256.
func (m *manifest) hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "runnel function 1\n%q %q\n", m.Runtime, m.Handler)
	if m.URL != "" {
		fmt.Fprintf(h, "%q\n", m.URL)
	}
	if m.Transport != "" {
		fmt.Fprintf(h, "transport %q\n", m.Transport)
	}
	for _, f := range m.Files {
		fmt.Fprintf(h, "%q %t %q %d %s\n", f.Name, f.Exec, f.Link, f.Size, f.Sum)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// stage puts the version of def and source into the function's directory home,
// and returns it. It is not part of any record yet. The source is nil where
// def is all there is: inline code, or an endpoint.
func stage(ctx context.Context, home string, def runnel.Function, source fs.FS) (*manifest, error) {
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the function: %w", err)
	}
	tmp, err := os.MkdirTemp(home, unfinished)
	if err != nil {
		return nil, fmt.Errorf("make the directory of the version: %w", err)
	}
	defer os.RemoveAll(tmp)
	m := manifest{Runtime: def.Runtime, Handler: def.Handler, URL: def.URL}
	if t := transport(def); t != transport(runnel.Function{Runtime: def.Runtime}) {
		m.Transport = t
	}
	code := filepath.Join(tmp, codeDir)
	switch {
	case source != nil && def.Inline != "":
		err = &runnel.FieldError{Path: "inline", Err: errors.New("the code is in one place: there is an archive, or a source, too")}
	case source != nil && def.Runtime == runnel.RuntimeHTTP:
		err = &runnel.FieldError{Path: "runtime", Err: errors.New("http has no code here, only a url")}
	case def.Inline != "":
		m.Files, err = writeInline(def, code)
	case source != nil:
		m.Files, err = copySource(ctx, source, code)
	case def.Runtime == runnel.RuntimeHTTP:
		err = os.Mkdir(code, 0o755)
	default:
		err = &runnel.FieldError{Path: "source", Err: errors.New("is missing, and there is no inline code")}
	}
	if err != nil {
		return nil, err
	}
	m.Version = m.hash()
	final := filepath.Join(home, m.Version)
	if _, err := verify(final); err == nil {
		return &m, nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the version: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, manifestFile), text, 0o644); err != nil {
		return nil, fmt.Errorf("write the version: %w", err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, fmt.Errorf("write the version: %w", err)
	}
	if err := publish(tmp, final); err != nil {
		return nil, fmt.Errorf("write the version: %w", err)
	}
	// The function's directory, and its owner's, may be new too.
	for _, dir := range []string{filepath.Dir(home), filepath.Dir(filepath.Dir(home))} {
		if err := syncFile(dir); err != nil {
			return nil, fmt.Errorf("write the version: %w", err)
		}
	}
	return &m, nil
}

// verify reads the version in dir and returns an error unless all its files
// are there, as they were. Other files beside them do not matter.
func verify(dir string) (*manifest, error) {
	damaged := func(format string, args ...any) error { return damaged(dir, format, args...) }
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		name := filepath.Join(dir, codeDir, filepath.FromSlash(f.Name))
		if f.Link != "" {
			if to, err := os.Readlink(name); err != nil || to != filepath.FromSlash(f.Link) {
				return nil, damaged("%s is missing or changed", f.Name)
			}
			continue
		}
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size || info.Mode()&0o100 != 0 != f.Exec {
			return nil, damaged("%s is missing or changed", f.Name)
		}
		if sum, err := sumFile(name); err != nil || sum != f.Sum {
			return nil, damaged("%s is missing or changed", f.Name)
		}
	}
	return m, nil
}

// readManifest reads what the version in dir consists of.
func readManifest(dir string) (*manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, damaged(dir, "%s cannot be read", manifestFile)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil || m.hash() != filepath.Base(dir) {
		return nil, damaged(dir, "%s is not what was written", manifestFile)
	}
	return &m, nil
}

func damaged(dir, format string, args ...any) error {
	return runnel.Errorf(runnel.CodeUnavailable, "the code of version %s is damaged: %s: deploy it again", filepath.Base(dir), fmt.Sprintf(format, args...))
}

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// publish makes the directory tmp durable and gives it its final name. What
// has the name already is damaged, and is moved away.
func publish(tmp, final string) error {
	if err := syncTree(tmp); err != nil {
		return err
	}
	if _, err := os.Lstat(final); err == nil {
		away, err := os.MkdirTemp(filepath.Dir(final), unfinished)
		if err != nil {
			return err
		}
		defer os.RemoveAll(away)
		if err := os.Rename(final, filepath.Join(away, "old")); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	return syncFile(filepath.Dir(final))
}

// syncTree makes all files and directories below dir durable.
func syncTree(dir string) error {
	var group errgroup.Group
	group.SetLimit(16)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Type().IsRegular() {
			group.Go(func() error { return syncFile(name) })
		}
		return nil
	})
	if failed := group.Wait(); err == nil {
		err = failed
	}
	return err
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// relink makes a link called name to target, in place of the one that may be
// there.
func relink(target, name string) error {
	target, err := filepath.Rel(filepath.Dir(name), target)
	if err != nil {
		return err
	}
	if now, err := os.Readlink(name); err == nil && now == target {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(name), unfinished+filepath.Base(name))
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// digest is a short name for several texts.
func digest(texts ...[]byte) string {
	h := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(h, "%d\n", len(t))
		_, _ = io.Copy(h, bytes.NewReader(t))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
