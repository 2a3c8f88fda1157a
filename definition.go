package runnel

import (
	"fmt"
	"strings"
	"time"
)

// Function declares a function: where its code is, and how it runs. The tags
// are its names in a spec file and in the API.
type Function struct {
	// Name is OWNER/NAME, or NAME in the account of the spec. Each part: 1 to
	// 64 letters, digits, hyphens and underscores.
	Name string `json:"name"`
	// Runtime is what runs the code.
	Runtime Runtime `json:"runtime"`
	// Source is the directory of the code, or a single file, relative to the
	// spec file.
	Source string `json:"source,omitempty"`
	// Handler is what answers: MODULE.FUNCTION for python and node (default
	// main.handler, index.handler), the program with its arguments for exec,
	// relative to Source.
	Handler string `json:"handler,omitempty"`
	// Timeout is how long a call may take, to 12h. Default 30s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// StartTimeout is how long a worker may take to load the code, to 15m.
	// Default 30s.
	StartTimeout time.Duration `json:"start_timeout,omitempty"`
	// Workers bounds the processes.
	Workers Workers `json:"workers,omitzero"`
	// Memory is the most that a process may allocate, in bytes. 0: no limit.
	Memory Size `json:"memory,omitempty"`
	// MaxOutput is the largest returned value, in bytes, to 16 MiB. Default
	// 1 MiB.
	MaxOutput Size `json:"max_output,omitempty"`
	// Env is the environment of the processes, besides what the runtime sets
	// itself. They get nothing of the server's own.
	Env map[string]string `json:"env,omitempty"`
}

// Size is a number of bytes, written as in 64MiB in a spec file.
type Size int64

// Workers bounds the processes of a function.
type Workers struct {
	// Min are kept warm, 0 to 1000. Default 0.
	Min int `json:"min,omitempty"`
	// Max run at once, 1 to 1000. Default: the number of cores.
	Max int `json:"max,omitempty"`
	// Idle is after how long without a call a worker beyond Min ends. Default
	// 5m.
	Idle time.Duration `json:"idle,omitempty"`
}

// Runtime is what runs a function's code.
type Runtime string

// The runtimes. Go handlers are registered by an embedding program and are not
// declared.
const (
	RuntimePython Runtime = "python"
	RuntimeNode   Runtime = "node"
	RuntimeExec   Runtime = "exec"
)

// Validate returns every fault, joined; each is a *FieldError. The source is
// not looked at.
func (f Function) Validate() error {
	var v faults
	owner, name, ok := strings.Cut(f.Name, "/")
	if !ok {
		owner, name = "default", f.Name
	}
	v.name("name", owner)
	v.name("name", name)
	if f.Runtime == "" {
		v.add("runtime", "is missing: want %s, %s or %s", RuntimePython, RuntimeNode, RuntimeExec)
	}
	v.word("runtime", string(f.Runtime), string(RuntimePython), string(RuntimeNode), string(RuntimeExec))
	switch {
	case f.Runtime == RuntimeExec && f.Handler == "":
		v.add("handler", "is missing: want the program of the source directory to run, as in ./worker")
	case f.Runtime != RuntimeExec && f.Handler != "" && !strings.Contains(f.Handler, "."):
		v.add("handler", "%q is not of the form MODULE.FUNCTION, as in main.handler", f.Handler)
	}
	v.duration("timeout", f.Timeout, 12*time.Hour)
	v.duration("start_timeout", f.StartTimeout, 15*time.Minute)
	v.number("workers.min", f.Workers.Min, 0, 1000)
	v.number("workers.max", f.Workers.Max, 1, 1000)
	v.duration("workers.idle", f.Workers.Idle, 24*time.Hour)
	if f.Workers.Max > 0 && f.Workers.Min > f.Workers.Max {
		v.add("workers.min", "%d is more than workers.max, %d", f.Workers.Min, f.Workers.Max)
	}
	if f.Memory != 0 && f.Memory < 32<<20 {
		v.add("memory", "%d bytes are too few for any runtime: want at least 32MiB", f.Memory)
	}
	if f.MaxOutput < 0 || f.MaxOutput > 16<<20 {
		v.add("max_output", "%d is not between 1 and 16MiB", f.MaxOutput)
	}
	for name := range f.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			v.add(fmt.Sprintf("env.%s", name), "is not the name of an environment variable")
		}
	}
	return v.err()
}
