package sqs_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/runnel-io/runnel/internal/queue"
)

// FuzzRequest sends any parameters to any action: whatever comes, the answer
// is JSON, and no fault of ours.
func FuzzRequest(f *testing.F) {
	actions := []string{
		"CreateQueue", "DeleteQueue", "GetQueueUrl", "ListQueues", "GetQueueAttributes", "SetQueueAttributes", "SendMessage", "SendMessageBatch",
		"ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "PurgeQueue", "TagQueue",
		"UntagQueue", "ListQueueTags", "AddPermission", "RemovePermission", "ListDeadLetterSourceQueues", "StartMessageMoveTask", "ListMessageMoveTasks",
		"CancelMessageMoveTask",
	}
	for i, seed := range []string{
		`{"QueueName":"q","Attributes":{"DelaySeconds":"1","RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:q\"}"},"tags":{"a":"b"}}`,
		`{"QueueUrl":"http://x/000000000000/q2"}`,
		`{"QueueName":"q","QueueOwnerAWSAccountId":"000000000000"}`,
		`{"QueueNamePrefix":"q","MaxResults":1,"NextToken":"cQ"}`,
		`{"QueueUrl":"q","AttributeNames":["All"]}`,
		`{"QueueUrl":"q","Attributes":{"VisibilityTimeout":"0","Policy":"{}","RedriveAllowPolicy":"{\"redrivePermission\":\"allowAll\"}"}}`,
		`{"QueueUrl":"q","MessageBody":"x","DelaySeconds":0,"MessageAttributes":{"a":{"DataType":"Number","StringValue":"1"}},"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"t"}}}`,
		`{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"x","MessageGroupId":"g"},{"Id":"b","MessageBody":"\u0000"}]}`,
		`{"QueueUrl":"q","MaxNumberOfMessages":10,"VisibilityTimeout":0,"MessageAttributeNames":["a.*"],"AttributeNames":["All"]}`,
		`{"QueueUrl":"q","ReceiptHandle":"AQ"}`,
		`{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"x"}]}`,
		`{"QueueUrl":"q","ReceiptHandle":"x","VisibilityTimeout":1}`,
		`{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"x","VisibilityTimeout":1}]}`,
		`{"QueueUrl":"q"}`,
		`{"QueueUrl":"q","Tags":{"a":"b"}}`,
		`{"QueueUrl":"q","TagKeys":["a"]}`,
		`{"QueueUrl":"q"}`,
		`{"QueueUrl":"q","Label":"l","AWSAccountIds":["000000000000"],"Actions":["*"]}`,
		`{"QueueUrl":"q","Label":"l"}`,
		`{"QueueUrl":"q","MaxResults":1,"NextToken":"cQ"}`,
		`{"SourceArn":"arn:aws:sqs:us-east-1:000000000000:q","MaxNumberOfMessagesPerSecond":1}`,
		`{"SourceArn":"arn:aws:sqs:us-east-1:000000000000:q","MaxResults":10}`,
		`{"TaskHandle":"eyJ0YXNrSWQiOiJ0Iiwic291cmNlQXJuIjoiYXJuOmF3czpzcXM6dXMtZWFzdC0xOjAwMDAwMDAwMDAwMDpxIn0="}`,
	} {
		f.Add(uint8(i), seed)
	}
	e := newEnv(f, nil)
	f.Fuzz(func(t *testing.T, n uint8, body string) {
		if strings.Contains(body, "Wait") {
			t.Skip() // 20 seconds are long for a fuzzer
		}
		if _, _, err := e.set.Create(queue.Name{Account: "default", Queue: "q"}, queue.Defaults()); err != nil {
			t.Fatal(err)
		}
		action := actions[int(n)%len(actions)]
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("X-Amz-Target", "AmazonSQS."+action)
		w := httptest.NewRecorder()
		e.door.ServeHTTP(w, r)
		a := answer{w.Code, w.Header(), w.Body.String()}
		checkHeaders(t, a)
		if a.status >= 500 {
			t.Errorf("%s %q: %d %s", action, body, a.status, a.body)
		}
		if a.body != "" && !json.Valid([]byte(a.body)) {
			t.Errorf("%s %q: the answer is not JSON: %s", action, body, a.body)
		}
		if (a.header.Get("x-amzn-query-error") != "") != (a.status != 200) {
			t.Errorf("%s %q: status %d with error %q", action, body, a.status, a.header.Get("x-amzn-query-error"))
		}
	})
}

// handleOf is a receipt handle as a queue makes it, of any queue, message and
// delivery.
func handleOf(queue, n, nonce uint64) string {
	b := []byte{1}
	for _, v := range []uint64{queue, n, nonce} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return base64.RawURLEncoding.EncodeToString(b)
}

// FuzzReceipt sends any text, and any well-formed handle, as a receipt handle:
// it does nothing to a message that was received with another, whatever comes
// it is no fault of ours, and no two texts are one handle.
func FuzzReceipt(f *testing.F) {
	e := newEnv(f, nil)
	q := e.create("q", nil)
	e.ok("SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`)
	given := e.ok("ReceiveMessage", `{"QueueUrl":"q","VisibilityTimeout":43200}`).field(f, "Messages", 0, "ReceiptHandle")
	raw, err := base64.RawURLEncoding.DecodeString(given)
	if err != nil {
		f.Fatal(err)
	}
	id, n, nonce := binary.BigEndian.Uint64(raw[1:]), binary.BigEndian.Uint64(raw[9:]), binary.BigEndian.Uint64(raw[17:])
	if got := handleOf(id, n, nonce); got != given {
		f.Fatalf("the handle %s is not made as %s", given, got)
	}
	f.Add(given, id, n, nonce^1)
	f.Add("", id, n+1, nonce)
	f.Add("garbage", id+1, n, nonce)
	f.Add(given[:38]+"=", id, n-1, uint64(0))
	f.Add(given+"A", uint64(0), uint64(0), uint64(0))
	f.Add(strings.ToLower(given), ^uint64(0), ^uint64(0), ^uint64(0))
	f.Fuzz(func(t *testing.T, text string, id, n, nonce uint64) {
		for _, handle := range []string{text, handleOf(id, n, nonce)} {
			if r, err := queue.ParseReceipt(handle); err == nil && r.String() != handle {
				t.Errorf("%q is another text for %s", handle, r)
			}
			if handle == given {
				continue
			}
			for _, form := range []string{"Action=DeleteMessage", "Action=ChangeMessageVisibility&VisibilityTimeout=0"} {
				body := form + "&ReceiptHandle=" + url.QueryEscape(handle)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/000000000000/q", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				w := httptest.NewRecorder()
				e.door.ServeHTTP(w, r)
				status, answer := xmlAnswer(t, answer{w.Code, w.Header(), w.Body.String()})
				if status >= 500 {
					t.Errorf("%s: %d %s", body, status, answer)
				}
			}
		}
		if d := q.Depth(); d != (queue.Depth{InFlight: 1}) {
			t.Errorf("%q and %d, %d, %d changed the queue: %+v", text, id, n, nonce, d)
		}
	})
}
