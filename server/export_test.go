package server

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/runnel-io/runnel/internal/api/admin"
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

// Logs are the lines that are kept.
type Logs = logs

// Add keeps a line of an account.
func (l *logs) Add(account string, line admin.LogLine) { l.add(account, line) }

// Held is how many lines are kept, and about how many bytes they take.
func (l *logs) Held() (lines, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines), l.bytes
}

// Limits of what is kept.
const (
	KeptLines = keptLines
	KeptBytes = keptBytes
)

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
