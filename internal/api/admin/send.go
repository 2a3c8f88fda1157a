package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
)

// NewMessage is a message to be sent.
type NewMessage struct {
	Payload
	Key        string      `json:"key,omitempty" doc:"Orders messages, or names a tenant."`
	Delay      *Duration   `json:"delay,omitempty" doc:"How long the message stays invisible, to 15m. Default: the queue's own."`
	Attributes []Attribute `json:"attributes,omitempty"`
}

type sendInput struct {
	QueuePath
	Traceparent string `header:"Traceparent" doc:"A W3C trace context: the one of the messages. One that is not valid is ignored."`
	Body        struct {
		Messages []NewMessage `json:"messages" minItems:"1" maxItems:"100"`
	}
}

type sendAnswer struct {
	Body struct {
		IDs []runnel.MessageID `json:"ids" doc:"The ids of the messages, in their order."`
	}
}

func (d *Door) send(ctx context.Context, caller auth.Caller, in *sendInput) (*sendAnswer, error) {
	if d.QueueChanges == nil {
		return nil, unsupported("way to send here; send through the SQS endpoint")
	}
	trace := traceparent(in.Traceparent)
	ms := make([]runnel.Message, len(in.Body.Messages))
	var faults []error
	for i, m := range in.Body.Messages {
		var wrong []error
		ms[i], wrong = m.message(fmt.Sprintf("messages[%d]", i))
		ms[i].Sender, ms[i].Trace = caller.AccountID, trace
		faults = append(faults, wrong...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	ids, err := d.QueueChanges.Send(ctx, caller.Account, in.Queue, ms)
	var partly *runnel.SendError
	if errors.As(err, &partly) && len(partly.Failed) > 0 {
		return nil, refusalOfSend(partly, len(ms))
	}
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	out := new(sendAnswer)
	out.Body.IDs = filled(ids)
	return out, nil
}

// message returns the message, or what is wrong with it at path.
func (m *NewMessage) message(path string) (out runnel.Message, faults []error) {
	fault := func(at string, err error) {
		faults = append(faults, &runnel.FieldError{Path: path + at, Err: err})
	}
	var err error
	out.Key = m.Key
	if out.Body, err = content(m.Text, m.Base64, "body"); err != nil {
		fault("", err)
	}
	if m.Delay != nil {
		// In the root's words: nothing said is the queue's own delay, and none
		// whatever the queue says is negative.
		if out.Delay = time.Duration(*m.Delay); out.Delay == 0 {
			out.Delay = -1
		} else if out.Delay < 0 {
			fault(".delay", errors.New("is negative"))
		}
	}
	for i, a := range m.Attributes {
		value, err := content(a.Text, a.Base64, "value")
		if err != nil {
			fault(fmt.Sprintf(".attributes[%d]", i), err)
		}
		out.Attributes = append(out.Attributes, runnel.Attribute{Name: a.Name, Type: a.Type, Value: value})
	}
	return out, faults
}

// content returns the one of the two forms of a value that is there.
func content(text *string, base64 []byte, name string) ([]byte, error) {
	switch {
	case text != nil && base64 != nil:
		return nil, fmt.Errorf("has both %s and %s_base64: want one", name, name)
	case text != nil:
		return []byte(*text), nil
	case base64 != nil:
		return base64, nil
	}
	return nil, fmt.Errorf("has neither %s nor %s_base64: want one", name, name)
}

// refusalOfSend says which of n messages were not stored, with the code of the
// first.
func refusalOfSend(e *runnel.SendError, n int) *refusal {
	var out *refusal
	var faults []Fault
	for i := range n {
		err, ok := e.Failed[i]
		if !ok {
			continue
		}
		one := refusalOf(err)
		if out == nil {
			out = refuse(one.Fault.Code, "%d of %d messages were not stored, the others were", len(e.Failed), n)
			out.err = e
		}
		faults = append(faults, Fault{Path: fmt.Sprintf("messages[%d]", i), Message: one.Fault.Message})
	}
	if out == nil {
		return refusalOf(fmt.Errorf("send: the failures are of other messages: %w", e))
	}
	out.Fault.Faults = faults
	return out
}
