package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/runnel-io/runnel"
)

// maxBuild is how long the dependencies of a function may take.
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

// builder finds interpreters and builds dependencies.
type builder struct {
	// functions is Options.Dir; cache holds what was built, under names that
	// say for what.
	functions, cache string
	shims            Shims
	log              func(function, line string)

	// sweeping is held shared from before something is looked for in the
	// cache until a version links to it, and alone by who removes what nobody
	// links to.
	sweeping sync.RWMutex

	mu sync.Mutex // guards the maps
	// found are the interpreters that were found already.
	found map[runnel.Runtime]*interpreter
	// turns have an element while something is built under the name.
	turns map[string]chan struct{}
}

// build prepares the version in dir: it is quick where nothing is to be done.
func (b *builder) build(ctx context.Context, def runnel.Function, dir string) (built, error) {
	b.sweeping.RLock()
	defer b.sweeping.RUnlock()
	switch def.Runtime {
	case runnel.RuntimePython:
		return b.python(ctx, def, dir)
	case runnel.RuntimeNode:
		return b.node(ctx, def, dir)
	case runnel.RuntimeExec:
		return program(def.Handler, filepath.Join(dir, codeDir))
	default:
		return built{}, runnel.Errorf(runnel.CodeUnsupported, "runtime %q is not built in", def.Runtime)
	}
}

// cached returns the directory of the cache called name, which work fills if
// it is not there. It is whole, or not there at all.
func (b *builder) cached(ctx context.Context, name string, work func(ctx context.Context, tmp, final string) error) (string, error) {
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
		return final, nil
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(b.cache, unfinished)
	if err != nil {
		return "", fmt.Errorf("make the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	ctx, cancel := context.WithTimeoutCause(ctx, maxBuild, runnel.Errorf(runnel.CodeInvalid, "the build took longer than %s", maxBuild))
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
	for _, link := range []string{venvLink, modulesLink} {
		links, err := filepath.Glob(filepath.Join(globless(b.functions), "*", "*", "*", link))
		if err != nil {
			return fmt.Errorf("clean the cache: %w", err)
		}
		for _, l := range links {
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
		if used[e.Name()] {
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

// run runs one step of a build in dir, with an interpreter first on the PATH.
// Its lines go to the build log; the last
// ones are the error of a step that fails.
func (b *builder) run(ctx context.Context, function, dir, what string, with *interpreter, args ...string) error {
	out := &lines{to: func(line string) { b.log(function, line) }}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(buildEnv(os.Environ()), "PATH="+filepath.Dir(with.Path)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = out, out
	// A build starts processes of its own; they end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	out.end()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return runnel.Errorf(runnel.CodeInvalid, "%s: %v\n%s", what, err, strings.Join(out.last, "\n"))
}

// passed are the variables of the server that a build sees, in upper case.
var passed = []string{
	"PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_ALL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
}

// buildEnv returns what of env a build sees: where programs and caches are,
// proxies, certificates, and the configuration of pip and npm.
func buildEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		name = strings.ToUpper(name)
		return !slices.Contains(passed, name) && !strings.HasPrefix(name, "PIP_") && !strings.HasPrefix(name, "NPM_CONFIG_")
	})
}

// The bounds of what an error tells of a build.
const (
	lastLines = 20
	lineBytes = 1000
)

// lines takes the output of a program apart. It is written to by one
// goroutine at a time.
type lines struct {
	to   func(line string)
	rest []byte
	last []string
}

// Write hands on the lines that are whole, and those that become too long.
func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) < lineBytes {
			return len(p), nil
		}
		if i < 0 || i > lineBytes {
			l.line(l.rest[:lineBytes])
			l.rest = l.rest[lineBytes:]
			continue
		}
		l.line(l.rest[:i])
		l.rest = l.rest[i+1:]
	}
}

func (l *lines) line(text []byte) {
	line := strings.ToValidUTF8(strings.TrimRight(string(text), "\r"), "\uFFFD")
	l.to(line)
	if len(l.last) == lastLines {
		l.last = l.last[1:]
	}
	l.last = append(l.last, line)
}

func (l *lines) end() {
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
}
