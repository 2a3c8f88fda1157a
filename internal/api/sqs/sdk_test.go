package sqs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
)

// newClient returns an env that demands keys, and Amazon's own client with one.
// The client checks the MD5s of bodies by itself.
func newClient(t *testing.T) (*env, *client.Client) {
	key := auth.NewKey("default", "000000000000", false, time.Now())
	e := newEnv(t, func(c *sqs.Config) {
		c.Auth = &auth.Authenticator{Keys: keyMap{keys: map[string]auth.Key{key.ID: key}}}
	})
	return e, client.New(client.Options{
		BaseEndpoint:     aws.String(e.server.URL),
		Region:           "us-east-1",
		Credentials:      credentials.NewStaticCredentialsProvider(key.ID, key.Secret, ""),
		RetryMaxAttempts: 1,
	})
}

func TestSDK(t *testing.T) {
	e, c := newClient(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	dead, err := c.CreateQueue(ctx, &client.CreateQueueInput{QueueName: aws.String("dead")})
	must(err)
	created, err := c.CreateQueue(ctx, &client.CreateQueueInput{
		QueueName:  aws.String("images"),
		Attributes: map[string]string{"VisibilityTimeout": "60", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"2"}`},
		Tags:       map[string]string{"team": "a"},
	})
	must(err)
	q := created.QueueUrl
	if want := e.server.URL + "/000000000000/images"; *q != want {
		t.Errorf("URL: got %s, want %s", *q, want)
	}
	found, err := c.GetQueueUrl(ctx, &client.GetQueueUrlInput{QueueName: aws.String("images")})
	must(err)
	if *found.QueueUrl != *q {
		t.Errorf("GetQueueUrl: got %s", *found.QueueUrl)
	}
	var listed []string
	for pages := client.NewListQueuesPaginator(c, &client.ListQueuesInput{MaxResults: aws.Int32(1)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		must(err)
		listed = append(listed, page.QueueUrls...)
	}
	if diff := cmp.Diff([]string{*dead.QueueUrl, *q}, listed); diff != "" {
		t.Errorf("ListQueues (-want +got):\n%s", diff)
	}

	// One by one, with attributes of all types.
	attributes := map[string]types.MessageAttributeValue{
		"Kind.Of":  {DataType: aws.String("String.label"), StringValue: aws.String("jpeg \"é\"")},
		"size":     {DataType: aws.String("Number"), StringValue: aws.String("-1.5e3")},
		"thumb":    {DataType: aws.String("Binary.png"), BinaryValue: []byte{0, 1, 0xff}},
		"Straße-1": {DataType: aws.String("String"), StringValue: aws.String("x")},
	}
	body := "{\"n\": 1}\n\t€ 😀 \\ " + strings.Repeat("long ", 2000)
	sent, err := c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: q, MessageBody: &body, MessageAttributes: attributes})
	must(err)
	got, err := c.ReceiveMessage(ctx, &client.ReceiveMessageInput{
		QueueUrl: q, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 0,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	must(err)
	if len(got.Messages) != 1 {
		t.Fatalf("got %d messages", len(got.Messages))
	}
	m := got.Messages[0]
	if *m.Body != body || *m.MessageId != *sent.MessageId || *m.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes {
		t.Errorf("got %q (%s, %s), sent %s, %s", *m.Body, *m.MessageId, *m.MD5OfMessageAttributes, *sent.MessageId, *sent.MD5OfMessageAttributes)
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "noSmithyDocumentSerde") }, cmp.Ignore())
	if diff := cmp.Diff(attributes, m.MessageAttributes, ignore); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SenderId"] != "000000000000" {
		t.Errorf("system attributes: got %v", m.Attributes)
	}
	_, err = c.ChangeMessageVisibility(ctx, &client.ChangeMessageVisibilityInput{QueueUrl: q, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0})
	must(err)
	got, err = c.ReceiveMessage(ctx, &client.ReceiveMessageInput{QueueUrl: q})
	must(err)
	_, err = c.DeleteMessage(ctx, &client.DeleteMessageInput{QueueUrl: q, ReceiptHandle: got.Messages[0].ReceiptHandle})
	must(err)

	// Batches.
	var entries []types.SendMessageBatchRequestEntry
	for i := range 10 {
		entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(fmt.Sprintf("message %d", i))})
	}
	entries[3].MessageBody = aws.String("\x01")
	batch, err := c.SendMessageBatch(ctx, &client.SendMessageBatchInput{QueueUrl: q, Entries: entries})
	must(err)
	if len(batch.Successful) != 9 || len(batch.Failed) != 1 || *batch.Failed[0].Id != "3" || *batch.Failed[0].Code != "InvalidMessageContents" || !batch.Failed[0].SenderFault {
		t.Errorf("SendMessageBatch: %d, %+v", len(batch.Successful), batch.Failed)
	}
	got, err = c.ReceiveMessage(ctx, &client.ReceiveMessageInput{QueueUrl: q, MaxNumberOfMessages: 10})
	must(err)
	var change []types.ChangeMessageVisibilityBatchRequestEntry
	var del []types.DeleteMessageBatchRequestEntry
	for i, m := range got.Messages {
		change = append(change, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 90})
		del = append(del, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
	}
	changed, err := c.ChangeMessageVisibilityBatch(ctx, &client.ChangeMessageVisibilityBatchInput{QueueUrl: q, Entries: change})
	must(err)
	deleted, err := c.DeleteMessageBatch(ctx, &client.DeleteMessageBatchInput{QueueUrl: q, Entries: del[1:]})
	must(err)
	if len(changed.Successful) != 9 || len(deleted.Successful) != 8 || len(changed.Failed)+len(deleted.Failed) != 0 {
		t.Errorf("batches: %+v, %+v", changed, deleted)
	}
	counts, err := c.GetQueueAttributes(ctx, &client.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	}})
	must(err)
	if diff := cmp.Diff(map[string]string{"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "1"}, counts.Attributes); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}

	_, err = c.SetQueueAttributes(ctx, &client.SetQueueAttributesInput{QueueUrl: q, Attributes: map[string]string{"RedrivePolicy": ""}})
	must(err)
	_, err = c.PurgeQueue(ctx, &client.PurgeQueueInput{QueueUrl: q})
	must(err)
	_, err = c.DeleteQueue(ctx, &client.DeleteQueueInput{QueueUrl: q})
	must(err)
}

// TestSDKErrors checks what Amazon's client makes of our errors.
func TestSDKErrors(t *testing.T) {
	e, c := newClient(t)
	e.create("q", nil)
	ctx := t.Context()

	_, err := c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: aws.String(e.server.URL + "/000000000000/none"), MessageBody: aws.String("x")})
	var none *types.QueueDoesNotExist
	if !errors.As(err, &none) || none.ErrorMessage() != "The specified queue does not exist." {
		t.Errorf("no queue: got %v", err)
	}
	_, err = c.CreateQueue(ctx, &client.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"DelaySeconds": "1"}})
	var exists *types.QueueNameExists
	if !errors.As(err, &exists) {
		t.Errorf("other attributes: got %v", err)
	}
	_, err = c.DeleteMessage(ctx, &client.DeleteMessageInput{QueueUrl: aws.String("q"), ReceiptHandle: aws.String("garbage")})
	var handle *types.ReceiptHandleIsInvalid
	if !errors.As(err, &handle) {
		t.Errorf("garbage: got %v", err)
	}
	_, err = c.SendMessageBatch(ctx, &client.SendMessageBatchInput{QueueUrl: aws.String("q"), Entries: []types.SendMessageBatchRequestEntry{}})
	var empty *types.EmptyBatchRequest
	if !errors.As(err, &empty) {
		t.Errorf("empty batch: got %v", err)
	}
	_, err = c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("x"), DelaySeconds: 901})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidParameterValue" || api.ErrorFault() != smithy.FaultClient {
		t.Errorf("delay: got %v", err)
	}
	list := types.MessageAttributeValue{DataType: aws.String("String"), StringListValues: []string{"a"}}
	_, err = c.SendMessage(ctx, &client.SendMessageInput{
		QueueUrl: aws.String("q"), MessageBody: aws.String("x"), MessageAttributes: map[string]types.MessageAttributeValue{"a": list},
	})
	var unsupported *types.UnsupportedOperation
	if !errors.As(err, &unsupported) {
		t.Errorf("list of strings: got %v", err)
	}
	wrong := client.New(c.Options(), func(o *client.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider("RKAAAAAAAAAAAAAAAAAA", "x", "")
	})
	_, err = wrong.ListQueues(ctx, &client.ListQueuesInput{})
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidClientTokenId" {
		t.Errorf("unknown key: got %v", err)
	}
}

func TestSDKLongPoll(t *testing.T) {
	e, c := newClient(t)
	q := e.create("q", nil)
	type result struct {
		out *client.ReceiveMessageOutput
		err error
	}
	results := make(chan result, 1) // sent to once
	go func() {
		out, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{QueueUrl: aws.String("q"), WaitTimeSeconds: 20})
		results <- result{out, err}
	}()
	e.until("the receive waits", func() bool { return q.Stats().Receivers == 1 })
	start := time.Now()
	if _, err := c.SendMessage(t.Context(), &client.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("wake")}); err != nil {
		t.Fatal(err)
	}
	r := <-results
	if r.err != nil || len(r.out.Messages) != 1 || *r.out.Messages[0].Body != "wake" {
		t.Fatalf("got %+v, %v", r.out, r.err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
