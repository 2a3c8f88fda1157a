package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// deleteTimeout is how long the delete of what has been printed may take, after
// Ctrl-C too.
const deleteTimeout = 10 * time.Second

// subscribe prints messages as they arrive and deletes them, until ctx ends. A
// message is printed before it is deleted: of a subscriber that dies in between,
// another one gets it after its visibility timeout.
func subscribe(ctx context.Context, client *sqs.Client, queueURL string, o options, out io.Writer) error {
	fmt.Fprintf(out, "[%s] waiting for messages on %s, until Ctrl-C\n", o.client, o.queue)
	seen := order{highest: map[string]int{}}
	defer func() {
		fmt.Fprintf(out, "[%s] received %d messages, %d of them out of order\n", o.client, seen.messages, seen.late)
	}()
	for {
		got, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &queueURL, MaxNumberOfMessages: 10, WaitTimeSeconds: 20,
			MessageAttributeNames:       []string{clientAttribute, numberAttribute, runAttribute},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
		})
		switch {
		case ctx.Err() != nil && err != nil:
			return nil // the way to end a subscriber
		case err != nil:
			return err
		case len(got.Messages) == 0:
			continue
		}
		var done []types.DeleteMessageBatchRequestEntry
		for i, m := range got.Messages {
			fmt.Fprintf(out, "[%s] %s%s\n", o.client, aws.ToString(m.Body), seen.remark(m))
			done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if err := remove(ctx, client, queueURL, done); err != nil {
			return err
		}
	}
}

func remove(ctx context.Context, client *sqs.Client, queueURL string, done []types.DeleteMessageBatchRequestEntry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	deleted, err := client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &queueURL, Entries: done})
	if err != nil {
		return err
	}
	for _, f := range deleted.Failed {
		return fmt.Errorf("delete a message: %s: %s", aws.ToString(f.Code), aws.ToString(f.Message))
	}
	return nil
}

// order is what a subscriber knows of the order of its messages.
type order struct {
	highest  map[string]int // number, by client and run of the publisher
	messages int
	late     int
}

// remark is what there is to say of a message when it arrives: that one with a
// higher number was here before it, or that it was here itself. Messages that
// are not of this program have no number.
func (o *order) remark(m types.Message) string {
	o.messages++
	if times := m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]; times != "1" && times != "" {
		return " (received " + times + " times)"
	}
	number, err := strconv.Atoi(aws.ToString(m.MessageAttributes[numberAttribute].StringValue))
	if err != nil {
		return ""
	}
	from := aws.ToString(m.MessageAttributes[clientAttribute].StringValue) + "\n" + aws.ToString(m.MessageAttributes[runAttribute].StringValue)
	if before := o.highest[from]; before > number {
		o.late++
		return fmt.Sprintf(" (out of order: %d was here before)", before)
	}
	o.highest[from] = number
	return ""
}
