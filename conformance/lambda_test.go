package conformance_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// lambdaHandlers are the handlers of the folder lambda, what they answer, and
// what by way of AWS's client, run by PYTHON, where that is something else.
var lambdaHandlers = []struct{ language, handler, payload, want, client string }{
	{"python", "lambda_function.lambda_handler", `{"a":1}`, `{"statusCode":200,"body":"{\"a\": 1}","remaining":true}`,
		`{"statusCode": 200, "body": "{\"a\": 1}", "remaining": true}`},
	{"python", "lambda_function.echo", `"grüße"`, `"grüße"`, `"gr\u00fc\u00dfe"`},
	{"python", "lambda_function.decimals", `{}`, `{"price":12.5,"count":12345678901234567890}`,
		`{"price": 12.50, "count": 12345678901234567890}`},
	{"python", "lambda_function.raises", `{"key":"k"}`, `runnel: python-raises failed (error): KeyError: 'k'`, ""},
	{"python", "lambda_function.environment", `{}`, `["lambda_function.environment",true,null,null]`,
		`["PYTHON -m awslambdaric lambda_function.environment", true, null, null]`},
	{"node", "index.handler", `{"a":1}`, `{"statusCode":200,"body":"{\"a\":1}","started":true,"remaining":true}`, ""},
	{"node", "index.callback", `[1]`, `[1]`, ""},
	{"node", "index.raises", `{"key":"k"}`, `runnel: node-raises failed (error): RangeError: k`, ""},
}

// TestLambdaHandlers calls them in our own workers.
func TestLambdaHandlers(t *testing.T) {
	t.Parallel()
	if program == "" {
		t.Skip("functions are ours")
	}
	var text strings.Builder
	text.WriteString("functions:\n")
	for _, h := range lambdaHandlers {
		source, err := filepath.Abs(filepath.Join("lambda", h.language))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "  %s:\n    runtime: %s\n    source: %s\n    handler: %s\n    env: {PYTHONDONTWRITEBYTECODE: \"1\"}\n",
			lambdaName(h.language, h.handler), h.language, source, h.handler)
	}
	e := startFunctions(t, text.String())
	for _, h := range lambdaHandlers {
		if got := e.call(t, lambdaName(h.language, h.handler), "json", h.payload); got != h.want {
			t.Errorf("%s %s: got %q, want %q", h.handler, h.payload, got, h.want)
		}
	}
}

// lambdaName is the function of a handler.
func lambdaName(language, handler string) string {
	_, name, _ := strings.Cut(handler, ".")
	return language + "-" + strings.ReplaceAll(strings.ReplaceAll(name, ".", "-"), "_", "-")
}

// TestAWSLambdaRIC calls the handlers for Python through AWS's own runtime
// interface client, which asks for events as in AWS.
func TestAWSLambdaRIC(t *testing.T) {
	t.Parallel()
	if program == "" {
		t.Skip("functions are ours")
	}
	python := installed(t, "awslambdaric", "bin", "python")
	source, err := filepath.Abs(filepath.Join("lambda", "python"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("functions:\n")
	for _, h := range lambdaHandlers {
		if h.language == "python" {
			fmt.Fprintf(&text, "  %s: {runtime: exec, transport: runtime-api, source: %q, handler: %q, env: {PYTHONDONTWRITEBYTECODE: \"1\"}}\n",
				lambdaName(h.language, h.handler), source, python+" -m awslambdaric "+h.handler)
		}
	}
	e := startFunctions(t, text.String())
	for _, h := range lambdaHandlers {
		if h.language != "python" {
			continue
		}
		want := h.want
		if h.client != "" {
			want = strings.ReplaceAll(h.client, "PYTHON", python)
		}
		if got := e.call(t, lambdaName(h.language, h.handler), "json", h.payload); got != want {
			t.Errorf("%s %s: got %q, want %q", h.handler, h.payload, got, want)
		}
	}
}
