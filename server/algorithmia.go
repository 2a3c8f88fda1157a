package server

import (
	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// algorithmia returns the API of Algorithmia.
func (s *Server) algorithmia() *algorithmia.Door {
	return &algorithmia.Door{Auth: s.auth, Log: s.log}
}
