// Package testprovider stands in for the hosts of webhook providers: one real
// HTTPS server that answers for any name, with certificates of an authority of
// its own.
//
//	p := testprovider.New(tb)
//	p.Handle("www.googleapis.com/oauth2/v3/certs", handler)
//	f := receiver.NewFetcher(receiver.FetcherConfig{Dial: p.Dial, Roots: p.Roots})
package testprovider

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Provider is the server.
type Provider struct {
	// Roots holds the authority.
	Roots *x509.CertPool

	tb      testing.TB
	mux     *http.ServeMux
	address string
	caKey   *ecdsa.PrivateKey
	ca      *x509.Certificate

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
	asked  []string
	down   atomic.Bool
}

// New starts a server, which ends with the test. It knows no page.
func New(tb testing.TB) *Provider {
	tb.Helper()
	p := &Provider{tb: tb, mux: http.NewServeMux(), Roots: x509.NewCertPool(), leaves: map[string]*tls.Certificate{}}
	p.makeAuthority()
	server := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return p.leaf(h.ServerName)
	}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // handshakes that fail on purpose
	server.StartTLS()
	tb.Cleanup(server.Close)
	p.address = server.Listener.Addr().String()
	return p
}

// Handle answers for a host and a path.
func (p *Provider) Handle(hostAndPath string, h http.HandlerFunc) { p.mux.HandleFunc(hostAndPath, h) }

// Dial connects to the server, whatever the host; it fails while the server is
// down, and for another port than that of https.
func (p *Provider) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.down.Load() {
		return nil, errors.New("connection refused")
	}
	if !strings.HasSuffix(address, ":443") {
		return nil, fmt.Errorf("port of %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, p.address)
}

// SetDown makes the server fail: who is connected hears 503, others cannot
// connect.
func (p *Provider) SetDown(down bool) { p.down.Store(down) }

// Asked lists the requests since the last call: "GET host/path?query".
func (p *Provider) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host+r.URL.RequestURI())
	p.mu.Unlock()
	if p.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	p.mux.ServeHTTP(w, r)
}

func (p *Provider) makeAuthority() {
	p.caKey = p.key()
	template := p.template("Authority of the tests")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.caKey.Public(), p.caKey)
	if err != nil {
		p.tb.Fatal(err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		p.tb.Fatal(err)
	}
	p.Roots.AddCert(p.ca)
}

// Certify makes a certificate of the authority for a name and a public key, in
// DER.
func (p *Provider) Certify(name string, public any) ([]byte, error) {
	template := p.template(name)
	template.DNSNames = []string{name}
	return x509.CreateCertificate(rand.Reader, template, p.ca, public, p.caKey)
}

func (p *Provider) leaf(name string) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.leaves[name]; known != nil {
		return known, nil
	}
	key := p.key()
	der, err := p.Certify(name, key.Public())
	if err != nil {
		return nil, err
	}
	p.leaves[name] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return p.leaves[name], nil
}

func (p *Provider) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.tb.Fatal(err)
	}
	return key
}

// template is a certificate that is good for as long as any test has its clock.
func (p *Provider) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		p.tb.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}
