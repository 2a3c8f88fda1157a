package conformance_test

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// goStep is one step of the session.
type goStep struct {
	name string
	run  func(*session)
}

// TestGoSDK is a session of aws-sdk-go-v2, with the steps of boto3/session.py.
// The SDK itself checks the MD5 of every body.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	steps := []goStep{
		{"create-queue", (*session).createQueue},
		{"list-queues", (*session).listQueues},
		{"queue-attributes", (*session).queueAttributes},
		{"counts-and-purge", (*session).countsAndPurge},
		{"dead-letter", (*session).deadLetter},
		{"delete-queue", (*session).deleteQueue},
		{"queue-errors", (*session).queueErrors},
		{"send-receive", (*session).sendReceive},
		{"attribute-filters", (*session).attributeFilters},
		{"bodies", (*session).bodies},
		{"long-poll", (*session).longPoll},
		{"visibility", (*session).visibility},
		{"delay", (*session).delay},
		{"message-errors", (*session).messageErrors},
		{"send-batch", (*session).sendBatch},
		{"receive-and-delete-batch", (*session).receiveAndDeleteBatch},
		{"change-visibility-batch", (*session).changeVisibilityBatch},
		{"batch-errors", (*session).batchErrors},
	}
	steps = append(append(steps, adminSteps...), fifoSteps...)
	for _, m := range modes() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			e := startServer(t, m)
			prefix := e.prefix("gosdk")
			for _, step := range steps {
				t.Run(step.name, func(t *testing.T) {
					step.run(&session{T: t, sqs: e.client(t, e.id, e.secret), endpoint: e, name: prefix + "-" + step.name})
				})
			}
			if e.signed {
				t.Run("signature-errors", func(t *testing.T) { signatureErrors(t, e) })
			}
		})
	}
}

// client returns a client that asks once: a retry could hide a fault of the
// server.
func (e endpoint) client(t *testing.T, id, secret string) *sqs.Client {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(),
		config.WithRegion("us-east-1"),
		config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{}),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(id, secret, "")))
	if err != nil {
		t.Fatal(err)
	}
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) {
		o.BaseEndpoint = &e.url
		o.RetryMaxAttempts = 1
	})
}

// session is one step of a client, with the name of its queue.
type session struct {
	*testing.T
	sqs      *sqs.Client
	endpoint endpoint
	name     string
}

// must returns the answer of a call that has to succeed.
func must[T any](out *T, err error) func(t *testing.T) *T {
	return func(t *testing.T) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// create makes a queue of the step and returns its URL.
func (s *session) create(suffix string, attributes map[string]string) *string {
	s.Helper()
	return must(s.sqs.CreateQueue(s.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String(s.name + suffix), Attributes: attributes,
	}))(s.T).QueueUrl
}

func (s *session) attributes(url *string, names ...types.QueueAttributeName) map[string]string {
	s.Helper()
	return must(s.sqs.GetQueueAttributes(s.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: names,
	}))(s.T).Attributes
}

// counts is how many messages a queue says it has.
type counts struct{ visible, inFlight, delayed int }

func (s *session) wantCounts(url *string, want counts, when string) {
	s.Helper()
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	all := s.attributes(url, names...)
	var n [3]int
	for i, name := range names {
		var err error
		if n[i], err = strconv.Atoi(all[string(name)]); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
	}
	if got := (counts{n[0], n[1], n[2]}); got != want {
		s.Errorf("counts %s: got %+v, want %+v", when, got, want)
	}
}

func (s *session) send(url *string, body string) *sqs.SendMessageOutput {
	s.Helper()
	return must(s.sqs.SendMessage(s.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body}))(s.T)
}

// receive is one receive; the queue is given by the input.
func (s *session) receive(in *sqs.ReceiveMessageInput) []types.Message {
	s.Helper()
	return must(s.sqs.ReceiveMessage(s.Context(), in))(s.T).Messages
}

// receiveOne receives the one message that is there or comes within 5 s.
func (s *session) receiveOne(in *sqs.ReceiveMessageInput) types.Message {
	s.Helper()
	if in.WaitTimeSeconds == 0 {
		in.WaitTimeSeconds = 5
	}
	got := s.receive(in)
	if len(got) != 1 {
		s.Fatalf("messages received: got %d, want 1", len(got))
	}
	return got[0]
}

// receiveN receives until n messages are there: a standard queue may answer
// with fewer than it has.
func (s *session) receiveN(url *string, n int) []types.Message {
	s.Helper()
	var all []types.Message
	for deadline := time.Now().Add(15 * time.Second); len(all) < n && time.Now().Before(deadline); {
		got := s.receive(&sqs.ReceiveMessageInput{
			QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if len(got) > 10 {
			s.Fatalf("messages of one receive: got %d, want at most 10", len(got))
		}
		all = append(all, got...)
	}
	if len(all) != n {
		s.Fatalf("messages received: got %d, want %d", len(all), n)
	}
	return all
}

func (s *session) changeVisibility(url, handle *string, seconds int32) {
	s.Helper()
	must(s.sqs.ChangeMessageVisibility(s.Context(), &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: handle, VisibilityTimeout: seconds,
	}))(s.T)
}

func (s *session) delete(url, handle *string) {
	s.Helper()
	must(s.sqs.DeleteMessage(s.Context(), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: handle}))(s.T)
}

// refused checks that a call failed with a code of the query protocol, which
// the SDK reports from the header x-amzn-query-error, and with a status.
func (s *session) refused(err error, code string, status ...int) {
	s.Helper()
	if len(status) == 0 {
		status = []int{http.StatusBadRequest}
	}
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	switch {
	case !errors.As(err, &api) || !errors.As(err, &response):
		s.Errorf("error: got %v, want one of the service with code %s", err, code)
	case api.ErrorCode() != code || !slices.Contains(status, response.HTTPStatusCode()):
		s.Errorf("error: got %s with status %d (%s), want %s with status %v",
			api.ErrorCode(), response.HTTPStatusCode(), api.ErrorMessage(), code, status)
	}
}

// refusedAs is refused for an error that the SDK has a type for, which it finds
// by the type in the body.
func refusedAs[E error](s *session, err error, code string, status ...int) {
	s.Helper()
	s.refused(err, code, status...)
	if _, ok := errors.AsType[E](err); !ok {
		s.Errorf("type of the error %v: got %T, want %T", err, errors.Unwrap(err), *new(E))
	}
}

// wantEqual compares; nil and empty are the same to a client.
func (s *session) wantEqual(what string, got, want any) {
	s.Helper()
	unexported := cmpopts.IgnoreUnexported(types.MessageAttributeValue{})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), unexported); diff != "" {
		s.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// attributesMD5 is MD5OfMessageAttributes: over the attributes sorted by name,
// each as length and name, length and type, one byte that says text (1) or
// binary (2), length and value. Lengths are 4 bytes, big end first.
func attributesMD5(attributes map[string]types.MessageAttributeValue) string {
	var text []byte
	add := func(b []byte) {
		text = binary.BigEndian.AppendUint32(text, uint32(len(b)))
		text = append(text, b...)
	}
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := attributes[name]
		add([]byte(name))
		add([]byte(*a.DataType))
		if strings.HasPrefix(*a.DataType, "Binary") {
			text = append(text, 2)
			add(a.BinaryValue)
		} else {
			text = append(text, 1)
			add([]byte(*a.StringValue))
		}
	}
	return md5Hex(text)
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// signatureErrors needs a server that verifies signatures.
func signatureErrors(t *testing.T, e endpoint) {
	for _, tt := range []struct {
		name, id, secret string
		want             []string // SQS has told the code in the words of either of its two protocols
	}{
		{"secret too long", e.id, e.secret + "x", []string{"SignatureDoesNotMatch", "InvalidSignatureException"}},
		{"other secret", e.id, "any", []string{"SignatureDoesNotMatch", "InvalidSignatureException"}},
		{"unknown id", "AKIAUNKNOWNUNKNOWN00", e.secret, []string{"InvalidClientTokenId", "UnrecognizedClientException"}},
	} {
		_, err := e.client(t, tt.id, tt.secret).ListQueues(t.Context(), nil)
		api, ok := errors.AsType[smithy.APIError](err)
		if !ok || !slices.Contains(tt.want, api.ErrorCode()) {
			t.Errorf("%s: got %v, want one of the codes %v", tt.name, err, tt.want)
		}
	}
}
