package receiver

import (
	"crypto/sha1" //nolint:gosec // still what some providers sign with, inside an HMAC
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
)

// An algorithm makes the hash of an HMAC.
type algorithm func() hash.Hash

var algorithms = map[string]algorithm{
	"hmac-sha1":   sha1.New,
	"hmac-sha256": sha256.New,
	"hmac-sha512": sha512.New,
}

// An encoding is how a signature is written in a header.
type encoding struct {
	encode func([]byte) string
	decode func(string) ([]byte, error)
}

var encodings = map[string]encoding{
	"hex":       {hex.EncodeToString, hex.DecodeString},
	"base64":    {base64.StdEncoding.EncodeToString, decodeBase64(base64.RawStdEncoding)},
	"base64url": {base64.URLEncoding.EncodeToString, decodeBase64(base64.RawURLEncoding)},
}

// decodeBase64 decodes with or without padding: senders differ.
func decodeBase64(e *base64.Encoding) func(string) ([]byte, error) {
	return func(s string) ([]byte, error) { return e.DecodeString(strings.TrimRight(s, "=")) }
}

// A keyForm turns the text of a secret into a key.
type keyForm func(secret string) ([]byte, error)

var keyForms = map[string]keyForm{
	"raw":    func(s string) ([]byte, error) { return []byte(s), nil },
	"hex":    hex.DecodeString,
	"base64": encodings["base64"].decode,
	"whsec-base64": func(s string) ([]byte, error) {
		return encodings["base64"].decode(strings.TrimPrefix(s, "whsec_"))
	},
}
