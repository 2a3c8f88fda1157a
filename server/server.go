package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/api/admin"
	"github.com/runnel-io/runnel/internal/api/sqs"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/queue"
	"github.com/runnel-io/runnel/internal/store"
)

// Server is a server with its listener and its data. Make one with New.
type Server struct {
	cfg       Config
	log       *slog.Logger
	listener  net.Listener
	store     *store.Store
	catalog   *catalog.Catalog
	queues    *queue.Set
	logs      *logs
	functions *functions
	flows     *flows
	applier   *applier
	reloads   chan struct{} // holds one token while nobody reloads
	auth      *auth.Authenticator
	passes    auth.Passes
	http      *http.Server
	keys      []Key

	ready    atomic.Bool
	opened   chan struct{} // closed when the doors open
	stopping chan struct{} // closed when the drain begins
	failed   chan error    // gets one error, when the store has failed

	// requests is held for reading by each request, and for writing from the
	// moment on when none may use the store any more.
	requests sync.RWMutex
}

// Key is a key that was made for a new data directory.
type Key struct {
	// ID and Secret are what an AWS client wants; Token is both in one, for
	// "Authorization: Bearer" and RUNNEL_KEY.
	ID, Secret, Token string
	// Admin is whether the key may act for the whole server.
	Admin bool
}

// New opens a server: its listener, then its data directory. The faults of the
// configuration, an address in use, and a directory that cannot be used are
// its errors. The server answers from Run on, and a server that was opened
// must be run; with a context that has ended, Run only closes it.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log,
		failed: make(chan error, 1), opened: make(chan struct{}), stopping: make(chan struct{}), reloads: make(chan struct{}, 1),
	}
	s.reloads <- struct{}{}
	if cfg.SpecFile != "" {
		if err := CheckSpec(cfg.SpecFile, cfg.Handlers); err != nil {
			return nil, err
		}
	}
	// The listener comes first: if the port is in use, nothing is written.
	var err error
	if s.listener, err = listen(cfg); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.http = newHTTP(s.handler(), s.log)
	return s, nil
}

// newHTTP returns the HTTP server, which bounds what strangers can hold.
func newHTTP(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		// For header and body: the doors read a body before they know whose
		// it is. It ends when the body has been read.
		ReadTimeout:    time.Minute,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		// No WriteTimeout: it would count from the start of a request, and a
		// receive may wait for 20 s, a backup run for hours.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// open opens what is in the data directory.
func (s *Server) open() (err error) {
	s.store, err = store.Open(s.cfg.Dir, store.Options{
		Log:  s.log,
		Fail: func(err error) { s.failed <- err }, // is called once
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	if err := removeCopies(s.cfg.Dir); err != nil {
		return fmt.Errorf("remove what is left of a backup: %w", err)
	}
	if s.catalog, err = catalog.Open(s.store, catalog.Options{}); err != nil {
		return err
	}
	if s.queues, err = queue.Open(s.store, queue.Options{Log: s.log}); err != nil {
		return err
	}
	s.logs = openLogs(&s.cfg, s.store.Room)
	defer func() {
		if err != nil {
			s.logs.Close()
		}
	}()
	// New has no context: what it opens is not given up half-way.
	ctx := context.Background()
	if s.functions, err = openFunctions(ctx, &s.cfg, s.catalog, s.logs, &inside{s.workerURL(), s.cfg.Region, s.catalog, &s.passes, s.serveWorker}); err != nil {
		return err
	}
	defer func() {
		if err != nil { // workers that are kept warm start at once
			err = errors.Join(err, s.functions.kill(ctx))
		}
	}()
	s.flows = &flows{
		catalog: s.catalog, queues: s.queues, functions: s.functions, region: s.cfg.Region,
		sessionLimit: s.cfg.SessionLimit, drain: s.cfg.DrainTimeout,
		log: s.log, logs: s.logs, room: s.store.Room, begun: make(chan struct{}), ended: make(chan struct{}),
	}
	s.flows.templates = &templates{catalog: s.catalog, queues: s.queues, arn: s.flows.arn, made: s.flows.wake, log: s.log}
	s.applier = newApplier(s.flows)
	s.auth = &auth.Authenticator{Keys: keys{s.catalog}, Passes: &s.passes, Any: s.cfg.Dev}
	if s.cfg.Dev {
		return nil // keys that nobody sees would never be seen
	}
	// Last, since the keys are returned once: what fails, fails before.
	made, err := s.catalog.Bootstrap(ctx, func(a catalog.Account, admin bool) catalog.Key {
		return catalog.Key(auth.NewKey(a.Name, a.ID, admin, time.Now()))
	})
	if err != nil {
		return err
	}
	for _, k := range made {
		s.keys = append(s.keys, Key{ID: k.ID, Secret: k.Secret, Token: auth.Key(k).Token(), Admin: k.Admin})
	}
	return nil
}

// Addr returns the address that the server listens on, HOST:PORT.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the address as a URL.
func (s *Server) URL() string {
	if s.cfg.TLSCert != "" {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Broker gives the program that the server is part of the queues of an account,
// as sources and sinks without HTTP. It is used while the server runs.
func (s *Server) Broker(account string) runnel.Broker { return s.queues.Broker(account) }

// Keys returns the first keys, the admin's before the standard one, if New has
// made them since the data directory was new. They are not told again later.
func (s *Server) Keys() []Key { return s.keys }

// native returns the native API.
func (s *Server) native() *admin.Door {
	functions := functionAPI{s.applier, filepath.Join(s.cfg.Dir, workersDir)}
	return &admin.Door{
		Auth: s.auth, Queues: queues{s.queues, s.applier.owners}, Backups: &copies{dir: s.cfg.Dir, store: s.store},
		Version: s.cfg.Version, Log: s.log,
		QueueChanges: queueAPI{s.applier}, Functions: functions, Versions: functions, Builds: functions, Secrets: functions, Invocations: functions, Applier: functions,
		Flows: flowAPI{s.applier}, DeadLetters: deadLetterAPI{s.applier}, Logs: s.logs, Reloader: reloader{s}, Stopping: s.stopping,
	}
}

// handler puts the doors together.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	queues := sqs.New(sqs.Config{
		Queues: s.queues, Auth: s.auth, Accounts: accounts{s.catalog},
		Region: s.cfg.Region, PublicURL: s.cfg.PublicURL, Log: s.log,
		Guard: queueAPI{s.applier}.guard, FirstUse: s.flows.templates.use,
	})
	mux.Handle("/", queues)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("Action") { // the query protocol allows GET
			queues.ServeHTTP(w, r)
			return
		}
		s.page(w, r)
	})
	mux.HandleFunc("/healthz", s.healthz)
	mux.HandleFunc("/readyz", s.readyz)
	mux.Handle("/metrics", s.adminOnly(s.metrics()))
	mux.Handle("/api/", s.native().Handler())
	door := s.algorithmia().Handler()
	// A ServeMux redirects paths that it finds unclean, which clients of this
	// door do not follow, and which would change names.
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == "/v1" {
			door.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	if s.cfg.Dev {
		return s.counted(auth.LocalOnly(all))
	}
	return s.counted(all)
}
