package runnel_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/runnel-io/runnel"

// tableLine lets the packages that fit pkg import those that fit needs.
type tableLine struct {
	pkg   string
	needs []string
}

// mayImport is the import table of docs/design.md: which packages of ours a
// package may import. Packages are named by their folder, the root by ".".
// "x/..." stands for x and all below it, and these may import each other
// (except where noted in faults). The first line that fits counts. Tests may
// import what they like.
var mayImport = []tableLine{
	{".", nil},
	{"internal/store/...", nil},
	{"internal/queue/...", []string{".", "internal/store"}},
	{"internal/catalog/...", []string{".", "internal/store"}},
	{"internal/task/...", []string{".", "internal/store"}},
	{"internal/collection/...", []string{".", "internal/store"}},
	{"internal/auth/...", []string{"."}},
	{"internal/journal/...", []string{"."}},
	{"internal/seal/...", nil},
	{"internal/spec/...", []string{"."}},
	{"internal/dispatch/...", []string{"."}},
	{"internal/envelope/...", []string{"."}},
	{"internal/function/...", []string{"."}},
	{"internal/worker/...", []string{"."}},
	{"internal/api/sqs/...", []string{".", "internal/auth", "internal/queue"}},
	{"internal/api/...", []string{".", "internal/auth"}},
	{"pipeline/...", []string{"."}},
	{"connector/all", []string{".", "connector/..."}},
	{"connector/...", []string{"."}},
	{"web/...", nil},
	{"server/...", []string{".", "internal/...", "pipeline", "web"}},
	// The internal ones: docs/adr/0007-command-imports.md.
	{"cmd/...", []string{".", "server", "connector/...", "pipeline", "examples", "internal/auth", "internal/queue", "internal/spec", "internal/store"}},
	{"examples/...", []string{".", "server", "connector/...", "pipeline"}},
	{"conformance/...", []string{".", "server"}},
	{"bench/...", []string{"...", "internal/..."}},
}

// onlyIn says where a foreign module may be imported, tests apart.
var onlyIn = []struct {
	module string
	pkgs   []string
	why    string
}{
	{"github.com/cockroachdb/pebble", []string{"internal/store/..."}, "no package but internal/store knows the engine (docs/adr/0001-storage-engine.md)"},
	{"github.com/danielgtaylor/huma", []string{"internal/api/..."}, "doors know HTTP libraries, the core does not (docs/adr/0009-native-api-library.md)"},
	{"github.com/prometheus", []string{"internal/api/...", "server/..."}, "the core exposes Stats structs (docs/adr/0006-stats-structs.md)"},
}

var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "models", "types", "core", "base", "pkg"}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Name, Dir string
	Standard              bool
	Imports               []string // of its files, without its tests'
	GoFiles               []string
}

// dir names a package as the table does; ours says whether it is of this
// module.
func dir(importPath string) (name string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func fits(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	prefix, tree := strings.CutSuffix(pattern, "/...")
	return name == prefix || tree && strings.HasPrefix(name, prefix+"/")
}

func fitsAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, name) })
}

// faults returns what is wrong with a package, by name and imports.
func faults(p pkg) (out []string) {
	name, _ := dir(p.ImportPath)
	for _, word := range append(strings.Split(name, "/"), p.Name) {
		if slices.Contains(forbiddenNames, word) {
			out = append(out, fmt.Sprintf("%s: a package called %s says nothing of what it holds", name, word))
			break
		}
	}
	line := slices.IndexFunc(mayImport, func(l tableLine) bool { return fits(l.pkg, name) })
	if line < 0 {
		return append(out, name+": has no line in the import table; add one here and in docs/design.md")
	}
	// Connectors and doors share a line, not a tree.
	own := strings.TrimSuffix(mayImport[line].pkg, "/...")
	tree := own != "." && own != "connector" && own != "internal/api"
	for _, imp := range p.Imports {
		to, ours := dir(imp)
		switch {
		case ours && tree && fits(own+"/...", to):
			// a package of its own tree
		case ours && !fitsAny(mayImport[line].needs, to):
			out = append(out, fmt.Sprintf("%s: may not import %s", name, to))
		case name == "." && !ours && strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
			out = append(out, fmt.Sprintf("%s: imports the standard library only, not %s", name, imp))
		}
		for _, rule := range onlyIn {
			if (imp == rule.module || strings.HasPrefix(imp, rule.module+"/")) && !fitsAny(rule.pkgs, name) {
				out = append(out, fmt.Sprintf("%s: may not import %s: %s", name, imp, rule.why))
			}
		}
	}
	return out
}

// registers returns the init functions and blank imports of a file.
func registers(path string, src any) (out []string, err error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, imp := range f.Imports {
		if imp.Name != nil && imp.Name.Name == "_" {
			out = append(out, fmt.Sprintf("%s: blank import of %s", fset.Position(imp.Pos()), imp.Path.Value))
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, fmt.Sprintf("%s: init function", fset.Position(fn.Pos())))
		}
	}
	return out, nil
}

func list(t *testing.T, args ...string) (out []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Name,Dir,Standard,Imports,GoFiles"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

func TestImportTable(t *testing.T) {
	all := list(t, "./...")
	if len(all) < 2 {
		t.Fatalf("go list found %d packages", len(all))
	}
	for _, p := range all {
		for _, fault := range faults(p) {
			t.Error(fault)
		}
		if name, _ := dir(p.ImportPath); !fits("connector/...", name) {
			continue
		}
		for _, file := range p.GoFiles {
			found, err := registers(filepath.Join(p.Dir, file), nil)
			if err != nil {
				t.Error(err)
			}
			for _, f := range found {
				t.Errorf("%s: connectors are listed, they do not register (docs/adr/0004-explicit-connector-list.md)", f)
			}
		}
	}
}

// TestRootNeedsOnlyTheStandardLibrary looks at everything that a program gets
// which imports the contracts.
func TestRootNeedsOnlyTheStandardLibrary(t *testing.T) {
	for _, p := range list(t, "-deps", ".") {
		if !p.Standard && p.ImportPath != module {
			t.Errorf("the root package needs %s", p.ImportPath)
		}
	}
}

// TestImportRulesBite breaks each rule once.
func TestImportRulesBite(t *testing.T) {
	const at = module + "/"
	for _, test := range []struct {
		name string
		pkg  pkg
		want []string
	}{
		{"root and store", pkg{ImportPath: at + "internal/queue", Imports: []string{"sync", module, at + "internal/store"}}, nil},
		{"own subpackage", pkg{ImportPath: at + "internal/store/storetest", Imports: []string{at + "internal/store", "github.com/cockroachdb/pebble/v2/vfs"}}, nil},
		{"the map of connectors", pkg{ImportPath: at + "connector/all", Imports: []string{module, at + "connector/kafka"}}, nil},
		{"root imports ours", pkg{ImportPath: module, Imports: []string{at + "internal/queue"}}, []string{".: may not import internal/queue"}},
		{"root imports foreign", pkg{ImportPath: module, Imports: []string{"golang.org/x/sync"}}, []string{".: imports the standard library only, not golang.org/x/sync"}},
		{"store imports root", pkg{ImportPath: at + "internal/store", Imports: []string{module}}, []string{"internal/store: may not import ."}},
		{"sibling", pkg{ImportPath: at + "internal/auth", Imports: []string{at + "internal/catalog"}}, []string{"internal/auth: may not import internal/catalog"}},
		{"connector of a connector", pkg{ImportPath: at + "connector/sqs", Imports: []string{at + "connector/kafka"}}, []string{"connector/sqs: may not import connector/kafka"}},
		{"door of a door", pkg{ImportPath: at + "internal/api/admin", Imports: []string{at + "internal/api/sqs", at + "internal/queue"}}, []string{
			"internal/api/admin: may not import internal/api/sqs", "internal/api/admin: may not import internal/queue",
		}},
		{"server chooses connectors", pkg{ImportPath: at + "server", Imports: []string{at + "connector/kafka", at + "internal/queue"}}, []string{"server: may not import connector/kafka"}},
		{"engine outside the store", pkg{ImportPath: at + "internal/queue", Imports: []string{"github.com/cockroachdb/pebble/v2"}}, []string{
			"internal/queue: may not import github.com/cockroachdb/pebble/v2: no package but internal/store knows the engine (docs/adr/0001-storage-engine.md)",
		}},
		{"metrics in the core", pkg{ImportPath: at + "internal/queue", Imports: []string{"github.com/prometheus/client_golang/prometheus"}}, []string{
			"internal/queue: may not import github.com/prometheus/client_golang/prometheus: the core exposes Stats structs (docs/adr/0006-stats-structs.md)",
		}},
		{"name that says nothing", pkg{ImportPath: at + "internal/queue/util", Name: "util"}, []string{"internal/queue/util: a package called util says nothing of what it holds"}},
		{"unknown package", pkg{ImportPath: at + "misc"}, []string{"misc: has no line in the import table; add one here and in docs/design.md"}},
	} {
		if diff := cmp.Diff(test.want, faults(test.pkg)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	got, err := registers("kafka.go", "package kafka\nimport _ \"embed\"\nfunc init() {}\nfunc (k) init() {}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`kafka.go:2:8: blank import of "embed"`, "kafka.go:3:1: init function"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registration (-want +got):\n%s", diff)
	}
}
