package runnel

import (
	"fmt"
	"slices"
	"strings"
)

// KeyType says what an API key is for.
type KeyType string

// The types of keys. A standard key calls functions and uses queues, flows and
// files, as its permissions say; a management key changes functions, too; an
// admin key acts for the whole server.
const (
	KeyStandard   KeyType = "standard"
	KeyManagement KeyType = "management"
	KeyAdmin      KeyType = "admin"
)

// Permissions are what a key may do for its account. The zero value may do
// nothing. Those of an admin key are not looked at.
type Permissions struct {
	// Algorithms are the functions that may be called: "algo://*" for all,
	// "algo://OWNER/*", "algo://OWNER/NAME".
	Algorithms []string `json:"algorithms,omitempty"`
	// Web lets calls from web pages in: those that come with a Referer or an
	// Origin. Referers are the hosts of such pages, "*.example.com" for all
	// below one; none: any.
	Web      bool     `json:"web,omitempty"`
	Referers []string `json:"referers,omitempty"`
	// Data is whether files may be read, DataWrite whether they and collections
	// may be changed.
	Data      bool `json:"data,omitempty"`
	DataWrite bool `json:"data_write,omitempty"`
	// Queues is whether the queues and flows of the account may be used and
	// changed.
	Queues bool `json:"queues,omitempty"`
	// Management is whether functions of the account may be made, changed,
	// built, published and removed.
	Management bool `json:"management,omitempty"`
}

// AllPermissions are those of a key that may do all that concerns its account
// but manage functions.
func AllPermissions() Permissions {
	return Permissions{Algorithms: []string{"algo://*"}, Web: true, Data: true, DataWrite: true, Queues: true}
}

// Validate returns every fault; each is a *FieldError.
func (p Permissions) Validate() error {
	var v faults
	if len(p.Algorithms) > maxPatterns {
		v.add("algorithms", "has %d entries, at most %d are kept", len(p.Algorithms), maxPatterns)
		return v.err()
	}
	for i, pattern := range p.Algorithms {
		name, found := strings.CutPrefix(pattern, "algo://")
		owner, rest, both := strings.Cut(name, "/")
		if !found || name != "*" && (!both || !isPart(owner) || rest != "*" && !isPart(rest)) {
			v.add(fmt.Sprintf("algorithms[%d]", i), "%.100q: want algo://*, algo://OWNER/* or algo://OWNER/NAME", pattern)
		}
	}
	if len(p.Referers) > maxPatterns {
		v.add("referers", "has %d entries, at most %d are kept", len(p.Referers), maxPatterns)
		return v.err()
	}
	for i, host := range p.Referers {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || len(host) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-:") != "" {
			v.add(fmt.Sprintf("referers[%d]", i), "%.100q: want a host in lower case, example.com, or all below one, *.example.com", host)
		}
	}
	return v.err()
}

// maxPatterns is how many functions, and how many hosts, permissions may name.
const maxPatterns = 200

func isPart(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, nameBytes) == ""
}

// Within says whether p allows nothing that q does not.
func (p Permissions) Within(q Permissions) bool {
	for _, pattern := range p.Algorithms {
		if !slices.Contains(q.Algorithms, pattern) && !q.Calls(strings.TrimPrefix(pattern, "algo://")) {
			return false
		}
	}
	within := func(p, q bool) bool { return !p || q }
	if p.Web && q.Web && len(q.Referers) > 0 {
		if len(p.Referers) == 0 || slices.ContainsFunc(p.Referers, func(host string) bool { return !slices.Contains(q.Referers, host) }) {
			return false
		}
	}
	return within(p.Web, q.Web) && within(p.Data, q.Data) && within(p.DataWrite, q.DataWrite) && within(p.Queues, q.Queues) && within(p.Management, q.Management)
}

// Calls says whether the function OWNER/NAME may be called.
func (p Permissions) Calls(function string) bool {
	return slices.ContainsFunc(p.Algorithms, func(pattern string) bool {
		pattern = strings.TrimPrefix(pattern, "algo://")
		if prefix, all := strings.CutSuffix(pattern, "*"); all {
			return prefix == "" || strings.HasSuffix(prefix, "/") && strings.HasPrefix(function, prefix)
		}
		return pattern == function
	})
}

// And returns what both p and q allow. Of patterns of functions those of each
// stay that the other covers, and of hosts of pages those of p, where q has any,
// that q has too.
func (p Permissions) And(q Permissions) Permissions {
	out := Permissions{
		Web: p.Web && q.Web, Data: p.Data && q.Data, DataWrite: p.DataWrite && q.DataWrite,
		Queues: p.Queues && q.Queues, Management: p.Management && q.Management,
	}
	for _, pattern := range p.Algorithms {
		if q.covers(pattern) {
			out.Algorithms = append(out.Algorithms, pattern)
		}
	}
	for _, pattern := range q.Algorithms {
		if p.covers(pattern) && !slices.Contains(out.Algorithms, pattern) {
			out.Algorithms = append(out.Algorithms, pattern)
		}
	}
	switch {
	case len(p.Referers) == 0:
		out.Referers = q.Referers
	case len(q.Referers) == 0:
		out.Referers = p.Referers
	default:
		for _, host := range p.Referers {
			if slices.Contains(q.Referers, host) {
				out.Referers = append(out.Referers, host)
			}
		}
		out.Web = out.Web && len(out.Referers) > 0
	}
	return out
}

// covers says whether every function that a pattern means may be called.
func (p Permissions) covers(pattern string) bool {
	// A pattern is no name, but it begins as the names that it means do.
	return p.Calls(strings.TrimPrefix(pattern, "algo://"))
}

// Equal says whether p and q are the same.
func (p Permissions) Equal(q Permissions) bool {
	return p.Web == q.Web && p.Data == q.Data && p.DataWrite == q.DataWrite && p.Queues == q.Queues && p.Management == q.Management &&
		slices.Equal(p.Algorithms, q.Algorithms) && slices.Equal(p.Referers, q.Referers)
}
