package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel"
)

// client is Amazon's own client.
func (r *running) client() *client.Client {
	return client.New(client.Options{
		BaseEndpoint: aws.String(r.URL()), Region: "us-east-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
}

// urlOf is the URL of a queue that need not be there.
func (r *running) urlOf(name string) *string { return aws.String(r.URL() + "/000000000000/" + name) }

func (r *running) attributes(t *testing.T, name string) map[string]string {
	t.Helper()
	out, err := r.client().GetQueueAttributes(t.Context(), &client.GetQueueAttributesInput{QueueUrl: r.urlOf(name), AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		t.Fatalf("attributes of %s: %v", name, err)
	}
	return out.Attributes
}

func (r *running) queueNames(t *testing.T) (names []string) {
	t.Helper()
	out, err := r.client().ListQueues(t.Context(), &client.ListQueuesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range out.QueueUrls {
		names = append(names, url[strings.LastIndexByte(url, '/')+1:])
	}
	return names
}

func mustApply(t *testing.T, r *running, name, spec string, want ...string) {
	t.Helper()
	status, out := r.apply(t, name, spec, nil, false)
	if status != 200 {
		t.Fatalf("apply: got %d %+v", status, out.Error)
	}
	if diff := cmp.Diff(want, out.short()); diff != "" {
		t.Errorf("apply (-want +got):\n%s", diff)
	}
}

const celerySpec = `
queues: {celery-dead: {}}
queue_templates:
  - {match: celery-slow*, visibility_timeout: 1h}
  - {match: celery*, visibility_timeout: 1m, dead_letter: {queue: celery-dead, max_receives: 3}, tags: {app: shop}}
  - {match: "*.fifo", content_based_deduplication: true}
`

// TestQueueTemplates: each way to use a queue first makes it, as the first
// template that matches says, and then it is a queue like others.
func TestQueueTemplates(t *testing.T) {
	t.Parallel()
	r := start(t, config(t))
	c, ctx := r.client(), t.Context()
	mustApply(t, r, "app.yaml", celerySpec, "queue celery-dead created",
		"queue template celery-slow* created", "queue template celery* created", "queue template *.fifo created")

	for name, use := range map[string]func(url *string) error{
		"url": func(*string) error {
			out, err := c.GetQueueUrl(ctx, &client.GetQueueUrlInput{QueueName: aws.String("celery-url")})
			if err == nil && *out.QueueUrl != *r.urlOf("celery-url") {
				t.Errorf("got the URL %s", *out.QueueUrl)
			}
			return err
		},
		"send": func(url *string) error {
			_, err := c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: url, MessageBody: aws.String("x")})
			return err
		},
		"batch": func(url *string) error {
			_, err := c.SendMessageBatch(ctx, &client.SendMessageBatchInput{QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("a"), MessageBody: aws.String("x")}}})
			return err
		},
		"receive": func(url *string) error {
			_, err := c.ReceiveMessage(ctx, &client.ReceiveMessageInput{QueueUrl: url})
			return err
		},
		"attributes": func(url *string) error {
			_, err := c.GetQueueAttributes(ctx, &client.GetQueueAttributesInput{QueueUrl: url})
			return err
		},
		"native": func(*string) error {
			status, text := r.call(t, "POST", "/api/v1/queues/celery-native/messages", map[string][]string{"Content-Type": {"application/json"}}, `{"messages":[{"body":"x"}]}`)
			if status != 200 {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		},
	} {
		queue := "celery-" + name
		if err := use(r.urlOf(queue)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := r.attributes(t, queue)
		if got["VisibilityTimeout"] != "60" || got["RedrivePolicy"] != `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:celery-dead","maxReceiveCount":3}` {
			t.Errorf("%s: got %v", name, got)
		}
		tags, err := c.ListQueueTags(ctx, &client.ListQueueTagsInput{QueueUrl: r.urlOf(queue)})
		if err != nil || tags.Tags["app"] != "shop" {
			t.Errorf("%s: tags %v, %v", name, tags, err)
		}
	}
	if got := r.attributes(t, "celery-slow-1"); got["VisibilityTimeout"] != "3600" || got["RedrivePolicy"] != "" {
		t.Errorf("the first that matches: got %v", got)
	}
	// The dead-letter queue of celery* is a standard one.
	if got := r.attributes(t, "celery.fifo"); got["FifoQueue"] != "true" || got["ContentBasedDeduplication"] != "true" || got["VisibilityTimeout"] != "30" {
		t.Errorf("celery.fifo: got %v", got)
	}

	// What is no first use makes none; what no template matches is not there.
	before := r.queueNames(t)
	var missing *types.QueueDoesNotExist
	for name, use := range map[string]func() error{
		"url of another name": func() error {
			_, err := c.GetQueueUrl(ctx, &client.GetQueueUrlInput{QueueName: aws.String("orders")})
			return err
		},
		"send to another name": func() error {
			_, err := c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: r.urlOf("orders"), MessageBody: aws.String("x")})
			return err
		},
		"purge": func() error {
			_, err := c.PurgeQueue(ctx, &client.PurgeQueueInput{QueueUrl: r.urlOf("celery-none")})
			return err
		},
		"delete": func() error {
			_, err := c.DeleteQueue(ctx, &client.DeleteQueueInput{QueueUrl: r.urlOf("celery-none")})
			return err
		},
	} {
		if err := use(); !errors.As(err, &missing) {
			t.Errorf("%s: got %v, want QueueDoesNotExist", name, err)
		}
	}
	if diff := cmp.Diff(before, r.queueNames(t)); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}

	// Nobody owns it.
	if _, err := c.SetQueueAttributes(ctx, &client.SetQueueAttributesInput{QueueUrl: r.urlOf("celery-send"), Attributes: map[string]string{"DelaySeconds": "1"}}); err != nil {
		t.Errorf("set attributes: %v", err)
	}
	if _, err := c.DeleteQueue(ctx, &client.DeleteQueueInput{QueueUrl: r.urlOf("celery-send")}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if got := r.attributes(t, "celery-send"); got["DelaySeconds"] != "0" {
		t.Errorf("made again: got %v", got)
	}
}

// TestQueueTemplatesOnce: however many use a queue first at once, there is one,
// and what they sent is in it.
func TestQueueTemplatesOnce(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var log syncBuffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := start(t, cfg)
	mustApply(t, r, "app.yaml", "queue_templates: [{match: c*}]", "queue template c* created")
	const queues, users = 5, 12
	var wg sync.WaitGroup
	for q := range queues {
		for range users {
			wg.Go(func() {
				_, err := r.client().SendMessage(t.Context(), &client.SendMessageInput{QueueUrl: r.urlOf(fmt.Sprint("c", q)), MessageBody: aws.String("x")})
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for q := range queues {
		if got := r.attributes(t, fmt.Sprint("c", q))["ApproximateNumberOfMessages"]; got != fmt.Sprint(users) {
			t.Errorf("c%d has %s messages, want %d", q, got, users)
		}
	}
	if n := strings.Count(log.String(), "queue made on its first use"); n != queues {
		t.Errorf("%d queues were made, want %d", n, queues)
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestQueueTemplatesStay: templates and the queues of them outlive the process;
// an apply changes templates, and leaves queues.
func TestQueueTemplatesStay(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := start(t, cfg)
	mustApply(t, r, "a.yaml", "queue_templates: [{match: c*, delay: 1s}]", "queue template c* created")
	mustApply(t, r, "b.yaml", "queue_templates: [{match: c*, delay: 2s}, {match: d*}]", "queue template c* created", "queue template d* created")
	r.attributes(t, "c1")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	for _, name := range []string{"c1", "c2"} { // a.yaml is before b.yaml
		if got := r.attributes(t, name)["DelaySeconds"]; got != "1" {
			t.Errorf("%s after a restart: delay %s, want 1", name, got)
		}
	}
	if _, out := r.apply(t, "a.yaml", "queue_templates: [{match: c*, delay: 3s}]", nil, true); out.short()[0] != "queue template c* changed" {
		t.Errorf("dry run: got %v", out.short())
	}
	mustApply(t, r, "a.yaml", "queue_templates: [{match: c*, delay: 1s}]", "queue template c* unchanged")
	mustApply(t, r, "a.yaml", "", "queue template c* removed")
	if got := r.attributes(t, "c3")["DelaySeconds"]; got != "2" {
		t.Errorf("without the first file: delay %s, want 2", got)
	}
	mustApply(t, r, "b.yaml", "", "queue template c* removed", "queue template d* removed")
	if diff := cmp.Diff([]string{"c1", "c2", "c3"}, r.queueNames(t)); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	var missing *types.QueueDoesNotExist
	if _, err := r.client().GetQueueUrl(t.Context(), &client.GetQueueUrlInput{QueueName: aws.String("c4")}); !errors.As(err, &missing) {
		t.Errorf("without templates: got %v", err)
	}
}

// TestQueueTemplatesReload: a reload of the server's own file changes templates,
// and a flow's sink is made of one.
func TestQueueTemplatesReload(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Handlers = map[string]runnel.Handler{"f": handlerOf(strings.ToUpper)}
	cfg.SpecFile = filepath.Join(t.TempDir(), "runnel.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(cfg.SpecFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("queues: {in: {}}\n")
	r := start(t, cfg)
	write("queues: {in: {}}\nqueue_templates: [{match: out*, delay: 0s, receive_wait: 20s}]\nflows: {x: {from: queue:in, call: f, to: [queue:out1]}}\n")
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.send(t, *r.urlOf("in"), "a")
	if got := bodies(r.receive(t, *r.urlOf("out1"))); !slices.Equal(got, []string{"A"}) { // waits, as the template says
		t.Errorf("received %v, want A", got)
	}
}

// TestApplyFIFO: FIFO queues with a dead-letter queue, and a flow between two of
// them.
func TestApplyFIFO(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Handlers = map[string]runnel.Handler{"f": runnel.HandlerFunc(func(_ context.Context, m runnel.Message) (runnel.Result, error) {
		return runnel.Result{Out: []runnel.Message{{Key: m.Key, Body: bytes.ToUpper(m.Body)}}}, nil
	})}
	r := start(t, cfg)
	c, ctx := r.client(), t.Context()
	const queues = `
queues:
  in.fifo: {content_based_deduplication: true, deduplication_scope: messageGroup, fifo_throughput_limit: perMessageGroupId, dead_letter: {queue: dead.fifo}}
  dead.fifo: {redrive_allow: {permission: byQueue, source_queues: [in.fifo]}, tags: {team: a}}
  out.fifo: {receive_wait: 20s}
`
	const spec = queues + "flows:\n  x: {from: queue:in.fifo, call: f, to: [queue:out.fifo]}\n"
	mustApply(t, r, "app.yaml", spec, "queue in.fifo created", "queue dead.fifo created", "queue out.fifo created", "flow x created")
	want := map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead.fifo","maxReceiveCount":10}`,
	}
	got := r.attributes(t, "in.fifo")
	maps.DeleteFunc(got, func(name, _ string) bool { return want[name] == "" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in.fifo (-want +got):\n%s", diff)
	}
	if got := r.attributes(t, "dead.fifo")["RedriveAllowPolicy"]; got != `{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:us-east-1:000000000000:in.fifo"]}` {
		t.Errorf("redrive allow policy: got %s", got)
	}
	for name, want := range map[string]string{
		"in.fifo":   `"fifo":{"content_based_deduplication":true,"deduplication_scope":"messageGroup","fifo_throughput_limit":"perMessageGroupId"}`,
		"dead.fifo": `"redrive_allow":{"permission":"byQueue","source_queues":["in.fifo"]},"tags":{"team":"a"}`,
	} {
		if _, text := r.call(t, "GET", "/api/v1/queues/"+name, nil, ""); !strings.Contains(text, want) {
			t.Errorf("%s: got %s, want %s in it", name, text, want)
		}
	}

	for _, body := range []string{"a", "b", "c"} {
		if _, err := c.SendMessage(ctx, &client.SendMessageInput{QueueUrl: r.urlOf("in.fifo"), MessageBody: aws.String(body), MessageGroupId: aws.String("g")}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"A", "B", "C"} {
		out, err := c.ReceiveMessage(ctx, &client.ReceiveMessageInput{QueueUrl: r.urlOf("out.fifo"), MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("received %+v, %v, want %s", out, err, want)
		}
		m := out.Messages[0]
		if *m.Body != want || m.Attributes["MessageGroupId"] != "g" {
			t.Errorf("received %s of group %s, want %s of g", *m.Body, m.Attributes["MessageGroupId"], want)
		}
		if _, err := c.DeleteMessage(ctx, &client.DeleteMessageInput{QueueUrl: r.urlOf("out.fifo"), ReceiptHandle: m.ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
	}

	// The same again changes nothing; fields of FIFO queues do change, kinds do not.
	mustApply(t, r, "app.yaml", spec, "queue in.fifo unchanged", "queue dead.fifo unchanged", "queue out.fifo unchanged", "flow x unchanged")
	next := strings.Replace(spec, "content_based_deduplication: true, ", "", 1)
	mustApply(t, r, "app.yaml", next, "queue in.fifo changed", "queue dead.fifo unchanged", "queue out.fifo unchanged", "flow x unchanged")
	if got := r.attributes(t, "in.fifo")["ContentBasedDeduplication"]; got != "false" {
		t.Errorf("content-based deduplication: got %s", got)
	}
	status, out := r.apply(t, "app.yaml", "queues:\n  in:\n    content_based_deduplication: true\n", nil, false)
	if status != 400 || len(out.Error.Faults) != 1 || out.Error.Faults[0].Line != 3 || !strings.Contains(out.Error.Faults[0].Message, "declare another one") {
		t.Errorf("a standard queue with fields of FIFO ones: got %d %+v", status, out.Error)
	}
	if status, out := r.ask(t, "PUT", "/api/v1/queues/y.fifo", map[string]any{"dead_letter": map[string]any{"queue": "in"}}); status != 400 || len(out.Error.Faults) != 2 {
		t.Errorf("a standard dead-letter queue of a FIFO queue: got %d %+v", status, out.Error)
	}
}
