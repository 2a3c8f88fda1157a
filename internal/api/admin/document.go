package admin

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Where the document is.
const (
	documentJSON = "/api/openapi.json"
	documentYAML = "/api/openapi.yaml"
)

const schemaPrefix = "#/components/schemas/"

// document returns the head of the OpenAPI document. Its version is that of
// the API, not of the server.
func document() *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:   "Runnel",
			Version: "v1",
			Description: "The native API of a Runnel server. Durations are text with their unit (1m30s, 14d), sizes numbers of bytes, " +
				"times RFC 3339. Fields that are not known are refused in requests; in answers they may be added at any time.",
		},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry(schemaPrefix, schemaName),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token":     {Type: "http", Scheme: "bearer", Description: "Authorization: Bearer ID.SECRET"},
				"signature": {Type: "apiKey", In: "header", Name: "Authorization", Description: "AWS Signature Version 4 for the service runnel."},
			},
		},
		Tags: []*huma.Tag{{Name: tagServer}, {Name: tagFunctions}, {Name: tagFlows}, {Name: tagQueues}, {Name: tagDeadLetters}},
	}
}

// schemaOf returns a reference to the schema of a type.
func (a *api) schemaOf(v any) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(v), true, "")
}

// describe adds to a call what all have: the shape of errors, and who may.
func (a *api) describe(op *huma.Operation, rule rule) {
	if op.Responses == nil {
		op.Responses = make(map[string]*huma.Response)
	}
	op.Responses["default"] = &huma.Response{
		Description: "An error.",
		Content:     map[string]*huma.MediaType{mediaJSON: {Schema: a.schemaOf(refusal{})}},
	}
	op.Responses["401"] = &huma.Response{
		Description: "The key is missing or wrong.",
		Content:     map[string]*huma.MediaType{mediaJSON: {Schema: a.schemaOf(refusal{})}},
	}
	if rule.open {
		delete(op.Responses, "401")
		return
	}
	op.Security = []map[string][]string{{"token": {}}, {"signature": {}}}
	switch {
	case rule.admin:
		op.Description = "Needs an admin key."
	case rule.manages:
		op.Description = "Needs an admin key, or a management key of the owner."
	case rule.queues:
		op.Description = "Needs a key that may use queues."
	}
}

// finishDocument adds the calls for the document itself, and serves it as it
// then is. It never changes while it is served.
func (a *api) finishDocument() {
	oapi := a.huma.OpenAPI()
	for _, file := range []struct{ path, id, media string }{
		{documentJSON, "document-json", mediaJSON},
		{documentYAML, "document-yaml", "application/yaml"},
	} {
		op := op(http.MethodGet, file.path, file.id, tagServer, "This document")
		op.Responses = map[string]*huma.Response{"200": {
			Description: "OK", Content: map[string]*huma.MediaType{file.media: {Schema: &huma.Schema{}}},
		}}
		a.describe(&op, rule{open: true})
		oapi.AddOperation(&op)
	}

	schemas := oapi.Components.Schemas.Map()
	// Those of huma's own errors, which no answer has.
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	a.durations = make(map[string]bool)
	sent := sentSchemas(oapi)
	for name, s := range schemas {
		a.finishSchema(s)
		if !sent[name] {
			s.AdditionalProperties = nil // answers may get more fields
		}
	}

	text, err := json.Marshal(oapi)
	if err != nil {
		panic("admin: encode the OpenAPI document: " + err.Error())
	}
	yaml, err := oapi.YAML()
	if err != nil {
		panic("admin: encode the OpenAPI document: " + err.Error())
	}
	a.serve(documentJSON, mediaJSON, text)
	a.serve(documentYAML, "application/yaml", yaml)
}

// sentSchemas returns the names of the schemas of which requests consist.
func sentSchemas(oapi *huma.OpenAPI) map[string]bool {
	sent := make(map[string]bool)
	var add func(s *huma.Schema)
	add = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if name := strings.TrimPrefix(s.Ref, schemaPrefix); name != "" && !sent[name] {
			sent[name] = true
			add(oapi.Components.Schemas.SchemaFromRef(s.Ref))
		}
		add(s.Items)
		for _, p := range s.Properties {
			add(p)
		}
	}
	for _, item := range oapi.Paths {
		for _, op := range []*huma.Operation{item.Put, item.Post} {
			if op == nil || op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				add(media.Schema)
			}
		}
	}
	return sent
}

// finishSchema says that lists are never null, which huma would allow, and
// notes where durations are.
func (a *api) finishSchema(s *huma.Schema) {
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	for name, p := range s.Properties {
		if p.Pattern == durationPattern {
			a.durations[name] = true
		}
		a.finishSchema(p)
	}
	if s.Items != nil {
		a.finishSchema(s.Items)
	}
}

// serve answers GET path with text, for which no key is needed.
func (a *api) serve(path, media string, text []byte) {
	pattern := http.MethodGet + " " + path
	a.rules[pattern] = rule{open: true}
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(text) // a client that left is not told
	})
}
