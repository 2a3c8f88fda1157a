package function_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// need skips a test for which a program is missing; not in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", p)
			}
			t.Skipf("%s is missing", p)
		}
	}
}

// buildLog collects the lines of builds.
type buildLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *buildLog) add(function, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, function+": "+line)
}

func (l *buildLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// run starts the interpreter of a program as its workers would be, but on a
// script of the test.
func run(t *testing.T, p *pool, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.Args[0], args...)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func python(name string) runnel.Function {
	return runnel.Function{Name: name, Runtime: runnel.RuntimePython}
}

// backend is a whole build backend, so that pip needs nothing from an index.
const backend = `
import os, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    print("building the wheel")
    name = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as z:
        z.write("tiny.py")
        z.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        z.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr("tiny-1.0.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        z.writestr("tiny-1.0.dist-info/RECORD", "")
    open("left-behind", "w").close()
    return name
`

func pythonCode(answer string) map[string]string {
	return map[string]string{
		"logging.py":         "raise ImportError('this is no module of pip')\n",
		"main.py":            "import tiny\ndef handler(event): return tiny.answer\n",
		"requirements.txt":   "# what it needs\n./pkg\n",
		"pkg/pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n[project]\nname = \"tiny\"\nversion = \"1.0\"\n",
		"pkg/backend.py":     backend,
		"pkg/tiny.py":        "answer = '" + answer + "'\ndef main(): print('main', answer)\n",
	}
}

func TestPythonRequirements(t *testing.T) {
	need(t, "python3")
	t.Setenv("PIP_NO_INDEX", "1")
	var log buildLog
	b := newBench(t)
	b.close()
	b.built = log.add
	b.open()

	b.deploy(python("demo/one"), tree(t, pythonCode("one")))
	first := b.runner.started()[0]
	if got, want := run(t, first, "-c", "import main; print(main.handler(0))"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	venv := filepath.Dir(filepath.Dir(first.Args[0]))
	if !slices.Contains(first.Env, "VIRTUAL_ENV="+venv) || !slices.Contains(first.Visible, venv) || filepath.Dir(venv) != filepath.Join(b.dir, "cache") {
		t.Errorf("got the environment %q and %q to read, want the virtual environment %s in both", first.Env, first.Visible, venv)
	}
	if got, want := first.Args[1], "/shims/python"; got != want {
		t.Errorf("got the shim %q, want %q", got, want)
	}
	// A program of a package starts where it is now.
	tiny, err := exec.CommandContext(t.Context(), filepath.Join(venv, "bin", "tiny")).CombinedOutput()
	if got, want := strings.TrimSpace(string(tiny)), "main one"; err != nil || got != want {
		t.Errorf("got %q, %v of a program, want %q", got, err, want)
	}
	if text := log.text(); !strings.Contains(text, "demo/one: ") || !strings.Contains(text, "tiny") {
		t.Errorf("got the build log %q", text)
	}
	if _, err := os.Stat(filepath.Join(first.Dir, "pkg", "left-behind")); err == nil {
		t.Error("the build wrote into the version")
	}

	// The same code in another function needs no build.
	before := log.text()
	b.deploy(python("demo/two"), tree(t, pythonCode("one")))
	if got, want := b.runner.started()[1].Args[0], first.Args[0]; got != want || log.text() != before {
		t.Errorf("got %s, want %s without a build", got, want)
	}
	// Another package behind the same line does.
	b.deploy(python("demo/two"), tree(t, pythonCode("two")))
	if got, want := run(t, b.runner.started()[2], "-c", "import main; print(main.handler(0))"), "two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// A build that fails says why, and leaves nothing.
	bad := pythonCode("three")
	bad["pkg/backend.py"] = "raise ImportError('no such backend here')\n"
	_, err = b.set.Deploy(t.Context(), python("demo/two"), tree(t, bad))
	wantCode(t, err, runnel.CodeInvalid, "install requirements.txt", "no such backend here")
	if got, err := filepath.Glob(filepath.Join(b.dir, "cache", "venv-*")); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v in the cache, want the two that were built", got, err)
	}
	if got := len(b.runner.started()); got != 3 {
		t.Errorf("got %d pools, want 3", got)
	}

	// After a restart it is all there; what was removed is built again.
	b.close()
	if err := os.RemoveAll(venv); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.call("demo/one")
	pools := b.runner.started()
	if got, want := run(t, pools[len(pools)-1], "-c", "import main; print(main.handler(0))"), "one"; got != want {
		t.Errorf("got %q after a restart, want %q", got, want)
	}

	// An environment that nobody needs goes, after a while. The other one is
	// still young.
	long := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(venv, long, long); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo/one", "demo/two"} {
		if err := b.set.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	b.close()
	b.open()
	if _, err := os.Stat(venv); err == nil {
		t.Error("the environment of a deleted function stayed")
	}
	if got, err := filepath.Glob(filepath.Join(b.dir, "cache", "venv-*")); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v in the cache, want the young one", got, err)
	}
}

func TestPythonWithoutRequirements(t *testing.T) {
	need(t, "python3")
	for _, text := range []string{"", "\n  # nothing yet\n\n"} {
		b := newBench(t)
		b.deploy(python("demo/plain"), tree(t, map[string]string{"main.py": "x = 1\n", "requirements.txt": text}))
		p := b.runner.started()[0]
		if got, want := run(t, p, "-c", "import sys; print(sys.executable, sys.prefix == sys.base_prefix)"), p.Args[0]+" True"; got != want {
			t.Errorf("%q: got %q, want %q: the interpreter itself", text, got, want)
		}
		if !slices.Contains(p.Env, "RUNNEL_HANDLER=main.handler") {
			t.Errorf("got the environment %q, want the default handler in it", p.Env)
		}
	}
}

func TestEditableRequirementIsRefused(t *testing.T) {
	need(t, "python3")
	b := newBench(t)
	_, err := b.set.Deploy(t.Context(), python("demo/plain"), tree(t, map[string]string{"main.py": "", "requirements.txt": "-e ./pkg\n"}))
	wantCode(t, err, runnel.CodeInvalid, "-e ./pkg")
}

func TestMissingInterpreter(t *testing.T) {
	for _, test := range []struct {
		name     string
		runtime  runnel.Runtime
		variable string
		texts    []string
	}{
		{"none", runnel.RuntimePython, "", []string{"python3 was not found", "python was not found", "install Python", "RUNNEL_PYTHON"}},
		{"named", runnel.RuntimePython, "/no/such/python", []string{"/no/such/python was not found", "install Python"}},
		{"something else", runnel.RuntimePython, "/bin/echo", []string{"/bin/echo does not answer", "install Python"}},
		{"node", runnel.RuntimeNode, "", []string{"node was not found", "install Node.js", "RUNNEL_NODE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir())
			t.Setenv("RUNNEL_PYTHON", test.variable)
			t.Setenv("RUNNEL_NODE", "")
			b := newBench(t)
			def := runnel.Function{Name: "demo/x", Runtime: test.runtime}
			_, err := b.set.Deploy(t.Context(), def, tree(t, map[string]string{"main.py": "", "index.js": ""}))
			wantCode(t, err, runnel.CodeInvalid, test.texts...)
		})
	}
}

func nodeCode(answer string) map[string]string {
	return map[string]string{
		"index.js":         "exports.handler = () => require('tiny')\n",
		"esm.mjs":          "import tiny from 'tiny'; console.log('esm', tiny)\n",
		"package.json":     `{"name": "x", "version": "1.0.0", "dependencies": {"tiny": "file:./pkg"}}`,
		"pkg/package.json": `{"name": "tiny", "version": "1.0.0", "main": "tiny.js"}`,
		"pkg/tiny.js":      "module.exports = '" + answer + "'\n",
	}
}

func TestNodeDependencies(t *testing.T) {
	need(t, "node", "npm")
	t.Setenv("NPM_CONFIG_OFFLINE", "true")
	t.Setenv("NPM_CONFIG_CACHE", t.TempDir())
	var log buildLog
	b := newBench(t)
	b.close()
	b.built = log.add
	b.open()
	def := runnel.Function{Name: "demo/node", Runtime: runnel.RuntimeNode, Memory: 256 << 20}
	b.deploy(def, tree(t, nodeCode("one")))
	p := b.runner.started()[0]
	if got, want := run(t, p, "-e", "console.log(require('./index.js').handler())"), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := run(t, p, "esm.mjs"), "esm one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := p.Args[1:], []string{"--max-old-space-size=192", "/shims/node"}; !slices.Equal(got, want) {
		t.Errorf("got the arguments %q, want %q", got, want)
	}
	if !slices.Contains(p.Env, "RUNNEL_HANDLER=index.handler") {
		t.Errorf("got the environment %q, want the default handler in it", p.Env)
	}

	before := log.text()
	if before == "" {
		t.Error("the build log is empty")
	}
	def.Name = "demo/node2"
	b.deploy(def, tree(t, nodeCode("one")))
	if log.text() != before {
		t.Error("the same code was built again")
	}
	// With a lock, and another package behind the same line.
	locked := nodeCode("two")
	locked["package-lock.json"] = `{"name": "x", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {
		"": {"name": "x", "version": "1.0.0", "dependencies": {"tiny": "file:./pkg"}},
		"node_modules/tiny": {"resolved": "pkg", "link": true}, "pkg": {"name": "tiny", "version": "1.0.0"}}}`
	b.deploy(def, tree(t, locked))
	p = b.runner.started()[2]
	if got, want := run(t, p, "-e", "console.log(require('./index.js').handler())"), "two"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	delete(locked, "pkg/package.json")
	delete(locked, "pkg/tiny.js")
	locked["package.json"] = `{"name": "x", "version": "1.0.0", "dependencies": {"tiny": "file:./pkg", "other": "1.0.0"}}`
	_, err := b.set.Deploy(t.Context(), def, tree(t, locked))
	wantCode(t, err, runnel.CodeInvalid, "npm ci", "other")
	if got, err := filepath.Glob(filepath.Join(b.dir, "cache", "node-*")); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v in the cache, want the two that were built", got, err)
	}
	locked["package.json"] = `{"dependencies": [`
	_, err = b.set.Deploy(t.Context(), def, tree(t, locked))
	wantCode(t, err, runnel.CodeInvalid, "package.json")
}

func TestNodeWithoutDependencies(t *testing.T) {
	need(t, "node")
	b := newBench(t)
	def := runnel.Function{Name: "demo/node", Runtime: runnel.RuntimeNode}
	b.deploy(def, tree(t, map[string]string{"index.js": "", "package.json": `{"type": "module"}`}))
	p := b.runner.started()[0]
	if got, want := p.Args[1:], []string{"/shims/node"}; !slices.Equal(got, want) {
		t.Errorf("got the arguments %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "cache")); err == nil {
		t.Error("something was built")
	}
}

// A build sees what it needs of our environment, and no secrets in it.
func TestBuildEnvironment(t *testing.T) {
	need(t, "python3")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("https_proxy", "http://127.0.0.1:9")
	files := pythonCode("one")
	files["pkg/backend.py"] = "import os\nraise ImportError(' '.join(sorted(os.environ)))\n"
	b := newBench(t)
	def := python("demo/env")
	def.Env = map[string]string{"TOKEN": "hunter2-hunter2"}
	_, err := b.set.Deploy(t.Context(), def, tree(t, files))
	wantCode(t, err, runnel.CodeInvalid, "PATH", "PIP_NO_INDEX", "https_proxy")
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "TOKEN"} {
		if strings.Contains(err.Error(), name) {
			t.Errorf("got %q, want no %s in it", err, name)
		}
	}
}

var _ function.Pool = (*pool)(nil)
