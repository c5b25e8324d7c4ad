package receiver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/tidwall/gjson"
)

const (
	// maxKeys bounds the keys of a set. Microsoft publishes about ten.
	maxKeys = 100
	// minRSA is the least RSA key in bits that is trusted.
	minRSA = 2048
)

// A publicKey is a key that was fetched.
type publicKey struct {
	id  string // empty: it has no name
	key crypto.PublicKey
	// from and until are when its certificate is good; zero where it has none.
	from, until time.Time
}

// goodAt reports whether the key may be used.
func (k publicKey) goodAt(now time.Time) bool {
	return k.until.IsZero() || !now.Before(k.from) && !now.After(k.until)
}

// A keyFormat reads public keys.
type keyFormat func(text []byte) ([]publicKey, error)

var keyFormats = map[string]keyFormat{
	"jwks": readJWKS,
	"jwk":  readJWK,
	"x509": readCertificates,
	"pem":  readPEM,
	"oidc": nil, // leads to a jwks
}

var errNoKeys = errors.New("no key that can verify a signature")

// readJWKS reads a JSON Web Key Set (https://www.rfc-editor.org/rfc/rfc7517).
// Keys of other kinds, and those that only encrypt, are passed over.
func readJWKS(text []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("a set of keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("a set of %d keys: %d are the most", len(set.Keys), maxKeys)
	}
	var all []publicKey
	for _, one := range set.Keys {
		if keys, err := readJWK(one); err == nil {
			all = append(all, keys...)
		}
	}
	if len(all) == 0 {
		return nil, errNoKeys
	}
	return all, nil
}

func readJWK(text []byte) ([]publicKey, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(text); err != nil {
		return nil, errNoKeys // its error might quote a key
	}
	if key.Use != "" && key.Use != "sig" {
		return nil, errNoKeys
	}
	public, err := trusted(key.Public().Key)
	if err != nil {
		return nil, err
	}
	k := publicKey{id: key.KeyID, key: public}
	// Plaid says in the key until when it is good.
	if end := gjson.GetBytes(text, "expired_at"); end.Type == gjson.Number {
		k.until = time.Unix(end.Int(), 0)
	}
	return []publicKey{k}, nil
}

// readCertificates reads an object of certificates, as Google publishes them.
func readCertificates(text []byte) ([]publicKey, error) {
	var texts map[string]string
	if err := json.Unmarshal(text, &texts); err != nil {
		return nil, fmt.Errorf("an object of certificates: %w", err)
	}
	if len(texts) > maxKeys {
		return nil, fmt.Errorf("%d certificates: %d are the most", len(texts), maxKeys)
	}
	var all []publicKey
	for id, text := range texts {
		keys, err := readPEM([]byte(text))
		if err != nil {
			continue
		}
		keys[0].id = id
		all = append(all, keys[0])
	}
	if len(all) == 0 {
		return nil, errNoKeys
	}
	return all, nil
}

// readPEM reads a public key, or that of the first certificate.
func readPEM(text []byte) ([]publicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errNoKeys
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		key, err := trusted(cert.PublicKey)
		return []publicKey{{key: key, from: cert.NotBefore, until: cert.NotAfter}}, err
	}
	public, _, err := parseKey(block.Bytes)
	if err != nil {
		return nil, errNoKeys
	}
	key, err := trusted(public)
	return []publicKey{{key: key}}, err
}

// trusted refuses what is no public key, or too weak or too large to be used.
func trusted(key any) (crypto.PublicKey, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA && k.Size() <= maxRSA {
			return k, nil
		}
	case *ecdsa.PublicKey:
		return k, nil
	case ed25519.PublicKey:
		return k, nil
	}
	return nil, errNoKeys
}

// chainTo checks that the certificates, the sender's own first, lead to an
// authority of the roots, and that the first is for one of the names.
func chainTo(roots *x509.CertPool, text []byte, names []string, now time.Time) error {
	var (
		leaf   *x509.Certificate
		others = x509.NewCertPool()
	)
	for range 10 { // as many certificates as a chain can have
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("a certificate: %w", err)
		}
		if leaf == nil {
			leaf = cert
		} else {
			others.AddCert(cert)
		}
		text = rest
	}
	if leaf == nil {
		return errors.New("no certificate")
	}
	var err error
	for _, name := range names {
		if err = leaf.VerifyHostname(name); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}
