package function

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/runnel-io/runnel"
)

// wasm prepares a version that is a WebAssembly module: it is compiled once,
// and workers find what came of it.
func (b *builder) wasm(ctx context.Context, def runnel.Function, j *job, dir string) (built, error) {
	if len(b.shims.WASM) == 0 {
		return built{}, runnel.Errorf(runnel.CodeUnsupported, "this server cannot run wasm modules")
	}
	name := filepath.FromSlash(def.Handler)
	if !filepath.IsLocal(name) {
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: the module %s is outside the source", def.Handler)
	}
	path := filepath.Join(dir, codeDir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: there is no module %s in the source", def.Handler)
	}
	if err != nil {
		return built{}, fmt.Errorf("read the module: %w", err)
	}
	defer f.Close()
	if err := CheckModule(f); err != nil {
		return built{}, runnel.Errorf(runnel.CodeInvalid, "handler: %s: %v", def.Handler, err)
	}
	program, err := os.Stat(b.shims.WASM[0])
	if err != nil {
		return built{}, fmt.Errorf("find the program that runs modules: %w", err)
	}
	// Another program may compile to something else.
	made := fmt.Sprint(program.Size(), program.ModTime().UnixNano())
	at, err := b.cached(ctx, j, "wasm-"+digest([]byte(filepath.Base(dir)), []byte(made)), func(ctx context.Context, tmp, _ string) error {
		step := Step{
			Dir: filepath.Join(dir, codeDir), Readable: []string{dir, filepath.Dir(b.shims.WASM[0])}, Writable: []string{tmp},
			Args: append(slices.Clone(b.shims.WASM), "-compile", path), Env: []string{compiledVariable + "=" + tmp},
		}
		return b.run(ctx, j, "compile the module", filepath.Dir(b.shims.WASM[0]), step)
	})
	if err != nil {
		return built{}, err
	}
	if err := relink(at, filepath.Join(dir, compiledLink)); err != nil {
		return built{}, fmt.Errorf("link the compiled module: %w", err)
	}
	return built{
		args: append(slices.Clone(b.shims.WASM), path), env: []string{compiledVariable + "=" + at},
		visible: []string{at, filepath.Dir(b.shims.WASM[0])},
	}, nil
}

// compiledVariable tells the program that runs modules where what it compiled
// is kept.
const compiledVariable = "RUNNEL_WASM_CACHE"

// wasi is the one module whose functions a WebAssembly module may import.
const wasi = "wasi_snapshot_preview1"

// Sections of a module.
const (
	sectionImport = 2
	sectionExport = 7
)

// CheckModule says what is wrong with a WebAssembly module for WASI: it must
// be a command or a reactor, and may import nothing but functions of
// wasi_snapshot_preview1. What is in it besides is not looked at.
func CheckModule(r io.Reader) error {
	in := bufio.NewReader(r)
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || string(head[:4]) != "\x00asm" {
		return errors.New("is not a WebAssembly module")
	}
	switch {
	case head[6] == 1:
		return errors.New("is a WebAssembly component: want a core module, which a compiler for wasip1 makes")
	case head[4] != 1 || head[5] != 0:
		return errors.New("is of a version of WebAssembly that is not known")
	}
	var exports []string
	for {
		id, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		size, err2 := uleb(in)
		if err != nil || err2 != nil {
			return errCutOff
		}
		section := &io.LimitedReader{R: in, N: int64(size)}
		body := bufio.NewReader(section)
		switch id {
		case sectionImport:
			err = checkImports(body)
		case sectionExport:
			exports, err = readExports(body)
		}
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		if section.N > 0 {
			return errCutOff
		}
	}
	if !slices.Contains(exports, "_start") && !slices.Contains(exports, "_initialize") && !slices.Contains(exports, "runnel_handle") {
		return errors.New("exports neither _start nor _initialize, so it is neither a command nor a reactor of WASI")
	}
	return nil
}

var errCutOff = errors.New("is damaged: it ends in the middle")

func checkImports(in *bufio.Reader) error {
	n, err := uleb(in)
	if err != nil {
		return errCutOff
	}
	for range n {
		module, err := wasmName(in)
		if err != nil {
			return err
		}
		name, err := wasmName(in)
		if err != nil {
			return err
		}
		kind, err := in.ReadByte()
		if err != nil {
			return errCutOff
		}
		if module != wasi || kind != 0 {
			return fmt.Errorf("imports %q of %q, which is not served: only the functions of %s are", name, module, wasi)
		}
		if _, err := uleb(in); err != nil { // the type of the function
			return errCutOff
		}
	}
	return nil
}

func readExports(in *bufio.Reader) ([]string, error) {
	n, err := uleb(in)
	if err != nil {
		return nil, errCutOff
	}
	var out []string
	for range n {
		name, err := wasmName(in)
		if err != nil {
			return nil, err
		}
		kind, err := in.ReadByte()
		if err != nil {
			return nil, errCutOff
		}
		if _, err := uleb(in); err != nil {
			return nil, errCutOff
		}
		if kind == 0 && (name == "_start" || name == "_initialize" || name == "runnel_handle") {
			out = append(out, name)
		}
	}
	return out, nil
}

// wasmName reads a name, of at most 64 KiB.
func wasmName(in *bufio.Reader) (string, error) {
	n, err := uleb(in)
	if err != nil || n > 64<<10 {
		return "", errCutOff
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", errCutOff
	}
	return string(text), nil
}

// uleb reads an unsigned number of at most 32 bits.
func uleb(in *bufio.Reader) (uint32, error) {
	var n uint64
	for shift := 0; shift < 35; shift += 7 {
		c, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= uint64(c&0x7f) << shift
		if c&0x80 == 0 {
			if n > 1<<32-1 {
				return 0, errCutOff
			}
			return uint32(n), nil
		}
	}
	return 0, errCutOff
}
