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
