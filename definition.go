package runnel

import (
	"fmt"
	"net/url"
	"path"
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
	// Source is the directory of the code, a single file, or a .zip, .tar.gz
	// or .tgz file of it, relative to the spec file. http has none.
	Source string `json:"source,omitempty"`
	// Inline is the text of the only file, in place of Source: of main.py for
	// python, index.js for node, main.go for go; for exec of the program,
	// which then begins with #! and is called as Handler says. To 256 KiB.
	Inline string `json:"inline,omitempty"`
	// URL is the endpoint of runtime http, to which calls are posted.
	URL string `json:"url,omitempty"`
	// Handler is what answers: MODULE.FUNCTION for python and node (default
	// main.handler, index.handler), the program with its arguments for exec,
	// relative to Source; the package to build for go (default .), the module
	// for wasm (default main.wasm).
	Handler string `json:"handler,omitempty"`
	// Transport is how calls reach a worker of exec or go. Default: frames
	// for exec, runtime-api for go. Other runtimes have one of their own.
	Transport Transport `json:"transport,omitempty"`
	// Timeout is how long a call may take, to 12h. Default 30s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// StartTimeout is how long a worker may take to load the code, to 15m.
	// Default 30s.
	StartTimeout time.Duration `json:"start_timeout,omitempty"`
	// Workers bounds the processes.
	Workers Workers `json:"workers,omitzero"`
	// Concurrency is how many calls a worker may have in flight, 1 to 1000.
	// Default 1: a deadline then ends one call, and its worker, and nobody
	// else's. With more, calls that share a worker which a deadline ends are
	// interrupted, and called again.
	Concurrency int `json:"concurrency,omitempty"`
	// Memory is the most that a process may allocate, in bytes. 0: no limit.
	Memory Size `json:"memory,omitempty"`
	// MaxInput is the largest payload, in bytes, to 64 MiB. Default 10 MiB.
	MaxInput Size `json:"max_input,omitempty"`
	// MaxOutput is the largest returned value, in bytes, to 64 MiB. Default
	// 15,000,000.
	MaxOutput Size `json:"max_output,omitempty"`
	// Limits bounds what else a worker may use.
	Limits ProcessLimits `json:"limits,omitzero"`
	// Writable are directories that a worker may write to besides its temporary
	// one: absolute paths, at most 20. What their permissions say holds all the
	// same, for the user that the worker has.
	Writable []string `json:"writable,omitempty"`
	// Network is what a worker can reach.
	Network Network `json:"network,omitempty"`
	// SQSEndpoint sets AWS_ENDPOINT_URL_SQS and credentials, so that an SQS
	// client in the function reaches the queues of the function's account.
	SQSEndpoint bool `json:"sqs_endpoint,omitempty"`
	// Env is the environment of the processes, besides what the runtime sets
	// itself. They get nothing of the server's own.
	Env map[string]string `json:"env,omitempty"`
}

// ProcessLimits bounds a worker, with all the processes that it starts. Zero
// is the default.
type ProcessLimits struct {
	// Processes is how many processes and threads there may be at once, 8 to
	// 100,000. Default 512.
	Processes int `json:"processes,omitempty"`
	// Files is how many files a process may have open, 64 to 1,000,000.
	// Default 1024.
	Files int `json:"files,omitempty"`
	// FileSize is how large a file that is written may become. Default 1 GiB.
	FileSize Size `json:"file_size,omitempty"`
	// Temp is how much the directory for temporary files may hold. Default
	// 512 MiB.
	Temp Size `json:"temp,omitempty"`
	// CPUTime is how much processor time a process may use in all its life.
	// Default: no limit; a call that only computes ends at its deadline.
	CPUTime time.Duration `json:"cpu_time,omitempty"`
}

// Network is what workers can reach.
type Network string

// What workers can reach: everything that the server can, or Runnel's own API
// and nothing else.
const (
	NetworkFull     Network = "full"
	NetworkIsolated Network = "isolated"
)

// Transport is how calls reach a worker.
type Transport string

// The transports: frames on two pipes (docs/adr/0008-worker-frames.md), and
// the HTTP API of AWS Lambda's runtimes.
const (
	TransportFrames     Transport = "frames"
	TransportRuntimeAPI Transport = "runtime-api"
)

// Size is a number of bytes, written as in 64MiB in a spec file.
type Size int64

// String returns s as a spec file has it: in the largest unit of which it is a
// whole number.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		size Size
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(s/u.size), u.name)
		}
	}
	return fmt.Sprintf("%d", int64(s))
}

// Workers bounds the processes of a function.
type Workers struct {
	// Min are kept warm, 0 to 1000. Default 0.
	Min int `json:"min,omitempty"`
	// Max run at once, 1 to 1000. Default: the number of cores.
	Max int `json:"max,omitempty"`
	// Idle is after how long without a call a worker beyond Min ends. Default
	// 5m.
	Idle time.Duration `json:"idle,omitempty"`
	// Recycle is when a worker is replaced although nothing is wrong with it.
	Recycle Recycle `json:"recycle,omitzero"`
}

// Recycle says when a worker is replaced; the new one is ready before the old
// one goes. Zero means never.
type Recycle struct {
	// Calls is after how many calls, to 1,000,000,000.
	Calls int `json:"calls,omitempty"`
	// Age is how old a worker may become, to 30 days; some become up to a
	// tenth less old, so that they are not replaced all at once.
	Age time.Duration `json:"age,omitempty"`
	// Memory is how much a process may occupy (resident, in bytes), looked at
	// after a call.
	Memory Size `json:"memory,omitempty"`
}

// Runtime is what runs a function's code.
type Runtime string

// The runtimes. Go handlers are registered by an embedding program and are not
// declared.
const (
	RuntimePython Runtime = "python"
	RuntimeNode   Runtime = "node"
	RuntimeExec   Runtime = "exec"
	RuntimeGo     Runtime = "go"   // a package of package main, built with go build
	RuntimeWASM   Runtime = "wasm" // a WASI module
	RuntimeHTTP   Runtime = "http" // an endpoint that is not ours
)

var runtimes = []string{
	string(RuntimePython), string(RuntimeNode), string(RuntimeExec), string(RuntimeGo), string(RuntimeWASM), string(RuntimeHTTP),
}

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
		v.add("runtime", "is missing: want %s", orList(runtimes))
	}
	v.word("runtime", string(f.Runtime), runtimes...)
	scripted := f.Runtime == RuntimePython || f.Runtime == RuntimeNode
	switch {
	case f.Runtime == RuntimeExec && f.Handler == "":
		v.add("handler", "is missing: want the program of the source directory to run, as in ./worker")
	case scripted && f.Handler != "" && !strings.Contains(f.Handler, "."):
		v.add("handler", "%q is not of the form MODULE.FUNCTION, as in main.handler", f.Handler)
	case f.Runtime == RuntimeHTTP && f.Handler != "":
		v.add("handler", "is not for runtime http, which has a url")
	}
	f.checkCode(&v)
	switch {
	case f.Transport != "" && f.Runtime != RuntimeExec && f.Runtime != RuntimeGo:
		v.add("transport", "is for the runtimes exec and go: %s has one of its own", f.Runtime)
	default:
		v.word("transport", string(f.Transport), string(TransportFrames), string(TransportRuntimeAPI))
	}
	v.word("network", string(f.Network), string(NetworkFull), string(NetworkIsolated))
	if f.Runtime == RuntimeHTTP && f.Network == NetworkIsolated {
		v.add("network", "isolated is for workers of ours, not for an endpoint")
	}
	v.number("concurrency", f.Concurrency, 1, 1000)
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
	v.size("max_input", f.MaxInput, 1, maxValue)
	v.size("max_output", f.MaxOutput, 1, maxValue)
	f.Limits.check(&v)
	for i, dir := range f.Writable {
		if !path.IsAbs(dir) || path.Clean(dir) == "/" {
			v.add(fmt.Sprintf("writable[%d]", i), "%q is not an absolute path of a directory, as in /srv/models", dir)
		}
	}
	if len(f.Writable) > 20 {
		v.add("writable", "are %d directories: want at most 20", len(f.Writable))
	}
	f.Workers.Recycle.check(&v)
	for name := range f.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			v.add(fmt.Sprintf("env.%s", name), "is not the name of an environment variable")
		}
	}
	return v.err()
}

// maxValue bounds a payload, and a returned value.
const maxValue = 64 << 20

// maxInline bounds Inline, which is kept in the record of a function.
const maxInline = 256 << 10

// checkCode looks for the one place where the code is.
func (f *Function) checkCode(v *faults) {
	if f.Runtime != RuntimeHTTP {
		if f.URL != "" {
			v.add("url", "is for runtime http")
		}
		switch {
		case f.Inline != "" && f.Source != "":
			v.add("inline", "the code is in one place: there is a source, too")
		case f.Inline != "" && f.Runtime == RuntimeWASM:
			v.add("inline", "a module of WebAssembly is not text: want a source")
		case len(f.Inline) > maxInline:
			v.add("inline", "has %d bytes, and at most 256KiB are taken: want a source", len(f.Inline))
		}
		return
	}
	switch u, err := url.Parse(f.URL); {
	case f.URL == "":
		v.add("url", "is missing: want the endpoint, as in https://models.example.com/score")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
		v.add("url", "%q is not of the form https://HOST/PATH", f.URL)
	case u.User != nil:
		v.add("url", "holds a password, which is then shown: set a secret AUTHORIZATION, which is sent as the header")
	}
	if f.Source != "" || f.Inline != "" {
		v.add("source", "runtime http has no code here, only a url")
	}
}

func (l *ProcessLimits) check(v *faults) {
	v.number("limits.processes", l.Processes, 8, 100_000)
	v.number("limits.files", l.Files, 64, 1_000_000)
	v.size("limits.file_size", l.FileSize, 4<<10, 1<<50)
	v.size("limits.temp", l.Temp, 4<<10, 1<<50)
	v.duration("limits.cpu_time", l.CPUTime, 30*24*time.Hour)
	if l.CPUTime != 0 && l.CPUTime < time.Second {
		v.add("limits.cpu_time", "%s is too short: want at least 1s", l.CPUTime)
	}
}

func (r *Recycle) check(v *faults) {
	v.number("workers.recycle.calls", r.Calls, 1, 1_000_000_000)
	v.duration("workers.recycle.age", r.Age, 30*24*time.Hour)
	if r.Age != 0 && r.Age < time.Second {
		v.add("workers.recycle.age", "%s is too short: want at least 1s", r.Age)
	}
	v.size("workers.recycle.memory", r.Memory, 1<<20, 1<<50)
}

// orList is "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
