package auth

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// origin is where a request comes from, and of whom once Verify knows.
type origin struct {
	address string
	caller  atomic.Pointer[Caller]
}

type originKey struct{}

// WithOrigin returns a request that remembers the address that it comes from, and
// of whom it is once Verify has recognised that.
func WithOrigin(r *http.Request, address string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), originKey{}, &origin{address: address}))
}

// OriginOf returns who sent the request of a context, and the address that it
// came from. Both are zero where there was no request, or nobody was recognised
// yet.
func OriginOf(ctx context.Context) (caller Caller, address string) {
	o, ok := ctx.Value(originKey{}).(*origin)
	if !ok {
		return Caller{}, ""
	}
	if c := o.caller.Load(); c != nil {
		caller = *c
	}
	return caller, o.address
}

func noteCaller(ctx context.Context, c *Caller) {
	if o, ok := ctx.Value(originKey{}).(*origin); ok {
		o.caller.Store(c)
	}
}

// addressOf returns the address that a request comes from, without the port.
func addressOf(r *http.Request) string {
	if o, ok := r.Context().Value(originKey{}).(*origin); ok {
		return o.address
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
