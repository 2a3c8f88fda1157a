package admin_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/auth"
)

var update = flag.Bool("update", false, "write docs/openapi.json instead of comparing it")

// documentFile is the copy of the document that is committed.
const documentFile = "../../../docs/openapi.json"

// object is a value of the document.
type object = map[string]any

func openAPI(t *testing.T, f *fixture) object {
	t.Helper()
	resp, body := f.call(t, "GET", "/api/openapi.json", auth.Key{}, "")
	var doc object
	if err := json.Unmarshal([]byte(body), &doc); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %d, %v: %.200s", resp.StatusCode, err, body)
	}
	return doc
}

// operations returns METHOD PATH of every call of the document.
func operations(doc object) map[string]object {
	out := make(map[string]object)
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			out[strings.ToUpper(method)+" "+path] = op.(object)
		}
	}
	return out
}

func TestOpenAPICommitted(t *testing.T) {
	text, err := json.MarshalIndent(openAPI(t, start(t)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(documentFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("docs/openapi.json is not what is served; go test ./internal/api/admin -run OpenAPICommitted -update writes it (-file +served):\n%s", diff)
	}
}

func TestOpenAPIYAML(t *testing.T) {
	f := start(t)
	resp, body := f.call(t, "GET", "/api/openapi.yaml", auth.Key{}, "")
	var doc object
	if err := yaml.Unmarshal([]byte(body), &doc); err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %d, %v: %.200s", resp.StatusCode, err, body)
	}
	var got, want []string
	for name := range doc["paths"].(object) {
		got = append(got, name)
	}
	for name := range openAPI(t, f)["paths"].(object) {
		want = append(want, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("paths (-json +yaml):\n%s", diff)
	}
}

// TestOpenAPIStructure checks what a generator of clients relies on.
func TestOpenAPIStructure(t *testing.T) {
	doc := openAPI(t, start(t))
	if got := doc["openapi"]; got != "3.1.0" {
		t.Errorf("got openapi %v", got)
	}
	schemas := doc["components"].(object)["schemas"].(object)
	used := make(map[string]bool)
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				name, local := strings.CutPrefix(ref, "#/components/schemas/")
				if _, ok := schemas[name]; !ok || !local {
					t.Errorf("%s: $ref %s leads nowhere", at, ref)
				}
				used[name] = true
			}
			for name, v := range v {
				walk(at+"/"+name, v)
			}
		case []any:
			if strings.HasSuffix(at, "/type") && slices.Contains(v, any("null")) {
				t.Errorf("%s: can be null", at)
			}
			for _, v := range v {
				walk(at, v)
			}
		}
	}
	walk("", doc)
	for name := range schemas {
		if !used[name] {
			t.Errorf("nothing refers to the schema %s", name)
		}
	}

	ids := make(map[string]string)
	for name, op := range operations(doc) {
		id, _ := op["operationId"].(string)
		if other := ids[id]; id == "" || other != "" {
			t.Errorf("%s has the id %q, as %q", name, id, other)
		}
		ids[id] = name
		if op["summary"] == "" || len(op["tags"].([]any)) != 1 {
			t.Errorf("%s has no summary or no tag", name)
		}
		declared := make(map[string]bool)
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			p := p.(object)
			if p["in"] == "path" {
				declared[p["name"].(string)] = true
			}
			if p["description"] == nil && p["in"] == "query" {
				t.Errorf("%s: the parameter %v has no description", name, p["name"])
			}
		}
		for _, part := range strings.Split(name, "/") {
			if param, ok := strings.CutPrefix(part, "{"); ok && !declared[strings.TrimSuffix(param, "}")] {
				t.Errorf("%s: the parameter %s is not described", name, part)
			}
		}
	}
}

// TestOpenAPIWhole checks that the calls of the document are all there are: a
// path that is in it with another method does not exist, and each that is in
// it does.
func TestOpenAPIWhole(t *testing.T) {
	f := start(t)
	ops := operations(openAPI(t, f))
	if got, want := len(ops), 61; got != want {
		t.Errorf("the document has %d calls, want %d", got, want)
	}
	for name := range ops {
		_, path, _ := strings.Cut(name, " ")
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH"} {
			_, documented := ops[method+" "+path]
			if documented && strings.HasSuffix(path, "/logs") {
				continue // streams
			}
			_, body := f.call(t, method, named(path), adminKey, "")
			if exists := !strings.Contains(body, "the API has no "); exists != documented {
				t.Errorf("%s %s: documented: %v, got %s", method, path, documented, body)
			}
		}
	}
}

// named returns a path whose parameters name nothing.
func named(path string) string {
	return strings.NewReplacer("{", "no-", "}", "").Replace(path)
}

// TestAuth makes every call of the document with every kind of key.
func TestAuth(t *testing.T) {
	f := start(t)
	for name, op := range operations(openAPI(t, f)) {
		method, path, _ := strings.Cut(name, " ")
		_, closed := op["security"]
		needs, _ := op["description"].(string)
		admins, manages := strings.HasPrefix(needs, "Needs an admin key"), strings.Contains(needs, "a management key of the owner")
		t.Run(name, func(t *testing.T) {
			resp, body := f.call(t, method, named(path), auth.Key{}, "{")
			switch {
			case closed && (resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" || !strings.Contains(body, `"code":"denied"`)):
				t.Errorf("without a key: got %d %s", resp.StatusCode, body)
			case !closed && resp.StatusCode != http.StatusOK:
				t.Errorf("without a key: got %d %s", resp.StatusCode, body)
			}
			if resp, body = f.call(t, method, named(path), standardKey, "{"); admins != (resp.StatusCode == http.StatusForbidden) {
				t.Errorf("with a standard key: got %d %s", resp.StatusCode, body)
			}
			own := strings.ReplaceAll(path, "{owner}", managementKey.Account)
			if resp, body = f.call(t, method, named(own), managementKey, "{"); (admins && !manages) != (resp.StatusCode == http.StatusForbidden) {
				t.Errorf("with a management key: got %d %s", resp.StatusCode, body)
			}
			if resp, body = f.call(t, method, named(path), managementKey, "{"); admins != (resp.StatusCode == http.StatusForbidden) {
				t.Errorf("with a management key of another account: got %d %s", resp.StatusCode, body)
			}
			queues := needs == "Needs a key that may use queues."
			if resp, body = f.call(t, method, named(path), bareKey, "{"); (admins || queues) != (resp.StatusCode == http.StatusForbidden) {
				t.Errorf("with a key that may do nothing: got %d %s", resp.StatusCode, body)
			}
			if resp, body = f.call(t, method, named(path), adminKey, "{"); resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized {
				t.Errorf("with an admin key: got %d %s", resp.StatusCode, body)
			}
		})
	}
}
