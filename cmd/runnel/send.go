package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Limits of SQS for one SendMessageBatch.
const (
	maxBatchEntries = 10
	maxBatchBytes   = 1 << 20
)

func newSendCommand() *cobra.Command {
	var (
		delay      time.Duration
		attributes []string
		create     bool
	)
	cmd := &cobra.Command{
		Use:   "send QUEUE [BODY... | -]",
		Short: "Send messages to a queue",
		Long: `Send messages to a queue and print their ids, one per line, in order.

Each BODY is a message. Without one, or with "-", each line of standard input
is. QUEUE is a queue's name, or its URL.`,
		Example: `  runnel send images '{"kind": "image"}'
  runnel send --create --delay 30s jobs one two three
  runnel send jobs < jobs.txt`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			s := sender{client: c, queue: args[0], out: cmd.OutOrStdout()}
			if cmd.Flags().Changed("delay") {
				seconds, err := wholeSeconds("delay", delay)
				if err != nil {
					return err
				}
				s.delay = &seconds
			}
			if s.attributes, err = parseAttributes(attributes); err != nil {
				return err
			}
			if err := s.open(cmd.Context(), create); err != nil {
				return err
			}
			if bodies := args[1:]; len(bodies) > 1 || len(bodies) == 1 && bodies[0] != "-" {
				return s.sendAll(cmd.Context(), bodies)
			}
			return s.sendLines(cmd.Context(), cmd.InOrStdin())
		},
	}
	addClientFlags(cmd)
	cmd.Flags().DurationVar(&delay, "delay", 0, "keep the messages invisible for so long, in whole seconds up to 15m (default: the queue's own delay)")
	cmd.Flags().StringArrayVar(&attributes, "attribute", nil, "add the attribute `NAME=VALUE` to each message; may be repeated")
	cmd.Flags().BoolVar(&create, "create", false, "make the queue if there is none")
	return cmd
}

// sender sends to one queue and prints the ids.
type sender struct {
	client     *client
	queue      string // as the user calls it
	url        string
	delay      *int // seconds; nil: the queue's own
	attributes map[string]sqsAttribute
	out        io.Writer
	sent       int
}

// sqsAttribute is a message attribute as SQS has it in JSON.
type sqsAttribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
}

type sendEntry struct {
	Id                string
	MessageBody       string
	DelaySeconds      *int                    `json:",omitempty"`
	MessageAttributes map[string]sqsAttribute `json:",omitempty"`
}

// batchAnswer is the answer to a batch of any kind.
type batchAnswer struct {
	Successful []struct{ Id, MessageId string }
	Failed     []struct{ Id, Code, Message string }
}

func (s *sender) open(ctx context.Context, create bool) (err error) {
	if create {
		var out struct{ QueueUrl string }
		err = s.client.sqs(ctx, "CreateQueue", map[string]string{"QueueName": s.queue}, &out)
		s.url = out.QueueUrl
		return err
	}
	s.url, err = s.client.queueURL(ctx, s.queue)
	return err
}

// sendAll sends bodies in batches that SQS takes.
func (s *sender) sendAll(ctx context.Context, bodies []string) error {
	for len(bodies) > 0 {
		n, bytes := 0, 0
		for n < len(bodies) && n < maxBatchEntries {
			bytes += s.size(bodies[n])
			if n > 0 && bytes > maxBatchBytes {
				break
			}
			n++
		}
		if err := s.sendBatch(ctx, bodies[:n]); err != nil {
			return err
		}
		bodies = bodies[n:]
	}
	return nil
}

// sendLines sends each line of in as it comes: a batch is what has come while
// the batch before was sent.
func (s *sender) sendLines(ctx context.Context, in io.Reader) error {
	lines := make(chan string, 64) // closed by the reader
	var readErr error              // written before lines is closed
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(lines)
		readErr = readLines(ctx, in, lines)
	}()
	for line := range lines {
		batch, bytes := []string{line}, s.size(line)
		var over []string
	gather:
		for len(batch) < maxBatchEntries {
			select {
			case next, ok := <-lines:
				if !ok {
					break gather
				}
				if bytes += s.size(next); bytes > maxBatchBytes {
					over = append(over, next)
					break gather
				}
				batch = append(batch, next)
			default:
				break gather
			}
		}
		if err := s.sendBatch(ctx, batch); err != nil {
			return err
		}
		if err := s.sendAll(ctx, over); err != nil {
			return err
		}
	}
	return readErr
}

// readLines passes on the lines of in until ctx ends. A line that cannot be a
// message is an error: nothing is left out silently.
func readLines(ctx context.Context, in io.Reader, lines chan<- string) error {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(make([]byte, 0, 64<<10), maxBatchBytes+2)
	number := 1
	for ; scanner.Scan(); number++ {
		line := scanner.Text()
		if line == "" {
			return fmt.Errorf("line %d is empty: a message needs a body", number)
		}
		select {
		case lines <- line:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than a message may be (1 MiB)", number)
	} else if err != nil {
		return fmt.Errorf("read line %d: %w", number, err)
	}
	return nil
}

// size is what SQS counts of a message.
func (s *sender) size(body string) int {
	n := len(body)
	for name, a := range s.attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue)
	}
	return n
}

func (s *sender) sendBatch(ctx context.Context, bodies []string) error {
	entries := make([]sendEntry, len(bodies))
	for i, body := range bodies {
		entries[i] = sendEntry{Id: strconv.Itoa(i), MessageBody: body, DelaySeconds: s.delay, MessageAttributes: s.attributes}
	}
	var answer batchAnswer
	in := struct {
		QueueUrl string
		Entries  []sendEntry
	}{s.url, entries}
	if err := s.client.sqs(ctx, "SendMessageBatch", in, &answer); err != nil {
		return s.client.noQueue(s.queue, err)
	}
	ids := make([]string, len(bodies))
	for _, e := range answer.Successful {
		if i, err := strconv.Atoi(e.Id); err == nil && i >= 0 && i < len(ids) {
			ids[i] = e.MessageId
		}
	}
	for _, id := range ids {
		if id == "" {
			continue
		}
		if _, err := fmt.Fprintln(s.out, id); err != nil {
			return fmt.Errorf("print the message id: %w", err)
		}
	}
	var failed []error
	for _, e := range answer.Failed {
		i, _ := strconv.Atoi(e.Id)
		failed = append(failed, fmt.Errorf("message %d was not sent: %w", s.sent+i+1, &sqsError{Code: e.Code, Message: e.Message}))
	}
	s.sent += len(bodies)
	return errors.Join(failed...)
}

// parseAttributes reads the values of --attribute.
func parseAttributes(list []string) (map[string]sqsAttribute, error) {
	if len(list) == 0 {
		return nil, nil
	}
	attributes := make(map[string]sqsAttribute, len(list))
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, &usageError{fmt.Sprintf("--attribute %q: want NAME=VALUE", text)}
		}
		if _, twice := attributes[name]; twice {
			return nil, &usageError{fmt.Sprintf("--attribute %q is given twice", name)}
		}
		attributes[name] = sqsAttribute{DataType: "String", StringValue: value}
	}
	return attributes, nil
}

// wholeSeconds is d in the unit of SQS.
func wholeSeconds(flag string, d time.Duration) (int, error) {
	if d < 0 || d%time.Second != 0 {
		return 0, &usageError{fmt.Sprintf("--%s %v: want whole seconds, for example 30s", flag, d)}
	}
	return int(d / time.Second), nil
}
