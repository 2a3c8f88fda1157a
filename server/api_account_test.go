package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/server"
)

// TestAccountsAndKeys makes an account, a management key of it, and what that may
// and may not make, rotates and removes; and looks at the audit log.
func TestAccountsAndKeys(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.TrustedProxies = []string{"127.0.0.0/8"}
	var key server.Key
	r := serving(t, cfg, &key)
	admin := key
	do := func(k server.Key, method, path, body string, want int) map[string]any {
		t.Helper()
		r.key = k
		status, text := r.call(t, method, "/api/v1"+path, http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {"198.51.100.1, 192.0.2.7"}}, body)
		if status != want {
			t.Errorf("%s %s: got %d %s, want %d", method, path, status, text, want)
		}
		var out map[string]any
		_ = json.Unmarshal([]byte(text), &out)
		return out
	}
	token := func(out map[string]any) server.Key {
		t.Helper()
		text, _ := out["token"].(string)
		id, secret, ok := strings.Cut(text, ".")
		if !ok {
			t.Fatalf("no token in %v", out)
		}
		return server.Key{ID: id, Secret: secret, Token: text}
	}
	do(admin, "PUT", "/accounts/acme", `{"session_limit":3,"email":"a@example.com"}`, 200)
	do(admin, "PUT", "/accounts/acme", `{"session_limit":-1}`, 400)
	do(admin, "PUT", "/accounts/acme", `{"organization":true}`, 409)
	do(admin, "PUT", "/accounts/team", `{"organization":true}`, 200)
	do(admin, "PUT", "/accounts/team/members/acme", "", 204)
	manager := token(do(admin, "POST", "/accounts/acme/keys", `{"label":"m","permissions":{"algorithms":["algo://acme/*"],"management":true,"queues":true}}`, 200))
	if got := do(manager, "GET", "/whoami", "", 200); got["type"] != "management" || got["account"] != "acme" {
		t.Errorf("whoami: got %v", got)
	}
	phone := token(do(manager, "POST", "/accounts/acme/keys", `{"permissions":{"algorithms":["algo://acme/f"]}}`, 200))
	do(manager, "POST", "/accounts/acme/keys", `{"permissions":{"data":true}}`, 403)
	do(manager, "POST", "/accounts/acme/keys", `{"admin":true}`, 403)
	do(manager, "POST", "/accounts/default/keys", `{}`, 403)
	do(manager, "PUT", "/accounts/acme", `{"session_limit":100}`, 403)
	do(manager, "GET", "/accounts/default", "", 404)
	do(manager, "GET", "/accounts/team", "", 200)
	do(phone, "POST", "/accounts/acme/keys", `{}`, 403)
	do(phone, "GET", "/queues", "", 403)
	do(phone, "GET", "/functions/team/f", "", 404)
	do(manager, "PUT", "/keys/"+phone.ID, `{"permissions":{"data_write":true}}`, 403)
	do(manager, "PUT", "/keys/"+admin.ID, `{"label":"x"}`, 404)
	do(manager, "PUT", "/functions/acme/f", `{"definition":{"runtime":"python","inline":"def handle(x): return x","writable":["/srv"]}}`, 403)
	do(manager, "DELETE", "/functions/acme/nothing", "", 404)
	do(manager, "DELETE", "/functions/default/nothing", "", 403)
	next := token(do(phone, "POST", "/keys/"+phone.ID+"/rotate", `{"overlap":"0s"}`, 200))
	do(phone, "GET", "/whoami", "", 401)
	do(next, "GET", "/whoami", "", 200)
	do(manager, "DELETE", "/keys/"+next.ID, "", 204)
	do(next, "GET", "/whoami", "", 401)

	r.key = manager
	_, log := r.call(t, "GET", "/api/v1/audit?limit=1000", nil, "")
	for _, want := range []string{`"address":"192.0.2.7"`, `"kind":"key","name":"` + next.ID + `","action":"delete"`, `"session_limit":3`} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log has no %s: %s", want, log)
		}
	}
	for _, secret := range []string{admin.Secret, manager.Secret, phone.Secret, next.Secret, admin.ID + `","action`} {
		if strings.Contains(log, secret) {
			t.Errorf("the audit log of an account has %s", secret)
		}
	}
	do(manager, "GET", "/audit?account=default", "", 403)
	do(admin, "GET", "/audit?account=default", "", 200)
	r.key = admin
}

// TestNewAdminKey makes a key in the directory of a server that does not run.
func TestNewAdminKey(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var first server.Key
	r := serving(t, cfg, &first)
	offline := server.Config{Dir: cfg.Dir, Log: slog.New(slog.DiscardHandler)}
	if _, err := server.NewAdminKey(t.Context(), offline, "lost"); err == nil {
		t.Error("a key was made while the server runs")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	made, err := server.NewAdminKey(t.Context(), offline, "lost")
	if err != nil {
		t.Fatal(err)
	}
	r = serving(t, cfg, &first)
	r.key = made
	if status, body := r.call(t, "GET", "/api/v1/whoami", nil, ""); status != 200 || !strings.Contains(body, `"type":"admin"`) {
		t.Errorf("whoami: %d %s", status, body)
	}
}
