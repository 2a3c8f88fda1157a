package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/runnel-io/runnel/server"
)

// program is queue-demo, built by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "queue-demo-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "queue-demo")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build queue-demo: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// timeout is for what takes well under a second, on a machine that is very busy.
const timeout = 30 * time.Second

// start starts a server with the two queues of the practical.
func start(t *testing.T) (endpoint string) {
	t.Helper()
	endpoint = serve(t)
	for name, attributes := range map[string]map[string]string{
		"csse6400_prac":      nil,
		"csse6400_prac.fifo": {"FifoQueue": "true", "ContentBasedDeduplication": "true"},
	} {
		if _, err := client(endpoint).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	return endpoint
}

// serve starts a server without queues.
func serve(t *testing.T) (endpoint string) {
	t.Helper()
	s, err := server.New(server.Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Dev: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s.URL()
}

func client(endpoint string) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
}

// depths are the counts of a queue: visible, in flight and delayed, exact.
func depths(t *testing.T, endpoint, queue string) (out []string) {
	t.Helper()
	names := []types.QueueAttributeName{
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
	}
	got, err := client(endpoint).GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(endpoint + "/000000000000/" + queue), AttributeNames: names,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		out = append(out, got.Attributes[string(name)])
	}
	return out
}

// command is queue-demo with the environment of somebody who has set nothing
// for AWS but env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}, env...)
	return cmd
}

// output runs queue-demo to its end.
func output(t *testing.T, env []string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// publish runs a publisher, which must send all.
func publish(t *testing.T, endpoint, queue, name string) {
	t.Helper()
	stdout, stderr, exit := output(t, []string{"AWS_ENDPOINT_URL_SQS=" + endpoint}, "--name", queue, "--client-name", name)
	if exit != 0 || stderr != "" {
		t.Fatalf("publisher %s: exit code %d, standard error %q", name, exit, stderr)
	}
	want := []string{}
	for number := 1; number <= 100; number++ {
		want = append(want, fmt.Sprintf("[%s] sent %s", name, message(number, name)))
	}
	want = append(want, fmt.Sprintf("[%s] sent 100 messages to %s", name, queue))
	if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")); diff != "" {
		t.Errorf("publisher %s printed (-want +got):\n%s", name, diff)
	}
}

func message(number int, client string) string {
	return fmt.Sprintf("message %d of %s", number, client)
}

// series are all messages of a client, in order.
func series(client string) (out []string) {
	for number := 1; number <= 100; number++ {
		out = append(out, message(number, client))
	}
	return out
}

// subscriber is a queue-demo that receives.
type subscriber struct {
	name  string
	cmd   *exec.Cmd
	err   bytes.Buffer  // standard error; complete when ended is closed
	lines chan string   // what it prints; has room for all of it, and is not closed
	ended chan struct{} // is closed when it prints nothing any more
}

// subscribe starts a subscriber. It is waiting when it returns.
func subscribe(t *testing.T, endpoint, queue, name string) *subscriber {
	t.Helper()
	s := &subscriber{name: name, lines: make(chan string, 1000), ended: make(chan struct{})}
	s.cmd = command(t, nil, "--endpoint", endpoint, "--name", queue, "--client-name", name, "--receive")
	s.cmd.Stderr = &s.err
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	want := fmt.Sprintf("[%s] waiting for messages on %s, until Ctrl-C", name, queue)
	if got := s.take(t, 1)[0]; got != want {
		t.Fatalf("subscriber printed %q, want %q", got, want)
	}
	return s
}

// take returns the next n lines.
func (s *subscriber) take(t *testing.T, n int) (out []string) {
	t.Helper()
	deadline := time.After(timeout)
	for len(out) < n {
		select {
		case line := <-s.lines:
			out = append(out, line)
		case <-deadline:
			t.Fatalf("subscriber %s printed %d lines more, want %d", s.name, len(out), n)
		}
	}
	return out
}

// rest waits for the end of a subscriber, and returns what it printed that has
// not been taken, and its exit code.
func (s *subscriber) rest(t *testing.T) (out []string, exit int) {
	t.Helper()
	<-s.ended
	var ended *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	for range len(s.lines) {
		out = append(out, <-s.lines)
	}
	return out, s.cmd.ProcessState.ExitCode()
}

// end is Ctrl-C. It returns the rest of what the subscriber printed.
func (s *subscriber) end(t *testing.T) []string {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	out, exit := s.rest(t)
	if exit != 0 || s.err.Len() > 0 {
		t.Errorf("subscriber %s at Ctrl-C: exit code %d, standard error %q; want 0 and nothing", s.name, exit, &s.err)
	}
	return out
}

// printed is what a subscriber prints of messages.
func printed(name string, messages []string) (out []string) {
	for _, m := range messages {
		out = append(out, fmt.Sprintf("[%s] %s", name, m))
	}
	return out
}

func TestStandardQueue(t *testing.T) {
	endpoint := start(t)
	s := subscribe(t, endpoint, "csse6400_prac", "Client 2")
	publish(t, endpoint, "csse6400_prac", "Client 1")
	got := s.take(t, 100)
	// A standard queue promises no order. What it promises is that all come.
	for i, line := range got {
		got[i], _, _ = strings.Cut(line, " (out of order")
	}
	want := printed("Client 2", series("Client 1"))
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subscriber printed (-want +got):\n%s", diff)
	}
	rest := s.end(t)
	if len(rest) != 1 || !strings.HasPrefix(rest[0], "[Client 2] received 100 messages, ") {
		t.Errorf("at the end: got %q, want the sum", rest)
	}
	if diff := cmp.Diff([]string{"0", "0", "0"}, depths(t, endpoint, "csse6400_prac")); diff != "" {
		t.Errorf("left on the queue (-want +got):\n%s", diff)
	}
}

func TestFIFOQueue(t *testing.T) {
	const queue = "csse6400_prac.fifo"
	endpoint := start(t)
	s := subscribe(t, endpoint, queue, "Client 1")
	publish(t, endpoint, queue, "Client 1")
	if diff := cmp.Diff(printed("Client 1", series("Client 1")), s.take(t, 100)); diff != "" {
		t.Errorf("subscriber printed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"[Client 1] received 100 messages, 0 of them out of order"}, s.end(t)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}

	// Duplicates of the last five minutes: all are accepted, and none is there.
	publish(t, endpoint, queue, "Client 1")
	if diff := cmp.Diff([]string{"0", "0", "0"}, depths(t, endpoint, queue)); diff != "" {
		t.Errorf("messages of the second run (-want +got):\n%s", diff)
	}
	// Another client's messages are others.
	publish(t, endpoint, queue, "Client 2")
	if diff := cmp.Diff([]string{"100", "0", "0"}, depths(t, endpoint, queue)); diff != "" {
		t.Errorf("messages of another client (-want +got):\n%s", diff)
	}
	s = subscribe(t, endpoint, queue, "Client 1")
	if diff := cmp.Diff(printed("Client 1", series("Client 2")), s.take(t, 100)); diff != "" {
		t.Errorf("subscriber printed (-want +got):\n%s", diff)
	}
	s.end(t)
}

// TestMany runs three publishers and three subscribers at once.
func TestMany(t *testing.T) {
	for _, queue := range []string{"csse6400_prac", "csse6400_prac.fifo"} {
		t.Run(queue, func(t *testing.T) {
			endpoint := start(t)
			lines := make(chan string, 1000) // of all subscribers
			var forwarding sync.WaitGroup
			collected := make(chan struct{}) // is closed when all messages have come
			var subscribers []*subscriber
			for i := range 3 {
				s := subscribe(t, endpoint, queue, fmt.Sprint("reader ", i))
				subscribers = append(subscribers, s)
				forwarding.Go(func() {
					for {
						select {
						case line := <-s.lines:
							lines <- strings.TrimPrefix(line, "["+s.name+"] ")
						case <-collected:
							return
						}
					}
				})
			}
			publishers := []string{"Client 1", "Client 2", "Client 3"}
			t.Run("publish", func(t *testing.T) {
				for _, name := range publishers {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						publish(t, endpoint, queue, name)
					})
				}
			})
			arrived := map[string]int{}
			deadline := time.After(timeout)
			for range 100 * len(publishers) {
				select {
				case line := <-lines:
					line, _, _ = strings.Cut(line, " (out of order")
					arrived[line]++
				case <-deadline:
					t.Fatalf("%d messages have arrived after %v, want %d", len(arrived), timeout, 100*len(publishers))
				}
			}
			close(collected)
			forwarding.Wait()
			for _, s := range subscribers {
				rest := s.end(t)
				if len(rest) != 1 || queue == "csse6400_prac.fifo" && !strings.HasSuffix(rest[0], ", 0 of them out of order") {
					t.Errorf("at the end: got %q, want the sum, and on a FIFO queue none out of order", rest)
				}
			}
			want := map[string]int{}
			for _, name := range publishers {
				for _, m := range series(name) {
					want[m] = 1
				}
			}
			if diff := cmp.Diff(want, arrived); diff != "" {
				t.Errorf("how often each message arrived (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"0", "0", "0"}, depths(t, endpoint, queue)); diff != "" {
				t.Errorf("left on the queue (-want +got):\n%s", diff)
			}
		})
	}
}

// TestForeignMessages are those of other programs: without numbers, and one that
// a subscriber before has received and not deleted.
func TestForeignMessages(t *testing.T) {
	endpoint := start(t)
	url := aws.String(endpoint + "/000000000000/csse6400_prac")
	c := client(endpoint)
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("hello")}); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("receive: %d messages, %v", len(got.Messages), err)
	}
	back := &sqs.ChangeMessageVisibilityInput{QueueUrl: url, ReceiptHandle: got.Messages[0].ReceiptHandle}
	if _, err := c.ChangeMessageVisibility(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	s := subscribe(t, endpoint, "csse6400_prac", "Client 1")
	if got, want := s.take(t, 1)[0], "[Client 1] hello (received 2 times)"; got != want {
		t.Errorf("subscriber printed %q, want %q", got, want)
	}
	for _, number := range []string{"2", "1", "3"} {
		text := func(kind, value string) types.MessageAttributeValue {
			return types.MessageAttributeValue{DataType: &kind, StringValue: &value}
		}
		_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: url, MessageBody: &number, MessageAttributes: map[string]types.MessageAttributeValue{
				"client": text("String", "Client 2"), "number": text("Number", number), "run": text("String", "first"),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := "[Client 1] " + number
		if number == "1" {
			want += " (out of order: 2 was here before)"
		}
		if got := s.take(t, 1)[0]; got != want {
			t.Errorf("subscriber printed %q, want %q", got, want)
		}
	}
	if diff := cmp.Diff([]string{"[Client 1] received 4 messages, 1 of them out of order"}, s.end(t)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	endpoint := start(t)
	const nobody = "http://127.0.0.1:1" // no server listens there
	for _, test := range []struct {
		name string
		env  []string
		args []string
		exit int
		want string // begins standard error
	}{
		{"no queue", nil, []string{"--endpoint", endpoint, "--name", "test", "--client-name", "Client 1"}, 1, "Unable to find a Queue by this name test\n"},
		{"no queue to receive from", nil, []string{"--endpoint", endpoint, "--name", "test", "--client-name", "Client 1", "--receive"}, 1, "Unable to find a Queue by this name test\n"},
		{
			"no server",
			[]string{"AWS_ENDPOINT_URL=" + nobody},
			[]string{"--name", "csse6400_prac", "--client-name", "Client 1"},
			1, "no answer from " + nobody + " (dial tcp 127.0.0.1:1: connect: connection refused): start a server",
		},
		{"no name", nil, []string{"--client-name", "Client 1"}, 2, "queue-demo: --name is missing"},
		{"no client", nil, []string{"--name", "csse6400_prac"}, 2, "queue-demo: --client-name is missing"},
		{"name in two words", nil, []string{"--name", "csse6400_prac", "--client-name", "Client", "1"}, 2, `queue-demo: "1" is not a flag; a name with spaces needs quotes`},
		{"long name", nil, []string{"--name", "q", "--client-name", strings.Repeat("c", 129)}, 2, "queue-demo: --client-name is too long: as a message group it has 129"},
		{"bad name", nil, []string{"--name", "q", "--client-name", "a\nb"}, 2, `queue-demo: --client-name "a\nb" has characters`},
		{"bad endpoint", []string{"AWS_ENDPOINT_URL_SQS=127.0.0.1:7070"}, []string{"--name", "q", "--client-name", "c"}, 2, `queue-demo: endpoint "127.0.0.1:7070" is not an address`},
		{"unknown flag", nil, []string{"--send"}, 2, "flag provided but not defined: -send"},
		{"help", nil, []string{"--help"}, 0, "usage: queue-demo --name QUEUE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, exit := output(t, test.env, test.args...)
			if exit != test.exit || !strings.HasPrefix(stderr, test.want) || stdout != "" {
				t.Errorf("got exit code %d, standard output %q, standard error %q; want %d, nothing, %q", exit, stdout, stderr, test.exit, test.want)
			}
		})
	}
}

// TestPublisherInterrupted ends a publisher at a server that does not answer.
func TestPublisherInterrupted(t *testing.T) {
	sending := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "AmazonSQS.GetQueueUrl" {
			fmt.Fprint(w, `{"QueueUrl": "http://`+r.Host+`/000000000000/csse6400_prac"}`)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the end of a connection when it has read the request
		sending <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	cmd := command(t, nil, "--endpoint", silent.URL, "--name", "csse6400_prac", "--client-name", "Client 1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-sending:
	case <-time.After(timeout):
		t.Fatalf("the publisher has not sent anything after %v", timeout)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code is looked at below
	want := "[Client 1] sent 0 of 100 messages to csse6400_prac\n"
	if got := cmd.ProcessState.ExitCode(); got != 130 || stdout.String() != want || stderr.Len() > 0 {
		t.Errorf("publisher at Ctrl-C: exit code %d, standard output %q, standard error %q; want 130, %q, nothing", got, &stdout, &stderr, want)
	}
}

// TestQueueGone deletes the queue of a subscriber.
func TestQueueGone(t *testing.T) {
	endpoint := start(t)
	s := subscribe(t, endpoint, "csse6400_prac", "Client 1")
	url := aws.String(endpoint + "/000000000000/csse6400_prac")
	if _, err := client(endpoint).DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: url}); err != nil {
		t.Fatal(err)
	}
	want := "Unable to find a Queue by this name csse6400_prac\n"
	if _, exit := s.rest(t); exit != 1 || s.err.String() != want {
		t.Errorf("subscriber of a deleted queue: exit code %d, standard error %q; want 1, %q", exit, &s.err, want)
	}
}

// TestDefaultEndpoint keeps the address of the demo and of the server the same.
func TestDefaultEndpoint(t *testing.T) {
	_, usage, _ := output(t, nil, "--help")
	if want := "or http://" + server.DefaultAddr + ")"; !strings.Contains(usage, want) {
		t.Errorf("usage %q has no %q", usage, want)
	}
}
