package function

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runnel-io/runnel"
)

// maxBuild is how long the build of a function may take.
const maxBuild = 15 * time.Minute

// unusedFor is how long what was built stays although no version needs it: who
// mends code that did not load need not wait for its dependencies again.
const unusedFor = 24 * time.Hour

// built is what a version's programs are started with.
type built struct {
	// args are the program and its arguments.
	args []string
	// env is what the runtime adds to the environment.
	env []string
	// visible are directories that the program reads besides its code.
	visible []string
}

// toolsDir is the folder of the cache that the tools of builds keep for
// themselves.
const toolsDir = "tools"

// builder finds interpreters and builds dependencies.
type builder struct {
	// functions is Options.Dir; cache holds what was built, under names that
	// say for what.
	functions, cache string
	shims            Shims
	// hidden is what no step of a build may read but for what is its own.
	hidden string
	step   func(ctx context.Context, s Step) error
	limit  time.Duration
	// slots bounds the builds at once. They hold nothing that calls need.
	slots chan struct{}

	// sweeping is held shared from before something is looked for in the
	// cache until a version links to it, and alone by who removes what nobody
	// links to.
	sweeping sync.RWMutex

	mu sync.Mutex // guards the maps
	// found are the interpreters that were found already.
	found map[runnel.Runtime]*interpreter
	goes  *goTool
	// turns have an element while something is built under the name.
	turns map[string]chan struct{}
}

// build prepares the version in dir: it is quick where nothing is to be done.
func (b *builder) build(ctx context.Context, def runnel.Function, dir string, j *job) (built, error) {
	b.sweeping.RLock()
	defer b.sweeping.RUnlock()
	switch def.Runtime {
	case runnel.RuntimePython:
		return b.python(ctx, j, dir)
	case runnel.RuntimeNode:
		return b.node(ctx, def, j, dir)
	case runnel.RuntimeGo:
		return b.golang(ctx, def, j, dir)
	case runnel.RuntimeExec:
		return program(def.Handler, filepath.Join(dir, codeDir))
	case runnel.RuntimeWASM:
		return b.wasm(ctx, def, j, dir)
	case runnel.RuntimeHTTP:
		return built{}, nil
	default:
		return built{}, runnel.Errorf(runnel.CodeUnsupported, "runtime %q is not built in", def.Runtime)
	}
}

// cached returns the directory of the cache called name, which work fills if
// it is not there. It is whole, or not there at all.
func (b *builder) cached(ctx context.Context, j *job, name string, work func(ctx context.Context, tmp, final string) error) (string, error) {
	final := filepath.Join(b.cache, name)
	b.mu.Lock()
	turn := b.turns[name]
	if turn == nil {
		turn = make(chan struct{}, 1)
		b.turns[name] = turn
	}
	b.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for another build: %w", context.Cause(ctx))
	}
	if _, err := os.Stat(final); err == nil {
		j.log("built already: " + name)
		return final, nil
	}
	j.begin()
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		j.log("waiting for other builds")
		select {
		case b.slots <- struct{}{}:
			defer func() { <-b.slots }()
		case <-ctx.Done():
			return "", fmt.Errorf("wait for other builds: %w", context.Cause(ctx))
		}
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(b.cache, unfinished)
	if err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit, runnel.Errorf(runnel.CodeInvalid, "the build took longer than %s", b.limit))
	defer cancel()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	if err := work(ctx, tmp, final); err != nil {
		return "", err
	}
	if err := publish(tmp, final); err != nil {
		return "", fmt.Errorf("keep what was built: %w", err)
	}
	return final, nil
}

// sweep removes what is in the cache, no version links to, and is older than
// unusedFor. It does nothing while something is built: there will be another
// occasion.
func (b *builder) sweep() error {
	if !b.sweeping.TryLock() {
		return nil
	}
	defer b.sweeping.Unlock()
	entries, err := os.ReadDir(b.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean the cache: %w", err)
	}
	used := make(map[string]bool)
	for _, link := range links {
		found, err := filepath.Glob(filepath.Join(globless(b.functions), "*", "*", "*", link))
		if err != nil {
			return fmt.Errorf("clean the cache: %w", err)
		}
		for _, l := range found {
			to, err := os.Readlink(l)
			if err != nil {
				continue
			}
			if rel, err := filepath.Rel(b.cache, filepath.Join(filepath.Dir(l), to)); err == nil {
				used[strings.Split(rel, string(filepath.Separator))[0]] = true
			}
		}
	}
	for _, e := range entries {
		if used[e.Name()] || e.Name() == toolsDir {
			continue
		}
		info, err := e.Info()
		if err == nil && (strings.HasPrefix(e.Name(), unfinished) || time.Since(info.ModTime()) > unusedFor) {
			if err := os.RemoveAll(filepath.Join(b.cache, e.Name())); err != nil {
				return fmt.Errorf("clean the cache: %w", err)
			}
		}
	}
	return nil
}

// globless takes the meaning from the bytes of dir that have one in a pattern.
func globless(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// lastLines is how much the error of a step that failed tells of its output.
const lastLines = 20

// run runs one step of a build, with the directory of a tool first on the
// PATH. Its lines go to the log; the last ones are the error of a step that
// fails.
func (b *builder) run(ctx context.Context, j *job, what, tool string, s Step) error {
	var last []string
	s.Function, s.Hidden = j.build.Function, []string{b.hidden}
	tools := filepath.Join(b.cache, toolsDir)
	s.Env = append(buildEnv(os.Environ()), append(s.Env,
		"PATH="+tool+string(filepath.ListSeparator)+os.Getenv("PATH"),
		// A step may write nowhere else.
		"PIP_CACHE_DIR="+filepath.Join(tools, "pip"), "NPM_CONFIG_CACHE="+filepath.Join(tools, "npm"))...)
	if err := os.MkdirAll(tools, 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	s.Shared = []string{tools}
	s.Log = func(line string) {
		j.print(line)
		if len(last) == lastLines {
			last = last[1:]
		}
		last = append(last, masked(line, j.env))
	}
	j.print("$ " + strings.Join(s.Args, " "))
	err := b.step(ctx, s)
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return runnel.Errorf(runnel.CodeInvalid, "%s: %v\n%s", what, err, strings.Join(last, "\n"))
}

// passed are the variables of the server that a build sees, in upper case.
var passed = []string{
	"PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS",
}

// buildEnv returns what of env a build sees: where programs and caches are,
// proxies, certificates, and the configuration of pip, npm and go.
func buildEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		name = strings.ToUpper(name)
		return !slices.Contains(passed, name) && !strings.HasPrefix(name, "PIP_") && !strings.HasPrefix(name, "NPM_CONFIG_")
	})
}
