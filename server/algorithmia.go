package server

import (
	"net/http"

	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// algorithmia returns the handler of everything below /v1/.
func (s *Server) algorithmia() http.Handler {
	door := &algorithmia.Door{Auth: s.auth, Log: s.log, Data: hosted{s.collections, s.catalog}}
	return door.Handler()
}
