package sqs_test

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/queue"
)

// queryResult sends a JSON document as a form and reads the answer's result.
func (e *env) queryResult(t *testing.T, action, body string, result any) {
	t.Helper()
	form, ok := formOf(action, body)
	if !ok {
		t.Fatalf("%s: no form says %s", action, body)
	}
	status, text := e.post("/", form)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", action, status, text)
	}
	var answer struct {
		Parts []struct { // the result, if there is one, and ResponseMetadata
			XML string `xml:",innerxml"`
		} `xml:",any"`
	}
	if err := xml.Unmarshal([]byte(text), &answer); err != nil || len(answer.Parts) != 2 {
		t.Fatalf("%s: %s: %v", action, text, err)
	}
	if err := xml.Unmarshal([]byte("<R>"+answer.Parts[0].XML+"</R>"), result); err != nil {
		t.Fatalf("%s: %s: %v", action, text, err)
	}
}

// querySent is what SendMessage, and an entry of SendMessageBatch, is answered
// in the query protocol.
type querySent struct {
	ID                           string `xml:"Id"`
	MessageID                    string `xml:"MessageId"`
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string
	MD5OfMessageSystemAttributes string
	SequenceNumber               string
}

const (
	traced = `"MessageAttributes":{"a.b":{"DataType":"Number.int","StringValue":"1"},"c":{"DataType":"Binary","BinaryValue":"AP8="}},` +
		`"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"Root=1-5759e988"}}`
	tracedMD5 = "1093703a9379955b75098a87e549ba88" // of the trace header, computed apart
)

// TestQueryFIFO sends to a FIFO queue by the query protocol and receives by
// both: each knows the numbers, ids and digests that the other knows.
func TestQueryFIFO(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q.fifo", func(s *queue.Settings) { s.FIFO = new(queue.FIFO) })
	message := func(group, id string) string {
		return `"MessageBody":"` + id + `","MessageGroupId":"` + group + `","MessageDeduplicationId":"` + id + `",` + traced
	}

	var first, again querySent
	e.queryResult(t, "SendMessage", `{"QueueUrl":"q.fifo",`+message("g", "1")+`}`, &first)
	e.queryResult(t, "SendMessage", `{"QueueUrl":"q.fifo",`+message("g", "1")+`}`, &again)
	if diff := cmp.Diff(first, again); diff != "" || len(first.SequenceNumber) != 20 || first.MessageID == "" {
		t.Errorf("a duplicate (-first +again):\n%s", diff)
	}
	var fromJSON map[string]string
	if err := json.Unmarshal([]byte(e.ok("SendMessage", `{"QueueUrl":"q.fifo",`+message("g", "1")+`}`).body), &fromJSON); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"MessageId": first.MessageID, "MD5OfMessageBody": first.MD5OfMessageBody, "MD5OfMessageAttributes": first.MD5OfMessageAttributes,
		"MD5OfMessageSystemAttributes": tracedMD5, "SequenceNumber": first.SequenceNumber,
	}
	if diff := cmp.Diff(want, fromJSON); diff != "" || first.MD5OfMessageSystemAttributes != tracedMD5 {
		t.Errorf("%+v in JSON (-want +got):\n%s", first, diff)
	}

	var batch struct {
		Sent []querySent `xml:"SendMessageBatchResultEntry"`
	}
	e.queryResult(t, "SendMessageBatch", `{"QueueUrl":"q.fifo","Entries":[{"Id":"x",`+message("g", "2")+`},{"Id":"y",`+message("h", "3")+`}]}`, &batch)
	if len(batch.Sent) != 2 || batch.Sent[0].ID != "x" || batch.Sent[0].MD5OfMessageSystemAttributes != tracedMD5 ||
		batch.Sent[0].SequenceNumber <= first.SequenceNumber || batch.Sent[1].SequenceNumber <= batch.Sent[0].SequenceNumber {
		t.Fatalf("batch after %s: %+v", first.SequenceNumber, batch.Sent)
	}

	receive := `{"QueueUrl":"q.fifo","MaxNumberOfMessages":10,"ReceiveRequestAttemptId":"r","VisibilityTimeout":60,"MessageSystemAttributeNames":["All"],"MessageAttributeNames":[".*"]}`
	var got struct {
		Messages []queryMessage `xml:"Message"`
	}
	e.queryResult(t, "ReceiveMessage", receive, &got)
	if len(got.Messages) != 3 {
		t.Fatalf("received %+v", got.Messages)
	}
	var sameAttempt struct {
		Messages []struct {
			MessageID     string `json:"MessageId"`
			ReceiptHandle string
			Attributes    map[string]string
		}
	}
	if err := json.Unmarshal([]byte(e.ok("ReceiveMessage", receive).body), &sameAttempt); err != nil || len(sameAttempt.Messages) != 3 {
		t.Fatalf("the same attempt: %+v, %v", sameAttempt, err)
	}
	for i, sent := range append([]querySent{first}, batch.Sent...) {
		m, other := got.Messages[i], sameAttempt.Messages[i]
		if m.MessageID != sent.MessageID || m.MessageID != other.MessageID || m.ReceiptHandle != other.ReceiptHandle ||
			m.MD5OfBody != sent.MD5OfMessageBody || m.MD5Attributes != sent.MD5OfMessageAttributes {
			t.Errorf("message %d: got %+v of %+v", i, m, sent)
		}
		as := make(map[string]string)
		for _, a := range m.Attribute {
			as[a.Name] = a.Value
		}
		if diff := cmp.Diff(other.Attributes, as); diff != "" {
			t.Errorf("message %d, attributes (-JSON +query):\n%s", i, diff)
		}
		if as["SequenceNumber"] != sent.SequenceNumber || as["MessageDeduplicationId"] != m.Body || as["AWSTraceHeader"] != "Root=1-5759e988" ||
			as["MessageGroupId"] != []string{"g", "g", "h"}[i] || as["SenderId"] != "000000000000" || as["ApproximateReceiveCount"] != "1" {
			t.Errorf("message %d: attributes %v", i, as)
		}
		names := slices.Sorted(maps.Keys(as))
		if diff := cmp.Diff([]string{
			"AWSTraceHeader", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "MessageDeduplicationId", "MessageGroupId", "SenderId", "SentTimestamp", "SequenceNumber",
		}, names); diff != "" {
			t.Errorf("message %d: names (-want +got):\n%s", i, diff)
		}
	}
}

// TestQueryFilters asks for attributes by all sorts of names; both protocols
// return the same of them.
func TestQueryFilters(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	value := `{"DataType":"String","StringValue":"x"}`
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageAttributes":{"Hello":`+value+`,"Help.Me":`+value+`,"General":`+value+`}}`)
	for _, test := range []struct {
		names string
		want  []string
	}{
		{``, nil},
		{`"All"`, []string{"General", "Hello", "Help.Me"}},
		{`".*"`, []string{"General", "Hello", "Help.Me"}},
		{`"Hel.*"`, []string{"Hello", "Help.Me"}},
		{`"Help.Me.*"`, []string{"Help.Me"}},
		{`"Hello","General","none"`, []string{"General", "Hello"}},
		{`"Hello","Hello","Hel.*"`, []string{"Hello", "Help.Me"}},
		{`"hello"`, nil},
		{`"all"`, nil},
		{`"Hel*"`, nil},
		{`"none","AWS.TraceHeader",""`, nil},
	} {
		body := `{"QueueUrl":"q","WaitTimeSeconds":20,"VisibilityTimeout":0,"MessageAttributeNames":[` + test.names + `]}`
		var got struct {
			Messages []queryMessage `xml:"Message"`
		}
		e.queryResult(t, "ReceiveMessage", body, &got)
		var other struct {
			Messages []struct{ MessageAttributes map[string]any }
		}
		if err := json.Unmarshal([]byte(e.ok("ReceiveMessage", body).body), &other); err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) != 1 || len(other.Messages) != 1 {
			t.Fatalf("%s: %+v, %+v", test.names, got, other)
		}
		var names []string
		for _, a := range got.Messages[0].Message {
			names = append(names, a.Name)
		}
		if diff := cmp.Diff(test.want, names); diff != "" {
			t.Errorf("%s, query (-want +got):\n%s", test.names, diff)
		}
		if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(other.Messages[0].MessageAttributes))); diff != "" {
			t.Errorf("%s, JSON (-want +got):\n%s", test.names, diff)
		}
		if (got.Messages[0].MD5Attributes == "") != (test.want == nil) {
			t.Errorf("%s: digest %q", test.names, got.Messages[0].MD5Attributes)
		}
	}
	// One name without a number, as old clients send it.
	if _, text := e.post("/", "Action=ReceiveMessage&QueueUrl=q&WaitTimeSeconds=20&VisibilityTimeout=0&"+url.Values{"MessageAttributeName": {"Hello"}, "AttributeName": {"SenderId"}}.Encode()); !xmlHas(t, text, "SenderId", "Hello") {
		t.Errorf("names without numbers: %s", text)
	}
}

// xmlHas says whether a received message has just these two attributes.
func xmlHas(t *testing.T, text, system, user string) bool {
	t.Helper()
	var got struct {
		Messages []queryMessage `xml:"ReceiveMessageResult>Message"`
	}
	if err := xml.Unmarshal([]byte(text), &got); err != nil || len(got.Messages) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	m := got.Messages[0]
	return len(m.Attribute) == 1 && m.Attribute[0].Name == system && len(m.Message) == 1 && m.Message[0].Name == user
}
