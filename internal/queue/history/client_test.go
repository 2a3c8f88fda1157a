package history_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/runnel-io/runnel/internal/queue/history"
)

// recorder makes calls and notes them.
type recorder struct {
	*servers
	http *http.Client

	mu      sync.Mutex // guards all below
	calls   []history.Call
	refused map[string]int // by action and code
}

func newRecorder(s *servers) *recorder {
	return &recorder{
		servers: s, refused: make(map[string]int),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
}

func (r *recorder) note(calls ...history.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, calls...)
}

// call makes one call of the JSON protocol, and returns when it was made and
// answered. An answer that blames the server leaves it unknown what it did.
func (r *recorder) call(url, action string, in, out any) (c history.Call) {
	body, err := json.Marshal(in)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	c.From, c.Outcome = r.at(), history.Unknown
	defer func() { c.To = r.at() }()
	resp, err := r.http.Do(req)
	if err != nil {
		return c
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode >= http.StatusInternalServerError:
	case resp.StatusCode == http.StatusOK:
		if out == nil || json.Unmarshal(text, out) == nil {
			c.Outcome = history.OK
		}
	default:
		c.Outcome = history.Refused
		var fault struct {
			Type string `json:"__type"`
		}
		_ = json.Unmarshal(text, &fault)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused[action+" "+fault.Type]++
	}
	return c
}

type object = map[string]any

func queueURL(queue string) string { return "/000000000000/" + queue }

// told is what a send is answered.
type told struct {
	Id, MessageId, SequenceNumber string //nolint:revive // as on the wire
}

func sequence(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64) // "" on standard queues
	return n
}

// send sends messages, one or in a batch, and returns which of them were
// acknowledged.
func (r *recorder) send(url, queue string, delay int, ms []history.Message) (acked []bool) {
	acked = make([]bool, len(ms))
	entries := make([]object, len(ms))
	for i, m := range ms {
		entries[i] = object{"MessageBody": m.Body}
		if m.Group != "" {
			entries[i]["MessageGroupId"], entries[i]["MessageDeduplicationId"] = m.Group, m.Body
		}
		if delay > 0 {
			entries[i]["DelaySeconds"] = delay
		}
	}
	answers := make([]told, len(ms))
	var call history.Call
	if len(ms) == 1 {
		entries[0]["QueueUrl"] = queueURL(queue)
		call = r.call(url, "SendMessage", entries[0], &answers[0])
		acked[0] = call.Outcome == history.OK
	} else {
		for i := range entries {
			entries[i]["Id"] = strconv.Itoa(i)
		}
		var out struct{ Successful []told }
		call = r.call(url, "SendMessageBatch", object{"QueueUrl": queueURL(queue), "Entries": entries}, &out)
		for _, a := range out.Successful {
			if i, err := strconv.Atoi(a.Id); err == nil {
				answers[i], acked[i] = a, true
			}
		}
	}
	call.Kind, call.Queue = history.Send, queue
	for i, m := range ms {
		m.ID, m.Sequence = answers[i].MessageId, sequence(answers[i].SequenceNumber)
		one := call
		if call.Outcome == history.OK && !acked[i] {
			one.Outcome = history.Unknown // failed by the server's fault, or by ours
		}
		one.Message = m
		r.note(one)
	}
	return acked
}

func (r *recorder) receive(url, queue string, most, timeout, wait int) []history.Message {
	var out struct {
		Messages []struct {
			Body, MessageId, ReceiptHandle string
			Attributes                     map[string]string
		}
	}
	call := r.call(url, "ReceiveMessage", object{
		"QueueUrl": queueURL(queue), "MaxNumberOfMessages": most, "VisibilityTimeout": timeout, "WaitTimeSeconds": wait, "AttributeNames": []string{"All"},
	}, &out)
	call.Kind, call.Queue, call.Timeout = history.Receive, queue, time.Duration(timeout)*time.Second
	for _, m := range out.Messages {
		receives, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
		call.Received = append(call.Received, history.Message{
			Body: m.Body, ID: m.MessageId, Group: m.Attributes["MessageGroupId"], Sequence: sequence(m.Attributes["SequenceNumber"]),
			Receipt: m.ReceiptHandle, Receives: receives,
		})
	}
	if call.Outcome != history.OK || len(call.Received) > 0 || call.Timeout <= call.To-call.From {
		r.note(call)
	}
	return call.Received
}

// remove deletes messages, one or in a batch.
func (r *recorder) remove(url, queue string, receipts ...string) {
	done := make(map[string]bool)
	var call history.Call
	if len(receipts) == 1 {
		call = r.call(url, "DeleteMessage", object{"QueueUrl": queueURL(queue), "ReceiptHandle": receipts[0]}, nil)
		done["0"] = call.Outcome == history.OK
	} else {
		entries := make([]object, len(receipts))
		for i := range receipts {
			entries[i] = object{"Id": strconv.Itoa(i), "ReceiptHandle": receipts[i]}
		}
		var out struct{ Successful []told }
		call = r.call(url, "DeleteMessageBatch", object{"QueueUrl": queueURL(queue), "Entries": entries}, &out)
		for _, a := range out.Successful {
			done[a.Id] = true
		}
	}
	call.Kind, call.Queue = history.Delete, queue
	for i, receipt := range receipts {
		one := call
		if call.Outcome == history.OK && !done[strconv.Itoa(i)] {
			one.Outcome = history.Unknown // mostly refused
		}
		one.Receipt = receipt
		r.note(one)
	}
}

func (r *recorder) change(url, queue, receipt string, timeout int) (ok bool) {
	call := r.call(url, "ChangeMessageVisibility", object{"QueueUrl": queueURL(queue), "ReceiptHandle": receipt, "VisibilityTimeout": timeout}, nil)
	call.Kind, call.Queue, call.Receipt, call.Timeout = history.Change, queue, receipt, time.Duration(timeout)*time.Second
	r.note(call)
	return call.Outcome == history.OK
}

// pause keeps a history of many minutes so small that it can be checked.
func pause() { <-time.After(time.Duration(rand.IntN(10_000)) * time.Microsecond) }

// sendAll sends to a standard queue, each message once, until ctx ends.
func (r *recorder) sendAll(ctx context.Context, queue, name string) {
	for n := 0; ctx.Err() == nil; {
		ms := make([]history.Message, 1+rand.IntN(5))
		for i := range ms {
			ms[i].Body = fmt.Sprintf("%s-%d", name, n)
			n++
		}
		if url := r.current(ctx); url != "" {
			r.send(url, queue, max(0, rand.IntN(8)-5), ms)
		}
		pause()
	}
}

// sendOrdered sends to groups of a FIFO queue until ctx ends. What is not
// acknowledged is sent again, and some of the rest as well.
func (r *recorder) sendOrdered(ctx context.Context, queue, name string) {
	var again []history.Message
	for n := 0; ctx.Err() == nil; {
		var ms []history.Message
		for len(again) > 0 && len(ms) < 3 {
			ms, again = append(ms, again[0]), again[1:]
		}
		for len(ms) < 1+rand.IntN(4) {
			// A group has an end, so that a lock of hours does not stop all.
			ms = append(ms, history.Message{Body: fmt.Sprintf("%s-%d", name, n), Group: fmt.Sprintf("%s-%d-%d", name, n/200, n%3)})
			n++
		}
		url := r.current(ctx)
		if url == "" {
			return
		}
		for i, acked := range r.send(url, queue, 0, ms) {
			if !acked || rand.IntN(10) == 0 {
				again = append(again, ms[i])
			}
		}
		pause()
	}
}

// work receives, and does with what it gets what clients do, until ctx ends.
func (r *recorder) work(ctx context.Context, queue string) {
	for ctx.Err() == nil {
		url := r.current(ctx)
		if url == "" {
			return
		}
		timeouts := []int{0, 1, 1, 2, 3, 20}
		got := r.receive(url, queue, 1+rand.IntN(10), timeouts[rand.IntN(len(timeouts))], 1)
		var done []string
		for _, m := range got {
			switch n := rand.IntN(20); {
			case n < 2:
				r.change(url, queue, m.Receipt, 0)
			case n < 4:
				if r.change(url, queue, m.Receipt, 1+rand.IntN(10)) && n == 2 {
					r.remove(url, queue, m.Receipt)
				}
			case n < 8: // forgotten
			case n < 14:
				done = append(done, m.Receipt)
			default:
				r.remove(url, queue, m.Receipt)
			}
		}
		if len(done) > 0 {
			r.remove(url, queue, done...)
		}
	}
}
