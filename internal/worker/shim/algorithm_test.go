package shim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/worker/shim"
)

// startAlgorithm starts a worker in a directory of testdata/algorithm. The
// handler's name is the default one.
func startAlgorithm(t testing.TB, dir string, env ...string) *process {
	t.Helper()
	args := shim.Command(runnel.RuntimePython, interpreter(t, "python3"), writeShims(t))
	return start(t, args, filepath.Join("testdata", "algorithm", dir), append(env, "PYTHONDONTWRITEBYTECODE=1"))
}

func startProgram(t testing.TB, name string, env ...string) *process {
	t.Helper()
	return startAlgorithm(t, ".", append(env, "RUNNEL_HANDLER=programs.apply", "ALGORITHM="+name)...)
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, r := range []row{
		{handler: "echo", payloads: []string{`{"a":[1]}`}, want: []string{`json:{"a":[1]}`}},
		{handler: "echo", payloads: []string{`"x"`, `null`}, want: []string{`text:x`, `none:`}},
		{handler: "echo", format: "text", payloads: []string{`x`}, want: []string{`text:x`}},
		{handler: "echo", format: "bytes", payloads: []string{"\x00\xff"}, want: []string{"bytes:\x00\xff"}},
		{handler: "echo", mode: "list", payloads: []string{`1`, `"x"`}, want: []string{`json:1`, `text:x`}},
		{handler: "kind", payloads: []string{`{}`}, want: []string{`json:{"kind":"dict"}`}},
		{handler: "kind", format: "text", payloads: []string{`{}`}, want: []string{`json:{"kind":"str"}`}},
		{handler: "kind", format: "bytes", payloads: []string{`{}`}, want: []string{`json:{"kind":"bytes"}`}},
		{handler: "text", payloads: []string{`1`}, want: []string{`text:grüße`}},
		{handler: "raw", payloads: []string{`1`}, want: []string{"bytes:\x00\xff"}},
		{handler: "more", format: "bytes", payloads: []string{"ab"}, want: []string{"bytes:ab"}},
		{handler: "nothing", payloads: []string{`1`}, want: []string{`none:`}},
		{handler: "later", payloads: []string{`1`}, want: []string{`json:1`}},
		{handler: "state", payloads: []string{`1`, `2`}, want: []string{`json:[1,1]`, `json:[2,1]`}},
		{handler: "falsy", payloads: []string{`1`}, want: []string{`json:[1,[]]`}},
		{handler: "maybe", payloads: []string{`1`}, want: []string{`json:[1,null]`}},
		{handler: "unused", payloads: []string{`1`}, want: []string{`json:1`}},
		{handler: "data", payloads: []string{`1`}, want: []string{`json:["loaded","loaded",{"payload":"loaded"},false]`}},
		{handler: "handler", payloads: []string{`1`}, want: []string{`json:[1,1]`}},
		{handler: "not_started", payloads: []string{`1`}, want: []string{`json:{"kind":"int"}`}},
		{handler: "twice", payloads: []string{`1`}, want: []string{`json:{"kind":"int"}`}},

		{handler: "fails", payloads: []string{`1`}, want: []string{`error AlgorithmError: 'key'`}},
		{handler: "fails", payloads: []string{`"typed"`}, want: []string{`error InputError: not that`}},
		{handler: "fails", payloads: []string{`"odd"`}, want: []string{`error AlgorithmError: odd type`}},
		{handler: "fails", payloads: []string{`"called"`}, want: []string{`error ParsingError: the other one failed`}},
		{handler: "fails", payloads: []string{`"reject"`}, want: []string{`rejected Reject: never`}},
		{handler: "fails", payloads: []string{`"object"`}, want: []string{`output OutputError: the returned value cannot be sent: an object of type object is not JSON (the value itself)`}},
		{handler: "fails", payloads: []string{`{`}, want: []string{`undecodable InputError: ...`}},
		{handler: "fails", mode: "list", payloads: []string{`1`}, want: []string{`call error AlgorithmError: 'key'`}},
	} {
		if r.mode == "" {
			r.mode = "each"
		}
		if r.format == "" {
			r.format = "json"
		}
		t.Run(r.name(), func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, r.handler).ready()
			for range 2 {
				if got := p.call(r.mode, r.format, r.payloads...); !beginLike(got, r.want) {
					t.Errorf("%s", cmp.Diff(r.want, got))
				}
			}
			p.drained()
			p.noFrames()
		})
	}
}

// TestAlgorithmStack is that a stack begins with the user's frames.
func TestAlgorithmStack(t *testing.T) {
	t.Parallel()
	got := startProgram(t, "fails").ready().fail("1")
	inOrder(t, got.Stack, "Traceback (most recent call last):\n  File ", "programs.py", "in fails\n", `raise KeyError("key")`, "\nKeyError: 'key'")
	usersOnly(t, got.Stack)
}

func TestAlgorithmLoadFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ program, name, message string }{
		{"bad_load", "LoadingError", "no model"},
		{"typed_load", "InputError", "no model"},
		{"exits", "LoadingError", "1"},
		{"two", "LoadError", "apply takes a second parameter, which is what load returns; there is no load"},
		{"none", "LoadError", "apply has the wrong parameters: want (input) or (input, state)"},
		{"mlops", "LoadError", "init(mlops=True) is not served: there is no MLOps agent here"},
	} {
		t.Run(test.program, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, test.program)
			got := p.failed()
			if got.Kind != "error" || got.Name != test.name || got.Message != test.message {
				t.Errorf("got %s %s: %s, want error %s: %s", got.Kind, got.Name, got.Message, test.name, test.message)
			}
			usersOnly(t, got.Stack)
			if test.program == "bad_load" {
				inOrder(t, got.Stack, "programs.py", "in bad_load", "ValueError: no model")
			}
		})
	}
}

// TestAlgorithmManifest is that load gets the files of the model manifest.
func TestAlgorithmManifest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file, manifest string
		want, failure        string
	}{
		{name: "plain", file: "model_manifest.json", manifest: `{"required_files": [{"name": "words", "source_uri": "data://demo/models/words", "fail_on_tamper": true}],
			"optional_files": [{"name": "extra", "source_uri": "data://demo/models/extra"}]}`, want: `json:["these are words","and more"]`},
		{name: "frozen", file: "model_manifest.json.freeze", manifest: `{"required_files": [{"name": "words", "source_uri": "data://demo/models/words", "fail_on_tamper": true,
			"md5_checksum": "00000000000000000000000000000000"}], "lock_checksum": "e13d8ddce35d4b0f3e24a75a3b0e5c45"}`, failure: "model_manifest.json.freeze was changed by hand: freeze it again"},
		{name: "tampered", file: "model_manifest.json.freeze", manifest: `{"required_files": [{"name": "words", "source_uri": "data://demo/models/words", "fail_on_tamper": true, "md5_checksum": "0"}],
			"lock_checksum": "LOCK"}`, failure: "the model file words is not the one of the manifest: its MD5 is ..."},
		{name: "missing", file: "model_manifest.json", manifest: `{"required_files": [{"name": "words", "source_uri": "data://demo/models/none"}]}`, failure: "unable to get file demo/models/none - ..."},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			data := startData(t)
			data.put("demo/models/words", "these are words")
			data.put("demo/models/extra", "and more")
			dir := t.TempDir()
			copyFile(t, filepath.Join(dir, "programs.py"), "testdata/algorithm/programs.py")
			// The sum is over how Python shows the rest of the manifest.
			const lock = "8cd063332972863f7711fd79af6b56f2"
			manifest := strings.ReplaceAll(test.manifest, "LOCK", lock)
			if err := os.WriteFile(filepath.Join(dir, test.file), []byte(manifest), 0o600); err != nil {
				t.Fatal(err)
			}
			args := shim.Command(runnel.RuntimePython, interpreter(t, "python3"), writeShims(t))
			env := append(data.env(), "RUNNEL_HANDLER=programs.apply", "ALGORITHM=model", "PYTHONDONTWRITEBYTECODE=1")
			p := start(t, args, dir, env)
			if test.failure != "" {
				if got := p.failed(); got.Name != "LoadingError" || !beginLike([]string{got.Message}, []string{test.failure}) {
					t.Errorf("got %s: %s, want LoadingError: %s", got.Name, got.Message, test.failure)
				}
				return
			}
			if diff := cmp.Diff([]string{test.want}, p.ready().call("each", "json", "1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAlgorithmOlder is a project of the time before the ADK. Its
// algorithmia.conf says where the algorithm is.
func TestAlgorithmOlder(t *testing.T) {
	t.Parallel()
	for _, handler := range []string{"", "main.handler", "src/Older.apply", "src.Older.apply"} {
		t.Run(handler, func(t *testing.T) {
			t.Parallel()
			p := startAlgorithm(t, "older", "RUNNEL_HANDLER="+handler).ready()
			want := []string{"text:hello Ada", "error AlgorithmError: want a text"}
			if diff := cmp.Diff(want, p.call("each", "json", `"Ada"`, "1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAlgorithmDefault is which file the default handler is in.
func TestAlgorithmDefault(t *testing.T) {
	t.Parallel()
	const source = "def apply(input):\n    return %q\n\ndef handler(event):\n    return 'handler'\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // an answer, or the message of a failure
	}{
		{"named", map[string]string{"algorithmia.conf": "algoname = Hello", "src/Hello.py": "Hello"}, "text:Hello"},
		{"by custom", map[string]string{"algorithmia.conf": `{"algoname":"Hello"}`, "src/Algorithm.py": "Algorithm"}, "text:Algorithm"},
		{"main first", map[string]string{"algorithmia.conf": `{"algoname":"Hello"}`, "src/Hello.py": "Hello", "main.py": "main"}, `json:"handler"`},
		{"no project", map[string]string{"src/Hello.py": "Hello"}, "handler main.handler: there is no file main.py in the function's source"},
		{"no name", map[string]string{"algorithmia.conf": "{}", "src/Algorithm.py": "Algorithm"}, "handler main.handler: there is no file main.py in the function's source"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "src"), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range test.files {
				if strings.HasSuffix(name, ".py") {
					text = fmt.Sprintf(source, text)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := shim.Command(runnel.RuntimePython, interpreter(t, "python3"), writeShims(t))
			p := start(t, args, dir, []string{"RUNNEL_HANDLER=main.handler", "PYTHONDONTWRITEBYTECODE=1"})
			if strings.HasPrefix(test.want, "handler ") {
				if got := p.failed(); got.Message != test.want {
					t.Errorf("got %q, want %q", got.Message, test.want)
				}
				return
			}
			if diff := cmp.Diff([]string{test.want}, p.ready().call("each", "json", "1")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAlgorithmReal is that the worker's ADK is taken where the real packages
// are installed, and the real client.
func TestAlgorithmReal(t *testing.T) {
	t.Parallel()
	real, err := filepath.Abs("testdata/algorithm/real")
	if err != nil {
		t.Fatal(err)
	}
	const source = `
import Algorithmia
import adk
from Algorithmia import ADK

def apply(input):
    return [Algorithmia.client(), adk.ADK is ADK, Algorithmia.__file__.endswith("real/Algorithmia/__init__.py")]

`
	for _, start := range []string{"ADK(apply).init()", "adk.ADK(apply).init()", "Algorithmia.handler(apply).serve()"} {
		t.Run(start, func(t *testing.T) {
			t.Parallel()
			p := startSource(t, source+start+"\n", "PYTHONPATH="+real).ready()
			if diff := cmp.Diff([]string{`json:["the real client",true,true]`}, p.call("each", "json", "1")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		p := startAlgorithm(t, "own").ready()
		if diff := cmp.Diff([]string{`json:["my own",1]`}, p.call("each", "json", "1")); diff != "" {
			t.Error(diff)
		}
	})
}

// startSource starts a worker on a main.py.
func startSource(t testing.TB, source string, env ...string) *process {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	args := shim.Command(runnel.RuntimePython, interpreter(t, "python3"), writeShims(t))
	return start(t, args, dir, append(env, "PYTHONDONTWRITEBYTECODE=1"))
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAlgorithmOfGuide is the algorithm of Algorithmia's guide to its event
// flows: it writes a file into a collection.
func TestAlgorithmOfGuide(t *testing.T) {
	t.Parallel()
	data := startData(t)
	data.put("COLLECTION_OWNER/COLLECTION_NAME", "")
	p := startAlgorithm(t, "seed", data.env()...).ready()
	got := p.call("each", "json", `{"filename":"some-new-file.txt","data":"file contents to store"}`, `{}`)
	if !beginLike(got, []string{"none:", "error AlgorithmError: ..."}) {
		t.Errorf("got %q", got)
	}
	if got := data.get("COLLECTION_OWNER/COLLECTION_NAME/some-new-file.txt"); got != "file contents to store" {
		t.Errorf("the file has %q", got)
	}
}

func TestAlgorithmiaClient(t *testing.T) {
	t.Parallel()
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		data := startData(t)
		data.put("demo", "")
		got := startProgram(t, "files", data.env()...).ready().call("each", "json", "1")
		want := `json:{"before":false,"json":{"a":1},"text":"grüße","copy":"{\"a\": 1}","exists":[true,false],` +
			`"files":[["a b.json",8,2026],["t.txt",7,2026]],"dirs":["demo"],` +
			`"missing":"unable to get file .my/things/none - no such file","deleted":[true,true]}`
		if diff := cmp.Diff([]string{want}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("calls", func(t *testing.T) {
		t.Parallel()
		p := startProgram(t, "calls", startData(t).env()...).ready()
		got := p.call("each", "json", `"Ada"`, `{"a":1}`, `null`, `"fail"`, `"refuse"`)
		want := []string{
			`json:{"result":"text/plain Ada","type":"text"}`,
			`json:{"result":"application/json {\"a\": 1}","type":"text"}`,
			`json:{"result":"application/json null","type":"text"}`,
			`error InputError: it failed`,
			`error AlgorithmError: authorization required`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		source := "import Algorithmia\ndef handler(event):\n  return Algorithmia.algo('demo/Hello/0.1.0').pipe(event).result\n"
		p := startSource(t, source, startData(t).env()...).ready()
		if diff := cmp.Diff([]string{"bytes:\x00\xff"}, p.call("each", "bytes", "\x00\xff")); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("without an address", func(t *testing.T) {
		t.Parallel()
		got := startProgram(t, "calls").ready().call("each", "json", `1`)
		want := []string{"error AlgorithmError: the address of the API is not known: ALGORITHMIA_API is not set"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// dataServer answers in the shapes of Algorithmia's API: files, directories
// and one algorithm.
type dataServer struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string // by owner/collection/file; directories are there too
}

func startData(t testing.TB) *dataServer {
	t.Helper()
	d := &dataServer{files: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/data/", d.data)
	mux.HandleFunc("POST /v1/algo/demo/Hello/0.1.0", d.algo)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *dataServer) env() []string {
	return []string{"ALGORITHMIA_API=" + d.URL, "ALGORITHMIA_API_KEY=simKey"}
}

func (d *dataServer) put(path, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = text
}

func (d *dataServer) get(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[path]
}

func (d *dataServer) data(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v1/data/"), "/")
	if r.Header.Get("Authorization") != "simKey" {
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"message": "authorization required"}})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": err.Error()}})
		return
	}
	text, ok := d.files[path]
	switch r.Method {
	case http.MethodPost:
		var dir struct{ Name string }
		if json.Unmarshal(body, &dir) != nil || dir.Name == "" {
			answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "no name"}})
			return
		}
		d.files[strings.TrimPrefix(path+"/"+dir.Name, "/")] = ""
		answer(w, http.StatusOK, map[string]any{"result": "data://" + path})
	case http.MethodPut:
		if _, ok := d.files[path[:max(0, strings.LastIndex(path, "/"))]]; !ok {
			answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{"message": "no such directory"}})
			return
		}
		d.files[path] = string(body)
		answer(w, http.StatusOK, map[string]any{"result": "data://" + path})
	case http.MethodDelete:
		n := len(d.files)
		maps.DeleteFunc(d.files, func(name, _ string) bool { return name == path || strings.HasPrefix(name, path+"/") })
		answer(w, http.StatusOK, map[string]any{"result": map[string]any{"deleted": n - len(d.files)}})
	case http.MethodGet, http.MethodHead:
		switch {
		case ok && strings.Count(path, "/") == 2:
			w.Header().Set("X-Data-Type", "file")
			_, _ = io.WriteString(w, text)
		case ok || path == "":
			w.Header().Set("X-Data-Type", "directory")
			answer(w, http.StatusOK, d.list(path, r.URL.Query().Get("marker")))
		default:
			w.Header().Set("X-Error-Message", "no such file")
			answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{"message": "not found"}})
		}
	}
}

// list has a page for every entry; the marker is the last one's name.
func (d *dataServer) list(path, marker string) map[string]any {
	var files, folders []map[string]any
	var last any // null ends the list
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if len(files)+len(folders) == 1 {
			break
		}
		rest, ok := strings.CutPrefix(name, path+"/")
		if path == "" {
			rest, ok = name, true
		}
		switch {
		case !ok || strings.Contains(rest, "/") || rest <= marker:
			continue
		case path == "":
			folders = append(folders, map[string]any{"name": rest})
		default:
			files = append(files, map[string]any{"filename": rest, "size": len(d.files[name]), "last_modified": "2026-01-02T15:04:05.000Z"})
		}
		last = rest
	}
	return map[string]any{"files": files, "folders": folders, "marker": last}
}

func (d *dataServer) algo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	kind := r.Header.Get("Content-Type")
	switch {
	case err != nil:
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": err.Error()}})
	case string(body) == "fail":
		answer(w, http.StatusOK, map[string]any{"error": map[string]any{"message": "it failed", "error_type": "InputError", "stacktrace": "at"}})
	case string(body) == "refuse":
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"message": "authorization required"}})
	case kind == "application/octet-stream":
		answer(w, http.StatusOK, map[string]any{"result": body, "metadata": map[string]any{"content_type": "binary", "duration": 0.1}})
	default:
		answer(w, http.StatusOK, map[string]any{"result": fmt.Sprintf("%s %s", kind, body), "metadata": map[string]any{"content_type": "text", "duration": 0.1}})
	}
}

func answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
