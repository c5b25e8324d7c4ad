package receiver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
)

var (
	errNoKey     = errors.New("not a key of this algorithm")
	errPublicKey = errors.New("a public key cannot sign: it takes the private key of the pair")
	errNoSigner  = errors.New("it takes a secret that is a private key in PEM")
)

// parseKey reads a public key (SubjectPublicKeyInfo), that of a certificate, or a
// private key (PKCS #8), in DER. The signer is nil for a public key.
func parseKey(der []byte) (crypto.PublicKey, crypto.Signer, error) {
	if public, err := x509.ParsePKIXPublicKey(der); err == nil {
		return public, nil, nil
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return cert.PublicKey, nil, nil
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, errNoKey
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, nil, errNoKey
	}
	return signer.Public(), signer, nil
}

// keyOf is parseKey for public keys of one type.
func keyOf[P crypto.PublicKey](der []byte) (P, crypto.Signer, error) {
	public, signer, err := parseKey(der)
	key, ok := public.(P)
	if err != nil || !ok {
		return key, nil, errNoKey
	}
	return key, signer, nil
}

// digest is the hash of the content.
func digest(h crypto.Hash, content template, q *request) []byte {
	sum := h.New()
	content.feed(sum, q)
	return sum.Sum(nil)
}

// edwards is Ed25519 (https://www.rfc-editor.org/rfc/rfc8032).
type edwards struct{}

func (edwards) fits(size int) bool { return size == ed25519.SignatureSize }

func (edwards) keys(key []byte) (ed25519.PublicKey, crypto.Signer, error) {
	switch len(key) {
	case ed25519.PublicKeySize:
		return key, nil, nil
	case ed25519.PrivateKeySize:
		private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
		if !bytes.Equal(private, key) {
			return nil, nil, errNoKey
		}
		return ed25519.PublicKey(key[ed25519.SeedSize:]), private, nil
	}
	return keyOf[ed25519.PublicKey](key)
}

func (a edwards) check(key []byte) error { _, _, err := a.keys(key); return err }

func (a edwards) match(key []byte, signatures [][]byte, content template, q *request) bool {
	public, _, err := a.keys(key)
	if err != nil {
		return false
	}
	var message bytes.Buffer
	content.feed(&message, q)
	for _, s := range signatures {
		if ed25519.Verify(public, message.Bytes(), s) {
			return true
		}
	}
	return false
}

func (a edwards) sign(key []byte, content template, q *request) ([]byte, error) {
	_, private, err := a.keys(key)
	if err != nil {
		return nil, err
	}
	if private == nil {
		return nil, errPublicKey
	}
	var message bytes.Buffer
	content.feed(&message, q)
	return private.Sign(rand.Reader, message.Bytes(), crypto.Hash(0))
}

// ecdsaP256 is ECDSA with SHA-256 on P-256, the signature in ASN.1.
type ecdsaP256 struct{}

// fits knows that two numbers of 32 bytes make at most 72 bytes of ASN.1.
func (ecdsaP256) fits(size int) bool { return size > 0 && size <= 72 }

func (ecdsaP256) keys(key []byte) (*ecdsa.PublicKey, crypto.Signer, error) {
	public, private, err := keyOf[*ecdsa.PublicKey](key)
	if err == nil && public.Curve != elliptic.P256() {
		err = errNoKey
	}
	return public, private, err
}

func (a ecdsaP256) check(key []byte) error { _, _, err := a.keys(key); return err }

func (a ecdsaP256) match(key []byte, signatures [][]byte, content template, q *request) bool {
	public, _, err := a.keys(key)
	if err != nil {
		return false
	}
	sum := digest(crypto.SHA256, content, q)
	for _, s := range signatures {
		if ecdsa.VerifyASN1(public, sum, s) {
			return true
		}
	}
	return false
}

func (a ecdsaP256) sign(key []byte, content template, q *request) ([]byte, error) {
	_, private, err := a.keys(key)
	if err != nil {
		return nil, err
	}
	if private == nil {
		return nil, errPublicKey
	}
	return private.Sign(rand.Reader, digest(crypto.SHA256, content, q), crypto.SHA256)
}

// rsaPKCS1 is RSASSA-PKCS1-v1_5 (https://www.rfc-editor.org/rfc/rfc8017#section-8.2).
type rsaPKCS1 struct{ hash crypto.Hash }

const maxRSA = 1024 // bytes: 8192 bits

func (rsaPKCS1) fits(size int) bool { return size > 0 && size <= maxRSA }

func (a rsaPKCS1) keys(key []byte) (*rsa.PublicKey, crypto.Signer, error) {
	public, private, err := keyOf[*rsa.PublicKey](key)
	if err == nil && public.Size() > maxRSA {
		err = errNoKey
	}
	return public, private, err
}

func (a rsaPKCS1) check(key []byte) error { _, _, err := a.keys(key); return err }

func (a rsaPKCS1) match(key []byte, signatures [][]byte, content template, q *request) bool {
	public, _, err := a.keys(key)
	if err != nil {
		return false
	}
	sum := digest(a.hash, content, q)
	for _, s := range signatures {
		if rsa.VerifyPKCS1v15(public, a.hash, sum, s) == nil {
			return true
		}
	}
	return false
}

func (a rsaPKCS1) sign(key []byte, content template, q *request) ([]byte, error) {
	_, private, err := a.keys(key)
	if err != nil {
		return nil, err
	}
	if private == nil {
		return nil, errPublicKey
	}
	return private.Sign(rand.Reader, digest(a.hash, content, q), a.hash)
}
