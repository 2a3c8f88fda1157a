package server

import (
	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// algorithmia returns the API of Algorithmia.
func (s *Server) algorithmia() *algorithmia.Door {
	return &algorithmia.Door{Auth: s.auth, Log: s.log, Accounts: accountAPI{s.applier}, Listeners: s.listenerAPI()}
}

// listenerAPI returns the flows as event listeners.
func (s *Server) listenerAPI() listenerAPI {
	return listenerAPI{applier: s.applier, vault: s.functions.vault, publicURL: s.cfg.PublicURL, addr: s.Addr()}
}
