package sqs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/queue"
)

// volatile replaces what no test can know by its name, if it is well formed.
func volatile(t *testing.T, body string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for name, e := range v {
				s, isString := e.(string)
				switch {
				case !isString:
					walk(e)
				case name == "MessageId" && uuid.MatchString(s):
					v[name] = "ID"
				case name == "ReceiptHandle" && len(s) == 39:
					v[name] = "HANDLE"
				case strings.HasSuffix(name, "Timestamp"):
					if n, err := strconv.ParseInt(s, 10, 64); err == nil && time.Since(time.UnixMilli(n)).Abs() < time.Minute {
						v[name] = "NOW"
					}
				}
			}
		}
	}
	walk(v)
	out, err := json.Marshal(v) // members by name
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (e *env) want(t *testing.T, action, body, want string) {
	t.Helper()
	a := e.ok(action, body)
	checkHeaders(t, a)
	got := a.body
	if want != "" {
		got = volatile(t, a.body)
	}
	if got != want {
		t.Errorf("%s %s:\n got %s\nwant %s", action, body, got, want)
	}
}

// visible waits until a queue has so many visible messages: the timeouts of
// others end by a timer.
func (e *env) visible(t *testing.T, name string, n int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); e.queue(name).Depth().Visible != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s: %+v, want %d visible", name, e.queue(name).Depth(), n)
		}
	}
}

// TestMessage is the life of a message. The digests are what Amazon answered
// to the same calls.
func TestMessage(t *testing.T) {
	e := newEnv(t, nil)
	e.want(t, "CreateQueue", `{"QueueName":"q"}`, `{"QueueUrl":"`+e.server.URL+`/000000000000/q"}`)
	e.want(t, "SendMessage", `{"QueueUrl":"q","MessageBody":"hello","MessageAttributes":{`+
		`"color":{"DataType":"String","StringValue":"blue"},`+
		`"count":{"DataType":"Number","StringValue":"3"},`+
		`"blob":{"DataType":"Binary","BinaryValue":"AQID"}}}`,
		`{"MD5OfMessageAttributes":"d838729972a4b70e2d2acd9d59ac847c","MD5OfMessageBody":"5d41402abc4b2a76b9719d911017c592","MessageId":"ID"}`)

	const receive = `{"QueueUrl":"q","WaitTimeSeconds":20,"VisibilityTimeout":0` // a timer ends the timeout
	const common = `"Body":"hello","MD5OfBody":"5d41402abc4b2a76b9719d911017c592",`
	const color = `"MD5OfMessageAttributes":"da1b33cc3cbfe8b1630921e78e6b9880","MessageAttributes":{"color":{"DataType":"String","StringValue":"blue"}},`
	const ids = `"MessageId":"ID","ReceiptHandle":"HANDLE"}]}`
	e.want(t, "ReceiveMessage", receive+`,"MessageAttributeNames":["All"],"MessageSystemAttributeNames":["All"]}`,
		`{"Messages":[{"Attributes":{"ApproximateFirstReceiveTimestamp":"NOW","ApproximateReceiveCount":"1","SenderId":"000000000000","SentTimestamp":"NOW"},`+common+
			`"MD5OfMessageAttributes":"d838729972a4b70e2d2acd9d59ac847c","MessageAttributes":{"blob":{"BinaryValue":"AQID","DataType":"Binary"},`+
			`"color":{"DataType":"String","StringValue":"blue"},"count":{"DataType":"Number","StringValue":"3"}},`+ids)
	e.want(t, "ReceiveMessage", receive+`,"MessageAttributeNames":["color"],"AttributeNames":["ApproximateReceiveCount","SequenceNumber"]}`,
		`{"Messages":[{"Attributes":{"ApproximateReceiveCount":"2"},`+common+color+ids)
	for _, names := range []string{`["col.*"]`, `["none","color","color"]`} {
		e.want(t, "ReceiveMessage", receive+`,"MessageAttributeNames":`+names+`}`, `{"Messages":[{`+common+color+ids)
	}
	for _, names := range []string{`[]`, `["none"]`, `["AWS.*"]`, `null`} {
		e.want(t, "ReceiveMessage", receive+`,"MessageAttributeNames":`+names+`}`, `{"Messages":[{`+common+ids)
	}
	for _, names := range []string{`[".*"]`, `["*"]`} {
		if got := e.ok("ReceiveMessage", receive+`,"MessageAttributeNames":`+names+`}`).body; !strings.Contains(got, `"blob"`) || !strings.Contains(got, `"count"`) {
			t.Errorf("%s: got %s", names, got)
		}
	}

	handle := e.ok("ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":20,"VisibilityTimeout":30}`).field(t, "Messages", 0, "ReceiptHandle")
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":0}`, `{}`)
	e.want(t, "ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"`+handle+`","VisibilityTimeout":0}`, "")
	again := e.ok("ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":20}`).field(t, "Messages", 0, "ReceiptHandle")

	e.refuses(t, "ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"`+handle+`","VisibilityTimeout":1}`,
		parameterValue("Value "+handle+" for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."))
	e.want(t, "DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+handle+`"}`, "")
	if d := e.queue("q").Depth(); d.InFlight != 1 {
		t.Errorf("a stale handle deleted: %+v", d)
	}
	e.want(t, "DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+again+`"}`, "")
	e.want(t, "DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+again+`"}`, "")
	if d := e.queue("q").Depth(); d != (queue.Depth{}) {
		t.Errorf("depth after the delete: %+v", d)
	}
}

// TestBodies sends texts and looks at what comes back.
func TestBodies(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	for _, test := range []struct{ sent, want string }{
		{`"plain"`, "plain"},
		{`"tab\tnewline\nreturn\r quote\" slash\/ backslash\\"`, "tab\tnewline\nreturn\r quote\" slash/ backslash\\"},
		{`"\u0041\u00e9\u20ac\ud83d\ude00"`, "Aé€😀"},
		{`"é€😀 𐀀 ` + "\u007f\u0085\u2028" + `"`, "é€😀 𐀀 \u007f\u0085\u2028"},
		{`"` + "\uFFFD" + `"`, "\uFFFD"},
		{`17`, "17"}, // as Amazon does
		{`true`, "true"},
		{`"{\"a\": [1, \"b\"]}"`, `{"a": [1, "b"]}`},
	} {
		e.ok("SendMessage", `{"MessageBody":`+test.sent+`,"QueueUrl":"q"}`)
		a := e.ok("ReceiveMessage", `{"QueueUrl":"q"}`)
		if got := a.field(t, "Messages", 0, "Body"); got != test.want {
			t.Errorf("%s: got %q, want %q", test.sent, got, test.want)
		}
	}

	// A flow can store what no client can send.
	if _, err := e.queue("q").Send([]runnel.Message{{
		Body: []byte("\x00\xff"),
		Attributes: []runnel.Attribute{
			{Name: "b", Value: []byte("\xff")}, {Name: "a", Type: "Binary", Value: []byte{0xff}}, {Name: "b", Value: []byte("again")}, {Name: "aws.x", Value: []byte("x")},
		},
	}}); err != nil {
		t.Fatal(err)
	}
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q","MessageAttributeNames":["All"],"AttributeNames":["SenderId"]}`,
		`{"Messages":[{"Body":"\u0000`+"\uFFFD"+`","MD5OfBody":"`+md5Hex("\x00\uFFFD")+`","MD5OfMessageAttributes":"`+
			md5Hex("\x00\x00\x00\x01a\x00\x00\x00\x06Binary\x02\x00\x00\x00\x01\xff\x00\x00\x00\x01b\x00\x00\x00\x06String\x01\x00\x00\x00\x03\uFFFD")+
			`","MessageAttributes":{"a":{"BinaryValue":"/w==","DataType":"Binary"},"b":{"DataType":"String","StringValue":"`+"\uFFFD"+`"}},"MessageId":"ID","ReceiptHandle":"HANDLE"}]}`)
}

func TestSystemAttributes(t *testing.T) {
	e := newEnv(t, nil)
	e.create("dead", nil)
	e.create("q", func(s *queue.Settings) {
		s.DeadLetter = &queue.Redrive{Queue: "dead", MaxReceives: 1}
		s.VisibilityTimeout = 0
	})
	e.want(t, "SendMessage", `{"QueueUrl":"q","MessageBody":"x","MessageGroupId":"tenant-1",`+
		`"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"some-trace-id"}}}`,
		`{"MD5OfMessageBody":"9dd4e461268c8034f5c8564e155c67a6","MD5OfMessageSystemAttributes":"fdce4f2818803f2f73becc09a54792c0","MessageId":"ID"}`)
	const first = `"ApproximateFirstReceiveTimestamp":"NOW","ApproximateReceiveCount":"1",`
	const second = `"ApproximateFirstReceiveTimestamp":"NOW","ApproximateReceiveCount":"2",`
	const rest = `"MessageGroupId":"tenant-1","SenderId":"000000000000","SentTimestamp":"NOW"},"Body":"x","MD5OfBody":"9dd4e461268c8034f5c8564e155c67a6","MessageId":"ID","ReceiptHandle":"HANDLE"}]}`
	const all = `"MessageAttributeNames":["All"],"MessageSystemAttributeNames":["All"]}`
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q",`+all, `{"Messages":[{"Attributes":{"AWSTraceHeader":"some-trace-id",`+first+rest)
	e.visible(t, "q", 1)
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q",`+all, `{}`)
	e.want(t, "ReceiveMessage", `{"QueueUrl":"dead",`+all,
		`{"Messages":[{"Attributes":{"AWSTraceHeader":"some-trace-id",`+second+`"DeadLetterQueueSourceArn":"arn:aws:sqs:us-east-1:000000000000:q",`+rest)
}

func TestDelay(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", func(s *queue.Settings) { s.Delay = time.Minute })
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"the queue's"}`)
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"its own","DelaySeconds":900}`)
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"none","DelaySeconds":0}`)
	if d := q.Depth(); d != (queue.Depth{Visible: 1, Delayed: 2}) {
		t.Errorf("depth: %+v", d)
	}
	if got := e.ok("ReceiveMessage", `{"QueueUrl":"q"}`).field(t, "Messages", 0, "Body"); got != "none" {
		t.Errorf("got %q", got)
	}
}

func TestBatches(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", func(s *queue.Settings) { s.MaxMessageBytes = 1024 })
	failed := func(id, code, message string) string {
		m, _ := json.Marshal(message)
		return fmt.Sprintf(`{"Code":"%s","Id":"%s","Message":%s,"SenderFault":true}`, code, id, m)
	}
	long := strings.Repeat("x", 1025)
	e.want(t, "SendMessageBatch", `{"QueueUrl":"q","Entries":[`+
		`{"Id":"a","MessageBody":"one"},`+
		`{"Id":"chars","MessageBody":"\u0000"},`+
		`{"Id":"b","MessageBody":"two","MessageAttributes":{"color":{"DataType":"String","StringValue":"blue"}},"MessageGroupId":"g"},`+
		`{"Id":"long","MessageBody":"`+long+`"},`+
		`{"Id":"empty"},`+
		`{"Id":"attribute","MessageBody":"x","MessageAttributes":{"n":{"DataType":"Number","StringValue":"x"}}},`+
		`{"Id":"delay","MessageBody":"x","DelaySeconds":901},`+
		`{"Id":"c","MessageBody":"three","DelaySeconds":60}]}`,
		`{"Failed":[`+
			failed("chars", "InvalidMessageContents", charactersText)+`,`+
			failed("long", "InvalidParameterValue", "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.")+`,`+
			failed("empty", "MissingParameter", "The request must contain the parameter MessageBody.")+`,`+
			failed("attribute", "InvalidParameterValue", "Can't cast the value of message (user) attribute 'n' to a number.")+`,`+
			failed("delay", "InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.")+
			`],"Successful":[`+
			`{"Id":"a","MD5OfMessageBody":"`+md5Hex("one")+`","MessageId":"ID"},`+
			`{"Id":"b","MD5OfMessageAttributes":"da1b33cc3cbfe8b1630921e78e6b9880","MD5OfMessageBody":"`+md5Hex("two")+`","MessageId":"ID"},`+
			`{"Id":"c","MD5OfMessageBody":"`+md5Hex("three")+`","MessageId":"ID"}]}`)
	if d := q.Depth(); d != (queue.Depth{Visible: 2, Delayed: 1}) {
		t.Errorf("depth: %+v", d)
	}
	e.want(t, "SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a"}]}`,
		`{"Failed":[`+failed("a", "MissingParameter", "The request must contain the parameter MessageBody.")+`]}`)

	got := e.ok("ReceiveMessage", `{"QueueUrl":"q","MaxNumberOfMessages":10}`)
	one, two := got.field(t, "Messages", 0, "ReceiptHandle"), got.field(t, "Messages", 1, "ReceiptHandle")
	if body := got.field(t, "Messages", 1, "Body"); body != "two" {
		t.Errorf("second message: got %q", body)
	}
	garbage := failed("y", "ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`)
	e.want(t, "ChangeMessageVisibilityBatch", `{"QueueUrl":"q","Entries":[`+
		`{"Id":"x","ReceiptHandle":"`+one+`","VisibilityTimeout":0},`+
		`{"Id":"y","ReceiptHandle":"garbage","VisibilityTimeout":0},`+
		`{"Id":"z","ReceiptHandle":"`+two+`"},`+
		`{"Id":"w","ReceiptHandle":"`+two+`","VisibilityTimeout":43201},`+
		`{"Id":"v","ReceiptHandle":"`+two+`","VisibilityTimeout":43200}]}`,
		`{"Failed":[`+garbage+`,`+
			failed("z", "MissingParameter", "The request must contain the parameter VisibilityTimeout.")+`,`+
			failed("w", "InvalidParameterValue", "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided.")+`,`+
			failed("v", "InvalidParameterValue", "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")+
			`],"Successful":[{"Id":"x"}]}`)
	e.want(t, "DeleteMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"x","ReceiptHandle":"`+one+`"},{"Id":"y","ReceiptHandle":"garbage"},{"Id":"z"},{"Id":"w","ReceiptHandle":"`+two+`"}]}`,
		`{"Failed":[`+garbage+`,`+failed("z", "MissingParameter", "The request must contain the parameter ReceiptHandle.")+`],"Successful":[{"Id":"x"},{"Id":"w"}]}`)
	if d := q.Depth(); d != (queue.Depth{Delayed: 1}) {
		t.Errorf("depth: %+v", d)
	}
}

// longPoll starts a receive that waits, and returns when it does.
func (e *env) longPoll(ctx context.Context, q *queue.Queue, body string) <-chan answer {
	e.t.Helper()
	before := q.Stats().Receivers
	answers := make(chan answer, 1) // sent to once, or closed if the request fails
	go func() {
		defer close(answers)
		res, err := http.DefaultClient.Do(e.request(ctx, "ReceiveMessage", body))
		if err != nil {
			return
		}
		defer res.Body.Close()
		var v json.RawMessage
		if json.NewDecoder(res.Body).Decode(&v) == nil {
			answers <- answer{res.StatusCode, res.Header, string(v)}
		}
	}()
	e.until("the receive waits", func() bool { return q.Stats().Receivers == before+1 })
	return answers
}

// until waits for a condition that something else brings about.
func (e *env) until(what string, done func() bool) {
	e.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !done(); <-tick.C {
		if time.Now().After(end) {
			e.t.Fatalf("in 10 s, not: %s", what)
		}
	}
}

func TestLongPoll(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", func(s *queue.Settings) { s.ReceiveWait = 20 * time.Second })

	polls := []<-chan answer{
		e.longPoll(t.Context(), q, `{"QueueUrl":"q"}`),
		e.longPoll(t.Context(), q, `{"QueueUrl":"q","WaitTimeSeconds":20}`),
	}
	start := time.Now()
	e.ok("SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"one"},{"Id":"b","MessageBody":"two"}]}`)
	var bodies []string
	for _, poll := range polls {
		a := <-poll
		bodies = append(bodies, a.field(t, "Messages", 0, "Body"))
	}
	slices.Sort(bodies)
	if diff := cmp.Diff([]string{"one", "two"}, bodies); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the receives ended after %v", took)
	}

	// An explicit 0 does not wait, whatever the queue says.
	e.ok("PurgeQueue", `{"QueueUrl":"q"}`)
	start = time.Now()
	e.want(t, "ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":0}`, `{}`)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a short poll took %v", took)
	}
}

// TestClientGone checks that nobody gets a message who does not listen any
// more.
func TestClientGone(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", nil)
	ctx, cancel := context.WithCancel(t.Context())
	answers := e.longPoll(ctx, q, `{"QueueUrl":"q","WaitTimeSeconds":20}`)
	cancel()
	if _, ok := <-answers; ok {
		t.Error("a cancelled request was answered")
	}
	e.until("the receive ends", func() bool { return q.Stats().Receivers == 0 })
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`)
	if d := q.Depth(); d != (queue.Depth{Visible: 1}) {
		t.Errorf("depth: %+v", d)
	}
	if e.log.Len() > 0 {
		t.Errorf("it was logged: %s", e.log.String())
	}
}

// TestCancelledByTheServer checks that a request whose context the server ends
// is not answered as if it had been done.
func TestCancelledByTheServer(t *testing.T) {
	e := newEnv(t, nil)
	e.create("q", nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("draining"))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(`{"QueueUrl":"q","WaitTimeSeconds":20}`))
	r.Header.Set("X-Amz-Target", "AmazonSQS.ReceiveMessage")
	w := httptest.NewRecorder()
	e.door.ServeHTTP(w, r)
	want := refusal{503, commonType + "ServiceUnavailableException", "ServiceUnavailable;Receiver", "The request was cancelled."}
	if diff := cmp.Diff(want, refused(t, answer{w.Code, w.Header(), w.Body.String()})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e.log.Len() > 0 {
		t.Errorf("it was logged: %s", e.log.String())
	}
}

// TestEnd checks what a waiting receive is told when there is nothing to wait
// for any more.
func TestEnd(t *testing.T) {
	e := newEnv(t, nil)
	a, b := e.create("a", nil), e.create("b", nil)
	deleted := e.longPoll(t.Context(), a, `{"QueueUrl":"a","WaitTimeSeconds":20}`)
	e.want(t, "DeleteQueue", `{"QueueUrl":"a"}`, "")
	if diff := cmp.Diff(noQueue, refused(t, <-deleted)); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(noQueue, refused(t, e.do("DeleteQueue", `{"QueueUrl":"a"}`))); diff != "" {
		t.Errorf("deleted again (-want +got):\n%s", diff)
	}
	closed := e.longPoll(t.Context(), b, `{"QueueUrl":"b","WaitTimeSeconds":20}`)
	if err := e.set.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-closed; got.status != 200 || got.body != `{}` {
		t.Errorf("closed: got %d %s, want an empty answer", got.status, got.body)
	}
	got := refused(t, e.do("SendMessage", `{"QueueUrl":"b","MessageBody":"x"}`))
	want := refusal{503, commonType + "ServiceUnavailableException", "ServiceUnavailable;Receiver", "The server is shutting down."}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("send (-want +got):\n%s", diff)
	}
}

func TestPurge(t *testing.T) {
	e := newEnv(t, nil)
	q := e.create("q", nil)
	e.ok("SendMessageBatch", `{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"one"},{"Id":"b","MessageBody":"two"}]}`)
	e.ok("ReceiveMessage", `{"QueueUrl":"q"}`)
	e.want(t, "PurgeQueue", `{"QueueUrl":"q"}`, "")
	if d := q.Depth(); d != (queue.Depth{}) {
		t.Errorf("depth: %+v", d)
	}
	want := refusal{403, sqsType + "PurgeQueueInProgress", service + "PurgeQueueInProgress;Sender", "Only one PurgeQueue operation on q is allowed every 60 seconds."}
	e.refuses(t, "PurgeQueue", `{"QueueUrl":"q"}`, want)
}
