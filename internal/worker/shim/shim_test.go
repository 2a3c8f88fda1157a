package shim_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

func TestFiles(t *testing.T) {
	var got []string
	err := fs.WalkDir(shim.Files(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, path)
		}
		return err
	})
	want := []string{
		"node/attribution.cjs", "node/context.cjs", "node/errors.cjs", "node/load.cjs", "node/worker.cjs",
		"python/lib/Algorithmia/__init__.py", "python/lib/Algorithmia/acl.py", "python/lib/Algorithmia/algorithm.py",
		"python/lib/Algorithmia/client.py", "python/lib/Algorithmia/data.py", "python/lib/Algorithmia/datadirectory.py",
		"python/lib/Algorithmia/datafile.py", "python/lib/Algorithmia/errors.py", "python/lib/adk.py",
		"python/lib/runnel.py", "python/lib/runnel_adk.py", "python/lib/runnel_context.py", "python/lib/runnel_errors.py",
		"python/lib/runnel_load.py", "python/lib/runnel_many.py", "python/lib/runnel_values.py", "python/worker.py",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("files (-want +got), error %v:\n%s", err, diff)
	}
}

func TestCommand(t *testing.T) {
	for _, test := range []struct {
		runtime runnel.Runtime
		want    []string
	}{
		{runnel.RuntimePython, []string{"/bin/it", "-X", "utf8", "/shims/python/worker.py"}},
		{runnel.RuntimeNode, []string{"/bin/it", "/shims/node/worker.cjs"}},
		{runnel.RuntimeExec, nil},
	} {
		if diff := cmp.Diff(test.want, shim.Command(test.runtime, "/bin/it", "/shims")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.runtime, diff)
		}
	}
}

// row is one call and what comes of it. Errors are compared by their begin.
type row struct {
	handler  string // of the module values if it has no dot
	mode     string // each
	format   string // json
	payloads []string
	want     []string
}

func (r row) name() string {
	return strings.Join([]string{r.handler, r.mode, r.format, strings.Join(r.payloads, ",")}, " ")
}

func testRows(t *testing.T, start func(testing.TB, string, ...string) *process, rows []row) {
	t.Helper()
	for _, r := range rows {
		if !strings.Contains(r.handler, ".") {
			r.handler = "values." + r.handler
		}
		if r.mode == "" {
			r.mode = "each"
		}
		if r.format == "" {
			r.format = "json"
		}
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			p := start(t, r.handler).ready()
			// Twice: a call must leave the worker as it was.
			for range 2 {
				got := p.call(r.mode, r.format, r.payloads...)
				if !beginLike(got, r.want) {
					t.Errorf("%s", cmp.Diff(r.want, got))
				}
			}
			p.drained()
			p.noFrames()
		})
	}
}

// beginLike compares answers; of a wanted one that ends with "..." the begin.
func beginLike(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		begin, cut := strings.CutSuffix(want[i], "...")
		if cut && strings.HasPrefix(got[i], begin) {
			continue
		}
		if got[i] != begin {
			return false
		}
	}
	return true
}

// both is what the two languages have in common.
var both = []row{
	{handler: "echo", payloads: []string{`{"a":[1,2.5,true,null,"ü"]}`}, want: []string{`json:{"a":[1,2.5,true,null,"ü"]}`}},
	{handler: "echo", payloads: []string{` "spaced" `}, want: []string{`json:"spaced"`}},
	{handler: "echo", payloads: []string{`null`}, want: []string{`none:`}},
	{handler: "echo", payloads: []string{`0`}, want: []string{`json:0`}},
	{handler: "echo", payloads: []string{`""`}, want: []string{`json:""`}},
	{handler: "echo", payloads: []string{`1`, `{}`, `"three"`}, want: []string{`json:1`, `json:{}`, `json:"three"`}},
	{handler: "echo", payloads: []string{`1`, `{`, `3`}, want: []string{`json:1`, `undecodable InputError: the payload is not JSON: ...`, `json:3`}},
	{handler: "echo", format: "text", payloads: []string{"gr\u00fc\u00dfe\n", ""}, want: []string{"text:gr\u00fc\u00dfe\n", "text:"}},
	{handler: "echo", format: "bytes", payloads: []string{"\x00\xff\n", ""}, want: []string{"bytes:\x00\xff\n", "bytes:"}},
	{handler: "echo", mode: "list", payloads: []string{`1`, `null`}, want: []string{`json:1`, `none:`}},
	{handler: "echo", mode: "list", format: "bytes", payloads: []string{"a\n", "\xff"}, want: []string{"bytes:a\n", "bytes:\xff"}},
	{handler: "echo", mode: "list", payloads: []string{`1`, `{`}, want: []string{`call undecodable InputError: the payload is not JSON: ...`}},
	{handler: "nothing", payloads: []string{`1`}, want: []string{`none:`}},
	{handler: "number", payloads: []string{`1`}, want: []string{`json:42`}},
	{handler: "text", payloads: []string{`1`}, want: []string{`json:"grüße"`}},
	{handler: "text", format: "text", payloads: []string{`1`}, want: []string{`text:grüße`}},
	{handler: "number", format: "text", payloads: []string{`1`}, want: []string{`json:42`}},
	{handler: "raw", payloads: []string{`1`}, want: []string{"bytes:\x00\xff\n"}},
	{handler: "raw", format: "text", payloads: []string{`1`}, want: []string{"bytes:\x00\xff\n"}},
	{handler: "unicode", payloads: []string{`1`}, want: []string{`json:{"größe":"雪 🚀","lone":"\ud800"}`}},
	{handler: "size", payloads: []string{`"` + strings.Repeat("x", 1<<20) + `"`, `""`}, want: []string{`json:1048576`, `json:0`}},
	{handler: "large", payloads: []string{`1048576`, `1`}, want: []string{`json:"` + strings.Repeat("x", 1<<20) + `"`, `json:"x"`}},
	{handler: "later", payloads: []string{`1`, `2`}, want: []string{`json:1`, `json:2`}},
	{handler: "serial", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `json:1`, `json:1`}},
	{handler: "defaults", payloads: []string{`1`}, want: []string{`json:true`}},
	{handler: "variadic", payloads: []string{`1`}, want: []string{`json:2`}},

	{handler: "reverse", mode: "list", payloads: []string{`1`, `2`, `3`}, want: []string{`json:3`, `json:2`, `json:1`}},
	{handler: "total", mode: "list", payloads: []string{`1`, `2`}, want: []string{`json:[1,"m-1"]`, `json:[2,"m-2"]`}},
	{handler: "short", mode: "list", payloads: []string{`1`, `2`}, want: []string{`call output OutputError: the handler returned a list of 1 for a list of 2`}},
	{handler: "number", mode: "list", payloads: []string{`1`, `2`}, want: []string{`call output OutputError: the handler returned ...`}},
	{handler: "nothing", mode: "list", payloads: []string{`1`}, want: []string{`call output OutputError: the handler returned ...`}},

	{handler: "failures.reject", payloads: []string{`1`}, want: []string{`rejected Reject: no such customer`}},
	{handler: "failures.retry", payloads: []string{`1`}, want: []string{`retry RetryAfter: busy (after 2.5)`}},
	{handler: "failures.reject", mode: "list", payloads: []string{`1`, `2`}, want: []string{`call rejected Reject: no such customer`}},
}

func TestPython(t *testing.T) {
	testRows(t, startPython, both)
	testRows(t, startPython, []row{
		{handler: "kind", payloads: []string{`{}`}, want: []string{`json:"dict"`}},
		{handler: "kind", format: "text", payloads: []string{`{}`}, want: []string{`text:str`}},
		{handler: "kind", format: "bytes", payloads: []string{`{}`}, want: []string{`json:"bytes"`}},
		{handler: "echo", format: "text", payloads: []string{"\xff"}, want: []string{`undecodable InputError: the payload is not text: ...`}},
		{handler: "lone", format: "text", payloads: []string{`1`}, want: []string{`output OutputError: the returned text is not Unicode: ...`}},
		{handler: "nan", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: nan is not JSON (at a[1])`}},
		{handler: "cyclic", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: a dict that contains itself is not JSON (at a[0])`}},
		{handler: "strange", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: an object of type datetime.date is not JSON (at items[0].when)`}},
		{handler: "strange_key", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: a key of type tuple is not JSON (at a)`}},
		{handler: "deep", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: it is nested too deeply`}},
		{handler: "wrapped", payloads: []string{`1`}, want: []string{`json:1`}},
		{handler: "instance", payloads: []string{`1`}, want: []string{`json:[1,2]`}},
		{handler: "partial", payloads: []string{`1`}, want: []string{`json:["first",1]`}},
		{handler: "async_instance", payloads: []string{`1`, `2`}, want: []string{`json:1`, `json:2`}},
		{handler: "awaitable", payloads: []string{`1`, `2`}, want: []string{`json:1`, `json:2`}},
		{handler: "same_loop", payloads: []string{`1`, `2`}, want: []string{`json:1`, `json:1`}},
		{handler: "some", mode: "list", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error ValueError: 2 is even`, `json:3`}},
		{handler: "unfit", mode: "list", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `output OutputError: the returned value cannot be sent: an object of type object is not JSON (the value itself)`, `json:3`}},

		{handler: "failures.fail", payloads: []string{`{"a":1}`}, want: []string{`error ValueError: bad event: {'a': 1}`}},
		{handler: "failures.fail_later", payloads: []string{`1`, `2`}, want: []string{`error ValueError: bad event: 1`, `error ValueError: bad event: 2`}},
		{handler: "failures.fail", mode: "list", payloads: []string{`1`}, want: []string{`call error ValueError: bad event: [1]`}},
		{handler: "failures.only", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error KeyError: 'two'`, `json:3`}},
		{handler: "failures.recursive", payloads: []string{`1`}, want: []string{`error RecursionError: maximum recursion depth exceeded...`}},
		{handler: "failures.retry_badly", payloads: []string{`1`}, want: []string{`error ValueError: RetryAfter wants a number of seconds from 0, not -1.0`}},
		{handler: "failures.odd", payloads: []string{`1`}, want: []string{`error Odd: <str() of the error raised ValueError>`}},
		{handler: "failures.memory", payloads: []string{`1`}, want: []string{`out_of_memory MemoryError: out of memory`}},
		{handler: "failures.leave", payloads: []string{`1`}, want: []string{`error SystemExit: 3`}},
		{handler: "failures.interrupt", payloads: []string{`1`}, want: []string{`error KeyboardInterrupt: `}},
		{handler: "failures.surrogate", payloads: []string{`1`}, want: []string{"error ValueError: \ufffd"}},
		{handler: "failures.returned", payloads: []string{`1`}, want: []string{`error ValueError: returned`}},

		{handler: "deep/inner.handler", payloads: []string{`"a"`}, want: []string{`json:"deep a"`}},
		{handler: "deep.inner.handler", payloads: []string{`"a"`}, want: []string{`json:"deep a"`}},
		{handler: "./values.echo", payloads: []string{`1`}, want: []string{`json:1`}},
	})
}

func TestNode(t *testing.T) {
	testRows(t, startNode, both)
	testRows(t, startNode, []row{
		{handler: "null", payloads: []string{`1`}, want: []string{`none:`}},
		{handler: "kind", payloads: []string{`{}`}, want: []string{`json:"object"`}},
		{handler: "kind", format: "text", payloads: []string{`{}`}, want: []string{`text:string`}},
		{handler: "kind", format: "bytes", payloads: []string{`{}`}, want: []string{`json:"Buffer"`}},
		{handler: "nan", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: NaN is not JSON (the value itself)`}},
		{handler: "cyclic", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: an object that contains itself is not JSON (at a[0])`}},
		{handler: "strange", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: a BigInt is not JSON (at items[0].when)`}},
		{handler: "function", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: a function is not JSON (the value itself)`}},
		{handler: "symbol", payloads: []string{`1`}, want: []string{`output OutputError: the returned value cannot be sent: a symbol is not JSON (the value itself)`}},
		{handler: "thenable", payloads: []string{`1`}, want: []string{`json:1`}},
		{handler: "callback", payloads: []string{`1`, `2`}, want: []string{`json:1`, `json:2`}},
		{handler: "callbackNow", payloads: []string{`1`}, want: []string{`json:1`}},
		{handler: "some", mode: "list", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error RangeError: 2 is even`, `json:3`}},
		{handler: "unfit", mode: "list", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `output OutputError: the returned value cannot be sent: a BigInt is not JSON (the value itself)`, `json:3`}},

		{handler: "failures.fail", payloads: []string{`{"a":1}`}, want: []string{`error RangeError: bad event: {"a":1}`}},
		{handler: "failures.failLater", payloads: []string{`1`, `2`}, want: []string{`error RangeError: bad event: 1`, `error RangeError: bad event: 2`}},
		{handler: "failures.fail", mode: "list", payloads: []string{`1`}, want: []string{`call error RangeError: bad event: [1]`}},
		{handler: "failures.failCallback", payloads: []string{`1`}, want: []string{`error RangeError: called back`}},
		{handler: "failures.only", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error TypeError: two`, `json:3`}},
		{handler: "failures.recursive", payloads: []string{`1`}, want: []string{`error RangeError: Maximum call stack size exceeded`}},
		{handler: "failures.string", payloads: []string{`1`}, want: []string{`error string: just text`}},
		{handler: "failures.object", payloads: []string{`1`}, want: []string{`error object: {"code":7}`}},
		{handler: "failures.undefined", payloads: []string{`1`}, want: []string{`error undefined: undefined`}},
		{handler: "failures.rejectContext", payloads: []string{`1`}, want: []string{`rejected Reject: no such customer`}},
		{handler: "failures.retryOwn", payloads: []string{`1`}, want: []string{`retry RetryAfter: own class (after 3)`}},
		{handler: "failures.retryBadly", payloads: []string{`1`}, want: []string{`error RangeError: RetryAfter wants a number of seconds from 0, not -1`}},
		{handler: "failures.memory", payloads: []string{`1`}, want: []string{`out_of_memory RangeError: Array buffer allocation failed`}},
		{handler: "failures.returned", payloads: []string{`1`}, want: []string{`error TypeError: returned`}},
		{handler: "failures.dangling", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error RangeError: nobody looks`, `json:3`}},
		{handler: "failures.danglingLater", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error RangeError: bad event: 2`, `json:3`}},
		{handler: "failures.danglingTwice", payloads: []string{`1`, `2`, `3`}, want: []string{`json:1`, `error RangeError: two`, `error RangeError: three`}},

		{handler: "esm.handler", payloads: []string{`"a"`}, want: []string{`json:"mjs a"`}},
		{handler: "default.handler", payloads: []string{`"a"`}, want: []string{`json:"default a"`}},
		{handler: "awaits.handler", payloads: []string{`"a"`}, want: []string{`json:"awaited a"`}},
		{handler: "common.handler", payloads: []string{`"a"`}, want: []string{`json:"cjs a"`}},
		{handler: "../module/index.handler", payloads: []string{`"a"`}, want: []string{`json:"function a"`}},
		{handler: "../module.handler", payloads: []string{`"a"`}, want: []string{`json:"function a"`}},
		{handler: "../module/src/app.handler", payloads: []string{`"a"`}, want: []string{`json:"src a"`}},
		{handler: "./values.echo", payloads: []string{`1`}, want: []string{`json:1`}},
	})
}

// TestByHand is the example of docs/handlers.md of a worker without a shim.
func TestByHand(t *testing.T) {
	perl := interpreter(t, "perl")
	if !perlHasJSON(perl) {
		t.Skip("this perl is without its module JSON::PP")
	}
	script, err := filepath.Abs("testdata/byhand/worker.pl")
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, []string{perl, script}, t.TempDir(), nil).ready()
	got := p.call("each", "json", `{"name":"Ada"}`, `{}`, `[`)
	want := []string{`json:{...`, "error Error: there is no name", "error Error: ..."}
	if !beginLike(got, want) || !strings.Contains(got[0], `"greeting":"Hello, Ada!"`) {
		t.Errorf("%s", cmp.Diff(want, got))
	}
	got = p.call("each", "json", `{"name":"Ada"}`)
	if len(got) != 1 || !strings.Contains(got[0], `"times":2`) {
		t.Errorf("second call: got %q, want it to count 2", got)
	}
	p.waitFor(p.out1, "greeting Ada\n")
	p.drained()

	source, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../../docs/handlers.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manual), "```perl\n"+string(source)+"```\n") {
		t.Error("docs/handlers.md shows another worker than testdata/byhand/worker.pl")
	}
}
