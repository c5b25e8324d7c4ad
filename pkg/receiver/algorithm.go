package receiver

import (
	"crypto"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // inside an HMAC
	"crypto/sha1" //nolint:gosec // still what some providers sign with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
)

// An algorithm proves a request with a key.
type algorithm interface {
	// fits reports whether a signature can be this many bytes long.
	fits(size int) bool
	// check says what is wrong with a key.
	check(key []byte) error
	// match reports whether one of the signatures is that of the content.
	match(key []byte, signatures [][]byte, content template, q *request) bool
	// sign makes the signature of the content.
	sign(key []byte, content template, q *request) ([]byte, error)
}

var algorithms = map[string]algorithm{
	"hmac-md5":     hmacOf{md5.New, md5.Size},
	"hmac-sha1":    hmacOf{sha1.New, sha1.Size},
	"hmac-sha256":  hmacOf{sha256.New, sha256.Size},
	"hmac-sha384":  hmacOf{sha512.New384, sha512.Size384},
	"hmac-sha512":  hmacOf{sha512.New, sha512.Size},
	"token":        token{},
	"ed25519":      edwards{},
	"ecdsa-sha256": ecdsaP256{},
	"rsa-sha1":     rsaPKCS1{crypto.SHA1},
	"rsa-sha256":   rsaPKCS1{crypto.SHA256},
}

// hmacOf is an HMAC (https://www.rfc-editor.org/rfc/rfc2104) of a hash.
type hmacOf struct {
	hash func() hash.Hash
	size int
}

func (a hmacOf) fits(size int) bool { return size == a.size }

func (a hmacOf) check([]byte) error { return nil }

// match takes the same time wherever the good signature stands, and however
// much of a bad one is right.
func (a hmacOf) match(key []byte, signatures [][]byte, content template, q *request) bool {
	sum, found := a.sum(key, content, q), 0
	for _, s := range signatures {
		found |= subtle.ConstantTimeCompare(s, sum)
	}
	return found == 1
}

func (a hmacOf) sign(key []byte, content template, q *request) ([]byte, error) {
	return a.sum(key, content, q), nil
}

func (a hmacOf) sum(key []byte, content template, q *request) []byte {
	mac := hmac.New(a.hash, key)
	content.feed(mac, q)
	return mac.Sum(nil)
}

// token is a secret that is sent as it is.
type token struct{}

func (token) fits(size int) bool { return size > 0 }

func (token) check([]byte) error { return nil }

// match compares hashes, which are of one length: the time does not tell that of
// the secret.
func (token) match(key []byte, tokens [][]byte, _ template, _ *request) bool {
	want, found := sha256.Sum256(key), 0
	for _, t := range tokens {
		got := sha256.Sum256(t)
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

func (token) sign(key []byte, _ template, _ *request) ([]byte, error) { return key, nil }
