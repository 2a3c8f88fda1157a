package envelope

import (
	"bytes"
	"crypto/md5" //nolint:gosec // SQS says MD5; it guards against nothing
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runnel-io/runnel"
)

// The two shapes of Amazon SQS: a record of the event that AWS Lambda makes,
// and a message as ReceiveMessage returns it. They differ in the case of names.
//
// Both have the attributes ApproximateReceiveCount, SentTimestamp, SenderId and
// ApproximateFirstReceiveTimestamp, and where the message has them
// MessageGroupId, MessageDeduplicationId and AWSTraceHeader. Known differences:
//
//   - ApproximateReceiveCount is the attempt: receives that were released again
//     are not counted.
//   - ApproximateFirstReceiveTimestamp is the time of this call where the source
//     does not know when it delivered the message first.
//   - The receipt handle names the call and the message and is good for nothing:
//     the flow settles the message.
//   - stringListValues and binaryListValues, which AWS leaves empty, are absent,
//     as are SequenceNumber and the digest of the attributes.
//   - What is not UTF-8 in names and string values becomes U+FFFD.

// names are the fields that the two shapes write differently.
type names struct {
	id, handle, digest, body, system, custom string
	text, binary, kind                       string
}

var (
	inRecord = names{
		id: `{"messageId":`, handle: `,"receiptHandle":`, digest: `,"md5OfBody":"`, body: `,"body":`,
		system: `,"attributes":{"ApproximateReceiveCount":"`, custom: `,"messageAttributes":{`,
		text: `:{"stringValue":`, binary: `:{"binaryValue":"`, kind: `,"dataType":`,
	}
	inMessage = names{
		id: `{"MessageId":`, handle: `,"ReceiptHandle":`, digest: `,"MD5OfBody":"`, body: `,"Body":`,
		system: `,"Attributes":{"ApproximateReceiveCount":"`, custom: `,"MessageAttributes":{`,
		text: `:{"StringValue":`, binary: `:{"BinaryValue":"`, kind: `,"DataType":`,
	}
)

// reserved begins the names of attributes that are not the sender's own: a
// door keeps SQS's system attributes there.
const (
	reserved       = "AWS."
	traceAttribute = "AWS.TraceHeader"
)

// recordBytes is about how many bytes a message takes in one of the shapes.
func recordBytes(m *runnel.Message) int {
	n := 640 + len(m.Body) + len(m.Body)/8 + len(m.Key) + len(m.DedupID)
	for i := range m.Attributes {
		n += 64 + len(m.Attributes[i].Name) + 4*len(m.Attributes[i].Value)/3
	}
	return n
}

// appendRecord adds a record of an event.
func (c *call) appendRecord(b []byte, of *runnel.Call, i int, m *runnel.Message) []byte {
	b = c.appendCommon(b, &inRecord, of, i, m)
	b = append(b, inRecord.custom...)
	b = appendAttributes(b, &inRecord, m)
	b = append(b, `},"eventSource":"aws:sqs","eventSourceARN":`...)
	b = appendString(b, c.cfg.Source)
	b = append(b, `,"awsRegion":`...)
	b = appendString(b, c.cfg.Region)
	return append(b, '}')
}

// appendMessage adds a message. As in SQS, it has no MessageAttributes if
// there are none.
func (c *call) appendMessage(b []byte, of *runnel.Call, i int, m *runnel.Message) []byte {
	b = c.appendCommon(b, &inMessage, of, i, m)
	for j := range m.Attributes {
		if custom(m, j) {
			b = append(b, inMessage.custom...)
			b = append(appendAttributes(b, &inMessage, m), '}')
			break
		}
	}
	return append(b, '}')
}

// appendCommon adds a message up to its own attributes.
func (c *call) appendCommon(b []byte, n *names, of *runnel.Call, i int, m *runnel.Message) []byte {
	b = appendString(append(b, n.id...), string(m.ID))
	b = appendString(append(b, n.handle...), of.Invocation+"/"+string(m.ID))
	sum := md5.Sum(m.Body) //nolint:gosec // see the import
	b = hex.AppendEncode(append(b, n.digest...), sum[:])
	b = append(b, '"')
	b = appendQuoted(append(b, n.body...), m.Body)
	b = append(b, n.system...)
	b = strconv.AppendInt(b, int64(attempt(of, i)), 10)
	b = append(b, `","SentTimestamp":"`...)
	b = appendMillis(b, m.Sent)
	b = append(b, `","SenderId":`...)
	b = appendString(b, m.Sender)
	b = append(b, `,"ApproximateFirstReceiveTimestamp":"`...)
	b = appendMillis(b, c.firstReceived(of, i))
	b = append(b, '"')
	if m.Key != "" {
		b = appendString(append(b, `,"MessageGroupId":`...), m.Key)
	}
	if m.DedupID != "" {
		b = appendString(append(b, `,"MessageDeduplicationId":`...), m.DedupID)
	}
	if trace, ok := m.Attribute(traceAttribute); ok {
		b = appendString(append(b, `,"AWSTraceHeader":`...), string(trace))
	}
	return append(b, '}')
}

func (c *call) firstReceived(of *runnel.Call, i int) time.Time {
	if i < len(of.FirstReceived) && !of.FirstReceived[i].IsZero() {
		return of.FirstReceived[i]
	}
	return c.cfg.Now()
}

func appendMillis(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, '0')
	}
	return strconv.AppendInt(b, t.UnixMilli(), 10)
}

// custom says whether attribute j is the sender's own, and the first of its
// name: names are unique in these shapes.
func custom(m *runnel.Message, j int) bool {
	name := m.Attributes[j].Name
	if strings.HasPrefix(name, reserved) {
		return false
	}
	for i := range j {
		if m.Attributes[i].Name == name {
			return false
		}
	}
	return true
}

func appendAttributes(b []byte, n *names, m *runnel.Message) []byte {
	first := true
	for i := range m.Attributes {
		if !custom(m, i) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		a := &m.Attributes[i]
		kind := a.Type
		if kind == "" {
			kind = "String"
		}
		b = appendString(b, a.Name)
		if kind == "Binary" || strings.HasPrefix(kind, "Binary.") {
			b = base64.StdEncoding.AppendEncode(append(b, n.binary...), a.Value)
			b = append(b, '"')
		} else {
			b = appendValue(append(b, n.text...), a.Value)
		}
		b = appendString(append(b, n.kind...), kind)
		b = append(b, '}')
	}
	return b
}

// appendString adds s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func appendString(b []byte, s string) []byte {
	return appendQuoted(b, strings.ToValidUTF8(s, "\ufffd"))
}

// appendValue is appendString for the value of an attribute.
func appendValue(b, v []byte) []byte {
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\ufffd"))
	}
	return appendQuoted(b, v)
}

// appendQuoted adds s, which must be UTF-8, as a JSON string.
func appendQuoted[S string | []byte](b []byte, s S) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		ch := s[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', digits[ch>>4], digits[ch&0xf])
		}
	}
	return append(append(b, s[from:]...), '"')
}
