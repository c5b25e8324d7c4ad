package outbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
)

// defaultTenant is the tenant of a key that names none.
const defaultTenant = "default"

// maxTenant is the longest name of a tenant in bytes.
const maxTenant = 64

// keys are the API keys, by their hash.
type keys []apiKey

type apiKey struct {
	tenant string
	hash   [sha256.Size]byte
}

// parseKeys reads keys written "key" or "tenant=key". Its errors name a key by
// its place, never by its text.
func parseKeys(texts []string) (keys, error) {
	var all keys
	for i, text := range texts {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		tenant, key, named := strings.Cut(text, "=")
		if !named {
			tenant, key = defaultTenant, text
		}
		if !validToken(tenant) {
			return nil, fmt.Errorf("outbox: API key %d: want key or tenant=key, the tenant of up to %d letters, digits, - and _", i+1, maxTenant)
		}
		// A bare key in padded base64 reads like a tenant with the key "=".
		if strings.Trim(key, "=") == "" || !validHeaderText(key) || strings.Contains(key, " ") {
			return nil, fmt.Errorf("outbox: API key %d: the key is empty or holds other characters than printable ASCII; "+
				"a bare key that ends in = is written %s=key", i+1, defaultTenant)
		}
		all = append(all, apiKey{tenant: tenant, hash: sha256.Sum256([]byte(key))})
	}
	return all, nil
}

// tenant returns whom the key belongs to. It compares hashes, all of them, so
// that the time tells nothing about any key.
func (k keys) tenant(key string) (string, bool) {
	hash := sha256.Sum256([]byte(key))
	found := -1
	for i := range k {
		if subtle.ConstantTimeCompare(hash[:], k[i].hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return "", false
	}
	return k[found].tenant, true
}

// validToken reports whether a tenant or an id can be a token of a subject and
// of a bucket's key.
func validToken(name string) bool {
	if name == "" || len(name) > maxTenant {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
