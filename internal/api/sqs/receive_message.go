package sqs

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// ReceiveMessage
//
// Parameters: QueueUrl, MaxNumberOfMessages (1 to 10, default 1),
// VisibilityTimeout (0 to 43200 s, default the queue's), WaitTimeSeconds (0 to
// 20, default the queue's), AttributeNames and MessageSystemAttributeNames (the
// same: names of system attributes, or All), MessageAttributeNames (names, All,
// or PREFIX.*).
//
// It returns as soon as there is a message, with as many as there are. It ends
// when the client goes away, and then takes no message. More than 120,000
// messages in flight are OverLimit.
//
// Differences: with a backlog it always returns MaxNumberOfMessages, of all
// there are (Amazon asks a part of its servers in a short poll). SenderId is
// the 12-digit id of the account that sent. What a flow stored and is not UTF-8,
// or what XML cannot hold where the answer is XML, is returned with U+FFFD in its
// place, and the MD5 is of that. ReceiveRequestAttemptId is for FIFO queues: see
// fifo.go.

const maxReceived = 10

type receiveMessageInput struct {
	QueueURL                string
	MaxNumberOfMessages     number
	VisibilityTimeout       number
	WaitTimeSeconds         number
	SystemAttributes        systemAttributes
	MessageAttributeNames   attributeFilter
	ReceiveRequestAttemptID *string
	unknownAttribute        *string
}

func (in *receiveMessageInput) parameter(d *decoder, name []byte) bool {
	switch string(name) {
	case "QueueUrl":
		in.QueueURL = d.string()
	case "MaxNumberOfMessages":
		in.MaxNumberOfMessages = d.number()
	case "VisibilityTimeout":
		in.VisibilityTimeout = d.number()
	case "WaitTimeSeconds":
		in.WaitTimeSeconds = d.number()
	case "AttributeNames", "MessageSystemAttributeNames":
		d.list(func() {
			if name := d.text(); !in.SystemAttributes.add(name) && in.unknownAttribute == nil {
				unknown := string(name)
				in.unknownAttribute = &unknown
			}
		})
	case "MessageAttributeNames":
		in.MessageAttributeNames = d.strings()
	case "ReceiveRequestAttemptId":
		in.ReceiveRequestAttemptID = d.optional()
	default:
		return false
	}
	return true
}

// systemAttributes is a set of system attributes.
type systemAttributes uint16

const (
	senderID systemAttributes = 1 << iota
	sentTimestamp
	approximateReceiveCount
	approximateFirstReceiveTimestamp
	awsTraceHeader
	deadLetterQueueSourceARN
	messageGroupID
	sequenceNumber         // FIFO queues only
	messageDeduplicationID // FIFO queues only
	allSystemAttributes    = 1<<iota - 1
)

// add adds the attribute of a name, if there is one.
func (s *systemAttributes) add(name []byte) bool {
	switch string(name) {
	case "All":
		*s |= allSystemAttributes
	case "SenderId":
		*s |= senderID
	case "SentTimestamp":
		*s |= sentTimestamp
	case "ApproximateReceiveCount":
		*s |= approximateReceiveCount
	case "ApproximateFirstReceiveTimestamp":
		*s |= approximateFirstReceiveTimestamp
	case "AWSTraceHeader":
		*s |= awsTraceHeader
	case "DeadLetterQueueSourceArn":
		*s |= deadLetterQueueSourceARN
	case "MessageGroupId":
		*s |= messageGroupID
	case "SequenceNumber":
		*s |= sequenceNumber
	case "MessageDeduplicationId":
		*s |= messageDeduplicationID
	default:
		return false
	}
	return true
}

// of returns those of the attributes that a message has.
func (s systemAttributes) of(m *runnel.Delivery, q site) (out []pair) {
	if s == 0 {
		return nil
	}
	add := func(which systemAttributes, name, value string) {
		if s&which != 0 && value != "" {
			out = append(out, pair{name, value})
		}
	}
	milliseconds := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	add(senderID, "SenderId", m.Sender)
	add(sentTimestamp, "SentTimestamp", milliseconds(m.Sent))
	receives, first := m.Receives, m.FirstReceived
	if d := m.DeadLetter; d != nil && d.Type == queue.MaxReceivesType {
		receives += d.Attempts // AWS counts on in the dead-letter queue
		first = d.First
	}
	add(approximateReceiveCount, "ApproximateReceiveCount", strconv.Itoa(receives))
	add(approximateFirstReceiveTimestamp, "ApproximateFirstReceiveTimestamp", milliseconds(first))
	if trace, ok := m.Attribute(traceAttribute); ok {
		add(awsTraceHeader, "AWSTraceHeader", string(trace))
	}
	if m.DeadLetter != nil {
		add(deadLetterQueueSourceARN, "DeadLetterQueueSourceArn", sourceARN(m.DeadLetter.Source, q))
	}
	add(messageGroupID, "MessageGroupId", m.Key)
	s.sequence(m, add)
	return out
}

// sourceARN returns the ARN of the queue that a dead letter in q came from,
// empty if it came from elsewhere.
func sourceARN(source string, q site) string {
	kind, name, _ := strings.Cut(source, ":")
	switch kind {
	case "queue":
		return q.door.arn(q.accountID, name)
	case "arn":
		return source
	}
	return ""
}

// received is a message as a client receives it.
type received struct {
	MessageID              runnel.MessageID
	ReceiptHandle          string
	MD5OfBody              digest
	Body                   []byte
	Attributes             []pair
	MD5OfMessageAttributes string
	MessageAttributes      []runnel.Attribute
}

type receiveMessageOutput struct{ Messages []received }

func (out *receiveMessageOutput) encode(e *encoder) {
	e.list("Messages", "Message", len(out.Messages), func(i int) {
		m := &out.Messages[i]
		e.field("MessageId", string(m.MessageID))
		e.field("ReceiptHandle", m.ReceiptHandle)
		e.text("MD5OfBody", m.MD5OfBody[:])
		e.text("Body", m.Body)
		e.pairs("Attributes", "Attribute", "Name", m.Attributes)
		e.optional("MD5OfMessageAttributes", m.MD5OfMessageAttributes)
		e.messageAttributes(m.MessageAttributes)
	})
}

// check refuses parameters that no queue takes.
func (in *receiveMessageInput) check() error {
	if n := in.MaxNumberOfMessages; n.given && (n.n < 1 || n.n > maxReceived) {
		return invalid("MaxNumberOfMessages", n.n, "Must be between 1 and 10, if provided.")
	}
	if n := in.WaitTimeSeconds.n; n < 0 || n > int(queue.MaxReceiveWait/time.Second) {
		return invalid("WaitTimeSeconds", n, "Must be >= 0 and <= 20, if provided.")
	}
	if in.unknownAttribute != nil {
		return unknownAttribute(*in.unknownAttribute)
	}
	return checkVisibilityTimeout(in.VisibilityTimeout)
}

// limits is how the queue is asked.
func (in *receiveMessageInput) limits(settings queue.Settings) runnel.Limits {
	lim := runnel.Limits{Messages: 1, Wait: settings.ReceiveWait}
	if in.MaxNumberOfMessages.given {
		lim.Messages = in.MaxNumberOfMessages.n
	}
	if in.WaitTimeSeconds.given {
		lim.Wait = time.Duration(in.WaitTimeSeconds.n) * time.Second
	}
	if in.VisibilityTimeout.given {
		lim.Lease = time.Duration(in.VisibilityTimeout.n) * time.Second
		if lim.Lease == 0 {
			lim.Lease = -1 // not the queue's
		}
	}
	return lim
}

func (c *call) receiveMessage(in *receiveMessageInput) (*receiveMessageOutput, error) {
	q, err := c.useAt(in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}

	settings, _ := q.Settings()
	if err := in.checkAttempt(&settings); err != nil {
		return nil, err
	}
	lim := in.limits(settings)

	attempt := ""
	if in.ReceiveRequestAttemptID != nil {
		attempt = *in.ReceiveRequestAttemptID
	}
	deliveries, err := q.ReceiveAttempt(c.r.Context(), lim, attempt)
	if errors.Is(err, runnel.ErrClosed) {
		return new(receiveMessageOutput), nil // the wait is cut short
	}
	if err != nil {
		return nil, err
	}
	out := &receiveMessageOutput{make([]received, len(deliveries))}
	at := site{c.door, q.Name(), q.accountID}
	for i := range deliveries {
		d := &deliveries[i]
		body := d.Body
		if !utf8.Valid(body) {
			body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
		}
		attributes := in.MessageAttributeNames.filter(d.Attributes)
		if c.query {
			body = xmlText(body)
			for i := range attributes {
				if a := &attributes[i]; !isBinary(a.Type) {
					a.Value = xmlText(a.Value)
				}
			}
		}
		out.Messages[i] = received{
			MessageID:              d.ID,
			ReceiptHandle:          d.Handle.(queue.Receipt).String(),
			MD5OfBody:              digestOf(body),
			Body:                   body,
			Attributes:             in.SystemAttributes.of(d, at),
			MD5OfMessageAttributes: attributesDigest(attributes),
			MessageAttributes:      attributes,
		}
	}
	return out, nil
}
