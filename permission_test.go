package runnel_test

import (
	"strings"
	"testing"

	"github.com/runnel-io/runnel"
)

func TestPermissionsCalls(t *testing.T) {
	for _, test := range []struct {
		patterns string
		calls    string
		not      string
	}{
		{"", "", "a/f b/g"},
		{"algo://*", "a/f b/g", ""},
		{"algo://a/*", "a/f a/g", "b/f ab/f a"},
		{"algo://a/f", "a/f", "a/ff a/g b/f"},
		{"algo://a/f algo://b/*", "a/f b/x", "a/g"},
		{"algo://a*", "", "a/f ab/f"}, // Validate refuses it
	} {
		p := runnel.Permissions{Algorithms: strings.Fields(test.patterns)}
		for _, f := range strings.Fields(test.calls) {
			if !p.Calls(f) {
				t.Errorf("%s does not call %s", test.patterns, f)
			}
		}
		for _, f := range strings.Fields(test.not) {
			if p.Calls(f) {
				t.Errorf("%s calls %s", test.patterns, f)
			}
		}
	}
}

func TestPermissionsValidate(t *testing.T) {
	for _, pattern := range []string{"algo://*", "algo://a/*", "algo://a-b/F_1"} {
		if err := (runnel.Permissions{Algorithms: []string{pattern}}).Validate(); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for _, pattern := range []string{"", "*", "a/f", "algo://", "algo://a", "algo://a/", "algo:///f", "algo://*/f", "algo://a/f/1.0.0", "algo://a/f*", "algo://a b/f"} {
		err := (runnel.Permissions{Algorithms: []string{"algo://a/f", pattern}}).Validate()
		if err == nil || !strings.Contains(err.Error(), "algorithms[1]") {
			t.Errorf("%q: got %v, want a fault of algorithms[1]", pattern, err)
		}
	}
	for host, good := range map[string]bool{
		"example.com": true, "*.example.com": true, "localhost:3000": true,
		"": false, "*": false, "*.": false, "https://example.com": false, "example.com/page": false, "EXAMPLE.com": false, "a,b": false,
	} {
		if err := (runnel.Permissions{Web: true, Referers: []string{host}}).Validate(); (err == nil) != good {
			t.Errorf("referer %q: got %v", host, err)
		}
	}
	many := make([]string, 201)
	for i := range many {
		many[i] = "algo://*"
	}
	if err := (runnel.Permissions{Algorithms: many}).Validate(); err == nil {
		t.Error("201 patterns are taken")
	}
}

// TestPermissionsWithin: whoever makes a key makes none that may do more.
func TestPermissionsWithin(t *testing.T) {
	all := runnel.AllPermissions()
	all.Management = true
	algorithms := func(patterns ...string) runnel.Permissions { return runnel.Permissions{Algorithms: patterns} }
	web := func(hosts ...string) runnel.Permissions { return runnel.Permissions{Web: true, Referers: hosts} }
	for _, test := range []struct {
		p, q   runnel.Permissions
		within bool
	}{
		{runnel.Permissions{}, runnel.Permissions{}, true},
		{all, all, true},
		{runnel.AllPermissions(), all, true},
		{all, runnel.AllPermissions(), false},
		{algorithms("algo://a/f"), algorithms("algo://a/*"), true},
		{algorithms("algo://a/*"), algorithms("algo://a/*"), true},
		{algorithms("algo://a/*"), algorithms("algo://*"), true},
		{algorithms("algo://*"), algorithms("algo://a/*"), false},
		{algorithms("algo://a/*"), algorithms("algo://a/f"), false},
		{algorithms("algo://a/f", "algo://b/f"), algorithms("algo://a/*"), false},
		{algorithms("algo://a/f"), runnel.Permissions{}, false},
		{web("a.example"), web(), true},
		{web(), web("a.example"), false},
		{web("a.example"), web("a.example", "b.example"), true},
		{web("c.example"), web("a.example"), false},
		{web(), runnel.Permissions{}, false},
		{runnel.Permissions{Data: true}, runnel.Permissions{DataWrite: true}, false},
		{runnel.Permissions{DataWrite: true}, runnel.Permissions{Data: true}, false},
		{runnel.Permissions{Queues: true}, runnel.Permissions{Data: true}, false},
		{runnel.Permissions{Queues: true}, all, true},
	} {
		if got := test.p.Within(test.q); got != test.within {
			t.Errorf("%+v within %+v: got %t", test.p, test.q, got)
		}
	}
}
