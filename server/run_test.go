package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/runnel-io/runnel/server"
)

// long is more than anything here takes, and less than a receive waits.
const long = 10 * time.Second

func TestDrainEndsReceivesThatWait(t *testing.T) {
	r := start(t, config(t))
	url := r.createQueue(t, "images")
	type answer struct {
		status int
		body   string
	}
	answered := make(chan answer, 1)
	go func() {
		status, body := r.trySQS(t, "ReceiveMessage", map[string]any{"QueueUrl": url, "WaitTimeSeconds": 20})
		answered <- answer{status, body}
	}()
	for waiting := false; !waiting && t.Context().Err() == nil; {
		_, body := r.call(t, "GET", "/api/v1/queues", nil, "")
		waiting = strings.Contains(body, `"receivers":1`)
	}
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if took := time.Since(began); took > long {
		t.Errorf("the drain took %v", took)
	}
	got := <-answered
	// Either is something that clients go on from.
	if got.status != 200 && got.status != 503 {
		t.Errorf("the receive that waited: got %d %s", got.status, got.body)
	}
	if strings.Contains(got.body, "MessageId") {
		t.Errorf("the receive that waited got a message: %s", got.body)
	}
}

// TestDrainCutsOff has a request that never ends.
func TestDrainCutsOff(t *testing.T) {
	cfg := config(t)
	cfg.DrainTimeout = 50 * time.Millisecond
	r := start(t, cfg)
	r.createQueue(t, "images")
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const request = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n" +
		"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	// The server says this when it begins to read the body, which never comes.
	answer := make([]byte, len("HTTP/1.1 100 Continue"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 100 Continue" {
		t.Fatalf("got %q, %v", answer, err)
	}
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("run: %v", err)
	}
	if took := time.Since(began); took > long {
		t.Errorf("the drain took %v", took)
	}

	again := start(t, cfg)
	if got := again.receive(t, again.URL()+"/000000000000/images"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestRunOfAnEndedContextCloses(t *testing.T) {
	cfg := config(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second needs what the first has let go
		s, err := server.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ended); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreFailureEndsRun(t *testing.T) {
	s, err := server.New(config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	broken := errors.New("input/output error")
	s.FailStore(broken)
	err = <-ended
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "the disk did not take a write") {
		t.Errorf("got %v", err)
	}
}
