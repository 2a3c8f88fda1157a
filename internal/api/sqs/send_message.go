package sqs

import (
	"errors"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// SendMessage
//
// Parameters: QueueUrl, MessageBody, DelaySeconds (0 to 900; 0 overrides the
// delay of the queue), MessageAttributes (at most 10), MessageSystemAttributes
// (AWSTraceHeader, which does not count for the size), MessageGroupId (1 to 128
// characters; on a standard queue it makes the queue fair).
//
// Body and attributes have at most the MaximumMessageSize of the queue, 1 MiB
// or less. The message is on disk when the call returns.
//
// MessageDeduplicationId and SequenceNumber are for FIFO queues: see fifo.go.
//
// Differences: none known.

type sendMessageInput struct {
	QueueURL string
	message
}

func (in *sendMessageInput) parameter(d *decoder, name []byte) bool {
	if string(name) == "QueueUrl" {
		in.QueueURL = d.string()
		return true
	}
	return in.message.parameter(d, name)
}

// message is a message that a client sends: what SendMessage and an entry of
// SendMessageBatch have in common.
type message struct {
	MessageBody             []byte
	DelaySeconds            number
	MessageAttributes       messageAttributes
	MessageSystemAttributes messageAttributes
	MessageDeduplicationID  *string
	MessageGroupID          *string
}

func (m *message) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "MessageBody":
		m.MessageBody = d.text()
	case "DelaySeconds":
		m.DelaySeconds = d.number()
	case "MessageAttributes":
		m.MessageAttributes = d.messageAttributes()
	case "MessageSystemAttributes":
		m.MessageSystemAttributes = d.messageAttributes()
	case "MessageDeduplicationId":
		m.MessageDeduplicationID = d.optional()
	case "MessageGroupId":
		m.MessageGroupID = d.optional()
	default:
		return false
	}
	return true
}

// size is the bytes that count for limits: body and user attributes.
func (m *message) size() int {
	n := len(m.MessageBody)
	for i := range m.MessageAttributes.list {
		a := &m.MessageAttributes.list[i]
		n += len(a.Name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// check refuses what can be refused without a look at the attributes.
func (m *message) check() error {
	if len(m.MessageBody) == 0 {
		return missing("MessageBody")
	}
	if !isText(m.MessageBody) {
		return invalidMessageContents.says(textCharacters)
	}
	if n := m.DelaySeconds.n; n < 0 || n > int(queue.MaxDelay/time.Second) {
		return invalid("DelaySeconds", n, "DelaySeconds must be >= 0 and <= 900.")
	}
	if id := m.MessageGroupID; id != nil && !isGroupID(*id) {
		return invalid("MessageGroupId", *id, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	return nil
}

// isGroupID says whether s has 1 to 128 letters, digits and punctuation marks
// of ASCII.
func isGroupID(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

// sent is what a client is told of its message.
type sent struct {
	MessageID                    runnel.MessageID
	MD5OfMessageBody             digest
	MD5OfMessageAttributes       string
	MD5OfMessageSystemAttributes string
	SequenceNumber               string // FIFO queues only
}

// parse returns the message as it is stored, and what to tell of it, but for
// its id.
func (m *message) parse(sender string) (stored runnel.Message, s sent, err error) {
	user, err := m.MessageAttributes.user()
	if err != nil {
		return stored, s, err
	}
	system, err := m.MessageSystemAttributes.system()
	if err != nil {
		return stored, s, err
	}
	stored = runnel.Message{
		Body:       m.MessageBody,
		Attributes: append(user[:len(user):len(user)], system...),
		Sender:     sender,
	}
	if m.MessageGroupID != nil {
		stored.Key = *m.MessageGroupID
	}
	if m.MessageDeduplicationID != nil {
		stored.DedupID = *m.MessageDeduplicationID
	}
	if m.DelaySeconds.given {
		stored.Delay = time.Duration(m.DelaySeconds.n) * time.Second
		if stored.Delay == 0 {
			stored.Delay = -1 // not the queue's
		}
	}
	s.MD5OfMessageBody = digestOf(m.MessageBody)
	s.MD5OfMessageAttributes = attributesDigest(user)
	s.MD5OfMessageSystemAttributes = attributesDigest(system)
	return stored, s, nil
}

func (s *sent) encode(e *encoder) {
	e.text("MD5OfMessageBody", s.MD5OfMessageBody[:])
	e.optional("MD5OfMessageAttributes", s.MD5OfMessageAttributes)
	e.optional("MD5OfMessageSystemAttributes", s.MD5OfMessageSystemAttributes)
	e.field("MessageId", string(s.MessageID))
	e.optional("SequenceNumber", s.SequenceNumber)
}

type sendMessageOutput struct{ sent }

func (c *call) sendMessage(in *sendMessageInput) (*sendMessageOutput, error) {
	q, err := c.useAt(in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	settings, _ := q.Settings()
	if err := in.checkFor(&settings); err != nil {
		return nil, err
	}
	if in.size() > settings.MaxMessageBytes {
		return nil, invalidParameterValue.says("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", settings.MaxMessageBytes)
	}

	stored, s, err := in.parse(c.caller.AccountID)
	if err != nil {
		return nil, err
	}

	if err := c.send(q, []runnel.Message{stored}, func(int) *sent { return &s }); err != nil {
		return nil, sendError(err, 0)
	}
	return &sendMessageOutput{s}, nil
}

// sendError is the error of message i of a Send that returned err.
func sendError(err error, i int) error {
	var partial *runnel.SendError
	if errors.As(err, &partial) {
		return partial.Failed[i]
	}
	return err
}
