package auth

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// LocalOnly passes on what comes from this machine's own programs and answers
// 403 to what a web page somewhere else could have sent through a browser. It
// stands before a server that asks for no key and listens on loopback:
//
//   - the Host must be a loopback one (localhost, *.localhost, 127.0.0.0/8,
//     [::1]), with any port. A page that has its own name resolve to 127.0.0.1
//     (DNS rebinding) sends that name.
//   - the Origin, if there is one, must be a page on such a host. "null", which
//     sandboxed pages send, is not.
//   - without an Origin, a browser must not say that the request comes from
//     another site (Sec-Fetch-Site): images and links send no Origin, and SQS
//     has actions that are done by GET.
//
// Pages that other programs serve on loopback are let in.
func LocalOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := foreign(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// foreign returns why a request is refused, or "".
func foreign(r *http.Request) string {
	if !loopback(r.Host) {
		return fmt.Sprintf("This server asks for no keys and answers only to names of this machine, not to the host %.80q."+
			" Use http://localhost or http://127.0.0.1 with its port, or start runnel serve, which asks for keys.", r.Host)
	}
	origins := r.Header["Origin"]
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !loopback(u.Host) {
			return fmt.Sprintf("This server asks for no keys and takes nothing from web pages of other sites (origin %.80q)."+
				" Serve the page from localhost, or start runnel serve, which asks for keys.", origin)
		}
	}
	if len(origins) == 0 && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return "This server asks for no keys and takes nothing from web pages of other sites, links included." +
			" Type the address into the browser, or start runnel serve, which asks for keys."
	}
	return ""
}

// loopback says whether a host, with or without a port, always means this
// machine.
func loopback(host string) bool {
	name := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		name = host[1 : len(host)-1]
	} else if h, port, err := net.SplitHostPort(host); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return false
		}
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Zone() == "" && ip.IsLoopback()
}
