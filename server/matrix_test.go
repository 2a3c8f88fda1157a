package server_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// matrixText has a line for each route: the route, a request of it, its body,
// and the status that each of matrixKeys gets, in their order.
//
//go:embed testdata/matrix.txt
var matrixText string

// matrixKeys are whose the requests of the matrix are: nobody's; of a key with a
// wrong secret, and of one that was revoked; of the account other, with all that
// a key of an account can have; of the account acme, to which what the requests
// name belongs, with a standard and a management key; of an admin of the account
// default, who has a queue and a flow of the same names.
var matrixKeys = []string{"none", "wrong", "revoked", "other", "standard", "management", "admin"}

// TestMatrix makes a request of every route with every sort of key.
// RUNNEL_MATRIX=FILE writes what it saw, to be read line by line before it is
// believed.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needPython(t)
	m := newMatrix(t)
	rows := make(map[string][]string)
	for line := range strings.Lines(matrixText) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) != 4 || rows[fields[0]] != nil {
			t.Fatalf("matrix.txt: %q: want ROUTE | PATH | BODY | STATUSES, once", line)
		}
		rows[fields[0]] = fields
	}
	var seen bytes.Buffer
	for _, route := range m.admin.Routes() {
		row := rows[route]
		if row == nil {
			t.Errorf("%s has no line in testdata/matrix.txt: say who may", route)
			continue
		}
		delete(rows, route)
		method, _, _ := strings.Cut(route, " ")
		var got []string
		for i, key := range matrixKeys {
			if i == 0 || method != http.MethodGet && method != http.MethodHead {
				m.restore()
			}
			got = append(got, fmt.Sprint(m.ask(key, method, row[1], row[2])))
		}
		fmt.Fprintf(&seen, "%s | %s | %s | %s\n", route, row[1], row[2], strings.Join(got, " "))
		want := strings.Fields(row[3])
		for i, key := range matrixKeys {
			if len(want) != len(matrixKeys) || want[i] != got[i] {
				t.Errorf("%s by %s: got %v, want %s, in the order of %v", route, key, got, row[3], matrixKeys)
				break
			}
		}
	}
	for route := range rows {
		t.Errorf("there is no route %s", route)
	}
	if file := os.Getenv("RUNNEL_MATRIX"); file != "" {
		if err := os.WriteFile(file, seen.Bytes(), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// matrix is a server with what the requests name.
type matrix struct {
	t       *testing.T
	admin   *running
	tokens  map[string]string
	ids     map[string]string // what stands for $NAME in requests
	archive []byte
	asked   int
}

func newMatrix(t *testing.T) *matrix {
	cfg := config(t)
	cfg.Dev = false
	// Each request comes from an address of its own: wrong keys are counted by
	// address.
	cfg.TrustedProxies = []string{"127.0.0.0/8"}
	cfg.SpecFile = ""
	admin := start(t, cfg)
	admin.key = admin.Keys()[0]
	m := &matrix{
		t: t, admin: admin, ids: make(map[string]string),
		tokens:  map[string]string{"admin": admin.key.Token, "wrong": admin.key.ID + ".wrong"},
		archive: archive(t, file("main.py", "def handler(event):\n    return event\n")),
	}
	for _, name := range []string{"acme", "other", "ada"} {
		m.must("PUT", "/api/v1/accounts/"+name, `{}`)
	}
	m.must("POST", "/v1/organizations", `{"org_name":"org","org_label":"o","org_contact_name":"A","org_email":"a@example.com","type_id":"basic"}`)
	all := `"permissions":{"algorithms":["algo://*"],"web":true,"data":true,"data_write":true,"queues":true`
	for key, account := range map[string]string{"standard": "acme", "management": "acme", "other": "other", "revoked": "acme"} {
		more := "}"
		if key == "management" || key == "other" {
			more = `,"management":true}`
		}
		var made struct{ ID, Token string }
		m.into(&made, m.must("POST", "/api/v1/accounts/"+account+"/keys", `{`+all+more+`}`))
		m.tokens[key] = made.Token
		if key == "revoked" {
			m.must("DELETE", "/api/v1/keys/"+made.ID, "")
		}
	}
	var providers []struct{ ID string }
	m.into(&providers, m.must("GET", "/v1/secret-provider", ""))
	m.ids["provider"] = providers[0].ID
	return m
}

func (m *matrix) into(v any, text string) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		m.t.Fatalf("%v in %s", err, text)
	}
}

// must makes a request as the admin, which must do what it says.
func (m *matrix) must(method, path, body string) string {
	m.t.Helper()
	status, text := m.request("admin", method, path, body)
	if status >= 300 {
		m.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

func (m *matrix) request(key, method, path, body string) (int, string) {
	m.asked++
	header := http.Header{"X-Forwarded-For": {fmt.Sprintf("10.%d.%d.%d", m.asked>>16&255, m.asked>>8&255, m.asked&255)}}
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		header.Set("Content-Type", "application/json")
	}
	if token := m.tokens[key]; token != "" {
		header.Set("Authorization", "Simple "+token)
	}
	as := *m.admin
	as.key = server.Key{}
	return as.call(m.t, method, path, header, body)
}

// ask makes a request of the matrix, and returns its status.
func (m *matrix) ask(key, method, path, body string) int {
	var names []string
	for name, value := range m.ids {
		names = append(names, "$"+name, value)
	}
	fill := strings.NewReplacer(names...)
	if body == "-" {
		body = ""
	}
	status, _ := m.request(key, method, fill.Replace(path), fill.Replace(body))
	return status
}

// restore makes again what a request before has removed or changed.
func (m *matrix) restore() {
	m.t.Helper()
	has := func(path string) bool {
		status, _ := m.request("admin", "GET", path, "")
		return status == http.StatusOK
	}
	as := func(key, method, path, body string) string {
		m.t.Helper()
		status, text := m.request(key, method, path, body)
		if status >= 300 {
			m.t.Fatalf("restore: %s %s as %s: %d %s", method, path, key, status, text)
		}
		return text
	}
	if !has("/api/v1/functions/acme/f") {
		definition, err := json.Marshal(map[string]any{"definition": map[string]any{"runtime": "python"}, "archive": m.archive})
		if err != nil {
			m.t.Fatal(err)
		}
		m.must("PUT", "/api/v1/functions/acme/f", string(definition))
		m.must("POST", "/api/v1/functions/acme/f/versions", `{"version_type":"minor","private":true}`)
	}
	if !has("/api/v1/functions/acme/g") {
		m.must("PUT", "/api/v1/functions/acme/g", `{"definition":{"runtime":"python","inline":"def handler(event):\n    return 1\n"}}`)
	}
	m.must("PUT", "/api/v1/functions/acme/f/aliases/a", `{"version":"live"}`)
	if !has("/v1/algorithms/acme/h") {
		m.must("POST", "/v1/algorithms/acme", `{"name":"h"}`)
	}
	m.must("PUT", "/v1/algorithms/acme/f/source/src/f.py", "def apply(input):\n    return input\n")
	var algorithm struct{ ID string }
	m.into(&algorithm, m.must("GET", "/v1/algorithms/acme/f", ""))
	m.ids["fn"] = algorithm.ID
	m.into(&algorithm, m.must("GET", "/v1/algorithms/acme/h", ""))
	m.ids["h"] = algorithm.ID
	var secrets struct {
		Results []struct {
			ID        string
			SecretKey string `json:"secret_key"`
		}
	}
	list := m.must("GET", "/v1/algorithms/acme/f/secrets", "")
	if !strings.Contains(list, `"S"`) {
		m.must("PUT", "/api/v1/functions/acme/f/secrets/S", `{"value":"secret"}`)
		list = m.must("GET", "/v1/algorithms/acme/f/secrets", "")
	}
	m.into(&secrets, list)
	for _, s := range secrets.Results {
		if s.SecretKey == "S" {
			m.ids["secret"] = s.ID
		} else {
			m.must("DELETE", "/v1/algorithms/acme/f/secrets/"+s.ID, "")
		}
	}
	var builds struct{ Builds []struct{ ID string } }
	m.into(&builds, m.must("GET", "/api/v1/functions/acme/f/builds", ""))
	m.ids["build"] = builds.Builds[len(builds.Builds)-1].ID
	for _, key := range []string{"management", "admin"} {
		as(key, "PUT", "/api/v1/queues/q", `{}`)
		as(key, "PUT", "/api/v1/queues/dead", `{}`)
		as(key, "PUT", "/api/v1/queues/spare", `{}`)
		as(key, "PUT", "/api/v1/flows/w", `{"from":"queue:q","call":"acme/f","dead_letter":"queue:dead"}`)
	}
	if !has("/v1/data/acme/c") {
		m.must("POST", "/v1/data/acme", `{"name":"c","acl":{"read":[]}}`)
	}
	m.must("PATCH", "/v1/data/acme/c", `{"acl":{"read":[]}}`)
	m.must("PUT", "/v1/data/acme/c/a.txt", "text")
	if status, _ := m.request("admin", "DELETE", "/v1/data/acme/new?force=true", ""); !slices.Contains([]int{200, 404}, status) {
		m.t.Fatalf("restore: delete a collection: %d", status)
	}
	for _, gone := range []string{"/v1/algorithms/acme/new", "/v1/users/new", "/v1/organizations/neworg"} {
		if has(gone) {
			m.must("DELETE", gone, "")
		}
	}
	m.must("PUT", "/api/v1/accounts/ada", `{}`)
	if !has("/v1/organizations/org") {
		m.must("POST", "/v1/organizations", `{"org_name":"org","org_label":"o","org_contact_name":"A","org_email":"a@example.com","type_id":"basic"}`)
	}
	m.must("PUT", "/api/v1/accounts/org/members/acme", "")
	m.must("PUT", "/api/v1/accounts/org/members/ada", "")
	if id := m.ids["listener"]; id == "" || !has("/v1/users/acme/event-listeners/"+id) {
		as("management", "PUT", "/api/v1/queues/lq", `{}`)
		var made struct{ ID string }
		m.into(&made, m.must("POST", "/v1/users/acme/event-listeners", m.listener()))
		m.ids["listener"] = made.ID
	}
	var made struct{ ID string }
	m.into(&made, m.must("POST", "/api/v1/accounts/acme/keys", `{"label":"victim"}`))
	m.must("DELETE", "/api/v1/keys/"+made.ID, "") // so that there is always one too few
	m.into(&made, m.must("POST", "/api/v1/accounts/acme/keys", `{"label":"victim"}`))
	m.ids["key"] = made.ID
}

func (m *matrix) listener() string {
	return `{"sourceType":"AmazonSQS","sourceURI":"queue:lq","algoOwner":"acme","algoName":"f","algoVersion":"0.1.0","credentials":""}`
}
