package function

import (
	"regexp"
	"strings"

	"github.com/runnel-io/runnel"
)

// References that every function has.
const (
	// live is the version that was deployed, or rolled back to, last.
	live = "live"
	// latest is the highest version that is published for all.
	latest = "latest"
	// latestPrivate is the highest that is published for the owner only.
	latestPrivate = "latestPrivate"
)

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

// fullName gives a bare name the owner default.
func fullName(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return "default/" + name
}

// hashDigits is how many digits a hash has, minPrefix how many of them name it
// where no other begins so.
const (
	hashDigits = 16
	minPrefix  = 4
)

// hashLike says whether text reads as a hash or the beginning of one.
func hashLike(text string) bool {
	return len(text) >= minPrefix && len(text) <= hashDigits && strings.Trim(text, "0123456789abcdef") == ""
}

var aliasName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// resolve returns the version of r that want names: live, latest,
// latestPrivate, an alias, a hash or the beginning of just one, a semantic
// version or the beginning of one.
//
// The beginning of a semantic version means the highest public one that begins
// so; the whole of it also a private one. Digits alone are a hash before they
// are a major number.
func (r *Record) resolve(want string) (string, error) {
	switch want {
	case live:
		return r.Live, nil
	case latest, latestPrivate:
		if v := r.highest(want == latest, nil); v != nil {
			return v.Hash, nil
		}
		how := "publicly"
		if want == latestPrivate {
			how = "privately"
		}
		return "", runnel.Errorf(runnel.CodeNotFound, "function %s has no version that is published %s, which %s would be: publish one, or call %s@%s", r.Name, how, want, r.Name, live)
	}
	if hash, ok := r.Aliases[want]; ok {
		return hash, nil
	}
	if hashLike(want) {
		var hits []string
		for i := range r.Versions {
			if strings.HasPrefix(r.Versions[i].Hash, want) {
				hits = append(hits, r.Versions[i].Hash)
			}
		}
		switch len(hits) {
		case 0: // perhaps it is a major number
		case 1:
			return hits[0], nil
		default:
			return "", runnel.Errorf(runnel.CodeInvalid, "function %s has several versions that begin with %q: %s", r.Name, want, strings.Join(hits, ", "))
		}
	}
	if parts, ok := numbers(want); ok {
		var v *Version
		if len(parts) == 3 {
			v = r.numbered(Semantic{parts[0], parts[1], parts[2]})
		} else {
			v = r.highest(true, parts)
		}
		if v != nil {
			return v.Hash, nil
		}
	}
	return "", runnel.Errorf(runnel.CodeNotFound, "function %s has no version %q: want live, latest, an alias, a semantic version as in 1.2.3 or 1.2, or the hash of one of its versions, %d digits of it at least",
		r.Name, want, minPrefix)
}

// highest returns the highest version that is published, publicly or
// privately, and begins with these numbers; nil if there is none.
func (r *Record) highest(public bool, parts []int) *Version {
	var best *Version
	for i := range r.Versions {
		v := &r.Versions[i]
		if v.Release != nil && v.Release.Public == public && v.Release.Version.fits(parts) &&
			(best == nil || v.Release.Version.compare(best.Release.Version) > 0) {
			best = v
		}
	}
	return best
}

// numbered returns the version with this number, or nil.
func (r *Record) numbered(want Semantic) *Version {
	for i := range r.Versions {
		if v := &r.Versions[i]; v.Release != nil && v.Release.Version == want {
			return v
		}
	}
	return nil
}

// checkAlias says what is wrong with the name of an alias: it must not read as
// anything else that a reference can say.
func checkAlias(name string) error {
	switch {
	case name == live:
		return runnel.Errorf(runnel.CodeInvalid, "alias %q: %s moves by a deploy or a rollback", name, name)
	case name == latest || name == latestPrivate:
		return runnel.Errorf(runnel.CodeInvalid, "alias %q: %s moves by publishing a version", name, name)
	case !aliasName.MatchString(name):
		return runnel.Errorf(runnel.CodeInvalid, "alias %q: want a letter a to z and up to 31 letters, digits and hyphens after it, as in stable", name)
	case hashLike(name):
		return runnel.Errorf(runnel.CodeInvalid, "alias %q: reads as the beginning of a hash", name)
	}
	return nil
}

func notFound(name string) error {
	return runnel.Errorf(runnel.CodeNotFound, "there is no function %s", name)
}
