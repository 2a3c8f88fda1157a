// Package server is the composition root: it opens the data directory, puts
// the doors on one listener, runs, and drains. It is public so that a Go
// program can have a server inside:
//
//	s, err := server.New(server.Config{Dir: dir, Dev: true, Addr: "127.0.0.1:0"})
//	if err != nil {
//		return err
//	}
//	return s.Run(ctx) // until ctx ends
//
// Everything that can be wrong with the configuration, the address or the
// directory is an error of New: when New returns a server, it has a listener
// and its data, and Run begins to answer.
//
// # Routes
//
//	GET /        what this is and what to do next, for a person
//	/healthz     200 while the process works
//	/readyz      200 from Run until the drain begins
//	/metrics     for Prometheus; needs an admin key
//	/api/        the native API (internal/api/admin)
//	all others   Amazon SQS (internal/api/sqs)
//
// # What runs
//
// Functions, queues and flows are documents of the catalog; what runs follows
// them. A flow that cannot be opened, since its queue or its function is gone,
// says so and is opened as soon as they are there; one whose queue was deleted
// and made again is opened again. Changes are made one at a time (applier.take),
// by a spec file (apply.go, remove.go) or a call of the API (api_*.go). What a
// file declares is its own: see owner.go.
//
// # The end
//
// When the context of Run ends, the listener is closed and flows take nothing
// more; calls and requests under way may end until Config.DrainTimeout, which
// bounds both together, but for the few seconds that what was cut off takes to
// notice. Receives that wait are answered, and then the functions, the queues
// and the store are closed. When the store fails, Run returns at once
// and without a drain: nothing could be kept any more.
package server
