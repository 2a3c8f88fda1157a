package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// How many messages one answer of peek holds: unless it is said, and at most.
const (
	defaultPeek = 10
	maxPeek     = 100
)

// Message is a message as somebody sees it who only looks.
type Message struct {
	Position int64     `json:"position" doc:"The message's place in its queue: what after takes."`
	ID       string    `json:"id"`
	State    string    `json:"state" enum:"visible,in flight,delayed"`
	Until    time.Time `json:"until,omitzero" doc:"When an invisible message becomes visible."`
	Sent     time.Time `json:"sent"`
	Receives int       `json:"receives" doc:"How often it was received."`
	Failures int       `json:"failures" doc:"How often a function failed on it."`
	Key      string    `json:"key,omitempty"`
	Sender   string    `json:"sender,omitempty"`

	Payload
	Attributes []Attribute        `json:"attributes,omitempty"`
	DeadLetter *runnel.DeadLetter `json:"dead_letter,omitempty"`
}

// Payload is a body: as text where it is text (UTF-8), else in base64.
type Payload struct {
	Text   *string `json:"body,omitempty"`
	Base64 Base64  `json:"body_base64,omitempty" doc:"The body, where it is not text."`
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
	Type   string  `json:"type" required:"false" doc:"String, Number or Binary, or one of these with a .LABEL. Default String."`
	Text   *string `json:"value,omitempty"`
	Base64 Base64  `json:"value_base64,omitempty" doc:"The value, where it is not text."`
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

// position is the parameter "after". from is the position behind it, 0 where
// nothing is said.
type position struct{ from int64 }

// UnmarshalText reads the position of a message.
func (p *position) UnmarshalText(text []byte) error {
	after, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || after < 0 || after == math.MaxInt64 {
		return errors.New("want the position of a message, a number from 0 on")
	}
	p.from = after + 1
	return nil
}

// Schema describes the parameter.
func (position) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: new(float64)}
}

// limit is the parameter of that name; 0 where nothing is said.
type limit struct{ n int }

// UnmarshalText reads a number of messages.
func (l *limit) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxPeek {
		return fmt.Errorf("want a number from 1 to %d", maxPeek)
	}
	l.n = n
	return nil
}

// Schema describes the parameter.
func (limit) Schema(huma.Registry) *huma.Schema {
	least, most := 1.0, float64(maxPeek)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Default: defaultPeek}
}

func (l limit) orDefault() int {
	if l.n == 0 {
		return defaultPeek
	}
	return l.n
}

// PeekParams says which messages of a queue are wanted.
type PeekParams struct {
	QueuePath
	After position `query:"after" doc:"The position that the page before ended with: its next."`
	Limit limit    `query:"limit" doc:"How many messages at most."`
}

type peekInput struct {
	PeekParams
	SearchParams
}

type peekAnswer struct {
	Body struct {
		Messages []Message `json:"messages"`
		Next     *int64    `json:"next,omitempty" doc:"What after should be to see more. Left out if there was no more. A search may answer with few messages, or none, and a next."`
	}
}

func (d *Door) peek(ctx context.Context, caller auth.Caller, in *peekInput) (*peekAnswer, error) {
	search, err := in.search()
	if err != nil {
		return nil, err
	}
	page, err := d.Queues.Search(ctx, caller.Account, in.Queue, in.After.from, search, in.Limit.orDefault())
	if err != nil {
		return nil, fmt.Errorf("peek: %w", err)
	}
	out := new(peekAnswer)
	out.Body.Messages = filled(page.Messages)
	if page.More {
		out.Body.Next = &page.Last
	}
	return out, nil
}
