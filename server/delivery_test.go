package server_test

import (
	"strings"
	"testing"
)

// TestDelivery: odd delivery is set by the native API and in a spec file, not by
// attributes of SQS, and outlives a restart.
func TestDelivery(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	r := start(t, cfg)
	url := r.createQueue(t, "images")
	set := func(queue, body string) (int, string) {
		return r.call(t, "PUT", "/api/v1/queues/"+queue+"/delivery", map[string][]string{"Content-Type": {"application/json"}}, body)
	}
	if status, body := set("images", `{"delivery": "shuffle", "duplicate": 1}`); status != 200 || !strings.Contains(body, `"delivery":"shuffle","duplicate":1`) {
		t.Fatalf("got %d %s", status, body)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, cfg)
	url = strings.Replace(url, url[:strings.Index(url, "/0")], r.URL(), 1)
	r.send(t, url, "a")
	first, second := r.receive(t, url), r.receive(t, url)
	if len(first) != 1 || len(second) != 1 || first[0].MessageId != second[0].MessageId || first[0].ReceiptHandle == second[0].ReceiptHandle {
		t.Fatalf("received %v and %v, want one message twice", first, second)
	}
	for _, m := range []message{second[0], first[0]} {
		r.sqs(t, "DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle}, nil)
	}
	if _, text := r.call(t, "GET", "/metrics", nil, ""); !strings.Contains(text, `runnel_queue_duplicated_total{account="default",queue="images"} 1`) {
		t.Error("the second delivery is not in the metrics")
	}
	for _, name := range []string{"Delivery", "Duplicate"} {
		status, body := r.trySQS(t, "SetQueueAttributes", map[string]any{"QueueUrl": url, "Attributes": map[string]string{name: "shuffle"}})
		if status != 400 || !strings.Contains(body, "InvalidAttributeName") {
			t.Errorf("SetQueueAttributes %s: got %d %s", name, status, body)
		}
	}
	r.sqs(t, "CreateQueue", map[string]any{"QueueName": "images.fifo", "Attributes": map[string]string{"FifoQueue": "true"}}, nil)
	if status, body := set("images.fifo", `{"duplicate": 0.5}`); status != 400 || !strings.Contains(body, `"path":"duplicate"`) {
		t.Errorf("on a FIFO queue: got %d %s", status, body)
	}
	status, out := r.apply(t, "app.yaml", "queues: {images: {delivery: random, duplicate: 2}}", nil, false)
	if status != 400 || len(out.Error.Faults) != 2 {
		t.Errorf("apply: got %d %+v", status, out.Error)
	}
	if status, out = r.apply(t, "app.yaml", "queues: {images: {delivery: shuffle, duplicate: 0.25}}", nil, false); status != 200 {
		t.Fatalf("apply: got %d %+v", status, out.Error)
	}
	if _, body := r.call(t, "GET", "/api/v1/queues/images", nil, ""); !strings.Contains(body, `"delivery":"shuffle","duplicate":0.25`) {
		t.Errorf("after the apply: %s", body)
	}
	if status, _ := set("images", `{}`); status != 409 {
		t.Errorf("on a queue of a file: got %d", status)
	}
}
