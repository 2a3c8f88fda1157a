package server_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// A program that Runnel is part of: messages on a queue call a Go function,
// and what it returns goes onto another queue.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "runnel-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	file := filepath.Join(dir, "runnel.yaml")
	err = os.WriteFile(file, []byte(`
queues: {words: , shouts: }
flows:
  shout-words: {from: "queue:words", call: shout, to: ["queue:shouts"]}
`), 0o600)
	if err != nil {
		log.Fatal(err)
	}
	shout := func(_ context.Context, m runnel.Message) (runnel.Result, error) {
		return runnel.Result{Out: []runnel.Message{{Body: bytes.ToUpper(m.Body)}}}, nil
	}
	s, err := server.New(server.Config{
		Dir: filepath.Join(dir, "data"), Addr: "127.0.0.1:0", Dev: true,
		SpecFile: file,
		Handlers: map[string]runnel.Handler{"shout": runnel.HandlerFunc(shout)},
		Log:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	// When it returns, what the file declares is there.
	if err := s.Reload(ctx); err != nil {
		log.Fatal(err)
	}

	// SQS clients send to s.URL(). This program does it without HTTP.
	queues := s.Broker("default")
	words, err := queues.Sink("words")
	if err != nil {
		log.Fatal(err)
	}
	if err := words.Send(ctx, []runnel.Message{{Body: []byte("hello")}}); err != nil {
		log.Fatal(err)
	}
	shouts, err := queues.Source("shouts")
	if err != nil {
		log.Fatal(err)
	}
	results, err := shouts.Receive(ctx, runnel.Limits{Messages: 1, Wait: 20 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	for i := range results {
		fmt.Println(string(results[i].Body))
		if err := shouts.Settle(ctx, []runnel.Settlement{{Delivery: &results[i], Verdict: runnel.Ack}}); err != nil {
			log.Fatal(err)
		}
	}

	stop()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output: HELLO
}
