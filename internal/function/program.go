package function

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/runnel-io/runnel"
)

// program prepares a version of the runtime exec: the handler is a program of
// the source, or one that is installed, with its arguments.
func program(handler, code string) (built, error) {
	args, err := split(handler)
	if err != nil {
		return built{}, err
	}
	if len(args) == 0 {
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: names no program: want one of the source, as in ./worker")
	}
	name := args[0]
	path := filepath.FromSlash(name)
	switch {
	case filepath.IsAbs(path):
	case !filepath.IsLocal(path):
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: program %s is outside the source", name)
	default:
		path = filepath.Join(code, path)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "/") {
		// One that is installed, as in "ruby worker.rb".
		found, lookErr := exec.LookPath(name)
		if lookErr != nil {
			return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: program %s is neither in the source nor on the PATH", name)
		}
		if path, err = filepath.Abs(found); err == nil {
			info, err = os.Stat(path)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: there is no program %s in the source", name)
	case err != nil:
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: program %s: %v", name, err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: program %s cannot be executed: chmod +x it", name)
	}
	args[0] = path
	out := built{args: args}
	if !strings.HasPrefix(path, code+string(filepath.Separator)) {
		out.visible = []string{filepath.Dir(path)}
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			out.visible = append(out.visible, filepath.Dir(real))
		}
	}
	return out, nil
}

// split takes a command line apart at its blanks, as a shell does: single
// quotes keep all that is in them, double quotes all but \" and \\, and a
// backslash outside quotes keeps the next byte.
func split(line string) ([]string, error) {
	var (
		args  []string
		arg   []byte
		quote byte
		inArg bool
	)
	for i := 0; i < len(line); i++ {
		c := line[i]
		escapes := c == '\\' && i+1 < len(line) && (quote == 0 || quote == '"' && (line[i+1] == '"' || line[i+1] == '\\'))
		switch {
		case escapes:
			i++
			arg, inArg = append(arg, line[i]), true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			arg = append(arg, c)
		case c == '\'' || c == '"':
			quote, inArg = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inArg {
				args = append(args, string(arg))
			}
			arg, inArg = nil, false
		default:
			arg, inArg = append(arg, c), true
		}
	}
	if quote != 0 {
		return nil, runnel.Errorf(runnel.CodeInvalid, "handler: a quote, %c, is not closed", quote)
	}
	if inArg {
		args = append(args, string(arg))
	}
	return args, nil
}

// newProgram puts together what a pool runs: the version in dir, with what was
// built for it, in the function's settings.
func newProgram(def runnel.Function, version, dir string, b built, shims Shims) Program {
	code := filepath.Join(dir, codeDir)
	_, short, _ := strings.Cut(def.Name, "/")
	set := make(map[string]string, len(def.Env)+10)
	for name, value := range def.Env {
		set[name] = value
	}
	// What the runtime says of itself comes last: it is the truth.
	for _, v := range b.env {
		name, value, _ := strings.Cut(v, "=")
		set[name] = value
	}
	for name, value := range map[string]string{
		"RUNNEL_FUNCTION":                 def.Name,
		"RUNNEL_VERSION":                  version,
		"RUNNEL_HANDLER":                  def.Handler,
		"RUNNEL_MEMORY":                   strconv.FormatInt(int64(def.Memory), 10),
		"AWS_LAMBDA_FUNCTION_NAME":        short,
		"AWS_LAMBDA_FUNCTION_VERSION":     version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.FormatInt(int64(def.Memory)>>20, 10),
		"LAMBDA_TASK_ROOT":                code,
		"_HANDLER":                        def.Handler,
	} {
		set[name] = value
	}
	env := make([]string, 0, len(set))
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	visible := append([]string{dir}, b.visible...)
	scripted := def.Runtime == runnel.RuntimePython || def.Runtime == runnel.RuntimeNode
	if scripted && shims.Dir != "" {
		visible = append(visible, shims.Dir)
	}
	slices.Sort(visible)
	memory := int64(def.Memory)
	if def.Runtime == runnel.RuntimeWASM && memory > 0 {
		memory += engineMemory
	}
	return Program{
		Function: def.Name, Version: version, Dir: code,
		Args: b.args, Env: env, Mask: slices.Sorted(maps.Values(def.Env)),
		Shim:      def.Runtime == runnel.RuntimePython || def.Runtime == runnel.RuntimeNode,
		Transport: transport(def), Concurrency: max(def.Concurrency, 1), URL: def.URL,
		Memory: memory, MaxInput: maxInput(def), MaxOutput: maxOutput(def),
		Limits: def.Limits, Writable: def.Writable, Network: def.Network, SQSEndpoint: def.SQSEndpoint,
		Visible:      slices.Compact(visible),
		StartTimeout: startTimeout(def),
	}
}

// transport is how calls reach the workers of a function.
func transport(def runnel.Function) runnel.Transport {
	switch {
	case def.Transport != "":
		return def.Transport
	case def.Runtime == runnel.RuntimeGo:
		return runnel.TransportRuntimeAPI
	default:
		return runnel.TransportFrames
	}
}

// engineMemory is what a process may have that runs a module, besides the
// memory of the module, which the engine bounds.
const engineMemory = 256 << 20
