package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel"
)

// node prepares a version in JavaScript: the dependencies of package.json
// become a directory node_modules beside the code, where Node looks for it
// too.
func (b *builder) node(ctx context.Context, def runnel.Function, j *job, dir string) (built, error) {
	node, err := b.interpreter(ctx, runnel.RuntimeNode)
	if err != nil {
		return built{}, err
	}
	j.log("Node.js " + node.Version + ", " + node.Path)
	out := built{visible: slices.Clone(node.Prefixes)}
	pkg, text, err := readPackage(filepath.Join(dir, codeDir))
	if err != nil {
		return built{}, err
	}
	if pkg.depends() {
		modules, err := b.modules(ctx, j, dir, node, pkg, text)
		if err != nil {
			return built{}, err
		}
		out.visible = append(out.visible, modules)
	}
	out.args = b.shims.Argv(runnel.RuntimeNode, node.Path)
	if def.Memory > 0 && len(out.args) > 0 {
		// A quarter is left for what is not on the heap of JavaScript.
		heap := max(int64(def.Memory)>>20*3/4, 16)
		out.args = slices.Insert(out.args, 1, "--max-old-space-size="+strconv.FormatInt(heap, 10))
	}
	return out, nil
}

// packageFile is what we read of package.json.
type packageFile struct {
	Dependencies         map[string]string `json:"dependencies"`
	DevDependencies      map[string]string `json:"devDependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	Scripts              map[string]string `json:"scripts"`
	Workspaces           json.RawMessage   `json:"workspaces"`
}

func readPackage(code string) (*packageFile, []byte, error) {
	text, err := os.ReadFile(filepath.Join(code, "package.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return &packageFile{}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read package.json: %w", err)
	}
	var p packageFile
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, nil, runnel.Errorf(runnel.CodeInvalid, "package.json: %v", err)
	}
	return &p, text, nil
}

func (p *packageFile) depends() bool {
	return len(p.Dependencies)+len(p.OptionalDependencies) > 0 || len(p.Workspaces) > 0
}

// local says whether npm reads, or runs, more of the source than package.json
// and its lock.
func (p *packageFile) local() bool {
	if len(p.Workspaces) > 0 {
		return true
	}
	for _, s := range []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"} {
		if p.Scripts[s] != "" {
			return true
		}
	}
	for _, deps := range []map[string]string{p.Dependencies, p.DevDependencies, p.OptionalDependencies} {
		for _, at := range deps {
			if strings.HasPrefix(at, ".") || strings.HasPrefix(at, "/") || strings.HasPrefix(at, "~/") ||
				strings.HasPrefix(at, "file:") || strings.HasPrefix(at, "link:") {
				return true
			}
		}
	}
	return false
}

// modules returns the directory that holds node_modules.
func (b *builder) modules(ctx context.Context, j *job, dir string, node *interpreter, pkg *packageFile, text []byte) (string, error) {
	npm := filepath.Join(filepath.Dir(node.Path), "npm")
	if _, err := os.Stat(npm); err != nil {
		if npm, err = exec.LookPath("npm"); err != nil {
			return "", runnel.Errorf(runnel.CodeInvalid, "package.json has dependencies, and npm was not found: %s", searches[runnel.RuntimeNode].install)
		}
	}
	code := filepath.Join(dir, codeDir)
	key := [][]byte{[]byte(node.Path), []byte(node.Version), text}
	files := []string{"package.json"}
	command := []string{npm, "install", "--no-audit", "--no-fund"}
	for _, name := range []string{"package-lock.json", "npm-shrinkwrap.json", ".npmrc"} {
		text, err := os.ReadFile(filepath.Join(code, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		key = append(key, []byte(name), text)
		files = append(files, name)
		if name != ".npmrc" {
			command[1] = "ci"
		}
	}
	local := pkg.local()
	if local {
		key = append(key, []byte(filepath.Base(dir)))
	}
	if command[1] != "ci" {
		j.log("there is no package-lock.json: npm install takes the newest versions that package.json allows")
	}
	at, err := b.cached(ctx, j, "node-"+digest(key...), func(ctx context.Context, tmp, _ string) error {
		if err := copyFiles(code, tmp, files, local); err != nil {
			return fmt.Errorf("copy the code for the build: %w", err)
		}
		step := Step{Dir: tmp, Args: []string{npm, "--version"}, Writable: []string{tmp}}
		if err := b.run(ctx, j, "npm --version", filepath.Dir(node.Path), step); err != nil {
			return err
		}
		step.Args = command
		if err := b.run(ctx, j, "npm "+command[1], filepath.Dir(node.Path), step); err != nil {
			return err
		}
		// There is none when all that is wanted is optional, and absent.
		return os.MkdirAll(filepath.Join(tmp, modulesLink), 0o755)
	})
	if err != nil {
		return "", err
	}
	if err := relink(filepath.Join(at, modulesLink), filepath.Join(dir, modulesLink)); err != nil {
		return "", fmt.Errorf("link node_modules: %w", err)
	}
	return at, nil
}

// copyFiles copies the files called names, or all.
func copyFiles(from, to string, names []string, all bool) error {
	if all {
		return os.CopyFS(to, os.DirFS(from))
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
