package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runnel-io/runnel/server"
)

// pipeListener has one connection, made of memory: such a one can be waited
// for in synctest.
type pipeListener struct {
	conns  chan net.Conn // holds the connection; nobody closes it
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// serveOne serves one connection with the timeouts of a server, writes request
// to it, and returns what comes back.
func serveOne(t *testing.T, handler http.HandlerFunc, request string) string {
	client, conn := net.Pipe()
	l := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conns <- conn
	s := server.NewHTTP(handler)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	if _, err := io.WriteString(client, request); err != nil {
		t.Error(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil {
		t.Error(err)
	}
	if err := errors.Join(client.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	return string(answer)
}

func TestBodyThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var took time.Duration
		var readErr error
		serveOne(t, func(_ http.ResponseWriter, r *http.Request) {
			_, readErr = io.ReadAll(r.Body)
			took = time.Since(start)
		}, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf")
		if readErr == nil || took != time.Minute {
			t.Errorf("got %v after %v, want an error after 1m", readErr, took)
		}
	})
}

// TestWorkAfterTheBody: what a server does with a body that has come may take
// as long as it likes.
func TestWorkAfterTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		answer := serveOne(t, func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
				cause = context.Cause(r.Context())
			}
			_, _ = io.WriteString(w, "done")
		}, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody")
		if cause != nil || !strings.HasSuffix(answer, "done") {
			t.Errorf("the request ended with %v: %q", cause, answer)
		}
	})
}
