package ingress_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/belay-hooks/belay/ingress"
	"github.com/belay-hooks/belay/internal/testbroker"
	"github.com/belay-hooks/belay/pkg/receiver"
)

// tlsFiles are a certificate and a key that a test replaces.
type tlsFiles struct{ cert, key string }

func newTLSFiles(t *testing.T) tlsFiles {
	dir := t.TempDir()
	return tlsFiles{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
}

// pair makes a certificate for 127.0.0.1, signed by itself.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"door"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

// replace puts a file in another's place, as those who rotate certificates do.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func trusting(certs ...[]byte) *tls.Config {
	roots := x509.NewCertPool()
	for _, cert := range certs {
		roots.AppendCertsFromPEM(cert)
	}
	return &tls.Config{RootCAs: roots, ServerName: "door"}
}

// served is the name in the certificate that a new connection is shown.
func (d *door) served(c *tls.Config) (string, error) {
	conn, err := tls.Dial("tcp", d.server.Addr().String(), c)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// A certificate is replaced while connections are open: they go on, and new ones
// are shown the new one. Files that do not fit together change nothing.
func TestTLSRotation(t *testing.T) {
	files := newTLSFiles(t)
	oldCert, oldKey := pair(t, "old")
	newCert, newKey := pair(t, "new")
	replace(t, files.cert, oldCert)
	replace(t, files.key, oldKey)
	github := source(t, receiver.SourceConfig{Receiver: "github", RequireHTTPS: new(true)})
	d := open(t, ingress.Config{CertFile: files.cert, KeyFile: files.key}, testbroker.New(t), github)
	d.url = strings.Replace(d.url, "http:", "https:", 1)
	trust := trusting(oldCert, newCert)
	transport := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	d.client = &http.Client{Transport: transport}

	resp, problem := d.send(d.request(github, "/webhooks/github", issueOpened, nil))
	if resp.StatusCode != http.StatusAccepted || resp.ProtoMajor != 2 || resp.TLS.PeerCertificates[0].Subject.CommonName != "old" {
		t.Fatalf("status %d over %s with %s: %s", resp.StatusCode, resp.Proto, resp.TLS.PeerCertificates[0].Subject, problem)
	}
	conn, err := tls.Dial("tcp", d.server.Addr().String(), trust) // HTTP/1.1, kept open
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	replace(t, files.cert, newCert)
	eventually(t, "the files are found not to fit", func() bool {
		if name, err := d.served(trust); err != nil || name != "old" {
			t.Fatalf("between the two files: %s, %v", name, err)
		}
		return strings.Contains(d.log.String(), "TLS certificate kept as it was")
	})
	replace(t, files.key, newKey)
	eventually(t, "the new certificate is served", func() bool {
		name, err := d.served(trust)
		if err != nil {
			t.Fatal(err)
		}
		return name == "new"
	})

	resp, _ = d.send(d.request(github, "/webhooks/github", issueOpened, nil))
	if resp.StatusCode != http.StatusAccepted || resp.TLS.PeerCertificates[0].Subject.CommonName != "old" {
		t.Errorf("the open HTTP/2 connection: status %d with %s", resp.StatusCode, resp.TLS.PeerCertificates[0].Subject)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: door\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("the open HTTP/1.1 connection: %v, %v", resp, err)
	}
	_ = conn.Close()
	eventually(t, "all connections are counted as closed", func() bool {
		transport.CloseIdleConnections() // it may just be forgetting the stream of the last request
		return d.gauge("belay_ingress_connections") == 0
	})
	old := trust.Clone()
	old.MaxVersion = tls.VersionTLS11
	if name, err := d.served(old); err == nil {
		t.Errorf("TLS 1.1 is spoken, by %s", name)
	}
}

func TestTLSFilesMustFit(t *testing.T) {
	files, other := newTLSFiles(t), newTLSFiles(t)
	cert, key := pair(t, "one")
	_, otherKey := pair(t, "other")
	replace(t, files.cert, cert)
	replace(t, files.key, key)
	replace(t, other.key, otherKey)
	for name, test := range map[string]struct {
		config ingress.Config
		want   string
	}{
		"no key":         {ingress.Config{CertFile: files.cert}, "want both, or none"},
		"no certificate": {ingress.Config{KeyFile: files.key}, "want both, or none"},
		"not there":      {ingress.Config{CertFile: other.cert, KeyFile: other.key}, "no such file"},
		"another's key":  {ingress.Config{CertFile: files.cert, KeyFile: other.key}, "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Addr = "127.0.0.1:0"
			if _, err := newServer(test.config, prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
