package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// goTool is an installed Go.
type goTool struct {
	// path is the program, version as in "go1.26.0".
	path, version string
}

// oldestGo is the oldest minor version of Go 1 that will do: from it on
// GOTOOLCHAIN says that no other one is fetched.
const oldestGo = 21

var goVersion = regexp.MustCompile(`^go1\.([0-9]+)`)

// goTool returns the Go to build with. It is looked for until it was found
// once.
func (b *builder) goTool(ctx context.Context) (*goTool, error) {
	b.mu.Lock()
	found := b.goes
	b.mu.Unlock()
	if found != nil {
		return found, nil
	}
	program := os.Getenv("RUNNEL_GO")
	if program == "" {
		program = "go"
	}
	const install = "install Go 1.21 or later (https://go.dev/dl; on Debian and Ubuntu: apt install golang-go; on macOS: brew install go), " +
		"or set RUNNEL_GO to the path of one; a program that is built already needs none: it is of runtime exec, with transport: runtime-api"
	found, err := askGo(ctx, program)
	switch {
	case err == nil:
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, runnel.Errorf(runnel.CodeInvalid, "runtime go: %s was not found: %s", program, install)
	default:
		return nil, runnel.Errorf(runnel.CodeInvalid, "runtime go: %s does not answer: %v: %s", program, err, install)
	}
	m := goVersion.FindStringSubmatch(found.version)
	if m != nil {
		if minor, err := strconv.Atoi(m[1]); err == nil && minor < oldestGo {
			return nil, runnel.Errorf(runnel.CodeInvalid, "runtime go: %s is too old: %s: %s", program, found.version, install)
		}
	}
	b.mu.Lock()
	b.goes = found
	b.mu.Unlock()
	return found, nil
}

func askGo(ctx context.Context, program string) (*goTool, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "env", "-json", "GOROOT", "GOVERSION")
	cmd.Dir = os.TempDir() // not in a module of somebody's, which could want another Go
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "PWD="+cmd.Dir)
	cmd.WaitDelay = 5 * time.Second
	text, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var answer struct{ GOROOT, GOVERSION string }
	if err := json.Unmarshal(text, &answer); err != nil || answer.GOROOT == "" {
		return nil, errors.New("it is something else")
	}
	at := &goTool{path: filepath.Join(answer.GOROOT, "bin", "go"), version: answer.GOVERSION}
	if _, err := os.Stat(at.path); err != nil {
		at.path = path
	}
	return at, nil
}

// golang prepares a version in Go: the package of the handler becomes a
// program.
func (b *builder) golang(ctx context.Context, def runnel.Function, j *job, dir string) (built, error) {
	// What was built runs, whatever has become of the Go that built it.
	if at, err := filepath.EvalSymlinks(filepath.Join(dir, binaryLink)); err == nil {
		if info, err := os.Stat(filepath.Join(at, goBinary)); err == nil && info.Mode()&0o111 != 0 {
			return built{args: []string{filepath.Join(at, goBinary)}, visible: []string{at}}, nil
		}
	}
	tool, err := b.goTool(ctx)
	if err != nil {
		return built{}, err
	}
	j.log("Go " + strings.TrimPrefix(tool.version, "go") + " for " + runtime.GOOS + "/" + runtime.GOARCH + ", " + tool.path)
	code := filepath.Join(dir, codeDir)
	pkg, err := goPackage(code, def.Handler)
	if err != nil {
		return built{}, err
	}
	// The version is the hash of the sources and the handler.
	key := digest([]byte(filepath.Base(dir)), []byte(tool.path), []byte(tool.version), []byte(runtime.GOOS+"/"+runtime.GOARCH))
	at, err := b.cached(ctx, j, "go-"+key, func(ctx context.Context, tmp, _ string) error {
		tools := filepath.Join(b.cache, toolsDir)
		step := Step{Dir: code, Readable: []string{code}, Env: []string{
			"CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "GOFLAGS=", "GOTELEMETRY=off",
			"GOCACHE=" + filepath.Join(tools, "go-build"), "GOMODCACHE=" + filepath.Join(tools, "go-mod"), "GOPATH=" + filepath.Join(tools, "go"),
		}}
		for _, name := range []string{"go-build", "go-mod", "go"} {
			if err := os.MkdirAll(filepath.Join(tools, name), 0o755); err != nil {
				return fmt.Errorf("make the cache: %w", err)
			}
		}
		step.Writable = []string{tmp}
		work := "off"
		if _, err := os.Stat(filepath.Join(code, "go.work")); err == nil {
			work = filepath.Join(code, "go.work")
		}
		args := []string{tool.path, "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(tmp, goBinary)}
		module := goModule(code, pkg)
		if module == "" {
			// Without a module only the standard library can be imported.
			from, err := b.scratch(code)
			if err != nil {
				return err
			}
			defer os.RemoveAll(from)
			text := "module function\n\ngo " + languageOf(tool.version) + "\n"
			if err := os.WriteFile(filepath.Join(from, "go.mod"), []byte(text), 0o644); err != nil {
				return fmt.Errorf("write go.mod: %w", err)
			}
			j.log("there is no go.mod: what is imported is taken in its newest version")
			step.Dir, step.Readable, step.Writable = from, nil, append(step.Writable, from)
			args = append(args, "-mod=mod", "./"+filepath.ToSlash(pkg))
		} else {
			step.Dir = filepath.Join(code, module)
			rel, err := filepath.Rel(step.Dir, filepath.Join(code, pkg))
			if err != nil {
				return fmt.Errorf("find the package: %w", err)
			}
			args = append(args, "./"+filepath.ToSlash(rel))
		}
		step.Env = append(step.Env, "GOWORK="+work, "PWD="+step.Dir)
		step.Args = args
		return b.run(ctx, j, "go build", filepath.Dir(tool.path), step)
	})
	if err != nil {
		return built{}, err
	}
	if err := relink(at, filepath.Join(dir, binaryLink)); err != nil {
		return built{}, fmt.Errorf("link the program: %w", err)
	}
	return built{args: []string{filepath.Join(at, goBinary)}, visible: []string{at}}, nil
}

// goBinary is the name of what is built.
const goBinary = "main"

// languageOf is the version of the language that a Go has, as in 1.26.
func languageOf(version string) string {
	if m := goVersion.FindStringSubmatch(version); m != nil {
		return "1." + m[1]
	}
	return "1." + strconv.Itoa(oldestGo)
}

// goPackage returns the directory, relative to code, of the package that a
// handler names, which must be a program's.
func goPackage(code, handler string) (string, error) {
	pkg := filepath.Clean(filepath.FromSlash(handler))
	if !filepath.IsLocal(pkg) {
		return "", runnel.Errorf(runnel.CodeInvalid, "handler: the package %s is outside the source: want one in it, as in . or ./cmd/worker", handler)
	}
	files, err := os.ReadDir(filepath.Join(code, pkg))
	if err != nil {
		return "", runnel.Errorf(runnel.CodeInvalid, "handler: there is no package %s in the source", handler)
	}
	var names []string
	for _, f := range files {
		if f.IsDir() || !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		// What does not parse is for the compiler to tell.
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(code, pkg, f.Name()), nil, parser.PackageClauseOnly)
		if err == nil {
			names = append(names, parsed.Name.Name)
		} else {
			names = append(names, "main")
		}
	}
	switch {
	case len(names) == 0:
		return "", runnel.Errorf(runnel.CodeInvalid, "handler: there is no Go file in %s of the source", handler)
	case !slices.Contains(names, "main"):
		return "", runnel.Errorf(runnel.CodeInvalid, "handler: %s is package %s: want a package main", handler, names[0])
	}
	return pkg, nil
}

// goModule returns the directory, relative to code, of the module that a
// package belongs to; "" if there is none.
func goModule(code, pkg string) string {
	for at := pkg; ; at = filepath.Dir(at) {
		if info, err := os.Stat(filepath.Join(code, at, "go.mod")); err == nil && info.Mode().IsRegular() {
			return at
		}
		if at == "." {
			return ""
		}
	}
}
