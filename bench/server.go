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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a server may take to end before it is killed.
const stopTimeout = 20 * time.Second

// server is a server as a process of its own.
type server struct {
	url  string
	key  string // of an admin, ID.SECRET; "": it takes anybody
	cmd  *exec.Cmd
	dir  string // its data; "": it has none
	keep bool   // the data is not removed with it
	name string
	out  *bufio.Reader
	said bytes.Buffer // on standard error; to be read after the end
}

// startServer starts runnel serve on a free port of loopback, with new data,
// and returns when it listens. Requests to it must be signed.
func (b *bench) startServer(ctx context.Context) (*server, error) {
	dir, err := b.dir()
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, dir)
	if err != nil {
		return nil, err
	}
	if err := s.readKey(); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// serve starts runnel serve on a directory that has data or is empty.
func (b *bench) serve(ctx context.Context, dir string) (*server, error) {
	s, err := b.start(ctx, "runnel serve", b.runnel, "serve", "--addr", "127.0.0.1:0", "--dir", dir, "--log-level", "warn")
	if s != nil {
		s.dir = dir
	}
	return s, err
}

// start starts a server and returns when it has said where it listens.
func (b *bench) start(ctx context.Context, name, program string, args ...string) (*server, error) {
	s := &server{name: name, cmd: exec.CommandContext(ctx, program, args...)}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopTimeout
	s.cmd.Stderr = &s.said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s.out = bufio.NewReader(out)
	fmt.Fprintln(os.Stderr, b.display(program, args))
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	// It says where it listens, or ends.
	first, err := s.out.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(first), "listening on ")
	if err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%s does not say where it listens, but %q", name, first), s.stop())
	}
	s.url = url
	return s, nil
}

// readKey reads the admin's key, which a server on a new directory prints.
func (s *server) readKey() error {
	text, err := s.out.ReadString('\n')
	fields := strings.Fields(text)
	if err != nil || len(fields) < 2 || fields[0] != "admin" || fields[len(fields)-2] != "token" {
		return fmt.Errorf("%s does not print the admin's key", s.name)
	}
	s.key = fields[len(fields)-1]
	return nil
}

// stop ends the server in good order and removes its data.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_, _ = io.Copy(io.Discard, s.out)         // to the end, as Wait wants
	err := s.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("%s ended: %w: %s", s.name, err, bytes.TrimSpace(s.said.Bytes()))
	}
	if s.dir != "" && !s.keep {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// kill ends the server without warning. Its data stays.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", s.name, err)
	}
	_, _ = io.Copy(io.Discard, s.out)
	_ = s.cmd.Wait() // that it was killed
	return nil
}

// http runs runnel load against the server, signed with its key.
func (b *bench) http(ctx context.Context, s *server, label string, run int, args ...string) (figures, error) {
	env := append(os.Environ(), "RUNNEL_KEY="+s.key)
	return b.childIn(ctx, env, label, run, b.runnel, append([]string{"load", "--url", s.url, "--server-pid", strconv.Itoa(s.cmd.Process.Pid)}, args...)...)
}
