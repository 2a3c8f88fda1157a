// Command queue-demo shows what a queue makes of order. As a publisher it puts
// messages 1 to 100 into a queue; with --receive it is a subscriber, which
// prints messages as they arrive, until Ctrl-C. It is an SQS client like any
// other: nothing in it knows Runnel but the default address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// defaultEndpoint is where runnel dev listens unless it is told otherwise.
const defaultEndpoint = "http://127.0.0.1:7070"

// Exit codes.
const (
	failed     = 1
	misused    = 2 // the command line means nothing
	terminated = 130
)

// options are the command line.
type options struct {
	queue    string
	client   string
	endpoint string
	receive  bool
}

// errUsage goes with an error of the command line that has been reported.
var errUsage = errors.New("usage")

func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("queue-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.queue, "name", "", "`queue` to connect to; one of FIFO ends in .fifo (required)")
	flags.StringVar(&o.client, "client-name", "", "`name` of this client, which its messages carry (required)")
	flags.BoolVar(&o.receive, "receive", false, "print the queue's messages until Ctrl-C, and delete them; without it, publish 100")
	flags.StringVar(&o.endpoint, "endpoint", "", "`URL` of the server (default AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL or "+defaultEndpoint+")")
	flags.Usage = func() {
		fmt.Fprintln(stderr, `usage: queue-demo --name QUEUE --client-name NAME [--receive] [--endpoint URL]`)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage // the package has printed the error and the usage
	}
	for _, from := range []string{getenv("AWS_ENDPOINT_URL_SQS"), getenv("AWS_ENDPOINT_URL"), defaultEndpoint} {
		if o.endpoint == "" {
			o.endpoint = from
		}
	}
	if err := o.check(flags.Args()); err != nil {
		fmt.Fprintf(stderr, "queue-demo: %v\n", err)
		flags.Usage()
		return o, errUsage
	}
	return o, nil
}

func (o options) check(rest []string) error {
	server, err := url.Parse(o.endpoint)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%q is not a flag; a name with spaces needs quotes", rest[0])
	case o.queue == "":
		return errors.New("--name is missing: the queue to connect to")
	case o.client == "":
		return errors.New("--client-name is missing: what this client is called in what the subscribers print")
	case strings.ContainsFunc(o.client, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("--client-name %q has characters that cannot be printed", o.client)
	case len(group(o.client)) > maxGroup:
		return fmt.Errorf("--client-name is too long: as a message group it has %d characters, and SQS takes %d", len(group(o.client)), maxGroup)
	case err != nil || server.Scheme != "http" && server.Scheme != "https" || server.Host == "":
		return fmt.Errorf("endpoint %q is not an address like %s", o.endpoint, defaultEndpoint)
	}
	return nil
}

// connect makes a client of the server, and finds the queue. Where the
// environment has no credentials, requests are signed with a key that only a
// server takes which takes any, as runnel dev does.
func connect(ctx context.Context, o options, getenv func(string) string) (client *sqs.Client, queueURL string, err error) {
	load := []func(*config.LoadOptions) error{config.WithBaseEndpoint(o.endpoint), config.WithDefaultRegion("us-east-1")}
	if getenv("AWS_ACCESS_KEY_ID") == "" && getenv("AWS_PROFILE") == "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("any", "any", "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, "", fmt.Errorf("read the AWS configuration: %w", err)
	}
	client = sqs.NewFromConfig(cfg)
	found, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &o.queue})
	if err != nil {
		return nil, "", err
	}
	return client, aws.ToString(found.QueueUrl), nil
}

// explain says what an error means to somebody at a terminal.
func (o options) explain(err error) string {
	var (
		noQueue *types.QueueDoesNotExist
		noReply *smithyhttp.RequestSendError
		request *url.Error // says the method and the address again
	)
	switch {
	case errors.As(err, &noQueue):
		return "Unable to find a Queue by this name " + o.queue
	case errors.As(err, &noReply):
		why := noReply.Unwrap()
		if errors.As(why, &request) {
			why = request.Err
		}
		return fmt.Sprintf("no answer from %s (%v): start a server with \"runnel dev\", or name another one with --endpoint", o.endpoint, why)
	}
	return err.Error()
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (exit int) {
	o, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return misused
	}
	client, queueURL, err := connect(ctx, o, getenv)
	if err == nil && o.receive {
		err = subscribe(ctx, client, queueURL, o, stdout)
	} else if err == nil {
		err = publish(ctx, client, queueURL, o, stdout)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return terminated
	}
	fmt.Fprintln(stderr, o.explain(err))
	return failed
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
