package function

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// interpreter is a program that runs scripts, as it describes itself.
type interpreter struct {
	// Path is the real program: the one on the PATH may be a script that
	// looks for it at every start.
	Path string `json:"path"`
	// Version is all of it, as in "3.11.7", Major and Minor its beginning.
	Version string `json:"version"`
	Major   int    `json:"major"`
	Minor   int    `json:"minor"`
	// Prefixes are the directories of its library.
	Prefixes []string `json:"prefixes"`
}

// search says how the interpreter of a runtime is found.
type search struct {
	variable     string   // names the program, and comes first
	programs     []string // are looked for on the PATH, in this order
	script       []string // makes it print an interpreter
	major, minor int      // the oldest that will do
	install      string
}

var searches = map[runnel.Runtime]search{
	runnel.RuntimePython: {
		variable: "RUNNEL_PYTHON",
		programs: []string{"python3", "python"},
		// Python 2 understands it too, and can so be told to be too old. The
		// first place where modules are looked for is our working directory.
		script: []string{"-c", `import sys
del sys.path[0]
import json, os, platform
print(json.dumps({"path": sys.executable, "version": platform.python_version(), "major": sys.version_info[0], "minor": sys.version_info[1],
"prefixes": sorted({sys.prefix, getattr(sys, "base_prefix", sys.prefix), os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))})}))`},
		major: 3, minor: 8,
		install: "install Python 3.8 or later with its venv module (on Debian and Ubuntu: apt install python3-venv; on macOS: brew install python)",
	},
	runnel.RuntimeNode: {
		variable: "RUNNEL_NODE",
		programs: []string{"node", "nodejs"},
		script: []string{"-p", `JSON.stringify({path: process.execPath, version: process.versions.node,
major: +process.versions.node.split(".")[0], minor: +process.versions.node.split(".")[1],
prefixes: [require("path").dirname(require("path").dirname(require("fs").realpathSync(process.execPath)))]})`},
		major: 18, minor: 0,
		install: "install Node.js 18 or later with npm (on Debian and Ubuntu: apt install nodejs npm; on macOS: brew install node)",
	},
}

// Installed returns the version of what runs code of a runtime on this machine,
// as in "3.11.7", or an error that says what is missing.
func (s *Set) Installed(ctx context.Context, r runnel.Runtime) (version string, err error) {
	if r == runnel.RuntimeGo {
		tool, err := s.build.goTool(ctx)
		if err != nil {
			return "", err
		}
		return strings.TrimPrefix(tool.version, "go"), nil
	}
	if _, ok := searches[r]; !ok {
		return "", runnel.Errorf(runnel.CodeUnsupported, "runtime %s has no interpreter", r)
	}
	at, err := s.build.interpreter(ctx, r)
	if err != nil {
		return "", err
	}
	return at.Version, nil
}

// interpreter returns the interpreter of a runtime. It is looked for until it
// was found once.
func (b *builder) interpreter(ctx context.Context, r runnel.Runtime) (*interpreter, error) {
	b.mu.Lock()
	found := b.found[r]
	b.mu.Unlock()
	if found != nil {
		return found, nil
	}
	found, err := find(ctx, r, searches[r])
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.found[r] = found
	b.mu.Unlock()
	return found, nil
}

func find(ctx context.Context, r runnel.Runtime, s search) (*interpreter, error) {
	programs := s.programs
	if p := os.Getenv(s.variable); p != "" {
		programs = []string{p}
	}
	var faults []string
	for _, p := range programs {
		at, err := ask(ctx, p, s.script)
		switch {
		case context.Cause(ctx) != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
			faults = append(faults, p+" was not found")
		case err != nil:
			faults = append(faults, p+" does not answer: "+err.Error())
		case at.Major < s.major || at.Major == s.major && at.Minor < s.minor:
			faults = append(faults, p+" is too old: "+at.Version)
		default:
			return at, nil
		}
	}
	return nil, runnel.Errorf(runnel.CodeInvalid, "runtime %s: %s: %s, or set %s to the path of one",
		r, strings.Join(faults, "; "), s.install, s.variable)
}

// ask starts the program once and lets it describe itself.
func ask(ctx context.Context, program string, script []string) (*interpreter, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// With all of our environment: a program that looks for the real one may
	// need it.
	cmd := exec.CommandContext(ctx, path, script...)
	cmd.WaitDelay = 5 * time.Second
	text, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var at interpreter
	if err := json.Unmarshal(text, &at); err != nil {
		return nil, errors.New("it is something else")
	}
	if !filepath.IsAbs(at.Path) {
		return nil, errors.New("it does not know where it is")
	}
	return &at, nil
}
