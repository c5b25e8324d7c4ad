package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// MaxName is the longest name of a key's owner in bytes.
const MaxName = 64

// Keys are bearer keys, by their hash, and whom each belongs to.
type Keys []key

type key struct {
	owner string
	bare  bool
	hash  [sha256.Size]byte
}

// ParseKeys reads keys written "key" or "owner=key"; a bare key is the fallback's.
// Its errors name a key by its place, never by its text.
func ParseKeys(texts []string, fallback string) (Keys, error) {
	var all Keys
	for i, text := range texts {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		owner, secret, named := strings.Cut(text, "=")
		if !named {
			owner, secret = fallback, text
		}
		if !ValidName(owner) {
			return nil, fmt.Errorf("API key %d: want key or %s=key, the name of up to %d letters, digits, - and _", i+1, fallback, MaxName)
		}
		// A bare key in padded base64 reads like a name with the key "=".
		if strings.Trim(secret, "=") == "" || !validKey(secret) {
			return nil, fmt.Errorf("API key %d: the key is empty or holds other characters than printable ASCII; "+
				"a bare key that ends in = is written %s=key", i+1, fallback)
		}
		all = append(all, key{owner: owner, bare: !named, hash: sha256.Sum256([]byte(secret))})
	}
	return all, nil
}

// Owner returns whom the key belongs to.
func (k Keys) Owner(secret string) (string, bool) {
	found, ok := k.Find(secret)
	return found.Owner, ok
}

// Found is a key that was recognised.
type Found struct {
	// Owner is whom it belongs to.
	Owner string
	// Bare says that it was written without an owner.
	Bare bool
	// Place is where it stands in the list, from 1.
	Place int
}

// Find recognises a key. It compares hashes, all of them, so that the time tells
// nothing about any key.
func (k Keys) Find(secret string) (Found, bool) {
	hash := sha256.Sum256([]byte(secret))
	found := -1
	for i := range k {
		if subtle.ConstantTimeCompare(hash[:], k[i].hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return Found{}, false
	}
	return Found{Owner: k[found].owner, Bare: k[found].bare, Place: found + 1}, true
}

// Caller returns whom the request's bearer key belongs to, or the problem that
// answers it. The variable is the name of the one that holds the keys.
func (k Keys) Caller(r *http.Request, variable string) (string, error) {
	if len(k) == 0 {
		return "", Unauthorized("no API key is configured: set " + variable)
	}
	secret, err := Bearer(r)
	if err != nil {
		return "", err
	}
	owner, ok := k.Owner(secret)
	if !ok {
		return "", Unauthorized("the API key is not known")
	}
	return owner, nil
}

// Bearer is the key that a request came with, or the problem that answers it.
func Bearer(r *http.Request) (string, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return "", Unauthorized("want the header Authorization: Bearer and an API key")
	}
	return secret, nil
}

// Unauthorized is the problem of a caller that is not known.
func Unauthorized(detail string) *Problem {
	return NewProblem(http.StatusUnauthorized, detail).With("WWW-Authenticate", `Bearer realm="belay"`)
}

func validKey(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// ValidName reports whether a name or an id can be a token of a subject and of a
// bucket's key.
func ValidName(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
