package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestAlgorithmia runs programs for Algorithmia's ADK where its real client and
// its real ADK are installed, and where they are not. The ADK is the worker's in
// both cases; the client is the real one where there is one.
func TestAlgorithmia(t *testing.T) {
	t.Parallel()
	if program == "" {
		t.Skip("functions are ours")
	}
	for _, real := range []bool{true, false} {
		name := "worker's client"
		if real {
			name = "real client"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			packages := ""
			if real {
				packages = sitePackages(t, installed(t, "algorithmia", "bin", "python"))
			}
			data := startData(t)
			text := "functions:\n"
			for name, source := range map[string]string{
				"program": "algorithmia/program", "guide": "../internal/worker/shim/testdata/algorithm/seed",
			} {
				path, err := filepath.Abs(source)
				if err != nil {
					t.Fatal(err)
				}
				text += fmt.Sprintf("  %s:\n    runtime: python\n    source: %s\n    env: {ALGORITHMIA_API: %q, ALGORITHMIA_API_KEY: simKey, PYTHONPATH: %q, PYTHONDONTWRITEBYTECODE: \"1\"}\n",
					name, path, data.URL, packages)
			}
			e := startFunctions(t, text)

			for _, test := range []struct{ function, kind, payload, want string }{
				{"program", "text", "Ada", "hello Ada"},
				{"program", "bytes", "abc", "cba"},
				{"program", "json", `"Ada"`, "hello Ada"},
				{"program", "json", `{"fail":"not that"}`, "runnel: program failed (error): InputError: not that"},
				{"program", "json", `{"call":"Ada"}`, "text/plain Ada"},
				{"program", "json", `{"call":{"a":1}}`, `application/json {"a": 1}`},
				{"program", "json", `{"missing":"none"}`, `{"error":true}`},
				{"program", "json", `{"bad":1}`, `{"type":"InputError"}`},
				{"program", "json", `{"b":[1,2]}`, fmt.Sprintf(`{"real":%t,"ours":true,"again":{"b":[1,2]},"text":"{\"b\": [1, 2]}","names":["a.json"]}`, real)},
				{"guide", "json", `{"filename":"some-new-file.txt","data":"file contents to store"}`, ""},
			} {
				got := e.call(t, test.function, test.kind, test.payload)
				if got != test.want {
					t.Errorf("%s %s %s: got %q, want %q", test.function, test.kind, test.payload, got, test.want)
				}
			}
			if got := data.get("COLLECTION_OWNER/COLLECTION_NAME/some-new-file.txt"); got != "file contents to store" {
				t.Errorf("the file of the guide has %q", got)
			}
		})
	}
}

// call calls a function.
func (e endpoint) call(t *testing.T, function, kind, payload string) string {
	t.Helper()
	return e.command(t, "invoke", "--content-type", kind, function, payload)
}

// command runs a command of ours and returns what it prints, or the last line
// that says why it failed.
func (e endpoint) command(t *testing.T, args ...string) string {
	t.Helper()
	return e.commandFrom(t, nil, args...)
}

// commandFrom runs a command with a standard input.
func (e endpoint) commandFrom(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(e.clientEnv(t), "RUNNEL_URL="+e.url)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return lines[len(lines)-1]
	}
	return strings.TrimSuffix(stdout.String(), "\n")
}

// receive receives so many messages, deletes them, and returns their bodies in
// the order of the alphabet.
func (e endpoint) receive(t *testing.T, queue string, number int) []string {
	t.Helper()
	got := strings.Split(e.command(t, "receive", "-n", strconv.Itoa(number), "--wait", "30s", queue), "\n")
	slices.Sort(got)
	return got
}

// sitePackages is where the packages of a Python environment are.
func sitePackages(t *testing.T, python string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), python, "-c", `import sysconfig; print(sysconfig.get_path("purelib"))`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// dataServer answers in the shapes of Algorithmia's API, as far as the programs
// ask: files, the list of a collection, and one algorithm.
type dataServer struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]string // by owner/collection/file
}

func startData(t *testing.T) *dataServer {
	t.Helper()
	d := &dataServer{files: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/data/{owner}/{collection}/{file}", d.file)
	mux.HandleFunc("GET /v1/data/{owner}/{collection}", d.list)
	mux.HandleFunc("POST /v1/algo/demo/Hello/0.1.0", d.algo)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	return d
}

func (d *dataServer) get(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[path]
}

func (d *dataServer) file(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/data/")
	text, ok := d.files[path]
	switch {
	case r.Header.Get("Authorization") != "simKey":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d.files[path] = string(body)
		answer(w, http.StatusOK, map[string]any{"result": "data://" + path})
	case !ok:
		w.Header().Set("X-Error-Message", "no such file")
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{"message": "no such file"}})
	default:
		w.Header().Set("X-Data-Type", "file")
		_, _ = io.WriteString(w, text)
	}
}

func (d *dataServer) list(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var files []map[string]any
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		if rest, ok := strings.CutPrefix(name, strings.TrimPrefix(r.URL.Path, "/v1/data/")+"/"); ok {
			files = append(files, map[string]any{"filename": rest, "size": len(d.files[name]), "last_modified": "2026-01-02T15:04:05.000Z"})
		}
	}
	w.Header().Set("X-Data-Type", "directory")
	answer(w, http.StatusOK, map[string]any{"files": files})
}

func (d *dataServer) algo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if string(body) == "fail" {
		answer(w, http.StatusOK, map[string]any{"error": map[string]any{"message": "it failed", "error_type": "InputError"}})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"result":   fmt.Sprintf("%s %s", r.Header.Get("Content-Type"), body),
		"metadata": map[string]any{"content_type": "text", "duration": 0.1},
	})
}

func answer(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a value of this file
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
