package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/runnel-io/runnel/internal/auth"
	"github.com/runnel-io/runnel/internal/catalog"
)

// origin notes where requests come from, for the audit log and for who counts
// wrong credentials. What a trusted proxy says of a request is taken for the
// request's own: X-Forwarded-For, -Proto and -Host.
func (s *Server) origin(next http.Handler) http.Handler {
	trusted := make([]netip.Prefix, 0, len(s.cfg.TrustedProxies))
	for _, text := range s.cfg.TrustedProxies {
		prefix, _ := parsePrefix(text) // Validate has seen it
		trusted = append(trusted, prefix)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		address := host
		if isTrusted(trusted, host) {
			address = forwardedFor(r, trusted, host)
			r = forwarded(r)
		}
		next.ServeHTTP(w, auth.WithOrigin(r, address))
	})
}

// parsePrefix reads a network, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

func isTrusted(trusted []netip.Prefix, address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// forwardedFor returns the last address that a trusted proxy has told of and that
// is none of a trusted proxy itself: what stands before it the client may have
// written.
func forwardedFor(r *http.Request, trusted []netip.Prefix, from string) string {
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= 0; i-- {
		text := strings.TrimSpace(list[i])
		if host, _, err := net.SplitHostPort(text); err == nil {
			text = host
		}
		ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			return from
		}
		from = ip.String()
		if !isTrusted(trusted, from) {
			return from
		}
	}
	return from
}

// forwarded returns a request with the host and the scheme that the client used,
// as the nearest proxy says: signatures cover the host, and queue URLs have both.
func forwarded(r *http.Request) *http.Request {
	last := func(name string) string {
		values := r.Header.Values(name)
		if len(values) == 0 {
			return ""
		}
		value := values[len(values)-1]
		return strings.TrimSpace(value[strings.LastIndexByte(value, ',')+1:])
	}
	host, proto := last("X-Forwarded-Host"), strings.ToLower(last("X-Forwarded-Proto"))
	const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]"
	goodHost := host != "" && len(host) <= 255 && strings.Trim(host, hostBytes) == ""
	if !goodHost && proto == "" {
		return r
	}
	out := new(http.Request)
	*out = *r
	if goodHost {
		out.Host = host
	}
	switch {
	case proto == "https" && out.TLS == nil:
		out.TLS = new(tls.ConnectionState) // what the doors go by
	case proto == "http":
		out.TLS = nil
	}
	return out
}

// actorOf says who sends the request of a context, for the audit log.
func actorOf(ctx context.Context) catalog.Actor {
	caller, address := auth.OriginOf(ctx)
	a := catalog.Actor{Key: caller.KeyID, Account: caller.Account, Address: address}
	if caller.Function != "" {
		a.By = "function " + caller.Function
	}
	return a
}
