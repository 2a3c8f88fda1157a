// Command go-handler is a server with a function in Go: a program of its own
// that Runnel is part of.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/server"
)

// shout answers a message. It gets the body as it is, and so does whoever
// reads the queue that its result goes to.
func shout(_ context.Context, m runnel.Message) (runnel.Result, error) {
	if len(m.Body) == 0 {
		return runnel.Result{}, runnel.Reject("there is nothing to shout")
	}
	return runnel.Result{Out: []runnel.Message{{Body: bytes.ToUpper(m.Body)}}}, nil
}

// open opens a server in which flows can call shout.
func open(dir, addr string) (*server.Server, error) {
	return server.New(server.Config{
		Dir: dir, Addr: addr, Dev: true,
		SpecFile: "runnel.yaml",
		Handlers: map[string]runnel.Handler{"shout": runnel.HandlerFunc(shout)},
	})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := open(".runnel", server.DefaultAddr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", s.URL())
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
