package sqs_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
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
