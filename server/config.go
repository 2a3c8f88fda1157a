package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/runnel-io/runnel"
)

// DefaultAddr is where a server listens unless it is told otherwise.
const DefaultAddr = "127.0.0.1:7070"

// Config configures a server. The zero value of each field but Dir is useful.
type Config struct {
	// Dir is the data directory. It is made if there is none; it must be
	// empty or of a server of this release or the one before, and is used by
	// one process at a time. Needed.
	Dir string

	// Addr is the TCP address to listen on, HOST:PORT. Port 0 means any free
	// one: see Server.Addr. An empty HOST means all interfaces. Default
	// 127.0.0.1:7070.
	Addr string

	// Dev takes every request, with any credentials or none, as an admin of
	// the account default. The address must be a loopback one, and requests
	// with a foreign Host or Origin are refused, so that no web page reaches
	// the server through a browser. Everybody who can run a program on this
	// machine can do everything.
	Dev bool

	// Insecure allows an address that is not a loopback one without TLS:
	// messages, and tokens that are sent as such, can then be read on the
	// way. For a network that is trusted, or behind a proxy that does TLS.
	Insecure bool

	// TLSCert and TLSKey are PEM files of a certificate chain and its private
	// key. With them the server speaks HTTPS only. They are read again when
	// they change. Default: plain HTTP.
	TLSCert, TLSKey string

	// PublicURL is what clients call the server, as in
	// "https://queues.example.com": URLs of queues begin with it. For a
	// server behind a proxy that changes the Host. Default: as the request
	// says.
	PublicURL string

	// Region is the region in the ARNs of queues. Requests that are signed
	// for any region are taken. Default us-east-1.
	Region string

	// TrustedProxies are the networks, or addresses, of proxies before the
	// server: what X-Forwarded-For, -Proto and -Host say in requests from there
	// is believed. Such a proxy must set all three, or remove them. Default:
	// none, they are not looked at.
	TrustedProxies []string

	// SecretKeyFile holds the keys that seal secrets of functions: one a line,
	// 32 bytes in base64; the first seals, all open. It is read whenever it is
	// needed. Default: the file secret.key in Dir, which is made when it is
	// needed. Backups do not hold it.
	SecretKeyFile string

	// SpecFile declares functions, queues and flows (docs/spec.md). It is read
	// by New, which returns its faults, applied by Run, and again by Reload.
	// Default: none; what was made through the API, or by an earlier file,
	// runs on.
	SpecFile string

	// Watch applies SpecFile again whenever it, or the source of a function
	// that it names, changes. A fault is logged, and what runs goes on; also
	// at the start.
	Watch bool

	// Handlers are functions in Go, by OWNER/NAME, or NAME in the account
	// default. Flows call them as they call others.
	Handlers map[string]runnel.Handler

	// WorkerUser is whom workers are where the server is root: own gives each
	// a user of its own, which can write nowhere but to its temporary
	// directory and where everybody can; server leaves them root. Default own.
	WorkerUser string

	// WASM is the command that starts a worker for a WASI module: a program
	// that calls RunWASM, which is usually the one that the server is part of,
	// started again with a word that tells it so. Default: none; functions of
	// runtime wasm are refused.
	WASM []string

	// SessionLimit is how many calls an account may have under way, of all
	// its flows and requests. Default 80.
	SessionLimit int

	// DrainTimeout is how long requests and calls under way may take once the
	// server is told to stop; then they are cut off. Default 10s.
	DrainTimeout time.Duration

	// LogBytes is how much of the disk the lines that functions print, and those
	// of flows, may take: where it is too little, the oldest lines go of the
	// function that has most. At least 1 MiB. Default 256 MiB.
	LogBytes runnel.Size

	// LogAge is how long they are kept. At least a minute. Default 7 days.
	LogAge time.Duration

	// FileBytes is how large a hosted file may be. At least 1 MiB. Default
	// 5 GiB.
	FileBytes runnel.Size

	// Version is the release that the page, the API and the metrics name.
	// Default "unknown".
	Version string

	// Log gets what an operator must know of. Default slog.Default.
	Log *slog.Logger
}

// The values of Config.WorkerUser.
const (
	WorkerUserOwn    = "own"
	WorkerUserServer = "server"
)

func (c *Config) setDefaults() {
	if c.WorkerUser == "" {
		c.WorkerUser = WorkerUserOwn
	}
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.SessionLimit == 0 {
		c.SessionLimit = 80
	}
	if c.LogBytes == 0 {
		c.LogBytes = 256 << 20
	}
	if c.LogAge == 0 {
		c.LogAge = 7 * 24 * time.Hour
	}
	if c.FileBytes == 0 {
		c.FileBytes = 5 << 30
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
}

// Validate returns every fault, joined; each is a *runnel.FieldError. It looks
// at the configuration only: what the machine says to it, New finds out.
func (c Config) Validate() error {
	c.setDefaults()
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, &runnel.FieldError{Path: path, Err: fmt.Errorf(format, args...)})
	}
	if c.Dir == "" {
		fault("dir", "a data directory is needed")
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		fault("addr", "%q is not an address: want HOST:PORT, for example %s", c.Addr, DefaultAddr)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fault("tls_cert", "certificate and key come together: one of the two files is missing")
	}
	if c.Dev && c.TLSCert != "" {
		fault("dev", "a server without keys listens on loopback only and speaks plain HTTP")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" ||
			u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			fault("public_url", "%q is not of the form https://HOST", c.PublicURL)
		}
	}
	for i, text := range c.TrustedProxies {
		if _, err := parsePrefix(text); err != nil {
			fault(fmt.Sprintf("trusted_proxies[%d]", i), "%.100q is not a network or an address: want 10.0.0.0/8, for example", text)
		}
	}
	if c.Dev && len(c.TrustedProxies) > 0 {
		fault("trusted_proxies", "a server without keys is used from its own machine, without a proxy")
	}
	if c.Region != "" && strings.Trim(c.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		fault("region", "%q is not a region: want lower-case letters, digits and hyphens, for example us-east-1", c.Region)
	}
	if c.Watch && c.SpecFile == "" {
		fault("watch", "there is no spec file to watch")
	}
	if c.WorkerUser != WorkerUserOwn && c.WorkerUser != WorkerUserServer {
		fault("worker_user", "%q is not own or server", c.WorkerUser)
	}
	if c.SessionLimit < 0 {
		fault("session_limit", "%d is negative", c.SessionLimit)
	}
	if c.LogBytes < 1<<20 {
		fault("log_bytes", "%s is too little: want at least 1MiB", c.LogBytes)
	}
	if c.FileBytes < 1<<20 {
		fault("file_bytes", "%s is too little: want at least 1MiB", c.FileBytes)
	}
	if c.LogAge < time.Minute {
		fault("log_age", "%s is too short: want at least 1m", c.LogAge)
	}
	for name, h := range c.Handlers {
		if h == nil {
			fault("handlers."+name, "is nil")
		}
	}
	if c.DrainTimeout < 0 {
		fault("drain_timeout", "%s is negative", c.DrainTimeout)
	}
	return errors.Join(faults...)
}
