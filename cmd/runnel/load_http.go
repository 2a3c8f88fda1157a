package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// httpTarget is a queue of a server, over its SQS API.
type httpTarget struct {
	client    *client
	transport *http.Transport
	url       string   // of the queue
	prefix    []byte   // {"QueueUrl":"..."
	order     *ordered // nil: a standard queue
	made      bool     // the queue is ours to delete
	pid       int      // of the server; 0: not known
	begin     map[string]float64
	beginCPU  time.Duration
}

// openHTTP finds or makes the queue. calls is how many may be made at once,
// and pid the process of the server, or 0.
func openHTTP(ctx context.Context, c *client, name string, order *ordered, calls, pid int) (*httpTarget, error) {
	if pid != 0 && processCPU(pid) < 0 {
		return nil, fmt.Errorf("--server-pid %d: the system tells nothing of such a process", pid)
	}
	t := &httpTarget{
		client: c,
		order:  order,
		pid:    pid,
		// No more than a connection for each caller, all kept.
		transport: &http.Transport{
			MaxIdleConnsPerHost: calls,
			DisableCompression:  true,
			ReadBufferSize:      32 << 10,
			WriteBufferSize:     32 << 10,
		},
	}
	var out struct{ QueueUrl string }
	in := map[string]any{"QueueName": name}
	if c.sqs(ctx, "GetQueueUrl", in, &out) != nil {
		if order != nil {
			in["Attributes"] = map[string]string{"FifoQueue": "true"}
		}
		if err := c.sqs(ctx, "CreateQueue", in, &out); err != nil {
			return nil, err
		}
		t.made = true
	}
	t.url = out.QueueUrl
	quoted, err := json.Marshal(t.url)
	if err != nil {
		return nil, fmt.Errorf("encode the queue's URL: %w", err)
	}
	t.prefix = append([]byte(`{"QueueUrl":`), quoted...)
	return t, nil
}

func (t *httpTarget) worker() loadWorker { return &httpWorker{t: t} }

func (t *httpTarget) depth(ctx context.Context) (int64, error) {
	const name = "ApproximateNumberOfMessages"
	in := struct {
		QueueUrl       string
		AttributeNames []string
	}{t.url, []string{name}}
	var out struct{ Attributes map[string]string }
	if err := t.client.sqs(ctx, "GetQueueAttributes", in, &out); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(out.Attributes[name], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

func (t *httpTarget) before(ctx context.Context, f *figures) error {
	f.URL = t.client.base
	f.Durability = "the server's; runnel: fsync before acknowledgement"
	t.begin = t.metrics(ctx)
	t.beginCPU = t.serverCPU()
	return nil
}

// serverCPU is the processor time of the server so far, or -1.
func (t *httpTarget) serverCPU() time.Duration {
	if t.pid == 0 {
		return -1
	}
	return processCPU(t.pid)
}

func (t *httpTarget) after(ctx context.Context, f *figures) error {
	endCPU := t.serverCPU()
	end := t.metrics(ctx)
	// since returns what counters have gained, or false if one is not known.
	since := func(names ...string) (sum float64, ok bool) {
		for _, name := range names {
			before, known := t.begin[name]
			after, still := end[name]
			if !known || !still {
				return 0, false
			}
			sum += after - before
		}
		return sum, true
	}
	cpu, known := (endCPU - t.beginCPU).Seconds(), t.beginCPU >= 0 && endCPU >= 0
	if !known {
		cpu, known = since("process_cpu_seconds_total")
	}
	if known {
		f.ServerCPU = per(cpu*1e6, f.Messages)
		if f.Seconds > 0 {
			cores := rounded(cpu / f.Seconds)
			f.ServerCores = &cores
		}
	}
	if bytes, ok := since("runnel_store_commit_bytes_total", "runnel_store_flushed_bytes_total", "runnel_store_compacted_bytes_total"); ok {
		f.WrittenBytes = per(bytes, f.Messages)
	}
	if commits, ok := since("runnel_store_commits_total"); ok && commits > 0 {
		batches, _ := since("runnel_store_batches_total")
		f.BatchesPerCommit = per(batches, int64(commits))
	}
	f.ServerRSS = int64(end["process_resident_memory_bytes"])
	return nil
}

func (t *httpTarget) sample(ctx context.Context) sample {
	m := t.metrics(ctx)
	return sample{DiskBytes: int64(m["runnel_store_disk_bytes"]), RSS: int64(m["process_resident_memory_bytes"])}
}

// metrics returns the metrics of the server that have no labels; none where
// it does not show them.
func (t *httpTarget) metrics(ctx context.Context) map[string]float64 {
	body, err := t.client.stream(ctx, http.MethodGet, "/metrics")
	if err != nil {
		return nil
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	out := make(map[string]float64)
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 2 {
			continue
		}
		if v, err := strconv.ParseFloat(string(fields[1]), 64); err == nil {
			out[string(fields[0])] = v
		}
	}
	return out
}

func (t *httpTarget) close(ctx context.Context, keep bool) error {
	defer t.transport.CloseIdleConnections()
	if !t.made || keep {
		return nil
	}
	return t.client.sqs(ctx, "DeleteQueue", map[string]string{"QueueUrl": t.url}, nil)
}

// httpWorker writes requests and reads answers without reflection: with the
// server on the same machine, the client's cost is taken from the server.
type httpWorker struct {
	t      *httpTarget
	answer bytes.Buffer // of the last call; what is taken points into it
}

func (w *httpWorker) call(ctx context.Context, action string, body []byte) ([]byte, error) {
	req, err := w.t.client.sqsRequest(ctx, action, body)
	if err != nil {
		return nil, err
	}
	resp, err := w.t.transport.RoundTrip(req)
	if err != nil {
		return nil, w.t.client.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	w.answer.Reset()
	if _, err := w.answer.ReadFrom(resp.Body); err != nil {
		return nil, w.t.client.unreachable(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, sqsFailure(action, resp, w.answer.Bytes())
	}
	return w.answer.Bytes(), nil
}

// body begins a request. Each has its own: the transport may still hold the
// one before.
func (w *httpWorker) body(size int) []byte {
	return append(make([]byte, 0, len(w.t.prefix)+size), w.t.prefix...)
}

// send takes bodies that need no quoting in JSON.
func (w *httpWorker) send(ctx context.Context, bodies [][]byte) error {
	room := 48
	if w.t.order != nil {
		room = 160
	}
	if len(bodies) == 1 {
		b := append(w.body(len(bodies[0])+room), `,"MessageBody":"`...)
		b = append(append(b, bodies[0]...), '"')
		_, err := w.call(ctx, "SendMessage", append(w.ordering(b), '}'))
		return err
	}
	b := append(w.body(len(bodies)*(len(bodies[0])+room)+32), `,"Entries":[`...)
	for i, body := range bodies {
		b = strconv.AppendInt(append(b, `{"Id":"`...), int64(i), 10)
		b = append(b, `","MessageBody":"`...)
		b = append(append(b, body...), '"')
		b = append(w.ordering(b), `},`...)
	}
	return w.batch(ctx, "SendMessageBatch", b)
}

// ordering adds what a message has on a FIFO queue only.
func (w *httpWorker) ordering(b []byte) []byte {
	if w.t.order == nil {
		return b
	}
	group, id := w.t.order.message()
	b = append(append(b, `,"MessageGroupId":"`...), group...)
	b = append(append(b, `","MessageDeduplicationId":"`...), id...)
	return append(b, '"')
}

// batch ends the list of entries, makes the call and looks for entries that
// failed: only those have a code.
func (w *httpWorker) batch(ctx context.Context, action string, b []byte) error {
	b = append(b[:len(b)-1], "]}"...)
	answer, err := w.call(ctx, action, b)
	if err != nil {
		return err
	}
	var failed sqsError
	err = eachString(answer, func(name, value []byte) {
		switch string(name) {
		case "Code":
			failed.Code = string(value)
		case "Message":
			failed.Message = string(value)
		}
	})
	if err != nil {
		return fmt.Errorf("read the answer to %s: %w", action, err)
	}
	if failed.Code != "" {
		return fmt.Errorf("%s: an entry failed: %w", action, &failed)
	}
	return nil
}

func (w *httpWorker) receive(ctx context.Context, most int, wait time.Duration, into []taken) ([]taken, error) {
	b := append(w.body(96), `,"MaxNumberOfMessages":`...)
	b = strconv.AppendInt(b, int64(most), 10)
	b = strconv.AppendInt(append(b, `,"WaitTimeSeconds":`...), int64((wait+time.Second-1)/time.Second), 10)
	b = strconv.AppendInt(append(b, `,"VisibilityTimeout":`...), int64(loadLease/time.Second), 10)
	answer, err := w.call(ctx, "ReceiveMessage", append(b, '}'))
	if err != nil {
		return into, err
	}
	// A message has both, in any order: the second of them completes it.
	var body, handle []byte
	err = eachString(answer, func(name, value []byte) {
		switch string(name) {
		case "Body":
			body = value
		case "ReceiptHandle":
			handle = value
		default:
			return
		}
		if body != nil && handle != nil {
			into = append(into, taken{body: body, handle: string(handle)})
			body, handle = nil, nil
		}
	})
	if err != nil {
		return into, fmt.Errorf("read the answer to ReceiveMessage: %w", err)
	}
	return into, nil
}

func (w *httpWorker) remove(ctx context.Context, ts []taken) error {
	if len(ts) == 1 {
		b := append(w.body(128), `,"ReceiptHandle":"`...)
		b = append(append(b, ts[0].handle.(string)...), `"}`...)
		_, err := w.call(ctx, "DeleteMessage", b)
		return err
	}
	b := append(w.body(len(ts)*96+32), `,"Entries":[`...)
	for i := range ts {
		b = strconv.AppendInt(append(b, `{"Id":"`...), int64(i), 10)
		b = append(b, `","ReceiptHandle":"`...)
		b = append(append(b, ts[i].handle.(string)...), `"},`...)
	}
	return w.batch(ctx, "DeleteMessageBatch", b)
}

// eachString calls f with the name and the value of each field of a JSON
// document whose value is a string, at any depth, in their order, without
// their quotes and as they are escaped. It does not check the document
// further than it needs to.
func eachString(doc []byte, f func(name, value []byte)) error {
	var name []byte // the last string, if a colon followed it
	for i := 0; i < len(doc); i++ {
		if doc[i] != '"' {
			if doc[i] > ' ' {
				name = nil // a value that is not a string
			}
			continue
		}
		end := i + 1
		for end < len(doc) && doc[end] != '"' {
			if doc[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(doc) {
			return fmt.Errorf("a string does not end: %w", io.ErrUnexpectedEOF)
		}
		s := doc[i+1 : end]
		i = end
		next := end + 1
		for next < len(doc) && doc[next] <= ' ' {
			next++
		}
		switch {
		case next < len(doc) && doc[next] == ':':
			name, i = s, next
		case name != nil:
			f(name, s)
			name = nil
		}
	}
	return nil
}
