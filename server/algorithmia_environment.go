package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// ids is the space of the ids that follow from a name.
var ids = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/runnel-io/runnel"))

// idOf returns the id that follows from a kind and a name: the same on every
// server.
func idOf(kind, name string) string {
	return uuid.NewSHA1(ids, []byte(kind+"/"+name)).String()
}

// language is what an algorithm can be made in.
type language struct {
	name    string
	runtime runnel.Runtime
	display string // with %s for the version
	about   string
	// also are other words for it, which clients use.
	also  []string
	needs []string // files that say what is installed
	files func(name string) map[string]string
}

var languages = []language{
	{
		name: "python3", runtime: runnel.RuntimePython, display: "Python %s", about: "Python %s of the server's machine; Algorithmia's client and ADK are there",
		also: []string{"python", "python3-1", "python3-langpack"}, needs: []string{"requirements.txt"}, files: pythonTemplate,
	},
	{
		name: "javascript", runtime: runnel.RuntimeNode, display: "Node.js %s", about: "Node.js %s of the server's machine",
		also: []string{"node", "nodejs"}, needs: []string{"package.json"}, files: nodeTemplate,
	},
	{
		name: "go", runtime: runnel.RuntimeGo, display: "Go %s", about: "built by Go %s of the server's machine, a program of AWS Lambda's runtime API",
		also: []string{"golang"}, needs: []string{"go.mod"}, files: goTemplate,
	},
}

func pythonTemplate(name string) map[string]string {
	return map[string]string{
		"algorithmia.conf": "{\"algoname\": \"" + name + "\", \"language\": \"python3\"}\n",
		"requirements.txt": "# What the algorithm needs, one package a line. Algorithmia's client and its\n# ADK are there without it.\n",
		"src/__init__.py":  "",
		"src/" + name + ".py": `from Algorithmia import ADK


# input is what the caller sends: what its JSON says, a text, or bytes. What
# apply returns is the answer. An exception that it raises is the caller's too.
def apply(input):
    return "hello {}".format(input)


algorithm = ADK(apply)
algorithm.init("Algorithmia")
`,
	}
}

func nodeTemplate(name string) map[string]string {
	return map[string]string{
		"package.json": "{\"name\": \"" + strings.ToLower(name) + "\", \"version\": \"0.0.0\", \"private\": true, \"dependencies\": {}}\n",
		"index.js": `// input is what the caller sends: what its JSON says, a text, or bytes. What is
// returned is the answer; what is thrown is the caller's too.
exports.handler = async (input) => "hello " + input;
`,
	}
}

func goTemplate(string) map[string]string {
	return map[string]string{
		"main.go": `// A program that answers calls by the runtime API of AWS Lambda, with the
// standard library alone.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

// apply gets what the caller sends, as JSON, and returns the answer.
func apply(input json.RawMessage) (any, error) {
	return "hello " + string(input), nil
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			log.Fatal(err)
		}
		input, err := io.ReadAll(next.Body)
		next.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		end := "/response"
		answer, err := apply(input)
		if err != nil {
			end, answer = "/error", map[string]string{"errorMessage": err.Error(), "errorType": "AlgorithmError"}
		}
		body, err := json.Marshal(answer)
		if err != nil {
			log.Fatal(err)
		}
		done, err := http.Post(api+next.Header.Get("Lambda-Runtime-Aws-Request-Id")+end, "application/json", bytes.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		done.Body.Close()
	}
}
`,
		"go.mod": "module algorithm\n\ngo 1.21\n",
	}
}

// id is the environment's, specification that of its template.
func (l *language) id() string            { return idOf("environment", l.name) }
func (l *language) specification() string { return idOf("environment-specification", l.name) }

// of returns the language of a runtime, or nil.
func languageOf(r runnel.Runtime) *language {
	for i := range languages {
		if languages[i].runtime == r {
			return &languages[i]
		}
	}
	return nil
}

// Environments implements algorithmia.Environments: what is installed.
func (a algorithmAPI) Environments(ctx context.Context) []algorithmia.Environment {
	var out []algorithmia.Environment
	for i := range languages {
		l := &languages[i]
		version, err := a.functions.set.Installed(ctx, l.runtime)
		if err != nil {
			continue
		}
		display := fmt.Sprintf(l.display, version)
		out = append(out, algorithmia.Environment{
			ID: l.id(), Specification: l.specification(), Display: display,
			Description: fmt.Sprintf(l.about, version), Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01-02T15:04:05.000"),
			Language: algorithmia.Language{
				Name: l.name, Display: display,
				Configuration: fmt.Sprintf(`{"display_name": %q, "req_files": [%q], "artifacts": []}`, display, l.needs[0]),
			},
			Machine: "CPU",
		})
	}
	return out
}

// Template implements algorithmia.Environments.
func (a algorithmAPI) Template(_ context.Context, id string) ([]byte, error) {
	for i := range languages {
		if l := &languages[i]; id == l.id() || id == l.specification() {
			return tarOf(l.files("algorithm"))
		}
	}
	return nil, runnel.Errorf(runnel.CodeNotFound, "there is no environment with the id %.64q", id)
}

// tarOf packs files by name.
func tarOf(files map[string]string) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	var err error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		err = errors.Join(err, w.WriteHeader(h))
		_, failed := w.Write([]byte(files[name]))
		err = errors.Join(err, failed)
	}
	if err = errors.Join(err, w.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("pack a template: %w", err)
	}
	return out.Bytes(), nil
}

// chosen returns the language that settings ask for: by the id of an
// environment, or by a word for the language or a set of packages. Without any
// it is Python.
func (a algorithmAPI) chosen(ctx context.Context, s *algorithmia.ChangeSettings) (*language, error) {
	said := func(p *string) string {
		if p == nil {
			return ""
		}
		return strings.ToLower(strings.TrimSpace(*p))
	}
	path, want := "settings.algorithm_environment", said(s.Environment)
	if want == "" {
		path, want = "settings.language", said(s.Language)
	}
	if want == "" {
		path, want = "settings.package_set", said(s.PackageSet)
	}
	var found *language
	for i := range languages {
		l := &languages[i]
		known := want == l.name || want == l.id() || want == l.specification() || slices.Contains(l.also, want)
		// Sets of packages are called as in python38 or tensorflow-gpu-2.3-python38.
		known = known || path == "settings.package_set" && l.runtime == runnel.RuntimePython && strings.Contains(want, "python3")
		if known || want == "" && l.runtime == runnel.RuntimePython {
			found = l
			break
		}
	}
	if found != nil {
		if _, err := a.functions.set.Installed(ctx, found.runtime); err != nil {
			return nil, err
		}
		return found, nil
	}
	var have []string
	for _, e := range a.Environments(ctx) {
		have = append(have, e.ID+" ("+e.Display+")")
	}
	return nil, runnel.Errorf(runnel.CodeInvalid, "%s: there is no %.64q here: want one of %s", path, want, strings.Join(have, ", "))
}
