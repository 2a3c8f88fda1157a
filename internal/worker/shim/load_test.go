package shim_test

import (
	"strings"
	"testing"
)

func TestLoadFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		start   func(testing.TB, string, ...string) *process
		handler string
		errName string
		message string   // all of it, or with "..." its begin
		stack   []string // parts, in this order
	}{
		{"python", startPython, "syntax.handler", "SyntaxError", "'(' was never closed (syntax.py, line 2)", []string{"syntax.py\", line 2", "return (1,", "^", "SyntaxError: "}},
		{"python", startPython, "raises.handler", "KeyError", "'table'", []string{"Traceback", "raises.py\", line 5, in <module>", "TABLE = prepare()", "raises.py\", line 2, in prepare", "KeyError: 'table'"}},
		{"python", startPython, "missing.handler", "ModuleNotFoundError", "No module named 'nowhere_to_be_found'", []string{"missing.py\", line 1"}},
		{"python", startPython, "leaves.handler", "SystemExit", "0", []string{"leaves.py\", line 3"}},
		{"python", startPython, "nofile.handler", "LoadError", "handler nofile.handler: there is no file nofile.py in the function's source", nil},
		{"python", startPython, "deep/nofile.handler", "LoadError", "handler deep/nofile.handler: there is no file deep/nofile.py in the function's source", nil},
		{"python", startPython, "failures.nothing", "LoadError", "handler failures.nothing: failures.py has no 'nothing'; its functions are: Odd, ...", nil},
		{"python", startPython, "json.handler", "LoadError", "handler json.handler: a module named json is part of Python and already loaded; rename the file", nil},
		{"python", startPython, "handler", "LoadError", "handler 'handler' is not of the form MODULE.FUNCTION, as in main.handler", nil},
		{"python", startPython, "wrong.none", "LoadError", "handler wrong.none has the wrong parameters: want (event) or (event, context)", nil},
		{"python", startPython, "wrong.three", "LoadError", "handler wrong.three has the wrong parameters: ...", nil},
		{"python", startPython, "wrong.keyword", "LoadError", "handler wrong.keyword has the wrong parameters: ...", nil},
		{"python", startPython, "wrong.Kind", "LoadError", "handler wrong.Kind is a class: name a function or an instance with __call__", nil},
		{"python", startPython, "wrong.number", "LoadError", "handler wrong.number is a int: it cannot be called", nil},

		{"node", startNode, "syntax.handler", "SyntaxError", "Unexpected token '}'", []string{"syntax.js:3", "^", "SyntaxError: "}},
		{"node", startNode, "badmodule.handler", "SyntaxError", "Unexpected token '}'", []string{"badmodule.mjs:3", "^", "SyntaxError: "}},
		{"node", startNode, "raises.handler", "TypeError", "Cannot read properties of undefined (reading 'table')", []string{"TypeError: ", "at prepare", "raises.js:2", "raises.js:5"}},
		{"node", startNode, "missing.handler", "Error", "Cannot find module 'nowhere-to-be-found'...", []string{"missing.js:1"}},
		{"node", startNode, "dangling.handler", "RangeError", "at load", []string{"dangling.js:1"}},
		{"node", startNode, "nofile.handler", "LoadError", "handler nofile.handler: there is no file nofile.js, .mjs or .cjs in the function's source", nil},
		{"node", startNode, "common.nothing", "LoadError", "handler common.nothing: common.cjs does not export nothing; it exports handler", nil},
		{"node", startNode, "handler", "LoadError", "handler handler is not of the form MODULE.FUNCTION, as in index.handler", nil},
		{"node", startNode, "wrong.number", "LoadError", "handler wrong.number is of type number: it cannot be called", nil},
		{"node", startNode, "wrong.Kind", "LoadError", "handler wrong.Kind is a class: export a function", nil},
	} {
		t.Run(test.name+" "+test.handler, func(t *testing.T) {
			t.Parallel()
			p := test.start(t, test.handler)
			got := p.failed()
			if got.Kind != "error" || got.Name != test.errName || !beginLike([]string{got.Message}, []string{test.message}) {
				t.Errorf("got %s %s: %s\nwant error %s: %s", got.Kind, got.Name, got.Message, test.errName, test.message)
			}
			inOrder(t, got.Stack, test.stack...)
			usersOnly(t, got.Stack)
			p.noFrames()
		})
	}
}

// TestPythonLoadPrints is that the output of code that does not load is there.
func TestPythonLoadPrints(t *testing.T) {
	t.Parallel()
	p := startPython(t, "leaves.handler")
	p.failed()
	p.waitFor(p.out1, "leaving\n")
}

// inOrder wants parts in text, one after the other.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("no %q, in this order, in:\n%s", part, text)
			return
		}
		rest = after
	}
}

// usersOnly wants no frame of a shim, or of what runs one, in a stack.
func usersOnly(t *testing.T, stack string) {
	t.Helper()
	for _, other := range []string{"worker.py", "runnel_", "worker.cjs", "load.cjs", "errors.cjs", "node:internal", "frozen importlib", "asyncio"} {
		if strings.Contains(stack, other) {
			t.Errorf("%q in the stack:\n%s", other, stack)
		}
	}
}

func TestPythonStacks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		handler string
		want    []string
	}{
		{"failures.fail", []string{"Traceback (most recent call last):\n  File ", "in fail\n    inner(event)", "in inner\n    raise ValueError(", "\nValueError: bad event: 1"}},
		{"failures.fail_later", []string{"Traceback (most recent call last):\n  File ", "in fail_later\n    inner(event)", "in inner\n", "\nValueError: bad event: 1"}},
		{"failures.fail_awaitable", []string{"Traceback (most recent call last):\n  File ", "in fail_later\n    inner(event)", "\nValueError: bad event: 1"}},
		{"failures.chained", []string{"in inner\n", "ValueError: bad event: 1", "direct cause", "in chained\n", "RuntimeError: it failed"}},
		{"failures.library", []string{"in library\n    return json.loads", "json/decoder.py", "json.decoder.JSONDecodeError: "}},
		{"failures.recursive", []string{"in recursive\n", "Previous line repeated", "RecursionError: "}},
		{"failures.ladder", []string{"in ladder\n", "bytes left out", "xxxx"}},
	} {
		t.Run(test.handler, func(t *testing.T) {
			t.Parallel()
			got := startPython(t, test.handler).ready().fail("1")
			inOrder(t, got.Stack, test.want...)
			usersOnly(t, got.Stack)
			if len(got.Stack) > 16<<10 || len(got.Message) > 16<<10 {
				t.Errorf("a stack of %d bytes, a message of %d; want at most 16 KiB each", len(got.Stack), len(got.Message))
			}
		})
	}
}

func TestNodeStacks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		handler string
		want    []string
	}{
		{"failures.fail", []string{"RangeError: bad event: 1\n    at inner (", "failures.js:6", "failures.js:9"}},
		{"failures.failLater", []string{"RangeError: bad event: 1\n    at inner (", "failures.js:12"}},
		{"failures.chained", []string{"Error: it failed\n", "exports.chained", "\nCaused by: RangeError: bad event: 1\n", "at inner"}},
		{"failures.recursive", []string{"RangeError: Maximum call stack size exceeded\n    at recursive"}},
		{"failures.large", []string{"Error: xxxx", "bytes left out", "failures.js:"}},
	} {
		t.Run(test.handler, func(t *testing.T) {
			t.Parallel()
			got := startNode(t, test.handler).ready().fail("1")
			inOrder(t, got.Stack, test.want...)
			usersOnly(t, got.Stack)
			if len(got.Stack) > 16<<10 || len(got.Message) > 16<<10 {
				t.Errorf("a stack of %d bytes, a message of %d; want at most 16 KiB each", len(got.Stack), len(got.Message))
			}
		})
	}
}
