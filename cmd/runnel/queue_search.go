package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const searchHelp = `With --body, --attr, --group, --id and --state only those are wanted for which all
of that holds. --body is text within the body, as it is or, with --ignore-case,
in any case.`

// messageSearch says which messages are wanted; the tags are its names in the
// API.
type messageSearch struct {
	IDs        []string `json:"ids,omitempty"`
	Body       string   `json:"body,omitempty"`
	IgnoreCase bool     `json:"ignore_case,omitempty"`
	Attributes []string `json:"attributes,omitempty"`
	Key        string   `json:"key,omitempty"`
	States     []string `json:"states,omitempty"`
}

func (s *messageSearch) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&s.IDs, "id", nil, "only the message with this `ID`; may be repeated")
	f.StringVar(&s.Body, "body", "", "only messages with this `text` within the body")
	f.BoolVar(&s.IgnoreCase, "ignore-case", false, "take large and small letters of the body as the same")
	f.StringArrayVar(&s.Attributes, "attr", nil, "only messages with this attribute, `NAME` or NAME=VALUE; may be repeated")
	f.StringVar(&s.Key, "group", "", "only messages of this message `group`")
	f.StringArrayVar(&s.States, "state", nil, "only messages in this `state`: visible, in-flight or delayed; may be repeated")
}

// check finds what is wrong, and gives states the names that the API has.
func (s *messageSearch) check() error {
	for i, state := range s.States {
		state = strings.NewReplacer("-", "_", " ", "_").Replace(state)
		switch state {
		case "visible", "in_flight", "delayed":
			s.States[i] = state
		default:
			return &usageError{fmt.Sprintf("--state %s: want visible, in-flight or delayed", s.States[i])}
		}
	}
	for _, a := range s.Attributes {
		if a == "" || a[0] == '=' {
			return &usageError{fmt.Sprintf("--attr %q: want NAME, or NAME=VALUE", a)}
		}
	}
	if s.IgnoreCase && s.Body == "" {
		return &usageError{"--ignore-case is for --body"}
	}
	return nil
}

// all says whether every message is wanted.
func (s *messageSearch) all() bool {
	return len(s.IDs)+len(s.Body)+len(s.Attributes)+len(s.Key)+len(s.States) == 0
}

// such is a word before "messages" of a search that found none.
func (s *messageSearch) such() string {
	if s.all() {
		return ""
	}
	return "such "
}

func (s *messageSearch) query() (url.Values, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	query := url.Values{"id": s.IDs, "attribute": s.Attributes, "state": s.States}
	if s.Body != "" {
		query.Set("body", s.Body)
	}
	if s.IgnoreCase {
		query.Set("ignore_case", "true")
	}
	if s.Key != "" {
		query.Set("key", s.Key)
	}
	return query, nil
}

// searchMessages calls f with the messages of each page, until limit were found
// or all were looked at.
func (c *client) searchMessages(ctx context.Context, queue string, query url.Values, limit int, f func([]json.RawMessage) error) error {
	for limit > 0 {
		query.Set("limit", strconv.Itoa(min(limit, peekPage)))
		var answer struct {
			Messages []json.RawMessage
			Next     *int64
		}
		if err := c.do(ctx, "GET", "/api/v1/queues/"+url.PathEscape(queue)+"/messages?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		if err := f(answer.Messages); err != nil {
			return err
		}
		limit -= len(answer.Messages)
		if answer.Next == nil {
			return nil
		}
		query.Set("after", strconv.FormatInt(*answer.Next, 10))
	}
	return nil
}
