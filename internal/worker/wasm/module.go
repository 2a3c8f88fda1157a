package wasm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

const (
	wasi      = wasi_snapshot_preview1.ModuleName
	pageBytes = 64 << 10
	// mostPages is what the address of an answer leaves: 2 GiB.
	mostPages = 1 << 15
	// tailBytes of standard error are kept for the message of a failure.
	tailBytes = 8 << 10
)

// engine compiles modules, and keeps what it compiled in a directory.
type engine struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
}

// newEngine bounds the memory of a module, in bytes; 0 means 2 GiB. Without a
// cache directory each process compiles for itself.
func newEngine(ctx context.Context, cacheDir string, memory int64) (*engine, error) {
	pages := uint32(mostPages)
	if memory > 0 && memory/pageBytes < mostPages {
		pages = uint32(max(memory/pageBytes, 1))
	}
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(pages)
	e := &engine{}
	if cacheDir != "" {
		var err error
		if e.cache, err = wazero.NewCompilationCacheWithDir(cacheDir); err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
		config = config.WithCompilationCache(e.cache)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, e.runtime); err != nil {
		return nil, fmt.Errorf("prepare WASI: %w", err)
	}
	return e, nil
}

// module is a compiled module.
type module struct {
	engine   *engine
	name     string
	compiled wazero.CompiledModule
	reactor  bool
}

// compile reads and compiles the module in a file, and says what is wrong with
// it.
func (e *engine) compile(ctx context.Context, file string) (*module, error) {
	code, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	compiled, err := e.runtime.CompileModule(ctx, code)
	if err != nil {
		return nil, fmt.Errorf("%s is not a module that can be compiled: %w", file, err)
	}
	for _, f := range compiled.ImportedFunctions() {
		if from, name, _ := f.Import(); from != wasi {
			return nil, fmt.Errorf("%s imports %s.%s: only %s is there", file, from, name, wasi)
		}
	}
	exports := compiled.ExportedFunctions()
	m := &module{engine: e, name: file, compiled: compiled}
	handle, alloc := exports["runnel_handle"], exports["runnel_alloc"]
	switch i32, i64 := api.ValueTypeI32, api.ValueTypeI64; {
	case handle != nil && alloc != nil:
		m.reactor = true
		if !typed(handle, []api.ValueType{i32, i32}, i64) || !typed(alloc, []api.ValueType{i32}, i32) {
			return nil, fmt.Errorf("%s: want runnel_handle(i32, i32) -> i64 and runnel_alloc(i32) -> i32", file)
		}
	case exports["_start"] == nil:
		return nil, fmt.Errorf("%s exports neither _start, as a WASI command does, nor runnel_handle and runnel_alloc", file)
	}
	return m, nil
}

func typed(f api.FunctionDefinition, params []api.ValueType, result api.ValueType) bool {
	results := f.ResultTypes()
	return bytes.Equal(f.ParamTypes(), params) && len(results) == 1 && results[0] == result
}

// config is what every instance has: the environment, the clocks, random
// numbers, the code read-only as its root, and the private directory as /tmp.
func (m *module) config(stdin io.Reader, stdout, stderr io.Writer) wazero.ModuleConfig {
	c := wazero.NewModuleConfig().WithName("").WithArgs(m.name).
		WithStdin(stdin).WithStdout(stdout).WithStderr(stderr).
		WithSysWalltime().WithSysNanotime().WithSysNanosleep().WithRandSource(rand.Reader)
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if name == "TMPDIR" || name == "HOME" {
			value = "/tmp"
		}
		c = c.WithEnv(name, value)
	}
	files := wazero.NewFSConfig().WithReadOnlyDirMount(".", "/")
	if dir := os.Getenv("TMPDIR"); dir != "" {
		files = files.WithDirMount(dir, "/tmp")
	}
	return c.WithFSConfig(files)
}

// run runs a command once.
func (m *module) run(ctx context.Context, payload []byte) answer {
	var out bytes.Buffer
	tail := &tail{to: os.Stderr}
	instance, err := m.engine.runtime.InstantiateModule(ctx, m.compiled, m.config(bytes.NewReader(payload), &out, tail))
	if instance != nil {
		_ = instance.Close(ctx)
	}
	var exit *sys.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() != 0:
		return failure(kindOf(tail.text()), "exit status "+fmt.Sprint(exit.ExitCode()), tail.last(), tail.text())
	case err != nil && !errors.As(err, &exit):
		return failure("error", "trap", err.Error(), tail.text())
	}
	return valueOf(out.Bytes())
}

// kindOf tells that memory ran out from the last words of a module.
func kindOf(stderr string) string {
	if strings.Contains(stderr, "out of memory") || strings.Contains(stderr, "memory allocation of") {
		return "out_of_memory"
	}
	return "error"
}

// instance is a reactor that has been initialised.
type instance struct {
	module *module
	in     api.Module
	tail   *tail
}

// instantiate makes a reactor ready.
func (m *module) instantiate(ctx context.Context) (*instance, error) {
	tail := &tail{to: os.Stderr}
	in, err := m.engine.runtime.InstantiateModule(ctx, m.compiled, m.config(strings.NewReader(""), os.Stdout, tail).WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", m.name, err)
	}
	return &instance{m, in, tail}, nil
}

// errUnusable says that an instance trapped, and is not to be called again.
var errUnusable = errors.New("the module trapped")

// handle makes one call. With errUnusable there is an answer, too.
func (i *instance) handle(ctx context.Context, payload []byte) (answer, error) {
	i.tail.clear()
	trapped := func(err error) (answer, error) {
		return failure(kindOf(err.Error()+i.tail.text()), "trap", firstLine(err.Error()), err.Error()+"\n"+i.tail.text()), errUnusable
	}
	var at uint64
	if len(payload) > 0 {
		got, err := i.in.ExportedFunction("runnel_alloc").Call(ctx, uint64(len(payload)))
		if err != nil {
			return trapped(err)
		}
		at = got[0]
		if at == 0 || !i.in.Memory().Write(uint32(at), payload) {
			return failure("out_of_memory", "", fmt.Sprintf("runnel_alloc gave no room for a payload of %d bytes", len(payload)), ""), errUnusable
		}
	}
	got, err := i.in.ExportedFunction("runnel_handle").Call(ctx, at, uint64(len(payload)))
	if err != nil {
		return trapped(err)
	}
	size := uint32(got[0])
	out, ok := i.in.Memory().Read(uint32(got[0]>>32)&(1<<31-1), size)
	switch {
	case size == 0:
		return answer{kind: "none"}, nil
	case !ok:
		return failure("output", "", "runnel_handle returned an address outside of its memory", ""), errUnusable
	case got[0]>>63 == 1:
		return failure("error", "", string(out), i.tail.text()), nil
	}
	return valueOf(bytes.Clone(out)), nil
}

func (i *instance) close(ctx context.Context) { _ = i.in.Close(ctx) }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// tail passes on what is written, and keeps the end of it.
type tail struct {
	to   io.Writer
	kept []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*tailBytes {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-tailBytes:]...)
	}
	return t.to.Write(p)
}

func (t *tail) clear()       { t.kept = t.kept[:0] }
func (t *tail) text() string { return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "\uFFFD")) }

// last is the last line.
func (t *tail) last() string {
	text := t.text()
	return text[strings.LastIndexByte(text, '\n')+1:]
}
