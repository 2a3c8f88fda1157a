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

	"github.com/BurntSushi/toml"

	"github.com/runnel-io/runnel"
)

// python prepares a version in Python: what it needs becomes a virtual
// environment.
func (b *builder) python(ctx context.Context, j *job, dir string) (built, error) {
	python, err := b.interpreter(ctx, runnel.RuntimePython)
	if err != nil {
		return built{}, err
	}
	j.log("Python " + python.Version + ", " + python.Path)
	out := built{
		// The files of a version stay as they were deployed. Its workers
		// flush after each call, so that buffering costs no line.
		env:     []string{"PYTHONDONTWRITEBYTECODE=1"},
		visible: slices.Clone(python.Prefixes),
	}
	path := python.Path
	needs, err := pythonNeeds(filepath.Join(dir, codeDir), j)
	if err != nil {
		return built{}, err
	}
	if needs != nil {
		venv, err := b.venv(ctx, j, dir, python, needs)
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

// needed is what pip is told to install.
type needed struct {
	// from names the file that says so.
	from string
	// args are pip's; file, if it is not empty, is what a file of requirements
	// says that is named after them.
	args []string
	file string
	// texts are what makes the environment another one.
	texts [][]byte
	// local says that more of the source counts than these.
	local bool
}

// pythonNeeds reads requirements.txt, or else pyproject.toml; nil where
// nothing is needed.
func pythonNeeds(code string, j *job) (*needed, error) {
	project, err := os.ReadFile(filepath.Join(code, "pyproject.toml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read pyproject.toml: %w", err)
	}
	isProject := err == nil
	text, err := os.ReadFile(filepath.Join(code, "requirements.txt"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && isProject:
		return projectNeeds(code, project, j)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // nothing
	case err != nil:
		return nil, fmt.Errorf("read requirements.txt: %w", err)
	}
	if isProject {
		j.log("requirements.txt says what is needed: pyproject.toml is not read")
	}
	lines := requirements(text)
	if len(lines) == 0 {
		return nil, nil //nolint:nilnil // nothing
	}
	n := &needed{from: "requirements.txt", args: []string{"--requirement", "requirements.txt"}, texts: [][]byte{text}}
	for _, line := range lines {
		if strings.HasPrefix(line, "-e") || strings.HasPrefix(line, "--editable") {
			return nil, runnel.Errorf(runnel.CodeInvalid, "requirements.txt: %q: a version cannot change, so nothing in it can be edited: leave out -e", line)
		}
		n.local = n.local || !remote(line)
	}
	return n, nil
}

// pythonLocks are files that pip does not read. A change of one installs
// anew all the same: who made it wants other versions.
var pythonLocks = []struct{ name, export string }{
	{"uv.lock", "uv export --format requirements-txt > requirements.txt"},
	{"poetry.lock", "poetry export --output requirements.txt"},
	{"pdm.lock", "pdm export --output requirements.txt"},
	{"pylock.toml", ""},
}

// projectNeeds reads pyproject.toml. A project that says how it is built is
// installed, with its dependencies; of any other one only these are.
func projectNeeds(code string, text []byte, j *job) (*needed, error) {
	var p struct {
		BuildSystem map[string]any `toml:"build-system"`
		Project     struct {
			Dependencies []string
			Dynamic      []string
		}
		Tool struct {
			Poetry map[string]any
		}
	}
	if err := toml.Unmarshal(text, &p); err != nil {
		return nil, runnel.Errorf(runnel.CodeInvalid, "pyproject.toml: %v", err)
	}
	n := &needed{from: "pyproject.toml", texts: [][]byte{[]byte("pyproject"), text}}
	switch {
	case p.BuildSystem != nil:
		n.args, n.local = []string{"."}, true
	case slices.Contains(p.Project.Dynamic, "dependencies"), p.Tool.Poetry["dependencies"] != nil && len(p.Project.Dependencies) == 0:
		return nil, runnel.Errorf(runnel.CodeInvalid,
			"pyproject.toml: the dependencies are not in [project], and there is no [build-system] that knows them: add one, or a requirements.txt")
	case len(p.Project.Dependencies) == 0:
		return nil, nil //nolint:nilnil // nothing
	default:
		n.args, n.file = []string{"--requirement"}, strings.Join(p.Project.Dependencies, "\n")+"\n"
		for _, line := range p.Project.Dependencies {
			if line = strings.TrimSpace(line); line == "" || line[0] == '-' || strings.ContainsAny(line, "\r\n") {
				return nil, runnel.Errorf(runnel.CodeInvalid, "pyproject.toml: the dependency %q is none", line)
			}
			n.local = n.local || !remote(line)
		}
	}
	for _, lock := range pythonLocks {
		text, err := os.ReadFile(filepath.Join(code, lock.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", lock.name, err)
		}
		n.texts = append(n.texts, []byte(lock.name), text)
		hint := ""
		if lock.export != "" {
			hint = ": for the versions in it, " + lock.export
		}
		j.log(lock.name + " is not read by pip" + hint)
	}
	return n, nil
}

// venv returns the virtual environment with what is needed.
func (b *builder) venv(ctx context.Context, j *job, dir string, python *interpreter, needs *needed) (string, error) {
	key := append(slices.Clone(needs.texts), []byte(python.Path), []byte(python.Version))
	if needs.local {
		// It is made from the code itself, so it is for this code only.
		key = append(key, []byte(filepath.Base(dir)))
	}
	venv, err := b.cached(ctx, j, "venv-"+digest(key...), func(ctx context.Context, tmp, final string) error {
		step := Step{Dir: filepath.Join(dir, codeDir), Writable: []string{tmp}}
		if needs.local {
			// What pip builds it builds beside the sources.
			from, err := b.scratch(step.Dir)
			if err != nil {
				return err
			}
			defer os.RemoveAll(from)
			step.Dir, step.Writable = from, append(step.Writable, from)
		} else {
			step.Readable = []string{step.Dir}
		}
		// -I: the modules of the function are not those of venv and pip.
		step.Args = []string{python.Path, "-I", "-m", "venv", tmp}
		if err := b.run(ctx, j, "make the virtual environment", filepath.Dir(python.Path), step); err != nil {
			return err
		}
		args := needs.args
		if needs.file != "" {
			list := filepath.Join(tmp, "requirements.txt")
			if err := os.WriteFile(list, []byte(needs.file), 0o644); err != nil {
				return fmt.Errorf("write what is needed: %w", err)
			}
			args = append(slices.Clip(args), list)
		}
		step.Args = append([]string{filepath.Join(tmp, "bin", "python"), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"}, args...)
		if err := b.run(ctx, j, "install "+needs.from, filepath.Dir(python.Path), step); err != nil {
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
