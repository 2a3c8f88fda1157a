package sqs_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/queue"
)

func (e *env) formRequest(method, path, form string) *http.Request {
	target, body := e.server.URL+path, io.Reader(strings.NewReader(form))
	if method == http.MethodGet {
		target, body = target+"?"+form, nil
	}
	r, err := http.NewRequestWithContext(e.t.Context(), method, target, body)
	if err != nil {
		e.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	return r
}

// post sends a form. In the answer each request id is ID.
func (e *env) post(path, form string) (status int, body string) {
	e.t.Helper()
	return xmlAnswer(e.t, e.send(e.formRequest(http.MethodPost, path, form)))
}

func xmlAnswer(t testing.TB, a answer) (int, string) {
	t.Helper()
	id := a.header.Get("x-amzn-RequestId")
	if a.header.Get("Content-Type") != "text/xml" || !uuid.MatchString(id) || strings.Count(a.body, id) != 1 {
		t.Errorf("got %v %s", a.header, a.body)
	}
	return a.status, strings.Replace(a.body, id, "ID", 1)
}

// good is what post returns for an action that was done; result is between
// the tags of its result, and "-" if there is none.
func good(action, result string) string {
	if result == "-" {
		result = ""
	} else {
		result = "<" + action + "Result>" + result + "</" + action + "Result>"
	}
	return `<?xml version="1.0"?><` + action + `Response xmlns="http://queue.amazonaws.com/doc/2012-11-05/">` + result +
		`<ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></` + action + `Response>`
}

func bad(code, message string) string {
	return `<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>Sender</Type><Code>` + code +
		`</Code><Message>` + message + `</Message><Detail/></Error><RequestId>ID</RequestId></ErrorResponse>`
}

// TestQueryAnswers looks at answers as they are on the wire, byte for byte.
func TestQueryAnswers(t *testing.T) {
	e := newEnv(t, nil)
	url := e.server.URL + "/000000000000/"
	for _, test := range []struct{ path, form, want string }{
		{
			"/", "Action=CreateQueue&Version=2012-11-05&QueueName=q&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=7&Tag.1.Key=k&Tag.1.Value=v",
			good("CreateQueue", "<QueueUrl>"+url+"q</QueueUrl>"),
		},
		{"/", "Action=CreateQueue&QueueName=r", good("CreateQueue", "<QueueUrl>"+url+"r</QueueUrl>")},
		{"/", "Action=ListQueues&QueueNamePrefix=", good("ListQueues", "<QueueUrl>"+url+"q</QueueUrl><QueueUrl>"+url+"r</QueueUrl>")},
		{"/", "Action=ListQueues&QueueNamePrefix=no", good("ListQueues", "")},
		{"/", "Action=GetQueueUrl&QueueName=q", good("GetQueueUrl", "<QueueUrl>"+url+"q</QueueUrl>")},
		{
			"/000000000000/q", "Action=GetQueueAttributes&AttributeName.1=VisibilityTimeout&AttributeName.2=QueueArn",
			good("GetQueueAttributes", "<Attribute><Name>QueueArn</Name><Value>arn:aws:sqs:us-east-1:000000000000:q</Value></Attribute><Attribute><Name>VisibilityTimeout</Name><Value>7</Value></Attribute>"),
		},
		{"/", "Action=SetQueueAttributes&QueueUrl=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=0", good("SetQueueAttributes", "-")},
		{"/000000000000/q", "Action=ReceiveMessage&MaxNumberOfMessages=10", good("ReceiveMessage", "")},
		{
			"/", "Action=DeleteMessageBatch&QueueUrl=q&DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry.1.ReceiptHandle=x%26",
			good("DeleteMessageBatch", "<BatchResultErrorEntry><Id>a</Id><Code>ReceiptHandleIsInvalid</Code><Message>The input receipt handle &quot;x&amp;&quot; is not a valid receipt handle.</Message><SenderFault>true</SenderFault></BatchResultErrorEntry>"),
		},
		{"/", "Action=PurgeQueue&QueueUrl=q", good("PurgeQueue", "-")},
		{"/", "Action=DeleteQueue&QueueUrl=q", good("DeleteQueue", "-")},
		{"/000000000000/q", "Action=PurgeQueue", bad("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist for this wsdl version.")},
		{
			"/", "Action=CreateQueue&QueueName=r&Attribute.1.Name=DelaySeconds&Attribute.1.Value=1",
			bad("QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute DelaySeconds"),
		},
		{"/", "Action=SendMessage&QueueUrl=r", bad("MissingParameter", "The request must contain the parameter MessageBody.")},
		{"/", "Action=SendMessage&QueueUrl=r&MessageBody=%00", bad("InvalidMessageContents", charactersText)},
		{"/", "Action=SendMessageBatch&QueueUrl=r&Entries=", bad("AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")},
		{"/", "Action=ReceiveMessage&QueueUrl=r&WaitTimeSeconds=x", bad("MalformedInput", "The value of the parameter WaitTimeSeconds is not as expected: want an integer of 32 bits.")},
		{"/", "Action=Nonsense", bad("InvalidAction", "The action Nonsense is not valid for this endpoint.")},
		{"/", "QueueUrl=r", bad("MissingAction", "The request names no action: the parameter Action is missing, as in Action=SendMessage.")},
		{"/", "Action=ListQueues&Version=2011", bad("NoSuchVersion", "The requested version ( 2011 ) is not valid: this is version 2012-11-05.")},
		{"/", "Action=ListQueues&a=%x", bad("MalformedInput", "The form is not well-formed: the parameter &quot;a&quot; has a percent sign without two hexadecimal digits behind it.")},
		{"/", "Action=ListQueues&Action=x", bad("MalformedInput", "The parameter &quot;Action&quot; is given more than once.")},
	} {
		status, got := e.post(test.path, test.form)
		if (status == 200) != !strings.Contains(test.want, "<Error>") {
			t.Errorf("%s: status %d", test.form, status)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.path, test.form, diff)
		}
	}
}

// queryMessage is a message in an answer of the query protocol.
type queryMessage struct {
	MessageID     string `xml:"MessageId"`
	ReceiptHandle string
	MD5OfBody     string
	Body          string
	Attribute     []struct{ Name, Value string }
	MD5Attributes string `xml:"MD5OfMessageAttributes"`
	Message       []struct {
		Name  string
		Value struct{ StringValue, BinaryValue, DataType string }
	} `xml:"MessageAttribute"`
}

// TestQueryMessages sends by the query protocol and receives by both, without
// Version and QueueUrl, as Celery does.
func TestQueryMessages(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	form := url.Values{"Action": {"SendMessageBatch"}, "QueueUrl": {e.server.URL + "/000000000000/q"}}
	for i, body := range []string{"one & <two>\r\n\"é😀\"", "\x01"} {
		entry := fmt.Sprintf("SendMessageBatchRequestEntry.%d.", i+1)
		form.Set(entry+"Id", fmt.Sprint("e", i))
		form.Set(entry+"MessageBody", body)
		form.Set(entry+"MessageAttribute.1.Name", "b")
		form.Set(entry+"MessageAttribute.1.Value.DataType", "Binary")
		form.Set(entry+"MessageAttribute.1.Value.BinaryValue", "AP8=")
		form.Set(entry+"MessageAttribute.2.Name", "a")
		form.Set(entry+"MessageAttribute.2.Value.DataType", "String")
		form.Set(entry+"MessageAttribute.2.Value.StringValue", "x>y")
		form.Set(entry+"MessageSystemAttribute.1.Name", "AWSTraceHeader")
		form.Set(entry+"MessageSystemAttribute.1.Value.DataType", "String")
		form.Set(entry+"MessageSystemAttribute.1.Value.StringValue", "Root=1")
	}
	status, text := e.post("/", form.Encode())
	var sent struct {
		Good []struct {
			ID            string `xml:"Id"`
			Body          string `xml:"MD5OfMessageBody"`
			MD5Attributes string `xml:"MD5OfMessageAttributes"`
		} `xml:"SendMessageBatchResult>SendMessageBatchResultEntry"`
		Bad []struct {
			ID          string `xml:"Id"`
			Code        string
			SenderFault bool
		} `xml:"SendMessageBatchResult>BatchResultErrorEntry"`
	}
	if err := xml.Unmarshal([]byte(text), &sent); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	if len(sent.Good) != 1 || len(sent.Bad) != 1 || sent.Bad[0].ID != "e1" || sent.Bad[0].Code != "InvalidMessageContents" || !sent.Bad[0].SenderFault {
		t.Fatalf("got %s", text)
	}

	receive := "Action=ReceiveMessage&WaitTimeSeconds=20&AttributeName.1=All&MessageAttributeName.1=All&VisibilityTimeout="
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		_, text = xmlAnswer(t, e.send(e.formRequest(method, "/000000000000/q", receive+"0")))
		var got struct {
			Messages []queryMessage `xml:"ReceiveMessageResult>Message"`
		}
		if err := xml.Unmarshal([]byte(text), &got); err != nil || len(got.Messages) != 1 {
			t.Fatalf("%s: %v", text, err)
		}
		m := got.Messages[0]
		if m.Body != "one & <two>\r\n\"é😀\"" || m.MD5OfBody != sent.Good[0].Body || m.MD5Attributes != sent.Good[0].MD5Attributes {
			t.Errorf("%s: got %+v of %s", method, m, text)
		}
		if len(m.Message) != 2 || m.Message[0].Value.StringValue != "x>y" || m.Message[1].Value.BinaryValue != "AP8=" || m.Message[1].Value.DataType != "Binary" {
			t.Errorf("%s: attributes: got %+v", method, m.Message)
		}
		if len(m.Attribute) != 5 {
			t.Errorf("%s: system attributes: got %+v", method, m.Attribute)
		}
	}

	// The other protocol finds the same, and its handle is good in this one.
	handle := e.ok("ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":20}`).field(t, "Messages", 0, "ReceiptHandle")
	if status, text := e.post("/000000000000/q", "Action=ChangeMessageVisibility&VisibilityTimeout=60&ReceiptHandle="+url.QueryEscape(handle)); status != 200 {
		t.Errorf("ChangeMessageVisibility: %s", text)
	}
	_, text = e.post("/", "Action=ChangeMessageVisibilityBatch&QueueUrl=q&ChangeMessageVisibilityBatchRequestEntry.1.Id=a&ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=9&ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle="+url.QueryEscape(handle))
	if want := good("ChangeMessageVisibilityBatch", "<ChangeMessageVisibilityBatchResultEntry><Id>a</Id></ChangeMessageVisibilityBatchResultEntry>"); text != want {
		t.Errorf("got %s, want %s", text, want)
	}
	if _, text = e.post("/000000000000/q", "Action=DeleteMessage&ReceiptHandle="+url.QueryEscape(handle)); text != good("DeleteMessage", "-") {
		t.Errorf("got %s", text)
	}
}

// TestQueryCannotHold checks that a flow's message that XML cannot hold can be
// received all the same, and that its MD5s are of what is received.
func TestQueryCannotHold(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", nil)
	if _, err := q.Send([]runnel.Message{{Body: []byte("a\x00b\xff\uFFFEc"), Attributes: []runnel.Attribute{{Name: "a", Value: []byte("\x01")}}}}); err != nil {
		t.Fatal(err)
	}
	_, text := e.post("/000000000000/q", "Action=ReceiveMessage&MessageAttributeName=All")
	var got struct {
		Messages []queryMessage `xml:"ReceiveMessageResult>Message"`
	}
	if err := xml.Unmarshal([]byte(text), &got); err != nil || len(got.Messages) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	m := got.Messages[0]
	const body, value = "a\uFFFDb\uFFFD\uFFFDc", "\uFFFD"
	if m.Body != body || len(m.Message) != 1 || m.Message[0].Value.StringValue != value {
		t.Errorf("got %+v", m)
	}
	answer := e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"`+body+`","MessageAttributes":{"a":{"DataType":"String","StringValue":"`+value+`"}}}`)
	if m.MD5OfBody != answer.field(t, "MD5OfMessageBody") || m.MD5Attributes != answer.field(t, "MD5OfMessageAttributes") {
		t.Errorf("got %+v, want the MD5s of %s", m, answer.body)
	}
}

// FuzzQuery sends any form to any action: whatever comes, the answer is XML,
// and no fault of ours.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"CreateQueue&QueueName=r&Attribute.1.Name=DelaySeconds&Attribute.1.Value=1&Tag.1.Key=k&Tag.1.Value=v",
		"SendMessage&MessageBody=%F0%9F%98%80&DelaySeconds=0&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=Number&MessageAttribute.1.Value.StringValue=1",
		"SendMessageBatch&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x&SendMessageBatchRequestEntry.2.Id=b",
		"ReceiveMessage&MaxNumberOfMessages=10&VisibilityTimeout=0&AttributeName.1=All&MessageAttributeName.1=a.*",
		"DeleteMessage&ReceiptHandle=x", "DeleteMessageBatch&DeleteMessageBatchRequestEntry.1.Id=a",
		"ChangeMessageVisibilityBatch&ChangeMessageVisibilityBatchRequestEntry.1.Id=a&ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=1",
		"SetQueueAttributes&Attribute.Name=Policy&Attribute.Value={}", "GetQueueAttributes&AttributeName=All", "ListQueues&MaxResults=1", "GetQueueUrl&QueueName=q",
		"TagQueue&Tag.1.Key=k&Tag.1.Value=v", "UntagQueue&TagKey.1=k", "ListQueueTags", "AddPermission&Label=l&AWSAccountId.1=000000000000&ActionName.1=*", "RemovePermission&Label=l",
		"ListDeadLetterSourceQueues&MaxResults=1", "PurgeQueue", "StartMessageMoveTask&SourceArn=arn:aws:sqs:us-east-1:000000000000:q&MaxNumberOfMessagesPerSecond=500",
		"ListMessageMoveTasks&SourceArn=arn:aws:sqs:us-east-1:000000000000:q", "CancelMessageMoveTask&TaskHandle=e30=", "", "x&Version=1", "SendMessage&MessageBody.1=%zz",
	} {
		f.Add("Action=" + seed)
	}
	e := newEnv(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "Wait") || strings.Contains(body, "%") && strings.Contains(body, "eceive") {
			t.Skip() // 20 seconds are long for a fuzzer
		}
		if _, _, err := e.set.Create(queue.Name{Account: "default", Queue: "q"}, queue.Defaults()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/000000000000/q", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		e.door.ServeHTTP(w, r)
		status, text := xmlAnswer(t, answer{w.Code, w.Header(), w.Body.String()})
		if status >= 500 {
			t.Errorf("%q: %d %s", body, status, text)
		}
		var any struct{ XMLName xml.Name }
		if err := xml.Unmarshal([]byte(text), &any); err != nil || (any.XMLName.Local == "ErrorResponse") != (status != 200) {
			t.Errorf("%q: %d %s: %v", body, status, text, err)
		}
	})
}

// TestQuerySigned verifies signatures over forms, in the body and in the query
// string.
func TestQuerySigned(t *testing.T) {
	key := auth.NewKey("default", "000000000000", false, time.Now())
	e := newEnv(t, func(c *sqs.Config) {
		c.Auth = &auth.Authenticator{Keys: keyMap{keys: map[string]auth.Key{key.ID: key}}}
	})
	e.create("q", nil)
	form := "Action=SendMessage&Version=2012-11-05&MessageBody=a+%2B%20b%C3%A9*~"
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		for secret, want := range map[string]string{key.Secret: "<MessageId>", "wrong": "<Code>SignatureDoesNotMatch</Code>"} {
			r := e.formRequest(method, "/000000000000/q", form)
			body := form
			if method == http.MethodGet {
				body = ""
			}
			auth.Sign(r, []byte(body), auth.Credentials{ID: key.ID, Secret: secret}, "us-east-1", "sqs", time.Now())
			if _, text := xmlAnswer(t, e.send(r)); !strings.Contains(text, want) {
				t.Errorf("%s, secret %s: got %s", method, secret, text)
			}
		}
	}
	if _, text := e.post("/", "Action=Nonsense"); !strings.Contains(text, "<Code>MissingAuthenticationToken</Code>") {
		t.Errorf("unsigned: got %s", text)
	}
}
