package server

import (
	"log/slog"
	"net/http"

	"github.com/runnel-io/runnel/internal/queue"
)

// NewHTTP returns the HTTP server of a server, with another handler.
func NewHTTP(h http.Handler) *http.Server { return newHTTP(h, slog.New(slog.DiscardHandler)) }

// Handler returns what the listener's requests go to.
func (s *Server) Handler() http.Handler { return s.http.Handler }

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
var Unpack = unpack

// NewWatcher returns what looks at the files of a spec.
var NewWatcher = newWatcher

// Look tells whether a file has changed.
func (w *watcher) Look() string { return w.look() }
