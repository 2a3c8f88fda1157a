package main

import (
	"context"
	"testing"
	"time"

	"github.com/runnel-io/runnel"
)

func TestShout(t *testing.T) {
	s, err := open(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if err := s.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	b := s.Broker("default")
	words, err := b.Sink("words")
	if err != nil {
		t.Fatal(err)
	}
	if err := words.Send(ctx, []runnel.Message{{Body: []byte("hello")}}); err != nil {
		t.Fatal(err)
	}
	shouts, err := b.Source("shouts")
	if err != nil {
		t.Fatal(err)
	}
	ds, err := shouts.Receive(ctx, runnel.Limits{Messages: 1, Wait: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(ds) != 1 || string(ds[0].Body) != "HELLO" {
		t.Errorf("got %d messages %v, want HELLO", len(ds), ds)
	}
}
