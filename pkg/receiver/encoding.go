package receiver

import (
	"crypto/sha1" //nolint:gosec // see keyForms
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
)

// An encoding is how a signature is written.
type encoding struct {
	encode func([]byte) string
	decode func(string) ([]byte, error)
}

var encodings = map[string]encoding{
	"hex":           {hex.EncodeToString, hex.DecodeString},
	"base64":        {base64.StdEncoding.EncodeToString, decodeBase64(base64.RawStdEncoding)},
	"base64url":     {base64.RawURLEncoding.EncodeToString, decodeBase64(base64.RawURLEncoding)},
	"salesforce-id": {func(b []byte) string { return string(b) }, salesforceID},
	"text":          {func(b []byte) string { return string(b) }, func(s string) ([]byte, error) { return []byte(s), nil }},
}

// decodeBase64 decodes with or without padding: senders differ.
func decodeBase64(e *base64.Encoding) func(string) ([]byte, error) {
	return func(s string) ([]byte, error) { return e.DecodeString(strings.TrimRight(s, "=")) }
}

// salesforceID reads the id of a record of Salesforce: 15 characters, after which
// three may stand that only tell their case
// (https://help.salesforce.com/s/articleView?id=000383751&type=1).
func salesforceID(s string) ([]byte, error) {
	const short, long = 15, 18
	if len(s) != short && len(s) != long {
		return nil, errors.New("not the 15 or 18 characters of an id")
	}
	return []byte(s[:short]), nil
}

// A keyForm turns the text of a secret into a key.
type keyForm func(secret string) ([]byte, error)

var keyForms = map[string]keyForm{
	"salesforce-id": salesforceID,
	// Braintree keys its HMAC with the hash of the private key.
	"sha1": func(s string) ([]byte, error) {
		sum := sha1.Sum([]byte(s)) //nolint:gosec // what the provider does
		return sum[:], nil
	},
	"raw":    func(s string) ([]byte, error) { return []byte(s), nil },
	"hex":    hex.DecodeString,
	"base64": encodings["base64"].decode,
	"whsec-base64": func(s string) ([]byte, error) {
		// Supabase shows its secrets as v1,whsec_….
		return encodings["base64"].decode(strings.TrimPrefix(strings.TrimPrefix(s, "v1,"), "whsec_"))
	},
	"whpk-base64": func(s string) ([]byte, error) {
		for _, prefix := range []string{"whpk_", "whsk_"} {
			if key, ok := strings.CutPrefix(s, prefix); ok {
				return encodings["base64"].decode(key)
			}
		}
		return nil, errors.New("no whpk_ before the key")
	},
	"pem": func(s string) ([]byte, error) {
		block, _ := pem.Decode([]byte(s))
		if block == nil {
			return nil, errors.New("no PEM")
		}
		return block.Bytes, nil
	},
}
