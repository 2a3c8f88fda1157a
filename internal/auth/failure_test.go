package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

func TestFailures(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := exampleTime
	key := auth.NewKey("acme", "123456789012", false, now)
	clock := func() time.Time { return now }
	a := &auth.Authenticator{
		Keys: keys{key.ID: key}, Now: clock,
		Failures: &auth.Failures{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: clock},
	}
	verify := func(address, token string) error {
		r := httptest.NewRequest("GET", "http://localhost:7070/", nil)
		r = auth.WithOrigin(r, address)
		if token != "" {
			r.Header.Set("Authorization", token)
		}
		_, err := a.Verify(r, nil, "runnel")
		return err
	}
	lines := func(want int, when string) {
		t.Helper()
		if got := strings.Count(log.String(), "\n"); got != want {
			t.Errorf("%s: %d lines, want %d:\n%s", when, got, want, log.String())
		}
	}
	const guess = "notasecretnotasecretnotasecretnotasecret"
	wrong := "Bearer " + key.ID + "." + guess
	for i := range 60 {
		if err := verify("192.0.2.1", wrong); !errors.Is(err, auth.ErrSignature) {
			t.Fatalf("wrong %d: got %v", i, err)
		}
	}
	lines(1, "60 wrong ones")
	for range 2 {
		if err := verify("192.0.2.1", wrong); runnel.CodeOf(err) != runnel.CodeLimit {
			t.Errorf("too many: got %v, want CodeLimit", err)
		}
	}
	lines(2, "too many")
	for _, test := range []struct {
		what, address, token string
		want                 error
	}{
		{"the right secret from the same address", "192.0.2.1", key.Token(), nil},
		{"none from the same address", "192.0.2.1", "", auth.ErrMissing},
		{"another address", "192.0.2.2", wrong, auth.ErrSignature},
	} {
		if err := verify(test.address, test.token); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.what, err, test.want)
		}
	}
	// Of IPv6 a host has many addresses.
	for i := range 61 {
		_ = verify(fmt.Sprintf("2001:db8:0:1::%x", i+1), "Simple "+guess)
	}
	if err := verify("2001:db8:0:1:ffff::1", "Simple "+guess); runnel.CodeOf(err) != runnel.CodeLimit {
		t.Errorf("61 addresses of one network: got %v, want CodeLimit", err)
	}
	if err := verify("2001:db8:0:2::1", "Simple "+guess); !errors.Is(err, auth.ErrMalformed) {
		t.Errorf("another network: got %v, want ErrMalformed", err)
	}
	now = now.Add(time.Minute)
	if err := verify("192.0.2.1", wrong); !errors.Is(err, auth.ErrSignature) {
		t.Errorf("a minute later: got %v, want ErrSignature", err)
	}
	text := log.String()
	if strings.Contains(text, guess) || strings.Contains(text, key.Secret) || !strings.Contains(text, "key="+key.ID) || !strings.Contains(text, "address=192.0.2.1") {
		t.Errorf("the log says\n%s", text)
	}
	// However many addresses, the log is bounded.
	log.Reset()
	now = now.Add(time.Minute)
	for i := range 11_000 {
		_ = verify(fmt.Sprintf("10.0.%d.%d", i/256, i%256), "x")
	}
	lines(60, "11,000 addresses")
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	a := example()
	key := exampleKey
	r := auth.WithOrigin(httptest.NewRequest(http.MethodGet, "http://localhost:7070/", nil), "192.0.2.1")
	if caller, address := auth.OriginOf(r.Context()); caller.KeyID != "" || address != "192.0.2.1" {
		t.Errorf("before: got %+v, %s", caller, address)
	}
	r.Header.Set("Authorization", key.Token())
	if _, err := a.Verify(r, nil, "runnel"); err != nil {
		t.Fatal(err)
	}
	if caller, address := auth.OriginOf(r.Context()); caller.KeyID != key.ID || caller.Account != "acme" || address != "192.0.2.1" {
		t.Errorf("after: got %+v, %s", caller, address)
	}
	if caller, address := auth.OriginOf(t.Context()); caller.KeyID != "" || address != "" {
		t.Errorf("without a request: got %+v, %s", caller, address)
	}
}
