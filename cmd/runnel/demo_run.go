package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
)

const (
	demoWorkers  = 4                // senders, and as many receivers
	demoPatience = 45 * time.Second // without progress, what is missing is lost: more than the visibility timeout
	greetings    = 100              // records in the state machine, at most
	brokenEvery  = 200              // one image of so many is broken
)

// demoFlow is a flow of the demonstration, and the messages for it.
type demoFlow struct {
	name, function string
	source, result string   // queues that are sent to and received from
	dead           string   // queue
	to             []string // what the flow says
	until          string   // when it is done, for the title
	steps          int      // how many results a message has
	body           func(n int) string
	read           func(body string) (n, step int, err error) // of a result, and of a dead letter
}

// title is what a stage is about, in a line.
func (f *demoFlow) title(language string) string {
	steps := []string{f.source, f.function + " (" + language + ")", strings.Join(f.to, " and ")}
	return strings.Join(steps, " -> ") + f.until
}

var thumbnailsFlow = &demoFlow{
	name: "make-thumbnails", function: "thumbnail", source: "images", result: "thumbnails", dead: "images-dead",
	to: []string{"thumbnails"}, steps: 1,
	body: func(n int) string {
		if n%brokenEvery == brokenEvery-1 {
			return fmt.Sprintf(`{"name": "broken-%d.png"}`, n)
		}
		return fmt.Sprintf(`{"name": "image-%d.png", "width": 1600, "height": 900}`, n)
	},
	read: func(body string) (n, _ int, err error) {
		var image struct{ Name string }
		if err := json.Unmarshal([]byte(body), &image); err != nil {
			return 0, 0, err
		}
		if _, err := fmt.Sscanf(image.Name, "image-%d.png", &n); err != nil {
			_, err = fmt.Sscanf(image.Name, "broken-%d.png", &n)
			return n, 0, err
		}
		return n, 0, nil
	},
}

var greetFlow = &demoFlow{
	name: "greet", function: "router", source: "greetings", result: "states", dead: "greet-dead",
	to: []string{"greetings", "states"}, until: ", round until it returns null", steps: 2,
	body: func(n int) string { return fmt.Sprintf(`{"id": %d}`, n) },
	read: func(body string) (n, step int, err error) {
		var record struct {
			ID             int
			Greeting, Name string
		}
		err = json.Unmarshal([]byte(body), &record)
		if record.Name != "" {
			step = 1
		}
		return record.ID, step, err
	},
}

// demoStage is the account of every message to one flow.
type demoStage struct {
	flow   *demoFlow
	sdk    *sqs.Client
	client *client

	latency histogram // from before the send to the last result

	mu       sync.Mutex // guards all below
	messages []demoMessage
	counts   demoCounts
	progress time.Time // when something was last sent or seen
	stats    demoStats // as the server last said
	settled  bool      // it had said the same before
	deadRead *int64    // position of the last dead letter that was read
	reason   string    // of the first dead letter
	states   []string  // what message 0 went through
}

type demoMessage struct {
	at        time.Time // before it was sent
	confirmed bool
	seen      [2]int // results, by step
	dead      bool
}

type demoCounts struct{ sent, results, dead, duplicates int }

// demoStats is what the demonstration reads of the server's figures of a flow.
type demoStats struct {
	Backlog struct {
		Visible  int64
		InFlight int64 `json:"in_flight"`
		Delayed  int64
	}
	Stats struct {
		Handled, Published, Retried uint64
		DeadLettered                uint64 `json:"dead_lettered"`
		InFlight                    int    `json:"in_flight"`
		Parked                      int
	}
}

// left is how many messages are in the flow's source, and in the flow.
func (s *demoStats) left() int {
	b, st := s.Backlog, s.Stats
	return int(b.Visible+b.InFlight+b.Delayed) + st.InFlight + st.Parked
}

func newDemoStage(url string, flow *demoFlow, messages int) *demoStage {
	return &demoStage{
		flow: flow,
		sdk: sqs.New(sqs.Options{
			Region: sqsRegion, BaseEndpoint: aws.String(url),
			Credentials: credentials.NewStaticCredentialsProvider("demo", "demo", ""), // runnel dev takes any
		}),
		client:   &client{base: url, http: new(http.Client)},
		messages: make([]demoMessage, messages),
		states:   []string{flow.body(0)},
	}
}

// run sends, receives and counts until all messages are accounted for, or
// nothing comes any more.
func (s *demoStage) run(ctx context.Context, out io.Writer) error {
	s.progress = time.Now()
	source, err := s.sdk.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &s.flow.source})
	if err != nil {
		return fmt.Errorf("find the queue %s: %w", s.flow.source, err)
	}
	result, err := s.sdk.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &s.flow.result})
	if err != nil {
		return fmt.Errorf("find the queue %s: %w", s.flow.result, err)
	}
	g, working := errgroup.WithContext(ctx)
	receiving, stop := context.WithCancel(working)
	defer stop()
	for w := range demoWorkers {
		g.Go(func() error { return s.send(working, source.QueueUrl, w) })
		g.Go(func() error {
			err := s.receive(receiving, result.QueueUrl)
			if receiving.Err() != nil && working.Err() == nil {
				return nil // there is nothing more to come
			}
			return err
		})
	}
	g.Go(func() error {
		defer stop()
		return s.watch(working, out)
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// send sends the share of worker w: every demoWorkers'th batch.
func (s *demoStage) send(ctx context.Context, url *string, w int) error {
	for first := w * maxBatchEntries; first < len(s.messages); first += demoWorkers * maxBatchEntries {
		last := min(first+maxBatchEntries, len(s.messages))
		var entries []types.SendMessageBatchRequestEntry
		s.mu.Lock()
		for n := first; n < last; n++ {
			s.messages[n].at = time.Now()
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), MessageBody: aws.String(s.flow.body(n))})
		}
		s.mu.Unlock()
		answer, err := s.sdk.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: url, Entries: entries})
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if len(answer.Failed) > 0 {
			return fmt.Errorf("send: %s: %s", aws.ToString(answer.Failed[0].Code), aws.ToString(answer.Failed[0].Message))
		}
		s.mu.Lock()
		for _, e := range answer.Successful {
			if n, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && n >= first && n < last && !s.messages[n].confirmed {
				s.messages[n].confirmed = true
				s.counts.sent++
			}
		}
		s.progress = time.Now()
		s.mu.Unlock()
	}
	return nil
}

// receive receives results and deletes them until ctx ends.
func (s *demoStage) receive(ctx context.Context, url *string) error {
	for {
		answer, err := s.sdk.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: maxBatchEntries, WaitTimeSeconds: 20})
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if len(answer.Messages) == 0 {
			continue
		}
		if err := s.received(answer.Messages); err != nil {
			return err
		}
		var entries []types.DeleteMessageBatchRequestEntry
		for i, m := range answer.Messages {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
		deleted, err := s.sdk.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries})
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if len(deleted.Failed) > 0 {
			return fmt.Errorf("delete: %s: %s", aws.ToString(deleted.Failed[0].Code), aws.ToString(deleted.Failed[0].Message))
		}
	}
}

// received counts results.
func (s *demoStage) received(ms []types.Message) error {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = now
	for i := range ms {
		body := aws.ToString(ms[i].Body)
		n, step, err := s.number(body)
		if err != nil {
			return err
		}
		m := &s.messages[n]
		if m.seen[step]++; m.seen[step] > 1 {
			s.counts.duplicates++
			continue
		}
		s.counts.results++
		if n == 0 {
			s.states = append(s.states, body)
		}
		if step == s.flow.steps-1 {
			s.latency.record(now.Sub(m.at))
		}
	}
	return nil
}

// number says which message a body came from, and after how many steps.
func (s *demoStage) number(body string) (n, step int, err error) {
	n, step, err = s.flow.read(body)
	if err != nil || n < 0 || n >= len(s.messages) || step >= s.flow.steps {
		return 0, 0, fmt.Errorf("%s is not of a message of ours", body)
	}
	return n, step, nil
}

// refresh asks the server for the flow's figures, and for the dead letters
// that are new.
func (s *demoStage) refresh(ctx context.Context) error {
	var stats demoStats
	if err := s.client.do(ctx, http.MethodGet, "/api/v1/flows/"+s.flow.name, nil, &stats); err != nil {
		return fmt.Errorf("ask for the figures of %s: %w", s.flow.name, err)
	}
	s.mu.Lock()
	s.settled = stats == s.stats // the figures of one answer are not of one moment
	s.stats = stats
	known, after := s.counts.dead, s.deadRead
	s.mu.Unlock()
	if stats.Stats.DeadLettered <= uint64(known) {
		return nil
	}
	return s.client.deadLetters(ctx, s.flow.dead, "", after, peekPage, func(raw json.RawMessage) (bool, error) {
		var dead deadLetter
		if err := json.Unmarshal(raw, &dead); err != nil {
			return false, fmt.Errorf("read a dead letter: %w", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.deadRead, s.progress = &dead.Position, time.Now()
		if dead.Body == nil || dead.Reason == nil {
			return true, nil // not from the flow
		}
		n, _, err := s.number(*dead.Body)
		if err != nil {
			return false, err
		}
		if s.counts.dead == 0 {
			s.reason = dead.Reason.Message
		}
		if !s.messages[n].dead {
			s.messages[n].dead = true
			s.counts.dead++
		}
		return true, nil
	})
}

// open is how many messages are not accounted for: not confirmed, neither
// with all of their results nor dead, or still there.
func (s *demoStage) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for i := range s.messages {
		m := &s.messages[i]
		done := m.dead
		if !done {
			done = true
			for step := range s.flow.steps {
				done = done && m.seen[step] > 0
			}
		}
		if !m.confirmed || !done {
			open++
		}
	}
	if open == 0 {
		return s.stats.left()
	}
	return open
}
