package sqs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/queue"
)

const createFIFO = `{"QueueName":"q.fifo","Attributes":{"FifoQueue":"true"}}`

func TestFIFOAttributes(t *testing.T) {
	e := newEnv(t, nil)
	e.ok("CreateQueue", createFIFO)
	e.ok("CreateQueue", createFIFO)
	fifo := func() map[string]string {
		return e.attributes("q.fifo", "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
	}
	want := map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
	}
	if diff := cmp.Diff(want, fifo()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	e.ok("SetQueueAttributes", `{"QueueUrl":"q.fifo","Attributes":{"FifoThroughputLimit":"perMessageGroupId","DeduplicationScope":"messageGroup","ContentBasedDeduplication":"true"}}`)
	want = map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	}
	if diff := cmp.Diff(want, fifo()); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}

func TestFIFOMessages(t *testing.T) {
	e := newEnv(t, nil)
	e.ok("CreateQueue", createFIFO)
	first := e.ok("SendMessage", `{"QueueUrl":"q.fifo","MessageBody":"a1","MessageGroupId":"a","MessageDeduplicationId":"1"}`)
	again := e.ok("SendMessage", `{"QueueUrl":"q.fifo","MessageBody":"other","MessageGroupId":"a","MessageDeduplicationId":"1"}`)
	for _, field := range []string{"MessageId", "SequenceNumber"} {
		if got, want := again.field(t, field), first.field(t, field); got != want || got == "" {
			t.Errorf("%s of a duplicate: got %s, want %s", field, got, want)
		}
	}
	batch := e.ok("SendMessageBatch", `{"QueueUrl":"q.fifo","Entries":[{"Id":"x","MessageBody":"a2","MessageGroupId":"a","MessageDeduplicationId":"2"},{"Id":"y","MessageBody":"a3","MessageGroupId":"a b","MessageDeduplicationId":"3"}]}`)
	if got := batch.field(t, "Successful", 0, "SequenceNumber"); got <= first.field(t, "SequenceNumber") || len(got) != 20 {
		t.Errorf("sequence number %s after %s", got, first.field(t, "SequenceNumber"))
	}
	if got := batch.field(t, "Failed", 0, "Code"); got != "InvalidParameterValue" {
		t.Errorf("entry of a bad group: %s", got)
	}

	receive := `{"QueueUrl":"q.fifo","MaxNumberOfMessages":2,"ReceiveRequestAttemptId":"r1","VisibilityTimeout":20,"MessageSystemAttributeNames":["All"]}`
	got := e.ok("ReceiveMessage", receive)
	for i, body := range []string{"a1", "a2"} {
		if b := got.field(t, "Messages", i, "Body"); b != body {
			t.Errorf("message %d: %s, want %s", i, b, body)
		}
	}
	for name, want := range map[string]string{
		"MessageGroupId": "a", "MessageDeduplicationId": "1", "SequenceNumber": first.field(t, "SequenceNumber"),
	} {
		if v := got.field(t, "Messages", 0, "Attributes", name); v != want {
			t.Errorf("%s: got %s, want %s", name, v, want)
		}
	}
	repeated := e.ok("ReceiveMessage", receive)
	handle := got.field(t, "Messages", 0, "ReceiptHandle")
	if h := repeated.field(t, "Messages", 0, "ReceiptHandle"); h != handle {
		t.Errorf("the attempt was repeated with handle %s, want %s", h, handle)
	}
	e.ok("ChangeMessageVisibility", `{"QueueUrl":"q.fifo","ReceiptHandle":"`+handle+`","VisibilityTimeout":0}`)
	e.refuses(t, "DeleteMessage", `{"QueueUrl":"q.fifo","ReceiptHandle":"`+handle+`"}`,
		parameterValue("Value "+handle+" for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."))
}

func TestFIFORefusals(t *testing.T) {
	e := newEnv(t, nil)
	e.ok("CreateQueue", createFIFO)
	e.create("std", nil)
	const wrongSort = "The request include parameter that is not valid for this queue type."
	send := func(members string) string { return `{"QueueUrl":"q.fifo","MessageBody":"x"` + members + `}` }
	for _, test := range []struct {
		name, action, body string
		want               refusal
	}{
		{"no deduplication id", "SendMessage", send(`,"MessageGroupId":"a"`), parameterValue("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")},
		{"bad deduplication id", "SendMessage", send(`,"MessageGroupId":"a","MessageDeduplicationId":"a b"`), parameterValue("Value a b for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.")},
		{"delay", "SendMessage", send(`,"MessageGroupId":"a","MessageDeduplicationId":"1","DelaySeconds":1`), parameterValue("Value 1 for parameter DelaySeconds is invalid. Reason: " + wrongSort)},
		{
			"limit by group alone", "SetQueueAttributes", `{"QueueUrl":"q.fifo","Attributes":{"FifoThroughputLimit":"perMessageGroupId"}}`,
			attributeValue("Invalid value for the parameter FifoThroughputLimit. Reason: perMessageGroupId needs the DeduplicationScope messageGroup."),
		},
		{
			"standard dead-letter queue", "SetQueueAttributes", `{"QueueUrl":"q.fifo","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:std\",\"maxReceiveCount\":1}"}}`,
			parameterValue(`Value {"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:std","maxReceiveCount":1} for parameter RedrivePolicy is invalid. Reason: Dead-letter queue must be same type of queue as the source.`),
		},
		{"attempt on a standard queue", "ReceiveMessage", `{"QueueUrl":"std","ReceiveRequestAttemptId":"a"}`, parameterValue("Value a for parameter ReceiveRequestAttemptId is invalid. Reason: " + wrongSort)},
		{"bad attempt", "ReceiveMessage", `{"QueueUrl":"q.fifo","ReceiveRequestAttemptId":"a b"}`, parameterValue("Value a b for parameter ReceiveRequestAttemptId is invalid. Reason: ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.")},
	} {
		t.Run(test.name, func(t *testing.T) { e.refuses(t, test.action, test.body, test.want) })
	}
	if d := e.queue("q.fifo").Depth(); d != (queue.Depth{}) {
		t.Errorf("depth %+v after refusals", d)
	}
}
