package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// How many messages one answer of peek holds: unless it is said, and at most.
const (
	defaultPeek = 10
	maxPeek     = 100
)

// Queues is what the API reads and does of queues. A queue that does not
// exist is CodeNotFound.
type Queues interface {
	// List returns the queues of an account, by name.
	List(account string) []Queue
	// Peek returns up to most messages from position on, in their order, and
	// whether there are more. It may return fewer than there are, but not
	// none, and changes nothing.
	Peek(account, queue string, position int64, most int) (ms []Message, more bool, err error)
	// Purge removes all messages. Again within 60 s it is CodeLimit.
	Purge(account, queue string) error
}

// Queue is a queue, its depth now, and what happened since the server started.
type Queue struct {
	Account string `json:"account"`
	Name    string `json:"name"`

	Visible  int64 `json:"visible"`
	InFlight int64 `json:"in_flight"`
	Delayed  int64 `json:"delayed"`

	Settings Settings  `json:"settings"`
	Created  time.Time `json:"created"`
	Modified time.Time `json:"modified"`

	Stats QueueStats `json:"stats"`
}

// Settings are the settings of a queue. Durations are as in "1m30s".
type Settings struct {
	VisibilityTimeout Duration          `json:"visibility_timeout"`
	Delay             Duration          `json:"delay"`
	Retention         Duration          `json:"retention"`
	ReceiveWait       Duration          `json:"receive_wait"`
	MaxMessageBytes   int               `json:"max_message_bytes"`
	DeadLetter        *DeadLetter       `json:"dead_letter,omitempty"`
	Tags              map[string]string `json:"tags,omitempty"`
}

// DeadLetter says where messages go that clients received too often.
type DeadLetter struct {
	Queue       string `json:"queue"`
	MaxReceives int    `json:"max_receives"`
}

// Duration is a time.Duration that is written as text.
type Duration time.Duration

// MarshalText returns the duration as in "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// QueueStats count since the server started.
type QueueStats struct {
	Sent         uint64 `json:"sent"`
	Received     uint64 `json:"received"`
	Deleted      uint64 `json:"deleted"`
	Expired      uint64 `json:"expired"`
	DeadLettered uint64 `json:"dead_lettered"`
	// Receivers wait for a message now.
	Receivers int `json:"receivers"`
}

// Message is a message as somebody sees it who only looks.
type Message struct {
	// Position is the message's place in its queue: what "after" takes.
	Position int64  `json:"position"`
	ID       string `json:"id"`
	// State is "visible", "in flight" or "delayed"; Until is when an
	// invisible message becomes visible.
	State    string    `json:"state"`
	Until    time.Time `json:"until,omitzero"`
	Sent     time.Time `json:"sent"`
	Receives int       `json:"receives"`
	Failures int       `json:"failures"`
	Key      string    `json:"key,omitempty"`
	Sender   string    `json:"sender,omitempty"`

	Payload
	Attributes []Attribute        `json:"attributes,omitempty"`
	DeadLetter *runnel.DeadLetter `json:"dead_letter,omitempty"`
}

// Payload is a body: as text where it is text (UTF-8), else in base64.
type Payload struct {
	Text   *string `json:"body,omitempty"`
	Base64 []byte  `json:"body_base64,omitempty"`
}

// NewPayload returns body as a Payload.
func NewPayload(body []byte) Payload {
	if !utf8.Valid(body) {
		return Payload{Base64: body}
	}
	text := string(body)
	return Payload{Text: &text}
}

// Attribute is a message attribute; its value is text or binary, as the body.
type Attribute struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Text   *string `json:"value,omitempty"`
	Base64 []byte  `json:"value_base64,omitempty"`
}

// NewAttribute returns a as an Attribute.
func NewAttribute(a runnel.Attribute) Attribute {
	p := NewPayload(a.Value)
	kind := a.Type
	if kind == "" {
		kind = "String"
	}
	return Attribute{Name: a.Name, Type: kind, Text: p.Text, Base64: p.Base64}
}

func (d *Door) listQueues(w http.ResponseWriter, _ *http.Request, caller auth.Caller) error {
	queues := d.Queues.List(caller.Account)
	if queues == nil {
		queues = []Queue{}
	}
	return writeJSON(w, http.StatusOK, map[string][]Queue{"queues": queues})
}

// peeked is the answer to a peek.
type peeked struct {
	Messages []Message `json:"messages"`
	// Next is what "after" should be to see more; nil if there was no more.
	Next *int64 `json:"next,omitempty"`
}

func (d *Door) peek(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	query := r.URL.Query()
	var from int64
	if text := query.Get("after"); text != "" {
		after, err := strconv.ParseInt(text, 10, 64)
		if err != nil || after < 0 || after+1 < 0 {
			return runnel.Errorf(runnel.CodeInvalid, "after=%s: want the position of a message, a number from 0 on", text)
		}
		from = after + 1
	}
	limit := defaultPeek
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPeek {
			return runnel.Errorf(runnel.CodeInvalid, "limit=%s: want a number from 1 to %d", text, maxPeek)
		}
	}
	ms, more, err := d.Queues.Peek(caller.Account, r.PathValue("queue"), from, limit)
	if err != nil {
		return fmt.Errorf("peek: %w", err)
	}
	answer := peeked{Messages: ms}
	if ms == nil {
		answer.Messages = []Message{}
	}
	if more && len(ms) > 0 {
		answer.Next = &ms[len(ms)-1].Position
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (d *Door) purge(w http.ResponseWriter, r *http.Request, caller auth.Caller) error {
	if err := d.Queues.Purge(caller.Account, r.PathValue("queue")); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
