package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/runnel-io/runnel"
)

// Check returns every fault of a configuration that can be found without
// opening a socket or the data directory: those of Validate and of CheckSpec,
// and what the machine says to the address and the certificate.
func Check(cfg Config) error {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	_, _, err := listenable(cfg)
	if cfg.SpecFile != "" {
		err = errors.Join(err, CheckSpec(cfg.SpecFile, cfg.Handlers))
	}
	return err
}

// listenable returns where a valid configuration says to listen, and with
// which TLS, nil for none.
func listenable(cfg Config) (*net.TCPAddr, *tls.Config, error) {
	// The address that is judged is the one that is listened on: a name is
	// resolved once.
	addr, err := net.ResolveTCPAddr("tcp", cfg.Addr)
	if err != nil {
		return nil, nil, &runnel.FieldError{Path: "addr", Err: err}
	}
	if !addr.IP.IsLoopback() {
		switch {
		case cfg.Dev:
			return nil, nil, &runnel.FieldError{Path: "addr", Err: fmt.Errorf(
				"%s is not a loopback address: a server that asks for no key listens on loopback only; use runnel serve", cfg.Addr)}
		case cfg.TLSCert == "" && !cfg.Insecure:
			return nil, nil, &runnel.FieldError{Path: "addr", Err: fmt.Errorf(
				"%s can be reached from other machines, and without TLS what is sent can be read on the way: "+
					"give a certificate (--tls-cert, --tls-key), or say --insecure", cfg.Addr)}
		}
	}
	if cfg.TLSCert == "" {
		return addr, nil, nil
	}
	cert := &certificate{certFile: cfg.TLSCert, keyFile: cfg.TLSKey, log: cfg.Log}
	if err := cert.load(); err != nil {
		return nil, nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	return addr, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: cert.get,
	}, nil
}

// listen opens the listener of a valid configuration.
func listen(cfg Config) (net.Listener, error) {
	addr, config, err := listenable(cfg)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program: stop that, or choose another address with --addr", cfg.Addr)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", cfg.Addr, bare(err))
	}
	if config != nil {
		return tls.NewListener(l, config), nil
	}
	return l, nil
}

// bare strips the operation and the address, which the caller names itself.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
