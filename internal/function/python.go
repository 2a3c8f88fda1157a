package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// python prepares a version in Python: requirements.txt becomes a virtual
// environment.
func (b *builder) python(ctx context.Context, def runnel.Function, dir string) (built, error) {
	python, err := b.interpreter(ctx, runnel.RuntimePython)
	if err != nil {
		return built{}, err
	}
	out := built{
		// The files of a version stay as they were deployed. Its workers
		// flush after each call, so that buffering costs no line.
		env:     []string{"PYTHONDONTWRITEBYTECODE=1"},
		visible: slices.Clone(python.Prefixes),
	}
	path := python.Path
	text, err := os.ReadFile(filepath.Join(dir, codeDir, "requirements.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return built{}, fmt.Errorf("read requirements.txt: %w", err)
	}
	needs := requirements(text)
	if len(needs) > 0 {
		venv, err := b.venv(ctx, def.Name, dir, python, text, needs)
		if err != nil {
			return built{}, err
		}
		path = filepath.Join(venv, "bin", "python")
		out.env = append(out.env, "VIRTUAL_ENV="+venv)
		out.visible = append(out.visible, venv)
	}
	out.args = b.shims.Argv(runnel.RuntimePython, path)
	return out, nil
}

// venv returns the virtual environment for the requirements.
func (b *builder) venv(ctx context.Context, function, dir string, python *interpreter, text []byte, needs []string) (string, error) {
	key := [][]byte{text, []byte(python.Path), []byte(python.Version)}
	local := false
	for _, n := range needs {
		if strings.HasPrefix(n, "-e") || strings.HasPrefix(n, "--editable") {
			return "", runnel.Errorf(runnel.CodeInvalid, "requirements.txt: %q: a version cannot change, so nothing in it can be edited: leave out -e", n)
		}
		local = local || !remote(n)
	}
	if local {
		// It is made from the code itself, so it is for this code only.
		key = append(key, []byte(filepath.Base(dir)))
	}
	venv, err := b.cached(ctx, "venv-"+digest(key...), func(ctx context.Context, tmp, final string) error {
		from := filepath.Join(dir, codeDir)
		if local {
			// What pip builds it builds beside the sources.
			var err error
			if from, err = b.scratch(from); err != nil {
				return err
			}
			defer os.RemoveAll(from)
		}
		// -I: the modules of the function are not those of venv and pip.
		if err := b.run(ctx, function, from, "make the virtual environment", python, python.Path, "-I", "-m", "venv", tmp); err != nil {
			return err
		}
		err := b.run(ctx, function, from, "install requirements.txt", python, filepath.Join(tmp, "bin", "python"),
			"-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement", "requirements.txt")
		if err != nil {
			return err
		}
		return moveScripts(tmp, final)
	})
	if err != nil {
		return "", err
	}
	if err := relink(venv, filepath.Join(dir, venvLink)); err != nil {
		return "", fmt.Errorf("link the virtual environment: %w", err)
	}
	return venv, nil
}

// scratch copies a version's code to where builds may write.
func (b *builder) scratch(code string) (string, error) {
	to, err := os.MkdirTemp(b.cache, unfinished)
	if err != nil {
		return "", fmt.Errorf("make the directory of the build: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(code)); err != nil {
		return "", errors.Join(fmt.Errorf("copy the code for the build: %w", err), os.RemoveAll(to))
	}
	return to, nil
}

// requirements returns the lines of requirements.txt that say something.
func requirements(text []byte) []string {
	text = bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))
	whole := strings.NewReplacer("\\\r\n", " ", "\\\n", " ").Replace(string(text))
	var needs []string
	for line := range strings.Lines(whole) {
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			needs = append(needs, line)
		}
	}
	return needs
}

var (
	// named requirements are found in an index, or at an address.
	namedRequirement = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^]]*\])?\s*([<>=!~;(].*|@\s*(https?|git\+https?|git\+ssh)://.*|--.*)?$`)
	archive          = regexp.MustCompile(`\.(whl|zip|tar|tgz|tbz|txz|gz|bz2|xz)\b`)
	// indexOption are the options that name no file of the source.
	indexOption = regexp.MustCompile(`^(-i|--index-url|--extra-index-url|--no-index|--pre|--no-binary|--only-binary|--prefer-binary|--require-hashes|--trusted-host|--use-feature)\b`)
)

// remote says whether a line of requirements.txt means the same in every
// source. A wrong no costs a build, a wrong yes runs old code.
func remote(line string) bool {
	if line[0] == '-' {
		return indexOption.MatchString(line)
	}
	name, _, _ := strings.Cut(line, "@")
	return namedRequirement.MatchString(line) && !archive.MatchString(name)
}

// moveScripts makes the programs of a virtual environment name the interpreter
// where it will be. Everything else in one finds itself.
func moveScripts(venv, final string) error {
	bin := filepath.Join(venv, "bin")
	entries, err := os.ReadDir(bin)
	if err != nil {
		return fmt.Errorf("finish the virtual environment: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(bin, e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("finish the virtual environment: %w", err)
		}
		moved := bytes.ReplaceAll(text, []byte(venv), []byte(final))
		if bytes.IndexByte(text, 0) >= 0 || bytes.Equal(moved, text) {
			continue
		}
		if err := os.WriteFile(name, moved, 0o755); err != nil {
			return fmt.Errorf("finish the virtual environment: %w", err)
		}
	}
	return nil
}
