package function

import (
	"strings"

	"github.com/runnel-io/runnel"
)

// live is the alias of the version that was deployed last.
const live = "live"

// parse splits a reference OWNER/NAME@VERSION. The owner is default and the
// version is live where the reference says none.
func parse(ref string) (name, version string, err error) {
	name, version, found := strings.Cut(ref, "@")
	if !found {
		version = live
	}
	owner, rest, found := strings.Cut(name, "/")
	if !found {
		owner, rest, name = "default", name, "default/"+name
	}
	if owner == "" || rest == "" || version == "" || strings.Contains(rest, "/") {
		return "", "", runnel.Errorf(runnel.CodeInvalid, "function %q: want OWNER/NAME or OWNER/NAME@VERSION, for example demo/resize@live", ref)
	}
	return name, version, nil
}

// resolve returns the version of r that want names: live, a hash, or the
// beginning of just one.
func (r *Record) resolve(want string) (string, error) {
	if want == live {
		return r.Live, nil
	}
	var hits []string
	for _, v := range r.Versions {
		if v.Hash == want {
			return want, nil
		}
		if strings.HasPrefix(v.Hash, want) {
			hits = append(hits, v.Hash)
		}
	}
	switch len(hits) {
	case 0:
		return "", runnel.Errorf(runnel.CodeNotFound, "function %s has no version %q: want live, or the hash of one of its versions", r.Name, want)
	case 1:
		return hits[0], nil
	default:
		return "", runnel.Errorf(runnel.CodeInvalid, "function %s has several versions that begin with %q: %s", r.Name, want, strings.Join(hits, ", "))
	}
}

func notFound(name string) error {
	return runnel.Errorf(runnel.CodeNotFound, "there is no function %s", name)
}
