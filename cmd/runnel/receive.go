package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel"
)

// maxReceiveWait is how long SQS lets one receive wait.
const maxReceiveWait = 20 * time.Second

// deleteTimeout bounds the deletion of messages that were printed: it goes on
// after an interrupt, so that they are not seen twice.
const deleteTimeout = 10 * time.Second

func newReceiveCommand() *cobra.Command {
	r := receiver{}
	cmd := &cobra.Command{
		Use:   "receive QUEUE",
		Short: "Receive messages from a queue, print and delete them",
		Long: `Receive messages from a queue, print their bodies, one per line, and delete them.

Messages are deleted after they were printed: if that fails they come back when
their visibility timeout ends. QUEUE is a queue's name, or its URL.

Why a message is a dead letter goes to standard error, with --json to its line.`,
		Example: `  runnel receive images
  runnel receive -n 100 --wait 5s --json images
  runnel receive --follow images | while read -r line; do ...; done`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if r.count < 1 && cmd.Flags().Changed("number") {
				return &usageError{fmt.Sprintf("-n %d: want at least 1", r.count)}
			}
			if r.wait < 0 {
				return &usageError{fmt.Sprintf("--wait %v: want a duration from 0 on", r.wait)}
			}
			if r.follow && !cmd.Flags().Changed("number") {
				r.count = 0
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			r.client, r.queue, r.out = c, args[0], cmd.OutOrStdout()
			if r.url, err = c.queueURL(cmd.Context(), args[0]); err != nil {
				return err
			}
			r.errOut = cmd.ErrOrStderr()
			r.dead = c.holdsDeadLetters(cmd.Context(), r.url)
			err = r.run(cmd.Context())
			if r.follow && cmd.Context().Err() != nil {
				return nil // the interrupt is how it ends
			}
			if err == nil && r.received == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "no message in %s\n", args[0])
			}
			return err
		},
	}
	addClientFlags(cmd)
	cmd.Flags().IntVarP(&r.count, "number", "n", 1, "receive up to so many messages (with --follow: no limit)")
	cmd.Flags().DurationVar(&r.wait, "wait", 0, "wait so long for messages to come, rounded up to seconds")
	cmd.Flags().BoolVar(&r.keep, "keep", false, "do not delete: the messages come back when their visibility timeout ends")
	cmd.Flags().BoolVar(&r.follow, "follow", false, "go on until interrupted")
	cmd.Flags().BoolVar(&r.json, "json", false, "print each message as a line of JSON, with its id, attributes and counts")
	return cmd
}

// receiver receives from one queue, prints and deletes.
type receiver struct {
	client             *client
	queue, url         string
	count              int // 0: no limit
	wait               time.Duration
	keep, follow, json bool
	out, errOut        io.Writer
	received           int
	dead               bool // the queue holds dead letters
}

// sqsMessage is a received message as SQS has it in JSON.
type sqsMessage struct {
	MessageId, ReceiptHandle, Body string
	Attributes                     map[string]string
	MessageAttributes              map[string]sqsAttribute
}

// run receives until there are as many as asked for, or none came in time.
func (r *receiver) run(ctx context.Context) error {
	deadline := time.Now().Add(r.wait)
	for r.count == 0 || r.received < r.count {
		wait := maxReceiveWait
		if !r.follow {
			wait = min(max(time.Until(deadline), 0), maxReceiveWait)
		}
		ms, err := r.receive(ctx, wait)
		if err != nil {
			return err
		}
		if len(ms) == 0 && !r.follow && !time.Now().Before(deadline) {
			return nil
		}
		if err := r.print(ms, r.reasons(ctx, ms)); err != nil {
			return fmt.Errorf("print: %w (the messages were not deleted)", err)
		}
		r.received += len(ms)
		if err := r.remove(ctx, ms); err != nil {
			return err
		}
	}
	return nil
}

func (r *receiver) receive(ctx context.Context, wait time.Duration) ([]sqsMessage, error) {
	in := struct {
		QueueUrl                                           string
		MaxNumberOfMessages, WaitTimeSeconds               int
		MessageAttributeNames, MessageSystemAttributeNames []string `json:",omitempty"`
	}{
		QueueUrl:            r.url,
		MaxNumberOfMessages: maxBatchEntries,
		WaitTimeSeconds:     int((wait + time.Second - 1) / time.Second),
	}
	if r.count > 0 {
		in.MaxNumberOfMessages = min(maxBatchEntries, r.count-r.received)
	}
	if r.json {
		in.MessageAttributeNames, in.MessageSystemAttributeNames = []string{"All"}, []string{"All"}
	}
	var out struct{ Messages []sqsMessage }
	err := r.client.sqs(ctx, "ReceiveMessage", in, &out)
	return out.Messages, r.client.noQueue(r.queue, err)
}

// printed is a message as --json prints it.
type printed struct {
	ID         string            `json:"id"`
	Body       string            `json:"body"`
	Attributes map[string]string `json:"attributes,omitempty"` // binary ones in base64
	Receives   int               `json:"receives,omitempty"`
	Sent       time.Time         `json:"sent,omitzero"`
	System     map[string]string `json:"system,omitempty"`         // the other system attributes of SQS
	Receipt    string            `json:"receipt_handle,omitempty"` // of a message that is kept

	DeadLetter *runnel.DeadLetter `json:"dead_letter,omitempty"`
}

// print writes the messages with one write: what it reports as written is.
func (r *receiver) print(ms []sqsMessage, reasons map[string]*runnel.DeadLetter) error {
	if len(ms) == 0 {
		return nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i := range ms {
		if !r.json {
			if why := reasons[ms[i].MessageId]; why != nil {
				fmt.Fprintf(r.errOut, "%s is a dead letter: %s\n", ms[i].MessageId, reasonLine(why))
			}
			buf.WriteString(ms[i].Body)
			buf.WriteByte('\n')
			continue
		}
		p := printed{ID: ms[i].MessageId, Body: ms[i].Body, DeadLetter: reasons[ms[i].MessageId]}
		for name, value := range ms[i].Attributes {
			n, err := strconv.ParseInt(value, 10, 64)
			switch {
			case name == "ApproximateReceiveCount" && err == nil:
				p.Receives = int(n)
			case name == "SentTimestamp" && err == nil:
				p.Sent = time.UnixMilli(n).UTC()
			default:
				setIn(&p.System, name, value)
			}
		}
		for name, a := range ms[i].MessageAttributes {
			value := a.StringValue
			if a.BinaryValue != nil {
				value = base64.StdEncoding.EncodeToString(a.BinaryValue)
			}
			setIn(&p.Attributes, name, value)
		}
		if r.keep {
			p.Receipt = ms[i].ReceiptHandle
		}
		if err := enc.Encode(p); err != nil {
			return err
		}
	}
	_, err := r.out.Write(buf.Bytes())
	return err
}

// reasons returns why messages are dead letters, by their ids. It is told
// where it can be had; without it they are received all the same.
func (r *receiver) reasons(ctx context.Context, ms []sqsMessage) map[string]*runnel.DeadLetter {
	if !r.dead || len(ms) == 0 {
		return nil
	}
	ids := make([]string, len(ms))
	for i := range ms {
		ids[i] = strconv.Quote(ms[i].MessageId)
	}
	out := make(map[string]*runnel.DeadLetter, len(ms))
	// They are in flight, at the front of the queue as a rule.
	_ = r.client.deadLetters(ctx, queueOf(r.url), "id in ["+strings.Join(ids, ", ")+"]", nil, len(ms), func(raw json.RawMessage) (bool, error) {
		var m deadLetter
		if json.Unmarshal(raw, &m) == nil {
			out[m.ID] = m.Reason
		}
		return len(out) < len(ms), nil
	})
	return out
}

// holdsDeadLetters says whether a flow or a queue gives messages up to the
// queue of this URL, as far as the server tells.
func (c *client) holdsDeadLetters(ctx context.Context, queueURL string) bool {
	raw, err := c.list(ctx, deadLetterKind)
	if err != nil {
		return false
	}
	all, err := decodeAll[deadLetterQueue](raw)
	return err == nil && slices.ContainsFunc(all, func(q deadLetterQueue) bool { return q.Queue == queueOf(queueURL) })
}

// queueOf returns the name of a queue from its URL.
func queueOf(queueURL string) string { return queueURL[strings.LastIndexByte(queueURL, '/')+1:] }

// reasonLine is why a message is a dead letter, in one line.
func reasonLine(d *runnel.DeadLetter) string {
	text := d.Type
	if d.Message != "" {
		text += ": " + cut(oneLine(d.Message), peekColumn)
	}
	if d.Function != "" {
		text += " in " + d.Function
	}
	return text
}

func setIn(m *map[string]string, name, value string) {
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[name] = value
}

type deleteEntry struct {
	Id, ReceiptHandle string
}

// remove deletes messages that were printed.
func (r *receiver) remove(ctx context.Context, ms []sqsMessage) error {
	if r.keep || len(ms) == 0 {
		return nil
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer stop()
	in := struct {
		QueueUrl string
		Entries  []deleteEntry
	}{r.url, make([]deleteEntry, len(ms))}
	for i := range ms {
		in.Entries[i] = deleteEntry{strconv.Itoa(i), ms[i].ReceiptHandle}
	}
	var answer batchAnswer
	if err := r.client.sqs(ctx, "DeleteMessageBatch", in, &answer); err != nil {
		return fmt.Errorf("delete what was printed: %w", err)
	}
	var failed []error
	for _, e := range answer.Failed {
		i, _ := strconv.Atoi(e.Id)
		id := e.Id
		if i >= 0 && i < len(ms) {
			id = ms[i].MessageId
		}
		failed = append(failed, fmt.Errorf("message %s was printed and not deleted: %w", id, &sqsError{Code: e.Code, Message: e.Message}))
	}
	return errors.Join(failed...)
}
