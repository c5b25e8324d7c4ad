package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"time"
)

// certificateYears is how long the certificate of the broker and its authority hold.
// Nobody else trusts the authority, whose key is thrown away.
const certificateYears = 10

// newCertificate makes an authority and the certificate of the broker's servers, which
// is that of both ends between them: ca.crt, tls.crt and tls.key, PEM.
func newCertificate(namespace string) (map[string]string, error) {
	ca, caKey, err := certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "belay nats authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	names := []string{"localhost"} // for who comes by a forwarded port
	for _, suffix := range []string{"", "." + namespace, "." + namespace + ".svc", "." + namespace + ".svc.cluster.local"} {
		names = append(names, "nats"+suffix, "*.nats"+suffix)
	}
	cert, key, err := certificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "nats"}, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]string{
		"ca.crt": text("CERTIFICATE", ca.Raw), "tls.crt": text("CERTIFICATE", cert.Raw), "tls.key": text("PRIVATE KEY", private),
	}, nil
}

// certificate signs a certificate with a key of its own; without a parent by itself.
func certificate(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, by = c, key
	}
	c.NotBefore = time.Now().Add(-time.Hour) // clocks differ
	c.NotAfter = c.NotBefore.AddDate(certificateYears, 0, 0)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		return nil, nil, err
	}
	signed, err := x509.ParseCertificate(der)
	return signed, key, err
}
