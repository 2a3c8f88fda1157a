package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// makeCertificate writes a self-signed certificate for 127.0.0.1 and its key,
// modified at a given time, since two may be written within one tick of the
// filesystem's clock.
func makeCertificate(t *testing.T, dir, name string, modified time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		write(t, file, string(pem.EncodeToMemory(block)))
		if err := os.Chtimes(file, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestTLSCertificateIsReadAgain(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cfg := config(t)
	cfg.Dev = false
	cfg.TLSCert, cfg.TLSKey = makeCertificate(t, dir, "first", now)
	r := start(t, cfg)
	if !strings.HasPrefix(r.URL(), "https://127.0.0.1:") {
		t.Errorf("got URL %s", r.URL())
	}
	name := func() string {
		conn, err := tls.Dial("tcp", r.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		state := conn.ConnectionState()
		if state.NegotiatedProtocol != "h2" {
			t.Errorf("got protocol %q, want h2", state.NegotiatedProtocol)
		}
		return state.PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "first" {
		t.Errorf("got %s, want first", got)
	}
	makeCertificate(t, dir, "second", now.Add(time.Second))
	if got := name(); got != "second" {
		t.Errorf("after a renewal: got %s, want second", got)
	}
	write(t, cfg.TLSCert, "half a certific")
	if got := name(); got != "second" {
		t.Errorf("with a broken file: got %s, want second", got)
	}
	if err := os.Remove(cfg.TLSKey); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "second" {
		t.Errorf("without a file: got %s, want second", got)
	}
	makeCertificate(t, dir, "third", now.Add(2*time.Second))
	if got := name(); got != "third" {
		t.Errorf("after all that: got %s, want third", got)
	}
	r.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.URL()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("got %d over %s", resp.StatusCode, resp.Proto)
	}
}
