package webhook

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

const (
	privatePrefix   = "whsk_"
	publicPrefix    = "whpk_"
	redactedPrivate = "whsk_[redacted]"
	// v1a marks a signature by Ed25519.
	v1a = "v1a"
)

// PrivateKey signs webhooks by Ed25519, so that subscribers need no secret: they
// verify with its [PrivateKey.Public]. It prints, logs and marshals as
// "whsk_[redacted]"; only [PrivateKey.Reveal] shows it. The zero value is no key.
type PrivateKey struct {
	key *ed25519.PrivateKey // a pointer for the reason that [Secret] has
}

// NewPrivateKey returns a random key.
func NewPrivateKey() PrivateKey {
	_, key, _ := ed25519.GenerateKey(nil) // never fails: without randomness the program ends
	return PrivateKey{key: &key}
}

// ParsePrivateKey reads a key: whsk_ followed by the padded standard base64 of its
// 64 bytes (RFC 8032's seed and public key), or of the seed's 32 alone. It fails
// with [ErrPrivateKey].
func ParsePrivateKey(text string) (PrivateKey, error) {
	data, ok := decodeKey(text, privatePrefix)
	if !ok {
		return PrivateKey{}, ErrPrivateKey
	}
	var key ed25519.PrivateKey
	switch len(data) {
	case ed25519.SeedSize:
		key = ed25519.NewKeyFromSeed(data)
	case ed25519.PrivateKeySize:
		key = ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
		if !key.Equal(ed25519.PrivateKey(data)) {
			return PrivateKey{}, ErrPrivateKey // its halves do not belong together
		}
	default:
		return PrivateKey{}, ErrPrivateKey
	}
	return PrivateKey{key: &key}, nil
}

// IsZero reports whether k is no key.
func (k PrivateKey) IsZero() bool { return k.key == nil }

// Public is the key that the signatures are verified with.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	return PublicKey{key: k.key.Public().(ed25519.PublicKey)}
}

// Reveal returns the key as [ParsePrivateKey] reads it; empty for no key.
func (k PrivateKey) Reveal() string {
	if k.IsZero() {
		return ""
	}
	return privatePrefix + base64.StdEncoding.EncodeToString(*k.key)
}

// String hides the key.
func (k PrivateKey) String() string { return redactedPrivate }

// Format hides the key from every verb of fmt.
func (k PrivateKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedPrivate)) }

// LogValue hides the key from logs.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(redactedPrivate) }

// MarshalText hides the key from JSON, YAML and the like.
func (k PrivateKey) MarshalText() ([]byte, error) { return []byte(redactedPrivate), nil }

func (k PrivateKey) sign(id, timestamp string, body []byte) string {
	return v1a + "," + base64.StdEncoding.EncodeToString(ed25519.Sign(*k.key, content(id, timestamp, body)))
}

// PublicKey verifies what its [PrivateKey] has signed. It is no secret. The zero
// value is no key.
type PublicKey struct {
	key ed25519.PublicKey
}

// ParsePublicKey reads a key: whpk_ followed by the padded standard base64 of its
// 32 bytes. It fails with [ErrPublicKey].
func ParsePublicKey(text string) (PublicKey, error) {
	data, ok := decodeKey(text, publicPrefix)
	if !ok || len(data) != ed25519.PublicKeySize {
		return PublicKey{}, ErrPublicKey
	}
	return PublicKey{key: data}, nil
}

// IsZero reports whether k is no key.
func (k PublicKey) IsZero() bool { return k.key == nil }

// String is the key as [ParsePublicKey] reads it; empty for no key.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return publicPrefix + base64.StdEncoding.EncodeToString(k.key)
}

func (k PublicKey) verify(given []string, id, timestamp string, body []byte) bool {
	found, signed := false, content(id, timestamp, body)
	for _, signature := range given {
		text, ok := strings.CutPrefix(signature, v1a+",")
		if !ok {
			continue
		}
		data, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && ed25519.Verify(k.key, signed, data) {
			found = true
		}
	}
	return found
}

// content is what a signature is over.
func content(id, timestamp string, body []byte) []byte {
	text := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	text = append(append(text, id...), '.')
	text = append(append(text, timestamp...), '.')
	return append(text, body...)
}

func decodeKey(text, prefix string) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(text, prefix)
	// The decoder passes over line breaks; a key holds none.
	if !ok || strings.ContainsAny(encoded, "\r\n") {
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return data, err == nil
}
