package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"github.com/runnel-io/runnel"
	example "github.com/runnel-io/runnel/examples"
)

// demoFiles is the directory of a demonstration: the code of two examples, and
// a spec file with the flows of both.
type demoFiles struct {
	dir, spec string
	functions []demoFunction
}

// demoFunction is a function of the demonstration.
type demoFunction struct {
	Name    string
	Runtime runnel.Runtime // "": it is in Go, part of this program
	Source  string         // relative to the directory
	file    string         // to edit; "" in Go
}

// demoSpec declares what the examples thumbnails and greeting do, with
// functions in the languages that there are.
var demoSpec = template.Must(template.New("runnel.yaml").Parse(`# The server looks at this file, and at the functions: a change is live at once.
{{- if .Declared}}
functions:
{{- range .Declared}}
  {{.Name}}: {runtime: {{.Runtime}}, source: ./{{.Source}}}
{{- end}}
{{- end}}

queues:
  images:
  thumbnails:
  images-dead:
  greetings:
  states:

flows:
  make-thumbnails:
    from: queue:images
    call: thumbnail
    to: [queue:thumbnails]
    retry: {max_attempts: 3, initial: 200ms}
    dead_letter: queue:images-dead
  # A state machine: what the router returns goes round until it is null.
  greet:
    from: queue:greetings
    call: router
    to: [queue:greetings, queue:states]
    max_steps: 10
`))

// demoLanguages says which interpreters there are that the server would take.
func demoLanguages(ctx context.Context) map[runnel.Runtime]bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	works := func(variable string, names []string, option, script string) bool {
		if p := os.Getenv(variable); p != "" {
			names = []string{p}
		}
		for _, name := range names {
			if exec.CommandContext(ctx, name, option, script).Run() == nil {
				return true
			}
		}
		return false
	}
	return map[runnel.Runtime]bool{
		runnel.RuntimePython: works("RUNNEL_PYTHON", []string{"python3", "python"}, "-c", "import sys; sys.exit(sys.version_info < (3, 8))"),
		runnel.RuntimeNode:   works("RUNNEL_NODE", []string{"node", "nodejs"}, "-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"),
	}
}

// writeDemo writes the functions, and the spec file, to a directory. Each
// function is in its first language that there is.
func writeDemo(dir string, there map[runnel.Runtime]bool) (*demoFiles, error) {
	d := &demoFiles{dir: dir, spec: filepath.Join(dir, "runnel.yaml")}
	entry := map[runnel.Runtime]string{runnel.RuntimePython: "main.py", runnel.RuntimeNode: "index.js"}
	for _, f := range []struct {
		name, example string
		prefer        [2]runnel.Runtime
	}{
		{"thumbnail", "thumbnails", [2]runnel.Runtime{runnel.RuntimePython, runnel.RuntimeNode}},
		{"router", "greeting", [2]runnel.Runtime{runnel.RuntimeNode, runnel.RuntimePython}},
	} {
		fn := demoFunction{Name: f.name}
		for _, r := range f.prefer {
			if !there[r] {
				continue
			}
			fn.Runtime, fn.Source = r, f.name
			fn.file = filepath.Join(dir, f.name, entry[r])
			code, err := fs.ReadFile(example.Files, f.example+"/"+f.name+"/"+entry[r])
			if err != nil {
				return nil, fmt.Errorf("read the example: %w", err)
			}
			if err := errors.Join(os.Mkdir(filepath.Join(dir, f.name), 0o700), os.WriteFile(fn.file, code, 0o600)); err != nil {
				return nil, fmt.Errorf("write the example: %w", err)
			}
			break
		}
		d.functions = append(d.functions, fn)
	}
	var text bytes.Buffer
	if err := demoSpec.Execute(&text, d); err != nil {
		return nil, fmt.Errorf("write the spec file: %w", err)
	}
	if err := os.WriteFile(d.spec, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("write the spec file: %w", err)
	}
	return d, nil
}

// Declared returns the functions that the spec file declares.
func (d *demoFiles) Declared() (out []demoFunction) {
	for _, f := range d.functions {
		if f.Runtime != "" {
			out = append(out, f)
		}
	}
	return out
}

// language says what a function is written in.
func (d *demoFiles) language(name string) string {
	for _, f := range d.functions {
		switch {
		case f.Name != name:
		case f.Runtime == runnel.RuntimePython:
			return "Python"
		case f.Runtime == runnel.RuntimeNode:
			return "JavaScript"
		}
	}
	return "Go"
}

// demoHandlers are the functions in Go, where there is no interpreter at all.
func demoHandlers(d *demoFiles) map[string]runnel.Handler {
	inGo := map[string]runnel.Handler{"thumbnail": runnel.HandlerFunc(demoThumbnail), "router": runnel.HandlerFunc(demoRouter)}
	for _, f := range d.Declared() {
		delete(inGo, f.Name)
	}
	return inGo
}

// demoThumbnail is thumbnails/thumbnail in Go.
func demoThumbnail(_ context.Context, m runnel.Message) (runnel.Result, error) {
	var image struct {
		Name          string
		Width, Height float64
	}
	if err := json.Unmarshal(m.Body, &image); err != nil {
		return runnel.Result{}, runnel.Reject(err.Error())
	}
	if image.Width <= 0 {
		return runnel.Result{}, fmt.Errorf("%s has no width", image.Name)
	}
	const width = 128
	return demoResult(struct {
		Name   string  `json:"name"`
		Width  int     `json:"width"`
		Height float64 `json:"height"`
	}{image.Name, width, math.Round(width / image.Width * image.Height)})
}

// demoRouter is greeting/router in Go.
func demoRouter(_ context.Context, m runnel.Message) (runnel.Result, error) {
	var record map[string]any
	if err := json.Unmarshal(m.Body, &record); err != nil {
		return runnel.Result{}, runnel.Reject(err.Error())
	}
	switch {
	case record["greeting"] == nil:
		record["greeting"] = "hello"
	case record["name"] == nil:
		record["name"] = "world"
	default:
		return runnel.Result{}, nil
	}
	return demoResult(record)
}

func demoResult(v any) (runnel.Result, error) {
	body, err := json.Marshal(v)
	return runnel.Result{Out: []runnel.Message{{Body: body}}}, err
}
