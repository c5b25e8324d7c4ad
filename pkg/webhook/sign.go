package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// v1 marks a signature by HMAC-SHA256.
	v1 = "v1"
	// maxID is the longest id in bytes. Ids in use have about 30.
	maxID = 256
)

// A SigningKey is what webhooks are signed with: a [Secret] or a [PrivateKey].
type SigningKey interface {
	// IsZero reports whether it is no key.
	IsZero() bool
	// sign returns the signature with its mark.
	sign(id, timestamp string, body []byte) string
}

// Sign sets the three headers of the webhook with this id and body, attempted at
// the time at. Give every key that is in use: during a rotation the new and the
// old one, newest first. It fails with [ErrIDMissing], [ErrIDMalformed],
// [ErrTimestampMalformed] (before 1970) or [ErrNoSecret], and then sets nothing.
func Sign(header http.Header, id string, at time.Time, body []byte, keys ...SigningKey) error {
	if err := checkID(id); err != nil {
		return err
	}
	if at.Unix() < 0 {
		return ErrTimestampMalformed
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(keys))
	for _, k := range keys {
		if !k.IsZero() {
			signatures = append(signatures, k.sign(id, timestamp, body))
		}
	}
	if len(signatures) == 0 {
		return ErrNoSecret
	}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(signatures, " "))
	return nil
}

func (s Secret) sign(id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, *s.key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return v1 + "," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verify compares in constant time, and does not stop at the first success.
func (s Secret) verify(given []string, id, timestamp string, body []byte) bool {
	found, want := 0, []byte(s.sign(id, timestamp, body))
	for _, signature := range given {
		found |= subtle.ConstantTimeCompare([]byte(signature), want)
	}
	return found == 1
}

func checkID(id string) error {
	if id == "" {
		return ErrIDMissing
	}
	if len(id) > maxID {
		return ErrIDMalformed
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '.' {
			return ErrIDMalformed
		}
	}
	return nil
}
