package server

import (
	"path/filepath"

	"github.com/runnel-io/runnel/internal/api/algorithmia"
)

// algorithmia returns the API of Algorithmia.
func (s *Server) algorithmia() *algorithmia.Door {
	algorithms := s.algorithmAPI()
	return &algorithmia.Door{
		Auth: s.auth, Log: s.log, URL: s.urlFor,
		Calls:      callAPI{s.applier, algorithms, s.printed, s.background},
		Algorithms: algorithms,
		Data:       hosted{s.collections, s.catalog},
		Accounts:   accountAPI{s.applier, s.collections},
		Listeners:  s.listenerAPI(),
	}
}

// algorithmAPI returns functions as Algorithmia's API has them.
func (s *Server) algorithmAPI() algorithmAPI {
	functions := functionAPI{s.applier, filepath.Join(s.cfg.Dir, workersDir)}
	return algorithmAPI{functionAPI: functions, algorithms: s.algorithms, catalog: s.catalog, logs: s.logs}
}
