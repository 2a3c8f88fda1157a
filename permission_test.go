package runnel_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
)

func TestPermissionsAnd(t *testing.T) {
	all := runnel.AllPermissions()
	some := runnel.Permissions{Algorithms: []string{"algo://a/*", "algo://b/f"}, Data: true, Web: true, Referers: []string{"x.org", "y.org"}}
	for _, test := range []struct{ p, q, want runnel.Permissions }{
		{all, some, some},
		{some, all, some},
		{all, all, all},
		{all, runnel.Permissions{}, runnel.Permissions{}},
		{some, runnel.Permissions{Algorithms: []string{"algo://a/g", "algo://b/*", "algo://c/h"}}, runnel.Permissions{Algorithms: []string{"algo://b/f", "algo://a/g"}}},
		{some, runnel.Permissions{Web: true, Referers: []string{"y.org", "z.org"}}, runnel.Permissions{Web: true, Referers: []string{"y.org"}}},
		{some, runnel.Permissions{Web: true, Referers: []string{"z.org"}}, runnel.Permissions{}},
	} {
		got := test.p.And(test.q)
		if !got.Web {
			got.Referers, test.want.Referers = nil, nil
		}
		if !got.Within(test.p) || !got.Within(test.q) {
			t.Errorf("%+v and %+v: %+v allows more than one of them", test.p, test.q, got)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v and %+v (-want +got):\n%s", test.p, test.q, diff)
		}
	}
}
