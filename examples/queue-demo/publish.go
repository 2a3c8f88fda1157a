package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// messages is how many a publisher sends.
const messages = 100

// What a message carries beside its body. Deduplication by content is by the
// body alone, so these may differ from run to run of a publisher.
const (
	clientAttribute = "client"
	numberAttribute = "number"
	runAttribute    = "run" // of the publisher: its second run begins at 1 again, which is not out of order
)

// maxGroup is how many characters SQS takes as a message group.
const maxGroup = 128

// body is the text of a message. It is the same in each run of a publisher,
// which is what a FIFO queue knows a duplicate by, and has the client's name in
// it, so that two publishers are not each other's duplicates.
func body(client string, number int) string {
	return fmt.Sprintf("message %d of %s", number, client)
}

// group is the message group of a client: all its messages are one, so that
// they stay in order whoever receives them; and each client has its own, so that
// one whose messages are in flight does not hold up the others. SQS takes no
// spaces in the name of a group.
func group(client string) string {
	return url.QueryEscape(client)
}

// publish sends the messages one by one: the next when the one before is
// accepted, so that they have an order at all.
func publish(ctx context.Context, client *sqs.Client, queueURL string, o options, out io.Writer) error {
	run := rand.Text()
	text := func(value string) types.MessageAttributeValue {
		return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
	}
	for number := 1; number <= messages; number++ {
		m := &sqs.SendMessageInput{
			QueueUrl:    &queueURL,
			MessageBody: aws.String(body(o.client, number)),
			MessageAttributes: map[string]types.MessageAttributeValue{
				clientAttribute: text(o.client),
				numberAttribute: {DataType: aws.String("Number"), StringValue: aws.String(strconv.Itoa(number))},
				runAttribute:    text(run),
			},
		}
		if strings.HasSuffix(o.queue, ".fifo") {
			m.MessageGroupId = aws.String(group(o.client))
		}
		if _, err := client.SendMessage(ctx, m); err != nil {
			fmt.Fprintf(out, "[%s] sent %d of %d messages to %s\n", o.client, number-1, messages, o.queue)
			return err
		}
		fmt.Fprintf(out, "[%s] sent %s\n", o.client, *m.MessageBody)
	}
	fmt.Fprintf(out, "[%s] sent %d messages to %s\n", o.client, messages, o.queue)
	return nil
}
