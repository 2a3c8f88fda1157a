package shim_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

func startLambda(t testing.TB, language, handler string) *process {
	t.Helper()
	program, runtime := "python3", runnel.RuntimePython
	if language == "node" {
		program, runtime = "node", runnel.RuntimeNode
	}
	args := shim.Command(runtime, interpreter(t, program), writeShims(t))
	env := []string{
		"RUNNEL_HANDLER=" + handler, "PYTHONDONTWRITEBYTECODE=1", "RUNNEL_FUNCTION=demo/greet", "RUNNEL_VERSION=abc",
		"RUNNEL_MEMORY=67108864", "RUNNEL_WORKER=w-1", "AWS_REGION=eu-west-1",
	}
	return start(t, args, filepath.Join("testdata", "lambda", language), env)
}

// TestLambda is that the handlers of AWS Lambda's manual run as they are.
func TestLambda(t *testing.T) {
	t.Parallel()
	const arn = `"arn:aws:lambda:eu-west-1:000000000000:function:greet"`
	for _, test := range []struct{ language, handler, payload, want string }{
		{"python", "lambda_function.lambda_handler", `{"a":1}`, `json:{"statusCode":200,"body":"{\"a\": 1}"}`},
		{"python", "lambda_function.numbers", `"1.50"`, `json:[1.5,{"d":12345678901234567890}]`},
		{"python", "lambda_function.numbers", `"1E+3"`, `json:[1000,{"d":12345678901234567890}]`},
		{"python", "lambda_function.numbers", `"NaN"`, `output OutputError: the returned value cannot be sent: NaN is not JSON (at [0])`},
		{"python", "lambda_function.numbers", `"1E+1000"`, `output OutputError: ...`},
		{"python", "lambda_function.strange", `1`, `output OutputError: the returned value cannot be sent: an object of type datetime.datetime is not JSON (at when)`},
		{"python", "lambda_function.raises", `1`, `error KeyError: 'no key'`},
		{"python", "lambda_function.environment", `1`, `json:["lambda_function.environment",true]`},
		{"python", "lambda_function.context_of", `1`, `json:["demo/greet","abc","64","call-1",` + arn +
			`,"/runnel/demo/greet","abc/w-1",null,null,null,{"traceparent":"00-1-2-01"},true]`},
		{"python", "pkg.app.handler", `1`, `json:["pkg",1]`},
		{"python", "pkg/app.handler", `1`, `json:["pkg",1]`},

		{"node", "index.handler", `1`, `json:{"statusCode":200,"body":1}`},
		{"node", "index.arrow", `1`, `json:1`},
		{"node", "index.promise", `1`, `json:1`},
		{"node", "index.callback", `1`, `json:1`},
		{"node", "index.both", `1`, `json:1`},
		{"node", "index.asyncCallback", `1`, `json:1`},
		{"node", "index.callbackError", `1`, `error TypeError: called back`},
		{"node", "index.callbackText", `1`, `error string: just a text`},
		{"node", "index.handlers.create", `1`, `json:{"created":1}`},
		{"node", "index.environment", `1`, `json:["index.environment",true,true]`},
		{"node", "index.context", `1`, `json:["demo/greet","abc","64","call-1",` + arn + `,"/runnel/demo/greet","abc/w-1",true,true,true]`},
		{"node", "deep/my.file.handler", `1`, `json:["deep",1]`},
		{"node", "esm/app.handler", `1`, `json:["module",1]`},
		{"node", "esm/app.inside", `1`, `json:["default",1]`},
	} {
		t.Run(test.language+" "+test.handler+" "+test.payload, func(t *testing.T) {
			t.Parallel()
			got := startLambda(t, test.language, test.handler).ready().call("each", "json", test.payload)
			if !beginLike(got, []string{test.want}) {
				t.Error(cmp.Diff([]string{test.want}, got))
			}
		})
	}
	for _, test := range []struct{ handler, message string }{
		{"stream.handler", "awslambda.streamifyResponse is not served: export the handler without it, and return its answer"},
		{"index.handlers.remove", "handler index.handlers.remove: index.js does not export handlers.remove; it exports handler, ..."},
		{"index.nothing.create", "handler index.nothing.create: index.js does not export nothing.create; ..."},
	} {
		t.Run("node "+test.handler, func(t *testing.T) {
			t.Parallel()
			got := startLambda(t, "node", test.handler).failed()
			if got.Name != "LoadError" || !beginLike([]string{got.Message}, []string{test.message}) {
				t.Errorf("got %s: %s, want LoadError: %s", got.Name, got.Message, test.message)
			}
		})
	}
}
