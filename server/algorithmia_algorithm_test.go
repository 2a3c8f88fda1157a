package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// algorithm is what the tests read of an algorithm, or of an error.
type algorithm struct {
	ID, Name string
	Details  struct{ Label, Summary, Tagline string }
	Settings struct {
		Callability string `json:"algorithm_callability"`
		Network     string `json:"network_access"`
		Language    string
		Environment string `json:"algorithm_environment"`
	}
	Version struct {
		Hash         string `json:"git_hash"`
		Semantic     string `json:"semantic_version"`
		ReleaseNotes string `json:"release_notes"`
		SampleInput  string `json:"sample_input"`
	} `json:"version_info"`
	Build struct {
		ID     string `json:"build_id"`
		Status string
		Commit string `json:"commit_sha"`
	}
	Compilation struct {
		Successful bool
		Output     string
	}
	SelfLink string `json:"self_link"`
	Error    json.RawMessage
}

// number is the code of an error, 0 if there is none.
func (a *algorithm) number() int {
	var detail struct{ Code int }
	_ = json.Unmarshal(a.Error, &detail) // it may be a text
	return detail.Code
}

// v1 makes a call of Algorithmia's API.
func (r *running) v1(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	return r.call(t, method, "/v1/"+path, http.Header{"Content-Type": {"application/json"}}, body)
}

// algorithm makes a call that answers with an algorithm, or an error.
func (r *running) algorithm(t *testing.T, method, path, body string) (status int, out algorithm) {
	t.Helper()
	status, text := r.v1(t, method, "algorithms/"+path, body)
	if strings.HasPrefix(text, "{") { // others are files, and lists
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return status, out
}

// made is algorithm, of a call that is to succeed.
func (r *running) made(t *testing.T, want int, method, path, body string) algorithm {
	t.Helper()
	status, out := r.algorithm(t, method, path, body)
	if status != want {
		t.Fatalf("%s %s: got %d %s, want %d", method, path, status, out.Error, want)
	}
	return out
}

// manager runs a server with keys, and uses a management key.
func manager(t *testing.T) *running {
	t.Helper()
	needPython(t)
	cfg := config(t)
	cfg.Dev = false
	r := start(t, cfg)
	key, err := r.AddKeyWith(t.Context(), "default", runnel.Permissions{Management: true})
	if err != nil {
		t.Fatal(err)
	}
	r.key = key
	return r
}

func (r *running) with(key server.Key) *running {
	as := *r
	as.key = key
	return &as
}

var changing = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16}|\d{4}-\d\d-\d\dT[0-9:.]+Z|http://[0-9.:]+`)

// masked takes what differs between two runs out of an answer.
func masked(text string) string {
	return changing.ReplaceAllStringFunc(text, func(s string) string {
		switch {
		case strings.HasPrefix(s, "http"):
			return "URL"
		case strings.HasSuffix(s, "Z"):
			return "TIME"
		case len(s) == 36:
			return "UUID"
		}
		return "HASH"
	})
}

// printed is the program of the guides, which returns a part of its input.
const printed = `import Algorithmia
from Algorithmia import ADK
def apply(input):
    return "%s " + input.get("filename")
algorithm = ADK(apply)
algorithm.init("Algorithmia")
`

// TestAlgorithmStory is the life of an algorithm, in exact answers.
func TestAlgorithmStory(t *testing.T) {
	t.Parallel()
	r := manager(t)
	const at = "algorithms/default/Hello_1"
	exact := func(step string, wantStatus int, want, method, path, body string) {
		t.Helper()
		if status, got := r.v1(t, method, path, body); status != wantStatus || masked(got) != want {
			t.Fatalf("%s: %d %s\n got %s\nwant %s", step, status, cmp.Diff(want, masked(got)), masked(got), want)
		}
	}
	const (
		missing = `{"error":"No such algorithm"}`
		head    = `{"id":"UUID","name":"Hello_1","details":{"label":"Hello","summary":"says","tagline":""},"settings":{"algorithm_callability":"%s",` +
			`"source_visibility":"open","language":"python3","environment":"cpu","license":"mit","network_access":"full","pipeline_enabled":false,"insights_enabled":false,` +
			`"royalty_microcredits":0,"algorithm_environment":"UUID"},`
		source = `"source":{"scm":{"id":"internal","provider":"internal","default":true,"enabled":true}},`
		build  = `{"build_id":"HASH","status":"succeeded","commit_sha":"HASH","started_at":"TIME","finished_at":"TIME",%s"resource_type":"algorithm_build"}`
		tail   = `"compilation":{"successful":true,"output":""},"self_link":"URL/v1/algorithms/default/Hello_1/versions/HASH","resource_type":"algorithm"}`
	)
	private := fmt.Sprintf(head, "private")
	exact("nothing", 404, missing, "GET", at, "")
	exact("created", 201, private+source+`"resource_type":"algorithm"}`, "POST", "algorithms/default",
		`{"name": "Hello_1", "details": {"label": "Hello", "summary": "says"}, "settings": {"source_visibility": "open", "license": "mit", "network_access": "full", "pipeline_enabled": false}}`)
	exact("taken", 400, `{"error":{"id":"UUID","code":1002,"message":"there is an algorithm default/Hello_1 already"}}`, "POST", "algorithms/default", `{"name": "Hello_1"}`)
	exact("no builds", 200, `{"marker":null,"next_link":null,"results":[]}`, "GET", at+"/builds", "")
	exact("no build to publish", 400, `{"error":{"id":"UUID","code":1010,"message":"the algorithm has no build: compile it first"}}`, "POST", at+"/versions", `{}`)
	exact("the template", 200, `{"results":[{"name":"algorithmia.conf","size":47,"last_modified":"TIME"},{"name":"requirements.txt","size":105,"last_modified":"TIME"},`+
		`{"name":"src/Hello_1.py","size":296,"last_modified":"TIME"},{"name":"src/__init__.py","size":0,"last_modified":"TIME"}]}`, "GET", at+"/source", "")
	exact("saved", 200, `{"name":"src/Hello_1.py","size":160,"last_modified":"TIME"}`, "PUT", at+"/source/src/Hello_1.py", fmt.Sprintf(printed, "got"))
	built := fmt.Sprintf(build, "")
	exact("compiled", 200, private+`"version_info":{"git_hash":"HASH","version_uuid":"UUID"},"build":`+built+","+source+tail, "POST", at+"/compile", "{}")
	first := r.made(t, 200, "GET", "default/Hello_1", "")
	exact("compiled again", 200, private+`"version_info":{"git_hash":"HASH","version_uuid":"UUID"},"build":`+built+","+source+tail, "POST", at+"/compile/", "")
	exact("one build", 200, `{"marker":null,"next_link":null,"results":[`+built+`]}`, "GET", at+"/builds?limit=56", "")
	exact("the build", 200, built, "GET", at+"/builds/"+first.Build.ID, "")
	if _, log := r.v1(t, "GET", at+"/builds/"+first.Build.ID+"/logs", ""); !strings.HasPrefix(log, `{"logs":"Beginning container customization\nversion `+first.Version.Hash) || !strings.HasSuffix(log, `succeeded\n"}`) {
		t.Errorf("the log of the build is %s", log)
	}
	// A function always has a live version: the first is.
	if status, text := r.with(r.Keys()[0]).called(t, "default/Hello_1", `{"filename": "a.txt"}`); status != 200 || text != "got a.txt" {
		t.Fatalf("call: %d %s", status, text)
	}

	const info = `"version_info":{"git_hash":"HASH","semantic_version":"0.1.0","version_uuid":"UUID","release_notes":"first","sample_input":"{\"filename\": \"a\"}"},"build":`
	published := info + fmt.Sprintf(build, `"version_info":{"semantic_version":"0.1.0"},`) + "," + source + tail
	exact("published", 200, private+published, "POST", at+"/versions",
		`{"details": {}, "settings": {"algorithm_callability": "private"}, "version_info": {"version_type": "minor", "release_notes": "first", "sample_input": {"filename": "a"}}}`)
	if got := r.made(t, 200, "GET", "default/Hello_1/versions/0.1.0", ""); got.Version.Hash != first.Version.Hash {
		t.Errorf("0.1.0 is %s, want %s", got.Version.Hash, first.Version.Hash)
	}
	exact("by its hash", 200, private+published, "GET", at+"/versions/"+first.Version.Hash, "")
	exact("by its id", 200, private+published, "GET", "algorithms/"+first.ID, "")
	exact("versions by its id", 200, `{"marker":null,"next_link":null,"results":[`+private+published+`]}`, "GET", "algorithms/"+first.ID+"/versions?published=True", "")
	exact("one is private", 200, `{"marker":null,"next_link":null,"results":[`+private+published+`]}`, "GET", at+"/versions?callable=private&published=false", "")
	exact("none is public by the word", 200, `{"marker":null,"next_link":null,"results":[]}`, "GET", at+"/versions?callable=public", "")
	exact("none is public", 200, `{"marker":null,"next_link":null,"results":[]}`, "GET", at+"/versions?callable=true", "")
	exact("published already", 400, `{"error":{"id":"UUID","code":1007,"message":"version HASH of default/Hello_1 is published privately already, as 0.1.0"}}`, "POST", at+"/version",
		`{"settings": {"algorithm_callability": "private", "insights_enabled": false, "royalty_microcredits": 0}, "version_info": {"version_type": "revision"}}`)
	// A private one may become public, and keeps its number and its texts.
	exact("made public", 200, fmt.Sprintf(head, "public")+published, "POST", at+"/version", `{"settings": {"algorithm_callability": "public"}}`)
	if name, ok := r.AlgorithmName(t.Context(), strings.ToUpper(first.ID)); name != "default/Hello_1" || !ok {
		t.Errorf("the id names %q", name)
	}

	exact("deleted", 204, "", "DELETE", at, "")
	exact("gone", 404, missing, "GET", at, "")
	exact("gone by its id", 404, missing, "GET", "algorithms/"+first.ID+"/builds", "")
	if _, ok := r.AlgorithmName(t.Context(), first.ID); ok {
		t.Error("its id still names it")
	}
	// What comes later under the name is another one.
	if again := r.made(t, 201, "POST", "default", `{"name": "Hello_1"}`); again.ID == first.ID {
		t.Error("the new one has the id of the old one")
	}
	exact("no builds of the old one", 200, `{"marker":null,"next_link":null,"results":[]}`, "GET", at+"/builds", "")
	exact("a path of two parts that nobody has", 404, missing, "GET", "algorithms/hello/errors", "")
}

// TestAlgorithmLive: a build changes nothing for who names no version, what is
// published is live, and a build that fails leaves all as it was.
func TestAlgorithmLive(t *testing.T) {
	t.Parallel()
	r := manager(t)
	r.made(t, 201, "POST", "default", `{"name": "steps"}`)
	save := func(text string) {
		t.Helper()
		if status, out := r.algorithm(t, "PUT", "default/steps/source/src/steps.py", text); status != 200 {
			t.Fatalf("save: %d %s", status, out.Error)
		}
	}
	answers := func(step, want string) {
		t.Helper()
		if status, text := r.with(r.Keys()[0]).called(t, "default/steps", `{"filename": "x"}`); status != 200 || text != want {
			t.Errorf("%s: got %d %s, want %s", step, status, text, want)
		}
	}
	save("def apply(:\n")
	broken := r.made(t, 200, "POST", "default/steps/compile", "")
	if broken.Compilation.Successful || !strings.Contains(broken.Compilation.Output, "SyntaxError") || broken.Build.Status != "failed" || broken.Build.Commit == "" || broken.Version.Hash != broken.Build.Commit {
		t.Errorf("the first build, which fails: %+v", broken)
	}
	if status, _ := r.with(r.Keys()[0]).called(t, "default/steps", "1"); status != 404 {
		t.Errorf("a function that was never built: got %d, want 404", status)
	}
	save(fmt.Sprintf(printed, "one"))
	one := r.made(t, 200, "POST", "default/steps/compile", "")
	r.made(t, 200, "POST", "default/steps/versions", `{"version_info": {"version_type": "major"}}`)
	save(fmt.Sprintf(printed, "two"))
	two := r.made(t, 200, "POST", "default/steps/compile", "")
	answers("built only", "one x")
	save("def apply(:\n")
	broken = r.made(t, 200, "POST", "default/steps/compile", "")
	if now := r.made(t, 200, "GET", "default/steps", ""); now.Compilation.Successful || now.Build.ID != broken.Build.ID || now.Version.Hash != two.Version.Hash {
		t.Errorf("after a build that failed: %+v", now)
	}
	if status, out := r.algorithm(t, "POST", "default/steps/versions", `{}`); status != 400 || out.number() != 6001 {
		t.Errorf("publish what does not build: %d %s", status, out.Error)
	}
	save(fmt.Sprintf(printed, "two"))
	if again := r.made(t, 200, "POST", "default/steps/compile", ""); again.Version.Hash != two.Version.Hash || !again.Compilation.Successful || again.Build.ID != two.Build.ID {
		t.Errorf("what was built already: %+v, want %+v", again, two)
	}
	got := r.made(t, 200, "POST", "default/steps/versions", `{"version_info": {"version_type": "patch"}}`)
	if got.Version.Semantic != "1.0.1" || got.Version.Hash != two.Version.Hash {
		t.Errorf("published as %s %s, want 1.0.1 %s", got.Version.Semantic, got.Version.Hash, two.Version.Hash)
	}
	answers("published", "two x")

	// Network access is the function's, and does not make a version.
	if out := r.made(t, 200, "PUT", "default/steps", `{"settings": {"network_access": "isolated"}, "details": {"tagline": "t"}}`); out.Settings.Network != "isolated" || out.Details.Tagline != "t" || out.Version.Hash != two.Version.Hash {
		t.Errorf("updated: %+v", out)
	}
	answers("isolated", "two x")
	_, text := r.with(r.Keys()[0]).call(t, "GET", "/api/v1/functions/default/steps", nil, "")
	var native struct {
		Definition struct{ Timeout, Network string }
		History    []struct{ Version, How string }
	}
	if err := json.Unmarshal([]byte(text), &native); err != nil {
		t.Fatal(err)
	}
	if d := native.Definition; d.Timeout != "50m" && d.Timeout != "50m0s" && d.Timeout != "3000s" || d.Network != "isolated" {
		t.Errorf("the definition is %+v", d)
	}
	if h := native.History; len(h) != 2 || h[0].Version != two.Version.Hash || h[0].How != "publish" || h[1].Version != one.Version.Hash {
		t.Errorf("the history is %+v", h)
	}
	// A client that sends a form, with the names of what it would change.
	status, text := r.call(t, "PUT", "/v1/algorithms/default/steps", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "details=label&settings=license")
	if status != 200 || !strings.HasPrefix(text, `{"id":"`) {
		t.Errorf("a form: %d %s", status, text)
	}

	// The pages of both lists; of builds each that was made is there once.
	for _, list := range []struct {
		name string
		want int
	}{{"builds", 4}, {"versions", 2}} {
		path, seen := "algorithms/default/steps/"+list.name+"?limit=1", 0
		for path != "" && seen < 10 {
			status, text := r.v1(t, "GET", path, "")
			var page struct {
				Marker  *string
				Link    *string `json:"next_link"`
				Results []json.RawMessage
			}
			if err := json.Unmarshal([]byte(text), &page); err != nil || status != 200 || len(page.Results) != 1 {
				t.Fatalf("%s: %d %s", path, status, text)
			}
			seen++
			path = ""
			if page.Marker != nil {
				path = strings.TrimPrefix(*page.Link, r.URL()+"/v1/")
			}
		}
		if seen != list.want {
			t.Errorf("%s: %d pages, want %d", list.name, seen, list.want)
		}
	}
}

// TestAlgorithmAccess: who may do what.
func TestAlgorithmAccess(t *testing.T) {
	t.Parallel()
	r := manager(t)
	keyOf := func(account string, p runnel.Permissions) server.Key {
		t.Helper()
		k, err := r.AddKeyWith(t.Context(), account, p)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if _, err := r.AddAccount(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	wrong := r.key
	wrong.Token += "x"
	keys := []struct {
		name string
		key  server.Key
	}{
		{"none", server.Key{}}, {"wrong", wrong}, {"other's", keyOf("other", runnel.Permissions{Management: true, Algorithms: []string{"algo://*"}})},
		{"standard", keyOf("default", runnel.AllPermissions())}, {"management", r.key}, {"admin", r.Keys()[0]},
	}
	for _, name := range []string{"secret_one", "public_one"} {
		r.made(t, 201, "POST", "default", `{"name": "`+name+`"}`)
		r.made(t, 200, "POST", "default/"+name+"/compile", "")
	}
	r.made(t, 200, "POST", "default/secret_one/versions", `{}`)
	r.made(t, 200, "POST", "default/public_one/versions", `{"settings": {"algorithm_callability": "public"}}`)
	id := r.made(t, 200, "GET", "default/secret_one", "").ID
	build := r.made(t, 200, "GET", "default/secret_one", "").Build.ID

	own := [6]int{401, 401, 403, 200, 200, 200}
	manage := [6]int{401, 401, 403, 403, 200, 200}
	for _, test := range []struct {
		method, path, body string
		want               [6]int
	}{
		{"GET", "default/secret_one", "", own},
		{"GET", id, "", own},
		{"GET", "default/public_one", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "default/public_one/versions", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "default/public_one/versions/0.1.0", "", [6]int{401, 401, 200, 200, 200, 200}},
		{"GET", "default/none", "", [6]int{401, 401, 404, 404, 404, 404}},
		{"GET", "default/secret_one/versions", "", own},
		{"GET", "default/secret_one/versions/0.1.0", "", own},
		{"GET", "default/public_one/builds", "", own},
		{"GET", id + "/builds/" + build, "", own},
		{"GET", "default/secret_one/builds/" + build + "/logs", "", own},
		{"GET", "default/public_one/source", "", own},
		{"GET", "default/public_one/source/algorithmia.conf", "", own},
		{"GET", "default/public_one/secrets", "", own},
		{"GET", "default/public_one/errors", "", own},
		{"GET", "default/public_one/log", "", own},
		{"GET", "default/public_one/scm/status", "", own},
		{"PUT", "default/public_one", `{}`, manage},
		{"PUT", id, `{}`, manage},
		{"POST", "default/public_one/compile", "", manage},
		{"PUT", "default/public_one/source/algorithmia.conf", `{"algoname": "public_one"}`, manage},
		{"POST", id + "/versions", `{"settings": {"algorithm_callability": "private"}}`, [6]int{401, 401, 403, 403, 400, 400}},
		{"POST", id + "/secrets", `{"secret_key": "1"}`, [6]int{401, 401, 403, 403, 400, 400}},
		{"PUT", id + "/secrets/none", `{}`, [6]int{401, 401, 403, 403, 404, 404}},
		{"DELETE", id + "/secrets/none", "", [6]int{401, 401, 403, 403, 404, 404}},
		{"DELETE", "default/public_one/source/none", "", [6]int{401, 401, 403, 403, 404, 404}},
		{"PUT", "default/public_one/source", "no archive", [6]int{401, 401, 403, 403, 400, 400}},
		{"POST", "default", `{"name": ""}`, [6]int{401, 401, 403, 403, 400, 400}},
		{"DELETE", "default/none", "", [6]int{401, 401, 404, 404, 404, 404}},
	} {
		for i, k := range keys {
			status, out := r.with(k.key).algorithm(t, test.method, test.path, test.body)
			if status != test.want[i] {
				t.Errorf("%s %s with key %s: got %d %s, want %d", test.method, test.path, k.name, status, out.Error, test.want[i])
			}
			if want := map[int]int{401: 2002, 403: 2001}[status]; want != 0 && out.number() != want {
				t.Errorf("%s %s with key %s: the code is %d, want %d", test.method, test.path, k.name, out.number(), want)
			}
		}
	}
	for i, want := range []string{"", "", `"public_one"`, `"public_one","secret_one"`, `"public_one","secret_one"`, `"public_one","secret_one"`} {
		if i < 2 {
			continue
		}
		_, text := r.with(keys[i].key).v1(t, "GET", "users/default/algorithms", "")
		var list []struct{ Algoname string }
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, one := range list {
			names = append(names, `"`+one.Algoname+`"`)
		}
		if got := strings.Join(names, ","); got != want {
			t.Errorf("key %s: the list has %s, want %s", keys[i].name, got, want)
		}
	}
	// Of others' a private version is not there.
	r.made(t, 200, "PUT", "default/public_one/source/src/public_one.py", fmt.Sprintf(printed, "more"))
	hidden := r.made(t, 200, "POST", "default/public_one/compile", "")
	others := r.with(keys[2].key)
	if status, out := others.algorithm(t, "GET", "default/public_one/versions/"+hidden.Version.Hash, ""); status != 404 || out.number() != 1014 {
		t.Errorf("a version that is not published: %d %s", status, out.Error)
	}
	if out := others.made(t, 200, "GET", "default/public_one", ""); out.Version.Semantic != "0.1.0" || out.Build.ID != "" {
		t.Errorf("to others it is %+v", out)
	}
}

// TestAlgorithmFaults: what is wrong, and what is said of it.
func TestAlgorithmFaults(t *testing.T) {
	t.Parallel()
	r := manager(t)
	r.made(t, 201, "POST", "default", `{"name": "fine"}`)
	r.made(t, 200, "POST", "default/fine/compile", "")
	for _, test := range []struct {
		method, path, body string
		status, number     int
		says               string
	}{
		{"POST", "default", `{`, 400, 2013, "not JSON"},
		{"POST", "default", `{"name": 1}`, 400, 2015, "name"},
		{"POST", "default", `{}`, 400, 1001, "name is missing"},
		{"POST", "default", `{"name": "1a"}`, 400, 6001, "a letter first"},
		{"POST", "default", `{"name": "a-b"}`, 400, 6001, "a letter first"},
		{"POST", "default", `{"name": "` + strings.Repeat("a", 31) + `"}`, 400, 6001, "up to 30"},
		{"POST", "default", `{"name": "builds"}`, 400, 6001, "reserved"},
		{"POST", "default", `{"name": "new", "source": {"scm": "github"}}`, 400, 1008, "only internal"},
		{"POST", "default", `{"name": "new", "settings": {"license": "bsd", "environment": "gpu", "algorithm_callability": "all"}}`, 400, 6001, `settings.license: "bsd" is none of apl, apache2, gpl3, mit`},
		{"POST", "default", `{"name": "new", "settings": {"algorithm_environment": "067110e7-8969-4441-b3d6-5333f18a3db3"}}`, 400, 6001, "(Python 3."},
		{"POST", "default", `{"name": "new", "settings": {"language": "cobol"}}`, 400, 6001, "settings.language"},
		{"POST", "default", `{"name": "new", "details": {"label": "` + strings.Repeat("a", 300) + `"}}`, 400, 6001, "details.label"},
		{"PUT", "default/fine", `[]`, 400, 2015, ""},
		{"PUT", "default/fine", `{"settings": {"network_access": "none"}}`, 400, 6001, "settings.network_access"},
		{"POST", "default/fine/versions", `{"version_info": {"version_type": "huge"}}`, 400, 6001, "version_type"},
		{"GET", "default/fine/versions/9.9.9", "", 404, 1014, "no version"},
		{"GET", "default/fine/versions?limit=0", "", 400, 5003, "limit"},
		{"GET", "default/fine/versions?limit=x", "", 400, 5003, "limit"},
		{"GET", "default/fine/builds?limit=1001", "", 400, 5003, "limit"},
		{"GET", "default/fine/builds?marker=x", "", 400, 5002, "marker"},
		{"GET", "default/fine/builds?marker=dmVyc2lvbgAx", "", 400, 5002, "marker"}, // one of versions
		{"GET", "default/fine/builds/0123456789abcdef", "", 404, 1010, "no build"},
		{"GET", "default/fine/builds/x/logs", "", 404, 1010, "no build"},
		{"POST", "default/fine/secrets", `x`, 400, 8000, "JSON"},
		{"POST", "default/fine/secrets", `{"short_name": "a", "secret_value": "v"}`, 400, 8001, "secret_key"},
		{"POST", "default/fine/secrets", `{"secret_key": "A"}`, 400, 8004, "secret_value"},
		{"POST", "default/fine/secrets", `{"secret_key": "A-B", "secret_value": "v"}`, 400, 8001, "variable"},
		{"POST", "default/fine/secrets", `{"secret_key": "A", "secret_value": "v", "provider_id": "another"}`, 400, 8006, "provider"},
		{"PUT", "default/fine/secrets/none", `{}`, 404, 8008, "no secret"},
		{"DELETE", "default/fine/secrets/none", "", 404, 8008, "no secret"},
	} {
		status, out := r.algorithm(t, test.method, test.path, test.body)
		if status != test.status || out.number() != test.number || !strings.Contains(string(out.Error), strings.ReplaceAll(test.says, `"`, `\"`)) {
			t.Errorf("%s %s %.80s: got %d %s, want %d, %d, %q", test.method, test.path, test.body, status, out.Error, test.status, test.number, test.says)
		}
	}
	// An account that is none is an admin's to name.
	if status, out := r.with(r.Keys()[0]).algorithm(t, "POST", "nobody", `{"name": "new"}`); status != 404 || out.number() != 3000 {
		t.Errorf("an account that is none: %d %s", status, out.Error)
	}
}

// TestAlgorithmSecrets: they reach the code, and no answer has a value.
func TestAlgorithmSecrets(t *testing.T) {
	t.Parallel()
	r := manager(t)
	id := r.made(t, 201, "POST", "default", `{"name": "keeper"}`).ID
	var answers strings.Builder
	do := func(want int, method, path, body string) (out struct {
		ID, ShortName, Description string
		Short                      string `json:"short_name"`
		Key                        string `json:"secret_key"`
		Owner                      string `json:"owner_id"`
	},
	) {
		t.Helper()
		status, text := r.v1(t, method, "algorithms/"+path, body)
		if status != want {
			t.Fatalf("%s %s: got %d %s", method, path, status, text)
		}
		answers.WriteString(text)
		_ = json.Unmarshal([]byte(text), &out) // of a list nothing is read
		return out
	}
	// Before the first build, too.
	s := do(200, "POST", id+"/secrets", `{"owner_type": "algorithm", "owner_id": "`+id+`", "short_name": "tst", "secret_key": "WORD", "secret_value": "xyzzy-first", "description": " "}`)
	if s.Short != "tst" || s.Key != "WORD" || s.Owner != id {
		t.Errorf("made: %+v", s)
	}
	do(400, "POST", id+"/secrets", `{"secret_key": "WORD", "secret_value": "xyzzy-other"}`)
	do(200, "PUT", "default/keeper/source/src/keeper.py", "import os\nfrom Algorithmia import ADK\ndef apply(input):\n    return str(len(os.environ.get('WORD', ''))) + '/' + str(len(os.environ.get('OTHER', '')))\nADK(apply).init(0)\n")
	do(200, "POST", "default/keeper/compile", "")
	called := func(want string) {
		t.Helper()
		if status, text := r.with(r.Keys()[0]).called(t, "default/keeper", "1"); status != 200 || text != want {
			t.Errorf("got %d %s, want %s", status, text, want)
		}
	}
	called("11/0")
	if s = do(200, "PUT", "default/keeper/secrets/"+s.ID, `{"secret_value": "xyzzy-longer", "short_name": "new"}`); s.Short != "new" {
		t.Errorf("changed: %+v", s)
	}
	called("12/0")
	if s = do(200, "PUT", "default/keeper/secrets/"+s.ID, `{"secret_key": "OTHER", "description": "moved"}`); s.Key != "OTHER" || s.Short != "new" || s.Description != "moved" {
		t.Errorf("moved: %+v", s)
	}
	called("0/12")
	do(200, "GET", id+"/secrets", "")
	if text := answers.String(); strings.Contains(text, "xyzzy") || !strings.Contains(text, `{"secrets":[{"id":"`+s.ID+`","short_name":"new"`) {
		t.Errorf("the answers: %s", text)
	}
	do(204, "DELETE", id+"/secrets/"+s.ID, "")
	called("0/0")
	if _, text := r.v1(t, "GET", "algorithms/"+id+"/secrets", ""); text != `{"secrets":[],"results":[]}` {
		t.Errorf("none is left: %s", text)
	}
	if _, text := r.v1(t, "GET", "secret-provider", ""); !strings.HasPrefix(text, `[{"id":"`) {
		t.Errorf("the providers: %s", text)
	}
}

// TestAlgorithmEnvironments: each that is listed has a template that is what a
// new algorithm begins with, and that builds.
func TestAlgorithmEnvironments(t *testing.T) {
	t.Parallel()
	needs(t, "node", "go")
	r := manager(t)
	_, text := r.v1(t, "GET", "algorithm-environments/edge/languages", "")
	var languages []struct{ Name, DisplayName, Configuration string }
	if err := json.Unmarshal([]byte(text), &languages); err != nil || len(languages) != 3 {
		t.Fatalf("the languages: %s", text)
	}
	for _, l := range languages {
		_, text := r.v1(t, "GET", "algorithm-environments/edge/languages/"+l.Name+"/environments", "")
		var list struct {
			Environments []struct {
				ID      string
				Spec    string `json:"environment_specification_id"`
				Display string `json:"display_name"`
				Machine string `json:"machine_type"`
			}
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Environments) != 1 {
			t.Fatalf("the environments of %s: %s", l.Name, text)
		}
		e := list.Environments[0]
		status, template := r.v1(t, "GET", "algorithm-environments/edge/environment-specifications/"+e.Spec+"/template", "")
		if status != 200 {
			t.Fatalf("the template of %s: %d %s", l.Name, status, template)
		}
		fresh := r.made(t, 201, "POST", "default", `{"name": "algorithm", "settings": {"algorithm_environment": "`+e.ID+`"}}`)
		if fresh.Settings.Environment != e.ID || fresh.Settings.Language != l.Name {
			t.Errorf("%s: made for %+v", l.Name, fresh.Settings)
		}
		_, before := r.v1(t, "GET", "algorithms/default/algorithm/source", "")
		if status, after := r.v1(t, "PUT", "algorithms/default/algorithm/source", template); status != 200 || masked(after) != masked(before) {
			t.Errorf("%s: the template is not what an algorithm begins with: %d %s", l.Name, status, cmp.Diff(before, after))
		}
		if l.Name == "go" { // a build with a cache of its own takes half a minute
			_, code := r.v1(t, "GET", "algorithms/default/algorithm/source/main.go", "")
			_, mod := r.v1(t, "GET", "algorithms/default/algorithm/source/go.mod", "")
			dir := t.TempDir()
			for name, text := range map[string]string{"main.go": code, "go.mod": mod} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "go", "vet", ".")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("the template of Go: %v: %s", err, out)
			}
		} else {
			if out := r.made(t, 200, "POST", "default/algorithm/compile", ""); !out.Compilation.Successful {
				t.Errorf("%s: the template does not build: %s", l.Name, out.Compilation.Output)
			}
			if status, text := r.with(r.Keys()[0]).called(t, "default/algorithm", `"there"`); status != 200 || strings.Trim(text, `"`) != "hello there" {
				t.Errorf("%s: it answers %d %s", l.Name, status, text)
			}
		}
		r.made(t, 204, "DELETE", "default/algorithm", "")
	}
	if status, text := r.v1(t, "GET", "algorithm-environments/edge/languages/cobol/environments", ""); status != 404 {
		t.Errorf("no such language: %d %s", status, text)
	}
	for path, want := range map[string]string{
		"scms":                       `{"results":[{"id":"internal","name":"","provider":"internal","default":true,"enabled":true}]}`,
		"scms/internal":              `{"id":"internal","name":"","provider":"internal","default":true,"enabled":true}`,
		"scms/internal/oauth/status": `{"authorization_status":"unauthorized"}`,
	} {
		if status, got := r.v1(t, "GET", path, ""); status != 200 || got != want {
			t.Errorf("%s: got %d %s", path, status, got)
		}
	}
}
