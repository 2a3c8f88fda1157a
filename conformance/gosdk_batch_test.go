package conformance_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// entries makes n entries with the ids e0, e1, ... and a small body each.
func entries(n int) []types.SendMessageBatchRequestEntry {
	out := make([]types.SendMessageBatchRequestEntry, n)
	for i := range out {
		id := "e" + strconv.Itoa(i)
		out[i] = types.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("body of " + id)}
	}
	return out
}

// failures are the failed entries of a batch, as "id code", sorted; those that
// are not called the sender's fault end in "!".
func failures(entries []types.BatchResultErrorEntry) []string {
	var out []string
	for _, e := range entries {
		line := *e.Id + " " + *e.Code
		if !e.SenderFault {
			line += "!"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (s *session) sendBatch() {
	url := s.create("", map[string]string{"MaximumMessageSize": "1024"})
	batch := entries(10)
	attributes := map[string]types.MessageAttributeValue{"N": {DataType: aws.String("Number"), StringValue: aws.String("1")}}
	batch[2].MessageAttributes = attributes
	batch[4].MessageBody = aws.String(strings.Repeat("x", 1025))
	batch[7].MessageBody = aws.String("bad \x01 character")
	batch[9].DelaySeconds = 600
	out := must(s.sqs.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{QueueUrl: url, Entries: batch}))(s.T)
	s.wantEqual("failed entries", failures(out.Failed), []string{"e4 InvalidParameterValue", "e7 InvalidMessageContents"})

	bodies := make(map[string]string) // by message id, of those that are visible
	var ids []string
	for _, e := range out.Successful {
		ids = append(ids, *e.Id)
		var sum string
		if *e.Id == "e2" {
			sum = attributesMD5(attributes)
		}
		s.wantEqual("MD5OfMessageAttributes of "+*e.Id, aws.ToString(e.MD5OfMessageAttributes), sum)
		if *e.Id != "e9" {
			bodies[*e.MessageId] = "body of " + *e.Id
		}
	}
	slices.Sort(ids)
	s.wantEqual("successful entries", ids, []string{"e0", "e1", "e2", "e3", "e5", "e6", "e8", "e9"})
	s.wantCounts(url, counts{visible: 7, delayed: 1}, "after the batch")
	got := make(map[string]string)
	for _, m := range s.receiveN(url, 7) {
		got[*m.MessageId] = *m.Body
	}
	s.wantEqual("bodies by message id", got, bodies)
}

func (s *session) receiveAndDeleteBatch() {
	url := s.create("", nil)
	for _, n := range []int{10, 9} {
		must(s.sqs.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{QueueUrl: url, Entries: entries(n)}))(s.T)
	}
	var batch []types.DeleteMessageBatchRequestEntry
	distinct := make(map[string]bool)
	for i, m := range s.receiveN(url, 19) {
		distinct[*m.MessageId] = true
		batch = append(batch, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if len(distinct) != 19 {
		s.Errorf("different messages received: got %d, want 19", len(distinct))
	}
	batch = slices.Insert(batch, 3, types.DeleteMessageBatchRequestEntry{
		Id: aws.String("garbage"), ReceiptHandle: aws.String("not a receipt handle"),
	})
	out := must(s.sqs.DeleteMessageBatch(s.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: batch[:10]}))(s.T)
	s.wantEqual("failed entries", failures(out.Failed), []string{"garbage ReceiptHandleIsInvalid"})
	s.wantEqual("number of successful entries", len(out.Successful), 9)
	out = must(s.sqs.DeleteMessageBatch(s.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: batch[10:]}))(s.T)
	s.wantEqual("failed entries of good ones", failures(out.Failed), []string{})
	s.wantEqual("number of successful entries", len(out.Successful), 10)
	s.wantCounts(url, counts{}, "in the end")
}

func (s *session) changeVisibilityBatch() {
	url := s.create("", map[string]string{"VisibilityTimeout": "60"})
	must(s.sqs.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{QueueUrl: url, Entries: entries(3)}))(s.T)
	batch := []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("garbage"), ReceiptHandle: aws.String("not a receipt handle")},
	}
	received := s.receiveN(url, 3)
	for i, m := range received {
		e := types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle}
		if i == 0 {
			e.VisibilityTimeout = 120
		}
		batch = append(batch, e)
	}
	out := must(s.sqs.ChangeMessageVisibilityBatch(s.Context(), &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url, Entries: batch}))(s.T)
	s.wantEqual("failed entries", failures(out.Failed), []string{"garbage ReceiptHandleIsInvalid"})
	s.wantEqual("number of successful entries", len(out.Successful), 3)
	s.wantCounts(url, counts{visible: 2, inFlight: 1}, "after the batch")
	for _, m := range s.receiveN(url, 2) {
		if *m.MessageId == *received[0].MessageId {
			s.Error("the message that was held longer came back")
		}
		s.wantEqual("ApproximateReceiveCount", m.Attributes["ApproximateReceiveCount"], "2")
	}
}

// batchErrors are what makes a whole batch fail, of each of the three kinds.
func (s *session) batchErrors() {
	ctx, url := s.Context(), s.create("", nil)
	kinds := []func(ids []string) error{
		func(ids []string) error {
			in := &sqs.SendMessageBatchInput{QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{}}
			for _, id := range ids {
				in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("x")})
			}
			_, err := s.sqs.SendMessageBatch(ctx, in)
			return err
		},
		func(ids []string) error {
			in := &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{}}
			for _, id := range ids {
				in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: aws.String("x")})
			}
			_, err := s.sqs.DeleteMessageBatch(ctx, in)
			return err
		},
		func(ids []string) error {
			in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{}}
			for _, id := range ids {
				in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: &id, ReceiptHandle: aws.String("x")})
			}
			_, err := s.sqs.ChangeMessageVisibilityBatch(ctx, in)
			return err
		},
	}
	const prefix = "AWS.SimpleQueueService."
	for _, call := range kinds {
		refusedAs[*types.EmptyBatchRequest](s, call(nil), prefix+"EmptyBatchRequest")
		eleven := strings.Split("0 1 2 3 4 5 6 7 8 9 10", " ")
		refusedAs[*types.TooManyEntriesInBatchRequest](s, call(eleven), prefix+"TooManyEntriesInBatchRequest")
		refusedAs[*types.BatchEntryIdsNotDistinct](s, call([]string{"a", "b", "a"}), prefix+"BatchEntryIdsNotDistinct")
		refusedAs[*types.InvalidBatchEntryId](s, call([]string{"a", "b c"}), prefix+"InvalidBatchEntryId")
	}
	// The sum of the bodies, 1 MiB and one byte, is too long; no entry is.
	long := entries(2)
	long[0].MessageBody = aws.String(strings.Repeat("x", 1<<19))
	long[1].MessageBody = aws.String(strings.Repeat("y", 1<<19+1))
	_, err := s.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: long})
	refusedAs[*types.BatchRequestTooLong](s, err, prefix+"BatchRequestTooLong")
	s.wantCounts(url, counts{}, "after batches that were refused")
}
