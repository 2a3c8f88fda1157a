package admin

import (
	"fmt"
	"strings"

	"github.com/runnel-io/runnel"
)

// The states that a search can ask for.
var searchStates = map[string]string{"visible": "visible", "in_flight": "in flight", "delayed": "delayed"}

// maxSearch is how many values one field of a search may have.
const maxSearch = 100

// Search says which messages are wanted. All that is said must hold.
type Search struct {
	IDs        []string `json:"ids,omitempty" maxItems:"100" doc:"Messages of one of these ids."`
	Body       string   `json:"body,omitempty" doc:"Text within the body."`
	IgnoreCase bool     `json:"ignore_case,omitempty" doc:"Take large and small letters of the body as the same."`
	Attributes []string `json:"attributes,omitempty" maxItems:"100" doc:"Attributes that a message has: NAME, or NAME=VALUE."`
	Key        string   `json:"key,omitempty" doc:"The key, which is the message group."`
	States     []string `json:"states,omitempty" doc:"visible, in_flight or delayed: what it is in now."`
}

// SearchPage is what a search found.
type SearchPage struct {
	Messages []Message
	// More is whether there may be more behind the position Last.
	More bool
	Last int64
	// End is the position before which the search ends.
	End int64
}

// SearchParams is a Search in the parameters of a GET.
type SearchParams struct {
	ID         []string `query:"id,explode" nullable:"false" doc:"Only the message of this id; may be repeated."`
	Text       string   `query:"body" doc:"Only messages with this text within the body."`
	IgnoreCase bool     `query:"ignore_case" doc:"Take large and small letters of the body as the same."`
	Attribute  []string `query:"attribute,explode" nullable:"false" doc:"Only messages with this attribute: NAME, or NAME=VALUE; may be repeated."`
	Key        string   `query:"key" doc:"Only messages with this key, which is the message group."`
	State      []string `query:"state,explode" nullable:"false" doc:"Only messages in this state: visible, in_flight or delayed; may be repeated."`
}

func (p *SearchParams) search() (*Search, error) {
	s := &Search{IDs: p.ID, Body: p.Text, IgnoreCase: p.IgnoreCase, Attributes: p.Attribute, Key: p.Key, States: p.State}
	return s, s.check("")
}

// check finds what is wrong with a search, which is at a path of the body or, if
// that is empty, in parameters. Its states are then as messages have them.
func (s *Search) check(path string) error {
	refuse := func(parameter, field string, value any, want string) error {
		if path == "" {
			return runnel.Errorf(runnel.CodeInvalid, "%s=%v: %s", parameter, value, want)
		}
		return &runnel.FieldError{Path: path + "." + field, Err: fmt.Errorf("%q: %s", value, want)}
	}
	if len(s.IDs) > maxSearch {
		return refuse("id", "ids", "...", fmt.Sprintf("want at most %d", maxSearch))
	}
	if len(s.Attributes) > maxSearch {
		return refuse("attribute", "attributes", "...", fmt.Sprintf("want at most %d", maxSearch))
	}
	for _, a := range s.Attributes {
		if a == "" || strings.HasPrefix(a, "=") {
			return refuse("attribute", "attributes", a, "want NAME, or NAME=VALUE")
		}
	}
	for i, state := range s.States {
		known, ok := searchStates[state]
		if !ok {
			return refuse("state", "states", state, "want visible, in_flight or delayed")
		}
		s.States[i] = known
	}
	return nil
}

// All says whether every message fits.
func (s *Search) All() bool {
	return len(s.IDs)+len(s.Body)+len(s.Attributes)+len(s.Key)+len(s.States) == 0
}
