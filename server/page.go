package server

import (
	"bytes"
	"embed"
	html "html/template"
	"io"
	"net/http"
	"strings"
	text "text/template"

	"github.com/runnel-io/runnel/internal/auth"
)

//go:embed page.html page.txt page_commands.tmpl
var pageFiles embed.FS

var (
	htmlPage = html.Must(html.ParseFS(pageFiles, "page.html", "page_commands.tmpl"))
	textPage = text.Must(text.ParseFS(pageFiles, "page.txt", "page_commands.tmpl"))
)

// pageData is what the page says.
type pageData struct {
	Version   string
	URL       string // how the caller reaches the server
	AccountID string
	Dev       bool
	// KeyID and Secret are what stands for a key in the commands.
	KeyID, Secret string
	// Known is whether the caller may know Queues: a key of the account came
	// with the request, or none is needed.
	Known  bool
	Queues int
}

// page tells a person what this is and what to do next: as HTML to a browser,
// as text to everything else.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	data := pageData{Version: s.cfg.Version, URL: s.urlFor(r), AccountID: auth.DefaultAccountID, Dev: s.cfg.Dev, KeyID: "ID", Secret: "SECRET"}
	if s.cfg.Dev {
		data.KeyID, data.Secret = "any", "any"
	}
	if caller, err := s.auth.Verify(r, nil, "runnel"); err == nil {
		data.AccountID, data.Known = caller.AccountID, true
		data.Queues = len(s.queues.List(caller.Account, "", "", 0))
	}
	h := w.Header()
	var page bytes.Buffer
	var err error
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		err = htmlPage.Execute(&page, data)
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		err = textPage.Execute(&page, data)
	}
	if err != nil {
		s.log.Error("page was not made", "err", err)
		plain(w, http.StatusInternalServerError, "internal error\n")
		return
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept, Host, Authorization")
	_, _ = io.Copy(w, &page) // a client that left is not told
}

// urlFor returns the URL by which the sender of r reaches the server. What a
// Host cannot hold goes into no command that somebody may paste.
func (s *Server) urlFor(r *http.Request) string {
	if s.cfg.PublicURL != "" {
		return strings.TrimRight(s.cfg.PublicURL, "/")
	}
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
	if r.Host == "" || strings.Trim(r.Host, chars) != "" {
		return s.URL()
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
