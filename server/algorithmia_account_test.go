package server_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// withKeys is a server with keys, as its admin and as the default account.
func withKeys(t *testing.T) (admin, standard *running) {
	t.Helper()
	cfg := config(t)
	cfg.Dev = false
	admin = start(t, cfg)
	admin.key = admin.Keys()[0]
	s := *admin
	s.key = admin.Keys()[1]
	return admin, &s
}

// asToken is the server as the holder of a key.
func (r *running) asToken(token string) *running {
	as := *r
	id, secret, _ := strings.Cut(token, ".")
	as.key = server.Key{ID: id, Secret: secret, Token: token}
	return &as
}

// TestFAQ does what the FAQ of Event Flows says, with the same shapes: the id of
// an account by an admin key, its listeners by a standard one.
func TestFAQ(t *testing.T) {
	t.Parallel()
	admin, standard := withKeys(t)
	get := func(key, path string) (int, string) {
		none := running{Server: admin.Server, http: admin.http}
		return none.call(t, "GET", path, map[string][]string{"Authorization": {"Simple " + key}}, "")
	}
	status, text := get(admin.key.Token, "/v1/users/default")
	var user struct{ ID, Username string }
	if err := json.Unmarshal([]byte(text), &user); err != nil || status != 200 || user.Username != "default" {
		t.Fatalf("%d %s, %v", status, text, err)
	}
	if got, want := keysInOrder(strings.ReplaceAll(text, "_", "")), "id username email fullname companyname companyrole selflink resourcetype"; got != want {
		t.Errorf("the user has %s, want %s", got, want)
	}
	if ok, _ := regexp.MatchString(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, user.ID); !ok {
		t.Errorf("the id is %q", user.ID)
	}
	if status, again := get(standard.key.Token, "/v1/users/"+user.ID+"/"); status != 200 || again != text {
		t.Errorf("its own user, by id: %d %s", status, again)
	}
	if status, text := get(standard.key.Token, "/v1/users/"+user.ID+"/event-listeners"); status != 200 || text != "[]" {
		t.Errorf("listeners: %d %s", status, text)
	}
}

// TestUsersAndOrganizations: accounts are made, changed, joined and removed, with
// the status codes and numbers of Algorithmia.
func TestUsersAndOrganizations(t *testing.T) {
	t.Parallel()
	admin, standard := withKeys(t)
	step := func(as *running, method, path, body string, status int, want ...string) map[string]any {
		t.Helper()
		got, out, text := as.json(t, method, path, body)
		if got != status {
			t.Errorf("%s %s %s: %d %s, want %d", method, path, body, got, text, status)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s %s: %s has no %s", method, path, text, part)
			}
		}
		if status == 204 && text != "" {
			t.Errorf("%s %s: 204 with %q", method, path, text)
		}
		return out
	}
	ada := step(admin, "POST", "/v1/users", `{"username":"ada","email":"ada@example.com","fullname":"Ada L","company_name":"E","company_role":"engineer"}`, 200,
		`"username":"ada"`, `"fullname":"Ada L"`, `"company_role":"engineer"`, `"resource_type":"user"`, `"self_link":"`+admin.URL()+`/v1/users/ada"`)
	step(admin, "POST", "/v1/users", `{"username":"ada","email":"x@example.com"}`, 409, `"code":3003`)
	step(admin, "POST", "/v1/users", `{}`, 400, `"code":3005`, "username, email")
	step(admin, "POST", "/v1/users", `{"username":"Ada!","email":"x@example.com"}`, 400, `"code":6001`)
	step(admin, "POST", "/v1/users", `{"username":"eve","email":"`+strings.Repeat("x", 300)+`"}`, 400, `"code":6001`, "email")
	step(admin, "POST", "/v1/users", `{`, 400, `"code":2013`)
	step(admin, "PUT", "/v1/users/"+fmt.Sprint(ada["id"]), `{"company_role":"countess"}`, 200, `"company_role":"countess"`, `"fullname":"Ada L"`)
	step(admin, "PUT", "/v1/users/ada", `{"username":"eva"}`, 400, `"code":6001`)
	step(admin, "GET", "/v1/users/nobody", ``, 404, `"code":3000`)
	step(standard, "GET", "/v1/users/ada", ``, 403, `"code":2001`)
	step(standard, "GET", "/v1/users/nobody", ``, 403, `"code":2001`)
	step(standard, "GET", "/v1/users", ``, 403)
	step(standard, "POST", "/v1/users", `{"username":"mallory","email":"m@example.com"}`, 403)
	for _, list := range []string{"errors", "notifications", "connectors"} {
		if status, text := admin.call(t, "GET", "/v1/users/nobody/"+list, nil, ""); status != 200 || text != "[]" {
			t.Errorf("%s: %d %q", list, status, text)
		}
		step(standard, "GET", "/v1/users/ada/"+list, ``, 403)
	}
	page := step(admin, "GET", "/v1/users?limit=1", ``, 200, `{"marker":"`, `","next_link":"`, `"username":"ada"`)
	step(admin, "GET", strings.TrimPrefix(fmt.Sprint(page["next_link"]), admin.URL()), ``, 200, `{"marker":null,"next_link":null,"results":[{"id":`, `"username":"default"`)

	step(admin, "GET", "/v1/organization/types", ``, 200, `"name":"basic"`, `"name":"legacy"`, `"name":"pro"`)
	org := `{"org_name":"acme","org_label":"Acme","org_contact_name":"Wile","org_email":"w@example.com","org_url":"https://acme.example","type_id":"pro"}`
	made := step(admin, "POST", "/v1/organizations", org, 200, `"org_name":"acme"`, `"org_contact_name":"Wile"`, `"resource_type":"organization"`)
	step(admin, "POST", "/v1/organizations", org, 409, `"code":3101`)
	step(admin, "POST", "/v1/organizations", `{"org_name":"acme"}`, 400, `"code":3102`)
	step(admin, "POST", "/v1/organizations", strings.Replace(org, `"pro"`, `"gold"`, 1), 400, `"code":6001`)
	step(admin, "PUT", "/v1/organizations/acme", `{"org_label":"Acme Inc","type_id":"basic"}`, 204)
	step(admin, "GET", "/v1/organizations/"+fmt.Sprint(made["id"]), ``, 200, `"org_label":"Acme Inc"`, `"org_url":"https://acme.example"`)
	step(admin, "GET", "/v1/organizations/ada", ``, 404, `"code":3100`)
	step(admin, "GET", "/v1/users/acme", ``, 404, `"code":3000`)
	step(admin, "GET", "/v1/organizations", ``, 200, `"org_name":"acme"`)
	step(admin, "PUT", "/v1/organizations/acme/members/ada", `{}`, 201)
	step(admin, "PUT", "/v1/organizations/acme/members/ada", ``, 200)
	step(admin, "PUT", "/v1/organizations/acme/members/nobody", ``, 404, `"code":3000`)
	step(admin, "GET", "/v1/organizations/acme/members", ``, 200, `"username":"ada","role":"member"`, `"username":"default"`)
	step(admin, "GET", "/v1/organizations/acme/errors", ``, 200)
	step(standard, "PUT", "/v1/organizations/acme/members/ada", ``, 403)

	// Keys: told once; what they may do is what was asked for.
	key := step(admin, "POST", "/v1/users/ada/keys", `{"key_label":"ci","key_type":"AlgorithmKey","permissions":{"allow_algo":true,"algo_acl":["algo://acme/*"],"allow_data":true,"allow_web_algo":true,"referer_host":"a.example"}}`, 200,
		`"key_type":"AlgorithmKey"`, `"key_label":"ci"`, `"algo_acl":["algo://acme/*"]`, `"allow_data":true`, `"allow_data_write":false`, `"allow_queues":true`, `"username":"ada"`)
	token := fmt.Sprint(key["api_key"])
	asAda := admin.asToken(token)
	step(asAda, "GET", "/v1/users/ada", ``, 200)
	step(asAda, "GET", "/v1/users/ada/event-listeners", ``, 200)
	step(asAda, "GET", "/v1/users/ada/keys", ``, 403)
	step(asAda, "GET", "/v1/users/default", ``, 403)
	if status, text := admin.call(t, "GET", "/v1/users/ada/keys", nil, ""); status != 200 || !strings.Contains(text, `"api_key_mask":"`+token[:20]) || strings.Contains(text, token) {
		t.Errorf("keys: %d %s", status, text)
	}
	plain := step(admin, "POST", "/v1/users/ada/keys", `{}`, 200, `"allow_algo":false`, `"algo_acl":[]`, `"allow_queues":false`)
	step(admin.asToken(fmt.Sprint(plain["api_key"])), "GET", "/v1/users/ada/event-listeners", ``, 403)
	manager := step(admin, "POST", "/v1/users/ada/keys", `{"key_type":"ManagementKey"}`, 200, `"key_type":"ManagementKey"`, `"allow_algo_management":true`)
	step(admin.asToken(fmt.Sprint(manager["api_key"])), "GET", "/v1/users/ada/keys", ``, 200)
	root := step(admin, "POST", "/v1/admin/users/ada/keys", `{"key_type":"PlatformAdminKey"}`, 200, `"key_type":"PlatformAdminKey"`)
	step(admin.asToken(fmt.Sprint(root["api_key"])), "GET", "/v1/users", ``, 200)
	step(admin, "POST", "/v1/organizations/acme/keys", `{"key_label":"o","permissions":{}}`, 200, `"username":"acme"`)
	step(admin, "POST", "/v1/organizations/acme/members/ada/keys", `{"key_type":"AlgorithmKey"}`, 201, `"username":"acme"`)
	for _, body := range []string{`{"key_type":"Gold"}`, `{"api_key":"sim123"}`, `{"permissions":{"allow_algo":true,"algo_acl":["*"]}}`, `{"permissions":{"algo_acl":["algo://a"]}}`, `{"key_label":"` + strings.Repeat("x", 300) + `"}`} {
		step(admin, "POST", "/v1/users/ada/keys", body, 400, `"code":6001`)
	}
	step(asAda, "POST", "/v1/users/ada/keys", `{}`, 403)

	step(admin, "DELETE", "/v1/organizations/acme/members/ada", ``, 204)
	step(admin, "DELETE", "/v1/organizations/acme/members/ada", ``, 404)
	asAda.createQueue(t, "images")
	step(admin, "DELETE", "/v1/users/ada", ``, 409, "owns queue images")
	if status, text := asAda.call(t, "DELETE", "/api/v1/queues/images", nil, ""); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	step(admin, "POST", "/v1/algorithms/ada", `{"name":"unbuilt"}`, 201)
	step(admin, "POST", "/v1/data/ada", `{"name":"photos"}`, 200)
	step(admin, "DELETE", "/v1/users/ada", ``, 409, "function ada/unbuilt", "collection photos")
	step(admin, "DELETE", "/v1/algorithms/ada/unbuilt", ``, 204)
	step(admin, "DELETE", "/v1/data/ada/photos", ``, 200)
	step(admin, "DELETE", "/v1/users/ada", ``, 204)
	step(admin, "DELETE", "/v1/organizations/acme", ``, 204)
	step(admin, "DELETE", "/v1/users/default", ``, 409)
	step(asAda, "GET", "/v1/users/ada", ``, 401)
	step(admin, "GET", "/v1/users/ada", ``, 404)
}

// TestLinksOfPublicURL: links say what clients call the server, whatever the
// request came by.
func TestLinksOfPublicURL(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Dev, cfg.PublicURL = false, "https://api.example.com/"
	r := start(t, cfg)
	r.key = r.Keys()[0]
	if status, out := r.ask(t, "PUT", "/api/v1/accounts/ada", map[string]any{}); status != 200 {
		t.Fatalf("%d %+v", status, out.Error)
	}
	for path, want := range map[string]string{
		"/v1/users/ada":     `"self_link":"https://api.example.com/v1/users/ada"`,
		"/v1/users?limit=1": `"next_link":"https://api.example.com/v1/users?limit=1\u0026marker=`,
	} {
		if status, text := r.call(t, "GET", path, nil, ""); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %s", path, status, text, want)
		}
	}
	// All pages together have each once.
	names, path := "", "/v1/users?limit=1"
	for path != "" {
		var page struct {
			NextLink string `json:"next_link"`
			Results  []struct{ Username string }
		}
		_, text := r.call(t, "GET", path, nil, "")
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		for _, u := range page.Results {
			names += u.Username + " "
		}
		path = strings.TrimPrefix(page.NextLink, "https://api.example.com")
	}
	if names != "ada default " {
		t.Errorf("the pages have %q", names)
	}
}
