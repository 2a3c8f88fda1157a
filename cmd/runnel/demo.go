package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/runnel-io/runnel/server"
)

func newDemoCommand() *cobra.Command {
	var (
		messages int
		exit     bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job from nothing: a server, messages through it, a summary",
		Long: `Start a server as runnel dev does, on a free port and with a temporary directory,
send messages through its SQS door, receive and delete them, and account for
each. Then serve until Ctrl-C, for you to try more.

It fails if a message was lost, or is still there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if messages < 1 {
				return &usageError{"--messages is a number from 1 on"}
			}
			return demo(cmd.Context(), messages, exit, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&messages, "messages", 1000, "how many messages to send")
	cmd.Flags().BoolVar(&exit, "exit", false, "stop after the summary")
	return cmd
}

func demo(ctx context.Context, messages int, exit bool, out, errOut io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "runnel-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := server.New(server.Config{
		Dir: dir, Dev: true, Addr: "127.0.0.1:0", Version: thisBuild().version,
		Log: slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1) // gets what Run returns
	go func() { ended <- s.Run(serving) }()

	fmt.Fprintf(out, "listening on %s\n", s.URL())
	// The demonstration ends when its server does.
	working, cancel := context.WithCancelCause(serving)
	finished := make(chan error, 1)
	go func() {
		err := runDemo(working, s.URL(), messages, out)
		if err == nil && !exit {
			_, err = fmt.Fprintf(out, demoNext, s.URL(), os.Args[0])
			if err == nil {
				<-working.Done()
			}
		}
		finished <- err
	}()
	select {
	case err = <-finished:
		cancel(nil)
		stop()
		return errors.Join(err, <-ended)
	case err = <-ended:
		cancel(err)
		if late := <-finished; err == nil {
			err = late
		}
		return err
	}
}

// demoNext is what a person may do next: 1 is the URL, 2 the program.
const demoNext = `
The server goes on until Ctrl-C; its data is temporary. In another terminal:

  export RUNNEL_URL=%[1]s
  %[2]s send --create hello 'hello, world'
  %[2]s queue ls
  %[2]s receive hello
  curl %[1]s          # more to try, with the AWS CLI and boto3
`

// demoQueue is the queue that the demonstration makes.
const demoQueue = "demo"

// runDemo sends messages through the SQS API of a server, receives and deletes
// them, and prints the summary.
func runDemo(ctx context.Context, url string, messages int, out io.Writer) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 2 * demoWorkers
	defer transport.CloseIdleConnections()
	r := &demoRun{
		client: &client{
			base: url,
			http: &http.Client{Transport: transport},
		},
		messages: make([]demoMessage, messages),
		done:     make(chan struct{}),
	}
	// Signed, as the requests of any SQS client are.
	r.client.key.ID, r.client.key.Secret = "demo", "demo"
	var answer struct{ QueueUrl string }
	if err := r.client.sqs(ctx, "CreateQueue", map[string]string{"QueueName": demoQueue}, &answer); err != nil {
		return fmt.Errorf("make the queue: %w", err)
	}
	r.url = answer.QueueUrl
	start := time.Now()
	if err := r.run(ctx, out); err != nil {
		return err
	}
	return r.summary(ctx, out, time.Since(start))
}
