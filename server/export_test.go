package server

import (
	"log/slog"
	"net/http"
)

// NewHTTP returns the HTTP server of a server, with another handler.
func NewHTTP(h http.Handler) *http.Server { return newHTTP(h, slog.New(slog.DiscardHandler)) }

// Handler returns what the listener's requests go to.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// FailStore does what the store does when a commit did not reach the disk.
func (s *Server) FailStore(err error) { s.failed <- err }
