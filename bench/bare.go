package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// bareScenario measures what a call of the SQS API costs beyond HTTP: runnel
// serve against a bare net/http server (bareServer), which reads each request
// and answers with a body that Runnel gave to the same call. Both are driven by
// runnel load, which signs each request and reads each answer alike. Server
// and load are two processes on one machine, and share its cores.
//
// A run sends messages of 1 KB, receives them and deletes them, in rounds of
// 4,000 of a kind, so that each kind of call is timed alone; one message a
// call and ten, on 16 connections and on 64. The servers take turns.
func bareScenario(ctx context.Context, b *bench) (err error) {
	srv, err := b.startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	answers := filepath.Join(b.scratch, "answers.json")
	if err := recordAnswers(ctx, srv, answers); err != nil {
		return err
	}
	bare, err := b.start(ctx, "the bare server", b.self, "bare", "-answers", answers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	bare.key = srv.key

	type side struct {
		name, connections, batch string
		goal                     float64
		messages                 int
		bare, runnel             []figures
	}
	sides := []*side{
		{name: "one message a call", connections: "16", batch: "1", goal: 0.5, messages: 20_000},
		{name: "tens", connections: "16", batch: "10", goal: 0.25, messages: 100_000},
		{name: "one message a call", connections: "64", batch: "1", goal: 0.5, messages: 40_000},
		{name: "tens", connections: "64", batch: "10", goal: 0.25, messages: 100_000},
	}
	for run := 1; run <= b.pairs; run++ {
		for _, s := range sides {
			args := []string{"--mode", "phases", "--messages", b.count(s.messages), "--round", b.count(4_000), "--batch", s.batch, "--receive-batch", s.batch, "--producers", s.connections, "--consumers", s.connections}
			label := s.name + ", " + s.connections + " connections; "
			f, err := b.http(ctx, bare, label+"bare", run, args...)
			if err != nil {
				return err
			}
			s.bare = append(s.bare, f)
			if f, err = b.http(ctx, srv, label+"runnel", run, args...); err != nil {
				return err
			}
			s.runnel = append(s.runnel, f)
		}
	}
	rows := [][]string{{"1 KB, signed, fsync on", "connections", "call", "bare, calls/s", "runnel, calls/s", "ratio, median", "goal", "server CPU us/message: bare", "runnel", "each pair"}}
	met := true
	for _, s := range sides {
		batch, err := strconv.ParseFloat(s.batch, 64)
		if err != nil {
			return err
		}
		for _, c := range serverCalls {
			rate := func(f *figures) float64 { return c.phase(f).Rate / batch }
			cpu := func(f *figures) float64 { return c.phase(f).ServerCPU }
			ratio := of(s.runnel, rate).over(of(s.bare, rate))
			good := ratio.median() >= s.goal
			met = met && good
			rows = append(rows, []string{
				s.name, s.connections, c.name,
				fmt.Sprintf("%.0f", of(s.bare, rate).median()), fmt.Sprintf("%.0f", of(s.runnel, rate).median()),
				fmt.Sprintf("%.0f %%", 100*ratio.median()), fmt.Sprintf("%.0f %%: %s", 100*s.goal, verdict(good)),
				fmt.Sprintf("%.1f", of(s.bare, cpu).median()), fmt.Sprintf("%.1f", of(s.runnel, cpu).median()),
				ratio.list("%.2f"),
			})
		}
	}
	b.table(rows...)
	b.printf("\"All three\" is a message's whole way: the time of its three calls together. All goals: %s.\n\n", verdict(met))
	b.printf("The bare server reads the request's body whole and writes one that Runnel gave to the same call, status and content type too. It checks no signature, looks at no parameter but the number of messages to receive, and keeps nothing.\n")
	return nil
}

// serverCall is one kind of call, or all three of a message.
type serverCall struct {
	name  string
	phase func(*figures) *phase
}

// allThree are the calls of a message's whole way.
const allThree = "all three"

var serverCalls = []serverCall{
	{"send", func(f *figures) *phase { return f.Send }},
	{"receive", func(f *figures) *phase { return f.Receive }},
	{"delete", func(f *figures) *phase { return f.Delete }},
	{allThree, func(f *figures) *phase { return f.Cycle }},
}

// recordAnswers makes each call that runnel load makes once, with messages of
// 1 KB, and writes what the server answered to a file.
func recordAnswers(ctx context.Context, s *server, file string) error {
	answers := make(map[string][]byte)
	call := func(name string, in map[string]any) (map[string]any, error) {
		action, _, _ := strings.Cut(name, "/")
		text, err := s.call(ctx, action, in)
		if err != nil {
			return nil, err
		}
		answers[name] = text
		var out map[string]any
		if len(text) > 0 {
			err = json.Unmarshal(text, &out)
		}
		return out, err
	}
	if _, err := s.call(ctx, "CreateQueue", map[string]any{"QueueName": "load"}); err != nil {
		return err
	}
	out, err := call("GetQueueUrl", map[string]any{"QueueName": "load"})
	if err != nil {
		return err
	}
	queue := out["QueueUrl"]
	if _, err := call("GetQueueAttributes", map[string]any{"QueueUrl": queue, "AttributeNames": []string{"ApproximateNumberOfMessages"}}); err != nil {
		return err
	}
	body := strings.Repeat("x", 1024)
	receive := func(n int) (entries []map[string]any, err error) {
		out, err := call("ReceiveMessage/"+strconv.Itoa(n), map[string]any{"QueueUrl": queue, "MaxNumberOfMessages": n})
		if err != nil {
			return nil, err
		}
		messages, _ := out["Messages"].([]any)
		if len(messages) != n {
			return nil, fmt.Errorf("received %d messages to record an answer, want %d", len(messages), n)
		}
		for i, m := range messages {
			fields, _ := m.(map[string]any)
			entries = append(entries, map[string]any{"Id": strconv.Itoa(i), "ReceiptHandle": fields["ReceiptHandle"]})
		}
		return entries, nil
	}
	if _, err := call("SendMessage", map[string]any{"QueueUrl": queue, "MessageBody": body}); err != nil {
		return err
	}
	got, err := receive(1)
	if err != nil {
		return err
	}
	if _, err := call("DeleteMessage", map[string]any{"QueueUrl": queue, "ReceiptHandle": got[0]["ReceiptHandle"]}); err != nil {
		return err
	}
	var entries []map[string]any
	for i := range 10 {
		entries = append(entries, map[string]any{"Id": strconv.Itoa(i), "MessageBody": body})
	}
	if _, err := call("SendMessageBatch", map[string]any{"QueueUrl": queue, "Entries": entries}); err != nil {
		return err
	}
	if entries, err = receive(10); err != nil {
		return err
	}
	if _, err := call("DeleteMessageBatch", map[string]any{"QueueUrl": queue, "Entries": entries}); err != nil {
		return err
	}
	// runnel load makes its queue itself, and removes it.
	if _, err := s.call(ctx, "DeleteQueue", map[string]any{"QueueUrl": queue}); err != nil {
		return err
	}
	text, err := json.Marshal(answers)
	if err != nil {
		return fmt.Errorf("write the recorded answers: %w", err)
	}
	return os.WriteFile(file, text, 0o600)
}

// call makes one call of the SQS API.
func (s *server) call(ctx context.Context, action string, in any) ([]byte, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", action, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	req.Header.Set("Authorization", "Bearer "+s.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s: %w", action, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", action, resp.Status, text)
	}
	return text, nil
}

// bareCommand is "bench bare".
func bareCommand(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	file := flags.String("answers", "", "JSON file of the answers, by action")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("read the answers: %w", err)
	}
	s := new(bareServer)
	if err := json.Unmarshal(text, &s.answers); err != nil {
		return fmt.Errorf("read the answers: %w", err)
	}
	return serveBare(ctx, out, s)
}

// serveBare serves until ctx ends, and says where.
func serveBare(ctx context.Context, out io.Writer, h http.Handler) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "listening on http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	server := http.Server{Handler: h} //nolint:gosec // on loopback, for the time of a run
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// bareServer reads requests of runnel load and answers with recorded answers.
type bareServer struct {
	answers map[string][]byte // by action; of receives by "ReceiveMessage/N"
	bodies  sync.Pool         // of *bytes.Buffer
}

var bareContentType = []string{"application/x-amz-json-1.0"}

// ServeHTTP answers a call.
func (s *bareServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := s.bodies.Get().(*bytes.Buffer)
	if !ok {
		body = new(bytes.Buffer)
	}
	defer s.bodies.Put(body)
	body.Reset()
	if _, err := body.ReadFrom(r.Body); err != nil {
		http.Error(w, "the body did not arrive whole", http.StatusBadRequest)
		return
	}
	action, _ := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if action == "ReceiveMessage" {
		action = "ReceiveMessage/1"
		if bytes.Contains(body.Bytes(), []byte(`"MaxNumberOfMessages":10,`)) {
			action = "ReceiveMessage/10"
		}
	}
	answer, ok := s.answers[action]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h["Content-Type"] = bareContentType
	if len(answer) > 2048 { // below, net/http knows the length by itself
		h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	}
	_, _ = w.Write(answer) // a client that has gone is not told
}
