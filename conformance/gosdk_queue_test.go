package conformance_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// noQueue is the query protocol's code for types.QueueDoesNotExist.
const noQueue = "AWS.SimpleQueueService.NonExistentQueue"

func (s *session) arn(url *string) string {
	s.Helper()
	arn := s.attributes(url, types.QueueAttributeNameQueueArn)["QueueArn"]
	if arn == "" {
		s.Fatal("QueueArn: got none")
	}
	return arn
}

func redrive(arn string, maxReceives int) string {
	policy, _ := json.Marshal(map[string]any{"deadLetterTargetArn": arn, "maxReceiveCount": maxReceives})
	return string(policy)
}

func (s *session) createQueue() {
	deadARN := s.arn(s.create("-dead", nil))
	want := map[string]string{
		"VisibilityTimeout":             "7",
		"DelaySeconds":                  "3",
		"MessageRetentionPeriod":        "3600",
		"ReceiveMessageWaitTimeSeconds": "2",
		"MaximumMessageSize":            "2048",
		"RedrivePolicy":                 redrive(deadARN, 3),
	}
	url := s.create("", want)
	pattern := regexp.MustCompile("^" + regexp.QuoteMeta(strings.TrimSuffix(s.endpoint.url, "/")) + "/([0-9]{12})/" + s.name + "$")
	path := pattern.FindStringSubmatch(*url)
	if path == nil {
		s.Fatalf("queue URL: got %s, want a match of %s", *url, pattern)
	}
	s.wantEqual("URL when created again with the same attributes", s.create("", want), url)
	s.wantEqual("URL when created again without attributes", s.create("", nil), url)
	s.wantEqual("GetQueueUrl", must(s.sqs.GetQueueUrl(s.Context(), &sqs.GetQueueUrlInput{QueueName: &s.name}))(s.T).QueueUrl, url)
	_, err := s.sqs.CreateQueue(s.Context(), &sqs.CreateQueueInput{
		QueueName: &s.name, Attributes: map[string]string{"VisibilityTimeout": "8"},
	})
	refusedAs[*types.QueueNameExists](s, err, "QueueAlreadyExists")

	got := s.attributes(url, types.QueueAttributeNameAll)
	for name, value := range want {
		if name != "RedrivePolicy" && got[name] != value {
			s.Errorf("%s: got %q, want %q", name, got[name], value)
		}
	}
	var policy struct {
		DeadLetterTargetARN string `json:"deadLetterTargetArn"`
		MaxReceiveCount     int    `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(got["RedrivePolicy"]), &policy); err != nil {
		s.Fatalf("RedrivePolicy %q: %v", got["RedrivePolicy"], err)
	}
	if policy.DeadLetterTargetARN != deadARN || policy.MaxReceiveCount != 3 {
		s.Errorf("RedrivePolicy: got %+v, want %s and 3", policy, deadARN)
	}
	arn := regexp.MustCompile("^arn:aws:sqs:[a-z0-9-]+:" + path[1] + ":" + s.name + "$")
	if !arn.MatchString(got["QueueArn"]) {
		s.Errorf("QueueArn: got %s, want a match of %s", got["QueueArn"], arn)
	}
}

func (s *session) listQueues() {
	var want []string
	for _, suffix := range []string{"-a-0", "-a-1", "-a-2", "-a-3", "-a-4"} {
		want = append(want, *s.create(suffix, nil))
	}
	other := *s.create("-b", nil)
	prefix := aws.String(s.name + "-a-")

	out := must(s.sqs.ListQueues(s.Context(), &sqs.ListQueuesInput{QueueNamePrefix: prefix}))(s.T)
	s.wantEqual("queues with the prefix", slices.Sorted(slices.Values(out.QueueUrls)), want)
	if out.NextToken != nil {
		s.Errorf("NextToken without MaxResults: got %q, want none", *out.NextToken)
	}
	all := must(s.sqs.ListQueues(s.Context(), &sqs.ListQueuesInput{}))(s.T).QueueUrls
	for _, url := range append([]string{other}, want...) {
		if !slices.Contains(all, url) {
			s.Errorf("all queues: %s is not among %v", url, all)
		}
	}

	var got []string
	var sizes []int
	pages := sqs.NewListQueuesPaginator(s.sqs, &sqs.ListQueuesInput{QueueNamePrefix: prefix, MaxResults: aws.Int32(2)})
	for pages.HasMorePages() && len(sizes) <= len(want) {
		page, err := pages.NextPage(s.Context())
		if err != nil {
			s.Fatal(err)
		}
		got = append(got, page.QueueUrls...)
		sizes = append(sizes, len(page.QueueUrls))
	}
	s.wantEqual("queues by pages of two", slices.Sorted(slices.Values(got)), want)
	s.wantEqual("sizes of the pages", sizes, []int{2, 2, 1})
}

func (s *session) queueAttributes() {
	url := s.create("", nil)
	got := s.attributes(url, types.QueueAttributeNameAll)
	for name, want := range map[string]string{
		"VisibilityTimeout":                     "30",
		"DelaySeconds":                          "0",
		"MessageRetentionPeriod":                "345600",
		"ReceiveMessageWaitTimeSeconds":         "0",
		"MaximumMessageSize":                    "1048576",
		"ApproximateNumberOfMessages":           "0",
		"ApproximateNumberOfMessagesNotVisible": "0",
		"ApproximateNumberOfMessagesDelayed":    "0",
	} {
		if got[name] != want {
			s.Errorf("%s of a new queue: got %q, want %q", name, got[name], want)
		}
	}
	must(s.sqs.SetQueueAttributes(s.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: map[string]string{"VisibilityTimeout": "43200", "DelaySeconds": "900"},
	}))(s.T)
	got = s.attributes(url, types.QueueAttributeNameVisibilityTimeout, types.QueueAttributeNameDelaySeconds)
	s.wantEqual("two attributes by name", got, map[string]string{"VisibilityTimeout": "43200", "DelaySeconds": "900"})
}

func (s *session) countsAndPurge() {
	url := s.create("", map[string]string{"VisibilityTimeout": "60"})
	for range 3 {
		s.send(url, "now")
	}
	must(s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("later"), DelaySeconds: 600,
	}))(s.T)
	s.wantCounts(url, counts{3, 0, 1}, "after sending")
	first := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url})
	s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url})
	s.wantCounts(url, counts{1, 2, 1}, "after receiving two")
	s.delete(url, first.ReceiptHandle)
	s.wantCounts(url, counts{1, 1, 1}, "after deleting one")

	must(s.sqs.PurgeQueue(s.Context(), &sqs.PurgeQueueInput{QueueUrl: url}))(s.T)
	s.wantCounts(url, counts{}, "after the purge")
	_, err := s.sqs.PurgeQueue(s.Context(), &sqs.PurgeQueueInput{QueueUrl: url})
	refusedAs[*types.PurgeQueueInProgress](s, err, "AWS.SimpleQueueService.PurgeQueueInProgress", http.StatusForbidden)
	s.send(url, "after")
	if got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url}); *got.Body != "after" {
		s.Errorf("body after the purge: got %q, want %q", *got.Body, "after")
	}
}

func (s *session) deadLetter() {
	dead := s.create("-dead", nil)
	url := s.create("", map[string]string{"RedrivePolicy": redrive(s.arn(dead), 2)})
	source := s.arn(url)
	sent := s.send(url, "poison")
	all := []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}
	for _, want := range []string{"1", "2"} {
		got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: url, MessageSystemAttributeNames: all})
		if n := got.Attributes["ApproximateReceiveCount"]; n != want {
			s.Errorf("ApproximateReceiveCount in the source: got %s, want %s", n, want)
		}
		s.changeVisibility(url, got.ReceiptHandle, 0)
	}
	if got := s.receive(&sqs.ReceiveMessageInput{QueueUrl: url}); len(got) != 0 {
		s.Errorf("messages in the source after two receives: got %d, want none", len(got))
	}
	got := s.receiveOne(&sqs.ReceiveMessageInput{QueueUrl: dead, MessageSystemAttributeNames: all})
	if *got.MessageId != *sent.MessageId || *got.Body != "poison" {
		s.Errorf("message in the dead-letter queue: got %s %q, want %s %q", *got.MessageId, *got.Body, *sent.MessageId, "poison")
	}
	if arn := got.Attributes["DeadLetterQueueSourceArn"]; arn != source {
		s.Errorf("DeadLetterQueueSourceArn: got %q, want %q", arn, source)
	}
	s.wantCounts(url, counts{}, "in the source")
	s.wantCounts(dead, counts{inFlight: 1}, "in the dead-letter queue")
}

func (s *session) deleteQueue() {
	url := s.create("", nil)
	s.send(url, "lost with its queue")
	must(s.sqs.DeleteQueue(s.Context(), &sqs.DeleteQueueInput{QueueUrl: url}))(s.T)
	_, err := s.sqs.GetQueueUrl(s.Context(), &sqs.GetQueueUrlInput{QueueName: &s.name})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)
	_, err = s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("x")})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)
	out := must(s.sqs.ListQueues(s.Context(), &sqs.ListQueuesInput{QueueNamePrefix: &s.name}))(s.T)
	s.wantEqual("queues left", out.QueueUrls, []string{})
}

func (s *session) queueErrors() {
	ctx, url := s.Context(), s.create("", nil)
	nowhere := aws.String(*url + "-nowhere")
	start := time.Now()
	_, err := s.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: nowhere, WaitTimeSeconds: 20})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)
	if took := time.Since(start); took > 10*time.Second {
		s.Errorf("long poll on an unknown queue: was refused after %v, want at once", took)
	}
	_, err = s.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: nowhere})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)
	_, err = s.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: nowhere})
	refusedAs[*types.QueueDoesNotExist](s, err, noQueue)

	_, err = s.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("no spaces")})
	s.refused(err, "InvalidParameterValue")
	for name, value := range map[string]string{
		"VisibilityTimeout": "43201", "DelaySeconds": "901", "MessageRetentionPeriod": "59",
		"ReceiveMessageWaitTimeSeconds": "21", "MaximumMessageSize": "1048577", "RedrivePolicy": "not JSON",
	} {
		_, err := s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
			QueueUrl: url, Attributes: map[string]string{name: value},
		})
		if name == "RedrivePolicy" {
			s.refused(err, "InvalidParameterValue")
			continue
		}
		refusedAs[*types.InvalidAttributeValue](s, err, "InvalidAttributeValue")
	}
	_, err = s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: map[string]string{"Colour": "red"},
	})
	refusedAs[*types.InvalidAttributeName](s, err, "InvalidAttributeName")
}
