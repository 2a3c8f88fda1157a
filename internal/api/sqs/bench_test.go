package sqs_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/runnel-io/runnel"
)

// The store is on disk, with fsync: 64 callers share its commits. There is no
// network, and no key to check.
const benchCallers = 64

func newBench(b *testing.B) *env {
	e := newEnvAt(b, b.TempDir(), nil, nil)
	e.create("q", nil)
	b.SetParallelism(benchCallers)
	b.ReportAllocs()
	return e
}

// caller sends requests straight to the handler.
type caller struct {
	b       *testing.B
	door    http.Handler
	request *http.Request
	target  []string
	body    bytes.Reader
	out     bytes.Buffer
}

func newCaller(b *testing.B, door http.Handler) *caller {
	c := &caller{b: b, door: door, request: httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", nil), target: make([]string, 1)}
	c.request.Header["X-Amz-Target"] = c.target
	c.request.Body = io.NopCloser(&c.body)
	return c
}

// call returns the answer's body, which is good until the next call.
func (c *caller) call(target string, body []byte) []byte {
	c.target[0] = target
	return c.post(body)
}

// post is call for who sets the headers.
func (c *caller) post(body []byte) []byte {
	c.body.Reset(body)
	c.request.ContentLength = int64(len(body))
	c.out.Reset()
	w := httptest.NewRecorder()
	w.Body = &c.out
	c.door.ServeHTTP(w, c.request)
	if w.Code != http.StatusOK {
		c.b.Errorf("%s: %d %s", c.target[0], w.Code, c.out.String())
	}
	return c.out.Bytes()
}

func BenchmarkSendMessage(b *testing.B) {
	e := newBench(b)
	body := []byte(`{"QueueUrl":"http://localhost:7070/000000000000/q","MessageBody":"` + strings.Repeat("x", 1024) + `"}`)
	b.RunParallel(func(p *testing.PB) {
		c := newCaller(b, e.door)
		for p.Next() {
			c.call("AmazonSQS.SendMessage", body)
		}
	})
}

// BenchmarkSendMessageBatch sends ten messages each time.
func BenchmarkSendMessageBatch(b *testing.B) {
	e := newBench(b)
	var entries []string
	for id := range strings.SplitSeq("abcdefghij", "") {
		entries = append(entries, `{"Id":"`+id+`","MessageBody":"`+strings.Repeat("x", 1024)+`"}`)
	}
	body := []byte(`{"QueueUrl":"http://localhost:7070/000000000000/q","Entries":[` + strings.Join(entries, ",") + `]}`)
	b.RunParallel(func(p *testing.PB) {
		c := newCaller(b, e.door)
		for p.Next() {
			c.call("AmazonSQS.SendMessageBatch", body)
		}
	})
}

// BenchmarkReceiveDelete receives one message with all that is to know of it,
// and deletes it.
func BenchmarkReceiveDelete(b *testing.B) {
	e := newBench(b)
	q := e.queue("q")
	text := []byte(strings.Repeat("x", 1024))
	for left := b.N; left > 0; {
		ms := make([]runnel.Message, min(left, 1000))
		for i := range ms {
			ms[i] = runnel.Message{Body: text, Sender: "000000000000"}
		}
		if _, err := q.Send(ms); err != nil {
			b.Fatal(err)
		}
		left -= len(ms)
	}
	receive := []byte(`{"QueueUrl":"http://localhost:7070/000000000000/q","MaxNumberOfMessages":1,"AttributeNames":["All"],"MessageAttributeNames":["All"]}`)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		c := newCaller(b, e.door)
		var body []byte
		for p.Next() {
			got := c.call("AmazonSQS.ReceiveMessage", receive)
			_, rest, ok := bytes.Cut(got, []byte(`"ReceiptHandle":"`))
			if !ok {
				b.Errorf("no message: %s", got)
				return
			}
			body = append(body[:0], `{"QueueUrl":"http://localhost:7070/000000000000/q","ReceiptHandle":"`...)
			body = append(append(body, rest[:39]...), `"}`...)
			c.call("AmazonSQS.DeleteMessage", body)
		}
	})
}

// BenchmarkSendMessageQuery is BenchmarkSendMessage by the query protocol.
func BenchmarkSendMessageQuery(b *testing.B) {
	e := newBench(b)
	body := []byte("Action=SendMessage&Version=2012-11-05&QueueUrl=http%3A%2F%2Flocalhost%3A7070%2F000000000000%2Fq&MessageBody=" + strings.Repeat("x", 1024))
	b.RunParallel(func(p *testing.PB) {
		c := newCaller(b, e.door)
		c.request.Header.Del("X-Amz-Target")
		c.request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for p.Next() {
			c.post(body)
		}
	})
}
