package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	demoWorkers  = 4                // senders, and as many receivers
	demoPatience = 45 * time.Second // without progress, what is missing is lost: more than the visibility timeout
)

// demoRun is the account of every message.
type demoRun struct {
	client   *client
	url      string
	messages []demoMessage // by number, which is the body
	latency  histogram     // from before the send to after the receive

	mu       sync.Mutex // guards all below, and messages
	counts   demoCounts
	progress time.Time     // when a message was last received
	done     chan struct{} // closed when all were deleted
}

type demoMessage struct {
	at        time.Time // before it was sent
	confirmed bool
	receives  int
	deleted   bool
}

type demoCounts struct{ sent, received, deleted, duplicates int }

// run sends, receives and deletes until all messages are deleted, or nothing
// comes any more.
func (r *demoRun) run(ctx context.Context, out io.Writer) error {
	r.progress = time.Now()
	g, ctx := errgroup.WithContext(ctx)
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	for w := range demoWorkers {
		g.Go(func() error { return r.send(ctx, w) })
		g.Go(func() error {
			err := r.receive(receiving)
			if receiving.Err() != nil && ctx.Err() == nil {
				return nil // there is nothing more to come
			}
			return err
		})
	}
	g.Go(func() error {
		defer stop()
		return r.watch(ctx, out)
	})
	return g.Wait()
}

// send sends the share of worker w: every demoWorkers'th batch.
func (r *demoRun) send(ctx context.Context, w int) error {
	for first := w * maxBatchEntries; first < len(r.messages); first += demoWorkers * maxBatchEntries {
		last := min(first+maxBatchEntries, len(r.messages))
		var entries []sendEntry
		r.mu.Lock()
		for n := first; n < last; n++ {
			r.messages[n].at = time.Now()
			entries = append(entries, sendEntry{Id: strconv.Itoa(n), MessageBody: strconv.Itoa(n)})
		}
		r.mu.Unlock()
		in := struct {
			QueueUrl string
			Entries  []sendEntry
		}{r.url, entries}
		var answer batchAnswer
		if err := r.client.sqs(ctx, "SendMessageBatch", in, &answer); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if len(answer.Failed) > 0 {
			return fmt.Errorf("send: %w", &sqsError{Code: answer.Failed[0].Code, Message: answer.Failed[0].Message})
		}
		r.mu.Lock()
		for _, e := range answer.Successful {
			if n, err := r.number(e.Id); err == nil && !r.messages[n].confirmed {
				r.messages[n].confirmed = true
				r.counts.sent++
			}
		}
		r.mu.Unlock()
	}
	return nil
}

func (r *demoRun) number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= len(r.messages) {
		return 0, fmt.Errorf("a message %q was not sent by us", text)
	}
	return n, nil
}

// receive receives and deletes until ctx ends.
func (r *demoRun) receive(ctx context.Context) error {
	in := struct {
		QueueUrl                             string
		MaxNumberOfMessages, WaitTimeSeconds int
	}{r.url, maxBatchEntries, 20}
	for {
		var answer struct{ Messages []sqsMessage }
		if err := r.client.sqs(ctx, "ReceiveMessage", in, &answer); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if len(answer.Messages) == 0 {
			continue
		}
		if err := r.received(answer.Messages); err != nil {
			return err
		}
		if err := r.remove(ctx, answer.Messages); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
}

func (r *demoRun) received(ms []sqsMessage) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = now
	for i := range ms {
		n, err := r.number(ms[i].Body)
		if err != nil {
			return err
		}
		m := &r.messages[n]
		if m.receives++; m.receives > 1 {
			r.counts.duplicates++
			continue
		}
		r.counts.received++
		r.latency.record(now.Sub(m.at))
	}
	return nil
}

func (r *demoRun) remove(ctx context.Context, ms []sqsMessage) error {
	in := struct {
		QueueUrl string
		Entries  []deleteEntry
	}{QueueUrl: r.url}
	for i := range ms {
		in.Entries = append(in.Entries, deleteEntry{ms[i].Body, ms[i].ReceiptHandle})
	}
	var answer batchAnswer
	if err := r.client.sqs(ctx, "DeleteMessageBatch", in, &answer); err != nil {
		return err
	}
	if len(answer.Failed) > 0 {
		return &sqsError{Code: answer.Failed[0].Code, Message: answer.Failed[0].Message}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range answer.Successful {
		n, err := r.number(e.Id)
		if err != nil {
			return err
		}
		if m := &r.messages[n]; !m.deleted {
			m.deleted = true
			if r.counts.deleted++; r.counts.deleted == len(r.messages) {
				close(r.done)
			}
		}
	}
	return nil
}

// watch shows the progress, and returns when all is done or nothing moves.
func (r *demoRun) watch(ctx context.Context, out io.Writer) error {
	every, line := time.Second, "%s\n"
	terminal := isTerminal(out)
	if terminal {
		every, line = 50*time.Millisecond, "\r%s"
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.done:
			if terminal {
				fmt.Fprintf(out, "\r%60s\r", "")
			}
			return nil
		case <-tick.C:
		}
		r.mu.Lock()
		c, idle := r.counts, time.Since(r.progress)
		r.mu.Unlock()
		fmt.Fprintf(out, line, fmt.Sprintf("sent %d  received %d  deleted %d", c.sent, c.received, c.deleted))
		if idle > demoPatience {
			return nil // the summary says what is missing
		}
	}
}

// isTerminal says whether a person may be watching.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// summary prints what became of the messages, and is an error if one of them
// is not accounted for.
func (r *demoRun) summary(ctx context.Context, out io.Writer, took time.Duration) error {
	var left struct{ Attributes map[string]string }
	in := struct {
		QueueUrl       string
		AttributeNames []string
	}{r.url, []string{"All"}}
	if err := r.client.sqs(ctx, "GetQueueAttributes", in, &left); err != nil {
		return fmt.Errorf("ask for the depth: %w", err)
	}
	depth := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		n, err := strconv.Atoi(left.Attributes[name])
		if err != nil {
			return fmt.Errorf("ask for the depth: %w", err)
		}
		depth += n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, open := 0, 0
	for _, m := range r.messages {
		if m.confirmed && m.receives == 0 {
			lost++
		}
		if !m.confirmed || !m.deleted {
			open++
		}
	}
	_, err := fmt.Fprintf(out, `
sent        %d
received    %d
deleted     %d
duplicates  %d
lost        %d
left        %d

%s from the first send to the last delete; each send was fsynced
send to receive: p50 %s, p99 %s, %d senders and receivers at full speed
`, r.counts.sent, r.counts.received, r.counts.deleted, r.counts.duplicates, lost, depth,
		took.Round(time.Millisecond), r.latency.quantile(0.5).Round(10*time.Microsecond), r.latency.quantile(0.99).Round(10*time.Microsecond), demoWorkers)
	if err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	if open > 0 || depth > 0 {
		return fmt.Errorf("%d messages are not accounted for", max(open, depth))
	}
	return nil
}
