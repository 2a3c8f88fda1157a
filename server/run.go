package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/spec"
)

// cutTimeout is how long a request may still take after its connection was
// cut at the end of the drain.
const cutTimeout = 2 * time.Second

// Run answers requests until ctx ends, then drains and closes the server, and
// returns nil if all of that went well. It is called once.
//
// When the store fails, Run returns the reason at once. Goroutines may be left
// that wait for the disk, and the lock of the data directory is still held:
// the process should end.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	select {
	case err := <-ended:
		return err
	case err := <-s.failed:
		s.ready.Store(false)
		_ = s.http.Close()
		s.killWorkers(ctx)
		return fmt.Errorf("the disk did not take a write, and nothing unconfirmed was acknowledged: %w", err)
	}
}

func (s *Server) run(ctx context.Context) error {
	s.log.Info("serving", "url", s.URL(), "dir", s.cfg.Dir, "version", s.cfg.Version)
	g, ending := errgroup.WithContext(ctx)
	// The doors open when the stored flows are there: a request must not meet a
	// server without them.
	g.Go(func() error { return s.flows.run(ending) })
	<-s.flows.begun
	close(s.opened)
	g.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	g.Go(func() error { return s.queues.Run(ending) })
	g.Go(func() error { return s.collections.Run(ending) })
	g.Go(func() error {
		// What changes from here on is a change: also while begin reads.
		var w *watcher
		if s.cfg.Watch {
			w = newWatcher(s.cfg.SpecFile)
		}
		if err := s.begin(ending); err != nil || w == nil {
			return err
		}
		s.watch(ending, w)
		return nil
	})
	g.Go(func() error {
		<-ending.Done()
		return s.drain(context.WithoutCancel(ctx))
	})
	err := g.Wait()
	// While the directory is still locked.
	s.logs.Close()
	return errors.Join(err, s.close())
}

// killWorkers ends the processes of functions, which would outlive the server
// in a program that goes on.
func (s *Server) killWorkers(ctx context.Context) {
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		_ = s.functions.kill(ctx) // the store's failure is told
		s.logs.Close()
	}()
	timeout := time.NewTimer(cutTimeout)
	defer timeout.Stop()
	select {
	case <-killed:
	case <-timeout.C:
	}
}

// begin applies the spec file, and then the server is ready. Where that fails,
// what was stored by an earlier apply runs on, as after a failed reload: a file
// that was broken meanwhile must not keep a server from starting again. Only if
// a function of the file was never deployed there is nothing to go on with.
func (s *Server) begin(ctx context.Context) error {
	if s.cfg.SpecFile != "" {
		switch err := s.Reload(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil && !s.cfg.Watch && !s.deployedBefore():
			return err
		case err != nil:
			s.logFaults(err)
		}
	}
	s.ready.Store(true)
	return nil
}

// deployedBefore says whether every function of the spec file has a version.
func (s *Server) deployedBefore() bool {
	file, err := readSpec(s.cfg.SpecFile, spec.Options{Functions: func(name string) bool { return s.functions.goHandler(name) != nil }})
	return err == nil && !slices.ContainsFunc(file.Functions, func(f runnel.Function) bool { return !s.functions.exists(f.Name) })
}

// drain ends intake, and waits for the requests under way until the deadline.
func (s *Server) drain(ctx context.Context) error {
	s.ready.Store(false)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	close(s.stopping)
	// Flows first: what they hold is settled or given back to queues that are
	// still open. The doors stay open for as long, since a function may call
	// them in a call that is under way: that must not fail because of a stop.
	<-s.flows.ended
	shut := make(chan error, 1)
	go func() { shut <- s.http.Shutdown(ctx) }()
	// What is being built or started is given up: requests wait for it. Calls
	// under way may end.
	closed := make(chan error, 1)
	go func() {
		// Those that were accepted already may need workers that do not run yet.
		s.background.close(ctx)
		closed <- s.functions.set.Close(ctx)
	}()
	// Ends the receives that wait. What is sent from now on is refused, with
	// an error that clients retry.
	err := s.queues.Close(ctx)
	if late := <-shut; errors.Is(late, context.DeadlineExceeded) {
		s.log.Warn("drain took too long, the requests under way are cut off", "timeout", s.cfg.DrainTimeout)
		late = s.http.Close()
		err = errors.Join(err, late)
	} else {
		err = errors.Join(err, late)
	}
	if late := <-closed; late != nil && !errors.Is(late, context.DeadlineExceeded) {
		err = errors.Join(err, late)
	}
	s.log.Info("drained", "after", time.Since(start).Round(time.Millisecond))
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return nil
}

// close closes the store when no request uses it any more.
func (s *Server) close() error {
	idle := make(chan struct{})
	go func() {
		s.requests.Lock() // for ever: no request comes in from now on
		close(idle)
	}()
	cut := time.NewTimer(cutTimeout)
	defer cut.Stop()
	select {
	case <-idle:
		return s.store.Close()
	case <-cut.C:
		return errors.New("requests that were cut off did not end: the data directory is left as after a crash, with all that was acknowledged")
	}
}

// counted lets close know which requests are under way.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.requests.TryRLock() {
			http.Error(w, "the server has stopped", http.StatusServiceUnavailable)
			return
		}
		defer s.requests.RUnlock()
		next.ServeHTTP(w, r)
	})
}
