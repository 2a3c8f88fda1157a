package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

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
		Short: "Show the main job from nothing: functions, messages through them, a summary",
		Long: `Start a server as runnel dev does, on a free port and with a temporary directory
that holds two of the examples: a function that makes thumbnails, in Python, and
a state machine, in JavaScript (or one in the other's language, or both in Go,
where an interpreter is missing).

Messages are sent through its SQS door with the official AWS SDK, one in two
hundred broken on purpose. Each is accounted for: its result was seen, or it is
a dead letter. Then the server goes on until Ctrl-C, for you to try more, and to
edit the functions.

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
	cmd.AddCommand(newDemoSQSFileCommand())
	return cmd
}

// demo runs the demonstration in a directory of its own, and removes it.
func demo(ctx context.Context, messages int, exit bool, out, errOut io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "runnel-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, err := writeDemo(dir, demoLanguages(ctx))
	if err != nil {
		return err
	}
	return serveDemo(ctx, server.Config{
		Dir: filepath.Join(dir, "data"), Dev: true, Addr: "127.0.0.1:0", Version: thisBuild().version,
		SpecFile: files.spec, Watch: true, Handlers: demoHandlers(files),
		Log: slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelError})),
	}, func(ctx context.Context, s *server.Server) error { return showDemo(ctx, s, files, messages, exit, out) })
}

// serveDemo runs a server for as long as show shows it.
func serveDemo(ctx context.Context, cfg server.Config, show func(context.Context, *server.Server) error) error {
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1) // gets what Run returns
	go func() { ended <- s.Run(serving) }()

	// The demonstration ends when its server does.
	working, cancel := context.WithCancelCause(serving)
	finished := make(chan error, 1)
	go func() { finished <- show(working, s) }()
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

// showDemo is what a person sees. Without exit it returns when ctx ends.
func showDemo(ctx context.Context, s *server.Server, files *demoFiles, messages int, exit bool, out io.Writer) error {
	fmt.Fprintf(out, "listening on %s\n", s.URL())
	fmt.Fprintf(out, "everything is in %s, a temporary directory\n\n", files.dir)
	if err := s.Reload(ctx); err != nil { // when it returns, the functions run
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("deploy the examples: %w", err)
	}
	stages := []*demoStage{
		newDemoStage(s.URL(), thumbnailsFlow, messages),
		newDemoStage(s.URL(), greetFlow, min(messages, greetings)),
	}
	for i, stage := range stages {
		fmt.Fprintf(out, "%d. %s\n", i+1, stage.flow.title(files.language(stage.flow.function)))
		if err := stage.run(ctx, out); err != nil {
			return err
		}
	}
	if err := writeSummary(out, files, stages); err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	open := 0
	for _, stage := range stages {
		open += stage.open()
	}
	if open > 0 {
		return fmt.Errorf("%d messages are not accounted for", open)
	}
	if exit {
		return nil
	}
	if err := writeNext(out, s.URL(), os.Args[0], files); err != nil {
		return fmt.Errorf("print what to try: %w", err)
	}
	<-ctx.Done()
	return nil
}
