package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = 20 * time.Second

// server is runnel dev as a process of its own.
type server struct {
	url  string
	cmd  *exec.Cmd
	dir  string
	out  *bufio.Reader
	said bytes.Buffer // on standard error; to be read after the end
}

// startServer starts runnel dev on a free port of loopback, with new data, and
// returns when it listens.
func (b *bench) startServer(ctx context.Context) (*server, error) {
	dir, err := b.dir()
	if err != nil {
		return nil, err
	}
	args := []string{"dev", "--addr", "127.0.0.1:0", "--dir", dir, "--log-level", "warn"}
	s := &server{dir: dir, cmd: exec.CommandContext(ctx, b.runnel, args...)}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopTimeout
	s.cmd.Stderr = &s.said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start runnel dev: %w", err)
	}
	s.out = bufio.NewReader(out)
	fmt.Fprintln(os.Stderr, b.display(b.runnel, args))
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start runnel dev: %w", err)
	}
	// It says where it listens, or ends.
	first, err := s.out.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("runnel dev does not say where it listens, but %q", first), s.stop())
	}
	s.url = url
	return s, nil
}

// stop ends the server in good order and removes its data.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_, _ = io.Copy(io.Discard, s.out)         // to the end, as Wait wants
	err := s.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("runnel dev ended: %w: %s", err, bytes.TrimSpace(s.said.Bytes()))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// http runs runnel load against the server.
func (b *bench) http(ctx context.Context, s *server, label string, run int, args ...string) (figures, error) {
	return b.child(ctx, label, run, b.runnel, append([]string{"load", "--url", s.url}, args...)...)
}
