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
)

// inside is what workers are told of the server that runs them: where it is,
// and a key of their function's account (docs/adr/0020-inside-a-function.md).
type inside struct {
	url, region string
	catalog     *catalog.Catalog
	passes      *auth.Passes
	// serve answers on a listener in the network of an isolated worker, until
	// that is closed.
	serve func(net.Listener)
}

// environment returns the environment of a pool's processes, with what must not
// be shown of it. revoke ends the key that is in it. What the function sets
// itself stays as it is, so that it can be sent elsewhere.
func (in *inside) environment(ctx context.Context, p function.Program) (env, mask []string, revoke func(), err error) {
	env, mask = p.Env, p.Mask
	has := make(map[string]bool, len(env))
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		has[name] = true
	}
	add := func(name, value string) {
		if !has[name] {
			env = append(env, name+"="+value)
		}
	}
	env = env[:len(env):len(env)]
	add("RUNNEL_URL", in.url)
	add("ALGORITHMIA_API", in.url)
	key, revoke, err := in.pass(ctx, p)
	if err != nil {
		return nil, nil, nil, err
	}
	if key.ID == "" {
		return env, mask, revoke, nil
	}
	mask = append(mask[:len(mask):len(mask)], key.Secret)
	add("RUNNEL_KEY", key.Token())
	add("ALGORITHMIA_API_KEY", key.Token())
	if !p.SQSEndpoint {
		return env, mask, revoke, nil
	}
	add("AWS_ENDPOINT_URL_SQS", in.url)
	add("AWS_REGION", in.region)
	add("AWS_DEFAULT_REGION", in.region)
	// A pair is not mixed of two. There is no AWS_SESSION_TOKEN: the key is one
	// of its own.
	if !has["AWS_ACCESS_KEY_ID"] && !has["AWS_SECRET_ACCESS_KEY"] && !has["AWS_SESSION_TOKEN"] {
		add("AWS_ACCESS_KEY_ID", key.ID)
		add("AWS_SECRET_ACCESS_KEY", key.Secret)
	}
	return env, mask, revoke, nil
}

// pass makes the key of a pool. Where the function's owner is no account there
// is none.
func (in *inside) pass(ctx context.Context, p function.Program) (key auth.Key, revoke func(), err error) {
	owner := ownerOf(p.Function)
	account, err := in.catalog.Account(ctx, owner)
	switch {
	case err == nil:
	case runnel.CodeOf(err) != runnel.CodeNotFound:
		return auth.Key{}, nil, err
	case owner == auth.DefaultAccount: // of a server without keys
		account.ID = auth.DefaultAccountID
	default:
		return auth.Key{}, func() {}, nil
	}
	key, revoke = in.passes.New(owner, account.ID, p.Function+"@"+p.Version, time.Now())
	return key, revoke, nil
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
