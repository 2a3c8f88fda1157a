package runnel

import (
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

// Within returns what both p and q allow. Of patterns of functions those of each
// stay that the other covers, and of hosts of pages those of p, where q has any,
// that q has too.
func (p Permissions) Within(q Permissions) Permissions {
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
