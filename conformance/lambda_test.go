package conformance_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lambdaHandlers are the handlers of the folder lambda, and what they answer.
var lambdaHandlers = []struct{ language, handler, payload, want string }{
	{"python", "lambda_function.lambda_handler", `{"a":1}`, `{"statusCode":200,"body":"{\"a\": 1}","remaining":true}`},
	{"python", "lambda_function.echo", `"grüße"`, `"grüße"`},
	{"python", "lambda_function.decimals", `{}`, `{"price":12.5,"count":12345678901234567890}`},
	{"python", "lambda_function.raises", `{"key":"k"}`, `runnel: python-raises failed (error): KeyError: 'k'`},
	{"python", "lambda_function.environment", `{}`, `["lambda_function.environment",true,null,null]`},
	{"node", "index.handler", `{"a":1}`, `{"statusCode":200,"body":"{\"a\":1}","started":true,"remaining":true}`},
	{"node", "index.callback", `[1]`, `[1]`},
	{"node", "index.raises", `{"key":"k"}`, `runnel: node-raises failed (error): RangeError: k`},
}

// TestLambdaHandlers calls them in our own workers.
func TestLambdaHandlers(t *testing.T) {
	t.Parallel()
	if program == "" {
		t.Skip("functions are ours")
	}
	spec := filepath.Join(t.TempDir(), "runnel.yaml")
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
	if err := os.WriteFile(spec, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startServer(t, dev, "-f", spec)
	if got := e.command(t, "wait"); got != "" {
		t.Fatalf("runnel wait: %s", got)
	}
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
