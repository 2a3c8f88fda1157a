package server

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/queue"
)

// NewHTTP returns the HTTP server of a server, with another handler.
func NewHTTP(h http.Handler) *http.Server { return newHTTP(h, slog.New(slog.DiscardHandler)) }

// Handler returns what the listener's requests go to.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Routes returns the method and the path of every call of the native API and of
// Algorithmia's.
func (s *Server) Routes() []string {
	routes := s.native().Routes()
	for _, r := range s.algorithmia().Routes() {
		routes = append(routes, r.Method+" "+r.Pattern)
	}
	return routes
}

// FailStore does what the store does when a commit did not reach the disk.
func (s *Server) FailStore(err error) { s.failed <- err }

// DropQueue deletes a queue with its messages, whoever uses it: what no door
// does.
func (s *Server) DropQueue(account, name string) error {
	return s.queues.Delete(queue.Name{Account: account, Queue: name})
}

// Summary is the one sentence about a flow.
var Summary = summary

// Unpack unpacks an archive below a directory.
func Unpack(tmp string, archive []byte) (code fs.FS, remove func(), err error) {
	s := sources{tmp: tmp}
	if code, err = s.unpack(context.Background(), bytes.NewReader(archive), int64(len(archive))); err != nil {
		s.close()
	}
	return code, s.close, err
}

// NewWatcher returns what looks at the files of a spec.
var NewWatcher = newWatcher

// Look tells whether a file has changed.
func (w *watcher) Look() string { return w.look() }

// AddAccount makes an account with a standard key.
func (s *Server) AddAccount(ctx context.Context, name string) (Key, error) {
	a, err := s.catalog.CreateAccount(ctx, name)
	if err != nil {
		return Key{}, err
	}
	k := auth.NewKey(a.Name, a.ID, false, time.Now())
	return Key{ID: k.ID, Secret: k.Secret, Token: k.Token()}, s.catalog.AddKey(ctx, catalog.Key(k))
}

// Document returns a document of the catalog.
func (s *Server) Document(ctx context.Context, kind, name string) (string, error) {
	d, err := s.catalog.Get(ctx, kind, name)
	return string(d.Value), err
}

// PutDocument replaces a document of the catalog.
func (s *Server) PutDocument(ctx context.Context, kind, name, value string) error {
	d, err := s.catalog.Get(ctx, kind, name)
	if err != nil {
		return err
	}
	_, err = s.catalog.Put(ctx, kind, name, []byte(value), d.Version)
	return err
}

// WorkerURL is where workers find a server that listens on an address.
func WorkerURL(addr string, tls bool) string {
	s := &Server{listener: listenerAt(addr)}
	if tls {
		s.cfg.TLSCert = "cert.pem"
	}
	return s.workerURL()
}

type listenerAt string

func (listenerAt) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (listenerAt) Close() error              { return nil }
func (l listenerAt) Addr() net.Addr          { return addr(l) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }
