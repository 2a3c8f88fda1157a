package auth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/runnel-io/runnel"
)

// Web says whether the caller's key may be used for a call that comes from a web
// page: one with an Origin, or else with a Referer. What has neither comes from
// a program and is let in. A refusal is CodeDenied. The rule keeps the pages
// of others from using a key that stands in a page: browsers do not let a page
// say that it is another. Who sends requests without a browser can say what he
// likes, so it is no protection of a key that is known.
func (c Caller) Web(r *http.Request) error {
	page := r.Header.Get("Origin")
	if page == "" {
		page = r.Header.Get("Referer")
	}
	switch {
	case c.Admin || page == "":
		return nil
	case !c.Permissions.Web:
		return runnel.Errorf(runnel.CodeDenied, "the key may not be used from web pages, and the request has an Origin or a Referer: let web calls in with the permissions of the key (web, allow_web_algo)")
	case len(c.Permissions.Referers) == 0:
		return nil
	}
	u, err := url.Parse(page)
	if err == nil && u.Host != "" && slices.ContainsFunc(c.Permissions.Referers, func(host string) bool { return isHost(u, host) }) {
		return nil
	}
	return runnel.Errorf(runnel.CodeDenied, "the key may not be used from pages of %.100q: add its host to the referers of the key (referers, referer_host)", page)
}

// isHost says whether the page of u is of a host: HOST, HOST:PORT, or *.DOMAIN
// for all hosts below it.
func isHost(u *url.URL, host string) bool {
	name := strings.ToLower(u.Hostname())
	if domain, ok := strings.CutPrefix(host, "*."); ok {
		return strings.HasSuffix(name, "."+domain)
	}
	return host == name || host == strings.ToLower(u.Host)
}
