package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

const (
	secretPrefix = "whsec_"
	redacted     = "whsec_[redacted]"

	// The sizes of a key in bytes, as the specification sets them.
	minKey = 24
	maxKey = 64
	// newKey is as long as the hash: more adds nothing to HMAC-SHA256.
	newKey = 32
)

// Secret is a symmetric signing key. It prints, logs and marshals as
// "whsec_[redacted]"; only [Secret.Reveal] shows it. The zero value is no secret.
type Secret struct {
	// A pointer, because fmt walks through unexported fields without asking for
	// String, and would print the bytes of a Secret inside another struct.
	key *[]byte
}

// NewSecret returns a secret of 32 random bytes.
func NewSecret() Secret {
	key := make([]byte, newKey)
	_, _ = rand.Read(key) // never fails: without randomness the program ends
	return Secret{key: &key}
}

// ParseSecret reads a secret: whsec_ followed by the padded standard base64 of
// 24 to 64 bytes. It fails with [ErrSecret].
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	// The decoder passes over line breaks; a secret holds none.
	if !ok || strings.ContainsAny(encoded, "\r\n") {
		return Secret{}, ErrSecret
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) < minKey || len(key) > maxKey {
		return Secret{}, ErrSecret
	}
	return Secret{key: &key}, nil
}

// IsZero reports whether s is no secret.
func (s Secret) IsZero() bool { return s.key == nil }

// Reveal returns the secret as [ParseSecret] reads it; empty for no secret.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(*s.key)
}

// String hides the secret.
func (s Secret) String() string { return redacted }

// Format hides the secret from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the secret from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from JSON, YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
