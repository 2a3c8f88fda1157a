package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// restartScenario measures how long a server takes to come back with 10,000,000
// messages of 1 KB on a queue: from the start of its process until a client has
// received one of them over HTTP, and its memory then. The messages are sent in
// process. Clean stops first, then kill -9 in the middle of sends.
func restartScenario(ctx context.Context, b *bench) (err error) {
	dir, err := b.dir()
	if err != nil {
		return err
	}
	messages := b.count(10_000_000)
	loading, err := b.engine(ctx, "load the backlog", 1, dir, "--mode", "send", "--messages", messages, "--batch", "100", "--producers", "16", "--keep")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.remove(dir)) }()
	b.printf("%s messages, %.1f GB on disk.\n\n", messages, float64(loading.DiskBytes)/1e9)

	// The first start makes the keys.
	srv, err := b.serve(ctx, dir)
	if err != nil {
		return err
	}
	srv.keep = true
	if err := errors.Join(srv.readKey(), srv.settle(ctx), srv.stop()); err != nil {
		return err
	}
	key := srv.key
	var clean, killed restarts
	for range b.pairs {
		srv, err := clean.start(ctx, b, dir, key)
		if err != nil {
			return err
		}
		if err := srv.stop(); err != nil {
			return err
		}
	}
	for range min(b.pairs, 2) {
		if err := b.killServer(ctx, dir, key); err != nil {
			return err
		}
		srv, err := killed.start(ctx, b, dir, key)
		if err != nil {
			return err
		}
		if err := srv.stop(); err != nil {
			return err
		}
	}
	row := func(name string, r restarts) []string {
		return []string{
			name, fmt.Sprintf("%.2f", r.ready().median()), fmt.Sprintf("%.2f", r.ready().max()),
			fmt.Sprintf("%.0f", r.memory().max()), fmt.Sprintf("%.0f", r.peak().max()), r.ready().list("%.2f"),
		}
	}
	b.table([]string{"", "seconds until a message was received, median", "slowest", "RSS then, MB, the largest", "peak until then", "each run, seconds"},
		row("after a clean stop", clean), row("after kill -9 in the middle of sends", killed))
	all := append(append(restarts(nil), clean...), killed...)
	b.printf("Goal, under 5 s: %s; under 500 MB: %s. The files were in the system's page cache, as far as they fit.\n",
		verdict(all.ready().max() < 5), verdict(all.peak().max() < 500))
	return nil
}

// restart is one start of a server.
type restart struct {
	ready        time.Duration // until a message was received
	memory, peak int64
}

type restarts []restart

// start starts a server on a directory, and receives a message, which is
// visible again at once.
func (r *restarts) start(ctx context.Context, b *bench, dir, key string) (*server, error) {
	begin := time.Now()
	srv, err := b.serve(ctx, dir)
	if err != nil {
		return nil, err
	}
	srv.keep, srv.key = true, key
	text, err := srv.call(ctx, "ReceiveMessage", map[string]any{"QueueUrl": "load", "VisibilityTimeout": 0})
	ready := time.Since(begin)
	if err == nil && len(text) < 1024 {
		err = fmt.Errorf("nothing was received, but %q", text)
	}
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	now, peak := residentBytes(srv.cmd.Process.Pid)
	*r = append(*r, restart{ready, now, peak})
	return srv, nil
}

// killServer starts a server on a directory and kills it without warning in the
// middle of sends.
func (b *bench) killServer(ctx context.Context, dir, key string) (err error) {
	alive := 4 * time.Second / time.Duration(b.scale)
	srv, err := b.serve(ctx, dir)
	if err != nil {
		return err
	}
	args := []string{"load", "--url", srv.url, "--mode", "send", "--duration", "1m", "--producers", "64", "--keep"}
	fmt.Fprintf(os.Stderr, "kill -9 after %v: %s\n", alive, b.display(b.runnel, args))
	load := exec.CommandContext(ctx, b.runnel, args...)
	load.Env = append(os.Environ(), "RUNNEL_KEY="+key)
	if err := load.Start(); err != nil {
		return errors.Join(err, srv.kill())
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()
	timer := time.NewTimer(alive)
	defer timer.Stop()
	select {
	case err := <-ended:
		return errors.Join(errors.New("the sends ended before their server was killed"), err, srv.kill())
	case <-timer.C:
	}
	err = srv.kill()
	if <-ended == nil {
		err = errors.Join(err, errors.New("the sends ended well although their server was killed"))
	}
	return err
}

func (r restarts) ready() (out series) {
	for _, one := range r {
		out = append(out, one.ready.Seconds())
	}
	return out
}

func (r restarts) memory() (out series) {
	for _, one := range r {
		out = append(out, float64(one.memory)/1e6)
	}
	return out
}

func (r restarts) peak() (out series) {
	for _, one := range r {
		out = append(out, float64(one.peak)/1e6)
	}
	return out
}
