package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// fifoSteps are the steps about FIFO queues, as in boto3/fifo_steps.py.
var fifoSteps = []goStep{
	{"fifo-queue", (*session).fifoQueue},
	{"fifo-groups", (*session).fifoGroups},
	{"fifo-batch", (*session).fifoBatch},
	{"fifo-deduplication", (*session).fifoDeduplication},
	{"fifo-receive-attempt", (*session).fifoReceiveAttempt},
	{"fifo-dead-letter", (*session).fifoDeadLetter},
	{"fifo-errors", (*session).fifoErrors},
}

// createFIFO makes a FIFO queue of the step and returns its URL.
func (s *session) createFIFO(suffix string, attributes map[string]string) *string {
	s.Helper()
	all := map[string]string{"FifoQueue": "true"}
	for name, value := range attributes {
		all[name] = value
	}
	return s.create(suffix+".fifo", all)
}

// sendFIFO sends a body to the group of its first letter.
func (s *session) sendFIFO(url *string, body, deduplicationID string) *sqs.SendMessageOutput {
	s.Helper()
	in := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body, MessageGroupId: aws.String(body[:1])}
	if deduplicationID != "" {
		in.MessageDeduplicationId = &deduplicationID
	}
	return must(s.sqs.SendMessage(s.Context(), in))(s.T)
}

// receiveTen is one receive of up to ten messages with all they have.
func (s *session) receiveTen(url *string) []types.Message {
	s.Helper()
	return s.receive(&sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: 10,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
}

// bodies are those of the messages, or of the ones of a group if one is named.
func bodies(messages []types.Message, group ...string) []string {
	var all []string
	for _, m := range messages {
		if len(group) == 0 || slices.Contains(group, m.Attributes["MessageGroupId"]) {
			all = append(all, *m.Body)
		}
	}
	return all
}

func (s *session) fifoQueue() {
	ctx, url := s.Context(), s.createFIFO("", nil)
	names := []types.QueueAttributeName{
		types.QueueAttributeNameFifoQueue, types.QueueAttributeNameContentBasedDeduplication,
		types.QueueAttributeNameDeduplicationScope, types.QueueAttributeNameFifoThroughputLimit,
	}
	s.wantEqual("attributes of a new queue", s.attributes(url, names...), map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
	})
	fast := map[string]string{
		"ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	}
	must(s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: fast}))(s.T)
	s.wantEqual("attributes of high throughput", s.attributes(url, names[1:]...), fast)
	_, err := s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &s.name, Attributes: map[string]string{"FifoQueue": "true"}})
	s.refused(err, "InvalidParameterValue")
	_, err = s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(s.name + "-2.fifo")})
	s.refused(err, "InvalidParameterValue")
	must(s.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url}))(s.T)
	_, err = s.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(s.name + ".fifo")})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)
}

var sequenceNumber = regexp.MustCompile(`^[0-9]{20}$`)

func (s *session) fifoGroups() {
	url := s.createFIFO("", nil)
	var sequence []string
	for _, body := range []string{"a0", "b0", "a1", "b1", "a2"} {
		n := *s.sendFIFO(url, body, body).SequenceNumber
		if !sequenceNumber.MatchString(n) || len(sequence) > 0 && n <= sequence[len(sequence)-1] {
			s.Errorf("sequence number of %s: got %s after %v, want more, of 20 digits", body, n, sequence)
		}
		sequence = append(sequence, n)
	}
	all := []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}
	first := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url, MessageSystemAttributeNames: all})
	got := []string{
		*first.Body, first.Attributes["MessageGroupId"], first.Attributes["MessageDeduplicationId"], first.Attributes["SequenceNumber"],
	}
	s.wantEqual("first message", got, []string{"a0", "a", "a0", sequence[0]})
	others := s.receiveTen(url)
	s.wantEqual("bodies while group a is locked", bodies(others), []string{"b0", "b1"})
	s.wantEqual("bodies while both groups are locked", bodies(s.receiveTen(url)), []string{})
	s.changeVisibility(url, first.ReceiptHandle, 0)
	again := s.receiveTen(url)
	s.wantEqual("bodies of group a after it was let go", bodies(again), []string{"a0", "a1", "a2"})
	for _, m := range append(again, others...) {
		s.delete(url, m.ReceiptHandle)
	}
	s.wantCounts(url, counts{}, "in the end")

	// A purge takes the locks away with the messages.
	s.sendFIFO(url, "c0", "c0")
	s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url})
	must(s.sqs.PurgeQueue(s.Context(), &sqs.PurgeQueueInput{QueueUrl: url}))(s.T)
	s.sendFIFO(url, "c1", "c1")
	if m := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url}); *m.Body != "c1" {
		s.Errorf("body sent to the locked group after the purge: got %q, want %q", *m.Body, "c1")
	}
}

func (s *session) fifoBatch() {
	url := s.createFIFO("", nil)
	want := []string{"a0", "b1", "a2", "b3", "a4", "b5", "a6", "b7", "a8"}
	var entries []types.SendMessageBatchRequestEntry
	for _, body := range want {
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: aws.String("e-" + body), MessageBody: aws.String(body), MessageGroupId: aws.String(body[:1]),
			MessageDeduplicationId: aws.String(body),
		})
	}
	again := entries[7]
	again.Id, again.MessageBody = aws.String("again"), aws.String("b again")
	out := must(s.sqs.SendMessageBatch(s.Context(), &sqs.SendMessageBatchInput{QueueUrl: url, Entries: append(entries, again)}))(s.T)
	if len(out.Successful) != 10 || len(out.Failed) != 0 {
		s.Fatalf("entries: got %d that went well and %d that failed, want 10 and none", len(out.Successful), len(out.Failed))
	}
	if one, two := out.Successful[7], out.Successful[9]; *one.MessageId != *two.MessageId || *one.SequenceNumber != *two.SequenceNumber {
		s.Errorf("duplicate: got %s %s, want %s %s", *two.MessageId, *two.SequenceNumber, *one.MessageId, *one.SequenceNumber)
	}
	got := s.receiveN(url, 9)
	s.wantEqual("bodies of group a", bodies(got, "a"), []string{"a0", "a2", "a4", "a6", "a8"})
	s.wantEqual("bodies of group b", bodies(got, "b"), []string{"b1", "b3", "b5", "b7"})
}

func (s *session) fifoDeduplication() {
	url := s.createFIFO("", nil)
	sent := s.sendFIFO(url, "a first", "same")
	again := func(when, body string) {
		if got := s.sendFIFO(url, body, "same"); *got.MessageId != *sent.MessageId || *got.SequenceNumber != *sent.SequenceNumber {
			s.Errorf("a send again %s: got %s %s, want %s %s", when,
				*got.MessageId, *got.SequenceNumber, *sent.MessageId, *sent.SequenceNumber)
		}
	}
	again("at once", "a second")
	got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url})
	if *got.Body != "a first" {
		s.Errorf("body: got %q, want %q", *got.Body, "a first")
	}
	s.delete(url, got.ReceiptHandle)
	again("after the delete", "b third")
	s.wantCounts(url, counts{}, "after the delete")

	content := s.createFIFO("-content", map[string]string{"ContentBasedDeduplication": "true"})
	for _, id := range []string{"", "", "other"} {
		s.sendFIFO(content, "same body", id)
	}
	var ids []string
	for _, m := range s.receiveN(content, 2) {
		ids = append(ids, m.Attributes["MessageDeduplicationId"])
	}
	sum := sha256.Sum256([]byte("same body"))
	s.wantEqual("deduplication ids", ids, []string{hex.EncodeToString(sum[:]), "other"})
}

func (s *session) fifoReceiveAttempt() {
	url := s.createFIFO("", nil)
	s.sendFIFO(url, "a0", "a0")
	s.sendFIFO(url, "a1", "a1")
	attempt := func(id string) (ids []string) {
		for _, m := range s.receive(&sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, ReceiveRequestAttemptId: &id}) {
			ids = append(ids, *m.MessageId)
		}
		return ids
	}
	first := attempt("one")
	if len(first) != 2 {
		s.Errorf("messages of the first attempt: got %d, want 2", len(first))
	}
	s.wantEqual("ids of the attempt again", attempt("one"), first)
	s.wantEqual("ids of another attempt", attempt("two"), []string{})
}

func (s *session) fifoDeadLetter() {
	ctx, dead := s.Context(), s.createFIFO("-dead", nil)
	url := s.createFIFO("", map[string]string{"RedrivePolicy": redrive(s.arn(dead), 1)})
	for _, body := range []string{"a0", "a1", "a2"} {
		s.sendFIFO(url, body, body)
	}
	for _, m := range s.receiveN(url, 3) {
		s.changeVisibility(url, m.ReceiptHandle, 0)
	}
	s.wantEqual("bodies in the source after maxReceiveCount receives", bodies(s.receiveTen(url)), []string{})
	got := s.receiveN(dead, 3)
	s.wantEqual("dead letters of group a", bodies(got, "a"), []string{"a0", "a1", "a2"})
	if arn := got[0].Attributes["DeadLetterQueueSourceArn"]; arn != s.arn(url) {
		s.Errorf("DeadLetterQueueSourceArn: got %q, want %q", arn, s.arn(url))
	}
	_, err := s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: map[string]string{"RedrivePolicy": redrive(s.arn(s.create("-standard", nil)), 1)},
	})
	s.refused(err, "InvalidParameterValue")
}

func (s *session) fifoErrors() {
	url, standard := s.createFIFO("", nil), s.create("-standard", nil)
	for _, tt := range []struct {
		name, code string
		in         sqs.SendMessageInput
	}{
		{"no group", "MissingParameter", sqs.SendMessageInput{MessageDeduplicationId: aws.String("a")}},
		{"no deduplication id", "InvalidParameterValue", sqs.SendMessageInput{MessageGroupId: aws.String("a")}},
		{"delay", "InvalidParameterValue", sqs.SendMessageInput{
			MessageGroupId: aws.String("a"), MessageDeduplicationId: aws.String("a"), DelaySeconds: 1,
		}},
		{"characters of the group", "InvalidParameterValue", sqs.SendMessageInput{
			MessageGroupId: aws.String("no spaces"), MessageDeduplicationId: aws.String("a"),
		}},
	} {
		s.Run(tt.name, func(t *testing.T) {
			tt.in.QueueUrl, tt.in.MessageBody = url, aws.String("x")
			_, err := s.sqs.SendMessage(t.Context(), &tt.in)
			(&session{T: t}).refused(err, tt.code)
		})
	}
	_, err := s.sqs.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: standard, ReceiveRequestAttemptId: aws.String("a")})
	s.refused(err, "InvalidParameterValue")
	s.wantCounts(url, counts{}, "in the end")
}
