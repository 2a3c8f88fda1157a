package server

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a TLS certificate that is read again when its files change,
// so that whoever renews it need not restart the server.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards all below
	cert   *tls.Certificate
	stamps [2]stamp // of the files when they were last read, well or not
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

func (c *certificate) stampsNow() (s [2]stamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// load reads the files. Caller holds mu, or is alone.
func (c *certificate) load() error {
	stamps, err := c.stampsNow()
	if err != nil {
		return err
	}
	c.stamps = stamps
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.cert = &cert
	return nil
}

// get is asked on every handshake. A certificate that cannot be read, or does
// not fit its key since only one of the files was replaced by now, leaves the
// old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, err := c.stampsNow(); err != nil || now == c.stamps {
		return c.cert, nil // a file that is missing for a moment is being replaced
	}
	if err := c.load(); err != nil {
		c.log.Warn("new TLS certificate not usable, the old one stays", "err", err)
	} else {
		c.log.Info("new TLS certificate in use", "file", c.certFile)
	}
	return c.cert, nil
}
