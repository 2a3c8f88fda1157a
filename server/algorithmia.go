package server

import (
	"net/http"

	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// algorithmia returns the handler of everything below /v1/.
func (s *Server) algorithmia() http.Handler {
	door := &algorithmia.Door{Auth: s.auth, Log: s.log, Calls: callAPI{s.applier, s.printed, s.background}}
	return door.Handler()
}
