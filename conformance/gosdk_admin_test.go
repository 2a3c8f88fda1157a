package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// adminSteps are about what stands around queues, as in boto3/admin_steps.py.
var adminSteps = []goStep{
	{"tags", (*session).tags},
	{"permissions", (*session).permissions},
	{"dead-letter-sources", (*session).deadLetterSources},
	{"move-tasks", (*session).moveTasks},
}

func (s *session) tags() {
	ctx := s.Context()
	url := must(s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: &s.name, Tags: map[string]string{"team": "blue", "empty": ""},
	}))(s.T).QueueUrl
	want := func(when string, tags map[string]string) {
		s.Helper()
		s.wantEqual("tags "+when, must(s.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: url}))(s.T).Tags, tags)
	}
	want("of a new queue", map[string]string{"team": "blue", "empty": ""})
	must(s.sqs.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: map[string]string{"team": "grün", "a b": `&<>"`}}))(s.T)
	must(s.sqs.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: url, TagKeys: []string{"empty", "never there"}}))(s.T)
	want("after changes", map[string]string{"team": "grün", "a b": `&<>"`})
	many := make(map[string]string)
	for i := range 49 {
		many["t"+strconv.Itoa(i)] = ""
	}
	_, err := s.sqs.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: many})
	s.refused(err, "InvalidParameterValue")
}

func (s *session) permissions() {
	ctx, url := s.Context(), s.create("", nil)
	arn := s.arn(url)
	in := sqs.AddPermissionInput{
		QueueUrl: url, Label: aws.String("one"), AWSAccountIds: []string{strings.Split(arn, ":")[4]}, Actions: []string{"SendMessage"},
	}
	must(s.sqs.AddPermission(ctx, &in))(s.T)
	_, err := s.sqs.AddPermission(ctx, &in)
	s.refused(err, "InvalidParameterValue")
	in.Label, in.Actions = aws.String("two"), strings.Split(strings.Repeat("*", 8), "")
	_, err = s.sqs.AddPermission(ctx, &in)
	refusedAs[*types.OverLimit](s, err, "OverLimit", http.StatusForbidden)

	var policy struct {
		Statement []struct{ Sid, Action, Resource string }
	}
	text := s.attributes(url, types.QueueAttributeNamePolicy)["Policy"]
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		s.Fatalf("Policy %q: %v", text, err)
	}
	got := fmt.Sprint(policy.Statement)
	if want := fmt.Sprintf("[{one SQS:SendMessage %s}]", arn); got != want {
		s.Errorf("statements of the Policy: got %s, want %s", got, want)
	}
	remove := &sqs.RemovePermissionInput{QueueUrl: url, Label: aws.String("one")}
	must(s.sqs.RemovePermission(ctx, remove))(s.T)
	_, err = s.sqs.RemovePermission(ctx, remove)
	s.refused(err, "InvalidParameterValue")
	s.wantEqual("Policy when the last permission is gone", s.attributes(url, types.QueueAttributeNamePolicy), map[string]string{})
}

func (s *session) deadLetterSources() {
	dead := s.create("-dead", nil)
	policy := map[string]string{"RedrivePolicy": redrive(s.arn(dead), 1)}
	var want, got []string
	for i := range 3 {
		want = append(want, *s.create("-"+strconv.Itoa(i), policy))
	}
	pages := sqs.NewListDeadLetterSourceQueuesPaginator(s.sqs, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dead, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		got = append(got, must(pages.NextPage(s.Context()))(s.T).QueueUrls...)
	}
	s.wantEqual("sources by pages of two", got, want)
}

func (s *session) moveTasks() {
	ctx, dead := s.Context(), s.create("-dead", nil)
	arn := s.arn(dead)
	url := s.create("", map[string]string{"RedrivePolicy": redrive(arn, 1)})
	to := s.arn(s.create("-other", nil))
	for i := range 5 {
		s.send(url, strconv.Itoa(i))
	}
	kill := func() {
		s.Helper()
		for _, m := range s.receiveN(url, 5) {
			s.changeVisibility(url, m.ReceiptHandle, 0)
		}
		if got := s.receive(&sqs.ReceiveMessageInput{QueueUrl: url}); len(got) != 0 {
			s.Errorf("messages in the source after maxReceiveCount receives: got %d, want none", len(got))
		}
	}
	kill()
	tasks := func() []types.ListMessageMoveTasksResultEntry {
		s.Helper()
		return must(s.sqs.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &arn, MaxResults: aws.Int32(10)}))(s.T).Results
	}

	_, err := s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(s.arn(url))})
	s.refused(err, "InvalidParameterValue")
	_, err = s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(arn + "-nowhere")})
	refusedAs[*types.ResourceNotFoundException](s, err, "ResourceNotFoundException", http.StatusNotFound)
	must(s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &arn}))(s.T)
	task := tasks()[0]
	for deadline := time.Now().Add(10 * time.Second); *task.Status == "RUNNING" && time.Now().Before(deadline); {
		task = tasks()[0]
	}
	if *task.Status != "COMPLETED" || task.ApproximateNumberOfMessagesMoved != 5 || aws.ToInt64(task.ApproximateNumberOfMessagesToMove) != 5 {
		s.Errorf("first task: got %s with %d moved of %d, want COMPLETED with 5 of 5",
			*task.Status, task.ApproximateNumberOfMessagesMoved, aws.ToInt64(task.ApproximateNumberOfMessagesToMove))
	}

	// Back again, and to another queue, one a second, and cancelled.
	kill()
	handle := must(s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{
		SourceArn: &arn, DestinationArn: &to, MaxNumberOfMessagesPerSecond: aws.Int32(1),
	}))(s.T).TaskHandle
	_, err = s.sqs.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &arn})
	s.refused(err, "InvalidParameterValue")
	if task = tasks()[0]; aws.ToString(task.TaskHandle) != *handle || *task.Status != "RUNNING" || aws.ToString(task.DestinationArn) != to {
		s.Errorf("second task: got %s to %s, want RUNNING to %s", *task.Status, aws.ToString(task.DestinationArn), to)
	}
	out := must(s.sqs.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: handle}))(s.T)
	if out.ApproximateNumberOfMessagesMoved > 4 {
		s.Errorf("messages moved before the cancel: got %d, want at most 4", out.ApproximateNumberOfMessagesMoved)
	}
	if task = tasks()[0]; !strings.HasPrefix(*task.Status, "CANCELL") {
		s.Errorf("second task after the cancel: got %s, want CANCELLING or CANCELLED", *task.Status)
	}
}
