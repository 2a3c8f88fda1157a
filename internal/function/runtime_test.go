package function_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/function"
)

// noModules keeps builds of Go from the network.
func noModules(t *testing.T) {
	t.Helper()
	need(t, "go")
	t.Setenv("GOPROXY", "off")
}

func goFunction(name string) runnel.Function {
	return runnel.Function{Name: name, Runtime: runnel.RuntimeGo}
}

const goHello = "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"one\") }\n"

func TestGo(t *testing.T) {
	noModules(t)
	var log buildLog
	b := newBench(t)
	b.close()
	b.built = log.add
	b.open()
	files := map[string]string{
		"go.mod": "module example.com/x\n\ngo 1.21\n", "main.go": goHello, "lib/lib.go": "package lib\n\nconst Word = \"lib\"\n",
		"cmd/y/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/x/lib\"\n)\n\nfunc main() { fmt.Println(lib.Word) }\n",
		"sub/go.mod":    "module example.com/sub\n\ngo 1.21\n", "sub/z/main.go": strings.Replace(goHello, "one", "sub", 1),
		"bad/main.go": "package main\n\nfunc main() { return 1 }\n", "main_test.go": "package main\n",
	}
	for handler, want := range map[string]string{"": "one", "./cmd/y": "lib", "sub/z": "sub"} {
		def := goFunction("demo/go")
		def.Handler = handler
		d := b.deploy(def, tree(t, files))
		pools := b.runner.started()
		p := pools[len(pools)-1]
		if got := run(t, p); got != want {
			t.Errorf("%q: got %q, want %q", handler, got, want)
		}
		if got, want := p.Transport, runnel.TransportRuntimeAPI; got != want {
			t.Errorf("got the transport %s, want %s", got, want)
		}
		if !slices.Contains(p.Visible, filepath.Dir(p.Args[0])) {
			t.Errorf("got %q to read, want the program %s in it", p.Visible, p.Args[0])
		}
		if got, want := p.Version, d.Version; got != want {
			t.Errorf("got the version %s, want %s", got, want)
		}
	}
	before := log.text()
	if strings.Count(before, "$ ") != 3 || !strings.Contains(before, "go build -trimpath") {
		t.Errorf("got the build log %q, want three builds", before)
	}
	// Nothing is built twice, also after a restart.
	b.close()
	b.open()
	b.deploy(goFunction("demo/again"), tree(t, files))
	if log.text() != before {
		t.Errorf("the same sources were built again: %s", log.text())
	}
	live := b.runner.open()[0]
	for _, test := range []struct {
		name  string
		def   func(*runnel.Function)
		texts []string
	}{
		{"does not compile", func(f *runnel.Function) { f.Handler = "./bad" }, []string{"go build", "main.go:3"}},
		{"library", func(f *runnel.Function) { f.Handler = "./lib" }, []string{"package lib", "want a package main"}},
		{"none", func(f *runnel.Function) { f.Handler = "./no" }, []string{"there is no package ./no"}},
		{"outside", func(f *runnel.Function) { f.Handler = "../x" }, []string{"outside"}},
	} {
		def := goFunction("demo/again")
		test.def(&def)
		_, err := b.set.Deploy(t.Context(), def, tree(t, files))
		wantCode(t, err, runnel.CodeInvalid, test.texts...)
	}
	if got, want := run(t, live), "one"; got != want || len(b.runner.open()) != 1 {
		t.Errorf("got %q of %d pools after builds that failed, want %q of 1", got, len(b.runner.open()), want)
	}
}

func TestGoWithoutAModule(t *testing.T) {
	noModules(t)
	b := newBench(t)
	def := goFunction("demo/inline")
	def.Inline = goHello
	b.deploy(def, nil)
	if got, want := run(t, b.runner.started()[0]), "one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	def.Inline = strings.Replace(goHello, `import "fmt"`, "import \"fmt\"\nimport _ \"example.com/nowhere\"", 1)
	_, err := b.set.Deploy(t.Context(), def, nil)
	wantCode(t, err, runnel.CodeInvalid, "go build", "example.com/nowhere")
	// A workspace above is not theirs.
	if err := os.WriteFile(filepath.Join(b.dir, "go.work"), []byte("go 1.21\n\nuse ./elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.deploy(goFunction("demo/mod"), tree(t, map[string]string{"go.mod": "module x\n\ngo 1.21\n", "main.go": goHello}))
}

func TestNoGo(t *testing.T) {
	for program, texts := range map[string][]string{
		"":           {"go was not found", "install Go", "RUNNEL_GO", "runtime-api"},
		"/no/such":   {"/no/such was not found", "install Go"},
		"/bin/false": {"does not answer", "install Go"},
		"/bin/echo":  {"it is something else", "install Go"},
	} {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("RUNNEL_GO", program)
		b := newBench(t)
		_, err := b.set.Deploy(t.Context(), goFunction("demo/go"), tree(t, map[string]string{"main.go": goHello}))
		wantCode(t, err, runnel.CodeInvalid, texts...)
	}
}

// module is a WebAssembly module of sections.
func module(sections ...string) string {
	return "\x00asm\x01\x00\x00\x00" + strings.Join(sections, "")
}

// section is one section of fewer than 128 bytes.
func section(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }

func name(text string) string { return string([]byte{byte(len(text))}) + text }

var (
	startExport  = section(7, "\x01"+name("_start")+"\x00\x00")
	wasiImport   = section(2, "\x01"+name("wasi_snapshot_preview1")+name("fd_write")+"\x00\x00")
	strangeOne   = section(2, "\x02"+name("wasi_snapshot_preview1")+name("fd_write")+"\x00\x00"+name("env")+name("abort")+"\x00\x00")
	memoryImport = section(2, "\x01"+name("wasi_snapshot_preview1")+name("memory")+"\x02\x00\x01")
)

func TestWASM(t *testing.T) {
	noModules(t)
	b := newBench(t)
	def := runnel.Function{Name: "demo/wasm", Runtime: runnel.RuntimeWASM}
	_, err := b.set.Deploy(t.Context(), def, tree(t, map[string]string{"main.wasm": module(startExport)}))
	wantCode(t, err, runnel.CodeUnsupported, "cannot run wasm")
	b.close()
	// A program that compiles everything, into nothing.
	program := filepath.Join(t.TempDir(), "wasm")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$@\" in \"$RUNNEL_WASM_CACHE\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.options = func(o *function.Options) { o.Shims.WASM = []string{program, "-x"} }
	b.open()

	// A real one.
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.go": goHello})
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", "main.wasm", "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	source, err := function.Source(filepath.Join(dir, "main.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	b.deploy(def, source)
	p := b.runner.started()[0]
	if got, want := p.Args, []string{program, "-x", filepath.Join(p.Dir, "main.wasm")}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	for _, test := range []struct{ name, module, text string }{
		{"command", module(wasiImport, startExport), ""},
		{"reactor", module(section(7, "\x01"+name("_initialize")+"\x00\x00")), ""},
		{"custom sections", module(section(0, name("x")+"y"), startExport), ""},
		{"text", "(module)", "is not a WebAssembly module"},
		{"nothing", "", "is not a WebAssembly module"},
		{"component", "\x00asm\x0d\x00\x01\x00", "is a WebAssembly component"},
		{"future", "\x00asm\x02\x00\x00\x00", "of a version"},
		{"an import that is not served", module(strangeOne, startExport), `imports "abort" of "env", which is not served`},
		{"a memory", module(memoryImport, startExport), `imports "memory"`},
		{"no start", module(wasiImport), "neither _start nor _initialize"},
		{"cut off", module(wasiImport)[:20], "in the middle"},
		{"a size that lies", module(section(7, "\x7f"+name("a"))), "in the middle"},
		{"a number without end", module("\x07\xff\xff\xff\xff\xff\xff"), "in the middle"},
	} {
		_, err := b.set.Deploy(t.Context(), def, fstest.MapFS{"main.wasm": {Data: []byte(test.module)}})
		if test.text == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		wantCode(t, err, runnel.CodeInvalid, "handler: main.wasm", test.text)
	}
	for handler, text := range map[string]string{"no.wasm": "there is no module no.wasm", "../x.wasm": "outside"} {
		def.Handler = handler
		_, err = b.set.Deploy(t.Context(), def, fstest.MapFS{"main.wasm": {Data: []byte(module(startExport))}})
		wantCode(t, err, runnel.CodeInvalid, text)
	}
}

func FuzzModule(f *testing.F) {
	for _, seed := range []string{module(wasiImport, startExport), module(strangeOne), "\x00asm", module("\x02\xff\xff\xff\xff\x0f\xff\xff\xff\xff\x0f")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		_ = function.CheckModule(bytes.NewReader(text)) // neither panics nor takes long
	})
}

func TestHTTP(t *testing.T) {
	b := newBench(t)
	def := runnel.Function{Name: "demo/http", Runtime: runnel.RuntimeHTTP, URL: "https://one.example/score"}
	first := b.deploy(def, nil)
	p := b.runner.started()[0]
	if got, want := p.URL, def.URL; got != want || len(p.Args) != 0 {
		t.Errorf("got the endpoint %s and the program %q, want %s and none", got, p.Args, want)
	}
	if again := b.deploy(def, nil); again.Changed {
		t.Errorf("got %+v, want no change", again)
	}
	def.URL = "https://two.example/score"
	if second := b.deploy(def, nil); second.Version == first.Version {
		t.Error("another endpoint is the same version")
	}
	// The endpoint is the version's.
	old := b.acquire("demo/http@" + first.Version)
	old.Release()
	pools := b.runner.started()
	if got, want := pools[len(pools)-1].URL, "https://one.example/score"; got != want {
		t.Errorf("got %s of the first version, want %s", got, want)
	}
	b.close()
	b.open()
	b.call("demo/http")
	_, err := b.set.Deploy(t.Context(), def, code("one"))
	wantFault(t, err, "runtime", "no code here")
}

// wantFault looks for one fault of a definition.
func wantFault(t *testing.T, err error, path, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %s: %s", err, path, text)
	}
}

func TestInline(t *testing.T) {
	need(t, "python3", "node")
	b := newBench(t)
	for _, def := range []runnel.Function{
		{Name: "demo/python", Runtime: runnel.RuntimePython, Inline: "def handler(event):\n    return 'python'\n"},
		{Name: "demo/node", Runtime: runnel.RuntimeNode, Inline: "exports.handler = () => 'node'\n"},
		{Name: "demo/exec", Runtime: runnel.RuntimeExec, Handler: "bin/worker -v", Inline: "#!/bin/sh\necho exec $1\n"},
	} {
		b.deploy(def, nil)
		if again := b.deploy(def, nil); again.Changed {
			t.Errorf("%s: got %+v, want no change", def.Name, again)
		}
	}
	pools := b.runner.started()
	if got, want := run(t, pools[0], "-c", "import main; print(main.handler(0))"), "python"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := run(t, pools[1], "-e", "console.log(require('./index.js').handler())"), "node"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := run(t, pools[2], pools[2].Args[1:]...), "exec -v"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, test := range []struct {
		def  runnel.Function
		path string
		text string
	}{
		{runnel.Function{Runtime: runnel.RuntimeExec, Handler: "./w", Inline: "echo"}, "inline", "#!/bin/sh"},
		{runnel.Function{Runtime: runnel.RuntimeExec, Handler: "../w", Inline: "#!/bin/sh\n"}, "handler", "cannot be the name"},
		{runnel.Function{Runtime: runnel.RuntimeExec, Handler: "/bin/w", Inline: "#!/bin/sh\n"}, "handler", "cannot be the name"},
		{runnel.Function{Runtime: runnel.RuntimePython}, "source", "is missing"},
	} {
		test.def.Name = "demo/bad"
		_, err := b.set.Deploy(t.Context(), test.def, nil)
		wantFault(t, err, test.path, test.text)
	}
	_, err := b.set.Deploy(t.Context(), runnel.Function{Name: "demo/bad", Runtime: runnel.RuntimePython, Inline: "x"}, code("one"))
	wantFault(t, err, "inline", "one place")
}

// TestProject has what pyproject.toml says of dependencies.
func TestProject(t *testing.T) {
	need(t, "python3")
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
	// A package to depend on, which no index has.
	wheels := t.TempDir()
	write(t, wheels, map[string]string{"backend.py": backend, "tiny.py": "answer = 'wheel'\ndef main(): pass\n"})
	cmd := exec.CommandContext(t.Context(), "python3", "-c", "import backend; backend.build_wheel('.')")
	cmd.Dir = wheels
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PIP_FIND_LINKS", wheels)
	const system = "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"
	b := newBench(t)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // what tiny.answer is; empty: there is no tiny
		log   string
	}{
		{"dependencies", map[string]string{"pyproject.toml": "[project]\nname = \"f\"\nversion = \"1\"\ndependencies = [\n  \"tiny >= 1\", # that one\n]\n"}, "wheel", "install"},
		{"a lock that pip does not read", map[string]string{"pyproject.toml": "[project]\nname = \"f\"\ndependencies = [\"tiny\"]\n", "uv.lock": "x"}, "wheel", "uv.lock is not read by pip: for the versions in it, uv export"},
		{"a project that is built", map[string]string{"pyproject.toml": system + "[project]\nname = \"tiny\"\nversion = \"1.0\"\n", "backend.py": backend, "tiny.py": "answer = 'built'\n"}, "built", "--no-input ."},
		{"no dependencies", map[string]string{"pyproject.toml": "[tool.black]\nline-length = 100\n"}, "", "Python "},
		{"requirements.txt wins", map[string]string{"pyproject.toml": "not TOML", "requirements.txt": "# nothing\n"}, "", "pyproject.toml is not read"},
	} {
		test.files["main.py"] = ""
		d := b.deploy(python("demo/project"), tree(t, test.files))
		pools := b.runner.started()
		p := pools[len(pools)-1]
		got := run(t, p, "-c", "try:\n    import tiny; print(tiny.answer)\nexcept ImportError: print()")
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if log := b.buildLog("demo/project", d.Build); !strings.Contains(log, test.log) || !strings.Contains(log, "Python 3.") {
			t.Errorf("%s: got the log %q, want %q in it", test.name, log, test.log)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"[project", "pyproject.toml: "},
		{"[project]\nname = \"f\"\ndynamic = [\"dependencies\"]\n", "there is no [build-system]"},
		{"[tool.poetry.dependencies]\npython = \"^3.11\"\ntiny = \"*\"\n", "there is no [build-system]"},
		{"[project]\nname = \"f\"\ndependencies = [\"-r x\"]\n", "is none"},
		{"[project]\nname = \"f\"\ndependencies = [\"no-such-thing\"]\n", "no-such-thing"},
	} {
		_, err := b.set.Deploy(t.Context(), python("demo/project"), tree(t, map[string]string{"main.py": "", "pyproject.toml": test.text}))
		wantCode(t, err, runnel.CodeInvalid, test.want)
	}
}

// buildLog returns the log of a build.
func (b *bench) buildLog(name, id string) string {
	b.t.Helper()
	var text strings.Builder
	if err := b.set.BuildLog(b.t.Context(), name, id, false, func(line string) error {
		text.WriteString(line + "\n")
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	return text.String()
}
