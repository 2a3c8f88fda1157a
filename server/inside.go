package server

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
	"github.com/runnel-io/runnel/internal/function"
	"github.com/runnel-io/runnel/internal/worker"
)

// inside is what workers are told of the server that runs them: where it is,
// and a key of their own (docs/adr/0020-inside-a-function.md, and 0025).
type inside struct {
	url, region string
	catalog     *catalog.Catalog
	passes      *auth.Passes
	// serve answers on a listener in the network of an isolated worker, until
	// that is closed.
	serve func(net.Listener)
	// printed is told of the lines that workers print.
	printed *printed
}

// environment returns the environment of a pool's processes, and what makes the
// pass of each. What the function sets itself stays as it is, so that it can be
// sent elsewhere.
func (in *inside) environment(ctx context.Context, p function.Program) (env []string, pass func() worker.Pass, err error) {
	env = p.Env[:len(p.Env):len(p.Env)]
	has := make(map[string]bool, len(env))
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		has[name] = true
	}
	add := func(to []string, name, value string) []string {
		if has[name] {
			return to
		}
		return append(to, name+"="+value)
	}
	env = add(env, "RUNNEL_URL", in.url)
	env = add(env, "ALGORITHMIA_API", in.url)
	owner, id, err := in.owner(ctx, p.Function)
	if err != nil || id == "" {
		return env, nil, err
	}
	if p.SQSEndpoint {
		env = add(env, "AWS_ENDPOINT_URL_SQS", in.url)
		env = add(env, "AWS_REGION", in.region)
		env = add(env, "AWS_DEFAULT_REGION", in.region)
	}
	// A pair is not mixed of two. There is no AWS_SESSION_TOKEN: the key is one
	// of its own.
	pair := p.SQSEndpoint && !has["AWS_ACCESS_KEY_ID"] && !has["AWS_SECRET_ACCESS_KEY"] && !has["AWS_SESSION_TOKEN"]
	return env, func() worker.Pass {
		made := in.passes.New(owner, id, p.Function+"@"+p.Version, time.Now())
		key := made.Key()
		own := add(nil, "RUNNEL_KEY", key.Token())
		own = add(own, "ALGORITHMIA_API_KEY", key.Token())
		if pair {
			own = append(own, "AWS_ACCESS_KEY_ID="+key.ID, "AWS_SECRET_ACCESS_KEY="+key.Secret)
		}
		return worker.Pass{Env: own, Mask: []string{key.Secret}, Act: made.Act, End: made.Revoke}
	}, nil
}

// owner returns the account that a function belongs to, and its id; no id where
// there is no such account.
func (in *inside) owner(ctx context.Context, name string) (owner, id string, err error) {
	owner = ownerOf(name)
	id, err = accountID(ctx, in.catalog, owner)
	return owner, id, err
}

// accountID returns the id of an account, which is empty where there is none.
func accountID(ctx context.Context, c *catalog.Catalog, name string) (string, error) {
	account, err := c.Account(ctx, name)
	switch {
	case err == nil:
		return account.ID, nil
	case runnel.CodeOf(err) != runnel.CodeNotFound:
		return "", err
	case name == auth.DefaultAccount: // of a server without keys
		return auth.DefaultAccountID, nil
	}
	return "", nil
}

// workerURL is where workers find the server: on loopback if it listens there
// too.
func (s *Server) workerURL() string {
	scheme := "http://"
	if s.cfg.TLSCert != "" {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(s.Addr())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		// A listener on all of them takes IPv4 as well.
		return scheme + net.JoinHostPort("127.0.0.1", port)
	}
	return scheme + strings.ReplaceAll(s.Addr(), "%", "%25") // of a zone
}

// serveWorker answers on a listener in the network of an isolated worker: it
// is the same server, once that has opened its doors.
func (s *Server) serveWorker(l net.Listener) {
	select {
	case <-s.opened:
		// It ends when the worker does, or with the server.
		_ = s.http.Serve(l)
	case <-s.stopping:
		_ = l.Close()
	}
}
