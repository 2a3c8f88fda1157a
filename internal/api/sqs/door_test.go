package sqs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
	"github.com/runnel-io/runnel/internal/store/storetest"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// env is a door over a real store, on a server.
type env struct {
	t      testing.TB
	fs     *storetest.CrashFS
	set    *queue.Set
	door   *sqs.Door
	server *httptest.Server
	log    bytes.Buffer
}

// newEnv opens a door over a store in memory; change, if not nil, changes its
// configuration.
func newEnv(t testing.TB, change func(*sqs.Config)) *env {
	t.Helper()
	return newEnvAt(t, "data", storetest.NewCrashFS(), change)
}

// newEnvAt opens a door over a store in a directory of fs, or of the operating
// system if that is nil.
func newEnvAt(t testing.TB, dir string, fs *storetest.CrashFS, change func(*sqs.Config)) *env {
	t.Helper()
	e := &env{t: t, fs: fs}
	opt := store.Options{Log: quiet}
	if fs != nil {
		opt.FS = fs
	}
	s, err := store.Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if e.set, err = queue.Open(s, queue.Options{Log: quiet}); err != nil {
		t.Fatal(err)
	}
	c := sqs.Config{
		Queues: e.set,
		Auth:   &auth.Authenticator{Any: true},
		Log:    slog.New(slog.NewTextHandler(&e.log, nil)),
	}
	if change != nil {
		change(&c)
	}
	e.door = sqs.New(c)
	e.server = httptest.NewServer(e.door)
	t.Cleanup(func() {
		if err := e.set.Close(context.Background()); err != nil {
			t.Error(err)
		}
		e.server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// create makes a queue of the default account, by its name.
func (e *env) create(name string, change func(*queue.Settings)) *queue.Queue {
	e.t.Helper()
	s := queue.Defaults()
	if change != nil {
		change(&s)
	}
	q, _, err := e.set.Create(queue.Name{Account: "default", Queue: name}, s)
	if err != nil {
		e.t.Fatal(err)
	}
	return q
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// field returns a string of the answer's object, by its path.
func (a answer) field(t testing.TB, path ...any) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("answer %q: %v", a.body, err)
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("answer %q: %v is %v", a.body, path, v)
	}
	return s
}

func (e *env) request(ctx context.Context, action, body string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.server.URL, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	return r
}

func (e *env) send(r *http.Request) answer {
	e.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// do calls an action.
func (e *env) do(action, body string) answer {
	e.t.Helper()
	return e.send(e.request(e.t.Context(), action, body))
}

// ok calls an action that must succeed.
func (e *env) ok(action, body string) answer {
	e.t.Helper()
	a := e.do(action, body)
	if a.status != http.StatusOK {
		e.t.Fatalf("%s %s: status %d, %s", action, body, a.status, a.body)
	}
	return a
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// checkHeaders looks at what every answer has.
func checkHeaders(t testing.TB, a answer) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/x-amz-json-1.0" {
		t.Errorf("Content-Type: got %q", got)
	}
	if got := a.header.Get("x-amzn-RequestId"); !uuid.MatchString(got) {
		t.Errorf("x-amzn-RequestId: got %q, want a UUID", got)
	}
}

// refusal is how a refused request is answered.
type refusal struct {
	Status  int
	Type    string // __type
	Query   string // x-amzn-query-error
	Message string
}

func refused(t *testing.T, a answer) refusal {
	t.Helper()
	checkHeaders(t, a)
	var members map[string]string
	if err := json.Unmarshal([]byte(a.body), &members); err != nil {
		t.Fatalf("answer %q: %v", a.body, err)
	}
	got := refusal{a.status, members["__type"], a.header.Get("x-amzn-query-error"), members["message"]}
	delete(members, "__type")
	delete(members, "message")
	if len(members) > 0 {
		t.Errorf("the error has other members: %v", members)
	}
	return got
}

const (
	sqsType    = "com.amazonaws.sqs#"
	commonType = "com.amazon.coral.service#"
	service    = "AWS.SimpleQueueService."
)

func parameterValue(message string) refusal {
	return refusal{400, commonType + "InvalidParameterValueException", "InvalidParameterValue;Sender", message}
}

func attributeName(message string) refusal {
	return refusal{400, sqsType + "InvalidAttributeName", "InvalidAttributeName;Sender", message}
}

func attributeValue(message string) refusal {
	return refusal{400, sqsType + "InvalidAttributeValue", "InvalidAttributeValue;Sender", message}
}

func missingParameter(name string) refusal {
	return refusal{400, commonType + "MissingRequiredParameterException", "MissingParameter;Sender", "The request must contain the parameter " + name + "."}
}

func unsupported(message string) refusal {
	return refusal{400, sqsType + "UnsupportedOperation", service + "UnsupportedOperation;Sender", message}
}

func malformed(at string) refusal {
	return refusal{400, commonType + "SerializationException", "MalformedInput;Sender", "The request's body is not as expected at byte " + at + "."}
}

func batchRefusal(name, message string) refusal {
	return refusal{400, sqsType + name, service + name + ";Sender", message}
}

var noQueue = refusal{400, sqsType + "QueueDoesNotExist", service + "NonExistentQueue;Sender", "The specified queue does not exist."}

const (
	charactersText = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
	entryIDText    = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
	groupIDText    = "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."
	notThisQueue   = "The request include parameter that is not valid for this queue type."
)

func TestRefusals(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	e.create("small", func(s *queue.Settings) { s.MaxMessageBytes = 1024 })
	e.create("dead", nil)
	e.create("closed", func(s *queue.Settings) {
		s.Kept = map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`}
	})
	other := e.create("other", nil)
	if _, err := other.Send([]runnel.Message{{Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	foreign := e.ok("ReceiveMessage", `{"QueueUrl":"other"}`).field(t, "Messages", 0, "ReceiptHandle")

	long := strings.Repeat("x", 1025)
	eleven := strings.Repeat(`"a":{},`, 10) + `"a":{}`
	attribute := func(name, value string) string {
		return `{"QueueUrl":"q","MessageBody":"x","MessageAttributes":{"` + name + `":` + value + `}}`
	}
	redrive := func(policy string) string {
		return `{"QueueUrl":"q","Attributes":{"RedrivePolicy":"` + strings.ReplaceAll(policy, `"`, `\"`) + `"}}`
	}
	allow := func(policy string) string {
		return `{"QueueUrl":"q","Attributes":{"RedriveAllowPolicy":"` + strings.ReplaceAll(policy, `"`, `\"`) + `"}}`
	}
	const dead = `"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"`

	for _, test := range []struct {
		name, action, body string
		want               refusal
	}{
		{"unknown action", "Bogus", `{}`, refusal{400, commonType + "UnknownOperationException", "InvalidAction;Sender", `The action Bogus is not valid for this endpoint.`}},

		{"not JSON", "GetQueueUrl", `{`, malformed("1: want a name in quotes")},
		{"a list", "GetQueueUrl", `[]`, malformed("0: want an object")},
		{"a string", "GetQueueUrl", `"x"`, malformed("0: want an object")},
		{"something behind", "GetQueueUrl", `{"QueueName":"q"} x`, malformed("18: want nothing behind the object")},
		{"structure for a string", "SendMessage", `{"QueueUrl":"q","MessageBody":{}}`, malformed("30: Start of structure or map found where not expected")},
		{"string for a number", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","DelaySeconds":"1"}`, malformed("49: STRING_VALUE can not be converted to an Integer")},
		{"fraction for a number", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","DelaySeconds":1.5}`, malformed("52: want an integer of 32 bits")},
		{"no base64", "SendMessage", attribute("a", `{"DataType":"Binary","BinaryValue":"!"}`), malformed("97: want base64")},

		{"no such queue", "SendMessage", `{"QueueUrl":"http://x/000000000000/none","MessageBody":"x"}`, noQueue},
		{"no queue URL", "SendMessage", `{"MessageBody":"x"}`, noQueue},
		{"queue URL without a path", "SendMessage", `{"QueueUrl":"http://x","MessageBody":"x"}`, noQueue},
		{"queue of an unknown account", "SendMessage", `{"QueueUrl":"http://x/123456789012/q","MessageBody":"x"}`, noQueue},
		{"URL of no queue", "GetQueueUrl", `{"QueueName":"none"}`, noQueue},
		{"URL without a name", "GetQueueUrl", `{}`, parameterValue("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")},

		{"create without a name", "CreateQueue", `{}`, parameterValue("Value for parameter QueueName is invalid. Reason: Must specify a queue name.")},
		{"create, bad name", "CreateQueue", `{"QueueName":"a b"}`, parameterValue("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")},
		{"create, long name", "CreateQueue", `{"QueueName":"` + long[:81] + `"}`, parameterValue("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")},
		{"create FIFO", "CreateQueue", `{"QueueName":"q.fifo"}`, parameterValue("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")},
		{"create FIFO by attribute", "CreateQueue", `{"QueueName":"a","Attributes":{"FifoQueue":"true"}}`, parameterValue("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")},
		{"FIFO attribute, false", "CreateQueue", `{"QueueName":"a","Attributes":{"FifoQueue":"false"}}`, attributeName("Unknown Attribute FifoQueue.")},
		{"FIFO attribute", "CreateQueue", `{"QueueName":"a","Attributes":{"ContentBasedDeduplication":"true"}}`, attributeName("Unknown Attribute ContentBasedDeduplication.")},
		{"FIFO scope", "CreateQueue", `{"QueueName":"a","Attributes":{"DeduplicationScope":"queue"}}`, attributeName("You can specify the DeduplicationScope only when FifoQueue is set to true.")},
		{"read-only attribute", "CreateQueue", `{"QueueName":"a","Attributes":{"QueueArn":"x"}}`, attributeName("Unknown Attribute QueueArn.")},
		{"unknown attribute", "CreateQueue", `{"QueueName":"a","Attributes":{"Bogus":"1"}}`, attributeName("Unknown Attribute Bogus.")},
		{"create, other attributes", "CreateQueue", `{"QueueName":"q","Attributes":{"VisibilityTimeout":"60","DelaySeconds":"1"}}`, refusal{
			400, sqsType + "QueueNameExists", "QueueAlreadyExists;Sender",
			"A queue already exists with the same name and a different value for attribute DelaySeconds",
		}},
		{"tag without a key", "CreateQueue", `{"QueueName":"a","tags":{"":"x"}}`, parameterValue(`The tag "" is invalid: tag keys have 1 to 128 characters, tag values at most 256.`)},

		{"visibility timeout", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"VisibilityTimeout":"43201"}}`, attributeValue("Invalid value for the parameter VisibilityTimeout. Reason: Must be an integer from 0 to 43200.")},
		{"delay", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"DelaySeconds":"901"}}`, attributeValue("Invalid value for the parameter DelaySeconds. Reason: Must be an integer from 0 to 900.")},
		{"retention", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"MessageRetentionPeriod":"59"}}`, attributeValue("Invalid value for the parameter MessageRetentionPeriod. Reason: Must be an integer from 60 to 1209600.")},
		{"wait", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"ReceiveMessageWaitTimeSeconds":"21"}}`, attributeValue("Invalid value for the parameter ReceiveMessageWaitTimeSeconds. Reason: Must be an integer from 0 to 20.")},
		{"size", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"MaximumMessageSize":"1048577"}}`, attributeValue("Invalid value for the parameter MaximumMessageSize. Reason: Must be an integer from 1024 to 1048576.")},
		{"no number", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"DelaySeconds":"soon"}}`, attributeValue("Invalid value for the parameter DelaySeconds. Reason: Must be an integer from 0 to 900.")},
		{"policy", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"Policy":"{"}}`, attributeValue("Invalid value for the parameter Policy. Reason: It is not valid JSON.")},
		{"encryption", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"SqsManagedSseEnabled":"yes"}}`, attributeValue("Invalid value for the parameter SqsManagedSseEnabled. Reason: Must be true or false.")},
		{"not text", "SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"KmsMasterKeyId":"\ud800"}}`, attributeValue("Invalid value for the parameter KmsMasterKeyId. Reason: Must be text of at most 65536 bytes.")},
		{"no attributes", "SetQueueAttributes", `{"QueueUrl":"q"}`, missingParameter("Attributes")},
		{"get unknown attribute", "GetQueueAttributes", `{"QueueUrl":"q","AttributeNames":["All","Bogus"]}`, attributeName("Unknown Attribute Bogus.")},
		{"get FIFO attribute", "GetQueueAttributes", `{"QueueUrl":"q","AttributeNames":["FifoQueue"]}`, attributeName("Unknown Attribute FifoQueue.")},

		{"redrive, no JSON", "SetQueueAttributes", redrive(`x`), parameterValue("Value x for parameter RedrivePolicy is invalid. Reason: Redrive policy is not a valid JSON map.")},
		{"redrive, no count", "SetQueueAttributes", redrive(`{}`), parameterValue("Value {} for parameter RedrivePolicy is invalid. Reason: Redrive policy does not contain mandatory attribute: maxReceiveCount.")},
		{"redrive, no target", "SetQueueAttributes", redrive(`{"maxReceiveCount":1}`), parameterValue(`Value {"maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: Redrive policy does not contain mandatory attribute: deadLetterTargetArn.`)},
		{"redrive, count 0", "SetQueueAttributes", redrive(`{` + dead + `,"maxReceiveCount":0}`), parameterValue(`Value {` + dead + `,"maxReceiveCount":0} for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.`)},
		{"redrive, count 1001", "SetQueueAttributes", redrive(`{` + dead + `,"maxReceiveCount":"1001"}`), parameterValue(`Value {` + dead + `,"maxReceiveCount":"1001"} for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.`)},
		{"redrive, target of nobody", "SetQueueAttributes", redrive(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":1}`), parameterValue(`Value {"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:none","maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.`)},
		{"redrive, target of another account", "SetQueueAttributes", redrive(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":1}`), parameterValue(`Value {"deadLetterTargetArn":"arn:aws:sqs:us-east-1:123456789012:dead","maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.`)},
		{"redrive, no ARN", "SetQueueAttributes", redrive(`{"deadLetterTargetArn":"dead","maxReceiveCount":1}`), parameterValue(`Value {"deadLetterTargetArn":"dead","maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.`)},
		{"redrive, denied", "CreateQueue", `{"QueueName":"a","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:closed\",\"maxReceiveCount\":1}"}}`, parameterValue(`Value {"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:closed","maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: The RedriveAllowPolicy of the dead letter target does not allow this queue to use it.`)},
		{"allow by queue without one", "SetQueueAttributes", allow(`{"redrivePermission":"byQueue"}`), parameterValue(`Value {"redrivePermission":"byQueue"} for parameter RedriveAllowPolicy is invalid. Reason: sourceQueueArns must have 1 to 10 ARNs with the redrivePermission byQueue.`)},
		{"allow all with queues", "SetQueueAttributes", allow(`{"redrivePermission":"allowAll","sourceQueueArns":["a"]}`), parameterValue(`Value {"redrivePermission":"allowAll","sourceQueueArns":["a"]} for parameter RedriveAllowPolicy is invalid. Reason: sourceQueueArns is only for the redrivePermission byQueue.`)},

		{"list none", "ListQueues", `{"MaxResults":0}`, parameterValue("Value 0 for parameter MaxResults is invalid. Reason: Must be between 1 and 1000, if provided.")},
		{"list too many", "ListQueues", `{"MaxResults":1001}`, parameterValue("Value 1001 for parameter MaxResults is invalid. Reason: Must be between 1 and 1000, if provided.")},
		{"list, bad token", "ListQueues", `{"NextToken":"!"}`, parameterValue("Value ! for parameter NextToken is invalid. Reason: Must be the NextToken of the answer before.")},

		{"empty body", "SendMessage", `{"QueueUrl":"q","MessageBody":""}`, missingParameter("MessageBody")},
		{"no body", "SendMessage", `{"QueueUrl":"q"}`, missingParameter("MessageBody")},
		{"null", "SendMessage", `{"QueueUrl":"q","MessageBody":"a\u0000b"}`, refusal{400, sqsType + "InvalidMessageContents", "InvalidMessageContents;Sender", charactersText}},
		{"no character", "SendMessage", `{"QueueUrl":"q","MessageBody":"a\uffffb"}`, refusal{400, sqsType + "InvalidMessageContents", "InvalidMessageContents;Sender", charactersText}},
		{"half a character", "SendMessage", `{"QueueUrl":"q","MessageBody":"a\ud83db"}`, refusal{400, sqsType + "InvalidMessageContents", "InvalidMessageContents;Sender", charactersText}},
		{"no UTF-8", "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"a\xffb\"}", refusal{400, sqsType + "InvalidMessageContents", "InvalidMessageContents;Sender", charactersText}},
		{"too long for the queue", "SendMessage", `{"QueueUrl":"small","MessageBody":"` + long + `"}`, parameterValue("One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.")},
		{"too long with an attribute", "SendMessage", `{"QueueUrl":"small","MessageBody":"` + long[:1020] + `","MessageAttributes":{"a":{"DataType":"String","StringValue":"b"}}}`, parameterValue("One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.")},
		{"too long for any queue", "SendMessage", `{"QueueUrl":"q","MessageBody":"` + strings.Repeat("x", 1<<20+1) + `"}`, parameterValue("One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.")},
		{"delay -1", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","DelaySeconds":-1}`, parameterValue("Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.")},
		{"delay 901", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","DelaySeconds":901}`, parameterValue("Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.")},
		{"deduplication", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageDeduplicationId":"d"}`, parameterValue("Value d for parameter MessageDeduplicationId is invalid. Reason: " + notThisQueue)},
		{"empty group", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageGroupId":""}`, parameterValue("Value  for parameter MessageGroupId is invalid. Reason: " + groupIDText)},
		{"group with a space", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageGroupId":"group 123"}`, parameterValue("Value group 123 for parameter MessageGroupId is invalid. Reason: " + groupIDText)},
		{"long group", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageGroupId":"` + long[:129] + `"}`, parameterValue("Value " + long[:129] + " for parameter MessageGroupId is invalid. Reason: " + groupIDText)},

		{"eleven attributes", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageAttributes":{` + eleven + `}}`, parameterValue("Number of message attributes [11] exceeds the allowed maximum [10].")},
		{"attribute without a name", "SendMessage", attribute("", `{"DataType":"String","StringValue":"b"}`), parameterValue("The request must contain non-empty message (user) attribute names.")},
		{"attribute with a long name", "SendMessage", attribute(long[:257], `{"DataType":"String","StringValue":"b"}`), parameterValue("Message (user) attribute name must be shorter than 256 bytes.")},
		{"reserved name", "SendMessage", attribute("aWs.x", `{"DataType":"String","StringValue":"b"}`), parameterValue("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use.")},
		{"name with two periods", "SendMessage", attribute("a..b", `{"DataType":"String","StringValue":"b"}`), parameterValue("The message attribute name 'a..b' is invalid. Attribute name can not start or end with a period (.) or have successive periods.")},
		{"name that ends in a period", "SendMessage", attribute("a.", `{"DataType":"String","StringValue":"b"}`), parameterValue("The message attribute name 'a.' is invalid. Attribute name can not start or end with a period (.) or have successive periods.")},
		{"name with a question mark", "SendMessage", attribute("a?", `{"DataType":"String","StringValue":"b"}`), parameterValue("The message attribute name 'a?' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters.")},
		{"attribute of nothing", "SendMessage", attribute("a", `{}`), parameterValue("The message (user) attribute 'a' must contain a non-empty message attribute value.")},
		{"attribute without a type", "SendMessage", attribute("a", `{"StringValue":"b"}`), parameterValue("The message (user) attribute 'a' must contain a non-empty message attribute type.")},
		{"attribute of no type", "SendMessage", attribute("a", `{"DataType":"Strings","StringValue":"b"}`), parameterValue("The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: Binary, Number, String.")},
		{"attribute of a long type", "SendMessage", attribute("a", `{"DataType":"String.`+long[:250]+`","StringValue":"b"}`), parameterValue("Message (user) attribute type must be shorter than 256 bytes.")},
		{"empty string", "SendMessage", attribute("a", `{"DataType":"String","StringValue":""}`), parameterValue("Message (user) attribute 'a' must contain a non-empty value of type 'String'.")},
		{"empty bytes", "SendMessage", attribute("a", `{"DataType":"Binary.png","BinaryValue":""}`), parameterValue("Message (user) attribute 'a' must contain a non-empty value of type 'Binary'.")},
		{"string of type Binary", "SendMessage", attribute("a", `{"DataType":"Binary","StringValue":"b"}`), parameterValue("Message (user) attribute 'a' must contain a non-empty value of type 'Binary'.")},
		{"both values", "SendMessage", attribute("a", `{"DataType":"String","StringValue":"b","BinaryValue":"AQID"}`), parameterValue("Message (user) attribute 'a' has a value of another type than 'String'.")},
		{"control character", "SendMessage", attribute("a", `{"DataType":"String","StringValue":"\u0008"}`), parameterValue(charactersText)},
		{"no number", "SendMessage", attribute("a", `{"DataType":"Number","StringValue":"0x10"}`), parameterValue("Can't cast the value of message (user) attribute 'a' to a number.")},
		{"list of strings", "SendMessage", attribute("a", `{"DataType":"String","StringListValues":["b"]}`), unsupported("Message attribute list values in SendMessage operation are not supported.")},
		{"the same attribute again", "SendMessage", attribute("a", `{"DataType":"String","StringValue":"b"},"a":{"DataType":"String","StringValue":"c"}`), parameterValue("The message (user) attribute 'a' is given more than once.")},
		{"unknown system attribute", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageSystemAttributes":{"Trace":{"DataType":"String","StringValue":"b"}}}`, parameterValue("Message system attribute name 'Trace' is invalid.")},
		{"trace header as a number", "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"Number","StringValue":"1"}}}`, parameterValue("The type of message system attribute 'AWSTraceHeader' is invalid. You must use only the type String.")},

		{"receive 0", "ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":0}`, parameterValue("Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.")},
		{"receive 11", "ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":11}`, parameterValue("Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.")},
		{"wait 21", "ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":21}`, parameterValue("Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.")},
		{"visibility of a receive", "ReceiveMessage", `{"QueueUrl":"q","VisibilityTimeout":43201}`, parameterValue("Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.")},
		{"receive attempt", "ReceiveMessage", `{"QueueUrl":"q","ReceiveRequestAttemptId":"a"}`, parameterValue("Value a for parameter ReceiveRequestAttemptId is invalid. Reason: " + notThisQueue)},
		{"receive unknown attribute", "ReceiveMessage", `{"QueueUrl":"q","MessageSystemAttributeNames":["All","Bogus"]}`, attributeName("Unknown Attribute Bogus.")},
		{"receive unknown old attribute", "ReceiveMessage", `{"QueueUrl":"q","AttributeNames":["bogus"]}`, attributeName("Unknown Attribute bogus.")},

		{"delete without a handle", "DeleteMessage", `{"QueueUrl":"q"}`, missingParameter("ReceiptHandle")},
		{"delete garbage", "DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"garbage"}`, refusal{404, sqsType + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid;Sender", `The input receipt handle "garbage" is not a valid receipt handle.`}},
		{"delete of another queue", "DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"` + foreign + `"}`, refusal{404, sqsType + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid;Sender", `The receipt handle "` + foreign + `" is not valid for this queue.`}},
		{"change without a timeout", "ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"garbage"}`, missingParameter("VisibilityTimeout")},
		{"change to -1", "ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"garbage","VisibilityTimeout":-1}`, parameterValue("Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.")},
		{"change garbage", "ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"garbage","VisibilityTimeout":1}`, refusal{404, sqsType + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid;Sender", `The input receipt handle "garbage" is not a valid receipt handle.`}},

		{"no entries", "SendMessageBatch", `{"QueueUrl":"q"}`, batchRefusal("EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")},
		{"empty entries", "DeleteMessageBatch", `{"QueueUrl":"q","Entries":[]}`, batchRefusal("EmptyBatchRequest", "There should be at least one DeleteMessageBatchRequestEntry in the request.")},
		{"null entries", "ChangeMessageVisibilityBatch", `{"QueueUrl":"q","Entries":null}`, batchRefusal("EmptyBatchRequest", "There should be at least one ChangeMessageVisibilityBatchRequestEntry in the request.")},
		{"twelve entries", "SendMessageBatch", `{"QueueUrl":"q","Entries":[` + strings.Repeat(`{},`, 11) + `{}]}`, batchRefusal("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 12.")},
		{"entry without an id", "DeleteMessageBatch", `{"QueueUrl":"q","Entries":[{"ReceiptHandle":"x"}]}`, batchRefusal("InvalidBatchEntryId", entryIDText)},
		{"entry with a bad id", "SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"bad id","MessageBody":"x"}]}`, batchRefusal("InvalidBatchEntryId", entryIDText)},
		{"entry with a long id", "ChangeMessageVisibilityBatch", `{"QueueUrl":"q","Entries":[{"Id":"` + long[:81] + `"}]}`, batchRefusal("InvalidBatchEntryId", entryIDText)},
		{"the same id again", "SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a"},{"Id":"b"},{"Id":"a"}]}`, batchRefusal("BatchEntryIdsNotDistinct", "Id a repeated.")},
		{
			"long batch", "SendMessageBatch", `{"QueueUrl":"q","Entries":[` +
				`{"Id":"a","MessageBody":"` + strings.Repeat("x", 1<<20-8) + `","MessageAttributes":{"k":{"DataType":"String","StringValue":"x"}}},{"Id":"b","MessageBody":"a"}]}`,
			batchRefusal("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			e.refuses(t, test.action, test.body, test.want)
		})
	}
	if d := e.queue("q").Depth(); d != (queue.Depth{}) {
		t.Errorf("a refused request left something: %+v", d)
	}
	if e.log.Len() > 0 {
		t.Errorf("a refused request was logged: %s", e.log.String())
	}
}

func (e *env) queue(name string) *queue.Queue {
	e.t.Helper()
	q, err := e.set.Queue(queue.Name{Account: "default", Queue: name})
	if err != nil {
		e.t.Fatal(err)
	}
	return q
}

// TestOtherRequests sends what no client of Amazon SQS does.
func TestOtherRequests(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	const action = "InvalidAction;Sender"
	for _, test := range []struct {
		name, method, path string
		target             string
		want               refusal
		allow              string
	}{
		{"no action", "POST", "/", "", refusal{400, commonType + "UnknownOperationException", action, "The request names no action: the header X-Amz-Target is missing, as in X-Amz-Target: AmazonSQS.SendMessage."}, ""},
		{"action of another service", "POST", "/", "DynamoDB_20120810.ListTables", refusal{400, commonType + "UnknownOperationException", action, `The action "DynamoDB_20120810.ListTables" is not one of Amazon SQS: want X-Amz-Target: AmazonSQS.ACTION.`}, ""},
		{"GET", "GET", "/000000000000/q", "", refusal{405, commonType + "UnknownOperationException", action, `This is Amazon SQS, which takes POST and not "GET". Point an AWS SDK, or aws --endpoint-url, at this server.`}, "POST"},
		{"PUT", "PUT", "/", "AmazonSQS.ListQueues", refusal{405, commonType + "UnknownOperationException", action, `This is Amazon SQS, which takes POST and not "PUT". Point an AWS SDK, or aws --endpoint-url, at this server.`}, "POST"},
		{"elsewhere", "GET", "/favicon.ico", "", refusal{404, sqsType + "InvalidAddress", "InvalidAddress;Sender", `There is nothing at "/favicon.ico". Amazon SQS is served at POST / and at the URLs of queues, POST /ACCOUNT/QUEUE; GET / says what else is here.`}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, e.server.URL+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.target != "" {
				r.Header.Set("X-Amz-Target", test.target)
			}
			a := e.send(r)
			if diff := cmp.Diff(test.want, refused(t, a)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := a.header.Get("Allow"); got != test.allow {
				t.Errorf("Allow: got %q, want %q", got, test.allow)
			}
		})
	}
}

func TestTooLargeRequest(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	body := `{"QueueUrl":"q","MessageBody":"` + strings.Repeat("x", 9<<20) + `"}`
	r := e.request(t.Context(), "SendMessage", body)
	a := e.send(r)
	want := refusal{413, commonType + "RequestEntityTooLargeException", "RequestEntityTooLarge;Sender", "The request has 9437217 bytes, at most 8388608 are taken."}
	if diff := cmp.Diff(want, refused(t, a)); diff != "" {
		t.Errorf("with a length (-want +got):\n%s", diff)
	}

	// Without a length, straight to the handler: a client would still write.
	r = httptest.NewRequestWithContext(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(body)))
	r.ContentLength = -1
	r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	w := httptest.NewRecorder()
	e.door.ServeHTTP(w, r)
	want.Message = "The request has more than 8388608 bytes."
	if diff := cmp.Diff(want, refused(t, answer{w.Code, w.Header(), w.Body.String()})); diff != "" {
		t.Errorf("without a length (-want +got):\n%s", diff)
	}

	// Every character as an escape sequence, and the largest message.
	escaped := `{"QueueUrl":"q","MessageBody":"` + strings.Repeat(`\u0041`, 1<<20) + `"}`
	a = e.ok("SendMessage", escaped)
	if got, want := a.field(t, "MD5OfMessageBody"), "e6065c4aa2ab1603008fc18410f579d4"; got != want {
		t.Errorf("MD5 of a megabyte of A: got %s, want %s", got, want)
	}
}

func TestFailuresOfTheServer(t *testing.T) {
	keys := keyMap{err: errors.New("the catalog has gone")}
	e := newEnv(t, func(c *sqs.Config) { c.Auth = &auth.Authenticator{Keys: keys} })
	r := e.request(t.Context(), "ListQueues", `{}`)
	r.Header.Set("Authorization", "Bearer RKAAAAAAAAAAAAAAAAAA.secret")
	a := e.send(r)
	want := refusal{500, commonType + "InternalFailure", "InternalFailure;Receiver", "The server has failed to do this. Its log has the reason under the id of this request."}
	if diff := cmp.Diff(want, refused(t, a)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	line := e.log.String()
	for _, part := range []string{"request failed", a.header.Get("x-amzn-RequestId"), "ListQueues", "the catalog has gone"} {
		if !strings.Contains(line, part) {
			t.Errorf("the log has no %q: %s", part, line)
		}
	}
}

func TestDiskFull(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"before"}`)
	e.fs.SetFree(1 << 20)
	// The store looks at the disk now and then only.
	unavailable := refusal{503, commonType + "ServiceUnavailableException", "ServiceUnavailable;Receiver", "the server's disk is nearly full, nothing can be sent"}
	var got refusal
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if a := e.do("SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`); a.status != 200 {
			got = refused(t, a)
			break
		}
	}
	if diff := cmp.Diff(unavailable, got); diff != "" {
		t.Errorf("SendMessage (-want +got):\n%s", diff)
	}
	a := e.do("SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"x"},{"Id":"b","MessageBody":""}]}`)
	if diff := cmp.Diff(unavailable, refused(t, a)); diff != "" {
		t.Errorf("SendMessageBatch (-want +got):\n%s", diff)
	}
	handle := e.ok("ReceiveMessage", `{"QueueUrl":"q"}`).field(t, "Messages", 0, "ReceiptHandle")
	e.ok("DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+handle+`"}`)
}

// keyMap is the keys of a server, by their ids.
type keyMap struct {
	keys map[string]auth.Key
	err  error
}

func (m keyMap) Key(_ context.Context, id string) (auth.Key, error) {
	if m.err != nil {
		return auth.Key{}, m.err
	}
	if k, ok := m.keys[id]; ok {
		return k, nil
	}
	return auth.Key{}, runnel.Errorf(runnel.CodeNotFound, "no key %s", id)
}

// accountMap is the accounts of a server: names by ids.
type accountMap map[string]string

func (m accountMap) AccountName(_ context.Context, id string) (string, error) {
	if name, ok := m[id]; ok {
		return name, nil
	}
	return "", runnel.Errorf(runnel.CodeNotFound, "no account %s", id)
}

// TestCallers checks who may do what.
func TestCallers(t *testing.T) {
	now := time.Now()
	ann := auth.NewKey("ann", "111111111111", false, now)
	admin := auth.NewKey("default", "000000000000", true, now)
	e := newEnv(t, func(c *sqs.Config) {
		c.Auth = &auth.Authenticator{Keys: keyMap{keys: map[string]auth.Key{ann.ID: ann, admin.ID: admin}}}
		c.Accounts = accountMap{"111111111111": "ann", "000000000000": "default"}
	})
	e.create("q", nil)
	if _, _, err := e.set.Create(queue.Name{Account: "ann", Queue: "mine"}, queue.Defaults()); err != nil {
		t.Fatal(err)
	}
	as := func(k auth.Key, at time.Time, action, body string) answer {
		r := e.request(t.Context(), action, body)
		auth.Sign(r, []byte(body), auth.Credentials{ID: k.ID, Secret: k.Secret}, "eu-central-1", "sqs", at)
		return e.send(r)
	}
	notMine := noQueue
	notMine.Message = "The specified queue does not exist or you do not have access to it."
	wrong, unknown := ann, ann
	wrong.Secret = "x"
	unknown.ID = "RKAAAAAAAAAAAAAAAAAA"

	for _, test := range []struct {
		name string
		a    answer
		want refusal
	}{
		{"no credentials", e.do("ListQueues", `{}`), refusal{403, commonType + "MissingAuthenticationTokenException", "MissingAuthenticationToken;Sender", ""}},
		{"no credentials, no action", e.do("Bogus", `{}`), refusal{403, commonType + "MissingAuthenticationTokenException", "MissingAuthenticationToken;Sender", ""}},
		{"unknown key", as(unknown, now, "ListQueues", `{}`), refusal{403, commonType + "UnrecognizedClientException", "InvalidClientTokenId;Sender", ""}},
		{"wrong secret", as(wrong, now, "ListQueues", `{}`), refusal{403, commonType + "InvalidSignatureException", "SignatureDoesNotMatch;Sender", ""}},
		{"old signature", as(ann, now.Add(-time.Hour), "ListQueues", `{}`), refusal{403, commonType + "InvalidSignatureException", "SignatureDoesNotMatch;Sender", ""}},
		{"queue of others", as(ann, now, "SendMessage", `{"QueueUrl":"http://x/000000000000/q","MessageBody":"x"}`), refusal{403, commonType + "AccessDeniedException", "AccessDenied;Sender", ""}},
		{"no queue of others", as(ann, now, "PurgeQueue", `{"QueueUrl":"http://x/999999999999/none"}`), refusal{403, commonType + "AccessDeniedException", "AccessDenied;Sender", ""}},
		{"URL of others", as(ann, now, "GetQueueUrl", `{"QueueName":"q","QueueOwnerAWSAccountId":"000000000000"}`), notMine},
		{"URL of nobody's", as(ann, now, "GetQueueUrl", `{"QueueName":"q","QueueOwnerAWSAccountId":"999999999999"}`), notMine},
		{"URL of no account's", as(ann, now, "GetQueueUrl", `{"QueueName":"q","QueueOwnerAWSAccountId":"x"}`), notMine},
		{"own, no such queue", as(ann, now, "GetQueueUrl", `{"QueueName":"q","QueueOwnerAWSAccountId":"111111111111"}`), noQueue},
		{"admin, unknown account", as(admin, now, "PurgeQueue", `{"QueueUrl":"http://x/999999999999/q"}`), noQueue},
		{"admin, unknown queue", as(admin, now, "PurgeQueue", `{"QueueUrl":"http://x/111111111111/q"}`), noQueue},
	} {
		got := refused(t, test.a)
		if got.Message == "" {
			t.Errorf("%s: no message", test.name)
		}
		if test.want.Message == "" {
			got.Message = ""
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	malformed := e.request(t.Context(), "ListQueues", `{}`)
	malformed.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=bogus")
	if got := refused(t, e.send(malformed)); got.Status != 400 || got.Query != "IncompleteSignature;Sender" || got.Type != commonType+"IncompleteSignatureException" {
		t.Errorf("malformed signature: got %+v", got)
	}

	for _, test := range []struct {
		name string
		a    answer
		want string
	}{
		{"own, by id", as(ann, now, "GetQueueUrl", `{"QueueName":"mine","QueueOwnerAWSAccountId":"111111111111"}`), `{"QueueUrl":"` + e.server.URL + `/111111111111/mine"}`},
		{"own, by the account's name", as(ann, now, "GetQueueAttributes", `{"QueueUrl":"/ann/mine","AttributeNames":["QueueArn"]}`), `{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:111111111111:mine"}}`},
		{"own list", as(ann, now, "ListQueues", `{}`), `{"QueueUrls":["` + e.server.URL + `/111111111111/mine"]}`},
		{"admin's own list", as(admin, now, "ListQueues", `{}`), `{"QueueUrls":["` + e.server.URL + `/000000000000/q"]}`},
		{"admin", as(admin, now, "GetQueueAttributes", `{"QueueUrl":"http://x/111111111111/mine","AttributeNames":["QueueArn"]}`), `{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:111111111111:mine"}}`},
	} {
		if test.a.status != 200 || test.a.body != test.want {
			t.Errorf("%s: got %d %s, want %s", test.name, test.a.status, test.a.body, test.want)
		}
	}

	// The same in the query protocol.
	for form, want := range map[string]string{
		"Action=GetQueueUrl&QueueName=mine&QueueOwnerAWSAccountId=111111111111":            "<QueueUrl>" + e.server.URL + "/111111111111/mine</QueueUrl>",
		"Action=GetQueueUrl&QueueName=q&QueueOwnerAWSAccountId=000000000000":               "<Code>" + service + "NonExistentQueue</Code><Message>" + notMine.Message + "</Message>",
		"Action=SendMessage&MessageBody=x&QueueUrl=http%3A%2F%2Fx%2F000000000000%2Fq":      "<Code>AccessDenied</Code>",
		"Action=GetQueueAttributes&AttributeName=QueueArn&QueueUrl=%2F111111111111%2Fmine": "<Value>arn:aws:sqs:us-east-1:111111111111:mine</Value>",
	} {
		r := e.formRequest(http.MethodPost, "/", form)
		auth.Sign(r, []byte(form), auth.Credentials{ID: ann.ID, Secret: ann.Secret}, "us-east-1", "sqs", now)
		if _, text := xmlAnswer(t, e.send(r)); !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want %s in it", form, text, want)
		}
	}

	// The sender is the account of the key, also where an admin sends.
	as(admin, now, "SendMessage", `{"QueueUrl":"http://x/111111111111/mine","MessageBody":"x"}`)
	got := as(ann, now, "ReceiveMessage", `{"QueueUrl":"mine","MessageSystemAttributeNames":["SenderId"]}`)
	if id := got.field(t, "Messages", 0, "Attributes", "SenderId"); id != "000000000000" {
		t.Errorf("SenderId: got %s", id)
	}
}

// TestAllActions counts the documented actions and checks that each is known.
func TestAllActions(t *testing.T) {
	e := newEnv(t, nil)
	yes := map[string]bool{}
	for _, a := range strings.Fields(`AddPermission CancelMessageMoveTask ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue DeleteMessage
		DeleteMessageBatch DeleteQueue GetQueueAttributes GetQueueUrl ListDeadLetterSourceQueues ListMessageMoveTasks ListQueues ListQueueTags PurgeQueue
		ReceiveMessage RemovePermission SendMessage SendMessageBatch SetQueueAttributes StartMessageMoveTask TagQueue UntagQueue`) {
		got := e.do(a, `{}`)
		if got.header.Get("x-amzn-query-error") == "InvalidAction;Sender" {
			t.Errorf("%s is not known", a)
		}
		yes[a] = got.header.Get("x-amzn-query-error") != service+"UnsupportedOperation;Sender"
	}
	maps.DeleteFunc(yes, func(_ string, supported bool) bool { return !supported })
	if len(yes) != 23 {
		t.Errorf("got %d actions, want 23: %v", len(yes), yes)
	}
}
